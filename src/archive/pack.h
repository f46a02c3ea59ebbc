/* Canonical layer tar of a directory in overlay form; nothing is owned beyond the call. The bytes
 * are a pure function of the tree: entries sorted by component, parents before children, no entry
 * for the root itself, hard links refer to the lexically first path, whiteouts become empty `.wh.`
 * files of mode 0, sockets are left out. Extended attributes kept: security.capability and user.*
 * (without user.overlay.* and user.containers.*). */
#ifndef BK_ARCHIVE_PACK_H
#define BK_ARCHIVE_PACK_H

#include "archive/sink.h"
#include "archive/tar.h"

#define BK_DEPTH_MAX 256 /* directory levels of a layer; every level holds a descriptor */

struct bk_pack_opts {
  const char *dir;
  struct bk_sink_opts sink;
};

struct bk_pack_result {
  struct bk_sink_result sink;
  uint64_t entries; /* tar entries, whiteouts included */
};

int bk_archive_pack(const struct bk_pack_opts *opts, struct bk_pack_result *out,
                    struct bk_err *err) BK_WARN_UNUSED;

/* Sorted names of an open directory without "." and ".."; the descriptor stays the caller's and is
 * rewound. NULL-terminated vector in one allocation, to be freed; NULL with errno set. */
char **bk_dir_names(int dirfd, size_t *n);

/* Extended attributes that belong into a layer, sorted by name: release with bk_xattrs_free. */
struct bk_xattrs {
  struct bk_tar_xattr *v;
  size_t n;
  struct bk_buf names, values;
};
int bk_xattrs_read(int fd, struct bk_xattrs *out); /* -1 with errno set; ENOTSUP counts as none */
/* fsetxattr, under the name that it is kept by here (base/ids.h). */
int bk_xattr_set(int fd, const char *name, const void *value, size_t len);
int bk_xattrs_copy(int from, int to);        /* the same, for a file system without support too */
void bk_xattrs_free(struct bk_xattrs *x);
bool bk_xattr_is_kept(const char *name);

#endif
