/* Replacement texts as Python's re.sub reads them (library reference, re.sub and "\g<name>"). */
#include <string.h>

#include "base/cleanup.h"
#include "regex/regex.h"

struct expand {
  const struct bk_regex *re;
  const char *s; /* subject, NULL: only check */
  const char *p;
  size_t len, i; /* i: behind the backslash */
  struct bk_buf *out;
  struct bk_err *err;
};

static int bad(struct expand *x, size_t n, const char *why) {
  size_t at = x->i - 1;
  return bk_fail(x->err, BK_USAGE, "regex.template", "replacement '%.*s': %s '%.*s' at offset %zu",
                 (int)(x->len < 100 ? x->len : 100), x->p, why, (int)(n < 60 ? n : 60), x->p + at,
                 at);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_octal(char c) { return c >= '0' && c <= '7'; }

/* n: bytes of the reference, with the backslash. */
static int add_group(struct expand *x, size_t group, size_t n) {
  size_t from, to;
  if (group > x->re->groups) return bad(x, n, "no such group");
  if (x->s && bk_regex_group(x->re, group, &from, &to)) bk_buf_add(x->out, x->s + from, to - from);
  x->i += n - 1;
  return 0;
}

static int find_name(struct expand *x, const char *name, size_t len, size_t n) {
  size_t group = 0;
  for (size_t i = 0; i < len && is_digit(name[i]); i++) {
    group = group * 10 + (size_t)(name[i] - '0');
    if (group > x->re->groups) break;
    if (i + 1 == len) return add_group(x, group, n);
  }
  for (size_t i = 0; i < x->re->names; i++) {
    const char *known;
    group = bk_regex_name(x->re, i, &known);
    if (strlen(known) == len && memcmp(known, name, len) == 0) return add_group(x, group, n);
  }
  return bad(x, n, "no such group");
}

/* \0, \0o, \0oo and \ooo are characters, \d and \dd groups. */
static int number(struct expand *x) {
  const char *d = x->p + x->i;
  size_t left = x->len - x->i, n = 1;
  if (d[0] == '0' || (left >= 3 && is_octal(d[0]) && is_octal(d[1]) && is_octal(d[2]))) {
    unsigned c = (unsigned)(d[0] - '0');
    for (; n < left && n < 3 && is_octal(d[n]); n++) c = c * 8 + (unsigned)(d[n] - '0');
    if (c > 0377) return bad(x, n + 1, "octal escape above \\377");
    if (x->s && c >= 0x80) bk_buf_addc(x->out, (char)(0xc0 | c >> 6));
    if (x->s) bk_buf_addc(x->out, (char)(c < 0x80 ? c : 0x80 | (c & 0x3f)));
    x->i += n;
    return 0;
  }
  size_t group = (size_t)(d[0] - '0');
  if (left >= 2 && is_digit(d[1])) group = group * 10 + (size_t)(d[1] - '0'), n = 2;
  return add_group(x, group, n + 1);
}

static int escape(struct expand *x) {
  static const char letters[] = "abfnrtv", values[] = "\a\b\f\n\r\t\v";
  char c = x->p[x->i];
  const char *known = memchr(letters, c, sizeof letters - 1);
  if (is_digit(c)) return number(x);
  if (c == 'g') {
    const char *open = x->p + x->i + 1;
    size_t left = x->len - x->i - 1;
    const char *close = left ? memchr(open, '>', left) : NULL;
    if (!close || *open != '<' || close == open + 1) return bad(x, 2, "expected \\g<group>, found");
    return find_name(x, open + 1, (size_t)(close - open) - 1, (size_t)(close - x->p) - x->i + 2);
  }
  bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  if (!known && letter) return bad(x, 2, "unknown escape");
  x->i++;
  if (!x->s) return 0;
  if (known) bk_buf_addc(x->out, values[known - letters]);
  else if (c == '\\') bk_buf_addc(x->out, c);
  else bk_buf_addc(x->out, '\\'), bk_buf_addc(x->out, c);
  return 0;
}

int bk_regex_expand(const struct bk_regex *re, const char *s, const char *text, size_t len,
                    struct bk_buf *out, struct bk_err *err) {
  struct expand x = {.re = re, .s = s, .p = text, .len = len, .out = out, .err = err};
  while (x.i < len) {
    const char *slash = memchr(x.p + x.i, '\\', len - x.i);
    size_t plain = slash ? (size_t)(slash - x.p) - x.i : len - x.i;
    if (s) bk_buf_add(out, x.p + x.i, plain);
    x.i += plain;
    if (!slash) break;
    x.i++;
    if (x.i == len) return bad(&x, 1, "nothing behind");
    if (escape(&x)) return -1;
  }
  return 0;
}
