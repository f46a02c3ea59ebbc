/* JSON (RFC 8259) reading on jansson with positions and limits; the caller owns *out and releases it
 * with json_decref. Writing is the binding's business: it works on Lua values. */
#ifndef BK_JSON_H
#define BK_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { BK_JSON_UNIQUE = 1 }; /* duplicate object keys are an error */

/* Parses one document; errors carry "name:line:col" in err->where and code json.syntax. */
int bk_json_parse(const char *text, size_t len, const char *name, int flags, json_t **out,
                  struct bk_err *err) BK_WARN_UNUSED;

/* Appends a JSON string literal. False when s is not UTF-8 (nothing sensible can be written). */
bool bk_json_quote(struct bk_buf *out, const char *s, size_t len);

/* Appends a number as Python's json module does: shortest form that reads back the same. */
bool bk_json_real(struct bk_buf *out, double v); /* false for NaN and infinities */

#endif
