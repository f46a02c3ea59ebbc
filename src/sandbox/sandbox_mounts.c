/* Steps that build the root. All run in the child's mount namespace; every path inside the root is
 * resolved by openat2(RESOLVE_IN_ROOT), so that symlinks of an image lead nowhere else. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sandbox/sandbox_int.h"

enum { MAX_LINKS = 16, FD_PATH = 32 };

int sandbox_openat2(int dirfd, const char *path, int flags, unsigned long resolve) {
  struct open_how how = {.flags = (unsigned long)flags | O_CLOEXEC, .resolve = resolve};
  int fd;
  do fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
  while (fd < 0 && (errno == EAGAIN || errno == EINTR)); /* EAGAIN: a rename raced with a ".." */
  return fd;
}

static int in_root(int rootfd, const char *path, int flags) {
  return sandbox_openat2(rootfd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

static void keep_errno_close(int fd) {
  int e = errno;
  if (fd >= 0) close(fd);
  errno = e;
}

static void fd_path(char out[FD_PATH], int fd) { snprintf(out, FD_PATH, "/proc/self/fd/%d", fd); }

static int fail_at(struct plan *p, const char *object, const char *detail) {
  p->object = object;
  p->detail = detail;
  return -1;
}

/* --- targets ----------------------------------------------------------------------------------- */

/* Path of the descriptor as seen from inside, appended to the stub list. */
static void note_stub(struct plan *p, int fd) {
  char link[FD_PATH];
  fd_path(link, fd);
  size_t room = sizeof p->stubs - p->nstubs;
  if (room < 2) return;
  ssize_t n = readlink(link, p->stubs + p->nstubs, room - 1);
  if (n <= (ssize_t)p->root_prefix || n >= (ssize_t)room - 1) return;
  size_t len = (size_t)n - p->root_prefix;
  memmove(p->stubs + p->nstubs, p->stubs + p->nstubs + p->root_prefix, len);
  p->stubs[p->nstubs + len] = '\0';
  p->nstubs += len + 1;
}

/* Makes the last component of p->path[0 … end], whose parent exists; its mtime is put back, so that
 * the parent differs from its layer in nothing once the stub is gone. */
static int make_one(struct plan *p, size_t slash, const char *name, bool dir) {
  char *cut = p->path + slash, saved = *cut;
  *cut = '\0';
  int parent = in_root(p->root_fd, slash ? p->path : "/", O_PATH | O_DIRECTORY);
  *cut = saved;
  if (parent < 0) return -1;
  struct stat st;
  bool known = fstat(parent, &st) == 0;
  int rc = dir ? mkdirat(parent, name, 0755) : mknodat(parent, name, S_IFREG | 0644, 0);
  if (!rc && known) {
    char link[FD_PATH];
    fd_path(link, parent);
    struct timespec times[2] = {{0, UTIME_OMIT}, st.st_mtim};
    utimensat(AT_FDCWD, link, times, 0);
  }
  keep_errno_close(parent);
  return rc;
}

/* p->path[0 … end] is a dangling symlink: puts what it points to in its place, the rest behind it. */
static int follow_link(struct plan *p, size_t slash, size_t end) {
  char *cut = p->path + slash, saved = *cut, link[1024];
  *cut = '\0';
  int parent = in_root(p->root_fd, slash ? p->path : "/", O_PATH | O_DIRECTORY);
  *cut = saved;
  if (parent < 0) return -1;
  char name[256];
  size_t n = end - slash - 1;
  if (n >= sizeof name) n = sizeof name - 1;
  memcpy(name, p->path + slash + 1, n);
  name[n] = '\0';
  ssize_t len = readlinkat(parent, name, link, sizeof link - 1);
  keep_errno_close(parent);
  if (len <= 0) return -1;
  size_t keep = link[0] == '/' ? 0 : slash + 1, rest = strlen(p->path + end) + 1;
  if (keep + (size_t)len + rest > sizeof p->path) return errno = ENAMETOOLONG, -1;
  memmove(p->path + keep + len, p->path + end, rest);
  memcpy(p->path + keep, link, (size_t)len);
  return 0;
}

/* Makes what is missing of p->path, part by part. */
static int make_target(struct plan *p, bool dir, bool note) {
  int links = 0;
  for (size_t slash = 0; p->path[slash];) {
    size_t end = slash + 1;
    while (p->path[end] && p->path[end] != '/') end++;
    bool last = !p->path[end];
    if (end == slash + 1) { /* "//" or a slash at the end */
      slash = end;
      continue;
    }
    char saved = p->path[end];
    p->path[end] = '\0';
    int fd = in_root(p->root_fd, p->path, O_PATH);
    if (fd < 0 && errno == ENOENT) {
      bool as_dir = dir || !last;
      if (make_one(p, slash, p->path + slash + 1, as_dir) == 0) {
        fd = in_root(p->root_fd, p->path, O_PATH | O_NOFOLLOW);
        if (fd >= 0 && note) note_stub(p, fd);
      } else if (errno == EEXIST && ++links <= MAX_LINKS) {
        p->path[end] = saved;
        if (follow_link(p, slash, end)) return -1;
        slash = 0;
        if (p->path[0] != '/') return errno = EINVAL, -1;
        continue;
      }
    }
    p->path[end] = saved;
    if (fd < 0) return -1;
    if (last) return fd;
    close(fd);
    slash = end;
  }
  return in_root(p->root_fd, p->path, O_PATH);
}

int sandbox_target(struct plan *p, const char *path, bool dir, bool note) {
  int fd = in_root(p->root_fd, path, O_PATH);
  if (fd >= 0 || errno != ENOENT) return fd;
  size_t n = strlen(path);
  if (n >= sizeof p->path || path[0] != '/') return errno = ENAMETOOLONG, -1;
  memcpy(p->path, path, n + 1);
  return make_target(p, dir, note);
}

/* --- attaching --------------------------------------------------------------------------------- */

static int set_attrs(int mntfd, unsigned long attrs, bool recursive) {
  struct mount_attr attr = {.attr_set = attrs};
  return mount_setattr(mntfd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

/* For kernels without mount_setattr (before 5.12). */
static int remount_attrs(int rootfd, const char *path, unsigned long attrs) {
  int fd = in_root(rootfd, path, O_PATH);
  if (fd < 0) return -1;
  char link[FD_PATH];
  fd_path(link, fd);
  unsigned long flags = MS_BIND | MS_REMOUNT;
  if (attrs & MOUNT_ATTR_RDONLY) flags |= MS_RDONLY;
  if (attrs & MOUNT_ATTR_NOSUID) flags |= MS_NOSUID;
  if (attrs & MOUNT_ATTR_NODEV) flags |= MS_NODEV;
  if (attrs & MOUNT_ATTR_NOEXEC) flags |= MS_NOEXEC;
  int rc = mount(NULL, link, NULL, flags, NULL);
  keep_errno_close(fd);
  return rc;
}

static int attach(int mntfd, int target) {
  return move_mount(mntfd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* Attaches the detached mount at op->path. Takes mntfd. */
static int attach_op(struct plan *p, const struct op *op, int mntfd, bool dir, bool recursive) {
  bool later = false;
  int rc = 0, target = -1;
  if (op->attrs && set_attrs(mntfd, op->attrs, recursive)) {
    if (errno == ENOSYS) later = true;
    else rc = fail_at(p, op->path, "set mount attributes");
  }
  if (!rc && (target = sandbox_target(p, op->path, dir, !op->own)) < 0)
    rc = fail_at(p, op->path, "mount target");
  if (!rc && attach(mntfd, target)) rc = fail_at(p, op->path, "mount on");
  if (!rc && later && remount_attrs(p->root_fd, op->path, op->attrs))
    rc = fail_at(p, op->path, "remount");
  keep_errno_close(target);
  keep_errno_close(mntfd);
  return rc;
}

/* A missing thing or a kernel that does not want to: fine where the step is optional. */
static int forgive(const struct op *op, int rc) {
  if (rc == 0 || !op->optional) return rc;
  return errno == ENOENT || errno == EPERM || errno == EACCES || errno == ENODEV || errno == EINVAL ||
                 errno == ENOTDIR || errno == EROFS
             ? 0
             : rc;
}

/* --- the root ---------------------------------------------------------------------------------- */

int sandbox_do_private(struct plan *p, const struct op *op) {
  (void)p, (void)op;
  return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* Remembers where the root hangs, to cut that off the paths of stubs. */
static int adopt_root(struct plan *p, int fd) {
  char link[FD_PATH];
  fd_path(link, fd);
  ssize_t n = readlink(link, p->path, sizeof p->path);
  p->root_fd = fd;
  p->root_prefix = n > 1 ? (size_t)n : 0;
  return 0;
}

/* "upperdir=…,lowerdir=top:…:bottom" with descriptors in place of paths: short, and no character of
 * a path can be mistaken for a separator. */
static int overlay_classic(struct plan *p, const int *fds, int upper, int work, const char *extra) {
  size_t n = p->spec->nlowers, used = 0, room = p->noptions;
  char *o = p->options;
  used += (size_t)snprintf(o, room, "%s,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,lowerdir=",
                           extra, upper, work);
  for (size_t i = n; i-- > 0 && used < room;)
    used += (size_t)snprintf(o + used, room - used, "/proc/self/fd/%d%s", fds[i], i ? ":" : "");
  return mount("overlay", p->spec->work, "overlay", p->devices ? 0 : MS_NODEV, o);
}

static int new_dir(int parent, const char *name) {
  if (mkdirat(parent, name, 0555) && errno != EEXIST) return -1;
  return openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Without an upper directory, so read-only; an empty lowest one, because there must be two. At most 128 of
 * them: a page of options is enough. */
static int mount_layers(const struct op *op, int at, int count, const char *extra) {
  char options[4096], target[FD_PATH];
  size_t used = (size_t)snprintf(options, sizeof options, "%s,lowerdir=", extra);
  for (int i = count; i-- > 0 && used < sizeof options;)
    used += (size_t)snprintf(options + used, sizeof options - used, "/proc/self/fd/%d%s", op->fds[i], i ? ":" : "");
  if (used >= sizeof options) return errno = E2BIG, -1;
  fd_path(target, at);
  return mount("overlay", target, "overlay", MS_RDONLY | MS_NODEV, options);
}

int sandbox_do_layers(struct plan *p, const struct op *op) {
  const struct bk_sandbox_mount *m = op->mount;
  int count = 0, rc = -1, at = new_dir(p->support_fd, op->source);
  op->fds[count++] = new_dir(p->support_fd, ".lowest");
  for (size_t i = 0; i < m->nlowers; i++) op->fds[count++] = open(m->lowers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
  bool open_all = at >= 0;
  for (int i = 0; i < count; i++) open_all = open_all && op->fds[i] >= 0;
  if (open_all) {
    bool user = p->spec->userxattr;
    rc = mount_layers(op, at, count, user ? "userxattr,index=off,xino=off"
                                          : "index=off,xino=off,metacopy=off,redirect_dir=off");
    if (rc && errno == EINVAL) rc = mount_layers(op, at, count, user ? "userxattr" : "index=off");
  }
  for (int i = 0; i < count; i++) keep_errno_close(op->fds[i]);
  keep_errno_close(at);
  return rc ? fail_at(p, m->target, "overlay") : 0;
}

static int set_string(int fs, const char *key, const char *value) {
  return fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0);
}

static int set_fd_path(int fs, const char *key, int fd) {
  char link[FD_PATH];
  fd_path(link, fd);
  return set_string(fs, key, link);
}

/* Past one page of options: one call per layer (Linux >= 6.7). */
static int overlay_fsconfig(struct plan *p, const int *fds, int upper, int work, const char *extra) {
  int fs = fsopen("overlay", FSOPEN_CLOEXEC), rc = 0, mnt = -1;
  if (fs < 0) return -1;
  char option[64];
  for (const char *e = extra; *e && !rc;) {
    size_t n = strcspn(e, ",");
    snprintf(option, sizeof option, "%.*s", (int)n, e);
    char *eq = strchr(option, '=');
    if (eq) *eq = '\0';
    rc = eq ? set_string(fs, option, eq + 1) : fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL, 0);
    e += n + (e[n] == ',');
  }
  for (size_t i = p->spec->nlowers; i-- > 0 && !rc;) rc = set_fd_path(fs, "lowerdir+", fds[i]);
  if (!rc) rc = set_fd_path(fs, "upperdir", upper);
  if (!rc) rc = set_fd_path(fs, "workdir", work);
  if (!rc) rc = fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
  if (!rc && (mnt = fsmount(fs, FSMOUNT_CLOEXEC, p->devices ? 0 : MOUNT_ATTR_NODEV)) < 0) rc = -1;
  if (!rc) rc = move_mount(mnt, "", AT_FDCWD, p->spec->work, MOVE_MOUNT_F_EMPTY_PATH);
  keep_errno_close(mnt);
  keep_errno_close(fs);
  return rc;
}

/* The lower descriptors live in the option buffer's tail, which the parent has made large enough. */
int sandbox_do_overlay(struct plan *p, const struct op *op) {
  (void)op;
  const struct bk_sandbox_spec *s = p->spec;
  int *fds = (int *)(void *)(p->options + p->noptions);
  for (size_t i = 0; i < s->nlowers; i++)
    if ((fds[i] = open(s->lowers[i], O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
      return fail_at(p, s->lowers[i], "open layer");
  int upper = open(s->upper, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (upper < 0) return fail_at(p, s->upper, "open upper directory");
  int work = open(s->work, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (work < 0) return fail_at(p, s->work, "open work directory");
  /* Without redirects and metacopy the upper directory is the whole difference; in a user namespace
   * both are off and may not be named. volatile: no sync for files that are thrown away or copied. */
  const char *extra = s->userxattr ? "userxattr,index=off,xino=off,volatile"
                                   : "index=off,xino=off,metacopy=off,redirect_dir=off,volatile";
  bool fits = 100 + s->nlowers * 24 < 4096;
  int rc = fits ? overlay_classic(p, fds, upper, work, extra)
                : overlay_fsconfig(p, fds, upper, work, extra);
  if (rc && fits && errno == EINVAL) /* before 5.10: no volatile, no xino without 4.17 … */
    rc = overlay_classic(p, fds, upper, work, s->userxattr ? "userxattr" : "index=off");
  for (size_t i = 0; i < s->nlowers; i++) keep_errno_close(fds[i]);
  keep_errno_close(upper);
  keep_errno_close(work);
  if (rc) return fail_at(p, s->work, "overlay");
  int fd = open(s->work, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 ? fail_at(p, s->work, "open overlay") : adopt_root(p, fd);
}

int sandbox_do_scratch(struct plan *p, const struct op *op) {
  (void)op;
  int fd = open_tree(AT_FDCWD, p->spec->upper, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (fd < 0 || (!p->devices && set_attrs(fd, MOUNT_ATTR_NODEV, false)) ||
      move_mount(fd, "", AT_FDCWD, p->spec->work, MOVE_MOUNT_F_EMPTY_PATH))
    return fail_at(p, p->spec->upper, "bind the empty root");
  return adopt_root(p, fd);
}

int sandbox_do_pivot(struct plan *p, const struct op *op) {
  (void)op;
  if (fchdir(p->root_fd)) return -1;
  if (syscall(SYS_pivot_root, ".", ".")) return -1;
  /* The old root lies over the new one now (pivot_root(2), NOTES): take it away. */
  if (umount2(".", MNT_DETACH)) return -1;
  return chdir("/");
}

/* --- our own files ----------------------------------------------------------------------------- */

int sandbox_new_mount(const char *fstype, const char *const *conf, unsigned long attrs) {
  int fs = fsopen(fstype, FSOPEN_CLOEXEC);
  if (fs < 0) return -1;
  int rc = set_string(fs, "source", fstype), mnt = -1;
  for (; conf && *conf && !rc; conf += 2)
    rc = conf[1] ? set_string(fs, conf[0], conf[1]) : fsconfig(fs, FSCONFIG_SET_FLAG, conf[0], NULL, 0);
  if (!rc) rc = fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
  if (!rc) mnt = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attrs);
  keep_errno_close(fs);
  return mnt;
}

int sandbox_do_support(struct plan *p, const struct op *op) {
  static const char *const conf[] = {"mode", "0755", "size", "16m", NULL};
  int mnt = sandbox_new_mount("tmpfs", conf, MOUNT_ATTR_NOSUID);
  if (mnt < 0 || move_mount(mnt, "", AT_FDCWD, op->path, MOVE_MOUNT_F_EMPTY_PATH))
    return fail_at(p, op->path, "mount tmpfs on");
  p->support_fd = mnt;
  return 0;
}

int sandbox_do_file(struct plan *p, const struct op *op) {
  int fd = openat(p->support_fd, op->source, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  int rc = 0;
  for (size_t done = 0; done < op->ndata && !rc;) {
    ssize_t n = write(fd, op->data + done, op->ndata - done);
    if (n < 0) rc = -1;
    else done += (size_t)n;
  }
  if (!rc && (op->uid || op->gid) && !p->single) rc = fchown(fd, op->uid, op->gid);
  if (!rc) rc = fchmod(fd, op->mode);
  keep_errno_close(fd);
  return rc;
}

int sandbox_do_empty(struct plan *p, const struct op *op) {
  int fd = openat(p->support_fd, ".nothing", O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
  if (fd < 0) return -1;
  close(fd);
  return mkdirat(p->support_fd, op->source, 0555);
}

/* --- mounts ------------------------------------------------------------------------------------ */

int sandbox_do_mount(struct plan *p, const struct op *op) {
  int mnt = sandbox_new_mount(op->fstype, op->conf, op->attrs);
  if (mnt < 0 && errno == EPERM && op->source) return sandbox_do_bind(p, op);
  if (mnt < 0) return forgive(op, fail_at(p, op->path, op->fstype));
  struct op plain = *op; /* the attributes are set already */
  plain.attrs = 0;
  return forgive(op, attach_op(p, &plain, mnt, true, false));
}

static int open_source(struct plan *p, const struct op *op) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (op->support && !op->subpath) return open_tree(p->support_fd, op->source, flags | AT_SYMLINK_NOFOLLOW);
  if (!op->subpath) return open_tree(AT_FDCWD, op->source, flags | AT_RECURSIVE);
  /* What is below may be written by another box right now: resolve once, clone what was found. */
  int base = openat(op->support ? p->support_fd : AT_FDCWD, op->source, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (base < 0) return -1;
  int sub = in_root(base, op->subpath, O_PATH), tree = -1;
  if (sub >= 0) tree = open_tree(sub, "", flags | AT_RECURSIVE | AT_EMPTY_PATH);
  keep_errno_close(sub);
  keep_errno_close(base);
  return tree;
}

int sandbox_do_bind(struct plan *p, const struct op *op) {
  if (op->needs) {
    int fd = in_root(p->root_fd, op->needs, O_PATH);
    if (fd < 0) return 0;
    close(fd);
  }
  int tree = open_source(p, op);
  if (tree < 0) return forgive(op, fail_at(p, op->source, "open mount source"));
  struct stat st;
  bool known = fstat(tree, &st) == 0, dir = known && S_ISDIR(st.st_mode);
  struct op plain = *op; /* a device that the caller names is meant to work */
  if (known && (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))) plain.attrs &= ~(unsigned long)MOUNT_ATTR_NODEV;
  return forgive(op, attach_op(p, &plain, tree, dir, true));
}

/* The device `name`: one of our own where that is possible (the inside may change its mode), else
 * the host's, read-only, which keeps its attributes and still lets it be written. */
static int open_node(struct plan *p, const char *path) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (!p->userns) return open_tree(p->support_fd, strrchr(path, '/') + 1, flags);
  int tree = open_tree(AT_FDCWD, path, flags);
  struct stat st; /* a container may have no nodes, or files in their place */
  if (tree >= 0 && (fstat(tree, &st) || !S_ISCHR(st.st_mode))) {
    close(tree);
    return errno = ENOENT, -1;
  }
  if (tree >= 0 && set_attrs(tree, MOUNT_ATTR_RDONLY, false) && errno != ENOSYS) {
    keep_errno_close(tree);
    return -1;
  }
  return tree;
}

/* A mount of its own for each device: everything else is mounted nodev, so that nodes which an
 * image brings or a command makes are dead. */
int sandbox_do_node(struct plan *p, const struct op *op) {
  const char *name = strrchr(op->path, '/') + 1;
  if (!p->userns && (mknodat(p->support_fd, name, S_IFCHR | op->mode, op->dev) ||
                     fchmodat(p->support_fd, name, op->mode, 0)))
    return -1;
  int tree = open_node(p, op->path);
  if (tree < 0 && p->userns && errno == ENOENT) return 0;
  return tree < 0 ? fail_at(p, op->path, "device") : attach_op(p, op, tree, false, false);
}

/* op->path lies in a mount of ours: its parent cannot be a symlink. */
static int parent_of(struct plan *p, const struct op *op, const char **name) {
  const char *slash = strrchr(op->path, '/');
  size_t n = (size_t)(slash - op->path);
  memcpy(p->path, op->path, n);
  p->path[n] = '\0';
  *name = slash + 1;
  return in_root(p->root_fd, p->path, O_PATH | O_DIRECTORY);
}

int sandbox_do_link(struct plan *p, const struct op *op) {
  const char *name;
  int dir = parent_of(p, op, &name);
  int rc = dir < 0 ? -1 : symlinkat(op->source, dir, name);
  keep_errno_close(dir);
  return rc;
}

int sandbox_do_dir(struct plan *p, const struct op *op) {
  const char *name;
  int dir = parent_of(p, op, &name);
  int rc = dir < 0 ? -1 : mkdirat(dir, name, op->mode);
  keep_errno_close(dir);
  return rc;
}

int sandbox_do_mask(struct plan *p, const struct op *op) {
  int target = in_root(p->root_fd, op->path, O_PATH);
  if (target < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : fail_at(p, op->path, "mask");
  struct stat st;
  bool dir = fstat(target, &st) == 0 && S_ISDIR(st.st_mode);
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  int tree = dir ? open_tree(p->support_fd, ".empty", flags) : open_node(p, "/dev/null");
  if (tree < 0 && !dir) tree = open_tree(p->support_fd, ".nothing", flags);
  int rc = tree < 0 ? -1 : 0;
  unsigned long attrs = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | (dir ? MOUNT_ATTR_NODEV : 0);
  if (!rc && set_attrs(tree, attrs, false) && errno != ENOSYS) rc = -1;
  if (!rc) rc = attach(tree, target);
  keep_errno_close(tree);
  keep_errno_close(target);
  return rc ? fail_at(p, op->path, "mask") : 0;
}

int sandbox_do_readonly(struct plan *p, const struct op *op) {
  int target = in_root(p->root_fd, op->path, O_PATH);
  if (target < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : fail_at(p, op->path, "read-only");
  int tree = open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
  int rc = tree < 0 ? -1 : 0;
  bool later = false;
  if (!rc && set_attrs(tree, MOUNT_ATTR_RDONLY, true)) {
    later = errno == ENOSYS;
    rc = later ? 0 : -1;
  }
  if (!rc) rc = attach(tree, target);
  if (!rc && later) rc = remount_attrs(p->root_fd, op->path, MOUNT_ATTR_RDONLY);
  keep_errno_close(tree);
  keep_errno_close(target);
  return rc ? fail_at(p, op->path, "read-only") : 0;
}
