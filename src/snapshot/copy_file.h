/* One object of a copy; private to the snapshot_copy files. Borrowed pointers only. */
#ifndef BK_SNAPSHOT_COPY_FILE_H
#define BK_SNAPSHOT_COPY_FILE_H

#include "snapshot/copy.h"
#include "snapshot/dest.h"
#include "snapshot/mode.h"

struct bk_copy {
  const struct bk_copy_opts *opts;
  struct bk_dest *dest;
  bool has_ids, has_mode;
  uid_t uid; /* of --chown */
  gid_t gid;
  struct bk_mode_change change;
  int reuse;            /* descriptor of opts->reuse, or -1 */
  struct bk_map reused; /* its inodes that are in upper: one name each, or files would be joined */
  struct bk_map links; /* (layer, dev, ino) of the source -> path in upper, for files with links */
};

/* Where an object goes: `path` in upper, whose parent directory exists there; `low` is what the
 * chain has in that parent. */
struct bk_target {
  const char *path;   /* whole, canonical */
  const char *parent; /* of it, and its last component */
  const char *name;
  struct bk_view_dir *low;
  bool fresh; /* the parent was made just now for this tree: nothing can stand here */
};

/* From a source tree. keep: an unpacked archive, whose files are moved and whose modes and owners
 * stay; then anything may replace anything. */
struct bk_object {
  const struct bk_selection *sel;
  const struct bk_found *found;
  bool keep;
};

/* Anything but a directory. */
int bk_copy_put(struct bk_copy *c, const struct bk_target *t, const struct bk_object *o,
                struct bk_err *err) BK_WARN_UNUSED;
/* A directory with the source's metadata, merged with what is there. *low = what shows through,
 * *fresh = it did not exist. */
int bk_copy_put_dir(struct bk_copy *c, const struct bk_target *t, const struct bk_object *o,
                    struct bk_view_dir **low, bool *fresh, struct bk_err *err) BK_WARN_UNUSED;
int bk_copy_put_inline(struct bk_copy *c, const struct bk_target *t,
                       const struct bk_copy_inline *file, struct bk_err *err) BK_WARN_UNUSED;

#endif
