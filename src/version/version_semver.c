#include <stdlib.h>

#include "base/mem.h"
#include "version/version_scan.h"

static bool in_alphabet(char c) { return scan_alnum(c) || c == '.' || c == '-'; }

static bool take_identifiers(const char **p, const char *end, struct bk_slice *out) {
  const char *s = ++*p;
  bool empty = true;
  for (; *p < end && in_alphabet(**p); (*p)++) {
    if (**p == '.' && empty) return false;
    empty = **p == '.';
  }
  *out = (struct bk_slice){s, (size_t)(*p - s)};
  return !empty;
}

static bool is_wildcard(char c) { return c == 'x' || c == 'X' || c == '*'; }

/* Numbers, prerelease, build. With `wild`, an x ends the numbers, and none at all is fine. */
static bool parse(struct bk_semver *v, const char **p, const char *end, bool wild) {
  static const struct bk_num zero = {"", 0};
  v->num[0] = v->num[1] = v->num[2] = zero;
  if (*p < end && scan_lower(**p) == 'v') (*p)++;
  bool open = false;
  for (int i = 0; i < 3; i++) {
    if (i && (*p == end || **p != '.')) break;
    const char *s = *p + (i ? 1 : 0);
    if (wild && s < end && is_wildcard(*s)) {
      *p = s + 1;
      open = true;
    } else if (open || !scan_num(&s, end, &v->num[v->parts])) {
      return false;
    } else {
      v->parts++;
      *p = s;
    }
  }
  if (!v->parts && !open) return false;
  if (*p < end && **p == '-' && !open && !take_identifiers(p, end, &v->prerelease)) return false;
  if (*p < end && **p == '+' && !open && !take_identifiers(p, end, &v->build)) return false;
  return true;
}

int bk_semver_parse(struct bk_semver *v, const char *text, size_t len, struct bk_err *err) {
  memset(v, 0, sizeof *v);
  if (scan_too_long(len, err)) return -1;
  v->text = bk_strndup(text, len);
  const char *p = v->text;
  if (!memchr(text, 0, len) && parse(v, &p, v->text + len, false) && p == v->text + len) return 0;
  bk_semver_free(v);
  return scan_refuse("semantic version", text, len, err);
}

void bk_semver_free(struct bk_semver *v) {
  if (!v) return;
  free(v->text);
  memset(v, 0, sizeof *v);
}

int bk_semver_compare(const struct bk_semver *a, const struct bk_semver *b) {
  for (int i = 0; i < 3; i++) {
    int c = bk_num_compare(a->num[i], b->num[i]);
    if (c) return c;
  }
  return bk_prerelease_compare(a->prerelease, b->prerelease);
}

/* --- ranges ------------------------------------------------------------------------------------- */

enum op { OP_EQ, OP_NE, OP_GT, OP_GE, OP_LT, OP_LE, OP_CARET, OP_TILDE };

struct comparator {
  enum op op;
  struct bk_semver v; /* slices into the range */
};

static enum op take_op(const char **p, const char *end) {
  static const struct {
    const char *text;
    enum op op;
  } OPS[] = {{">=", OP_GE}, {"<=", OP_LE}, {"!=", OP_NE}, {"==", OP_EQ}, {"~>", OP_TILDE},
             {">", OP_GT},  {"<", OP_LT},  {"=", OP_EQ},  {"^", OP_CARET}, {"~", OP_TILDE}};
  for (size_t i = 0; i < BK_ARRAY_LEN(OPS); i++) {
    size_t n = strlen(OPS[i].text);
    if ((size_t)(end - *p) >= n && memcmp(*p, OPS[i].text, n) == 0) {
      *p += n;
      return OPS[i].op;
    }
  }
  return OP_EQ;
}

static void skip(const char **p, const char *end) {
  while (*p < end && (scan_space(**p) || **p == ',')) (*p)++;
}

/* First `n` numbers compared; the rest does not count. */
static int compare_prefix(const struct bk_semver *a, const struct bk_semver *b, size_t n) {
  for (size_t i = 0; i < n && i < 3; i++) {
    int c = bk_num_compare(a->num[i], b->num[i]);
    if (c) return c;
  }
  return 0;
}

/* How many leading numbers a caret pins: up to and with the first that is not zero. */
static size_t caret_width(const struct bk_semver *v) {
  size_t n = v->parts;
  for (size_t i = 0; i < n; i++)
    if (v->num[i].len) return i + 1;
  return n;
}

static bool holds(const struct bk_semver *v, const struct comparator *c) {
  const struct bk_semver *w = &c->v;
  bool partial = w->parts < 3;
  int cmp = partial ? compare_prefix(v, w, w->parts) : bk_semver_compare(v, w);
  switch (c->op) {
    case OP_EQ: return cmp == 0;
    case OP_NE: return cmp != 0;
    case OP_GT: return cmp > 0;
    case OP_GE: return cmp >= 0;
    case OP_LT: return cmp < 0;
    case OP_LE: return cmp <= 0;
    case OP_CARET:
      return (partial ? cmp >= 0 : bk_semver_compare(v, w) >= 0) &&
             compare_prefix(v, w, caret_width(w)) == 0;
    case OP_TILDE:
      return (partial ? cmp >= 0 : bk_semver_compare(v, w) >= 0) &&
             compare_prefix(v, w, w->parts < 2 ? w->parts : 2) == 0;
  }
  return false;
}

static bool same_numbers(const struct bk_semver *a, const struct bk_semver *b) {
  return compare_prefix(a, b, 3) == 0;
}

/* Reads one comparator; "A - B" gives two by leaving the second for the next call. */
static bool take_comparator(const char **p, const char *end, bool *hyphen, struct comparator *c) {
  memset(c, 0, sizeof *c);
  c->op = *hyphen ? OP_LE : take_op(p, end);
  bool was_hyphen = *hyphen;
  *hyphen = false;
  skip(p, end);
  if (!parse(&c->v, p, end, true)) return false;
  if (*p < end && !scan_space(**p) && **p != ',' && **p != '|') return false;
  const char *s = *p;
  skip(&s, end);
  if (!was_hyphen && c->op == OP_EQ && s + 1 < end && *s == '-' && scan_space(s[1]) && s > *p) {
    c->op = OP_GE;
    *hyphen = true;
    *p = s + 1;
  }
  return true;
}

/* All comparators of one alternative; *p ends at "||" or the end. -1 for bad text. */
static int alternative(const struct bk_semver *v, const char **p, const char *end) {
  bool ok = true, named = !v->prerelease.p, hyphen = false;
  for (;;) {
    skip(p, end);
    if (*p == end || **p == '|') break;
    struct comparator c;
    if (!take_comparator(p, end, &hyphen, &c)) return -1;
    ok = ok && holds(v, &c);
    if (c.v.prerelease.p && same_numbers(v, &c.v)) named = true;
  }
  return hyphen ? -1 : ok && named;
}

int bk_semver_satisfies(const struct bk_semver *v, const char *range, size_t len,
                        struct bk_err *err) {
  const char *p = range, *end = range + len;
  if (scan_too_long(len, err)) return -1;
  int found = 0;
  for (;;) {
    int r = alternative(v, &p, end);
    if (r < 0) break;
    found |= r;
    if (p == end) return found;
    if (p + 1 >= end || p[1] != '|') break;
    p += 2;
  }
  return bk_fail(err, BK_USAGE, "version.range", "bad version range '%.*s'",
                 (int)(len > 200 ? 200 : len), range);
}
