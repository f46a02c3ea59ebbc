"""Runs the reference's command line with every outgoing request sent to a local server.

lookups.py PORT DIR…: prints a line of JSON for the project in each DIR, its plan with matrix and
development versions: {"code": …, "targets": {uid: {"args": …, "tags": […]}}, "urls": {uid: artefact URL},
"log": text}.
"""
import contextlib
import io
import json
import sys
import urllib.parse

import requests

PORT, DIRS = sys.argv[1], sys.argv[2:]
sys.argv = sys.argv[:1]
send = requests.Session.send


def redirected(self, request, **kwargs):
    url = urllib.parse.urlsplit(request.url)
    if url.hostname != "127.0.0.1":
        query = "?" + url.query if url.query else ""
        request.url = "http://127.0.0.1:%s/%s%s%s" % (PORT, url.hostname, url.path, query)
    return send(self, request, **kwargs)


requests.Session.send = redirected

import reference  # noqa: E402,F401  (prepares Python 3.11 for the reference)
from posit_bakery.cli import main  # noqa: E402
from posit_bakery.image import image_target  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

urls = {}
build_args = image_target.ImageTarget.build_args.fget


def noted(self):
    os_entry = getattr(self, "image_os", None)
    url = getattr(os_entry, "artifactDownloadURL", None)
    if url is not None and self.image_version.isDevelopmentVersion:
        urls[self.uid] = str(url)
    return build_args(self)


image_target.ImageTarget.build_args = property(noted)


def answer(directory):
    urls.clear()
    with contextlib.redirect_stderr(io.StringIO()):
        result = CliRunner().invoke(main.app, ["build", "--plan", "--context", directory, "--matrix-versions", "include",
                                               "--dev-versions", "include"])
    out = {"code": result.exit_code, "log": result.output[-2000:] + repr(result.exception), "targets": {}, "urls": urls}
    try:
        for uid, target in json.loads(result.output[result.output.index("{"):])["target"].items():
            out["targets"][uid] = {"args": target.get("args") or {}, "tags": sorted(target["tags"])}
    except ValueError:
        pass
    return out


for each in DIRS:
    print(json.dumps(answer(each)))
