#include "json/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bk_json_parse(const char *text, size_t len, const char *name, int flags, json_t **out,
                  struct bk_err *err) {
  json_error_t e;
  size_t how = JSON_DECODE_ANY | JSON_ALLOW_NUL | (flags & BK_JSON_UNIQUE ? JSON_REJECT_DUPLICATES : 0);
  *out = json_loadb(text, len, how, &e);
  if (*out) return 0;
  bk_fail(err, BK_BUILD, "json.syntax", "%s", e.text);
  return bk_err_where(err, "%s:%d:%d", name, e.line < 1 ? 1 : e.line, e.column < 1 ? 1 : e.column);
}

/* Length of the UTF-8 sequence at s (n bytes left), 0 when malformed (RFC 3629). */
static size_t utf8_len(const unsigned char *s, size_t n) {
  unsigned char c = s[0];
  size_t len = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (len == 0 || len > n) return 0;
  for (size_t i = 1; i < len; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) ||
      (c == 0xf4 && s[1] > 0x8f))
    return 0;
  return len;
}

bool bk_json_quote(struct bk_buf *out, const char *s, size_t len) {
  bk_buf_addc(out, '"');
  for (size_t i = 0, n; i < len; i += n) {
    unsigned char c = (unsigned char)s[i];
    n = utf8_len((const unsigned char *)s + i, len - i);
    if (n == 0) return false;
    const char *esc = c == '"' ? "\\\"" : c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r"
                    : c == '\t' ? "\\t" : c == '\b' ? "\\b" : c == '\f' ? "\\f" : NULL;
    if (esc) bk_buf_adds(out, esc);
    else if (c < 0x20) bk_buf_addf(out, "\\u%04x", c);
    else bk_buf_add(out, s + i, n);
  }
  bk_buf_addc(out, '"');
  return true;
}

bool bk_json_real(struct bk_buf *out, double v) {
  if (!isfinite(v)) return false;
  char text[40];
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtod(text, NULL) == v) break;
  }
  bk_buf_adds(out, text);
  if (!strpbrk(text, ".e")) bk_buf_adds(out, ".0");
  return true;
}
