"""Validates documents by python3-jsonschema: reads {"schema": …, "documents": […]} from standard input,
prints a list with the first message per document, null for valid ones."""

import json
import sys

import jsonschema

given = json.load(sys.stdin)
cls = jsonschema.validators.validator_for(given["schema"])
cls.check_schema(given["schema"])
validator = cls(given["schema"])
out = []
for document in given["documents"]:
    error = next(iter(validator.iter_errors(document)), None)
    out.append(None if error is None else "%s: %s" % ("/".join(map(str, error.absolute_path)), error.message))
print(json.dumps(out))
