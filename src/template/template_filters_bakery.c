/* The filters that tag patterns and image templates have besides Jinja's (templates.md 1.3). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "template/template_run.h"

struct tpl_regex { /* compiled patterns of a run */
  struct tpl_regex *next;
  pcre2_code *code;
  pcre2_match_data *match;
  size_t len;
  char text[];
};

#define MAX_REGEXES 64

static void free_regexes(rt *r) {
  for (struct tpl_regex *x = r->regexes, *next; x; x = next) {
    next = x->next;
    pcre2_match_data_free(x->match);
    pcre2_code_free(x->code);
    free(x);
  }
  r->regexes = NULL;
  r->nregexes = 0;
}

void bk_tpl_regex_free(rt *r) {
  free_regexes(r);
  pcre2_match_context_free(r->regex_limits);
}

static struct tpl_regex *regex(rt *r, bk_tv pattern) {
  for (struct tpl_regex *x = r->regexes; x; x = x->next)
    if (x->len == pattern.len && memcmp(x->text, pattern.u.s, x->len) == 0) return x;
  int code;
  PCRE2_SIZE at;
  pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern.u.s, pattern.len,
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
  if (!re) {
    PCRE2_UCHAR msg[160] = "";
    pcre2_get_error_message(code, msg, sizeof msg);
    bk_tpl_bad(r, "regexReplace(): %s at offset %zu of the pattern", (const char *)msg, at);
  }
  struct tpl_regex *x = bk_malloc(sizeof *x + pattern.len + 1);
  x->code = re;
  x->match = pcre2_match_data_create_from_pattern(re, NULL);
  x->len = pattern.len;
  memcpy(x->text, pattern.u.s, pattern.len);
  if (r->nregexes++ == MAX_REGEXES) free_regexes(r);
  x->next = r->regexes;
  r->regexes = x;
  return x;
}

static void put_group(rt *r, const struct tpl_regex *x, bk_tv s, uint32_t n) {
  const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(x->match);
  if (n >= pcre2_get_ovector_count(x->match))
    bk_tpl_bad(r, "regexReplace(): invalid group reference %u", n);
  if (ov[2 * n] != PCRE2_UNSET) bk_tpl_put(r, s.u.s + ov[2 * n], ov[2 * n + 1] - ov[2 * n]);
}

/* \g<name> or \g<1> at i (after the g); returns the position after it. */
static uint32_t named_group(rt *r, const struct tpl_regex *x, bk_tv s, bk_tv repl, uint32_t i) {
  const char *p = repl.u.s + i;
  const char *close = repl.len > i && *p == '<' ? memchr(p, '>', repl.len - i) : NULL;
  if (!close || close - p < 2 || close - p > 60)
    bk_tpl_bad(r, "regexReplace(): expected <group> after \\g");
  char name[64] = "", *end;
  memcpy(name, p + 1, (size_t)(close - p - 1));
  unsigned long n = strtoul(name, &end, 10);
  if (*end || name[0] == '-' || name[0] == '+' || name[0] == ' ') {
    int k = pcre2_substring_number_from_name(x->code, (PCRE2_SPTR)name);
    if (k < 0) bk_tpl_bad(r, "regexReplace(): unknown group name '%s'", name);
    n = (unsigned long)k;
  }
  put_group(r, x, s, n > 65535 ? 65535 : (uint32_t)n);
  return (uint32_t)(close - repl.u.s) + 1;
}

/* The replacement text with Python's escapes: \1 \12 \g<…> \n … and octal \0, \012. */
static void put_replacement(rt *r, const struct tpl_regex *x, bk_tv s, bk_tv repl) {
  static const char from[] = "abfnrtv\\", to[] = "\a\b\f\n\r\t\v\\";
  for (uint32_t i = 0; i < repl.len;) {
    const char *p = repl.u.s + i, *slash = memchr(p, '\\', repl.len - i);
    size_t plain = slash ? (size_t)(slash - p) : repl.len - i;
    bk_tpl_put(r, p, plain);
    i += (uint32_t)plain;
    if (!slash) break;
    if (i + 1 >= repl.len) bk_tpl_bad(r, "regexReplace(): the replacement ends in a backslash");
    char c = repl.u.s[++i], d = i + 1 < repl.len ? repl.u.s[i + 1] : 0;
    char e = i + 2 < repl.len ? repl.u.s[i + 2] : 0;
    const char *esc = memchr(from, c, sizeof from - 1);
    bool octal = (c >= '0' && c <= '3' && d >= '0' && d <= '7' && e >= '0' && e <= '7') || c == '0';
    if (octal) {
      uint32_t v = 0, k = 0;
      while (k < 3 && i < repl.len && repl.u.s[i] >= '0' && repl.u.s[i] <= '7')
        v = v * 8 + (uint32_t)(repl.u.s[i++] - '0'), k++;
      bk_tpl_u8put(r, v);
    } else if (c >= '1' && c <= '9') {
      uint32_t n = (uint32_t)(c - '0');
      i++;
      if (d >= '0' && d <= '9') n = n * 10 + (uint32_t)(d - '0'), i++;
      put_group(r, x, s, n);
    } else if (c == 'g') {
      i = named_group(r, x, s, repl, i + 1);
    } else if (esc) {
      bk_tpl_put(r, &to[esc - from], 1);
      i++;
    } else if ((c | 32) >= 'a' && (c | 32) <= 'z') {
      bk_tpl_bad(r, "regexReplace(): unknown escape \\%c in the replacement", c);
    } else {
      bk_tpl_put(r, "\\", 1);
    }
  }
}

static pcre2_match_context *limits(rt *r) {
  if (!r->regex_limits) {
    r->regex_limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(r->regex_limits, 1000000);
    pcre2_set_depth_limit(r->regex_limits, 10000);
    pcre2_set_heap_limit(r->regex_limits, 64 * 1024);
  }
  return r->regex_limits;
}

static bk_tv substitute(rt *r, bk_tv s, bk_tv pattern, bk_tv repl) {
  struct tpl_regex *x = regex(r, pattern);
  size_t mark = bk_tpl_begin(r);
  PCRE2_SIZE at = 0, copied = 0;
  uint32_t options = 0;
  while (at <= s.len) {
    bk_tpl_step(r, 1);
    int rc = pcre2_match(x->code, (PCRE2_SPTR)s.u.s, s.len, at, options, x->match, limits(r));
    if (rc == PCRE2_ERROR_NOMATCH) break;
    if (rc < 0) bk_tpl_raise(r, "template.limit", "regexReplace(): the match needs too many steps");
    const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(x->match);
    PCRE2_SIZE from = ov[0], to = ov[1];
    if (to < from || from < copied) { /* \K in a lookaround */
      bk_tpl_bad(r, "regexReplace(): a match that ends before it starts");
    }
    bk_tpl_put(r, s.u.s + copied, from - copied);
    put_replacement(r, x, s, repl);
    copied = at = to;
    /* An empty match must not be found at the same place again. */
    options = from == to ? PCRE2_NOTEMPTY_ATSTART : 0;
  }
  bk_tpl_put(r, s.u.s + copied, s.len - copied);
  return bk_tpl_end(r, mark);
}

static bk_tv f_regex_replace(rt *r, bk_tv *a) {
  return substitute(r, bk_tpl_need_str(r, a[0], "regexReplace()"),
                    bk_tpl_need_str(r, a[1], "regexReplace(): pattern"),
                    bk_tpl_need_str(r, a[2], "regexReplace(): replacement"));
}

static bool tag_char(int32_t c) {
  if (c == '_' || c == '.' || c == '-') return true;
  return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

static bk_tv f_tag_safe(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_need_str(r, a[0], "tagSafe()");
  size_t mark = bk_tpl_begin(r), n;
  for (const char *p = s.u.s, *end = p + s.len; p < end; p += n)
    bk_tpl_put(r, tag_char(bk_tpl_u8get(p, end, &n)) ? p : "-", 1);
  return bk_tpl_strip(bk_tpl_end(r, mark), tv_strz("-._"), 3);
}

/* Every line loses what follows its last + or -, and that sign. */
static bk_tv f_strip_metadata(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_need_str(r, a[0], "stripMetadata()");
  size_t mark = bk_tpl_begin(r);
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    const char *nl = memchr(p, '\n', (size_t)(end - p)), *stop = nl ? nl : end, *cut = stop;
    while (cut > p && cut[-1] != '+' && cut[-1] != '-') cut--;
    bk_tpl_put(r, p, (size_t)((cut > p ? cut - 1 : stop) - p));
    if (nl) bk_tpl_put(r, "\n", 1);
    p = nl ? nl + 1 : end;
  }
  return bk_tpl_end(r, mark);
}

static const char *digits(const char *p, const char *end) {
  while (p < end && *p >= '0' && *p <= '9') p++;
  return p;
}

/* After a dot and digits at p, or NULL. */
static const char *part(const char *p, const char *end) {
  if (p >= end || *p != '.') return NULL;
  const char *q = digits(p + 1, end);
  return q > p + 1 ? q : NULL;
}

static bk_tv f_strip_patch(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_need_str(r, a[0], "stripPatch()");
  size_t mark = bk_tpl_begin(r);
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    const char *first = digits(p, end), *second = first > p ? part(first, end) : NULL;
    const char *more = second ? part(second, end) : NULL;
    const char *keep = second ? second : first > p ? first : p + 1;
    bk_tpl_put(r, p, (size_t)(keep - p));
    p = keep;
    for (; more; more = part(p, end)) p = more;
  }
  return bk_tpl_end(r, mark);
}

static bk_tv f_condense(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_need_str(r, a[0], "condense()");
  size_t mark = bk_tpl_begin(r);
  for (uint32_t i = 0; i < s.len; i++)
    if (!strchr(" .-", s.u.s[i]) || !s.u.s[i]) bk_tpl_put(r, s.u.s + i, 1);
  return bk_tpl_end(r, mark);
}

static bk_tv f_quote(rt *r, bk_tv *a) {
  size_t mark = bk_tpl_begin(r);
  bk_tpl_put(r, "\"", 1);
  bk_tpl_put_text(r, a[0]);
  bk_tpl_put(r, "\"", 1);
  return bk_tpl_end(r, mark);
}

static bk_tv f_split(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_need_str(r, a[0], "split()");
  return bk_tpl_split(r, s, tv_given(a[1]) ? a[1] : bk_tv_none(), -1);
}

const struct tpl_fn bk_tpl_filters_bakery[] = {
    {.name = "tagSafe", .fn = f_tag_safe, .need = 1, .params = {"value"}},
    {.name = "stripMetadata", .fn = f_strip_metadata, .need = 1, .params = {"value"}},
    {.name = "stripPatch", .fn = f_strip_patch, .need = 1, .params = {"value"}},
    {.name = "condense", .fn = f_condense, .need = 1, .params = {"value"}},
    {.name = "regexReplace", .fn = f_regex_replace, .need = 3,
     .params = {"value", "find", "replace"}},
    {.name = "quote", .fn = f_quote, .need = 1, .params = {"value"}},
    {.name = "split", .fn = f_split, .need = 1, .params = {"value", "sep"}},
    {.name = NULL},
};
