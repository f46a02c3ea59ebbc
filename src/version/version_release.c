#include <stdlib.h>

#include "base/mem.h"
#include "version/version_scan.h"

static bool in_alphabet(char c) { return scan_alnum(c) || c == '.' || c == '-'; }

/* digits(.digits)+ into r->nums; false unless there are two groups at least. */
static bool take_numbers(struct bk_release *r, const char **p, const char *end) {
  size_t first = r->nnums;
  if (!scan_num(p, end, &r->nums[r->nnums])) return false;
  r->nnums++;
  while (*p + 1 < end && **p == '.' && scan_digit((*p)[1])) {
    (*p)++;
    scan_num(p, end, &r->nums[r->nnums++]);
  }
  return r->nnums - first >= 2;
}

static struct bk_slice take_rest(const char **p, const char *end) {
  struct bk_slice s = {++*p, 0};
  while (*p < end && in_alphabet(**p)) (*p)++;
  s.len = (size_t)(*p - s.p);
  return s;
}

static bool parse_plain(struct bk_release *r, const char *p, const char *end) {
  if (!take_numbers(r, &p, end)) return false;
  if (p < end && *p == '-') {
    r->prerelease = take_rest(&p, end);
    if (!r->prerelease.len) return false;
  }
  if (p < end && *p == '+') {
    r->build = take_rest(&p, end);
    if (!r->build.len) return false;
  }
  return p == end;
}

static const char *const DEPENDENCIES[] = {"python", "R", "quarto", "positron"};

static bool parse_deps(struct bk_release *r, const char *p, const char *end) {
  r->is_deps = true;
  r->deps = bk_reallocarray(NULL, scan_count(p, end, '-') + 1, sizeof *r->deps);
  for (;;) {
    struct bk_release_dep *d = &r->deps[r->ndeps];
    *d = (struct bk_release_dep){.first = r->nnums};
    for (size_t i = 0; i < BK_ARRAY_LEN(DEPENDENCIES); i++) {
      size_t n = strlen(DEPENDENCIES[i]);
      if ((size_t)(end - p) > n && memcmp(p, DEPENDENCIES[i], n) == 0)
        d->name = (struct bk_slice){p, n};
    }
    p += d->name.len;
    if (!d->name.len || !take_numbers(r, &p, end)) return false;
    d->count = r->nnums - d->first;
    r->ndeps++;
    if (p == end) return true;
    if (*p++ != '-') return false;
  }
}

static void clear(struct bk_release *r) {
  free(r->deps);
  r->deps = NULL;
  r->ndeps = r->nnums = 0;
  r->is_deps = false;
  r->prerelease = r->build = (struct bk_slice){NULL, 0};
}

int bk_release_parse(struct bk_release *r, const char *text, size_t len, struct bk_err *err) {
  memset(r, 0, sizeof *r);
  if (scan_too_long(len, err)) return -1;
  r->text = bk_strndup(text, len);
  const char *end = r->text + len;
  size_t room = scan_count(r->text, end, '.') + scan_count(r->text, end, '-') + 1;
  r->nums = bk_reallocarray(NULL, room, sizeof *r->nums);
  if (!memchr(text, 0, len)) {
    if (parse_plain(r, r->text, end)) return 0;
    clear(r);
    if (parse_deps(r, r->text, end)) return 0;
  }
  bk_release_free(r);
  return scan_refuse("release name", text, len, err);
}

void bk_release_free(struct bk_release *r) {
  if (!r) return;
  clear(r);
  free(r->nums);
  free(r->text);
  memset(r, 0, sizeof *r);
}

static int compare_identifier(struct bk_slice a, struct bk_slice b) {
  bool na = a.len > 0, nb = b.len > 0;
  for (size_t i = 0; i < a.len; i++) na = na && scan_digit(a.p[i]);
  for (size_t i = 0; i < b.len; i++) nb = nb && scan_digit(b.p[i]);
  if (na != nb) return na ? -1 : 1;
  if (na) {
    struct bk_num x, y;
    const char *p = a.p, *q = b.p;
    scan_num(&p, a.p + a.len, &x);
    scan_num(&q, b.p + b.len, &y);
    return bk_num_compare(x, y);
  }
  size_t n = a.len < b.len ? a.len : b.len;
  int c = n ? memcmp(a.p, b.p, n) : 0;
  return c ? (c > 0) - (c < 0) : (a.len > b.len) - (a.len < b.len);
}

/* False when `rest` had no identifier left. */
static bool next_identifier(struct bk_slice *rest, bool *more, struct bk_slice *out) {
  if (!*more) return false;
  *out = (struct bk_slice){rest->p, 0};
  while (out->len < rest->len && rest->p[out->len] != '.') out->len++;
  *more = out->len < rest->len;
  size_t used = out->len + (*more ? 1 : 0);
  rest->p += used;
  rest->len -= used;
  return true;
}

int bk_prerelease_compare(struct bk_slice a, struct bk_slice b) {
  if (!a.p || !b.p) return !a.p - !b.p; /* a prerelease lies below none at all */
  bool more_a = true, more_b = true;
  for (;;) {
    struct bk_slice x = {0}, y = {0};
    bool ha = next_identifier(&a, &more_a, &x), hb = next_identifier(&b, &more_b, &y);
    if (!ha || !hb) return ha - hb;
    int c = compare_identifier(x, y);
    if (c) return c;
  }
}

static int compare_numbers(const struct bk_num *a, size_t na, const struct bk_num *b, size_t nb) {
  size_t n = na > nb ? na : nb;
  for (size_t i = 0; i < n; i++) {
    struct bk_num zero = {"", 0};
    int c = bk_num_compare(i < na ? a[i] : zero, i < nb ? b[i] : zero);
    if (c) return c;
  }
  return 0;
}

int bk_release_compare(const struct bk_release *a, const struct bk_release *b) {
  bool low_a = !a || a->is_deps, low_b = !b || b->is_deps;
  if (low_a || low_b) return low_b - low_a;
  int c = compare_numbers(a->nums, a->nnums, b->nums, b->nnums);
  return c ? c : bk_prerelease_compare(a->prerelease, b->prerelease);
}

/* --- the selection filter ----------------------------------------------------------------------- */

static bool slice_equal(struct bk_slice a, struct bk_slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static bool deps_match(const struct bk_release *n, const struct bk_release *f) {
  if (f->ndeps > n->ndeps) return false;
  for (size_t i = 0; i < f->ndeps; i++) {
    const struct bk_release_dep *a = &n->deps[i], *b = &f->deps[i];
    if (!slice_equal(a->name, b->name) || a->count != b->count) return false;
    if (compare_numbers(n->nums + a->first, a->count, f->nums + b->first, b->count)) return false;
  }
  return true;
}

static bool plain_match(const struct bk_release *n, const struct bk_release *f) {
  if (f->nnums > n->nnums) return false;
  if (compare_numbers(n->nums, f->nnums, f->nums, f->nnums)) return false;
  return !f->prerelease.p || (n->prerelease.p && slice_equal(n->prerelease, f->prerelease));
}

/* Parts between dots: each of the filter's equals the name's, or is followed there by `-`. */
static bool parts_match(struct bk_slice n, struct bk_slice f) {
  bool more_n = true, more_f = true;
  struct bk_slice a, b;
  while (next_identifier(&f, &more_f, &b)) {
    if (!next_identifier(&n, &more_n, &a)) return false;
    if (slice_equal(a, b)) continue;
    if (a.len <= b.len || (b.len && memcmp(a.p, b.p, b.len)) || a.p[b.len] != '-') return false;
  }
  return true;
}

bool bk_release_matches(const char *n, size_t nlen, const char *f, size_t flen) {
  struct bk_slice sn = {n, nlen}, sf = {f, flen};
  if (slice_equal(sn, sf)) return true;
  struct bk_release rn, rf;
  struct bk_err err;
  if (bk_release_parse(&rn, n, nlen, &err)) return parts_match(sn, sf);
  bool ok;
  if (bk_release_parse(&rf, f, flen, &err)) {
    ok = parts_match(sn, sf);
  } else {
    if (rn.is_deps != rf.is_deps) ok = false;
    else ok = rn.is_deps ? deps_match(&rn, &rf) : plain_match(&rn, &rf);
    bk_release_free(&rf);
  }
  bk_release_free(&rn);
  return ok;
}
