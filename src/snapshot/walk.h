/* What the sources of COPY select: wildcards, symlinks, ignore rules and excludes over a view. The
 * selection borrows the view and the matchers; roots are released with bk_roots_free. */
#ifndef BK_SNAPSHOT_WALK_H
#define BK_SNAPSHOT_WALK_H

#include <stdatomic.h>

#include "snapshot/ignore.h"
#include "snapshot/view.h"

struct bk_selection {
  struct bk_view *view;
  const struct bk_ignore *ignore;   /* against paths from the view's root; may be NULL */
  const struct bk_ignore *excludes; /* against paths below each source; may be NULL */
  const struct bk_ignore *includes; /* likewise; "**" and then "!x" for what alone is wanted */
  const char *place;                /* for messages: "the build context", "the stage" … */
  const atomic_bool *cancel;        /* may be NULL */
};

/* One thing a source names. */
struct bk_root {
  char *source;            /* the source as given */
  char *name;              /* last component of the path before following symlinks */
  char *path;              /* canonical, "" for the view's root */
  struct bk_view_dir *dir; /* that holds it; NULL for the view's root */
  struct bk_view_ent ent;
  bool wildcard;
  int hidden_by; /* ignore rule that hides it, or -1; what it holds may still be included */
};
struct bk_roots {
  struct bk_root *v;
  size_t n;
};

/* Finds what sources name, in their order, matches of a wildcard sorted by path. A literal source
 * that does not exist is an error (snapshot.not_found); so is one that ignore rules hide, unless it
 * is a directory and something in it may be included: see bk_walk. */
int bk_select(const struct bk_selection *sel, const char *const *sources, size_t n,
              struct bk_roots *out, struct bk_err *err) BK_WARN_UNUSED;
void bk_roots_free(struct bk_roots *roots);

/* Something below (or at) a root. */
struct bk_found {
  const char *rel;         /* path below the root; "" for the root itself */
  const char *name;        /* in `dir` */
  struct bk_view_dir *dir; /* that holds it */
  const struct bk_view_ent *ent;
};
struct bk_visitor {
  /* Parents before children, sorted by name. A directory that is excluded itself is visited when
   * something in it is included. */
  int (*visit)(void *ud, const struct bk_found *f, struct bk_err *err);
  /* After the children of a visited directory; may be NULL. */
  int (*leave)(void *ud, const struct bk_found *f, struct bk_err *err);
  void *ud;
  /* With parts > 1 only this part of what a root directory holds, so that several threads, each with
   * a view of its own, can share a walk: its entries in order are cut into that many runs. */
  size_t part, parts;
};
/* Visits the root and, for a directory, everything selected in it. A literal root that turns out to
 * be hidden altogether is the error snapshot.not_found. */
int bk_walk(const struct bk_selection *sel, const struct bk_root *root,
            const struct bk_visitor *visitor, struct bk_err *err) BK_WARN_UNUSED;

/* Opens a regular file or directory of the view for reading without following any symlink. */
int bk_found_open(const struct bk_selection *sel, const struct bk_found *f, int flags);
/* The same from its parts; thread-safe. */
int bk_open_below(int layer_fd, const char *dir, const char *name, int flags);

#endif
