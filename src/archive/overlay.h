/* How a layer directory in overlay form marks deletions; nothing here owns memory. A whiteout is a
 * character device 0:0, an opaque directory carries {trusted,user}.overlay.opaque = "y" (kernel
 * Documentation/filesystems/overlayfs.rst). Nested overlays use the value "x" for a directory that
 * holds whiteouts in the form of empty regular files with the xattr overlay.whiteout. */
#ifndef BK_ARCHIVE_OVERLAY_H
#define BK_ARCHIVE_OVERLAY_H

#include <stdbool.h>
#include <sys/stat.h>

#define BK_OPAQUE_TRUSTED "trusted.overlay.opaque"
#define BK_OPAQUE_USER "user.overlay.opaque"
#define BK_OPAQUE_OURS "user.bakery.opaque" /* where overlayfs itself keeps the others to itself */

static inline bool bk_is_whiteout(const struct stat *st) {
  return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

/* 'y', 'x' or 0 for an open directory; unreadable or unsupported xattrs count as 0. */
char bk_overlay_opaque(int dirfd);

/* Marks an open directory; -1 with errno. */
int bk_overlay_set_opaque(int dirfd, bool userxattr);

/* Whether dirfd/name is an xattr whiteout; st must be its lstat. Only meaningful below an 'x'. */
bool bk_overlay_xattr_whiteout(int dirfd, const char *name, const struct stat *st);

/* Whether an xattr belongs to overlayfs itself (trusted.overlay.* or user.overlay.*). */
bool bk_overlay_is_private(const char *xattr);

#endif
