/* Layers without overlayfs: a command changes an ordinary tree, and what it changed is found by
 * comparing metadata with a record made before (builder.md 6.7). The change time cannot be set from
 * outside the kernel, so no content is read. A record belongs to whoever made it. */
#ifndef BK_SNAPSHOT_FLAT_H
#define BK_SNAPSHOT_FLAT_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

struct bk_flat;

/* Notes every object below `dir`, and waits until the clock has left the last change time seen. */
int bk_flat_record(const char *dir, const atomic_bool *cancel, struct bk_flat **out,
                   struct bk_err *err) BK_WARN_UNUSED;
void bk_flat_free(struct bk_flat *f); /* NULL is fine */
uint64_t bk_flat_entries(const struct bk_flat *f);

struct bk_flat_opts {
  const char *dir;      /* as recorded; nobody writes to it any more */
  const char *upper;    /* an empty directory: receives the changes in overlay form */
  const char *const *stubs; /* paths made only to mount something: removed first; NULL-ended or NULL */
  const int64_t *epoch; /* times after it are clamped in dir as well, so that later steps see them */
  const atomic_bool *cancel;
};
/* What is new or changed is copied (with hard links among it), what is gone becomes a whiteout. */
int bk_flat_diff(const struct bk_flat *f, const struct bk_flat_opts *o, struct bk_err *err) BK_WARN_UNUSED;

/* --- things put into a tree for a while ------------------------------------------------------ */

/* A command that cannot have mounts gets what it should see moved into its tree, and out again. */
struct bk_placed;
struct bk_place {
  const char *path;   /* inside, absolute or relative, symlinks resolved inside; parents are made */
  const char *source; /* a file or directory on the tree's file system */
  int64_t uid, gid;   /* owner it gets; -1: as it is */
};
/* Moves each source to its path; what stood there waits in the directory `aside`. */
int bk_place(const char *tree, const char *aside, const struct bk_place *items, size_t n,
             struct bk_placed **out, struct bk_err *err) BK_WARN_UNUSED;
/* The other way round. No symlink that the command made is followed; what it has removed or moved
 * away is not brought back to its source. Frees p. */
int bk_unplace(struct bk_placed *p, struct bk_err *err) BK_WARN_UNUSED;

#endif
