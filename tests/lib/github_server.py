"""GitHub's REST API for container packages, as far as cleaning needs it, for tests.

github_server.py STATE: a JSON file { "owners": {"org": "orgs", "me": "users"}, "packages": { "org/name/cache":
[ {"id", "name", "updated_at", "metadata"} ] }, "refuse": { "ID": [status, message] } }; deletions are written to
it. Prints the port.
"""
import http.server
import json
import re
import sys
import urllib.parse

STATE = sys.argv[1]


def load():
    with open(STATE, encoding="utf-8") as f:
        return json.load(f)


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, doc):
        body = json.dumps(doc).encode() if doc is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def package(self, state):
        url = urllib.parse.urlsplit(self.path)
        m = re.fullmatch(r"/(orgs|users)/([^/]+)/packages/container/([^/]+)(?:/versions(?:/(\d+))?)?", url.path)
        if self.headers.get("Authorization") != "Bearer test-token":
            self.answer(401, {"message": "Bad credentials"})
            return None
        name = m and f"{m[2]}/{urllib.parse.unquote(m[3])}"
        if not m or state["owners"].get(m[2]) != m[1] or name not in state["packages"]:
            self.answer(404, {"message": "Package not found."})
            return None
        return name, m[4], urllib.parse.parse_qs(url.query)

    def do_GET(self):
        state = load()
        found = self.package(state)
        if not found:
            return
        name, _, query = found
        if "/versions" not in self.path:
            self.answer(200, {"name": name})
            return
        size, page = int(query["per_page"][0]), int(query["page"][0])
        self.answer(200, state["packages"][name][(page - 1) * size:page * size])

    def do_DELETE(self):
        state = load()
        found = self.package(state)
        if not found:
            return
        name, number, _ = found
        if number in state.get("refuse", {}):
            status, message = state["refuse"][number]
            self.answer(status, {"message": message})
            return
        state["packages"][name] = [v for v in state["packages"][name] if str(v["id"]) != number]
        with open(STATE, "w", encoding="utf-8") as f:
            json.dump(state, f)
        self.answer(204, None)

    def log_message(self, *args):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
