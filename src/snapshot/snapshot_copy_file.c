#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#include "archive/overlay.h"
#include "archive/pack.h"
#include "base/fs.h"
#include "base/ids.h"
#include "base/mem.h"
#include "snapshot/copy_file.h"

/* --- metadata -------------------------------------------------------------------------------- */

static mode_t want_mode(const struct bk_copy *c, const struct stat *st, bool keep) {
  mode_t mode = st->st_mode & 07777;
  if (keep || !c->has_mode || S_ISLNK(st->st_mode)) return mode;
  return bk_mode_apply(&c->change, mode, S_ISDIR(st->st_mode));
}

static void want_owner(const struct bk_copy *c, const struct stat *st, bool keep, uid_t *uid,
                       gid_t *gid) {
  bool source = keep || c->opts->preserve_owner;
  *uid = c->has_ids ? c->uid : source ? st->st_uid : 0;
  *gid = c->has_ids ? c->gid : source ? st->st_gid : 0;
}

static int failed(const struct bk_target *t, const char *what, struct bk_err *err) {
  return bk_fail_errno(err, errno, "copy to '/%s': %s", t->path, what);
}

#define UNKNOWN 01000000 /* no mode at all */

/* Owner and mode of something that has mode `made` and our ids, or UNKNOWN ones; by fd or, when
 * fd < 0, by path. */
static int set_owner_mode(struct bk_copy *c, const struct bk_target *t, int fd, mode_t made,
                          const struct stat *st, bool keep, struct bk_err *err) {
  struct bk_dest *d = c->dest;
  uid_t uid;
  gid_t gid;
  mode_t mode = want_mode(c, st, keep);
  want_owner(c, st, keep, &uid, &gid);
  bool owner = uid != d->euid || gid != d->egid || d->setgid || made == UNKNOWN;
  d->setgid |= S_ISDIR(st->st_mode) && (mode & S_ISGID);
  if (owner && bk_dest_chown(d, fd < 0 ? d->fd : fd, fd < 0 ? t->path : "", uid, gid))
    return failed(t, "set owner", err);
  if (S_ISLNK(st->st_mode) || (!owner && mode == made)) return 0;
  if (fd < 0 ? bk_fchmodat(d->fd, t->path, mode) : bk_fchmod(fd, mode))
    return failed(t, "set mode", err);
  return 0;
}

/* What the kernel or the file system refuses is left out: xattrs are best effort. */
static void copy_xattrs(int from, int to) {
  struct bk_xattrs x = {0};
  if (bk_xattrs_read(from, &x)) return;
  for (size_t i = 0; i < x.n; i++)
    (void)!bk_xattr_set(to, x.v[i].name, x.v[i].value, x.v[i].len);
  bk_xattrs_free(&x);
}

/* --- making room ----------------------------------------------------------------------------- */

static int conflict(const struct bk_target *t, const char *what, struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "snapshot.conflict", "copy to '/%s': cannot replace a %s", t->path,
                 what);
}

static int check_name(const struct bk_target *t, struct bk_err *err) {
  if (strncmp(t->name, BK_WHITEOUT_PREFIX, strlen(BK_WHITEOUT_PREFIX)) == 0)
    return bk_fail(err, BK_BUILD, "snapshot.bad_name",
                   "copy to '/%s': names that begin with '.wh.' mark deletions in layers", t->path);
  return 0;
}

/* What stands at the target gives way to something that is no directory. */
static int make_room(struct bk_copy *c, const struct bk_target *t, bool force,
                     struct bk_err *err) {
  struct bk_dest_node node;
  if (check_name(t, err)) return -1;
  if (t->fresh) return 0;
  if (bk_dest_look(c->dest, t->parent, t->low, t->name, &node, err)) return -1;
  if (node.exists && S_ISDIR(node.st.st_mode)) {
    if (!force) return conflict(t, "directory by something else", err);
    if (node.upper) bk_dest_forget(c->dest, t->path);
  }
  return node.upper ? bk_rmtree(c->dest->fd, t->path, err) : 0;
}

/* --- data ------------------------------------------------------------------------------------ */

/* `size` bytes as stat had it, or less when there is less: the caller compares afterwards. */
static int copy_by_buffer(struct bk_dest *d, int from, int to, off_t size) {
  while (size > 0) {
    size_t want = size < BK_DEST_BUFFER ? (size_t)size : BK_DEST_BUFFER;
    ssize_t n = read(from, d->buffer, want);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? -1 : 0;
    if (bk_write_all(to, d->buffer, (size_t)n)) return -1;
    size -= n;
  }
  return 0;
}

static int copy_data(struct bk_copy *c, int from, int to, off_t size) {
  struct bk_dest *d = c->dest;
  const atomic_bool *cancel = c->opts->from.cancel;
  if (size == 0) return 0;
  if (!d->no_reflink) {
    if (ioctl(to, FICLONE, from) == 0) return 0;
    d->no_reflink = true; /* another file system, or one without clones: the same for all files */
  }
  while (size > BK_DEST_BUFFER) {
    size_t want = size < 16 << 20 ? (size_t)size : 16 << 20;
    ssize_t n = copy_file_range(from, NULL, to, NULL, want, 0);
    if (n == 0) return 0;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
      return -1;
    if (n < 0) break;
    size -= n;
    if (cancel && atomic_load(cancel)) {
      errno = ECANCELED;
      return -1;
    }
  }
  return copy_by_buffer(d, from, to, size);
}

static bool unchanged(const struct stat *a, const struct stat *b) {
  return a->st_ino == b->st_ino && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool same_bytes(struct bk_dest *d, int a, int b, off_t size) {
  char *half = d->buffer + BK_DEST_BUFFER / 2;
  for (off_t at = 0; at < size;) {
    size_t want = size - at < BK_DEST_BUFFER / 2 ? (size_t)(size - at) : BK_DEST_BUFFER / 2;
    if (pread(a, d->buffer, want, at) != (ssize_t)want ||
        pread(b, half, want, at) != (ssize_t)want ||
        memcmp(d->buffer, half, want) != 0)
      return false;
    at += (off_t)want;
  }
  return true;
}

/* The time that an object of the source gets. */
static struct timespec time_of(const struct bk_copy *c, bool keep, const struct stat *st) {
  if (c->opts->stamp && c->opts->epoch && !keep)
    return (struct timespec){.tv_sec = *c->opts->epoch};
  return bk_dest_clamp(c->dest, st->st_mtim);
}

/* Layers never change, so two of them may share an inode: true when the target is now a link to the
 * equal file of the layer that this copy is likely to repeat. Creating an inode costs a file system
 * several times what comparing and linking a small file does. */
static bool link_equal(struct bk_copy *c, const struct bk_target *t, int from,
                       const struct stat *st) {
  struct stat old;
  uid_t uid;
  gid_t gid;
  if (c->reuse < 0) return false;
  cleanup_close int fd = bk_open_in_root(c->reuse, t->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd < 0 || bk_fstat(fd, &old) || !S_ISREG(old.st_mode) || old.st_nlink > 30000) return false;
  want_owner(c, st, false, &uid, &gid);
  struct timespec time = time_of(c, false, st);
  if (old.st_size != st->st_size || old.st_uid != uid || old.st_gid != gid ||
      (old.st_mode & 07777) != want_mode(c, st, false) || old.st_mtim.tv_sec != time.tv_sec ||
      old.st_mtim.tv_nsec != time.tv_nsec)
    return false;
  if (flistxattr(from, NULL, 0) > 0 || flistxattr(fd, NULL, 0) > 0) return false;
  uint64_t id[2] = {old.st_dev, old.st_ino};
  if (bk_map_has(&c->reused, (const char *)id, sizeof id)) return false;
  if (!same_bytes(c->dest, from, fd, st->st_size)) return false;
  char self[40];
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  if (linkat(AT_FDCWD, self, c->dest->fd, t->path, AT_SYMLINK_FOLLOW)) return false;
  bk_map_set(&c->reused, (const char *)id, sizeof id, c);
  return true;
}

static int put_file(struct bk_copy *c, const struct bk_target *t, const struct bk_object *o,
                    struct bk_err *err) {
  const struct stat *st = &o->found->ent->st;
  struct stat after;
  cleanup_close int from = bk_found_open(o->sel, o->found, O_RDONLY);
  if (from < 0) return bk_fail_errno(err, errno, "open '%s'", o->found->name);
  if (link_equal(c, t, from, st)) return 0;
  mode_t made = want_mode(c, st, false) & 0777 & ~c->dest->umask;
  cleanup_close int to =
      openat(c->dest->fd, t->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, made);
  if (to < 0) return failed(t, "create file", err);
  if (copy_data(c, from, to, st->st_size)) return failed(t, "write", err);
  if (bk_fstat(from, &after)) return failed(t, "stat", err);
  if (!S_ISREG(after.st_mode) || !unchanged(st, &after))
    return bk_fail(err, BK_BUILD, "snapshot.changed", "'%s' changed while it was copied",
                   o->found->name);
  if (set_owner_mode(c, t, to, made, st, false, err)) return -1;
  copy_xattrs(from, to);
  struct timespec times[2] = {st->st_atim, time_of(c, false, st)};
  return futimens(to, times) ? failed(t, "set time", err) : 0;
}

/* --- everything else ------------------------------------------------------------------------- */

static int put_symlink(struct bk_copy *c, const struct bk_target *t, const struct bk_object *o,
                       struct bk_err *err) {
  cleanup_buf struct bk_buf link = {0};
  const struct bk_found *f = o->found;
  if (bk_view_readlink(o->sel->view, f->dir, f->name, f->ent, &link, err)) return -1;
  if (symlinkat(bk_buf_str(&link), c->dest->fd, t->path)) return failed(t, "create symlink", err);
  return 0;
}

/* plain: of a directory of the machine, whose sockets are nobody's here: empty files take their place. */
static int put_special(struct bk_copy *c, const struct bk_target *t, const struct stat *st, bool plain,
                       struct bk_err *err) {
  mode_t type = plain && S_ISSOCK(st->st_mode) ? S_IFREG : st->st_mode & S_IFMT;
  bool device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
  if (bk_is_whiteout(st))
    return bk_fail(err, BK_BUILD, "snapshot.bad_name",
                   "copy to '/%s': a character device 0:0 marks a deletion in layers", t->path);
  if (device && c->opts->rootless && !(bk_ids() & (BK_IDS_ALL | BK_IDS_DEVICES)))
    return bk_fail(err, BK_BUILD, "snapshot.device",
                   "copy to '/%s': a device node cannot be created without root privileges",
                   t->path);
  if (bk_mknodat(c->dest->fd, t->path, type | 0600, device ? st->st_rdev : 0))
    return failed(t, device ? "create device node" : "create special file", err);
  return 0;
}

/* Moved out of the directory that an archive was unpacked to. */
static int move(struct bk_copy *c, const struct bk_target *t, const struct bk_object *o,
                struct bk_err *err) {
  const char *dir = bk_view_layer_path(o->sel->view, 0);
  cleanup_free char *from = bk_asprintf("%s/%s", dir, o->found->rel);
  if (bk_is_whiteout(&o->found->ent->st))
    return put_special(c, t, &o->found->ent->st, false, err);
  if (renameat(AT_FDCWD, from, c->dest->fd, t->path)) return failed(t, "move", err);
  return 0;
}

/* A further name for a file of this source that was written already: 1, 0 not so, -1. */
static int put_link(struct bk_copy *c, const struct bk_target *t, const struct bk_view_ent *ent,
                    struct bk_err *err) {
  if (!S_ISREG(ent->st.st_mode) || ent->st.st_nlink < 2) return 0;
  uint64_t id[3] = {(uint64_t)ent->layer, ent->st.st_dev, ent->st.st_ino};
  char *first = bk_map_get(&c->links, (const char *)id, sizeof id);
  if (!first) {
    bk_map_set(&c->links, (const char *)id, sizeof id, bk_strdup(t->path));
    return 0;
  }
  if (linkat(c->dest->fd, first, c->dest->fd, t->path, 0) == 0) return 1;
  if (errno == EMLINK) return 0;
  return failed(t, "create hard link", err);
}

int bk_copy_put(struct bk_copy *c, const struct bk_target *t, const struct bk_object *o,
                struct bk_err *err) {
  const struct bk_view_ent *ent = o->found->ent;
  mode_t type = ent->st.st_mode & S_IFMT;
  if (make_room(c, t, o->keep, err)) return -1;
  c->dest->entries++;
  int linked = o->keep ? 0 : put_link(c, t, ent, err);
  if (linked) return linked < 0 ? -1 : 0;
  if (!o->keep && type == S_IFREG) return put_file(c, t, o, err);
  int rc = o->keep           ? move(c, t, o, err)
           : type == S_IFLNK ? put_symlink(c, t, o, err)
                             : put_special(c, t, &ent->st, bk_view_is_plain(o->sel->view), err);
  if (rc) return -1;
  bool owner = !o->keep || c->has_ids;
  if (owner && set_owner_mode(c, t, -1, UNKNOWN, &ent->st, o->keep, err)) return -1;
  struct timespec times[2] = {ent->st.st_atim, time_of(c, o->keep, &ent->st)};
  if (utimensat(c->dest->fd, t->path, times, AT_SYMLINK_NOFOLLOW))
    return failed(t, "set time", err);
  return 0;
}

/* --- directories ----------------------------------------------------------------------------- */

/* What bk_archive_unpack leaves for directories that the archive does not list. */
static bool is_implied(const struct stat *st) {
  return st->st_mtim.tv_sec == 0 && st->st_mtim.tv_nsec == 0 && (st->st_mode & 07777) == 0755 &&
         st->st_uid == 0 && st->st_gid == 0;
}

static int dir_metadata(struct bk_copy *c, const struct bk_target *t, const struct bk_object *o,
                        struct bk_err *err) {
  const struct stat *st = &o->found->ent->st;
  if (set_owner_mode(c, t, -1, UNKNOWN, st, o->keep, err)) return -1;
  cleanup_close int from = bk_found_open(o->sel, o->found, O_RDONLY | O_DIRECTORY);
  if (from < 0) return bk_fail_errno(err, errno, "open '%s'", o->found->name);
  cleanup_close int to =
      openat(c->dest->fd, t->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (to >= 0) copy_xattrs(from, to);
  bk_dest_set_time(c->dest, t->path, time_of(c, o->keep, st));
  return 0;
}

int bk_copy_put_dir(struct bk_copy *c, const struct bk_target *t, const struct bk_object *o,
                    struct bk_view_dir **low, bool *fresh, struct bk_err *err) {
  struct bk_dest *d = c->dest;
  struct bk_dest_node node = {0};
  if (check_name(t, err)) return -1;
  if (!t->fresh && bk_dest_look(d, t->parent, t->low, t->name, &node, err)) return -1;
  bool dir = node.exists && S_ISDIR(node.st.st_mode);
  if (node.exists && !dir) {
    if (!o->keep) return conflict(t, "file by a directory", err);
    if (node.upper && unlinkat(d->fd, t->path, 0)) return failed(t, "remove", err);
    node = (struct bk_dest_node){0};
  }
  *low = node.low;
  *fresh = !dir;
  if (dir && !node.upper) { /* with the chain's xattrs, which the source's are added to */
    if (bk_dest_dir(d, t->path, low, err)) return -1;
  } else if (!dir) {
    if (mkdirat(d->fd, t->path, 0700)) return failed(t, "create directory", err);
    d->entries++;
  }
  if (dir && o->keep && is_implied(&o->found->ent->st)) return 0;
  return dir_metadata(c, t, o, err);
}

/* --- heredocs -------------------------------------------------------------------------------- */

int bk_copy_put_inline(struct bk_copy *c, const struct bk_target *t,
                       const struct bk_copy_inline *file, struct bk_err *err) {
  struct stat st = {.st_mode = S_IFREG | (file->mode & 07777)};
  if (make_room(c, t, false, err)) return -1;
  cleanup_close int to =
      openat(c->dest->fd, t->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (to < 0) return failed(t, "create file", err);
  if (bk_write_all(to, file->data, file->len)) return failed(t, "write", err);
  if (set_owner_mode(c, t, to, 0600 & ~c->dest->umask, &st, false, err)) return -1;
  c->dest->entries++;
  struct timespec times[2] = {c->dest->new_time, c->dest->new_time};
  return futimens(to, times) ? failed(t, "set time", err) : 0;
}
