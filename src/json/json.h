/* JSON (RFC 8259): reading on jansson with positions and limits, where the caller owns *out and
 * releases it with json_decref; and the parts that a writer needs. */
#ifndef BK_JSON_H
#define BK_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { BK_JSON_UNIQUE = 1 }; /* duplicate object keys are an error; else the last one counts */

/* Levels of nesting, for reading and writing alike. */
enum { BK_JSON_DEPTH = 500 };

/* Parses one document of up to 256 MiB. err->code is json.syntax, json.too_deep or json.too_large,
 * err->where "name:line:col" (both from 1, col in characters; a name over 200 bytes is cut). */
int bk_json_parse(const char *text, size_t len, const char *name, int flags, json_t **out,
                  struct bk_err *err) BK_WARN_UNUSED;

/* Appends a JSON string literal, escaping control characters, quote and backslash as Python's
 * json.dumps(ensure_ascii=False) does. Malformed UTF-8 becomes U+FFFD when lossy, else it gives
 * false. */
bool bk_json_quote(struct bk_buf *out, const char *s, size_t len, bool lossy);

/* Appends a number as Python does: the shortest text that reads back the same, with ".0" or an
 * exponent. False for NaN and infinities, which JSON cannot express. */
bool bk_json_real(struct bk_buf *out, double v);

#endif
