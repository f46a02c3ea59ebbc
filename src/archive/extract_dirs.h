/* The chain of open directories that extraction works in; private to this module. It owns one
 * O_PATH descriptor per level; consecutive entries share the levels of their common parent. */
#ifndef BK_ARCHIVE_EXTRACT_DIRS_H
#define BK_ARCHIVE_EXTRACT_DIRS_H

#include <sys/stat.h>

#include "archive/pack.h"
#include "base/buf.h"

struct bk_level {
  char *name;
  int fd;
  size_t path_len; /* of bk_dirs.path up to and including this level */
  bool setgid;     /* what is created here inherits the group */
};

struct bk_dirs {
  struct bk_level levels[BK_DEPTH_MAX + 1]; /* [0] is the root, its fd is not owned */
  unsigned depth;
  struct bk_buf path; /* of the deepest level, relative to the root, without symlinks */
  /* Called for a component that does not exist (exists = false) or is no directory and no symlink
   * (true): makes it a directory, 0, or fails, -1. NULL: ENOENT, ENOTDIR. */
  int (*missing)(void *ctx, const char *name, bool exists, struct bk_err *err);
  void *ctx;
};

int bk_dirs_init(struct bk_dirs *d, int rootfd, struct bk_err *err) BK_WARN_UNUSED;
void bk_dirs_free(struct bk_dirs *d);

/* Walks to the directory `path` (n bytes) inside the root: symlinks are followed unless strict,
 * and ".." in their targets stops at the root. 0; -1 with err (class, code ENOENT … when a
 * component is missing and `create` is off). */
enum { BK_DIRS_CREATE = 1, BK_DIRS_STRICT = 2 };
int bk_dirs_enter(struct bk_dirs *d, const char *path, size_t n, unsigned flags,
                  struct bk_err *err) BK_WARN_UNUSED;
static inline struct bk_level *bk_dirs_top(struct bk_dirs *d) { return &d->levels[d->depth]; }

#endif
