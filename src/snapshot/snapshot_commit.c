#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "archive/overlay.h"
#include "archive/pack.h"
#include "base/fs.h"
#include "base/ids.h"
#include "base/mem.h"
#include "snapshot/same.h"
#include "snapshot/snapshot.h"
#include "snapshot/util.h"

struct commit {
  const struct bk_commit_opts *o;
  struct bk_view *view;
};

/* One directory of the upper tree on its way through the walk. */
struct dir {
  int fd;
  struct bk_view_dir *lower; /* the merged directory below it, or NULL */
  bool hidden;               /* nothing of `lower` shines through: it or an ancestor is opaque */
  bool xwhiteouts;           /* files with the xattr overlay.whiteout are whiteouts */
  unsigned depth;
};

/* --- overlay's own marks --------------------------------------------------------------------- */

/* Removes overlay xattrs. redirect and metacopy mean that data is elsewhere: those mounts are made
 * without both, so finding one is an error. */
static int strip_private(int fd, const char *name, struct bk_err *err) {
  char names[64 << 10]; /* XATTR_LIST_MAX */
  ssize_t n = flistxattr(fd, names, sizeof names);
  if (n < 0 && errno == ENOTSUP) return 0;
  if (n < 0) return bk_fail_errno(err, errno, "list extended attributes of '%s'", name);
  for (const char *s = names; s < names + n; s += strlen(s) + 1) {
    if (!bk_overlay_is_private(s)) continue;
    const char *what = strrchr(s, '.') + 1;
    if (strcmp(what, "redirect") == 0 || strcmp(what, "metacopy") == 0)
      return bk_fail(err, BK_BUILD, "snapshot.overlay_feature",
                     "'%s' was written through an overlay mount with %s", name, what);
    if (fremovexattr(fd, s) && errno != ENODATA)
      return bk_fail_errno(err, errno, "remove extended attribute '%s' of '%s'", s, name);
  }
  return 0;
}

static int strip_file(const struct dir *d, const char *name, struct bk_err *err) {
  cleanup_close int fd = openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", name);
  return strip_private(fd, name, err);
}

static int by_pointer(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* An opaque directory over a lower one: whiteouts for the names below that it does not have. */
static int expand_opaque(struct commit *c, struct dir *d, char **names, size_t n,
                         struct bk_err *err) {
  cleanup_view_list struct bk_view_list list = {0};
  if (bk_view_readdir(c->view, d->lower, &list, err)) return -1;
  for (size_t i = 0; i < list.n; i++) {
    const char *name = list.items[i].name;
    if (bsearch(&name, names, n, sizeof *names, by_pointer)) continue;
    if (bk_mknodat(d->fd, name, S_IFCHR, 0))
      return bk_fail_errno(err, errno, "create whiteout '%s'", name);
  }
  return 0;
}

/* --- entries --------------------------------------------------------------------------------- */

static int drop(const struct dir *d, const char *name, int flags, struct bk_err *err) {
  if (unlinkat(d->fd, name, flags) == 0) return 0;
  return bk_fail_errno(err, errno, "remove '%s'", name);
}

static int clamp(struct commit *c, const struct dir *d, const char *name, const struct stat *st,
                 struct bk_err *err) {
  if (!c->o->epoch) return 0;
  int64_t epoch = *c->o->epoch;
  const struct timespec *m = &st->st_mtim;
  if (m->tv_sec < epoch || (m->tv_sec == epoch && m->tv_nsec == 0)) return 0;
  struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = epoch}};
  if (utimensat(d->fd, name, t, AT_SYMLINK_NOFOLLOW))
    return bk_fail_errno(err, errno, "set time of '%s'", name);
  return 0;
}

static int do_whiteout(const struct dir *d, const char *name, const struct stat *st, bool below,
                       struct bk_err *err) {
  if (!below) return drop(d, name, 0, err);
  if (bk_is_whiteout(st)) return 0;
  if (drop(d, name, 0, err)) return -1;
  return bk_mknodat(d->fd, name, S_IFCHR, 0) ? bk_fail_errno(err, errno, "create whiteout '%s'", name)
                                          : 0;
}

static int do_file(struct commit *c, const struct dir *d, const char *name, const struct stat *st,
                   const struct bk_view_ent *lower, struct bk_err *err) {
  if (S_ISSOCK(st->st_mode)) return drop(d, name, 0, err); /* tar has no form for it */
  /* A file with several links is there because a link was made: keep the group together. */
  if (lower && st->st_nlink == 1) {
    struct bk_same s = {.view = c->view, .dir = d->lower, .lower = lower, .upper_fd = d->fd,
                        .name = name, .upper = st};
    int same = bk_same_file(&s, err);
    if (same < 0) return -1;
    if (same) return drop(d, name, 0, err);
  }
  if (S_ISREG(st->st_mode) && strip_file(d, name, err)) return -1;
  return clamp(c, d, name, st, err);
}

static int walk(struct commit *c, struct dir *d, bool *empty, struct bk_err *err);

static int do_dir(struct commit *c, const struct dir *d, const char *name, const struct stat *st,
                  const struct bk_view_ent *lower, struct bk_err *err) {
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  cleanup_close int fd = openat(d->fd, name, flags);
  if (fd < 0) return bk_fail_errno(err, errno, "open directory '%s'", name);
  char opaque = bk_overlay_opaque(fd);
  struct dir sub = {.fd = fd,
                    .lower = lower ? lower->dir : NULL,
                    .hidden = d->hidden || opaque == 'y',
                    .xwhiteouts = opaque == 'x',
                    .depth = d->depth + 1};
  if (strip_private(fd, name, err)) return -1;
  bool empty;
  if (walk(c, &sub, &empty, err)) return bk_err_wrap(err, "in '%s'", name);
  if (empty && sub.lower) { /* only touched */
    struct bk_same s = {.view = c->view, .dir = d->lower, .lower = lower, .upper_fd = d->fd,
                        .name = name, .upper = st};
    int same = bk_same_metadata(&s, err);
    if (same < 0) return -1;
    if (same) return drop(d, name, AT_REMOVEDIR, err);
  }
  /* The walk changed the directory's own time: put it back, clamped. */
  struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};
  if (futimens(fd, t)) return bk_fail_errno(err, errno, "set time of '%s'", name);
  return clamp(c, d, name, st, err);
}

static int do_entry(struct commit *c, const struct dir *d, const char *name, struct bk_err *err) {
  struct stat st;
  struct bk_view_ent ent;
  if (bk_fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW))
    return bk_fail_errno(err, errno, "stat '%s'", name);
  int below = d->lower ? bk_view_child(c->view, d->lower, name, &ent, err) : 0;
  if (below < 0) return -1;
  const struct bk_view_ent *lower = below ? &ent : NULL;
  bool whiteout = bk_is_whiteout(&st) ||
                  (d->xwhiteouts && bk_overlay_xattr_whiteout(d->fd, name, &st));
  if (whiteout) return do_whiteout(d, name, &st, below, err);
  if (S_ISDIR(st.st_mode)) return do_dir(c, d, name, &st, lower, err);
  return do_file(c, d, name, &st, lower, err);
}

static int is_empty(int fd, bool *empty, struct bk_err *err) {
  size_t n;
  cleanup_free char **names = bk_dir_names(fd, &n);
  if (!names) return bk_fail_errno(err, errno, "read directory");
  *empty = n == 0;
  return 0;
}

static int walk(struct commit *c, struct dir *d, bool *empty, struct bk_err *err) {
  if (d->depth > BK_DEPTH_MAX)
    return bk_fail(err, BK_BUILD, "archive.too_deep", "more than %d directory levels",
                   BK_DEPTH_MAX);
  if (c->o->cancel && atomic_load(c->o->cancel))
    return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
  size_t n;
  cleanup_free char **names = bk_dir_names(d->fd, &n);
  if (!names) return bk_fail_errno(err, errno, "read directory");
  if (d->hidden && d->lower && expand_opaque(c, d, names, n, err)) return -1;
  for (size_t i = 0; i < n; i++)
    if (do_entry(c, d, names[i], err)) return -1;
  return is_empty(d->fd, empty, err);
}

/* --- mount stubs ----------------------------------------------------------------------------- */

int bk_open_parent(int root, const char *path, const char **base) {
  int fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
  while (*path == '/') path++;
  for (const char *slash; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
    cleanup_free char *name = bk_strndup(path, (size_t)(slash - path));
    if (!*name || strcmp(name, ".") == 0) continue;
    int next = -1, e = ELOOP;
    if (strcmp(name, "..") != 0) {
      next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      e = errno;
    }
    close(fd);
    errno = e;
    fd = next;
  }
  *base = path;
  return fd;
}

bool bk_remove_if_empty(int root, const char *path) {
  const char *base;
  cleanup_close int fd = bk_open_parent(root, path, &base);
  struct stat st, parent;
  if (fd < 0 || !*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) return false;
  if (bk_fstat(fd, &parent) || bk_fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW)) return false;
  bool dir = S_ISDIR(st.st_mode);
  if (!dir && (!S_ISREG(st.st_mode) || st.st_size)) return false;
  if (unlinkat(fd, base, dir ? AT_REMOVEDIR : 0)) return errno != ENOTEMPTY && errno != EEXIST;
  struct timespec t[2] = {parent.st_atim, parent.st_mtim};
  (void)!futimens(fd, t);
  return false;
}

/* Removes a stub if it is still empty and nothing below has that path. */
static int remove_stub(struct commit *c, int root, const char *path, struct bk_err *err) {
  struct bk_view_ent ent;
  int below = bk_view_find(c->view, path, 0, NULL, &ent, err);
  if (below) return below < 0 ? -1 : 0;
  if (!bk_remove_if_empty(root, path)) return 0;
  return bk_fail_errno(err, errno, "remove mount point '%s'", path);
}

int bk_by_length(const void *a, const void *b) {
  size_t x = strlen(*(char *const *)a), y = strlen(*(char *const *)b);
  return (x < y) - (x > y);
}

static int remove_stubs(struct commit *c, int root, struct bk_err *err) {
  size_t n = 0;
  while (c->o->stubs && c->o->stubs[n]) n++;
  if (!n) return 0;
  cleanup_free const char **deepest_first = bk_malloc(n * sizeof *deepest_first);
  memcpy(deepest_first, c->o->stubs, n * sizeof *deepest_first);
  qsort(deepest_first, n, sizeof *deepest_first, bk_by_length);
  for (size_t i = 0; i < n; i++)
    if (remove_stub(c, root, deepest_first[i], err)) return -1;
  return 0;
}

/* --- the whole ------------------------------------------------------------------------------- */

/* The root has no entry of its own in a layer: it must look like the one below. */
static int restore_root(struct commit *c, int root, struct bk_err *err) {
  if (!c->o->chain.n) return 0;
  struct bk_view_ent e;
  bk_view_root_ent(c->view, &e);
  struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, e.st.st_mtim};
  if (bk_fchown(root, e.st.st_uid, e.st.st_gid) || bk_fchmod(root, e.st.st_mode & 07777) ||
      futimens(root, t))
    return bk_fail_errno(err, errno, "set metadata of the root directory");
  return 0;
}

static int normalise(struct commit *c, int root, struct bk_err *err) {
  struct dir d = {.fd = root, .lower = bk_view_root(c->view)};
  bool empty;
  if (remove_stubs(c, root, err) || strip_private(root, "/", err)) return -1;
  if (walk(c, &d, &empty, err)) return -1;
  return restore_root(c, root, err);
}

int bk_snapshot_commit(const struct bk_commit_opts *o, struct bk_layer_result *out,
                       struct bk_err *err) {
  memset(out, 0, sizeof *out);
  cleanup_view struct bk_view *v = NULL;
  if (bk_view_open(o->chain.lowers, o->chain.n, 0, &v, err)) return -1;
  cleanup_close int root = open(o->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return bk_fail_errno(err, errno, "open directory '%s'", o->upper);
  struct commit c = {.o = o, .view = v};
  if (normalise(&c, root, err)) return bk_err_wrap(err, "commit '%s'", o->upper);
  struct bk_pack_opts po = {.dir = o->upper,
                            .sink = {.fd = -1, .cancel = o->cancel, .progress = o->progress}};
  struct bk_pack_result r;
  if (bk_archive_pack(&po, &r, err)) return -1;
  memcpy(out->diff_id, r.sink.diff_id, sizeof out->diff_id);
  out->entries = r.entries;
  out->size = r.sink.size;
  return 0;
}
