"""Renders templates with python3-jinja2, for comparison with bakery.template.

One JSON object per line on standard input: {"template": text, "vars": {...}, "files": {name: text},
"strict": bool, "options": {...}}; one per line comes back: {"text": ...} or {"error": class,
"message": ..., "line": ...} where class is syntax, undefined, not_found or runtime.
"""
import json
import sys
import traceback

import jinja2

EXTENSIONS = ["jinja2.ext.do", "jinja2.ext.loopcontrols"]


def render(case):
    env = jinja2.Environment(
        undefined=jinja2.StrictUndefined if case.get("strict") else jinja2.Undefined,
        loader=jinja2.DictLoader(case.get("files") or {}),
        extensions=EXTENSIONS,
        **(case.get("options") or {}),
    )
    return env.from_string(case["template"]).render(case.get("vars") or {})


def classify(error):
    if isinstance(error, (jinja2.TemplateSyntaxError, SyntaxError)):
        return "syntax"
    if isinstance(error, jinja2.UndefinedError):
        return "undefined"
    if isinstance(error, jinja2.TemplateNotFound):
        return "not_found"
    return "runtime"


def line_of(error):
    """The innermost line of a template that an error passed; None where Jinja knows none."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return error.lineno
    if isinstance(error, SyntaxError):  # of the code that Jinja made
        return None
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return lines[-1] if lines else None


def main():
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = {"text": render(case)}
        except Exception as error:  # every failure is an answer
            message = f"{type(error).__name__}: {error}"
            answer = {"error": classify(error), "message": message, "line": line_of(error)}
        try:
            text = json.dumps(answer)
        except (TypeError, ValueError) as error:
            text = json.dumps({"error": "runtime", "message": str(error)})
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
