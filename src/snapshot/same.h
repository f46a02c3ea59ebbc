/* Whether an object of an upper directory equals the one below it; owns nothing. */
#ifndef BK_SNAPSHOT_SAME_H
#define BK_SNAPSHOT_SAME_H

#include "snapshot/view.h"

struct bk_same {
  struct bk_view *view; /* of the layers below */
  struct bk_view_dir *dir;
  const struct bk_view_ent *lower; /* name in dir */
  int upper_fd;                    /* directory that holds the upper object */
  const char *name;
  const struct stat *upper;
};

/* Type, mode, owner and kept xattrs: 1 equal, 0, -1 error. Times are not looked at. */
int bk_same_metadata(const struct bk_same *s, struct bk_err *err) BK_WARN_UNUSED;
/* A non-directory in every respect that a layer records. Equal mtimes with nanoseconds vouch for
 * the content; whole seconds may come from a tar, so then the content is compared. */
int bk_same_file(const struct bk_same *s, struct bk_err *err) BK_WARN_UNUSED;

#endif
