#include "json/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { MAX_TEXT = 256 << 20 };

/* --- reading --------------------------------------------------------------------------------- */

static size_t characters(const char *s, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xc0) != 0x80;
  return count;
}

static int fail_at(struct bk_err *err, const char *name, size_t line, size_t col, const char *code,
                   const char *message) {
  bk_fail(err, BK_BUILD, code, "%s", message);
  return bk_err_where(err, "%.200s:%zu:%zu", name, line, col);
}

/* jansson says "X expected near 'Y'" and where Y ends: we say "expected X, found 'Y'" and where Y
 * begins. */
static int syntax(struct bk_err *err, const char *name, const json_error_t *e) {
  size_t line = e->line < 1 ? 1 : (size_t)e->line, col = e->column < 0 ? 0 : (size_t)e->column;
  const char *near = strstr(e->text, " near "), *found = near ? near + 6 : NULL;
  size_t n = near ? (size_t)(near - e->text) : strlen(e->text);
  char text[sizeof e->text + 40];
  static const char expected[] = " expected", unexpected[] = "unexpected token";
  size_t tail = sizeof expected - 1;
  if (found && n > tail && strncmp(near - tail, expected, tail) == 0)
    snprintf(text, sizeof text, "expected %.*s, found %s", (int)(n - tail), e->text, found);
  else if (found && n == sizeof unexpected - 1 && strncmp(e->text, unexpected, n) == 0)
    snprintf(text, sizeof text, "expected a value, found %s", found);
  else snprintf(text, sizeof text, "%s", e->text);
  enum json_error_code code = json_error_code(e);
  size_t token = found && *found == '\'' ? characters(found + 1, strlen(found) - 2) : 0;
  bool behind = (found && *found != '\'') || code == json_error_invalid_utf8;
  if (behind) col++;
  else if (token && token <= col) col -= token - 1;
  return fail_at(err, name, line, col < 1 ? 1 : col, "json.syntax", text);
}

/* Refuses deep nesting before jansson recurses into it. Malformed text is left to the parser. */
static int check_depth(const char *s, size_t n, const char *name, struct bk_err *err) {
  size_t depth = 0, line = 1, start = 0;
  bool quoted = false;
  for (size_t i = 0; i < n; i++) {
    switch (s[i]) {
      case '\\': i += quoted; break;
      case '"': quoted = !quoted; break;
      case '\n': line++, start = i + 1; break;
      case '[': case '{':
        if (quoted || ++depth <= BK_JSON_DEPTH) break;
        return fail_at(err, name, line, characters(s + start, i - start) + 1, "json.too_deep",
                       "nested deeper than 500 levels");
      case ']': case '}': depth -= !quoted && depth > 0; break;
      default: break;
    }
  }
  return 0;
}

int bk_json_parse(const char *text, size_t len, const char *name, int flags, json_t **out,
                  struct bk_err *err) {
  *out = NULL;
  if (len > MAX_TEXT)
    return fail_at(err, name, 1, 1, "json.too_large", "larger than 256 MiB");
  if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) text += 3, len -= 3; /* RFC 8259, 8.1 */
  if (check_depth(text, len, name, err)) return -1;
  json_error_t e;
  size_t how = JSON_DECODE_ANY | JSON_ALLOW_NUL;
  if (flags & BK_JSON_UNIQUE) how |= JSON_REJECT_DUPLICATES;
  *out = json_loadb(text, len, how, &e);
  return *out ? 0 : syntax(err, name, &e);
}

/* --- writing --------------------------------------------------------------------------------- */

static const char *escape_of(unsigned char c) {
  switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    case '\b': return "\\b";
    case '\f': return "\\f";
    default: return NULL;
  }
}

bool bk_json_quote(struct bk_buf *out, const char *s, size_t len, bool lossy) {
  bk_buf_addc(out, '"');
  size_t done = 0; /* bytes written so far; plain runs go out in one piece */
  for (size_t i = 0, n; i < len; i += n) {
    unsigned char c = (unsigned char)s[i];
    n = bk_utf8_len(s + i, len - i);
    if (n == 0 && !lossy) return false;
    const char *esc = n ? escape_of(c) : "\xef\xbf\xbd";
    if (!esc && c >= 0x20) continue;
    bk_buf_add(out, s + done, i - done);
    n = 1;
    done = i + 1;
    if (esc) bk_buf_adds(out, esc);
    else bk_buf_addf(out, "\\u%04x", c);
  }
  bk_buf_add(out, s + done, len - done);
  bk_buf_addc(out, '"');
  return true;
}

/* Shortest "d.ddde±xx" that reads back as v. */
static void shortest(double v, char *text, size_t size) {
  bool subnormal = fabs(v) < 2.2250738585072014e-308;
  for (int digits = subnormal ? 1 : 15; digits <= 17; digits++) {
    snprintf(text, size, "%.*e", digits - 1, v);
    if (strtod(text, NULL) == v) return;
  }
}

bool bk_json_real(struct bk_buf *out, double v) {
  if (!isfinite(v)) return false;
  char text[40], digits[20];
  shortest(v, text, sizeof text);
  const char *p = text + (*text == '-');
  char *e = strchr(text, 'e');
  int exponent = (int)strtol(e + 1, NULL, 10), n = 0;
  for (; p < e; p++)
    if (*p >= '0' && *p <= '9') digits[n++] = *p;
  while (n > 1 && digits[n - 1] == '0') n--;
  if (*text == '-') bk_buf_addc(out, '-');
  /* Where Python's repr changes to exponents: outside 1e-4 … 1e16. */
  if (exponent < -4 || exponent >= 16) {
    bk_buf_addc(out, digits[0]);
    if (n > 1) bk_buf_addf(out, ".%.*s", n - 1, digits + 1);
    bk_buf_addf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
  } else if (exponent < 0) {
    bk_buf_addf(out, "0.%.*s%.*s", -exponent - 1, "0000", n, digits);
  } else if (exponent + 1 >= n) {
    bk_buf_addf(out, "%.*s%.*s.0", n, digits, exponent + 1 - n, "000000000000000");
  } else {
    bk_buf_addf(out, "%.*s.%.*s", exponent + 1, digits, n - exponent - 1, digits + exponent + 1);
  }
  return true;
}
