/* The destination of a copy: a chain of layers with the layer that is being made on top, written
 * through. It owns its view of the chain and the descriptor of the upper directory; private to the
 * snapshot_copy files. Paths are canonical: relative, without symlinks, "" is the root. */
#ifndef BK_SNAPSHOT_DEST_H
#define BK_SNAPSHOT_DEST_H

#include <stdint.h>

#include "base/map.h"
#include "snapshot/snapshot.h"

struct bk_dest {
  struct bk_view *lower;
  int fd; /* upper */
  bool single_id;
  bool setgid; /* a directory of upper has the bit: new files may inherit its group */
  const int64_t *epoch;
  mode_t umask;
  uid_t euid;
  gid_t egid;
  /* What directories that did not exist get. */
  mode_t new_mode;
  uid_t new_uid;
  gid_t new_gid;
  struct timespec new_time;
  struct bk_map times; /* every directory of upper -> struct timespec to set in the end */
  uint64_t entries;
  bool no_reflink;
  char *buffer;
};
#define BK_DEST_BUFFER (1 << 17)

/* What stands at a path, the upper directory first. */
struct bk_dest_node {
  bool exists, upper;      /* upper: in the upper directory */
  struct stat st;
  struct bk_view_dir *low; /* the chain's directory that shows through here, or NULL */
};

int bk_dest_open(struct bk_dest *d, const char *upper, struct bk_chain chain,
                 struct bk_err *err) BK_WARN_UNUSED;
void bk_dest_close(struct bk_dest *d); /* a zeroed one (fd = -1) is fine */

/* Child `name` of the directory `path` whose lower directory is `low`. */
int bk_dest_look(struct bk_dest *d, const char *path, struct bk_view_dir *low, const char *name,
                 struct bk_dest_node *out, struct bk_err *err) BK_WARN_UNUSED;
/* Resolves any path as a chroot would, the last component too. canon is reset to the result; its
 * missing components are kept. */
int bk_dest_resolve(struct bk_dest *d, const char *path, struct bk_buf *canon,
                    struct bk_dest_node *out, struct bk_err *err) BK_WARN_UNUSED;

/* Makes the directory `path` and its parents exist in the upper directory: with the chain's
 * metadata where it has them, else as new ones. *low is what shows through (NULL for a new one). */
int bk_dest_dir(struct bk_dest *d, const char *path, struct bk_view_dir **low,
                struct bk_err *err) BK_WARN_UNUSED;
/* Bookkeeping for a directory: its time, set when everything is written. */
void bk_dest_set_time(struct bk_dest *d, const char *path, struct timespec time);
/* A directory was replaced by something else. */
void bk_dest_forget(struct bk_dest *d, const char *path);
int bk_dest_finish(struct bk_dest *d, struct bk_err *err) BK_WARN_UNUSED;

/* time, but no later than the epoch. */
struct timespec bk_dest_clamp(const struct bk_dest *d, struct timespec time);
/* Owner of a path or (path "") of an open file; a user namespace with one id cannot chown. */
int bk_dest_chown(struct bk_dest *d, int fd, const char *path, uid_t uid, gid_t gid);

#endif
