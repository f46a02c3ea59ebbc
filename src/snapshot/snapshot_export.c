#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "archive/pack.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/ids.h"
#include "base/mem.h"
#include "archive/overlay.h"
#include "snapshot/util.h"
#include "snapshot/snapshot.h"

struct export {
  struct bk_view *view;
  bool nodev;           /* empty files without permissions take the place of devices */
  bool onto;            /* the tree exists and the view is one layer, marks and all */
  const atomic_bool *cancel;
  int root;             /* of the new tree */
  struct bk_map inodes; /* (device, inode) with several links -> path of the first copy */
  uint64_t entries;
};

static int copy_xattrs(int from, int to, const char *name, struct bk_err *err) {
  return bk_xattrs_copy(from, to) ? bk_fail_errno(err, errno, "copy xattrs of '%s'", name) : 0;
}

int bk_copy_data(int from, int to, const char *name, struct bk_err *err) {
  if (ioctl(to, FICLONE, from) == 0) return 0;
  for (;;) {
    ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
    if (n == 0) return 0;
    if (n > 0 || errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
      return bk_fail_errno(err, errno, "copy '%s'", name);
    break;
  }
  cleanup_free char *buf = bk_malloc(1 << 20);
  for (ssize_t n; (n = bk_read_full(from, buf, 1 << 20)) != 0;)
    if (n < 0 || bk_write_all(to, buf, (size_t)n))
      return bk_fail_errno(err, errno, "copy '%s'", name);
  return 0;
}

static int metadata(int fd, const struct stat *st, const char *name, struct bk_err *err) {
  if (bk_fchown(fd, st->st_uid, st->st_gid) || bk_fchmod(fd, st->st_mode & 07777))
    return bk_fail_errno(err, errno, "set owner and mode of '%s'", name);
  return 0;
}

static int set_times(int fd, const struct stat *st, const char *name, struct bk_err *err) {
  struct timespec t[2] = {st->st_mtim, st->st_mtim};
  return futimens(fd, t) ? bk_fail_errno(err, errno, "set time of '%s'", name) : 0;
}

static int put_file(struct export *x, struct bk_view_dir *d, int dirfd,
                    const struct bk_view_item *i, struct bk_err *err) {
  cleanup_close int from = bk_view_openat(x->view, d, i->name, &i->ent, O_RDONLY);
  if (from < 0) return bk_fail_errno(err, errno, "open '%s'", i->name);
  cleanup_close int to = openat(dirfd, i->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (to < 0) return bk_fail_errno(err, errno, "create '%s'", i->name);
  if (bk_copy_data(from, to, i->name, err) || metadata(to, &i->ent.st, i->name, err)) return -1;
  if (copy_xattrs(from, to, i->name, err)) return -1;
  return set_times(to, &i->ent.st, i->name, err);
}

static int put_special(struct export *x, struct bk_view_dir *d, int dirfd,
                       const struct bk_view_item *i, struct bk_err *err) {
  const struct stat *st = &i->ent.st;
  bool plain = x->nodev && (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode));
  if (S_ISLNK(st->st_mode)) {
    cleanup_buf struct bk_buf target = {0};
    if (bk_view_readlink(x->view, d, i->name, &i->ent, &target, err)) return -1;
    if (symlinkat(bk_buf_str(&target), dirfd, i->name))
      return bk_fail_errno(err, errno, "create link '%s'", i->name);
  } else if (mknodat(dirfd, i->name, (plain ? S_IFREG : st->st_mode & (S_IFMT | 0777)), plain ? 0 : st->st_rdev)) {
    return bk_fail_errno(err, errno, "create '%s'", i->name);
  }
  struct timespec t[2] = {st->st_mtim, st->st_mtim};
  if (bk_fchownat(dirfd, i->name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) ||
      (!S_ISLNK(st->st_mode) && bk_fchmodat(dirfd, i->name, plain ? 0 : st->st_mode & 07777)) ||
      utimensat(dirfd, i->name, t, AT_SYMLINK_NOFOLLOW))
    return bk_fail_errno(err, errno, "set metadata of '%s'", i->name);
  return 0;
}

/* 1 when the item became a link to a copy made before, 0 when it is the first, -1. */
static int put_link(struct export *x, struct bk_view_dir *d, int dirfd,
                    const struct bk_view_item *i, struct bk_err *err) {
  if (i->ent.st.st_nlink < 2) return 0;
  uint64_t key[2] = {i->ent.st.st_dev, i->ent.st.st_ino};
  const char *first = bk_map_get(&x->inodes, (const char *)key, sizeof key);
  if (first) {
    if (linkat(x->root, first, dirfd, i->name, 0))
      return bk_fail_errno(err, errno, "link '%s' to '%s'", i->name, first);
    return 1;
  }
  const char *dir = bk_view_dir_path(d);
  bk_map_set(&x->inodes, (const char *)key, sizeof key,
             bk_asprintf("%s%s%s", dir, *dir ? "/" : "", i->name));
  return 0;
}

/* What the tree has at the name of an entry of the layer goes; a directory may stay for another one
 * unless that is opaque. *done: nothing more to do, *kept: the directory is there. */
static int make_way(struct export *x, int dirfd, const struct bk_view_item *i, int layer_dir, bool *done,
                    bool *kept, struct bk_err *err) {
  struct stat st;
  *done = *kept = false;
  if (!x->onto) return 0;
  *done = bk_is_whiteout(&i->ent.st);
  if (bk_fstatat(dirfd, i->name, &st, AT_SYMLINK_NOFOLLOW)) return 0;
  *kept = i->ent.dir && S_ISDIR(st.st_mode) && bk_overlay_opaque(layer_dir) != 'y';
  return *kept ? 0 : bk_rmtree(dirfd, i->name, err);
}

static int put_dir(struct export *x, struct bk_view_dir *d, int fd, unsigned depth,
                   struct bk_err *err);

static int put_item(struct export *x, struct bk_view_dir *d, int dirfd,
                    const struct bk_view_item *i, unsigned depth, struct bk_err *err) {
  x->entries++;
  bool done, kept;
  cleanup_close int from = -1;
  if (i->ent.dir) from = bk_view_openat(x->view, d, i->name, &i->ent, O_RDONLY | O_DIRECTORY);
  if (make_way(x, dirfd, i, from, &done, &kept, err)) return -1;
  if (done) return 0;
  if (i->ent.dir) {
    if (!kept && mkdirat(dirfd, i->name, 0700)) return bk_fail_errno(err, errno, "create '%s'", i->name);
    cleanup_close int to = openat(dirfd, i->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0 || to < 0) return bk_fail_errno(err, errno, "open directory '%s'", i->name);
    if (put_dir(x, i->ent.dir, to, depth + 1, err)) return bk_err_wrap(err, "in '%s'", i->name);
    if (metadata(to, &i->ent.st, i->name, err) || copy_xattrs(from, to, i->name, err)) return -1;
    return set_times(to, &i->ent.st, i->name, err);
  }
  int linked = put_link(x, d, dirfd, i, err);
  if (linked) return linked < 0 ? -1 : 0;
  return S_ISREG(i->ent.st.st_mode) ? put_file(x, d, dirfd, i, err)
                                    : put_special(x, d, dirfd, i, err);
}

static int put_dir(struct export *x, struct bk_view_dir *d, int fd, unsigned depth,
                   struct bk_err *err) {
  if (depth > BK_DEPTH_MAX)
    return bk_fail(err, BK_BUILD, "archive.too_deep", "more than %d directory levels",
                   BK_DEPTH_MAX);
  if (x->cancel && atomic_load(x->cancel)) return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
  cleanup_view_list struct bk_view_list list = {0};
  if (bk_view_readdir(x->view, d, &list, err)) return -1;
  for (size_t i = 0; i < list.n; i++)
    if (put_item(x, d, fd, &list.items[i], depth, err)) return -1;
  return 0;
}

static int export_into(struct export *x, struct bk_err *err) {
  struct bk_view_ent root;
  bk_view_root_ent(x->view, &root);
  if (put_dir(x, bk_view_root(x->view), x->root, 0, err)) return -1;
  return metadata(x->root, &root.st, "/", err) || set_times(x->root, &root.st, "/", err) ? -1 : 0;
}

int bk_snapshot_apply_dir(const char *layer, const char *dir, bool nodev, const atomic_bool *cancel,
                          struct bk_err *err) {
  cleanup_view struct bk_view *v = NULL;
  if (bk_view_open(&layer, 1, BK_VIEW_PLAIN, &v, err)) return -1;
  cleanup_close int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct export x = {.view = v, .onto = true, .nodev = nodev, .cancel = cancel, .root = root};
  int rc = root < 0 ? bk_fail_errno(err, errno, "open directory '%s'", dir) : export_into(&x, err);
  bk_map_each(e, &x.inodes) free(e->value);
  bk_map_free(&x.inodes);
  return rc ? bk_err_wrap(err, "apply '%s' to '%s'", layer, dir) : 0;
}

int bk_snapshot_export(struct bk_chain chain, const char *dir, bool nodev, const atomic_bool *cancel,
                       uint64_t *entries, struct bk_err *err) {
  cleanup_view struct bk_view *v = NULL;
  if (bk_view_open(chain.lowers, chain.n, 0, &v, err)) return -1;
  if (mkdir(dir, 0700)) return bk_fail_errno(err, errno, "create directory '%s'", dir);
  cleanup_close int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct export x = {.view = v, .nodev = nodev, .cancel = cancel, .root = root};
  int rc = root < 0 ? bk_fail_errno(err, errno, "open directory '%s'", dir) : export_into(&x, err);
  bk_map_each(e, &x.inodes) free(e->value);
  bk_map_free(&x.inodes);
  *entries = x.entries;
  if (rc == 0) return 0;
  struct bk_err ignored;
  (void)!bk_rmtree(AT_FDCWD, dir, &ignored);
  return bk_err_wrap(err, "export to '%s'", dir);
}
