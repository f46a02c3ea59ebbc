#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "snapshot/flat.h"
#include "snapshot/util.h"
#include "snapshot/view.h"

struct place {
  char *path;   /* canonical, below the tree */
  char *source;
  dev_t dev;    /* of what was moved in */
  ino_t ino;
  bool moved, saved; /* saved: what stood there is aside/NUMBER */
};

struct bk_placed {
  char *aside;
  int root;
  struct place *items;
  size_t n;
  char **made; /* parents that did not exist, outermost first */
  size_t n_made;
};

static int open_dir(int dirfd, const char *name) {
  return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void put_time_back(int fd, const struct stat *before) {
  struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, before->st_mtim};
  (void)!futimens(fd, t);
}

/* --- in -------------------------------------------------------------------------------------- */

/* Makes the directories above `path` that are missing. */
static int make_parents(struct bk_placed *p, const char *path, struct bk_err *err) {
  for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
    cleanup_free char *dir = bk_strndup(path, (size_t)(slash - path));
    const char *base;
    struct stat st;
    cleanup_close int fd = bk_open_parent(p->root, dir, &base);
    if (fd < 0 || fstat(fd, &st)) return bk_fail_errno(err, errno, "open the parent of '/%s'", dir);
    if (mkdirat(fd, base, 0755)) {
      if (errno == EEXIST) continue;
      return bk_fail_errno(err, errno, "create '/%s'", dir);
    }
    (void)!fchmodat(fd, base, 0755, 0);
    put_time_back(fd, &st);
    p->made = bk_reallocarray(p->made, p->n_made + 1, sizeof *p->made);
    p->made[p->n_made++] = bk_steal_ptr(&dir);
  }
  return 0;
}

static char *aside_name(const struct bk_placed *p, size_t i) { return bk_asprintf("%s/%zu", p->aside, i); }

static int move_in(struct bk_placed *p, size_t i, struct bk_err *err) {
  struct place *it = &p->items[i];
  const char *base;
  struct stat before, st;
  if (make_parents(p, it->path, err)) return -1;
  cleanup_close int fd = bk_open_parent(p->root, it->path, &base);
  if (fd < 0 || fstat(fd, &before)) return bk_fail_errno(err, errno, "open the parent of '/%s'", it->path);
  if (lstat(it->source, &st)) return bk_fail_errno(err, errno, "stat '%s'", it->source);
  it->dev = st.st_dev;
  it->ino = st.st_ino;
  cleanup_free char *aside = aside_name(p, i);
  if (renameat(fd, base, AT_FDCWD, aside) == 0) it->saved = true;
  else if (errno != ENOENT) return bk_fail_errno(err, errno, "move '/%s' aside", it->path);
  if (renameat(AT_FDCWD, it->source, fd, base))
    return bk_fail_errno(err, errno, "move '%s' to '/%s'", it->source, it->path);
  it->moved = true;
  put_time_back(fd, &before);
  return 0;
}

/* Canonical path in the tree; the tree itself is refused. */
static char *resolve(const char *tree, const char *path, struct bk_err *err) {
  cleanup_view struct bk_view *v = NULL;
  cleanup_buf struct bk_buf canon = {0};
  struct bk_view_ent ent;
  if (bk_view_open(&tree, 1, BK_VIEW_PLAIN, &v, err)) return NULL;
  if (bk_view_find(v, path, BK_VIEW_FOLLOW, &canon, &ent, err) < 0) return NULL;
  if (canon.len) return bk_strdup(bk_buf_str(&canon));
  bk_fail(err, BK_USAGE, "EBUSY", "cannot put anything over the root of an image");
  return NULL;
}

int bk_place(const char *tree, const char *aside, const struct bk_place *items, size_t n,
             struct bk_placed **out, struct bk_err *err) {
  struct bk_placed *p = bk_calloc(1, sizeof *p);
  p->aside = bk_strdup(aside);
  p->items = bk_calloc(n + 1, sizeof *p->items);
  p->root = open_dir(AT_FDCWD, tree);
  int rc = p->root < 0 ? bk_fail_errno(err, errno, "open directory '%s'", tree) : 0;
  for (size_t i = 0; i < n && !rc; i++) {
    struct place *it = &p->items[p->n];
    it->path = resolve(tree, items[i].path, err);
    if (!it->path) break;
    it->source = bk_strdup(items[i].source);
    if (lchown(it->source, (uid_t)items[i].uid, (gid_t)items[i].gid))
      rc = bk_fail_errno(err, errno, "set owner of '%s'", it->source);
    p->n++;
    if (!rc) rc = move_in(p, p->n - 1, err);
  }
  if (p->n == n && !rc) {
    *out = p;
    return 0;
  }
  struct bk_err ignored;
  (void)!bk_unplace(p, &ignored);
  return -1;
}

/* --- out ------------------------------------------------------------------------------------- */

static int move_out(struct bk_placed *p, size_t i, struct bk_err *err) {
  struct place *it = &p->items[i];
  const char *base;
  struct stat before, st;
  cleanup_close int fd = bk_open_parent(p->root, it->path, &base);
  if (fd < 0 || fstat(fd, &before)) return 0; /* the command removed the place */
  int rc = 0;
  if (it->moved && fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    if (st.st_dev == it->dev && st.st_ino == it->ino) {
      if (renameat(fd, base, AT_FDCWD, it->source))
        rc = bk_fail_errno(err, errno, "move '/%s' to '%s'", it->path, it->source);
    } else { /* not what was put there */
      rc = bk_rmtree(fd, base, err);
    }
  }
  cleanup_free char *aside = aside_name(p, i);
  if (!rc && it->saved && renameat(AT_FDCWD, aside, fd, base))
    rc = bk_fail_errno(err, errno, "move '/%s' back", it->path);
  put_time_back(fd, &before);
  return rc;
}

static void remove_made(struct bk_placed *p, const char *path) {
  const char *base;
  struct stat before;
  cleanup_close int fd = bk_open_parent(p->root, path, &base);
  if (fd < 0 || fstat(fd, &before)) return;
  if (unlinkat(fd, base, AT_REMOVEDIR) == 0) put_time_back(fd, &before);
}

int bk_unplace(struct bk_placed *p, struct bk_err *err) {
  int rc = 0;
  struct bk_err later;
  for (size_t i = p->n; i-- > 0;)
    if (move_out(p, i, rc ? &later : err)) rc = -1;
  for (size_t i = p->n_made; i-- > 0;) remove_made(p, p->made[i]);
  for (size_t i = 0; i < p->n_made; i++) free(p->made[i]);
  for (size_t i = 0; i < p->n; i++) {
    free(p->items[i].path);
    free(p->items[i].source);
  }
  if (p->root >= 0) close(p->root);
  free(p->made);
  free(p->items);
  free(p->aside);
  free(p);
  return rc;
}
