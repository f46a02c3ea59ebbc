#include "archive/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "archive/extract_dirs.h"
#include "archive/overlay.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/ids.h"
#include "base/mem.h"

#define PATH_LIMIT 4095 /* what a relative path of one system call can hold */

struct bk_extractor {
  struct bk_extract_opts opts;
  struct bk_dirs dirs;
  bool started;
  struct bk_map times; /* path of a directory -> struct timespec to set at the end */
  bool root_listed, root_opaque;
  mode_t umask;
  bool single_id; /* the user namespace maps one id: everything belongs to it */
  uid_t uid;      /* what newly created files get */
  gid_t gid;
};

static bool maps_one_id(void) {
  cleanup_buf struct bk_buf map = {.max = 65536};
  struct bk_err err;
  if (bk_read_file(AT_FDCWD, "/proc/self/uid_map", &map, &err)) return false;
  unsigned long inside, outside, count;
  int end = 0;
  return sscanf(bk_buf_str(&map), " %lu %lu %lu %n", &inside, &outside, &count, &end) == 3 &&
         count == 1 && (size_t)end == map.len;
}

struct bk_extractor *bk_extract_new(const struct bk_extract_opts *opts) {
  struct bk_extractor *x = bk_calloc(1, sizeof *x);
  x->opts = *opts;
  x->uid = bk_ids_uid();
  x->gid = bk_ids_gid();
  /* umask(2) can only be read by changing it, for every thread: ask /proc; unknown = all bits. */
  x->umask = 0777;
  struct bk_buf status = {.max = 65536};
  struct bk_err err;
  if (bk_read_file(AT_FDCWD, "/proc/self/status", &status, &err) == 0) {
    const char *line = strstr(bk_buf_str(&status), "\nUmask:");
    if (line) x->umask = (mode_t)strtoul(line + 7, NULL, 8) & 0777;
  }
  bk_buf_free(&status);
  x->single_id = opts->rootless && !bk_ids() && maps_one_id();
  return x;
}

void bk_extract_free(struct bk_extractor *x) {
  if (!x) return;
  if (x->started) bk_dirs_free(&x->dirs);
  bk_map_each(e, &x->times) free(e->value);
  bk_map_free(&x->times);
  free(x);
}

bool bk_extract_root_opaque(const struct bk_extractor *x) { return x->root_opaque; }

/* --- metadata -------------------------------------------------------------------------------- */

static struct timespec mtime_of(const struct bk_tar_entry *e) {
  return (struct timespec){.tv_sec = e->mtime, .tv_nsec = e->mtime_nsec};
}

static uid_t want_uid(const struct bk_extractor *x, const struct bk_tar_entry *e) {
  if (x->single_id) return x->uid;
  return x->opts.owner < 0 ? e->uid : (uid_t)(x->opts.owner >> 32);
}

static gid_t want_gid(const struct bk_extractor *x, const struct bk_tar_entry *e) {
  if (x->single_id) return x->gid;
  return x->opts.owner < 0 ? e->gid : (gid_t)(x->opts.owner & 0xffffffff);
}

static int owner_failed(const struct bk_extractor *x, const struct bk_tar_entry *e,
                        struct bk_err *err) {
  if (errno != EINVAL) return bk_fail_errno(err, errno, "set owner");
  return bk_fail(err, BK_BUILD, "archive.unmapped_owner",
                 "owner %u:%u has no place in this user namespace (see /etc/subuid, /etc/subgid)",
                 want_uid(x, e), want_gid(x, e));
}

/* Whether a file just created in the current directory needs a chown. */
static bool needs_chown(struct bk_extractor *x, const struct bk_tar_entry *e) {
  return want_uid(x, e) != x->uid || want_gid(x, e) != x->gid || bk_dirs_top(&x->dirs)->setgid;
}

static bool needs_chmod(struct bk_extractor *x, mode_t mode) {
  return (mode & (x->umask | 07000)) || bk_dirs_top(&x->dirs)->setgid;
}

static int set_xattrs(struct bk_extractor *x, int fd, const struct bk_tar_entry *e,
                      struct bk_err *err) {
  for (size_t i = 0; i < e->n_xattrs; i++) {
    const struct bk_tar_xattr *a = &e->xattrs[i];
    if (!bk_xattr_is_kept(a->name)) continue;
    if (bk_xattr_set(fd, a->name, a->value, a->len) == 0 || errno == ENOTSUP) continue;
    if (errno == EPERM && x->opts.rootless) continue;
    return bk_fail_errno(err, errno, "set extended attribute '%s'", a->name);
  }
  return 0;
}

static void remember_time(struct bk_extractor *x, const char *path, size_t len,
                          struct timespec time) {
  struct timespec *t = bk_map_get(&x->times, path, len);
  if (!t) bk_map_set(&x->times, path, len, t = bk_malloc(sizeof *t));
  *t = time;
}

/* Path of `name` in the current directory. */
static char *full_path(struct bk_extractor *x, const char *name) {
  const char *dir = bk_buf_str(&x->dirs.path);
  return bk_asprintf("%s%s%s", dir, *dir ? "/" : "", name);
}

/* Owner, mode, xattrs of directory `name` in the current one; the time is set at the end. */
static int dir_metadata(struct bk_extractor *x, const char *name, const struct bk_tar_entry *e,
                        bool created, struct bk_err *err) {
  int fd = bk_dirs_top(&x->dirs)->fd;
  if ((!created || needs_chown(x, e)) &&
      bk_fchownat(fd, name, want_uid(x, e), want_gid(x, e), AT_SYMLINK_NOFOLLOW))
    return owner_failed(x, e, err);
  if ((!created || needs_chmod(x, e->mode)) && bk_fchmodat(fd, name, e->mode))
    return bk_fail_errno(err, errno, "set mode");
  if (e->n_xattrs) {
    cleanup_close int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0) return bk_fail_errno(err, errno, "open directory");
    if (set_xattrs(x, sub, e, err)) return -1;
  }
  cleanup_free char *path = full_path(x, name);
  remember_time(x, path, strlen(path), mtime_of(e));
  return 0;
}

static int set_opaque(struct bk_extractor *x, int dirfd, const char *name, struct bk_err *err) {
  cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || bk_overlay_set_opaque(fd, x->opts.userxattr))
    return bk_fail_errno(err, errno, "mark directory as opaque");
  return 0;
}

/* --- making room ----------------------------------------------------------------------------- */

enum existing { NOTHING, WHITEOUT, DIRECTORY, OTHER, FAILED };

static enum existing look(struct bk_extractor *x, const char *name, struct stat *st,
                          struct bk_err *err) {
  if (bk_fstatat(bk_dirs_top(&x->dirs)->fd, name, st, AT_SYMLINK_NOFOLLOW)) {
    if (errno == ENOENT) return NOTHING;
    bk_fail_errno(err, errno, "stat");
    return FAILED;
  }
  if (S_ISDIR(st->st_mode)) return DIRECTORY;
  return x->opts.overlay && bk_is_whiteout(st) ? WHITEOUT : OTHER;
}

static int remove_old(struct bk_extractor *x, const char *name, struct bk_err *err) {
  cleanup_free char *path = full_path(x, name);
  free(bk_map_del(&x->times, path, strlen(path)));
  return bk_rmtree(bk_dirs_top(&x->dirs)->fd, name, err);
}

/* `name` becomes a new directory of the current one; what it replaces must be gone, except that a
 * whiteout in its place means that nothing of the lower layers may show through. */
static int make_dir(struct bk_extractor *x, const char *name, mode_t mode, enum existing old,
                    struct bk_err *err) {
  int fd = bk_dirs_top(&x->dirs)->fd;
  if (old == OTHER || old == WHITEOUT)
    if (remove_old(x, name, err)) return -1;
  if (mkdirat(fd, name, mode & 0777)) return bk_fail_errno(err, errno, "create directory");
  return old == WHITEOUT ? set_opaque(x, fd, name, err) : 0;
}

static void implied_entry(struct bk_tar_entry *e, const struct stat *st) {
  *e = (struct bk_tar_entry){.path = "", .link = "", .type = BK_TAR_DIR, .mode = 0755};
  if (!st) return;
  e->mode = st->st_mode & 07777;
  e->uid = st->st_uid;
  e->gid = st->st_gid;
  e->mtime = st->st_mtim.tv_sec;
  e->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
}

/* bk_dirs callback: a parent that the archive does not list. */
static int make_implied(void *ctx, const char *name, bool exists, struct bk_err *err) {
  struct bk_extractor *x = ctx;
  struct stat st;
  enum existing old = exists ? look(x, name, &st, err) : NOTHING;
  if (old == FAILED) return -1;
  if (old == OTHER) return bk_fail_errno(err, ENOTDIR, "parent '%s'", name);
  struct bk_tar_entry e;
  cleanup_free char *path = full_path(x, name);
  int known = x->opts.implied ? x->opts.implied(x->opts.ctx, path, &st, err) : 0;
  if (known < 0) return -1;
  implied_entry(&e, known && S_ISDIR(st.st_mode) ? &st : NULL);
  return make_dir(x, name, e.mode, old, err) ? -1 : dir_metadata(x, name, &e, true, err);
}

/* --- entries --------------------------------------------------------------------------------- */

static int root_entry(struct bk_extractor *x, const struct bk_tar_entry *e, struct bk_err *err) {
  if (e->type != BK_TAR_DIR)
    return bk_fail(err, BK_BUILD, "archive.bad_name", "the root is no directory");
  int fd = x->opts.rootfd;
  if (bk_fchown(fd, want_uid(x, e), want_gid(x, e))) return owner_failed(x, e, err);
  if (bk_fchmod(fd, e->mode)) return bk_fail_errno(err, errno, "set mode");
  if (set_xattrs(x, fd, e, err)) return -1;
  x->dirs.levels[0].setgid = e->mode & S_ISGID;
  x->root_listed = true;
  remember_time(x, "", 0, mtime_of(e));
  return 0;
}

static int put_dir(struct bk_extractor *x, const char *name, const struct bk_tar_entry *e,
                   struct bk_err *err) {
  struct stat st;
  enum existing old = look(x, name, &st, err);
  if (old == FAILED || (old != DIRECTORY && make_dir(x, name, e->mode, old, err))) return -1;
  return dir_metadata(x, name, e, old != DIRECTORY, err);
}

static int put_data(int fd, bk_extract_data *data, void *ctx, struct bk_err *err) {
  const char *p;
  size_t n;
  int rc;
  off_t hole = 0; /* end of a hole that no data follows yet */
  while ((rc = data(ctx, &p, &n, err)) == 1) {
    if (p ? bk_write_all(fd, p, n) != 0 : (hole = lseek(fd, (off_t)n, SEEK_CUR)) < 0)
      return bk_fail_errno(err, errno, "write");
    if (p) hole = 0;
  }
  if (rc == 0 && hole && ftruncate(fd, hole)) return bk_fail_errno(err, errno, "write");
  return rc;
}

static int put_file(struct bk_extractor *x, const char *name, const struct bk_tar_entry *e,
                    bk_extract_data *data, void *ctx, struct bk_err *err) {
  int dirfd = bk_dirs_top(&x->dirs)->fd;
  int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  cleanup_close int fd = openat(dirfd, name, flags, e->mode & 0777);
  if (fd < 0 && errno == EEXIST) {
    if (remove_old(x, name, err)) return -1;
    fd = openat(dirfd, name, flags, e->mode & 0777);
  }
  if (fd < 0) return bk_fail_errno(err, errno, "create file");
  if (put_data(fd, data, ctx, err)) return -1;
  if (needs_chown(x, e) && bk_fchown(fd, want_uid(x, e), want_gid(x, e)))
    return owner_failed(x, e, err);
  if (needs_chmod(x, e->mode) && bk_fchmod(fd, e->mode)) return bk_fail_errno(err, errno, "set mode");
  if (set_xattrs(x, fd, e, err)) return -1;
  struct timespec t[2] = {mtime_of(e), mtime_of(e)};
  return futimens(fd, t) ? bk_fail_errno(err, errno, "set time") : 0;
}

static int make_special(struct bk_extractor *x, const char *name, const struct bk_tar_entry *e) {
  int fd = bk_dirs_top(&x->dirs)->fd;
  if (e->type == BK_TAR_SYMLINK) return symlinkat(e->link, fd, name);
  mode_t type = e->type == BK_TAR_FIFO ? S_IFIFO : e->type == BK_TAR_CHAR ? S_IFCHR : S_IFBLK;
  dev_t dev = type == S_IFIFO ? 0 : makedev(e->devmajor, e->devminor);
  return bk_mknodat(fd, name, type | (e->mode & 0777), dev);
}

/* Symlinks, fifos and device nodes. */
static int put_special(struct bk_extractor *x, const char *name, const struct bk_tar_entry *e,
                       struct bk_err *err) {
  bool device = e->type == BK_TAR_CHAR || e->type == BK_TAR_BLOCKDEV;
  bool whiteout = e->type == BK_TAR_CHAR && !e->devmajor && !e->devminor;
  if (device && !whiteout && x->opts.rootless && !(bk_ids() & (BK_IDS_ALL | BK_IDS_DEVICES)))
    return bk_fail(err, BK_BUILD, "archive.device",
                   "device node %u:%u cannot be created without root privileges", e->devmajor,
                   e->devminor);
  int fd = bk_dirs_top(&x->dirs)->fd, rc = make_special(x, name, e);
  if (rc && errno == EEXIST) {
    if (remove_old(x, name, err)) return -1;
    rc = make_special(x, name, e);
  }
  if (rc) return bk_fail_errno(err, errno, "create %s", device ? "device node" : "entry");
  if (needs_chown(x, e) &&
      bk_fchownat(fd, name, want_uid(x, e), want_gid(x, e), AT_SYMLINK_NOFOLLOW))
    return owner_failed(x, e, err);
  if (e->type != BK_TAR_SYMLINK && needs_chmod(x, e->mode) && bk_fchmodat(fd, name, e->mode))
    return bk_fail_errno(err, errno, "set mode");
  struct timespec t[2] = {mtime_of(e), mtime_of(e)};
  if (utimensat(fd, name, t, AT_SYMLINK_NOFOLLOW)) return bk_fail_errno(err, errno, "set time");
  return 0;
}

static int put_whiteout(struct bk_extractor *x, const char *name, struct bk_err *err) {
  if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return bk_fail(err, BK_BUILD, "archive.bad_name", "whiteout without a name");
  struct stat st;
  int fd = bk_dirs_top(&x->dirs)->fd;
  switch (look(x, name, &st, err)) { /* what this layer has itself is never deleted by it */
    case FAILED: return -1;
    case DIRECTORY: return set_opaque(x, fd, name, err);
    case NOTHING: break;
    default: return 0;
  }
  return bk_mknodat(fd, name, S_IFCHR, 0) ? bk_fail_errno(err, errno, "create whiteout") : 0;
}

/* --- hard links ------------------------------------------------------------------------------ */

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static int no_target(const struct bk_tar_entry *e, struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "archive.bad_link",
                 "hard link to '%s', which is not in this archive", e->link);
}

/* The link carries metadata of its own, normally those that the file has already. */
static int link_metadata(struct bk_extractor *x, const char *name, const struct stat *st,
                         const struct bk_tar_entry *e, struct bk_err *err) {
  int fd = bk_dirs_top(&x->dirs)->fd;
  if (!S_ISREG(st->st_mode)) return 0;
  bool owner = st->st_uid != want_uid(x, e) || st->st_gid != want_gid(x, e);
  if (owner && bk_fchownat(fd, name, want_uid(x, e), want_gid(x, e), AT_SYMLINK_NOFOLLOW))
    return owner_failed(x, e, err);
  if ((owner || (st->st_mode & 07777) != e->mode) && bk_fchmodat(fd, name, e->mode))
    return bk_fail_errno(err, errno, "set mode");
  if (e->n_xattrs) {
    cleanup_close int sub = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0) return bk_fail_errno(err, errno, "open file");
    if (set_xattrs(x, sub, e, err)) return -1;
  }
  struct timespec t[2] = {mtime_of(e), mtime_of(e)};
  if (utimensat(fd, name, t, AT_SYMLINK_NOFOLLOW)) return bk_fail_errno(err, errno, "set time");
  return 0;
}

static char *cleaned(const char *path, struct bk_err *err);

static int put_hardlink(struct bk_extractor *x, const char *dir, size_t dir_len, const char *name,
                        const struct bk_tar_entry *e, struct bk_err *err) {
  cleanup_free char *target = cleaned(e->link, err);
  if (!target) return bk_err_wrap(err, "hard link");
  const char *base = base_name(target);
  struct stat st, old;
  struct bk_err why;
  if (!*base || bk_dirs_enter(&x->dirs, target, (size_t)(base - target), 0, &why))
    return no_target(e, err);
  cleanup_close int from = fcntl(bk_dirs_top(&x->dirs)->fd, F_DUPFD_CLOEXEC, 3);
  if (from < 0) return bk_fail_errno(err, errno, "duplicate descriptor");
  if (bk_fstatat(from, base, &st, AT_SYMLINK_NOFOLLOW) || S_ISDIR(st.st_mode) ||
      (x->opts.overlay && bk_is_whiteout(&st)))
    return no_target(e, err);
  if (bk_dirs_enter(&x->dirs, dir, dir_len, BK_DIRS_CREATE, err)) return -1;
  enum existing there = look(x, name, &old, err);
  if (there == FAILED) return -1;
  if (there != NOTHING && old.st_ino == st.st_ino && old.st_dev == st.st_dev) return 0;
  if (there != NOTHING && remove_old(x, name, err)) return -1;
  if (linkat(from, base, bk_dirs_top(&x->dirs)->fd, name, 0))
    return bk_fail_errno(err, errno, "link to '%s'", e->link);
  return link_metadata(x, name, &st, e, err);
}

/* --- one entry ------------------------------------------------------------------------------- */

/* Copy without leading, trailing and double slashes and "." components; NULL with err for "..". */
static char *cleaned(const char *path, struct bk_err *err) {
  size_t len = strlen(path);
  if (len > PATH_LIMIT) {
    bk_fail(err, BK_BUILD, "archive.bad_name", "path longer than %d bytes", PATH_LIMIT);
    return NULL;
  }
  char *out = bk_malloc(len + 1), *to = out;
  while (*path) {
    size_t n = strcspn(path, "/");
    bool dot = n == 1 && path[0] == '.';
    if (n == 2 && path[0] == '.' && path[1] == '.') {
      free(out);
      bk_fail(err, BK_BUILD, "archive.escape", "path with a '..' component");
      return NULL;
    }
    if (n && !dot) {
      if (to != out) *to++ = '/';
      memcpy(to, path, n);
      to += n;
    }
    path += n + (path[n] == '/');
  }
  *to = '\0';
  return out;
}

/* Image layers: 1 handled or to be ignored, 0 an ordinary name, -1. */
static int special_name(struct bk_extractor *x, const char *path, const char *base,
                        struct bk_err *err) {
  if (!x->opts.overlay || !strstr(path, BK_WHITEOUT_PREFIX)) return 0;
  for (const char *s = path; s < base; s += strcspn(s, "/") + 1) {
    if (strncmp(s, ".wh..wh.", 8) == 0) return 1; /* bookkeeping of aufs */
    if (strncmp(s, BK_WHITEOUT_PREFIX, 4) == 0)
      return bk_fail(err, BK_BUILD, "archive.bad_name", "entry below a whiteout");
  }
  if (strncmp(base, BK_WHITEOUT_PREFIX, 4) != 0) return 0;
  bool opaque = strcmp(base, BK_WHITEOUT_OPAQUE) == 0;
  if (!opaque && strncmp(base, ".wh..wh.", 8) == 0) return 1;
  if (bk_dirs_enter(&x->dirs, path, (size_t)(base - path), BK_DIRS_CREATE, err)) return -1;
  if (!opaque) return put_whiteout(x, base + 4, err) ? -1 : 1;
  if (x->dirs.depth == 0) x->root_opaque = true;
  else if (set_opaque(x, bk_dirs_top(&x->dirs)->fd, ".", err)) return -1;
  return 1;
}

static int put_entry(struct bk_extractor *x, const char *path, const struct bk_tar_entry *e,
                     bk_extract_data *data, void *ctx, struct bk_err *err) {
  const char *base = base_name(path);
  size_t dir_len = (size_t)(base - path);
  if (!*base) return root_entry(x, e, err);
  int rc = special_name(x, path, base, err);
  if (rc) return rc < 0 ? -1 : 0;
  if (e->type == BK_TAR_HARDLINK) return put_hardlink(x, path, dir_len, base, e, err);
  if (bk_dirs_enter(&x->dirs, path, dir_len, BK_DIRS_CREATE, err)) return -1;
  if (e->type == BK_TAR_DIR) return put_dir(x, base, e, err);
  if (e->type == BK_TAR_FILE) return put_file(x, base, e, data, ctx, err);
  return put_special(x, base, e, err);
}

int bk_extract_entry(struct bk_extractor *x, const struct bk_tar_entry *e, bk_extract_data *data,
                     void *ctx, struct bk_err *err) {
  if (!x->started) {
    if (bk_dirs_init(&x->dirs, x->opts.rootfd, err)) return -1;
    x->dirs.missing = make_implied;
    x->dirs.ctx = x;
    x->started = true;
  }
  cleanup_free char *path = cleaned(e->path, err);
  if (path && put_entry(x, path, e, data, ctx, err) == 0) return 0;
  return bk_err_wrap(err, "'%.200s'", e->path);
}

/* --- end ------------------------------------------------------------------------------------- */

static int by_path(const void *a, const void *b) {
  return strcmp((*(struct bk_map_entry *const *)a)->key, (*(struct bk_map_entry *const *)b)->key);
}

static int finish_root(struct bk_extractor *x, struct bk_err *err) {
  struct stat st;
  if (x->root_listed || !x->opts.implied) return 0;
  int known = x->opts.implied(x->opts.ctx, "", &st, err);
  if (known <= 0) return known;
  struct bk_tar_entry e;
  implied_entry(&e, &st);
  return root_entry(x, &e, err);
}

int bk_extract_finish(struct bk_extractor *x, struct bk_err *err) {
  if (!x->started && bk_dirs_init(&x->dirs, x->opts.rootfd, err)) return -1;
  x->started = true;
  if (finish_root(x, err)) return -1;
  cleanup_free struct bk_map_entry **sorted = bk_malloc((x->times.live + 1) * sizeof *sorted);
  size_t n = 0;
  bk_map_each(e, &x->times) sorted[n++] = e;
  qsort(sorted, n, sizeof *sorted, by_path);
  for (size_t i = 0; i < n; i++) {
    const char *path = sorted[i]->key, *base = base_name(path);
    struct timespec t[2] = {*(struct timespec *)sorted[i]->value,
                            *(struct timespec *)sorted[i]->value};
    /* What was replaced later is gone; never follow what stands there now. */
    struct bk_err gone;
    struct stat st;
    if (bk_dirs_enter(&x->dirs, path, (size_t)(base - path), BK_DIRS_STRICT, &gone)) continue;
    int fd = bk_dirs_top(&x->dirs)->fd;
    if (*base && (bk_fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode))) continue;
    int rc = *base ? utimensat(fd, base, t, AT_SYMLINK_NOFOLLOW) : futimens(x->opts.rootfd, t);
    if (rc) return bk_fail_errno(err, errno, "set time of '%.200s'", path);
  }
  return 0;
}
