#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "archive/pack.h"
#include "base/fs.h"
#include "base/ids.h"
#include "base/mem.h"
#include "snapshot/dest.h"

#define MAX_SYMLINKS 255

/* --- opening --------------------------------------------------------------------------------- */

static bool maps_one_id(void) {
  cleanup_buf struct bk_buf map = {.max = 65536};
  struct bk_err err;
  unsigned long inside, outside, count;
  int end = 0;
  if (bk_read_file(AT_FDCWD, "/proc/self/uid_map", &map, &err)) return false;
  return sscanf(bk_buf_str(&map), " %lu %lu %lu %n", &inside, &outside, &count, &end) == 3 &&
         count == 1 && (size_t)end == map.len;
}

/* umask(2) can only be read by changing it, for every thread; unknown counts as all bits. */
static mode_t current_umask(void) {
  cleanup_buf struct bk_buf status = {.max = 65536};
  struct bk_err err;
  if (bk_read_file(AT_FDCWD, "/proc/self/status", &status, &err)) return 0777;
  const char *line = strstr(bk_buf_str(&status), "\nUmask:");
  return line ? (mode_t)strtoul(line + 7, NULL, 8) & 0777 : 0777;
}

static int check_empty(int fd, const char *upper, struct bk_err *err) {
  size_t n;
  cleanup_free char **names = bk_dir_names(fd, &n);
  if (!names) return bk_fail_errno(err, errno, "read directory '%s'", upper);
  if (n == 0) return 0;
  return bk_fail_errno(err, ENOTEMPTY, "copy into '%s'", upper);
}

int bk_dest_open(struct bk_dest *d, const char *upper, struct bk_chain chain,
                 struct bk_err *err) {
  struct bk_view_ent root;
  if (bk_view_open(chain.lowers, chain.n, 0, &d->lower, err)) return -1;
  if (mkdir(upper, 0755) && errno != EEXIST)
    return bk_fail_errno(err, errno, "create directory '%s'", upper);
  d->fd = open(upper, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (d->fd < 0) return bk_fail_errno(err, errno, "open directory '%s'", upper);
  if (check_empty(d->fd, upper, err)) return -1;
  d->umask = current_umask();
  d->euid = bk_ids_uid();
  d->egid = bk_ids_gid();
  d->single_id = !bk_ids() && maps_one_id();
  d->buffer = bk_malloc(BK_DEST_BUFFER);
  /* A mount shows the topmost layer's root: it must look like the one below. */
  bk_view_root_ent(d->lower, &root);
  if (bk_dest_chown(d, d->fd, "", root.st.st_uid, root.st.st_gid) ||
      bk_fchmod(d->fd, root.st.st_mode & 07777))
    return bk_fail_errno(err, errno, "set owner and mode of '%s'", upper);
  d->setgid = (root.st.st_mode & S_ISGID) != 0;
  bk_dest_set_time(d, "", bk_dest_clamp(d, root.st.st_mtim));
  return 0;
}

void bk_dest_close(struct bk_dest *d) {
  bk_view_close(d->lower);
  if (d->fd >= 0) close(d->fd);
  bk_map_each(e, &d->times) free(e->value);
  bk_map_free(&d->times);
  free(d->buffer);
  *d = (struct bk_dest){.fd = -1};
}

/* --- metadata -------------------------------------------------------------------------------- */

struct timespec bk_dest_clamp(const struct bk_dest *d, struct timespec time) {
  if (d->epoch && time.tv_sec >= *d->epoch) return (struct timespec){.tv_sec = *d->epoch};
  return time;
}

int bk_dest_chown(struct bk_dest *d, int fd, const char *path, uid_t uid, gid_t gid) {
  if (bk_fchownat(fd, path, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0) return 0;
  return d->single_id && (errno == EPERM || errno == EINVAL) ? 0 : -1;
}

void bk_dest_set_time(struct bk_dest *d, const char *path, struct timespec time) {
  size_t n = strlen(path);
  struct timespec *t = bk_map_get(&d->times, path, n);
  if (!t) bk_map_set(&d->times, path, n, t = bk_malloc(sizeof *t));
  *t = time;
}

void bk_dest_forget(struct bk_dest *d, const char *path) {
  size_t n = strlen(path);
  bk_map_each(e, &d->times) {
    if (e->len < n || memcmp(e->key, path, n) != 0 || (e->len > n && e->key[n] != '/')) continue;
    free(e->value);
    bk_map_del(&d->times, e->key, e->len);
  }
}

int bk_dest_finish(struct bk_dest *d, struct bk_err *err) {
  bk_map_each(e, &d->times) {
    const struct timespec *t = e->value;
    struct timespec both[2] = {*t, *t};
    if (utimensat(d->fd, e->len ? e->key : ".", both, AT_SYMLINK_NOFOLLOW))
      return bk_fail_errno(err, errno, "set time of '%s'", e->key);
  }
  return 0;
}

/* --- looking --------------------------------------------------------------------------------- */

static char *join(const char *path, const char *name) {
  return bk_asprintf("%s%s%s", path, *path ? "/" : "", name);
}

int bk_dest_look(struct bk_dest *d, const char *path, struct bk_view_dir *low, const char *name,
                 struct bk_dest_node *out, struct bk_err *err) {
  struct bk_view_ent ent;
  cleanup_free char *full = join(path, name);
  *out = (struct bk_dest_node){0};
  if (bk_fstatat(d->fd, full, &out->st, AT_SYMLINK_NOFOLLOW) == 0) out->exists = out->upper = true;
  else if (errno != ENOENT && errno != ENOTDIR) return bk_fail_errno(err, errno, "stat '%s'", full);
  if (!low || (out->upper && !S_ISDIR(out->st.st_mode))) return 0;
  int rc = bk_view_child(d->lower, low, name, &ent, err);
  if (rc <= 0) return rc;
  if (out->upper) {
    out->low = ent.dir; /* a directory over something else hides it */
    return 0;
  }
  out->exists = true;
  out->st = ent.st;
  out->low = ent.dir;
  return 0;
}

/* State of one resolution: `todo` is what is left of the path from `at` on. */
struct walk {
  struct bk_dest *d;
  struct bk_buf *canon;
  struct bk_buf todo;
  size_t at;
  int links;
  struct bk_dest_node node; /* what canon is */
};

static void root_node(struct bk_dest *d, struct bk_dest_node *out) {
  struct bk_view_ent ent;
  bk_view_root_ent(d->lower, &ent);
  *out = (struct bk_dest_node){true, true, ent.st, bk_view_root(d->lower)};
  out->st.st_mode = S_IFDIR | (out->st.st_mode & 07777);
}

/* Looks up a canonical path from the root on. */
static int look_path(struct bk_dest *d, const char *canon, struct bk_dest_node *out,
                     struct bk_err *err) {
  cleanup_buf struct bk_buf at = {0};
  bk_buf_str(&at);
  root_node(d, out);
  while (*canon && out->exists) {
    size_t n = strcspn(canon, "/");
    cleanup_free char *name = bk_strndup(canon, n);
    struct bk_view_dir *low = out->low;
    if (bk_dest_look(d, at.p, low, name, out, err)) return -1;
    if (at.len) bk_buf_addc(&at, '/');
    bk_buf_add(&at, canon, n);
    canon += n + (canon[n] == '/');
  }
  return 0;
}

static int read_link(struct walk *w, const char *name, struct bk_buf *out, struct bk_err *err) {
  char target[4096];
  cleanup_free char *full = join(bk_buf_str(w->canon), name);
  ssize_t n = bk_readlinkat(w->d->fd, full, target, sizeof target);
  if (n >= 0) {
    bk_buf_add(out, target, (size_t)n);
    return 0;
  }
  struct bk_view_ent ent;
  struct bk_view_dir *dir;
  const char *base;
  int rc = bk_view_find(w->d->lower, full, 0, NULL, &ent, err);
  if (rc == 1) rc = bk_view_parent(w->d->lower, full, &dir, &base, err);
  if (rc < 0) return -1;
  if (rc == 0) return bk_fail_errno(err, ENOENT, "read link '%s'", full);
  return bk_view_readlink(w->d->lower, dir, base, &ent, out, err);
}

/* The component just looked at is a symlink: its target takes its place in todo. */
static int follow(struct walk *w, const char *name, struct bk_err *err) {
  cleanup_buf struct bk_buf next = {0};
  if (++w->links > MAX_SYMLINKS)
    return bk_fail_errno(err, ELOOP, "resolve '%s/%s'", bk_buf_str(w->canon), name);
  if (read_link(w, name, &next, err)) return -1;
  if (next.len && next.p[0] == '/') bk_buf_reset(w->canon);
  bk_buf_addc(&next, '/');
  bk_buf_add(&next, w->todo.p + w->at, w->todo.len - w->at);
  struct bk_buf old = w->todo;
  w->todo = next;
  next = old;
  w->at = 0;
  return look_path(w->d, bk_buf_str(w->canon), &w->node, err);
}

static int step(struct walk *w, const char *name, struct bk_err *err) {
  struct bk_buf *canon = w->canon;
  if (strcmp(name, "..") == 0) {
    while (canon->len && canon->p[canon->len - 1] != '/') canon->len--;
    if (canon->len) canon->len--;
    bk_buf_str(canon)[canon->len] = '\0';
    return look_path(w->d, canon->p, &w->node, err);
  }
  struct bk_dest_node child = {0};
  if (w->node.exists && S_ISDIR(w->node.st.st_mode) &&
      bk_dest_look(w->d, bk_buf_str(canon), w->node.low, name, &child, err))
    return -1;
  if (child.exists && S_ISLNK(child.st.st_mode)) return follow(w, name, err);
  if (canon->len) bk_buf_addc(canon, '/');
  bk_buf_adds(canon, name);
  w->node = child;
  return 0;
}

int bk_dest_resolve(struct bk_dest *d, const char *path, struct bk_buf *canon,
                    struct bk_dest_node *out, struct bk_err *err) {
  struct walk w = {.d = d, .canon = canon};
  int rc = 0;
  bk_buf_reset(canon);
  bk_buf_str(canon);
  bk_buf_adds(&w.todo, path);
  root_node(d, &w.node);
  while (rc == 0 && w.at < w.todo.len) {
    const char *s = w.todo.p + w.at;
    size_t n = strcspn(s, "/");
    w.at += n + (s[n] == '/');
    if (n == 0 || (n == 1 && *s == '.')) continue;
    if (n > 255) rc = bk_fail_errno(err, ENAMETOOLONG, "resolve '%.100s…'", path);
    cleanup_free char *name = bk_strndup(s, n);
    if (rc == 0) rc = step(&w, name, err);
  }
  bk_buf_free(&w.todo);
  *out = w.node;
  return rc;
}

/* --- making directories ---------------------------------------------------------------------- */

static int copy_xattrs(struct bk_dest *d, const char *path, struct bk_err *err) {
  struct bk_view_ent ent;
  struct bk_view_dir *dir;
  const char *base;
  int rc = bk_view_find(d->lower, path, 0, NULL, &ent, err);
  if (rc == 1) rc = bk_view_parent(d->lower, path, &dir, &base, err);
  if (rc <= 0) return rc;
  cleanup_close int from = bk_view_openat(d->lower, dir, base, &ent, O_RDONLY | O_DIRECTORY);
  struct bk_xattrs x = {0};
  if (from < 0 || bk_xattrs_read(from, &x))
    return bk_fail_errno(err, errno, "read extended attributes of '%s'", path);
  cleanup_close int to = -1;
  if (x.n) to = openat(d->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  for (size_t i = 0; i < x.n && to >= 0; i++) /* best effort */
    (void)!bk_xattr_set(to, x.v[i].name, x.v[i].value, x.v[i].len);
  bk_xattrs_free(&x);
  return 0;
}

/* `path` is made in upper as what `node` says about it: the chain's directory, or a new one. */
static int make_dir(struct bk_dest *d, const char *path, const struct bk_dest_node *node,
                    struct bk_err *err) {
  bool known = node->exists;
  mode_t mode = known ? node->st.st_mode & 07777 : d->new_mode;
  uid_t uid = known ? node->st.st_uid : d->new_uid;
  gid_t gid = known ? node->st.st_gid : d->new_gid;
  if (mkdirat(d->fd, path, 0700)) return bk_fail_errno(err, errno, "create directory '%s'", path);
  if (bk_dest_chown(d, d->fd, path, uid, gid) || bk_fchmodat(d->fd, path, mode))
    return bk_fail_errno(err, errno, "set owner and mode of '%s'", path);
  d->setgid |= (mode & S_ISGID) != 0;
  if (known && copy_xattrs(d, path, err)) return -1;
  bk_dest_set_time(d, path, known ? bk_dest_clamp(d, node->st.st_mtim) : d->new_time);
  d->entries++;
  return 0;
}

int bk_dest_dir(struct bk_dest *d, const char *path, struct bk_view_dir **low,
                struct bk_err *err) {
  cleanup_buf struct bk_buf at = {0};
  struct bk_dest_node node;
  bk_buf_str(&at);
  root_node(d, &node);
  while (*path) {
    size_t n = strcspn(path, "/");
    cleanup_free char *name = bk_strndup(path, n);
    struct bk_view_dir *above = node.low;
    if (bk_dest_look(d, at.p, above, name, &node, err)) return -1;
    if (at.len) bk_buf_addc(&at, '/');
    bk_buf_add(&at, path, n);
    if (node.exists && !S_ISDIR(node.st.st_mode))
      return bk_fail(err, BK_BUILD, "snapshot.conflict",
                     "'/%s' exists at the destination and is not a directory", at.p);
    if (!node.upper && make_dir(d, at.p, &node, err)) return -1;
    path += n + (path[n] == '/');
  }
  *low = node.low;
  return 0;
}
