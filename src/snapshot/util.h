/* Small helpers that snapshot files share; private to them. */
#ifndef BK_SNAPSHOT_UTIL_H
#define BK_SNAPSHOT_UTIL_H

#include <stdbool.h>

#include "base/err.h"

/* The bytes of one open file into another: shares the blocks where the file system can, else copies
 * in the kernel. name: for the error. */
int bk_copy_data(int from, int to, const char *name, struct bk_err *err) BK_WARN_UNUSED;

/* Opens the directory that holds `path` below root without following any symlink: what a command
 * left there is hostile. -1 with errno; *base points into path. */
int bk_open_parent(int root, const char *path, const char **base);

/* Removes an empty file or directory and puts its parent's times back; anything else stays. True
 * with errno when removing it failed. */
bool bk_remove_if_empty(int root, const char *path);

/* For qsort over strings: longest first, so that what is inside comes before what is around. */
int bk_by_length(const void *a, const void *b);

#endif
