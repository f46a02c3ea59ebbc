/* Read-only merged view of a chain of layer directories in overlay form, resolved in userland:
 * what an overlay mount of them would show, without mounting. The view owns its directories;
 * everything else that a call hands out is by value or owned by the caller as said there. One
 * thread at a time.
 *
 * Paths are relative to the root of the view ("usr/bin/env", "" is the root); a leading '/' is
 * allowed everywhere. Nothing ever resolves to a place outside the layer directories. */
#ifndef BK_SNAPSHOT_VIEW_H
#define BK_SNAPSHOT_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"

enum {
  BK_VIEW_PLAIN = 1,  /* bk_view_open: an ordinary tree (build context), no overlay marks */
  BK_VIEW_FOLLOW = 2, /* bk_view_find: follow a symlink in the last component too */
};

struct bk_view;
/* One merged directory; lives as long as the view, always the same pointer for the same path. */
struct bk_view_dir;

/* One object of the view, by value. `st` is its lstat in the topmost layer that has it. */
struct bk_view_ent {
  struct stat st;
  int layer;               /* index into the layers given to bk_view_open */
  struct bk_view_dir *dir; /* the merged directory when it is one, else NULL */
};

/* Opens a view over n layer directories, lowest first; none at all is an empty root ("scratch"). */
int bk_view_open(const char *const *layers, size_t n, unsigned flags, struct bk_view **out,
                 struct bk_err *err) BK_WARN_UNUSED;
void bk_view_close(struct bk_view *v); /* NULL is fine */
/* How many entries bk_view_readdir may read in all from now on (limits.entries). */
void bk_view_limit(struct bk_view *v, const struct bk_limits *limits);
const struct bk_limits *bk_view_limits(const struct bk_view *v);

bool bk_view_is_plain(const struct bk_view *v); /* opened with BK_VIEW_PLAIN */
struct bk_view_dir *bk_view_root(struct bk_view *v);
void bk_view_root_ent(struct bk_view *v, struct bk_view_ent *out); /* scratch: 0755 root, mtime 0 */
const char *bk_view_dir_path(const struct bk_view_dir *d);         /* "" for the root; owned by d */

/* Child `name` of d, symlinks not followed: 1 and *out filled, 0 absent, -1 error. */
int bk_view_child(struct bk_view *v, struct bk_view_dir *d, const char *name,
                  struct bk_view_ent *out, struct bk_err *err) BK_WARN_UNUSED;

/* Resolves a path inside the view as a chroot would: symlinks in the middle are followed, absolute
 * targets start at the view's root, ".." stops there. canon (may be NULL) is reset to the resolved
 * path, also when the object does not exist: missing components are kept as they are, a dangling
 * last symlink is followed with BK_VIEW_FOLLOW. More than 255 symlinks are an error (ELOOP).
 * 1 found, 0 absent (also when a middle component is no directory), -1 error. */
int bk_view_find(struct bk_view *v, const char *path, unsigned flags, struct bk_buf *canon,
                 struct bk_view_ent *out, struct bk_err *err) BK_WARN_UNUSED;

struct bk_view_item {
  char *name;
  struct bk_view_ent ent;
};
struct bk_view_list {
  struct bk_view_item *items; /* sorted by name (memcmp), whiteouts applied */
  size_t n;
  struct bk_arena names;
};
/* Reads a merged directory; release with bk_view_list_free (a zeroed list is fine). */
int bk_view_readdir(struct bk_view *v, struct bk_view_dir *d, struct bk_view_list *out,
                    struct bk_err *err) BK_WARN_UNUSED;
void bk_view_list_free(struct bk_view_list *list);

/* Opens child `name` of d where it lives (O_NOFOLLOW | O_CLOEXEC added, O_NONBLOCK for safety with
 * fifos); ent as bk_view_child or bk_view_readdir gave it. -1 with errno set. */
int bk_view_openat(struct bk_view *v, struct bk_view_dir *d, const char *name,
                   const struct bk_view_ent *ent, int flags);
/* Appends the symlink's target to out. */
int bk_view_readlink(struct bk_view *v, struct bk_view_dir *d, const char *name,
                     const struct bk_view_ent *ent, struct bk_buf *out,
                     struct bk_err *err) BK_WARN_UNUSED;

/* The directory that holds an object: *dir and *base (pointer into canon) for a canonical path, as
 * bk_view_find gives it. 1, 0 when there is no such directory, -1 error. The root has none: 0. */
int bk_view_parent(struct bk_view *v, const char *canon, struct bk_view_dir **dir,
                   const char **base, struct bk_err *err) BK_WARN_UNUSED;

/* Directory descriptor and path of a layer as given to bk_view_open; owned by the view. */
int bk_view_layer_fd(const struct bk_view *v, int layer);
const char *bk_view_layer_path(const struct bk_view *v, int layer);

/* Whole regular file by path, symlinks followed, at most `max` bytes (fs.too_large beyond).
 * 1, 0 absent, -1 error (also for anything that is no regular file). */
int bk_view_read(struct bk_view *v, const char *path, size_t max, struct bk_buf *out,
                 struct bk_err *err) BK_WARN_UNUSED;

#define cleanup_view __attribute__((cleanup(bk_view_cleanup_)))
#define cleanup_view_list __attribute__((cleanup(bk_view_list_free)))
static inline void bk_view_cleanup_(struct bk_view **v) { bk_view_close(*v); }

#endif
