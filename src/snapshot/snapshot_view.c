#include "snapshot/view.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "archive/overlay.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/ids.h"
#include "base/mem.h"

#define MAX_SYMLINKS 255 /* as containerd's fs.RootPath, so that the same images resolve */

struct layer {
  char *path;
  int fd;
};

struct member {
  int layer;
  char opaque; /* 'y', 'x', 0; '?' = not read yet */
};

struct bk_view_dir {
  struct bk_view_dir *parent; /* NULL for the root */
  char *path;
  struct member *members; /* layers that hold it, topmost first, cut below an opaque one */
  size_t n;
  struct stat st;
};

struct bk_view {
  struct layer *layers;
  size_t n;
  unsigned flags;
  struct bk_map dirs; /* path -> struct bk_view_dir */
  struct bk_arena arena;
  struct bk_view_dir *root;
  struct bk_buf scratch; /* path of the call at hand */
  struct bk_limits limits;
  uint64_t entries;
};

/* --- opening --------------------------------------------------------------------------------- */

int bk_view_open(const char *const *layers, size_t n, unsigned flags, struct bk_view **out,
                 struct bk_err *err) {
  struct bk_view *v = bk_calloc(1, sizeof *v);
  v->flags = flags;
  v->layers = bk_calloc(n ? n : 1, sizeof *v->layers);
  struct bk_view_dir *root = bk_arena_alloc(&v->arena, sizeof *root);
  root->path = bk_arena_strndup(&v->arena, "", 0);
  root->members = bk_arena_alloc(&v->arena, (n ? n : 1) * sizeof *root->members);
  root->st.st_mode = S_IFDIR | 0755;
  root->st.st_nlink = 1;
  for (size_t i = 0; i < n; i++) {
    int fd = open(layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
      int e = errno;
      bk_view_close(v);
      return bk_fail_errno(err, e, "open layer directory '%s'", layers[i]);
    }
    v->layers[v->n++] = (struct layer){.path = bk_strdup(layers[i]), .fd = fd};
    /* The kernel merges all roots: an opaque root hides nothing. */
    root->members[n - 1 - i] = (struct member){.layer = (int)i, .opaque = '?'};
  }
  root->n = n;
  if (n && bk_fstat(v->layers[n - 1].fd, &root->st)) {
    int e = errno;
    bk_view_close(v);
    return bk_fail_errno(err, e, "stat layer directory '%s'", layers[n - 1]);
  }
  v->root = root;
  bk_map_set(&v->dirs, "", 0, root);
  *out = v;
  return 0;
}

void bk_view_close(struct bk_view *v) {
  if (!v) return;
  for (size_t i = 0; i < v->n; i++) {
    close(v->layers[i].fd);
    free(v->layers[i].path);
  }
  free(v->layers);
  bk_map_free(&v->dirs);
  bk_arena_free(&v->arena);
  bk_buf_free(&v->scratch);
  free(v);
}

void bk_view_limit(struct bk_view *v, const struct bk_limits *limits) { v->limits = *limits; }

const struct bk_limits *bk_view_limits(const struct bk_view *v) { return &v->limits; }

bool bk_view_is_plain(const struct bk_view *v) { return v->flags & BK_VIEW_PLAIN; }

struct bk_view_dir *bk_view_root(struct bk_view *v) { return v->root; }

const char *bk_view_dir_path(const struct bk_view_dir *d) { return d->path; }

int bk_view_layer_fd(const struct bk_view *v, int layer) { return v->layers[layer].fd; }

const char *bk_view_layer_path(const struct bk_view *v, int layer) {
  return v->layers[layer].path;
}

static void dir_ent(const struct bk_view_dir *d, struct bk_view_ent *out) {
  out->st = d->st;
  out->layer = d->n ? d->members[0].layer : -1;
  out->dir = (struct bk_view_dir *)d;
}

void bk_view_root_ent(struct bk_view *v, struct bk_view_ent *out) { dir_ent(v->root, out); }

/* --- one name -------------------------------------------------------------------------------- */

/* "dir/name" for *at() calls on a layer's descriptor; valid until the next call. Every component
 * before the last is a real directory in each layer that is a member of d, so no symlink can be
 * followed on the way. */
static const char *rel(struct bk_view *v, const struct bk_view_dir *d, const char *name) {
  bk_buf_reset(&v->scratch);
  if (d->path[0]) {
    bk_buf_adds(&v->scratch, d->path);
    if (name[0]) bk_buf_addc(&v->scratch, '/');
  }
  bk_buf_adds(&v->scratch, name);
  return v->scratch.len ? v->scratch.p : ".";
}

static char member_opaque(struct bk_view *v, struct bk_view_dir *d, size_t i) {
  struct member *m = &d->members[i];
  if (v->flags & BK_VIEW_PLAIN) return 0;
  if (m->opaque != '?') return m->opaque;
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  cleanup_close int fd = openat(v->layers[m->layer].fd, rel(v, d, ""), flags);
  m->opaque = fd < 0 ? 0 : bk_overlay_opaque(fd);
  return m->opaque;
}

static bool xattr_whiteout(struct bk_view *v, struct bk_view_dir *d, size_t i, const char *name,
                           const struct stat *st) {
  if (!S_ISREG(st->st_mode) || st->st_size || member_opaque(v, d, i) != 'x') return false;
  return bk_overlay_xattr_whiteout(v->layers[d->members[i].layer].fd, rel(v, d, name), st);
}

static bool is_whiteout(struct bk_view *v, struct bk_view_dir *d, size_t i, const char *name,
                        const struct stat *st) {
  if (v->flags & BK_VIEW_PLAIN) return false;
  return bk_is_whiteout(st) || xattr_whiteout(v, d, i, name, st);
}

/* lstat of d/name in member i: 1, 0 absent, -1 error. */
static int member_stat(struct bk_view *v, struct bk_view_dir *d, size_t i, const char *name,
                       struct stat *st, struct bk_err *err) {
  const struct layer *l = &v->layers[d->members[i].layer];
  if (bk_fstatat(l->fd, rel(v, d, name), st, AT_SYMLINK_NOFOLLOW) == 0) return 1;
  if (errno == ENOENT || errno == ENOTDIR) return 0;
  return bk_fail_errno(err, errno, "stat '%s/%s'", l->path, rel(v, d, name));
}

/* The merged directory d/name whose topmost member is d's member i with lstat st. */
static struct bk_view_dir *merge_dir(struct bk_view *v, struct bk_view_dir *d, size_t i,
                                     const char *name, const struct stat *st, struct bk_err *err) {
  const char *path = rel(v, d, name);
  size_t len = v->scratch.len;
  struct bk_view_dir *sub = bk_map_get(&v->dirs, path, len);
  if (sub) return sub;
  sub = bk_arena_alloc(&v->arena, sizeof *sub);
  sub->parent = d;
  sub->path = bk_arena_strndup(&v->arena, path, len);
  sub->st = *st;
  sub->members = bk_arena_alloc(&v->arena, (d->n - i) * sizeof *sub->members);
  sub->members[sub->n++] = (struct member){.layer = d->members[i].layer, .opaque = '?'};
  while (++i < d->n) {
    struct stat low;
    int rc = member_stat(v, d, i, name, &low, err);
    if (rc < 0) return NULL;
    if (rc == 0) continue;
    if (!S_ISDIR(low.st_mode)) break; /* a whiteout or another type hides what is below it */
    if (member_opaque(v, sub, sub->n - 1) == 'y') break;
    sub->members[sub->n++] = (struct member){.layer = d->members[i].layer, .opaque = '?'};
  }
  bk_map_set(&v->dirs, sub->path, len, sub);
  return sub;
}

int bk_view_child(struct bk_view *v, struct bk_view_dir *d, const char *name,
                  struct bk_view_ent *out, struct bk_err *err) {
  if (!*name || strchr(name, '/')) return 0;
  if (strlen(name) > 255) return 0;
  const char *path = rel(v, d, name);
  struct bk_view_dir *sub = bk_map_get(&v->dirs, path, v->scratch.len);
  if (sub) {
    dir_ent(sub, out);
    return 1;
  }
  for (size_t i = 0; i < d->n; i++) {
    int rc = member_stat(v, d, i, name, &out->st, err);
    if (rc < 0) return -1;
    if (rc == 0) continue;
    if (is_whiteout(v, d, i, name, &out->st)) return 0;
    out->layer = d->members[i].layer;
    out->dir = NULL;
    if (!S_ISDIR(out->st.st_mode)) return 1;
    out->dir = merge_dir(v, d, i, name, &out->st, err);
    return out->dir ? 1 : -1;
  }
  return 0;
}

/* --- paths ----------------------------------------------------------------------------------- */

/* The directory with this canonical path (no symlinks): 1, 0 absent or no directory, -1 error. */
static int dir_at(struct bk_view *v, const char *path, size_t len, struct bk_view_dir **out,
                  struct bk_err *err) {
  if ((*out = bk_map_get(&v->dirs, path, len))) return 1;
  struct bk_view_dir *d = v->root;
  for (size_t at = 0; at < len;) {
    const char *slash = memchr(path + at, '/', len - at);
    size_t n = slash ? (size_t)(slash - path) - at : len - at;
    char name[256];
    if (n > 255) return 0;
    memcpy(name, path + at, n);
    name[n] = '\0';
    struct bk_view_ent ent;
    int rc = n ? bk_view_child(v, d, name, &ent, err) : 1;
    if (rc <= 0) return rc;
    if (n && !ent.dir) return 0;
    if (n) d = ent.dir;
    at += n + 1;
  }
  *out = d;
  return 1;
}

static void canon_pop(struct bk_buf *canon) {
  while (canon->len && canon->p[canon->len - 1] != '/') canon->len--;
  if (canon->len) canon->len--;
  if (canon->p) canon->p[canon->len] = '\0';
}

static void canon_push(struct bk_buf *canon, const char *name, size_t n) {
  if (canon->len) bk_buf_addc(canon, '/');
  bk_buf_add(canon, name, n);
}

/* State of one resolution: `todo` is what is left of the path, consumed from `at`. */
struct walk {
  struct bk_view *v;
  const char *path; /* all of it, for messages */
  struct bk_buf *canon;
  struct bk_buf todo;
  size_t at;
  struct bk_view_dir *cur; /* directory named by canon; NULL when there is none */
  int links;
};

/* Replaces the symlink just met by its target. */
static int follow(struct walk *w, const char *name, const struct bk_view_ent *ent,
                  struct bk_err *err) {
  if (++w->links > MAX_SYMLINKS)
    return bk_fail_errno(err, ELOOP, "resolve '%.1000s'", w->path);
  cleanup_buf struct bk_buf next = {0};
  if (bk_view_readlink(w->v, w->cur, name, ent, &next, err)) return -1;
  if (next.len && next.p[0] == '/') {
    bk_buf_reset(w->canon);
    w->cur = w->v->root;
  }
  bk_buf_addc(&next, '/');
  bk_buf_add(&next, w->todo.p + w->at, w->todo.len - w->at);
  struct bk_buf old = w->todo;
  w->todo = next;
  next = old;
  w->at = 0;
  return 0;
}

/* One component; *found tells whether canon exists afterwards. */
static int step(struct walk *w, const char *name, size_t n, bool last, unsigned flags,
                struct bk_view_ent *ent, int *found, struct bk_err *err) {
  if (n == 2 && name[0] == '.' && name[1] == '.') {
    canon_pop(w->canon);
    *found = dir_at(w->v, bk_buf_str(w->canon), w->canon->len, &w->cur, err);
    if (*found == 1) dir_ent(w->cur, ent);
    else w->cur = NULL;
    return *found < 0 ? -1 : 0;
  }
  *found = w->cur ? bk_view_child(w->v, w->cur, name, ent, err) : 0;
  if (*found < 0) return -1;
  if (*found && S_ISLNK(ent->st.st_mode) && (!last || (flags & BK_VIEW_FOLLOW))) {
    if (follow(w, name, ent, err)) return -1;
    if (w->cur) dir_ent(w->cur, ent);
    return 0;
  }
  canon_push(w->canon, name, n);
  w->cur = *found ? ent->dir : NULL;
  return 0;
}

int bk_view_find(struct bk_view *v, const char *path, unsigned flags, struct bk_buf *canon,
                 struct bk_view_ent *out, struct bk_err *err) {
  cleanup_buf struct bk_buf own = {0};
  struct walk w = {.v = v, .path = path, .canon = canon ? canon : &own, .cur = v->root};
  bk_buf_reset(w.canon);
  bk_buf_adds(&w.todo, path);
  bk_buf_str(&w.todo);
  dir_ent(v->root, out);
  int found = 1, rc = 0;
  while (rc == 0 && w.at < w.todo.len) {
    const char *s = w.todo.p + w.at;
    size_t n = strcspn(s, "/");
    w.at += n + (s[n] == '/');
    if (n == 0 || (n == 1 && s[0] == '.')) continue;
    bool last = s[n] == '\0';
    char name[256];
    if (n > 255) {
      rc = bk_fail_errno(err, ENAMETOOLONG, "resolve '%.60s…'", path);
      break;
    }
    memcpy(name, s, n);
    name[n] = '\0';
    rc = step(&w, name, n, last, flags, out, &found, err);
  }
  bk_buf_str(w.canon);
  bk_buf_free(&w.todo);
  return rc ? -1 : found;
}

int bk_view_parent(struct bk_view *v, const char *canon, struct bk_view_dir **dir,
                   const char **base, struct bk_err *err) {
  while (*canon == '/') canon++;
  if (!*canon) return 0;
  const char *slash = strrchr(canon, '/');
  *base = slash ? slash + 1 : canon;
  return dir_at(v, canon, slash ? (size_t)(slash - canon) : 0, dir, err);
}

/* --- contents -------------------------------------------------------------------------------- */

int bk_view_openat(struct bk_view *v, struct bk_view_dir *d, const char *name,
                   const struct bk_view_ent *ent, int flags) {
  if (ent->layer < 0) {
    errno = ENOENT;
    return -1;
  }
  return openat(v->layers[ent->layer].fd, rel(v, d, name),
                flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int bk_view_readlink(struct bk_view *v, struct bk_view_dir *d, const char *name,
                     const struct bk_view_ent *ent, struct bk_buf *out, struct bk_err *err) {
  char target[4096];
  ssize_t n = bk_readlinkat(v->layers[ent->layer].fd, rel(v, d, name), target, sizeof target);
  if (n < 0) return bk_fail_errno(err, errno, "read link '%s'", rel(v, d, name));
  bk_buf_add(out, target, (size_t)n);
  return 0;
}

int bk_view_read(struct bk_view *v, const char *path, size_t max, struct bk_buf *out,
                 struct bk_err *err) {
  cleanup_buf struct bk_buf canon = {0};
  struct bk_view_ent ent;
  struct bk_view_dir *dir;
  const char *base;
  int rc = bk_view_find(v, path, BK_VIEW_FOLLOW, &canon, &ent, err);
  if (rc <= 0) return rc;
  if (!S_ISREG(ent.st.st_mode))
    return bk_fail(err, BK_BUILD, "fs.not_a_file", "read '%s': not a regular file", path);
  if (ent.st.st_size > (off_t)max)
    return bk_fail(err, BK_BUILD, "fs.too_large", "read '%s': larger than %zu bytes", path, max);
  rc = bk_view_parent(v, canon.p, &dir, &base, err);
  if (rc <= 0) return rc;
  cleanup_close int fd = bk_view_openat(v, dir, base, &ent, O_RDONLY);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", path);
  char *p = bk_buf_reserve(out, (size_t)ent.st.st_size);
  if (!p) return bk_fail(err, BK_BUILD, "fs.too_large", "read '%s': file too large", path);
  ssize_t n = bk_read_full(fd, p, (size_t)ent.st.st_size);
  if (n < 0) return bk_fail_errno(err, errno, "read '%s'", path);
  out->len += (size_t)n;
  out->p[out->len] = '\0';
  return 1;
}

/* --- merged readdir -------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct bk_view_item *)a)->name, ((const struct bk_view_item *)b)->name);
}

struct reader {
  struct bk_view *v;
  struct bk_view_dir *d;
  struct bk_view_list *list;
  size_t cap;
  struct bk_map seen; /* names met in higher layers, whiteouts included */
};

static int read_entry(struct reader *r, size_t i, int fd, const char *name, struct bk_err *err) {
  size_t len = strlen(name);
  if (r->d->n > 1) {
    if (bk_map_has(&r->seen, name, len)) return 0;
    bk_map_set(&r->seen, name, len, r);
  }
  struct bk_view_ent ent = {.layer = r->d->members[i].layer};
  if (bk_fstatat(fd, name, &ent.st, AT_SYMLINK_NOFOLLOW)) {
    if (errno == ENOENT) return 0;
    return bk_fail_errno(err, errno, "stat '%s'", rel(r->v, r->d, name));
  }
  if (is_whiteout(r->v, r->d, i, name, &ent.st)) return 0;
  if (S_ISDIR(ent.st.st_mode)) {
    ent.dir = merge_dir(r->v, r->d, i, name, &ent.st, err);
    if (!ent.dir) return -1;
  }
  struct bk_view_list *l = r->list;
  if (l->n == r->cap) {
    r->cap = r->cap ? r->cap * 2 : 16;
    l->items = bk_reallocarray(l->items, r->cap, sizeof *l->items);
  }
  l->items[l->n++] = (struct bk_view_item){.name = bk_arena_strndup(&l->names, name, len),
                                           .ent = ent};
  return 0;
}

static int read_member(struct reader *r, size_t i, struct bk_err *err) {
  const struct layer *l = &r->v->layers[r->d->members[i].layer];
  const char *path = rel(r->v, r->d, "");
  int fd = openat(l->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  cleanup_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (!dir) {
    int e = errno;
    if (fd >= 0) close(fd);
    return bk_fail_errno(err, e, "read directory '%s/%s'", l->path, path);
  }
  for (;;) {
    errno = 0;
    struct dirent *e = readdir(dir);
    if (!e && errno) return bk_fail_errno(err, errno, "read directory '%s/%s'", l->path, path);
    if (!e) return 0;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (bk_limits_entry(&r->v->limits, ++r->v->entries, "what is copied", err)) return -1;
    if (read_entry(r, i, fd, e->d_name, err)) return -1;
  }
}

int bk_view_readdir(struct bk_view *v, struct bk_view_dir *d, struct bk_view_list *out,
                    struct bk_err *err) {
  struct reader r = {.v = v, .d = d, .list = out};
  *out = (struct bk_view_list){0};
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < d->n; i++) rc = read_member(&r, i, err);
  bk_map_free(&r.seen);
  if (rc) {
    bk_view_list_free(out);
    return -1;
  }
  if (out->n) qsort(out->items, out->n, sizeof *out->items, by_name);
  return 0;
}

void bk_view_list_free(struct bk_view_list *list) {
  free(list->items);
  bk_arena_free(&list->names);
  *list = (struct bk_view_list){0};
}
