"""Serves files with entity tags and dates, as ADD of URLs meets them.

file_server.py DIR: prints its port, serves DIR/www, and writes every request to DIR/requests.txt:
"METHOD PATH STATUS". Paths with a meaning of their own:

  /status/N/…      answers N
  /once/N/FILE     answers N the first time, then FILE
  /auth/FILE       wants the bearer token "sesame"
  /to/PATH         redirects to /PATH
  /bare/FILE       without tag and date
  /cut/FILE        promises more than it sends
"""

import email.utils
import hashlib
import http.server
import os
import sys
import threading

DIR = sys.argv[1]
SEEN = set()
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        with LOCK, open(DIR + "/requests.txt", "a") as log:
            log.write(f"{self.command} {self.path} {status}\n")
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        parts = path.strip("/").split("/")
        bare = cut = False
        if parts[0] == "status":
            return self.answer(int(parts[1]), b"no")
        if parts[0] == "once":
            if path not in SEEN:
                SEEN.add(path)
                return self.answer(int(parts[1]), b"later")
            parts = parts[2:]
        elif parts[0] == "auth":
            if self.headers.get("Authorization") != "Bearer sesame":
                return self.answer(401, b"who?")
            parts = parts[1:]
        elif parts[0] == "to":
            return self.answer(302, b"", [("Location", "/" + "/".join(parts[1:]))])
        elif parts[0] in ("bare", "cut"):
            bare, cut = parts[0] == "bare", parts[0] == "cut"
            parts = parts[1:]
        file = os.path.join(DIR, "www", *parts)
        if not os.path.isfile(file):
            return self.answer(404, b"nothing here")
        with open(file, "rb") as f:
            body = f.read()
        if bare:
            return self.answer(200, body)
        if cut:
            self.answer(200, body, [("Content-Length", str(len(body) + 10))])
            self.close_connection = True
            return None
        tag = '"' + hashlib.md5(body).hexdigest() + '"'
        date = email.utils.formatdate(int(os.stat(file).st_mtime), usegmt=True)
        headers = [("ETag", tag), ("Last-Modified", date)]
        if self.headers.get("If-None-Match") == tag:
            return self.answer(304, b"", headers)
        return self.answer(200, body, headers)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
