#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>

#include "base/mem.h"

int bk_open_in_root(int rootfd, const char *rel, int flags, mode_t mode) {
  struct open_how how = {
      .flags = (uint64_t)(flags | O_CLOEXEC),
      .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
      .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
  };
  int fd;
  do fd = (int)syscall(SYS_openat2, rootfd, rel, &how, sizeof how);
  while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return fd;
}

int bk_read_file(int dirfd, const char *path, struct bk_buf *out, struct bk_err *err) {
  cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", path);
  for (;;) {
    size_t max = out->max ? out->max : (size_t)1 << 30, room = max - out->len;
    size_t want = room < 65536 ? room : 65536;
    char past; /* one byte more than fits tells a full buffer from an overflow */
    char *p = want ? bk_buf_reserve(out, want) : &past;
    ssize_t n = read(fd, p, want ? want : 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bk_fail_errno(err, errno, "read '%s'", path);
    if (n == 0) break;
    if (!want) return bk_fail(err, BK_BUILD, "fs.too_large", "read '%s': file too large", path);
    out->len += (size_t)n;
    out->p[out->len] = '\0';
  }
  return 0;
}

int bk_write_all(int fd, const void *p, size_t n) {
  const char *s = p;
  while (n) {
    ssize_t k = write(fd, s, n);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return -1;
    s += k;
    n -= (size_t)k;
  }
  return 0;
}

ssize_t bk_read_full(int fd, void *p, size_t n) {
  size_t have = 0;
  while (have < n) {
    ssize_t k = read(fd, (char *)p + have, n - have);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return -1;
    if (k == 0) break;
    have += (size_t)k;
  }
  return (ssize_t)have;
}

void bk_tmpname(char out[static 40], const char *prefix) {
  static atomic_uint seq;
  uint32_t r = 0;
  (void)!getrandom(&r, sizeof r, GRND_NONBLOCK);
  snprintf(out, 40, "%.8s%x-%x-%08x", prefix, (unsigned)getpid(), atomic_fetch_add(&seq, 1), r);
}

int bk_write_file(int dirfd, const char *path, const void *p, size_t n, mode_t mode, bool sync,
                  struct bk_err *err) {
  const char *slash = strrchr(path, '/');
  char name[40];
  bk_tmpname(name, ".tmp-");
  cleanup_free char *tmp = bk_asprintf("%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name);
  cleanup_close int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return bk_fail_errno(err, errno, "create '%s'", path);
  if (bk_write_all(fd, p, n) || (sync && fsync(fd)) || fchmod(fd, mode) ||
      renameat(dirfd, tmp, dirfd, path)) {
    int e = errno;
    unlinkat(dirfd, tmp, 0);
    return bk_fail_errno(err, e, "write '%s'", path);
  }
  return 0;
}

int bk_mkdirs(int dirfd, const char *path, mode_t mode, struct bk_err *err) {
  cleanup_free char *copy = bk_strdup(path);
  for (char *s = copy + (copy[0] == '/'); *s;) {
    char *slash = strchr(s, '/');
    if (slash) *slash = '\0';
    if (mkdirat(dirfd, copy, mode) && errno != EEXIST)
      return bk_fail_errno(err, errno, "create directory '%s'", copy);
    if (!slash) break;
    *slash = '/';
    s = slash + 1;
  }
  struct stat st;
  if (fstatat(dirfd, copy, &st, 0)) return bk_fail_errno(err, errno, "stat '%s'", path);
  if (!S_ISDIR(st.st_mode)) return bk_fail_errno(err, ENOTDIR, "create directory '%s'", path);
  return 0;
}

/* Deeper directories than this are moved up beside the topmost one first, so that neither the stack
 * nor the descriptor table limits what can be removed. */
#define RM_DEPTH 64

struct rm {
  int top; /* where deep directories go: the first level, emptied until nothing is left */
  struct bk_err *err;
};

static int rm_dir(struct rm *rm, int dirfd, const char *name, int depth);

/* 0 gone, 1 moved to the top level, -1 error. */
static int rm_one(struct rm *rm, int dirfd, const char *name, int depth) {
  if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return bk_fail_errno(rm->err, errno, "remove '%s'", name);
  if (depth > RM_DEPTH) {
    char moved[40];
    bk_tmpname(moved, ".rm-");
    (void)!fchmodat(dirfd, name, 0700, 0); /* its ".." changes */
    if (renameat(dirfd, name, rm->top, moved) == 0) return 1;
  }
  return rm_dir(rm, dirfd, name, depth);
}

/* One pass over the entries: 0, or 1 when directories were moved to the top level meanwhile. */
static int rm_entries(struct rm *rm, DIR *d, int depth) {
  int moved = 0;
  for (struct dirent *e; (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    int rc = rm_one(rm, dirfd(d), e->d_name, depth + 1);
    if (rc < 0) return depth ? -1 : bk_err_wrap(rm->err, "in '%s'", e->d_name);
    moved |= rc;
  }
  return moved;
}

static int rm_dir(struct rm *rm, int parent, const char *name, int depth) {
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  cleanup_close int fd = openat(parent, name, flags);
  if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0)
    fd = openat(parent, name, flags);
  if (fd < 0) return bk_fail_errno(rm->err, errno, "remove '%s'", name);
  struct stat st;
  if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700) (void)!fchmod(fd, 0700);
  cleanup_dir DIR *d = fdopendir(fd);
  if (!d) return bk_fail_errno(rm->err, errno, "read directory '%s'", name);
  (void)bk_steal_fd(&fd);
  if (depth == 0) rm->top = dirfd(d);
  int rc;
  while ((rc = rm_entries(rm, d, depth)) == 1 && depth == 0) rewinddir(d);
  if (rc < 0) return -1;
  if (unlinkat(parent, name, AT_REMOVEDIR) && errno != ENOENT)
    return bk_fail_errno(rm->err, errno, "remove directory '%s'", name);
  return rc;
}

int bk_rmtree(int dirfd, const char *path, struct bk_err *err) {
  struct rm rm = {.top = -1, .err = err};
  return rm_one(&rm, dirfd, path, 0) < 0 ? -1 : 0;
}

const char *bk_type_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "dir";
    case S_IFLNK: return "symlink";
    case S_IFIFO: return "fifo";
    case S_IFCHR: return "char";
    case S_IFBLK: return "block";
    default: return "socket";
  }
}
