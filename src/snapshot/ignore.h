/* Ignore files and --exclude (containerfile.md 12): a list of patterns, the last one that matches a
 * path or one of its parents decides. The matcher owns its patterns and is read-only, so threads
 * may share it. */
#ifndef BK_SNAPSHOT_IGNORE_H
#define BK_SNAPSHOT_IGNORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BK_IGNORE_MAX 10000 /* patterns */

struct bk_ignore;

/* Compiles raw lines: comments, blanks, '!', a leading '/', "." and ".." are dealt with. Line
 * numbers in errors (code glob.syntax, where "line N") count from 1. */
int bk_ignore_new(const char *const *lines, size_t n, struct bk_ignore **out,
                  struct bk_err *err) BK_WARN_UNUSED;
void bk_ignore_free(struct bk_ignore *ig); /* NULL is fine */
size_t bk_ignore_count(const struct bk_ignore *ig); /* patterns; 0 for NULL */

/* Which patterns match a directory or one of its parents: bk_ignore_words() words, one bit each. */
size_t bk_ignore_words(const struct bk_ignore *ig);

/* Whether `path` (relative, without leading or trailing slash) is excluded, given the state of its
 * parent directory (NULL: it has none). own (may be NULL) gets the state of path itself, for its
 * children. *rule (may be NULL) gets the index of the deciding line, or -1. */
bool bk_ignore_match(const struct bk_ignore *ig, const char *path, size_t n,
                     const uint64_t *parent, uint64_t *own, int *rule);
/* The same for a whole path, parents included. */
bool bk_ignore_path(const struct bk_ignore *ig, const char *path, uint64_t *own, int *rule);

/* Whether something below the excluded directory `path` could be included again. */
bool bk_ignore_may_include(const struct bk_ignore *ig, const char *path, size_t n);

/* A line's pattern as it was given, for messages. */
const char *bk_ignore_line(const struct bk_ignore *ig, int rule);

/* path.Clean of Go, in place; "" becomes ".", so the buffer must hold two bytes. Returns the new
 * length. */
size_t bk_path_clean(char *path);

#endif
