#include "snapshot/ignore.h"

#include <string.h>

#include "base/mem.h"
#include "snapshot/glob.h"

struct rule {
  struct bk_glob *glob;
  bool negated;
  int line;
  /* Of a negated pattern: its components before the first wildcard; all it matches is below. */
  char *prefix;
};

struct bk_ignore {
  struct rule *rules;
  size_t n, words;
  bool any_negated;
  char **lines;
  size_t n_lines;
};

/* --- Go's path.Clean ------------------------------------------------------------------------- */

size_t bk_path_clean(char *path) {
  bool rooted = path[0] == '/';
  size_t out = rooted, floor = out; /* ".." cannot go back behind floor */
  for (const char *p = path; *p;) {
    size_t n = strcspn(p, "/");
    bool dot = n == 1 && p[0] == '.', dotdot = n == 2 && p[0] == '.' && p[1] == '.';
    if (dotdot && out > floor) {
      while (out > floor && path[out - 1] != '/') out--;
      if (out > floor) out--;
    } else if (n && !dot && !(dotdot && rooted)) {
      if (out > rooted) path[out++] = '/';
      memmove(path + out, p, n);
      out += n;
      if (dotdot) floor = out;
    }
    p += n + (p[n] == '/');
  }
  if (out == 0) path[out++] = '.';
  path[out] = '\0';
  return out;
}

/* --- compiling ------------------------------------------------------------------------------- */

static bool is_space(const char *s, size_t n, size_t *len) {
  static const char *const wide[] = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80",
                                     "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf",
                                     "\xe2\x81\x9f", "\xe3\x80\x80"};
  *len = 1;
  if (n && (*s == ' ' || (*s >= '\t' && *s <= '\r'))) return true;
  for (size_t i = 0; i < BK_ARRAY_LEN(wide); i++)
    if ((*len = strlen(wide[i])) <= n && memcmp(s, wide[i], *len) == 0) return true;
  *len = 3; /* U+2000 to U+200A */
  return n >= 3 && memcmp(s, "\xe2\x80", 2) == 0 && (unsigned char)s[2] >= 0x80 &&
         (unsigned char)s[2] <= 0x8a;
}

/* unicode.IsSpace at both ends, as strings.TrimSpace. */
static void trim(const char **s, size_t *n) {
  size_t len;
  while (*n && is_space(*s, *n, &len)) {
    *s += len;
    *n -= len;
  }
  for (bool again = true; again && *n;) {
    again = false;
    for (size_t back = 1; back <= 3 && back <= *n && !again; back++)
      if (is_space(*s + *n - back, back, &len) && len == back) {
        *n -= back;
        again = true;
      }
  }
}

/* Whole components before the first one that holds a wildcard or an escape. */
static char *literal_prefix(const char *pattern) {
  size_t magic = strcspn(pattern, "*?[\\"), n = strlen(pattern);
  if (magic < n) {
    n = magic;
    while (n && pattern[n - 1] != '/') n--;
    if (n) n--;
  }
  return bk_strndup(pattern, n);
}

static int add_rule(struct bk_ignore *ig, const char *text, size_t n, bool negated, int line,
                    struct bk_err *err) {
  cleanup_free char *pattern = bk_strndup(text, n);
  n = bk_path_clean(pattern);
  char *p = pattern;
  if (n > 1 && *p == '/') p++, n--;
  if (ig->n >= BK_IGNORE_MAX)
    return bk_fail(err, BK_BUILD, "glob.syntax", "more than %d patterns", BK_IGNORE_MAX);
  struct bk_glob *glob = bk_glob_compile(p, n, BK_GLOB_IGNORE, err);
  if (!glob) return -1;
  ig->rules[ig->n++] = (struct rule){glob, negated, line, literal_prefix(p)};
  ig->any_negated |= negated;
  return 0;
}

static int add_line(struct bk_ignore *ig, const char *line, int number, struct bk_err *err) {
  if (number == 0 && strncmp(line, "\xef\xbb\xbf", 3) == 0) line += 3;
  size_t n = strlen(line);
  if (*line == '#') return 0;
  trim(&line, &n);
  if (!n) return 0;
  bool negated = *line == '!';
  if (negated) {
    line++, n--;
    trim(&line, &n);
    if (!n) return bk_fail(err, BK_BUILD, "glob.syntax", "'!' without a pattern");
  }
  return add_rule(ig, line, n, negated, number, err);
}

int bk_ignore_new(const char *const *lines, size_t n, struct bk_ignore **out,
                  struct bk_err *err) {
  struct bk_ignore *ig = bk_calloc(1, sizeof *ig);
  ig->rules = bk_calloc(n ? n : 1, sizeof *ig->rules);
  ig->lines = bk_calloc(n ? n : 1, sizeof *ig->lines);
  *out = NULL;
  for (size_t i = 0; i < n; i++) {
    ig->lines[ig->n_lines++] = bk_strdup(lines[i]);
    if (add_line(ig, lines[i], (int)i, err)) {
      bk_err_where(err, "line %zu", i + 1);
      bk_ignore_free(ig);
      return -1;
    }
  }
  ig->words = (ig->n + 63) / 64;
  *out = ig;
  return 0;
}

void bk_ignore_free(struct bk_ignore *ig) {
  if (!ig) return;
  for (size_t i = 0; i < ig->n; i++) {
    bk_glob_free(ig->rules[i].glob);
    free(ig->rules[i].prefix);
  }
  for (size_t i = 0; i < ig->n_lines; i++) free(ig->lines[i]);
  free(ig->rules);
  free(ig->lines);
  free(ig);
}

size_t bk_ignore_count(const struct bk_ignore *ig) { return ig ? ig->n : 0; }
size_t bk_ignore_words(const struct bk_ignore *ig) { return ig ? ig->words : 0; }

const char *bk_ignore_line(const struct bk_ignore *ig, int rule) {
  return ig && rule >= 0 ? ig->lines[ig->rules[rule].line] : "";
}

/* --- matching -------------------------------------------------------------------------------- */

bool bk_ignore_match(const struct bk_ignore *ig, const char *path, size_t n,
                     const uint64_t *parent, uint64_t *own, int *rule) {
  if (rule) *rule = -1;
  if (!ig) return false;
  if (own) memset(own, 0, ig->words * sizeof *own);
  int last = -1;
  for (size_t i = ig->n; i-- > 0;) {
    bool hit = (parent && parent[i / 64] >> (i % 64) & 1) ||
               bk_glob_match(ig->rules[i].glob, path, n);
    if (!hit) continue;
    if (last < 0) last = (int)i;
    if (!own) break; /* only the last one counts; children need them all */
    own[i / 64] |= (uint64_t)1 << (i % 64);
  }
  if (rule) *rule = last;
  return last >= 0 && !ig->rules[last].negated;
}

bool bk_ignore_path(const struct bk_ignore *ig, const char *path, uint64_t *own, int *rule) {
  if (rule) *rule = -1;
  if (!ig || !ig->n) return false;
  uint64_t *state = bk_calloc(2 * ig->words, sizeof *state), *next = state + ig->words;
  bool excluded = false;
  for (size_t n = 0; path[n];) {
    n += strcspn(path + n + (n > 0), "/") + (n > 0);
    excluded = bk_ignore_match(ig, path, n, state, next, rule);
    memcpy(state, next, ig->words * sizeof *state);
  }
  if (own) memcpy(own, state, ig->words * sizeof *own);
  free(state);
  return excluded;
}

bool bk_ignore_may_include(const struct bk_ignore *ig, const char *path, size_t n) {
  if (!ig || !ig->any_negated) return false;
  for (size_t i = 0; i < ig->n; i++) {
    if (!ig->rules[i].negated) continue;
    const char *prefix = ig->rules[i].prefix;
    size_t m = strlen(prefix), least = m < n ? m : n;
    if (memcmp(prefix, path, least) != 0) continue;
    if (m == n || (m > n && (n == 0 || prefix[n] == '/')) || (m < n && (m == 0 || path[m] == '/')))
      return true;
  }
  return false;
}
