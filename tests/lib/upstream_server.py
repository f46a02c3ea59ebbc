"""The outside for look-ups: serves what other sites answer, from files, and misbehaves on demand.

upstream_server.py DIR: prints its port. https://HOST/PATH?QUERY is asked as /HOST/PATH?QUERY and is the
file DIR/site/HOST/PATH@QUERY, DIR/site/HOST/PATH, or index.json in that directory. Answers carry an
ETag and honour If-None-Match. Every request is a line of DIR/requests.jsonl. DIR/quirks.json maps a
part of a path to what happens instead: {"status": 404}, {"body": text}, {"cut": bytes},
{"huge": bytes}, {"hang": true}, {"loop": true}, {"headers": {…}}, {"together": n} (answered when n such
requests are there at the same time, else with 500); it is read before every request.
"""

import hashlib
import http.server
import json
import os
import sys
import threading
import urllib.parse

DIR = sys.argv[1]
LOCK = threading.Lock()
END = threading.Event()
BARRIERS = {}


def quirk_for(path):
    try:
        with open(DIR + "/quirks.json") as f:
            quirks = json.load(f)
    except FileNotFoundError:
        return {}
    for part, quirk in quirks.items():
        if part in path:
            return quirk
    return {}


def find(path, query):
    base = DIR + "/site" + os.path.normpath("/" + path)
    for name in (base + "@" + query, base, base + "/index.json"):
        if os.path.isfile(name):
            with open(name, "rb") as f:
                return f.read()
    return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, headers=None, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value.replace("@HOST@", self.headers["Host"]))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        with LOCK, open(DIR + "/requests.jsonl", "a") as log:
            log.write(json.dumps({
                "method": self.command, "path": url.path, "query": url.query,
                "etag": self.headers.get("If-None-Match"), "accept": self.headers.get("Accept"),
                "authorization": self.headers.get("Authorization"),
            }) + "\n")
        quirk = quirk_for(self.path)
        if quirk.get("hang"):
            END.wait(60)
        if "together" in quirk:
            with LOCK:
                barrier = BARRIERS.setdefault(quirk["together"], threading.Barrier(quirk["together"]))
            try:
                barrier.wait(10)
            except threading.BrokenBarrierError:
                return self.answer(500, b"alone\n")
        if quirk.get("loop"):
            return self.answer(302, b"", {"Location": self.path})
        if "huge" in quirk:
            self.answer(200, b"", length=quirk["huge"])
            block = b" " * 65536
            for _ in range(quirk["huge"] // len(block)):
                self.wfile.write(block)
            return
        body = find(urllib.parse.unquote(url.path), url.query)
        if "body" in quirk:
            body = quirk["body"].encode()
        if "status" in quirk or body is None:
            return self.answer(quirk.get("status", 404), b"nothing here\n", quirk.get("headers"))
        if "cut" in quirk:
            self.answer(200, body[: quirk["cut"]], length=len(body))
            self.close_connection = True
            return
        etag = '"%s"' % hashlib.sha256(body).hexdigest()[:16]
        if self.headers.get("If-None-Match") == etag:
            return self.answer(304, b"", {"ETag": etag})
        self.answer(200, body, dict(quirk.get("headers") or {}, ETag=etag))

    do_HEAD = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
