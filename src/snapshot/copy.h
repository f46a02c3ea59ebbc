/* COPY and ADD without mounts (containerfile.md 10): sources of a view become a layer directory in
 * overlay form. Nothing is owned beyond the call; the upper directory must not be used by anybody
 * else meanwhile. */
#ifndef BK_SNAPSHOT_COPY_H
#define BK_SNAPSHOT_COPY_H

#include "snapshot/snapshot.h"
#include "snapshot/walk.h"

struct bk_copy_inline { /* a heredoc */
  const char *name, *data;
  size_t len;
  mode_t mode;
};

struct bk_copy_opts {
  struct bk_selection from;
  const char *const *sources;
  size_t n;
  const struct bk_copy_inline *inlines;
  size_t n_inlines;
  const char *dest;      /* absolute; a trailing slash, "." or "" means a directory */
  struct bk_chain chain; /* the destination; users are looked up in it */
  bool link;             /* the layer stands alone: the destination's files play no part */
  const char *upper;     /* made when missing; must be empty */
  const char *chown, *chmod; /* as written, or NULL */
  bool preserve_owner; /* else everything becomes 0:0 */
  bool unpack;         /* ADD: archives are unpacked */
  struct bk_limits limits; /* of one archive; its entries are also those that sources may have */
  bool rootless;       /* devices are errors; a single mapped id owns everything */
  const int64_t *epoch; /* no later time is written; NULL = as they are */
  bool stamp;           /* all times are the epoch, if there is one; not those of archives' members */
  int64_t now;          /* time of new directories and heredocs without an epoch */
  const char *reuse;    /* a layer directory on the same file system, or NULL: files that are there
                         * with equal bytes and metadata are linked instead of written again */
};

struct bk_copy_result {
  uint64_t entries; /* objects written, parents included */
};

/* Codes: snapshot.not_found, snapshot.conflict, snapshot.changed, snapshot.bad_mode,
 * snapshot.bad_name, archive.*, errno names. On failure the upper directory holds rubbish. */
int bk_snapshot_copy(const struct bk_copy_opts *opts, struct bk_copy_result *out,
                     struct bk_err *err) BK_WARN_UNUSED;

#endif
