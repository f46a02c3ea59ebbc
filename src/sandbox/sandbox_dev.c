/* What /dev holds: mounted in tiers with namespaces, made in a directory for the others. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/sandbox_int.h"

const struct sandbox_node sandbox_nodes[6] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},
                                              {"/dev/full", 1, 7},   {"/dev/random", 1, 8},
                                              {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
const struct sandbox_link sandbox_links[5] = {{"/dev/fd", "/proc/self/fd"},
                                              {"/dev/stdin", "/proc/self/fd/0"},
                                              {"/dev/stdout", "/proc/self/fd/1"},
                                              {"/dev/stderr", "/proc/self/fd/2"},
                                              {"/dev/ptmx", "pts/ptmx"}};

static const char *base_name(const char *path) { return strrchr(path, '/') + 1; }

int bk_sandbox_make_dev(const char *dir, const char **missing, struct bk_err *err) {
  *missing = NULL;
  cleanup_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", dir);
  for (size_t i = 0; i < BK_ARRAY_LEN(sandbox_nodes); i++) {
    const struct sandbox_node *n = &sandbox_nodes[i];
    if (mknodat(fd, base_name(n->path), S_IFCHR | 0666, makedev(n->major, n->minor)) == 0) {
      (void)!fchmodat(fd, base_name(n->path), 0666, 0);
      int open_it = openat(fd, base_name(n->path), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
      if (open_it >= 0) close(open_it);
      else if (errno == EACCES || errno == EPERM) *missing = n->path; /* a nodev mount, or a device cgroup */
    } else if (errno == EPERM || errno == EACCES) {
      *missing = n->path;
    } else {
      return bk_fail_errno(err, errno, "make device '%s'", n->path);
    }
  }
  for (size_t i = 0; i < BK_ARRAY_LEN(sandbox_links); i++)
    if (symlinkat(sandbox_links[i].to, fd, base_name(sandbox_links[i].path)))
      return bk_fail_errno(err, errno, "make link '%s'", sandbox_links[i].path);
  if (mkdirat(fd, "pts", 0755) || mkdirat(fd, "shm", 0755) || fchmodat(fd, "shm", 01777, 0))
    return bk_fail_errno(err, errno, "make directories in '%s'", dir);
  return fchmod(fd, 0755) ? bk_fail_errno(err, errno, "set mode of '%s'", dir) : 0;
}

bool bk_sandbox_devices_refused(const char *dir) {
  char path[4200];
  snprintf(path, sizeof path, "%s/.try-%d", dir, (int)getpid());
  unlink(path);
  if (mknod(path, S_IFBLK | 0600, makedev(7, 0))) return true;
  int fd = open(path, O_RDONLY | O_CLOEXEC), why = errno;
  if (fd >= 0) close(fd);
  unlink(path);
  return fd < 0 && (why == EPERM || why == EACCES);
}
