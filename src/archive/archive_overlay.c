#include "archive/overlay.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/ids.h"

char bk_overlay_opaque(int dirfd) {
  static const char *const names[] = {BK_OPAQUE_TRUSTED, BK_OPAQUE_USER, BK_OPAQUE_OURS};
  for (size_t i = 0; i < BK_ARRAY_LEN(names); i++) {
    char value[8];
    ssize_t n = fgetxattr(dirfd, names[i], value, sizeof value);
    if (n == 1 && (value[0] == 'y' || value[0] == 'x')) return value[0];
  }
  return 0;
}

int bk_overlay_set_opaque(int dirfd, bool userxattr) {
  const char *name = bk_ids() & BK_IDS_MARKS ? BK_OPAQUE_OURS : userxattr ? BK_OPAQUE_USER : BK_OPAQUE_TRUSTED;
  return fsetxattr(dirfd, name, "y", 1, 0);
}

bool bk_overlay_xattr_whiteout(int dirfd, const char *name, const struct stat *st) {
  if (!S_ISREG(st->st_mode) || st->st_size) return false;
  cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  return fgetxattr(fd, "trusted.overlay.whiteout", NULL, 0) >= 0 ||
         fgetxattr(fd, "user.overlay.whiteout", NULL, 0) >= 0;
}

bool bk_overlay_is_private(const char *xattr) {
  return strncmp(xattr, "trusted.overlay.", 16) == 0 || strncmp(xattr, "user.overlay.", 13) == 0 ||
         strcmp(xattr, BK_OPAQUE_OURS) == 0;
}
