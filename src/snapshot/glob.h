/* Shell patterns compiled once; the pattern owns everything and is read-only afterwards, so threads
 * may share it. Matching is a simulation of all possibilities at once: its time is bounded by
 * pattern length times text length, whatever the pattern. Bytes that are no UTF-8 match themselves
 * and count as one character. */
#ifndef BK_SNAPSHOT_GLOB_H
#define BK_SNAPSHOT_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define BK_GLOB_MAX 4096 /* bytes of a pattern */

enum bk_glob_kind {
  BK_GLOB_PATH,   /* Go path/filepath.Match: COPY sources */
  BK_GLOB_IGNORE, /* the same plus "**", as ignore files and --exclude have it */
};

struct bk_glob;
/* NULL with err (code glob.syntax) for a malformed pattern. */
struct bk_glob *bk_glob_compile(const char *pattern, size_t n, enum bk_glob_kind kind,
                                struct bk_err *err) BK_WARN_UNUSED;
void bk_glob_free(struct bk_glob *g); /* NULL is fine */
bool bk_glob_match(const struct bk_glob *g, const char *text, size_t n);

/* Whether a COPY source is a pattern at all: an unescaped *, ? or [. */
bool bk_glob_has_magic(const char *s);

#endif
