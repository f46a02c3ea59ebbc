"""A small registry that misbehaves on demand.

quirk_server.py DIR [CERT KEY [CLIENT_CA]]: prints its port; the quirks are read from DIR/quirks.json before every
request, and every request is written to DIR/requests.jsonl (method, path, whether Authorization was
sent, length of the body). State is kept in memory. A quirk is a number (how often it still happens,
-1 = always) or a value, see QUIRKS. GET /sessions says how many uploads are open, GET /most how many
blob contents were under way at once since it was last asked.

QUIRKS
  relative_location      upload Location is relative, without a leading slash when 2
  location_host          upload Location names this host (string)
  location_scheme        upload Location has this scheme (string)
  location_query         upload Location carries ?_state=x
  mount_202              mounts open an upload session instead
  mount_lies             mounts answer 201 and store nothing
  strict_blobs           manifests whose blobs are not there are refused
  forget_blobs           PUT of blobs: 201, and nothing is stored, so many times
  immutable              tags that are there cannot be put again: this status
  no_empty               empty blobs are refused
  mount_status           mounts answer this status
  wrong_content_digest   Docker-Content-Digest is wrong
  no_content_digest      no Docker-Content-Digest
  lie_length             blob Content-Length is this much too large, or too small
  long_by                blobs have so many bytes too many
  cut_body               blob and manifest bodies end after this many bytes (list: one per request)
  cut_manifest           the connection is closed in the middle of manifests, so many times
  no_range               Range is ignored
  bad_range              206 with a wrong Content-Range
  wrong_blob             blob content is altered
  wrong_large            content of blobs above 1 MB is altered
  status                 [status, count, {headers}, body] for any request under /v2/
  status_for             {"METHOD": [status, count, headers, body]}
  refuse                 [[method or "", regular expression of paths, [status, count, …as status]], …]
  forget                 regular expression: manifests that are PUT there are acknowledged and not kept
  redirect_blobs         blob GETs are redirected to this base URL, which refuses Authorization
  redirect_loop          blob GETs are redirected to themselves
  token                  {"realm": …, "service": …}: Bearer is needed
  basic                  "user:password" is needed
  expire_tokens          tokens are refused after this many uses
  insufficient           403 with error="insufficient_scope" this many times
  head_405               HEAD is refused
  head_bare              HEAD answers carry neither digest nor length
  content_type           Content-Type of manifests
  html                   errors are HTML
  decoys_stay            manifests made to take a tag away cannot be deleted: this status
  tag_lag                GETs of a tag show what it stood for before the last PUT, so many times
  manifest_lag           PUT manifest: MANIFEST_BLOB_UNKNOWN this many times
  upload_fail            PUT of blobs: 500 this many times
  upload_reset           PUT of blobs: the connection is closed this many times
  upload_cut             bodies of uploads: the connection is closed after so many bytes, which are
                         kept (list: one per request)
  no_chunks              PATCH answers this status and keeps nothing
  chunk_min              OCI-Chunk-Min-Length; smaller chunks but the last are refused
  chunk_short            PATCH keeps this many bytes less than it got (list: one per request)
  no_status              GET of an upload session answers 404
  slow                   [bytes, seconds]: bodies come in such pieces with such pauses
  catalog                there is a catalog
  unknown                repositories without manifests answer this status to GET and HEAD
  no_docker              manifests of Docker's types are refused with 415
  head_length            HEAD of manifests announces this many bytes more
  chunk_max              PATCH of more bytes answers 413
  token_text             the token service's answer, as it is
  token_per_repository   each repository has a token service of its own
  token_age              seconds since tokens were issued
  token_account          the only account that gets a token, by whatever secret
  referrers_text         body of referrers lists
  referrers_page         referrers per page
  referrers_break        pages of referrers but the first are not found
  api_hides              digests that the referrers API does not list
  hide                   a manifest that is not found
  oci_subject            PUT of a manifest with a subject is answered with OCI-Subject, API or not
  artifact_filter        referrers are filtered by artifactType, and the answer says so
  upload_401             PUT of blobs: 401 this many times
  referrers              native referrers API; "html" answers a login page
  link                   form of the Link header, with %s for the address
  page_loop              tag pages link to themselves
  page_size              tags per page
  reversed               tags come in the opposite order
  tags_text              body of tag lists
  warning                text of a Warning header
"""

import base64
import hashlib
import http.server
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.parse

DIR = sys.argv[1]
LOCK = threading.Lock()
BLOBS, MANIFESTS, UPLOADS, TOKENS, BEFORE = {}, {}, {}, {}, {}
USED = {}
BUSY = {"now": 0, "most": 0}  # blob contents under way
INDEX = "application/vnd.oci.image.index.v1+json"


def quirks():
    try:
        with open(DIR + "/quirks.json") as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def digest_of(data, like="sha256:"):
    name = like.split(":")[0]
    return name + ":" + hashlib.new(name, data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    # --- helpers

    def on(self, name):
        """The quirk's value, or None when it is off or used up."""
        value = self.q.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            return value
        with LOCK:
            key = (name, self.q.get("generation"))
            if USED.get(key, 0) >= value:
                return None
            USED[key] = USED.get(key, 0) + 1
        return value

    def send(self, status, body=b"", headers=None, content_type="application/json"):
        self.send_response(status)
        headers = dict(headers or {})
        if self.q.get("warning"):
            headers["Warning"] = ['299 - "%s"' % w for w in self.q["warning"].split("|")] + ['199 - "not this"']
        headers.setdefault("Content-Type", content_type)
        headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            if value is not None:
                for one in value if isinstance(value, list) else [value]:
                    self.send_header(name, one)
        self.end_headers()
        if self.command == "HEAD":
            return
        slow = self.q.get("slow")
        if not slow or not 200 <= status < 300:
            self.wfile.write(body)
            return
        for at in range(0, len(body), slow[0]):
            self.wfile.write(body[at:at + slow[0]])
            self.wfile.flush()
            time.sleep(slow[1])

    def error(self, status, code, message="", headers=None):
        if self.q.get("html"):
            self.send(status, b"<html><body><h1>Sorry</h1></body></html>", headers, "text/html")
            return
        body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]})
        self.send(status, body.encode(), headers)

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while True:
                n = int(self.rfile.readline().split(b";")[0], 16)
                data += self.rfile.read(n)
                self.rfile.readline()
                if n == 0:
                    return data
        length = int(self.headers.get("Content-Length", "0"))
        data = self.rfile.read(length)
        if len(data) < length:  # who sent it was killed: nothing of it counts
            raise ConnectionAbortedError("the request ends early")
        return data

    def host(self):
        scheme = "https" if len(sys.argv) > 2 else "http"
        return "%s://127.0.0.1:%d" % (scheme, self.server.server_address[1])

    def planned(self, spec, name):
        status, count = spec[0], spec[1]
        key = (name, self.q.get("generation"))
        with LOCK:
            if 0 <= count <= USED.get(key, 0):
                return False
            USED[key] = USED.get(key, 0) + 1
        headers = spec[2] if len(spec) > 2 else {}
        body = spec[3] if len(spec) > 3 else ""
        self.read_body()
        if body:
            self.send(status, body.encode(), headers, "text/plain")
        else:
            self.error(status, "UNKNOWN", "planned failure", headers)
        return True

    # --- authentication

    def allowed(self):
        given = self.headers.get("Authorization", "")
        basic, token = self.q.get("basic"), self.q.get("token")
        if basic:
            if given == "Basic " + base64.b64encode(basic.encode()).decode():
                return True
            self.read_body()
            self.error(401, "UNAUTHORIZED", "", {
                "WWW-Authenticate": ["Negotiate", 'Basic realm="quirk, server"']})
            return False
        if token:
            return self.check_token(given, token)
        return True

    def challenge(self, token, extra="", status=401):
        repo = self.path[4:].split("/blobs/")[0].split("/manifests/")[0].split("/tags/")[0]
        actions = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        realm = token["realm"] + ("?for=" + repo if self.q.get("token_per_repository") else "")
        value = 'Bearer realm="%s",service="%s"' % (realm, token["service"])
        if self.path != "/v2/":
            value += ',scope="repository:%s:%s"' % (repo, actions)
        self.read_body()
        self.error(status, "UNAUTHORIZED" if status == 401 else "DENIED", "",
                   {"WWW-Authenticate": value + extra})
        return False

    def check_token(self, given, token):
        name = given[7:] if given.startswith("Bearer ") else None
        if name not in TOKENS:
            return self.challenge(token)
        with LOCK:
            TOKENS[name] += 1
            used = TOKENS[name]
        limit = self.q.get("expire_tokens")
        if limit and used > limit:
            return self.challenge(token, ',error="invalid_token"')
        if self.on("insufficient"):
            return self.challenge(token, ',error="insufficient_scope"', 403)
        return True

    def token_service(self):
        body = self.read_body()
        wanted = self.query.get("for", [""])[0]
        if wanted and not any(s.split(":")[1] == wanted for s in self.query.get("scope", [])):
            self.send(403, b'{"details": "not a repository of mine"}')
            return
        if self.on("token_401"):
            self.send(401, json.dumps({"details": "no such account"}).encode())
            return
        if self.q.get("token_text") is not None:
            self.send(200, self.q["token_text"].encode())
            return
        given = base64.b64decode(self.headers.get("Authorization", "Basic ").split(" ")[1]).decode()
        if self.q.get("token_account", given.split(":")[0]) != given.split(":")[0] and not body:
            self.send(401, b"{}")
            return
        name = "token-%d" % (len(TOKENS) + 1)
        TOKENS[name] = 0
        answer = {"token": name, "expires_in": self.q.get("token_life", 300)}
        if self.q.get("token_age") is not None:
            at = time.gmtime(time.time() - self.q["token_age"])
            answer["issued_at"] = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", at)
        if body:
            answer = {"access_token": name}
        self.send(200, json.dumps(answer).encode())

    # --- requests

    def handle_any(self):
        self.q = quirks()
        url = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(url.query)
        with LOCK, open(DIR + "/requests.jsonl", "a") as log:
            log.write(json.dumps({
                "method": self.command, "path": url.path, "query": url.query,
                "auth": self.headers.get("Authorization", "").split(" ")[0],
                "range": self.headers.get("Range", ""), "expect": self.headers.get("Expect", ""),
                "length": self.headers.get("Content-Length", "")}) + "\n")
        if url.path == "/token":
            return self.token_service()
        if url.path == "/sessions":
            return self.send(200, str(len(UPLOADS)).encode())
        if url.path == "/most":
            with LOCK:
                most, BUSY["most"] = BUSY["most"], BUSY["now"]
            return self.send(200, str(most).encode())
        if url.path.startswith("/http/"):
            return self.plain(url.path[6:].split("/"))
        if url.path.startswith("/storage/"):
            return self.storage(url.path)
        plan = self.q.get("status_for", {}).get(self.command) or self.q.get("status")
        if plan and self.planned(plan, "status" + self.command):
            return None
        if not self.allowed():
            return None
        for i, (method, path, plan) in enumerate(self.q.get("refuse", [])):
            if method in ("", self.command) and re.search(path, url.path) and self.planned(plan, "refuse%d" % i):
                return None
        if url.path in ("/v2", "/v2/"):
            return self.send(200, b"{}")
        if url.path == "/v2/_catalog":
            return self.catalog()
        parts = url.path[4:].split("/")
        for i, part in enumerate(parts):
            if part in ("blobs", "manifests", "tags", "referrers"):
                repo, rest = "/".join(parts[:i]), parts[i + 1:]
                unknown = self.q.get("unknown") if self.command in ("GET", "HEAD") and len(rest) < 2 else None
                if unknown and not any(k[0] == repo for k in list(MANIFESTS)):
                    return self.error(unknown, "DENIED")
                return getattr(self, part)(repo, rest)
        return self.error(404, "NAME_UNKNOWN")

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

    def plain(self, what):
        """Things for an HTTP client: echo, status/N, size/N, redirect/N?to=URL, stall, header."""
        body = self.read_body()
        arg = what[1] if len(what) > 1 else ""
        if what[0] == "echo":
            return self.send(200, json.dumps({
                "method": self.command, "headers": dict(self.headers), "body": body.decode("latin-1"),
            }).encode())
        if what[0] == "status":
            return self.send(int(arg), b"said no", {"Retry-After": self.q.get("retry_after")})
        if what[0] == "size":
            return self.send(200, b"x" * int(arg))
        if what[0] == "redirect":
            return self.send(int(arg), b"moved", {"Location": self.query["to"][0]})
        if what[0] == "loop":
            return self.send(302, b"", {"Location": self.path})
        if what[0] == "stall":
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"x")
            self.wfile.flush()
            threading.Event().wait(60)
            return None
        if what[0] == "twice":
            return self.send(200, b"", {"X-Twice": ["one", "two"]})
        return self.send(404)

    def storage(self, path):
        """Object storage behind a redirect: any Authorization is an error."""
        if self.headers.get("Authorization"):
            return self.send(400, b"<Error>only one auth mechanism allowed</Error>", None, "text/xml")
        return self.content(BLOBS[path[9:]])

    def content(self, data):
        if self.on("wrong_blob") or (len(data) > 1 << 20 and self.on("wrong_large")):
            data = b"?" + data[1:]
        start, status, headers = 0, 200, {"Content-Type": "application/octet-stream"}
        wanted = self.headers.get("Range")
        if wanted and not self.on("no_range"):
            start = int(wanted[6:].rstrip("-"))
            status = 206
            shown = start + (1 if self.on("bad_range") else 0)
            headers["Content-Range"] = "bytes %d-%d/%d" % (shown, len(data) - 1, len(data))
        data = data[start:]
        data += b"x" * self.q.get("long_by", 0)
        length = len(data) + (self.q["lie_length"] if self.q.get("lie_length", 0) < 0 else self.on("lie_length") or 0)
        cut = self.q.get("cut_body")
        if isinstance(cut, list):
            with LOCK:
                key = ("cut", self.q.get("generation"))
                n = USED.get(key, 0)
                USED[key] = n + 1
            cut = cut[n] if n < len(cut) else None
        headers["Content-Length"] = str(length)
        with LOCK:
            BUSY["now"] += 1
            BUSY["most"] = max(BUSY["most"], BUSY["now"])
        try:
            self.send_content(status, data, length, cut, headers)
        finally:
            with LOCK:
                BUSY["now"] -= 1

    def send_content(self, status, data, length, cut, headers):
        if cut is not None or length != len(data):
            self.close_connection = True
        self.send(status, data if cut is None else data[:cut], headers)

    def blobs(self, repo, rest):
        if rest and rest[0] == "uploads":
            return self.upload(repo, rest)
        digest = rest[0]
        if (repo, digest) not in BLOBS:
            return self.error(404, "BLOB_UNKNOWN")
        data = BLOBS[(repo, digest)]
        if self.command == "DELETE":
            del BLOBS[(repo, digest)]
            return self.send(202)
        if self.command == "HEAD":
            return self.send(200, b"", {"Content-Length": str(len(data))})
        if self.q.get("redirect_loop"):
            return self.send(307, b"", {"Location": self.path})
        if self.q.get("redirect_blobs"):
            BLOBS[digest] = data
            target = self.q["redirect_blobs"] + "/storage/" + digest + "?X-Amz-Signature=secret"
            return self.send(307, b"", {"Location": target})
        return self.content(data)

    def location(self, repo, name):
        path = "/v2/%s/blobs/uploads/%s" % (repo, name)
        if self.q.get("location_query"):
            path += "?_state=x"
        relative = self.q.get("relative_location")
        if relative:
            return path if relative == 1 else name
        base = self.host()
        if self.q.get("location_host"):
            base = base.replace("127.0.0.1:%d" % self.server.server_address[1],
                                self.q["location_host"])
        if self.q.get("location_scheme"):
            base = self.q["location_scheme"] + base[base.index(":"):]
        return base + path

    def upload(self, repo, rest):
        if self.command == "POST":
            self.read_body()
            mount = self.query.get("mount")
            if mount and self.q.get("mount_status"):
                return self.error(self.q["mount_status"], "UNSUPPORTED")
            if mount and self.q.get("mount_lies"):
                return self.send(201, b"", {"Location": "/v2/%s/blobs/%s" % (repo, mount[0])})
            if mount and not self.q.get("mount_202"):
                source = (self.query.get("from", [""])[0], mount[0])
                if not source[0]:  # automatic content discovery
                    source = next((k for k in BLOBS if k[1] == mount[0]), source)
                if source in BLOBS:
                    BLOBS[(repo, mount[0])] = BLOBS[source]
                    return self.send(201, b"", {"Location": "/v2/%s/blobs/%s" % (repo, mount[0])})
            with LOCK:
                USED["sessions"] = USED.get("sessions", 0) + 1
                name = "u%d" % USED["sessions"]
            UPLOADS[name] = b""
            headers = {"Location": self.location(repo, name)}
            if self.q.get("chunk_min"):
                headers["OCI-Chunk-Min-Length"] = str(self.q["chunk_min"])
            return self.send(202, b"", headers)
        name = rest[1] if len(rest) > 1 else ""
        if name not in UPLOADS:
            self.read_body()
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "DELETE":
            del UPLOADS[name]
            return self.send(204)
        if self.on("upload_reset"):
            self.rfile.read(1)
            self.close_connection = True
            return None
        if self.q.get("upload_401") and self.on("upload_401"):
            return self.challenge(self.q["token"], ',error="invalid_token"')
        if self.command == "GET":
            if self.q.get("no_status"):
                return self.error(404, "BLOB_UPLOAD_UNKNOWN")
            return self.progress(204, repo, name)
        data = self.upload_body(name)
        if data is None:
            return None
        if self.command == "PATCH":
            return self.patch(repo, name, data)
        if self.on("upload_fail"):
            return self.error(500, "UNKNOWN")
        digest = self.query.get("digest", [""])[0]
        data = UPLOADS[name] + data
        if digest_of(data, digest) != digest:
            return self.error(400, "DIGEST_INVALID")
        if not data and self.q.get("no_empty"):
            return self.error(400, "BLOB_UPLOAD_INVALID", "EmptyUploadException")
        del UPLOADS[name]
        if not self.on("forget_blobs"):
            BLOBS[(repo, digest)] = data
        return self.send(201, b"", {"Location": "/v2/%s/blobs/%s" % (repo, digest)})

    def planned_item(self, name):
        """The next item of a list quirk, or None."""
        items = self.q.get(name)
        if not isinstance(items, list):
            return None
        with LOCK:
            key = (name, self.q.get("generation"))
            n = USED.get(key, 0)
            USED[key] = n + 1
        return items[n] if n < len(items) else None

    def upload_body(self, name):
        cut = self.planned_item("upload_cut")
        if cut is None:
            return self.read_body()
        UPLOADS[name] += self.rfile.read(min(cut, int(self.headers.get("Content-Length", "0"))))
        self.close_connection = True
        return None

    def progress(self, status, repo, name):
        headers = {"Location": self.location(repo, name),
                   "Range": "0-%d" % max(len(UPLOADS[name]) - 1, 0)}
        return self.send(status, b"", headers)

    def patch(self, repo, name, data):
        if len(data) > self.q.get("chunk_max", len(data)):
            return self.error(413, "SIZE_INVALID")
        if self.q.get("no_chunks"):
            return self.error(self.q["no_chunks"], "UNSUPPORTED")
        whole = "%d-%d" % (len(UPLOADS[name]), len(UPLOADS[name]) + len(data) - 1)  # of a stream
        start, end = (int(n) for n in self.headers.get("Content-Range", whole).split("-"))
        if start != len(UPLOADS[name]) or end - start + 1 != len(data):
            return self.progress(416, repo, name)
        UPLOADS[name] += data[:len(data) - (self.planned_item("chunk_short") or 0)]
        return self.progress(202, repo, name)

    def complete(self, repo, data):
        doc = json.loads(data)
        wanted = [d["digest"] for d in [doc.get("config")] + doc.get("layers", []) if d]
        return all((repo, digest) in BLOBS for digest in wanted)

    def manifests(self, repo, rest):
        ref = rest[0]
        if self.command == "PUT":
            data = self.read_body()
            if self.on("manifest_lag"):
                return self.error(404, "MANIFEST_BLOB_UNKNOWN")
            if self.q.get("forget") and re.search(self.q["forget"], self.path):
                return self.send(201, b"", {"Docker-Content-Digest": digest_of(data)})
            if self.q.get("no_docker") and ".docker." in self.headers.get("Content-Type", ""):
                return self.error(415, "MANIFEST_INVALID", "docker types are not taken")
            if self.q.get("strict_blobs") and not self.complete(repo, data):
                return self.error(404, "MANIFEST_BLOB_UNKNOWN")
            if self.q.get("immutable") and not ref.startswith("sha") and (repo, ref) in MANIFESTS:
                return self.error(self.q["immutable"], "TAG_INVALID", "ImageTagAlreadyExistsException")
            item = (data, self.headers.get("Content-Type"))
            BEFORE[(repo, ref)] = MANIFESTS.get((repo, ref))
            MANIFESTS[(repo, ref)] = MANIFESTS[(repo, digest_of(data))] = item
            headers = {"Docker-Content-Digest": digest_of(data)}
            subject = json.loads(data).get("subject") if data[:1] == b"{" else None
            if subject and (self.q.get("oci_subject") or self.q.get("referrers") is True):
                headers["OCI-Subject"] = subject["digest"]
            if self.q.get("wrong_content_digest"):
                headers["Docker-Content-Digest"] = digest_of(b"other")
            return self.send(201, b"", headers)
        if (repo, ref) not in MANIFESTS or ref == self.q.get("hide"):
            return self.error(404, "MANIFEST_UNKNOWN")
        data, kind = MANIFESTS[(repo, ref)]
        if (repo, ref) in BEFORE and ":" not in ref and self.command == "GET" and self.on("tag_lag"):
            if not BEFORE[(repo, ref)]:
                return self.error(404, "MANIFEST_UNKNOWN")
            data, kind = BEFORE[(repo, ref)]
        if self.command == "DELETE":
            if not ref.startswith("sha256:"):
                return self.error(405, "UNSUPPORTED")
            if self.q.get("decoys_stay") and b"bakery.decoy" in data:
                return self.error(self.q["decoys_stay"], "UNSUPPORTED")
            for key in [k for k, v in MANIFESTS.items() if k[0] == repo and v[0] == data]:
                del MANIFESTS[key]
            return self.send(202)
        headers = {"Content-Type": self.q.get("content_type", kind),
                   "Docker-Content-Digest": digest_of(data)}
        if self.q.get("wrong_content_digest"):
            headers["Docker-Content-Digest"] = digest_of(b"other")
        if self.q.get("no_content_digest"):
            headers["Docker-Content-Digest"] = None
        if self.command == "HEAD":
            if self.q.get("head_405"):
                return self.error(405, "UNSUPPORTED")
            headers["Content-Length"] = str(len(data) + self.q.get("head_length", 0))
            if self.q.get("head_bare"):
                headers = {"Content-Length": None, "Connection": "close"}
            return self.send(200, b"", headers)
        cut = self.q.get("cut_body")
        if isinstance(cut, int):
            data = data[:cut]
        if self.on("cut_manifest"):
            self.close_connection = True
            headers["Content-Length"] = str(len(data))
            data = data[:len(data) // 2]
        if self.q.get("fill"):
            data = data + b" " * self.q["fill"]
        return self.send(200, data, headers)

    def tags(self, repo, _rest):
        names = sorted({k[1] for k in MANIFESTS if k[0] == repo and not k[1].startswith("sha256:")})
        if self.q.get("reversed"):
            names.reverse()
        return self.page(names, "tags", "/v2/%s/tags/list" % repo, {"name": repo})

    def page(self, names, field, path, body):
        headers, size = {}, self.q.get("page_size")
        if size:
            last = self.query.get("last", [""])[0]
            names = [n for n in names if n > last]
            if len(names) > size:
                names = names[:size]
                url = "%s?n=%d&last=%s" % (path, size, names[-1])
                headers["Link"] = self.q.get("link", '<%s>; rel="next"') % url
        if self.q.get("page_loop"):
            headers["Link"] = '<%s>; rel="next"' % self.path
        if self.q.get("page_away"):
            headers["Link"] = '<http://evil.invalid/v2/tags>; rel="next"'
        body[field] = names or None
        text = self.q.get("tags_text") or json.dumps(body)
        return self.send(200, text.encode(), headers)

    def catalog(self):
        if not self.q.get("catalog"):
            return self.error(404, "UNSUPPORTED")
        names = sorted({k[0] for k in MANIFESTS})
        return self.page(names, "repositories", "/v2/_catalog", {})

    def part_of(self, found):
        """One page of referrers and the Link to the next one, which has an opaque cursor."""
        size, at = self.q.get("referrers_page"), int(self.query.get("cursor", ["0"])[0])
        if not size:
            return found, {}
        if at and self.q.get("referrers_break"):
            return found, "broken"
        more = at + size < len(found)
        url = "%s?cursor=%d" % (urllib.parse.urlsplit(self.path).path, at if self.q.get("page_loop") else at + size)
        for kind in self.query.get("artifactType", []):
            url += "&artifactType=" + urllib.parse.quote(kind, safe="")
        return found[at:at + size], {"Link": '<%s>; rel="next"' % url} if more else {}

    def referrers(self, repo, rest):
        if self.q.get("referrers") == "html":
            return self.send(200, b"<html>log in</html>", None, "text/html")
        if not self.q.get("referrers"):
            return self.error(404, "UNKNOWN")
        if self.q.get("referrers_text"):
            return self.send(200, self.q["referrers_text"].encode(), None, INDEX)
        found = []
        for (name, ref), (data, kind) in MANIFESTS.items():
            if name != repo or not ref.startswith("sha256:") or ref in self.q.get("api_hides", []):
                continue
            doc = json.loads(data)
            if doc.get("subject", {}).get("digest") == rest[0]:
                found.append({"mediaType": kind, "digest": ref, "size": len(data),
                              "artifactType": doc.get("artifactType"),
                              "annotations": doc.get("annotations", {})})
        headers, wanted = {}, self.query.get("artifactType")
        if wanted and self.q.get("artifact_filter"):
            found = [e for e in found if e["artifactType"] == wanted[0]]
            headers["OCI-Filters-Applied"] = "artifactType"
        found, link = self.part_of(found)
        if link == "broken":
            return self.error(404, "NOT_FOUND")
        headers.update(link)
        body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found}
        return self.send(200, json.dumps(body).encode(), headers, INDEX)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    if len(sys.argv) > 4:  # clients have to show a certificate of this authority
        context.load_verify_locations(sys.argv[4])
        context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
os.chdir("/")
server.serve_forever()
