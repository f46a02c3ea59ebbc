/* Regular expressions on PCRE2 with UTF-8 and limits, read as Python reads them where the two
 * agree. A struct bk_regex owns its compiled code until bk_regex_free; it holds the last match, so
 * one struct serves one thread at a time. */
#ifndef BK_REGEX_H
#define BK_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct bk_regex {
  void *code, *match, *limits; /* pcre2_code, pcre2_match_data, pcre2_match_context */
  size_t groups, names;
  size_t error_offset; /* byte of the pattern where compiling failed */
  unsigned uses;
};

/* flags: any of "i" (ignore case), "m" (^ and $ at lines), "s" (dot matches newline), "x" (blanks
 * and # comments), "D" ($ only at the very end). Fails with regex.syntax (where "offset N") or
 * regex.flag. */
int bk_regex_compile(struct bk_regex *re, const char *pattern, size_t len, const char *flags,
                     struct bk_err *err) BK_WARN_UNUSED;

enum {
  BK_REGEX_AT_START = 1, /* the match begins at `start` */
  BK_REGEX_AT_END = 2,   /* and ends at the end of s */
  BK_REGEX_ADVANCE = 4,  /* no empty match at `start` */
  BK_REGEX_CHECKED = 8,  /* s is known to be UTF-8 from an earlier call */
};

/* Matches s from byte `start` on (which must not be inside a character). 1 on a match, 0 on none,
 * -1 on failure: regex.limit when it would take too many steps or too much memory, regex.utf8. */
int bk_regex_search(struct bk_regex *re, const char *s, size_t len, size_t start, int how,
                    struct bk_err *err) BK_WARN_UNUSED;

/* Byte range of group i of the last match; false when it took no part. */
bool bk_regex_group(const struct bk_regex *re, size_t i, size_t *from, size_t *to);

/* Group of the i-th name (0 … names-1, sorted). */
size_t bk_regex_name(const struct bk_regex *re, size_t i, const char **name);

/* Appends a replacement as Python's re.sub reads it (\1, \g<1>, \g<name>, \n, \\) with the groups
 * of the last match in s. With s NULL it only checks. Fails with regex.template. */
int bk_regex_expand(const struct bk_regex *re, const char *s, const char *text, size_t len,
                    struct bk_buf *out, struct bk_err *err) BK_WARN_UNUSED;

void bk_regex_free(struct bk_regex *re);

#endif
