"""Runs the reference on cases from a JSON file and writes what it answers to another.

A case is {"kind": "load", "text": …}, {"kind": "cli" or "matrix", "dir": …, "args": […]} or
{"kind": "render", "dir": …}; the answer is {"ok": bool, …}.
"""
import contextlib
import io
import json
import logging
import os
import pathlib
import sys
import tempfile

os.environ["COLUMNS"] = "4000"
if not hasattr(pathlib.Path, "walk"):  # it needs the directory walk of Python 3.12

    def walk(self, *_args, **_kwargs):
        for root, dirs, files in os.walk(self):
            yield pathlib.Path(root), dirs, files

    pathlib.Path.walk = walk

from posit_bakery.cli import main  # noqa: E402
from posit_bakery.config import BakeryConfig  # noqa: E402
from typer.testing import CliRunner  # noqa: E402


def load(case):
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "bakery.yaml").write_text(case["text"], encoding="utf-8")
        try:
            BakeryConfig.from_context(directory)
        except BaseException as error:  # crashes count as refusals
            return {"ok": False, "error": str(error)}
    return {"ok": True}


def cli(case):
    result = CliRunner().invoke(main.app, case["args"] + ["--context", case["dir"]])
    answer = {"ok": result.exit_code == 0, "code": result.exit_code}
    try:
        answer["value"] = json.loads(result.stdout)
    except ValueError:
        answer["text"] = result.output[-2000:] + str(result.exception or "")[-1000:]
    return answer


def render(case):
    result = CliRunner().invoke(main.app, ["update", "files", "--all", "--context", case["dir"]])
    if result.exit_code == 2:  # older releases have no --all
        result = CliRunner().invoke(main.app, ["update", "files", "--context", case["dir"]])
    files = {}
    root = pathlib.Path(case["dir"])
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_file() and "/template/" not in name and name not in ("bakery.yaml", "bakery.yml"):
            text = path.read_bytes().decode("utf-8")
            files[name] = {"text": text, "executable": bool(path.stat().st_mode & 0o111)}
    return {"ok": result.exit_code == 0, "value": files, "text": result.output[-2000:]}


def run(cases):
    kinds = {"load": load, "cli": cli, "matrix": cli, "render": render}
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stderr(io.StringIO()):
        return [kinds[case["kind"]](case) for case in cases]


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        answers = run(json.load(source))
    with open(sys.argv[2], "w", encoding="utf-8") as target:
        json.dump(answers, target)
