"""Docker Hub's API as far as `ci readme` uses it.

hub_server.py DIR USER SECRET: prints its port. Every request is written to DIR/requests.jsonl. DIR/quirks.json,
read before every request, may hold: auth (list of statuses, one per token request), patch (list of
[status, headers] per PATCH), text (body of all answers, as HTML), life (uses after which a token is refused), echo (error bodies repeat the
request's body). Exhausted lists mean success.
"""

import http.server
import json
import sys

DIR, USER, SECRET = sys.argv[1:4]
STATE = {"tokens": {}, "n": 0, "used": {}}


def quirks():
    try:
        with open(DIR + "/quirks.json") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def next_of(name, default):
    at = STATE["used"].get(name, 0)
    STATE["used"][name] = at + 1
    values = quirks().get(name, [])
    return values[at] if at < len(values) else default


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, value, headers=None):
        html = quirks().get("text")
        text = html.encode() if html else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if html else "application/json")
        self.send_header("Content-Length", str(len(text)))
        for key, item in (headers or {}).items():
            self.send_header(key, item)
        self.end_headers()
        self.wfile.write(text)

    def read(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        with open(DIR + "/requests.jsonl", "a") as log:
            log.write(json.dumps({"method": self.command, "path": self.path, "body": json.loads(body),
                                  "auth": self.headers.get("Authorization", "")}) + "\n")
        return body

    def refuse(self, status, body, headers=None):
        detail = "refused: " + body if quirks().get("echo") else "refused"
        self.answer(status, {"detail": detail}, headers)

    def do_POST(self):
        body = self.read()
        doc = json.loads(body)
        status = next_of("auth", 200)
        if self.path != "/v2/auth/token":
            return self.refuse(404, body)
        if status != 200:
            return self.refuse(status, body)
        if doc.get("identifier") != USER or doc.get("secret") != SECRET:
            return self.refuse(401, body)
        STATE["n"] += 1
        token = "token-%d" % STATE["n"]
        STATE["tokens"][token] = quirks().get("life", 1 << 30)
        self.answer(200, {"access_token": token})

    def do_PATCH(self):
        body = self.read()
        status, headers = next_of("patch", [200, {}])
        token = self.headers.get("Authorization", "").replace("Bearer ", "")
        if STATE["tokens"].get(token, 0) <= 0:
            return self.refuse(401, body)
        STATE["tokens"][token] -= 1
        if status != 200:
            return self.refuse(status, body, headers)
        self.answer(200, {"name": self.path.rsplit("/", 1)[1]})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
