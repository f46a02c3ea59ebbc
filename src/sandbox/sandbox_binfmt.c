/* Emulators without the host's root: each user namespace may have a binfmt_misc of its own (kernel
 * Documentation/admin-guide/binfmt-misc.rst; since Linux 6.7). */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/sandbox_int.h"

int bk_sandbox_binfmt(const char *line, size_t n, struct bk_err *err) {
  static int mnt = -1; /* the instance lives as long as its mount */
  enum bk_sandbox_mode mode = bk_sandbox_mode();
  if (mode < BK_SANDBOX_USERNS || mode > BK_SANDBOX_SINGLE)
    return bk_fail(err, BK_BUILD, "sandbox.tier", "emulators can be registered in a user namespace of ours only");
  if (mnt < 0) mnt = sandbox_new_mount("binfmt_misc", NULL, 0);
  if (mnt < 0) return bk_fail_errno(err, errno, "mount binfmt_misc in the user namespace");
  cleanup_close int fd = openat(mnt, "register", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open binfmt_misc's register");
  if (write(fd, line, n) != (ssize_t)n && errno != EEXIST)
    return bk_fail_errno(err, errno, "register an emulator");
  return 0;
}
