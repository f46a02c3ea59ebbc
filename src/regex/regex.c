#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex/regex.h"

#include <pcre2.h>
#include <string.h>

#include "base/cleanup.h"

enum { MATCH_LIMIT = 2000000, HEAP_LIMIT_KIB = 65536, JIT_AFTER = 8 };

/* --- Python's syntax where PCRE2 reads something else ----------------------------------------- */

struct rewrite {
  struct bk_buf *out; /* NULL: only count */
  size_t at, stop;    /* bytes of output so far; end when this many are reached */
};

static void put(struct rewrite *w, const char *p, size_t n) {
  if (w->out) bk_buf_add(w->out, p, n);
  w->at += n;
}

/* Length of "{,N}" at p, else 0. */
static size_t open_count(const char *p, size_t n) {
  size_t i = 2;
  if (n < 4 || p[0] != '{' || p[1] != ',') return 0;
  while (i < n && p[i] >= '0' && p[i] <= '9') i++;
  return i > 2 && i < n && p[i] == '}' ? i + 1 : 0;
}

/* `\Z` is the very end in Python and the last line's end in PCRE2; "{,3}" is a count in Python and
 * literal text in PCRE2 before 10.43. Returns how far it has read. */
static size_t translate(struct rewrite *w, const char *p, size_t n) {
  bool class_ = false;
  size_t i = 0;
  while (i < n && w->at < w->stop) {
    size_t count = class_ ? 0 : open_count(p + i, n - i);
    if (p[i] == '\\' && i + 1 < n) {
      bool end = p[i + 1] == 'Z' && !class_;
      put(w, end ? "\\z" : p + i, 2);
      i += 2;
    } else if (count) {
      put(w, "{0,", 3);
      put(w, p + i + 2, count - 2);
      i += count;
    } else if (p[i] == '[' && !class_) {
      class_ = true;
      size_t k = 1 + (i + 1 < n && p[i + 1] == '^');
      k += i + k < n && p[i + k] == ']'; /* a first ']' is a member */
      put(w, p + i, k);
      i += k;
    } else {
      if (p[i] == ']') class_ = false;
      put(w, p + i, 1);
      i++;
    }
  }
  return i;
}

static size_t source_offset(const char *pattern, size_t len, size_t at) {
  struct rewrite w = {.stop = at};
  size_t i = translate(&w, pattern, len);
  return i > at ? at : i;
}

/* --- compiling ------------------------------------------------------------------------------- */

static int parse_flags(const char *flags, uint32_t *options, struct bk_err *err) {
  *options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  for (; flags && *flags; flags++) {
    switch (*flags) {
      case 'i': *options |= PCRE2_CASELESS; break;
      case 'm': *options |= PCRE2_MULTILINE; break;
      case 's': *options |= PCRE2_DOTALL; break;
      case 'x': *options |= PCRE2_EXTENDED; break;
      case 'D': *options |= PCRE2_DOLLAR_ENDONLY; break;
      default:
        return bk_fail(err, BK_USAGE, "regex.flag",
                       "unknown regex flag '%c', expected one of imsxD", *flags);
    }
  }
  return 0;
}

static int bad_pattern(struct bk_regex *re, const char *pattern, size_t len, int code, size_t at,
                       struct bk_err *err) {
  char text[160];
  pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
  re->error_offset = source_offset(pattern, len, at);
  bk_fail(err, BK_USAGE, "regex.syntax", "bad regular expression '%.*s': %s at offset %zu",
          (int)(len < 200 ? len : 200), pattern, text, re->error_offset);
  return bk_err_where(err, "offset %zu", re->error_offset);
}

int bk_regex_compile(struct bk_regex *re, const char *pattern, size_t len, const char *flags,
                     struct bk_err *err) {
  *re = (struct bk_regex){0};
  uint32_t options, n = 0;
  if (parse_flags(flags, &options, err)) return -1;
  cleanup_buf struct bk_buf text = {0};
  struct rewrite w = {.out = &text, .stop = SIZE_MAX};
  translate(&w, pattern, len);
  int code;
  PCRE2_SIZE at;
  re->code = pcre2_compile((PCRE2_SPTR)bk_buf_str(&text), text.len, options, &code, &at, NULL);
  if (!re->code) return bad_pattern(re, pattern, len, code, at, err);
  re->match = pcre2_match_data_create_from_pattern(re->code, NULL);
  re->limits = pcre2_match_context_create(NULL);
  if (!re->match || !re->limits) {
    bk_regex_free(re);
    return bk_fail(err, BK_INFRA, "ENOMEM", "compile regular expression: out of memory");
  }
  pcre2_set_match_limit(re->limits, MATCH_LIMIT);
  pcre2_set_heap_limit(re->limits, HEAP_LIMIT_KIB);
  pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &n);
  re->groups = n;
  pcre2_pattern_info(re->code, PCRE2_INFO_NAMECOUNT, &n);
  re->names = n;
  return 0;
}

void bk_regex_free(struct bk_regex *re) {
  pcre2_match_context_free(re->limits);
  pcre2_match_data_free(re->match);
  pcre2_code_free(re->code);
  *re = (struct bk_regex){0};
}

/* --- matching -------------------------------------------------------------------------------- */

static int search(struct bk_regex *re, const char *s, size_t len, size_t start, uint32_t options) {
  int rc = pcre2_match(re->code, (PCRE2_SPTR)s, len, start, options, re->match, re->limits);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter has the heap instead */
    rc = pcre2_match(re->code, (PCRE2_SPTR)s, len, start, options | PCRE2_NO_JIT, re->match,
                     re->limits);
  return rc;
}

int bk_regex_search(struct bk_regex *re, const char *s, size_t len, size_t start, int how,
                    struct bk_err *err) {
  uint32_t options = (how & BK_REGEX_AT_START ? PCRE2_ANCHORED : 0) |
                     (how & BK_REGEX_AT_END ? PCRE2_ENDANCHORED : 0) |
                     (how & BK_REGEX_ADVANCE ? PCRE2_NOTEMPTY_ATSTART : 0) |
                     (how & BK_REGEX_CHECKED ? PCRE2_NO_UTF_CHECK : 0);
  /* Machine code pays off for patterns that are used again and again; without it (no executable
   * memory allowed) the interpreter goes on. */
  if (re->code && ++re->uses == JIT_AFTER) pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE);
  int rc = search(re, s, len, start, options);
  if (rc > 0) return 1;
  if (rc == PCRE2_ERROR_NOMATCH) return 0;
  if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_HEAPLIMIT)
    return bk_fail(err, BK_USAGE, "regex.limit", "the regular expression takes too many steps");
  char text[160];
  pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof text);
  if (rc <= PCRE2_ERROR_UTF8_ERR1 && rc >= PCRE2_ERROR_UTF8_ERR21)
    return bk_fail(err, BK_USAGE, "regex.utf8", "the text is not UTF-8: %s at byte %zu", text,
                   (size_t)pcre2_get_startchar(re->match) + 1);
  return bk_fail(err, BK_USAGE, "regex.match", "regular expression: %s", text);
}

bool bk_regex_group(const struct bk_regex *re, size_t i, size_t *from, size_t *to) {
  const PCRE2_SIZE *v = pcre2_get_ovector_pointer(re->match);
  if (i > re->groups || v[2 * i] == PCRE2_UNSET || v[2 * i + 1] < v[2 * i]) return false;
  *from = v[2 * i];
  *to = v[2 * i + 1];
  return true;
}

size_t bk_regex_name(const struct bk_regex *re, size_t i, const char **name) {
  PCRE2_SPTR table;
  uint32_t size;
  pcre2_pattern_info(re->code, PCRE2_INFO_NAMETABLE, &table);
  pcre2_pattern_info(re->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
  table += i * size;
  *name = (const char *)table + 2;
  return (size_t)table[0] << 8 | table[1];
}
