/* Regular expressions on PCRE2 with UTF-8 and limits. A struct bk_regex owns its compiled code until
 * bk_regex_free; matching is reentrant per struct bk_regex only (one match block each). */
#ifndef BK_REGEX_H
#define BK_REGEX_H

#include <stddef.h>

#include "base/err.h"

struct bk_regex {
  void *code, *match; /* pcre2_code, pcre2_match_data */
  size_t groups;
};

/* flags: any of "i" (ignore case), "m" (multi-line), "s" (dot matches newline), "x" (extended).
 * Errors: regex.syntax with where = "offset N". */
int bk_regex_compile(struct bk_regex *re, const char *pattern, size_t len, const char *flags,
                     struct bk_err *err) BK_WARN_UNUSED;

/* Searches s from byte `start`. Returns 1 on a match, 0 on none, -1 on error (regex.limit when it
 * would take too many steps, regex.utf8 for a subject that is not UTF-8). Offsets: bk_regex_group. */
int bk_regex_search(struct bk_regex *re, const char *s, size_t len, size_t start, bool anchored,
                    struct bk_err *err) BK_WARN_UNUSED;

/* Byte range of group i of the last match; false when it took no part. */
bool bk_regex_group(const struct bk_regex *re, size_t i, size_t *from, size_t *to);

void bk_regex_free(struct bk_regex *re);

#endif
