#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "archive/overlay.h"
#include "archive/pack.h"
#include "base/ids.h"
#include "base/mem.h"
#include "snapshot/snapshot.h"

struct maker {
  const struct bk_mkdir_opts *o;
  struct bk_view *view; /* of the chain and the upper directory */
  unsigned created;
};

static int copy_xattrs(int from, int to, const char *name, struct bk_err *err) {
  return bk_xattrs_copy(from, to) ? bk_fail_errno(err, errno, "copy xattrs of '%s'", name) : 0;
}

/* Creates `name` in the open upper directory; what is there can only be a whiteout. */
static int make(struct maker *m, int fd, const char *name, struct bk_err *err) {
  if (mkdirat(fd, name, 0700) == 0) return 0;
  struct stat st;
  if (errno != EEXIST || bk_fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) || !bk_is_whiteout(&st))
    return bk_fail_errno(err, EEXIST, "create directory '%s'", name);
  if (unlinkat(fd, name, 0) || mkdirat(fd, name, 0700))
    return bk_fail_errno(err, errno, "create directory '%s'", name);
  cleanup_close int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (sub < 0 || bk_overlay_set_opaque(sub, m->o->userxattr))
    return bk_fail_errno(err, errno, "mark directory '%s' as opaque", name);
  return 0;
}

static int dress(int fd, uid_t uid, gid_t gid, mode_t mode, const char *name, struct bk_err *err) {
  if (bk_fchown(fd, uid, gid) || bk_fchmod(fd, mode & 07777))
    return bk_fail_errno(err, errno, "set owner and mode of '%s'", name);
  return 0;
}

static int set_time(int fd, const struct timespec *mtime, const char *name, struct bk_err *err) {
  struct timespec t[2] = {*mtime, *mtime};
  return futimens(fd, t) ? bk_fail_errno(err, errno, "set time of '%s'", name) : 0;
}

/* Copies the directory of a lower layer up, without its contents. */
static int copy_up(struct maker *m, int fd, struct bk_view_dir *d, const char *name,
                   const struct bk_view_ent *e, struct bk_err *err) {
  if (make(m, fd, name, err)) return -1;
  cleanup_close int to = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  cleanup_close int from = bk_view_openat(m->view, d, name, e, O_RDONLY | O_DIRECTORY);
  if (to < 0 || from < 0) return bk_fail_errno(err, errno, "open directory '%s'", name);
  if (dress(to, e->st.st_uid, e->st.st_gid, e->st.st_mode, name, err)) return -1;
  return copy_xattrs(from, to, name, err);
}

/* Makes the components of `rest` below the open upper directory fd; d is the merged directory
 * there, or NULL below a directory that did not exist. */
static int descend(struct maker *m, int fd, struct bk_view_dir *d, const char *rest,
                   struct bk_err *err) {
  if (!*rest) return 0;
  size_t n = strcspn(rest, "/");
  char name[256];
  if (n > 255) return bk_fail_errno(err, ENAMETOOLONG, "create directory '%.60s…'", rest);
  memcpy(name, rest, n);
  name[n] = '\0';
  rest += n + (rest[n] == '/');
  struct bk_view_ent e;
  int found = d ? bk_view_child(m->view, d, name, &e, err) : 0;
  if (found < 0) return -1;
  if (found && !e.dir) return bk_fail_errno(err, ENOTDIR, "create directory below '%s'", name);
  bool in_upper = found && e.layer == (int)m->o->chain.n;
  if (found && !in_upper && copy_up(m, fd, d, name, &e, err)) return -1;
  if (!found && make(m, fd, name, err)) return -1;
  cleanup_close int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (sub < 0) return bk_fail_errno(err, errno, "open directory '%s'", name);
  if (!found && dress(sub, m->o->uid, m->o->gid, m->o->mode, name, err)) return -1;
  m->created += !found;
  if (descend(m, sub, found ? e.dir : NULL, rest, err)) return -1;
  struct timespec now = {.tv_nsec = UTIME_NOW};
  if (m->o->epoch) now = (struct timespec){.tv_sec = *m->o->epoch};
  return set_time(sub, found ? &e.st.st_mtim : &now, name, err);
}

static int make_path(struct maker *m, int root, const char *canon, struct bk_err *err) {
  struct stat before;
  if (bk_fstat(root, &before)) return bk_fail_errno(err, errno, "stat upper directory");
  if (descend(m, root, bk_view_root(m->view), canon, err)) return -1;
  if (!m->o->chain.n) return set_time(root, &before.st_mtim, "/", err);
  /* The root of a layer has no entry in its tar: it must look like the one below. */
  struct stat st;
  if (bk_fstatat(bk_view_layer_fd(m->view, (int)m->o->chain.n - 1), "", &st, AT_EMPTY_PATH))
    return bk_fail_errno(err, errno, "stat lower root");
  if (dress(root, st.st_uid, st.st_gid, st.st_mode, "/", err)) return -1;
  return set_time(root, &st.st_mtim, "/", err);
}

int bk_snapshot_mkdir(const struct bk_mkdir_opts *o, unsigned *created, struct bk_err *err) {
  size_t n = o->chain.n;
  *created = 0;
  cleanup_free const char **layers = bk_calloc(n + 1, sizeof *layers);
  if (n) memcpy(layers, o->chain.lowers, n * sizeof *layers);
  layers[n] = o->upper;
  cleanup_view struct bk_view *v = NULL;
  if (bk_view_open(layers, n + 1, 0, &v, err)) return -1;
  struct maker m = {.o = o, .view = v};
  cleanup_buf struct bk_buf canon = {0};
  struct bk_view_ent e;
  int found = bk_view_find(v, o->path, BK_VIEW_FOLLOW, &canon, &e, err);
  if (found < 0) return -1;
  if (found && !e.dir) return bk_fail_errno(err, ENOTDIR, "create directory '%s'", o->path);
  if (found) return 0;
  cleanup_close int root = open(o->upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return bk_fail_errno(err, errno, "open directory '%s'", o->upper);
  if (make_path(&m, root, bk_buf_str(&canon), err))
    return bk_err_wrap(err, "create directory '%s'", o->path);
  *created = m.created;
  return 0;
}
