"""Token service for docker-registry's token authentication.

token_server.py DIR USER PASSWORD LIFE: DIR holds cert.pem and key.pem; prints its port. Without
credentials a token grants pull only. The identity token is "identity-of-" + USER. Every request is
written to DIR/token.log as one line: method, account, scopes.
"""

import base64
import http.server
import json
import subprocess
import sys
import time
import urllib.parse

DIR, USER, PASSWORD, LIFE = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
CERT = subprocess.run(
    ["openssl", "x509", "-in", DIR + "/cert.pem", "-outform", "DER"], check=True, capture_output=True
).stdout


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def sign(claims):
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(CERT).decode()]}
    body = b64url(json.dumps(header).encode()) + b"." + b64url(json.dumps(claims).encode())
    run = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", DIR + "/key.pem"],
        input=body, check=True, capture_output=True,
    )
    return (body + b"." + b64url(run.stdout)).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def grant(self, account, scopes, service):
        with open(DIR + "/token.log", "a") as log:
            log.write("%s %s %s\n" % (self.command, account or "-", "|".join(scopes)))
        access = []
        for scope in scopes:
            kind, rest = scope.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            allowed = actions.split(",") if account else [a for a in actions.split(",") if a == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": "test", "sub": account or "", "aud": service, "exp": now + LIFE,
            "nbf": now - 10, "iat": now, "jti": "1", "access": access,
        }
        self.answer(200, {"token": sign(claims), "expires_in": LIFE})

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        account, given = None, self.headers.get("Authorization")
        if given:
            want = "Basic " + base64.b64encode((USER + ":" + PASSWORD).encode()).decode()
            if given != want:
                self.answer(401, {"details": "incorrect username or password"})
                return
            account = USER
        self.grant(account, query.get("scope", []), query.get("service", [""])[0])

    def do_POST(self):
        size = int(self.headers.get("Content-Length", "0"))
        form = urllib.parse.parse_qs(self.rfile.read(size).decode())
        if form.get("refresh_token") != ["identity-of-" + USER]:
            self.answer(401, {"details": "bad refresh token"})
            return
        self.grant(USER, form.get("scope", [""])[0].split(), form.get("service", [""])[0])


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
