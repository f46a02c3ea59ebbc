#include "snapshot/flat.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#include "archive/pack.h"
#include "base/fs.h"
#include "base/ids.h"
#include "base/map.h"
#include "base/mem.h"
#include "snapshot/util.h"

/* --- the record ------------------------------------------------------------------------------ */

struct node {
  const char *name;
  dev_t dev;
  ino_t ino;
  struct timespec ctime;
  bool dir;
  struct node *children; /* sorted by name */
  size_t n;
};

struct bk_flat {
  struct bk_arena arena;
  struct node root;
  struct timespec last; /* latest change seen */
  uint64_t entries;
};

static bool later(const struct timespec *a, const struct timespec *b) {
  return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static void note(struct bk_flat *f, struct node *n, const struct stat *st) {
  n->dev = st->st_dev;
  n->ino = st->st_ino;
  n->ctime = st->st_ctim;
  n->dir = S_ISDIR(st->st_mode);
  if (later(&n->ctime, &f->last)) f->last = n->ctime;
  f->entries++;
}

static int too_deep(struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "archive.too_deep", "more than %d directory levels", BK_DEPTH_MAX);
}

static int cancelled(struct bk_err *err) { return bk_fail(err, BK_BUILD, "cancelled", "cancelled"); }

static int open_dir(int dirfd, const char *name) {
  return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int record(struct bk_flat *f, struct node *dir, int fd, unsigned depth, const atomic_bool *cancel,
                  struct bk_err *err) {
  if (depth > BK_DEPTH_MAX) return too_deep(err);
  if (cancel && atomic_load(cancel)) return cancelled(err);
  cleanup_free char **names = bk_dir_names(fd, &dir->n);
  if (!names) return bk_fail_errno(err, errno, "read directory '%s'", dir->name);
  dir->children = bk_arena_alloc(&f->arena, (dir->n + 1) * sizeof *dir->children);
  for (size_t i = 0; i < dir->n; i++) {
    struct node *c = &dir->children[i];
    struct stat st;
    c->name = bk_arena_strndup(&f->arena, names[i], strlen(names[i]));
    if (fstatat(fd, c->name, &st, AT_SYMLINK_NOFOLLOW))
      return bk_fail_errno(err, errno, "stat '%s'", c->name);
    note(f, c, &st);
    if (!c->dir) continue;
    cleanup_close int sub = open_dir(fd, c->name);
    if (sub < 0) return bk_fail_errno(err, errno, "open directory '%s'", c->name);
    if (record(f, c, sub, depth + 1, cancel, err)) return -1;
  }
  return 0;
}

/* A change within the tick of the last one recorded would carry the same time. */
static void leave_tick(const struct timespec *last) {
  struct timespec t, pause = {.tv_nsec = 1000000};
  for (int i = 0; i < 100; i++) {
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    if (later(&t, last)) return;
    nanosleep(&pause, NULL);
  }
}

int bk_flat_record(const char *dir, const atomic_bool *cancel, struct bk_flat **out, struct bk_err *err) {
  struct bk_flat *f = bk_calloc(1, sizeof *f);
  struct stat st;
  cleanup_close int fd = open_dir(AT_FDCWD, dir);
  int rc = fd < 0 || fstat(fd, &st) ? bk_fail_errno(err, errno, "open directory '%s'", dir) : 0;
  f->root.name = "/";
  if (!rc) {
    note(f, &f->root, &st);
    rc = record(f, &f->root, fd, 0, cancel, err);
  }
  if (rc) {
    bk_flat_free(f);
    return bk_err_wrap(err, "record '%s'", dir);
  }
  leave_tick(&f->last);
  *out = f;
  return 0;
}

void bk_flat_free(struct bk_flat *f) {
  if (!f) return;
  bk_arena_free(&f->arena);
  free(f);
}

uint64_t bk_flat_entries(const struct bk_flat *f) { return f->entries; }

/* --- the difference -------------------------------------------------------------------------- */

struct diff {
  const struct bk_flat_opts *o;
  struct bk_map inodes; /* (device, inode) of copied files with several links -> path in upper */
  struct bk_buf path;   /* of the directory at hand, in upper */
  int upper;
};

/* A directory of the tree; its twin in upper is made when something in it has changed. */
struct level {
  struct level *parent;
  const char *name;
  const struct stat *st;
  int fd, twin; /* twin: -1 while there is none */
};

static int set_metadata(int to, const struct stat *st, const char *name, struct bk_err *err) {
  if (fchown(to, st->st_uid, st->st_gid) || fchmod(to, st->st_mode & 07777))
    return bk_fail_errno(err, errno, "set owner and mode of '%s'", name);
  return 0;
}

static int need_twin(struct level *l, struct bk_err *err) {
  if (l->twin >= 0) return 0;
  if (need_twin(l->parent, err)) return -1;
  if (mkdirat(l->parent->twin, l->name, 0700)) return bk_fail_errno(err, errno, "create '%s'", l->name);
  l->twin = open_dir(l->parent->twin, l->name);
  if (l->twin < 0) return bk_fail_errno(err, errno, "open '%s'", l->name);
  if (set_metadata(l->twin, l->st, l->name, err)) return -1;
  return bk_xattrs_copy(l->fd, l->twin) ? bk_fail_errno(err, errno, "copy xattrs of '%s'", l->name) : 0;
}

static bool clamps(const struct diff *d, const struct stat *st) {
  return d->o->epoch && (st->st_mtim.tv_sec > *d->o->epoch ||
                         (st->st_mtim.tv_sec == *d->o->epoch && st->st_mtim.tv_nsec > 0));
}

/* Commit clamps what is in upper; the tree must show the same to the next step. */
static int clamp(const struct diff *d, int fd, const char *name, const struct stat *st, struct bk_err *err) {
  if (!clamps(d, st)) return 0;
  struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = *d->o->epoch}};
  return utimensat(fd, name, t, AT_SYMLINK_NOFOLLOW) ? bk_fail_errno(err, errno, "set time of '%s'", name)
                                                      : 0;
}

/* 1 when it became a link to a copy made before, 0 when it is the first, -1. */
static int put_link(struct diff *d, struct level *l, const char *name, const struct stat *st,
                    struct bk_err *err) {
  if (st->st_nlink < 2) return 0;
  uint64_t key[2] = {st->st_dev, st->st_ino};
  const char *first = bk_map_get(&d->inodes, (const char *)key, sizeof key);
  if (!first) {
    const char *dir = bk_buf_str(&d->path);
    bk_map_set(&d->inodes, (const char *)key, sizeof key, bk_asprintf("%s%s%s", dir, *dir ? "/" : "", name));
    return 0;
  }
  if (linkat(d->upper, first, l->twin, name, 0))
    return bk_fail_errno(err, errno, "link '%s' to '%s'", name, first);
  return 1;
}

static int put_regular(struct level *l, const char *name, const struct stat *st, struct bk_err *err) {
  cleanup_close int from = openat(l->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (from < 0) return bk_fail_errno(err, errno, "open '%s'", name);
  cleanup_close int to = openat(l->twin, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (to < 0) return bk_fail_errno(err, errno, "create '%s'", name);
  if (bk_copy_data(from, to, name, err) || set_metadata(to, st, name, err)) return -1;
  if (bk_xattrs_copy(from, to)) return bk_fail_errno(err, errno, "copy xattrs of '%s'", name);
  struct timespec t[2] = {st->st_mtim, st->st_mtim};
  return futimens(to, t) ? bk_fail_errno(err, errno, "set time of '%s'", name) : 0;
}

static int put_special(struct level *l, const char *name, const struct stat *st, struct bk_err *err) {
  char target[4097];
  bool link = S_ISLNK(st->st_mode);
  ssize_t n = link ? readlinkat(l->fd, name, target, sizeof target - 1) : 0;
  if (n < 0) return bk_fail_errno(err, errno, "read link '%s'", name);
  target[n] = '\0';
  if (link ? symlinkat(target, l->twin, name)
           : mknodat(l->twin, name, st->st_mode & (S_IFMT | 0777), st->st_rdev))
    return bk_fail_errno(err, errno, "create '%s'", name);
  struct timespec t[2] = {st->st_mtim, st->st_mtim};
  if (fchownat(l->twin, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) ||
      (!link && fchmodat(l->twin, name, st->st_mode & 07777, 0)) ||
      utimensat(l->twin, name, t, AT_SYMLINK_NOFOLLOW))
    return bk_fail_errno(err, errno, "set metadata of '%s'", name);
  return 0;
}

static int put(struct diff *d, struct level *l, const char *name, const struct stat *st, struct bk_err *err) {
  if (S_ISSOCK(st->st_mode)) return 0; /* layers cannot hold one */
  if (need_twin(l, err)) return -1;
  int linked = put_link(d, l, name, st, err);
  if (linked) return linked < 0 ? -1 : 0;
  if (S_ISREG(st->st_mode) ? put_regular(l, name, st, err) : put_special(l, name, st, err)) return -1;
  return clamp(d, l->fd, name, st, err);
}

static int put_whiteout(struct level *l, const char *name, struct bk_err *err) {
  if (need_twin(l, err)) return -1;
  return bk_mknodat(l->twin, name, S_IFCHR, 0) ? bk_fail_errno(err, errno, "create whiteout '%s'", name) : 0;
}

static bool unchanged(const struct node *n, const struct stat *st) {
  return n && n->dev == st->st_dev && n->ino == st->st_ino && n->ctime.tv_sec == st->st_ctim.tv_sec &&
         n->ctime.tv_nsec == st->st_ctim.tv_nsec;
}

static int compare(struct diff *d, struct level *l, const struct node *old, unsigned depth, struct bk_err *err);

static int compare_dir(struct diff *d, struct level *l, const char *name, const struct node *old,
                       const struct stat *st, unsigned depth, struct bk_err *err) {
  cleanup_close int fd = open_dir(l->fd, name);
  if (fd < 0) return bk_fail_errno(err, errno, "open directory '%s'", name);
  struct level sub = {.parent = l, .name = name, .st = st, .fd = fd, .twin = -1};
  size_t len = d->path.len;
  if (len) bk_buf_addc(&d->path, '/');
  bk_buf_adds(&d->path, name);
  int rc = unchanged(old, st) ? 0 : need_twin(&sub, err);
  if (!rc) rc = compare(d, &sub, old && old->dir ? old : NULL, depth + 1, err);
  d->path.len = len;
  d->path.p[len] = '\0';
  if (sub.twin < 0) return rc;
  struct timespec t[2] = {st->st_mtim, st->st_mtim};
  if (!rc && futimens(sub.twin, t)) rc = bk_fail_errno(err, errno, "set time of '%s'", name);
  if (!rc) rc = clamp(d, l->fd, name, st, err);
  close(sub.twin);
  return rc;
}

static int compare_entry(struct diff *d, struct level *l, const char *name, const struct node *old,
                         unsigned depth, struct bk_err *err) {
  struct stat st;
  if (fstatat(l->fd, name, &st, AT_SYMLINK_NOFOLLOW)) return bk_fail_errno(err, errno, "stat '%s'", name);
  if (S_ISDIR(st.st_mode)) return compare_dir(d, l, name, old, &st, depth, err);
  return unchanged(old, &st) ? 0 : put(d, l, name, &st, err);
}

/* Both lists are sorted by name; old is NULL for a directory that is new. */
static int compare(struct diff *d, struct level *l, const struct node *old, unsigned depth, struct bk_err *err) {
  if (depth > BK_DEPTH_MAX) return too_deep(err);
  if (d->o->cancel && atomic_load(d->o->cancel)) return cancelled(err);
  size_t n, j = 0, nold = old ? old->n : 0;
  cleanup_free char **names = bk_dir_names(l->fd, &n);
  if (!names) return bk_fail_errno(err, errno, "read directory '%s'", l->name);
  for (size_t i = 0; i < n; i++) {
    int order = 1;
    while (j < nold && (order = strcmp(old->children[j].name, names[i])) < 0)
      if (put_whiteout(l, old->children[j++].name, err)) return -1;
    bool known = j < nold && order == 0;
    if (compare_entry(d, l, names[i], known ? &old->children[j] : NULL, depth, err))
      return bk_err_wrap(err, "in '%s'", l->name);
    j += known;
  }
  while (j < nold)
    if (put_whiteout(l, old->children[j++].name, err)) return -1;
  return 0;
}

static void remove_stubs(int root, const char *const *stubs) {
  size_t n = 0;
  while (stubs && stubs[n]) n++;
  cleanup_free const char **deepest_first = bk_malloc((n + 1) * sizeof *deepest_first);
  if (n) memcpy(deepest_first, stubs, n * sizeof *deepest_first);
  qsort(deepest_first, n, sizeof *deepest_first, bk_by_length);
  for (size_t i = 0; i < n; i++) (void)!bk_remove_if_empty(root, deepest_first[i]);
}

int bk_flat_diff(const struct bk_flat *f, const struct bk_flat_opts *o, struct bk_err *err) {
  cleanup_close int fd = open_dir(AT_FDCWD, o->dir);
  cleanup_close int upper = open_dir(AT_FDCWD, o->upper);
  struct stat st;
  if (fd < 0 || upper < 0)
    return bk_fail_errno(err, errno, "open directory '%s'", fd < 0 ? o->dir : o->upper);
  remove_stubs(fd, o->stubs);
  if (fstat(fd, &st)) return bk_fail_errno(err, errno, "stat '%s'", o->dir);
  struct diff d = {.o = o, .upper = upper};
  struct level root = {.name = "/", .st = &st, .fd = fd, .twin = upper};
  bk_buf_str(&d.path);
  int rc = compare(&d, &root, &f->root, 0, err);
  if (!rc) rc = set_metadata(upper, &st, "/", err);
  struct timespec t[2] = {st.st_mtim, st.st_mtim};
  if (!rc && futimens(upper, t)) rc = bk_fail_errno(err, errno, "set time of '/'");
  bk_map_each(e, &d.inodes) free(e->value);
  bk_map_free(&d.inodes);
  bk_buf_free(&d.path);
  return rc ? bk_err_wrap(err, "compare '%s'", o->dir) : 0;
}
