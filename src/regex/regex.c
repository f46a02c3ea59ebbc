#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex/regex.h"

#include <pcre2.h>

#include "base/cleanup.h"

enum { MATCH_LIMIT = 2000000, DEPTH_LIMIT = 10000 };

int bk_regex_compile(struct bk_regex *re, const char *pattern, size_t len, const char *flags,
                     struct bk_err *err) {
  uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  for (; flags && *flags; flags++) {
    switch (*flags) {
      case 'i': options |= PCRE2_CASELESS; break;
      case 'm': options |= PCRE2_MULTILINE; break;
      case 's': options |= PCRE2_DOTALL; break;
      case 'x': options |= PCRE2_EXTENDED; break;
      default: return bk_fail(err, BK_USAGE, "regex.flag", "unknown regex flag '%c'", *flags);
    }
  }
  int code;
  PCRE2_SIZE at;
  *re = (struct bk_regex){0};
  re->code = pcre2_compile((PCRE2_SPTR)pattern, len, options, &code, &at, NULL);
  if (!re->code) {
    char text[160];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
    bk_fail(err, BK_USAGE, "regex.syntax", "bad regular expression '%.100s': %s at offset %zu", pattern, text, at);
    return -1;
  }
  re->match = pcre2_match_data_create_from_pattern(re->code, NULL);
  uint32_t n = 0;
  pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &n);
  re->groups = n;
  return 0;
}

int bk_regex_search(struct bk_regex *re, const char *s, size_t len, size_t start, bool anchored,
                    struct bk_err *err) {
  pcre2_match_context *ctx = pcre2_match_context_create(NULL);
  pcre2_set_match_limit(ctx, MATCH_LIMIT);
  pcre2_set_depth_limit(ctx, DEPTH_LIMIT);
  int rc = pcre2_match(re->code, (PCRE2_SPTR)s, len, start, anchored ? PCRE2_ANCHORED : 0, re->match, ctx);
  pcre2_match_context_free(ctx);
  if (rc > 0) return 1;
  if (rc == PCRE2_ERROR_NOMATCH) return 0;
  if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT)
    return bk_fail(err, BK_USAGE, "regex.limit", "the regular expression takes too many steps");
  char text[160];
  pcre2_get_error_message(rc, (PCRE2_UCHAR *)text, sizeof text);
  return bk_fail(err, BK_USAGE, rc <= PCRE2_ERROR_UTF8_ERR1 && rc >= PCRE2_ERROR_UTF8_ERR21 ? "regex.utf8" : "regex.match",
                 "regular expression: %s", text);
}

bool bk_regex_group(const struct bk_regex *re, size_t i, size_t *from, size_t *to) {
  const PCRE2_SIZE *v = pcre2_get_ovector_pointer(re->match);
  if (i > re->groups || v[2 * i] == PCRE2_UNSET) return false;
  *from = v[2 * i];
  *to = v[2 * i + 1];
  return true;
}

void bk_regex_free(struct bk_regex *re) {
  pcre2_match_data_free(re->match);
  pcre2_code_free(re->code);
  *re = (struct bk_regex){0};
}
