/* Image tags: the filters of tag patterns, natural order and sets. Results are appended to a buffer
 * that the caller owns; lists of strings are borrowed for the time of a call. */
#ifndef BK_TAG_H
#define BK_TAG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Every character outside A-Za-z0-9_.- becomes `-` (a UTF-8 sequence counts as one). */
void bk_tag_replace(struct bk_buf *out, const char *s, size_t len);
/* bk_tag_replace, then `-._` stripped from both ends. */
void bk_tag_safe(struct bk_buf *out, const char *s, size_t len);
/* What a rendered pattern becomes: outer blanks stripped, then `-._`, then bk_tag_replace. */
void bk_tag_normalize(struct bk_buf *out, const char *s, size_t len);
/* Without the last `+` or `-` of each line and what follows it there. */
void bk_tag_strip_metadata(struct bk_buf *out, const char *s, size_t len);
/* Every run N.N(.N)+ cut to its first two numbers. */
void bk_tag_strip_patch(struct bk_buf *out, const char *s, size_t len);
/* Without blanks, dots and dashes. */
void bk_tag_condense(struct bk_buf *out, const char *s, size_t len);

/* A tag that registries accept: [A-Za-z0-9_][A-Za-z0-9._-]{0,127} (OCI distribution spec). */
bool bk_tag_is_valid(const char *s, size_t len);

/* Shell pattern with `*`, `?` and `[…]`; `*` matches anything, there is no special character. */
bool bk_tag_match(const char *pattern, size_t plen, const char *s, size_t len);

/* Natural order: digit runs compare as numbers, and a suffix after `-` sorts below its absence
 * ("1.9" < "1.10-rc1" < "1.10"); ties by bytes, so that equal means identical. */
int bk_tag_compare(const char *a, size_t alen, const char *b, size_t blen);

#endif
