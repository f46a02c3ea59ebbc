/* Creates files from tar entries below one directory and never outside it. The extractor owns its
 * descriptors and bookkeeping; the root descriptor stays the caller's. Nobody else may write to the
 * directory meanwhile. Parents that are symlinks resolve inside the root; names with ".." are
 * refused; a leading '/' means the root. Entries that come later win: a changed type removes what
 * was there. */
#ifndef BK_ARCHIVE_EXTRACT_H
#define BK_ARCHIVE_EXTRACT_H

#include <sys/stat.h>

#include "archive/tar.h"

struct bk_extract_opts {
  int rootfd;
  bool overlay;   /* image layer: `.wh.` entries become whiteouts and opaque directories */
  bool userxattr; /* the opaque xattr is user.overlay.opaque instead of trusted.overlay.opaque */
  bool rootless;  /* a device node is an error (whiteout devices are not) */
  int64_t owner;  /* -1: from the entries; else uid << 32 | gid for everything */
  /* Metadata for a directory that entries imply but the archive does not list (path relative, "" =
   * the root): 1 and *st filled, 0 unknown, -1 error. NULL: always 0755 root. */
  int (*implied)(void *ctx, const char *path, struct stat *st, struct bk_err *err);
  void *ctx;
};

struct bk_extractor;
struct bk_extractor *bk_extract_new(const struct bk_extract_opts *opts);
/* Creates one entry; a file's data is pulled from `data` (as bk_tar_data) until it gives 0. A piece
 * with *p = NULL is a hole of n bytes. */
typedef int bk_extract_data(void *ctx, const char **p, size_t *n, struct bk_err *err);
int bk_extract_entry(struct bk_extractor *x, const struct bk_tar_entry *e, bk_extract_data *data,
                     void *ctx, struct bk_err *err) BK_WARN_UNUSED;
/* Directory times, which creating entries had changed. */
int bk_extract_finish(struct bk_extractor *x, struct bk_err *err) BK_WARN_UNUSED;
void bk_extract_free(struct bk_extractor *x); /* NULL is fine */
/* Whether a `.wh..wh..opq` stood at the root of the layer: only the caller can expand that. */
bool bk_extract_root_opaque(const struct bk_extractor *x);

#endif
