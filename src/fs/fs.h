/* Path text, directory listings and tree walks. Lists, walks and buffers belong to the caller, who
 * releases them with the matching _free; names inside live as long as their list. */
#ifndef BK_FS_H
#define BK_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/* --- path text: no file is looked at --------------------------------------------------------- */

/* Appends the path without doubled slashes and `.`, with `..` folded lexically ("." when nothing is
 * left). `out` must be empty. */
void bk_fs_clean(struct bk_buf *out, const char *path);
/* Appends the way from base to path, both taken as clean. Fails (fs.relative) when only one is
 * absolute or base begins with `..` that path does not share. */
int bk_fs_relative(struct bk_buf *out, const char *path, const char *base,
                     struct bk_err *err) BK_WARN_UNUSED;

/* --- directories ----------------------------------------------------------------------------- */

struct bk_dir_entry {
  const char *name;
  mode_t type; /* S_IFREG … ; 0 when it vanished meanwhile */
};

struct bk_dir {
  struct bk_dir_entry *entries; /* sorted by bytes of the name */
  size_t count;
  struct bk_arena names;
};

int bk_dir_read(int dirfd, const char *path, struct bk_dir *out, struct bk_err *err) BK_WARN_UNUSED;
void bk_dir_free(struct bk_dir *dir);

/* Everything below root, parents first, names sorted in each directory; symlinks are not followed.
 * At most BK_WALK_DEPTH levels (code ELOOP beyond them). */
enum { BK_WALK_DEPTH = 200 };

struct bk_walk {
  bool open;
  int rootfd; /* when open */
  struct bk_walk_level *levels;
  size_t depth;
  struct bk_buf path; /* of the current entry, relative to root */
  bool descend;       /* the current entry is a directory not yet entered */
};

int bk_walk_open(struct bk_walk *w, const char *root, struct bk_err *err) BK_WARN_UNUSED;
/* 1 with w->path and *type, 0 at the end, -1 on failure. */
int bk_walk_next(struct bk_walk *w, mode_t *type, struct bk_err *err) BK_WARN_UNUSED;
void bk_walk_skip(struct bk_walk *w); /* do not enter the current entry */
void bk_walk_free(struct bk_walk *w); /* idempotent; a zeroed struct is fine */

/* --- files ----------------------------------------------------------------------------------- */

/* Copies content and permission bits; `to` is replaced atomically; a device or pipe is
 * written to. */
int bk_copy_file(const char *from, const char *to, struct bk_err *err) BK_WARN_UNUSED;

/* New directory (mode 0700) "<base>/<prefix>-XXXXXX" below $TMPDIR or /tmp; `memory` prefers a
 * tmpfs, so that what is put there does not reach a disk. */
int bk_make_tmpdir(const char *prefix, bool memory, struct bk_buf *out,
                   struct bk_err *err) BK_WARN_UNUSED;

#endif
