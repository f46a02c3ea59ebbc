#include <stdlib.h>

#include "base/mem.h"
#include "version/version_scan.h"

int bk_num_compare(struct bk_num a, struct bk_num b) {
  if (a.len != b.len) return a.len < b.len ? -1 : 1;
  int c = a.len ? memcmp(a.p, b.p, a.len) : 0;
  return (c > 0) - (c < 0);
}

int scan_too_long(size_t len, struct bk_err *err) {
  if (len <= BK_VERSION_MAX) return 0;
  return bk_fail(err, BK_USAGE, "version.syntax", "version text of %zu bytes (at most %d)", len,
                 BK_VERSION_MAX);
}

int scan_refuse(const char *what, const char *text, size_t len, struct bk_err *err) {
  return bk_fail(err, BK_USAGE, "version.syntax", "'%.*s' is no %s", (int)(len > 200 ? 200 : len),
                 text, what);
}

static bool is_sep(char c) { return c == '-' || c == '_' || c == '.'; }

/* Longest of the words at p, case-insensitive; words are ordered so that the first hit is right. */
static size_t take_word(const char *p, const char *end, const char *const words[], int *which) {
  for (int i = 0; words[i]; i++) {
    size_t k = 0;
    while (words[i][k] && p + k < end && scan_lower(p[k]) == words[i][k]) k++;
    if (!words[i][k]) {
      *which = i;
      return k;
    }
  }
  return 0;
}

/* [sep] word [sep] [digits]: the shape of pre, post and dev. Nothing is consumed without the word. */
static bool take_suffix(const char **p, const char *end, const char *const words[], int *which,
                        struct bk_num *n) {
  const char *s = *p;
  if (s < end && is_sep(*s)) s++;
  size_t k = take_word(s, end, words, which);
  if (!k) return false;
  s += k;
  /* A separator may stand here without a number; a next part needs none of its own. */
  if (s < end && is_sep(*s)) s++;
  scan_num(&s, end, n);
  *p = s;
  return true;
}

static const char *const PRE[] = {"alpha", "a", "beta", "b", "preview", "pre", "c", "rc", NULL};
static const char *const POST[] = {"post", "rev", "r", NULL};
static const char *const DEV[] = {"dev", NULL};

static void take_post(struct bk_pep440 *v, const char **p, const char *end) {
  int which;
  if (*p + 1 < end && **p == '-' && scan_digit((*p)[1])) {
    (*p)++;
    v->has_post = scan_num(p, end, &v->post);
  } else {
    v->has_post = take_suffix(p, end, POST, &which, &v->post);
  }
}

static bool take_local(struct bk_pep440 *v, const char **p, const char *end) {
  if (*p == end) return true;
  if (**p != '+') return false;
  const char *s = ++*p;
  bool want = true;
  for (; *p < end; (*p)++) {
    if (scan_alnum(**p)) want = false;
    else if (is_sep(**p) && !want) want = true;
    else return false;
  }
  v->local.p = s;
  v->local.len = (size_t)(*p - s);
  return !want;
}

static bool parse(struct bk_pep440 *v, const char *p, const char *end) {
  while (p < end && scan_space(*p)) p++;
  while (end > p && scan_space(end[-1])) end--;
  if (p < end && scan_lower(*p) == 'v') p++;
  struct bk_num first;
  if (!scan_num(&p, end, &first)) return false;
  if (p < end && *p == '!') {
    v->epoch = first;
    p++;
    if (!scan_num(&p, end, &first)) return false;
  }
  v->release[v->nrelease++] = first;
  while (p + 1 < end && *p == '.' && scan_digit(p[1])) {
    p++;
    scan_num(&p, end, &v->release[v->nrelease++]);
  }
  if (p == end) return true;
  int which;
  if (take_suffix(&p, end, PRE, &which, &v->pre_n))
    v->pre = which < 2 ? BK_PRE_ALPHA : which < 4 ? BK_PRE_BETA : BK_PRE_RC;
  take_post(v, &p, end);
  v->has_dev = take_suffix(&p, end, DEV, &which, &v->dev);
  return take_local(v, &p, end);
}

/* Release numbers that a text has at most; 0 when it cannot be a version. */
static size_t most_numbers(const char *text, size_t len) {
  size_t n = 1;
  for (size_t i = 0; i < len; i++) {
    if (!text[i]) return 0;
    n += text[i] == '.';
  }
  return n;
}

/* Memory for that many release numbers and a copy of the text. */
static size_t space_for(size_t numbers, size_t len) {
  return numbers * sizeof(struct bk_num) + len + 1;
}

/* Parses into that memory; false for what is no version. */
static bool parse_at(void *block, size_t numbers, struct bk_pep440 *v, const char *text,
                     size_t len) {
  v->release = block;
  v->text = (char *)(v->release + numbers);
  memcpy(v->text, text, len);
  v->text[len] = '\0';
  v->epoch.p = v->text;
  if (parse(v, v->text, v->text + len)) return true;
  memset(v, 0, sizeof *v);
  return false;
}

int bk_pep440_parse(struct bk_pep440 *v, const char *text, size_t len, struct bk_err *err) {
  memset(v, 0, sizeof *v);
  if (scan_too_long(len, err)) return -1;
  size_t numbers = most_numbers(text, len);
  void *block = numbers ? bk_malloc(space_for(numbers, len)) : NULL;
  if (block && parse_at(block, numbers, v, text, len)) {
    v->own = block;
    return 0;
  }
  free(block);
  return scan_refuse("PEP 440 version", text, len, err);
}

int bk_pep440_parse_in(struct bk_arena *arena, struct bk_pep440 *v, const char *text, size_t len,
                       struct bk_err *err) {
  memset(v, 0, sizeof *v);
  if (len > BK_VERSION_MAX) return err ? scan_too_long(len, err) : -1;
  size_t n = most_numbers(text, len);
  if (n && parse_at(bk_arena_alloc(arena, space_for(n, len)), n, v, text, len)) return 0;
  return err ? scan_refuse("PEP 440 version", text, len, err) : -1;
}

void bk_pep440_free(struct bk_pep440 *v) {
  if (!v) return;
  free(v->own);
  memset(v, 0, sizeof *v);
}

static struct bk_num release_at(const struct bk_pep440 *v, size_t i) {
  return i < v->nrelease ? v->release[i] : (struct bk_num){v->text, 0};
}

size_t bk_pep440_common(const struct bk_pep440 *a, const struct bk_pep440 *b, size_t limit) {
  size_t i = 0;
  while (i < limit && bk_num_compare(release_at(a, i), release_at(b, i)) == 0) i++;
  return i;
}

/* Local segments: words below numbers, words without case, a longer one above its prefix. */
static int compare_segment(struct bk_slice a, struct bk_slice b) {
  bool na = true, nb = true;
  for (size_t i = 0; i < a.len; i++) na = na && scan_digit(a.p[i]);
  for (size_t i = 0; i < b.len; i++) nb = nb && scan_digit(b.p[i]);
  if (na != nb) return na ? 1 : -1;
  if (na) {
    struct bk_num x, y;
    const char *p = a.p, *q = b.p;
    scan_num(&p, a.p + a.len, &x);
    scan_num(&q, b.p + b.len, &y);
    return bk_num_compare(x, y);
  }
  for (size_t i = 0; i < a.len && i < b.len; i++) {
    int c = scan_lower(a.p[i]) - scan_lower(b.p[i]);
    if (c) return c < 0 ? -1 : 1;
  }
  return (a.len > b.len) - (a.len < b.len);
}

static struct bk_slice next_segment(struct bk_slice *rest) {
  struct bk_slice s = {rest->p, 0};
  while (s.len < rest->len && !is_sep(rest->p[s.len])) s.len++;
  size_t used = s.len < rest->len ? s.len + 1 : s.len;
  rest->p += used;
  rest->len -= used;
  return s;
}

static int compare_local(struct bk_slice a, struct bk_slice b) {
  while (a.len && b.len) {
    int c = compare_segment(next_segment(&a), next_segment(&b));
    if (c) return c;
  }
  return (a.len > 0) - (b.len > 0);
}

/* Rank of the pre part: a bare dev release lies below every pre-release, a final above. */
static int pre_rank(const struct bk_pep440 *v) {
  if (v->pre) return (int)v->pre;
  return v->has_dev && !v->has_post ? 0 : 9;
}

int bk_pep440_compare(const struct bk_pep440 *a, const struct bk_pep440 *b) {
  int c = bk_num_compare(a->epoch, b->epoch);
  if (c) return c;
  size_t n = a->nrelease > b->nrelease ? a->nrelease : b->nrelease;
  for (size_t i = 0; i < n; i++)
    if ((c = bk_num_compare(release_at(a, i), release_at(b, i)))) return c;
  if ((c = pre_rank(a) - pre_rank(b))) return c < 0 ? -1 : 1;
  if (a->pre && (c = bk_num_compare(a->pre_n, b->pre_n))) return c;
  if (a->has_post != b->has_post) return a->has_post ? 1 : -1;
  if (a->has_post && (c = bk_num_compare(a->post, b->post))) return c;
  if (a->has_dev != b->has_dev) return a->has_dev ? -1 : 1;
  if (a->has_dev && (c = bk_num_compare(a->dev, b->dev))) return c;
  return compare_local(a->local, b->local);
}

/* Three release numbers of 21 bits; one that has no room in them ends the number, full. */
uint64_t bk_pep440_rank(const struct bk_pep440 *v) {
  enum { BITS = 21, FULL = (1 << BITS) - 1 };
  if (v->epoch.len) return UINT64_MAX;
  uint64_t rank = 0;
  for (size_t i = 0; i < 3; i++) {
    struct bk_num n = release_at(v, i);
    uint64_t value = 0;
    for (size_t k = 0; k < n.len && value < FULL; k++) value = value * 10 + (uint64_t)(n.p[k] - '0');
    rank |= (value < FULL ? value : FULL) << (BITS * (2 - i));
    if (value >= FULL) break;
  }
  return rank;
}

int bk_pep440_compare_ranked(const struct bk_pep440 *a, uint64_t ra, const struct bk_pep440 *b, uint64_t rb) {
  if (ra != rb) return ra < rb ? -1 : 1;
  return bk_pep440_compare(a, b);
}
