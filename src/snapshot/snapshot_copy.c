#include "snapshot/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "archive/unpack.h"
#include "base/fs.h"
#include "base/mem.h"
#include "snapshot/copy_file.h"

/* --- where things go ------------------------------------------------------------------------- */

/* The directory that a tree is copied into, level by level. */
struct frame {
  char *path;
  struct bk_view_dir *low;
  bool fresh;
};

struct tree {
  struct bk_copy *c;
  const struct bk_selection *sel;
  const struct bk_root *root;
  bool keep;
  struct frame *stack;
  size_t n, cap;
};

static void push(struct tree *t, char *path, struct bk_view_dir *low, bool fresh) {
  if (t->n == t->cap)
    t->stack = bk_reallocarray(t->stack, t->cap = t->cap ? 2 * t->cap : 16, sizeof *t->stack);
  t->stack[t->n++] = (struct frame){path, low, fresh};
}

static void tree_free(struct tree *t) {
  while (t->n) free(t->stack[--t->n].path);
  free(t->stack);
}

static bool wants_dir(const char *dest) {
  size_t n = strlen(dest);
  return n == 0 || dest[n - 1] == '/' || strcmp(dest, ".") == 0 ||
         (n >= 2 && strcmp(dest + n - 2, "/.") == 0);
}

/* Resolves the destination as a directory and makes it; fresh ones look like missing parents. */
static int dest_as_dir(struct bk_copy *c, struct bk_buf *canon, struct bk_view_dir **low,
                       bool *fresh, struct bk_err *err) {
  struct bk_dest_node node;
  if (bk_dest_resolve(c->dest, c->opts->dest, canon, &node, err)) return -1;
  *fresh = !node.exists;
  return bk_dest_dir(c->dest, canon->p, low, err);
}

/* The place of one object called `name`: destination/name, or the destination itself. */
struct place {
  struct bk_buf path, parent;
  struct bk_target target;
};

static int find_place(struct bk_copy *c, const char *name, struct place *p, struct bk_err *err) {
  struct bk_dest_node node;
  const char *dest = c->opts->dest;
  if (bk_dest_resolve(c->dest, dest, &p->path, &node, err)) return -1;
  bool is_dir = wants_dir(dest) || (node.exists && S_ISDIR(node.st.st_mode));
  if (is_dir) {
    if (p->path.len) bk_buf_addc(&p->path, '/');
    bk_buf_adds(&p->path, name);
  }
  const char *slash = strrchr(p->path.p, '/');
  bk_buf_add(&p->parent, p->path.p, slash ? (size_t)(slash - p->path.p) : 0);
  if (bk_dest_dir(c->dest, bk_buf_str(&p->parent), &p->target.low, err)) return -1;
  p->target.path = p->path.p;
  p->target.parent = p->parent.p;
  p->target.name = slash ? slash + 1 : p->path.p;
  return 0;
}

static void place_free(struct place *p) {
  bk_buf_free(&p->path);
  bk_buf_free(&p->parent);
}

/* --- one source ------------------------------------------------------------------------------ */

/* The destination of a directory takes its time, or the epoch (containerfile.md 10.3). */
static void top_time(struct tree *t, const char *path) {
  struct bk_dest *d = t->c->dest;
  struct timespec time = t->root->ent.st.st_mtim;
  if (t->keep) return;
  bk_dest_set_time(d, path, d->epoch ? (struct timespec){.tv_sec = *d->epoch} : time);
}

static int visit_top(struct tree *t, const struct bk_found *f, struct bk_err *err) {
  struct bk_object object = {t->sel, f, t->keep};
  if (f->ent->dir) {
    struct bk_buf canon = {0};
    struct bk_view_dir *low;
    bool fresh;
    int rc = dest_as_dir(t->c, &canon, &low, &fresh, err);
    if (rc == 0) {
      top_time(t, canon.p);
      push(t, bk_buf_steal(&canon), low, fresh);
    }
    bk_buf_free(&canon);
    return rc;
  }
  struct place p = {0};
  int rc = find_place(t->c, t->root->name, &p, err);
  if (rc == 0) rc = bk_copy_put(t->c, &p.target, &object, err);
  place_free(&p);
  return rc;
}

/* An unlisted directory of an archive goes where a symlink of the destination leads. */
static int follow_implied(struct tree *t, const struct bk_found *f, struct frame *up, char **path,
                          struct bk_err *err) {
  struct bk_dest_node node;
  const struct stat *st = &f->ent->st;
  if (!t->keep || st->st_mtim.tv_sec || st->st_mtim.tv_nsec || (st->st_mode & 07777) != 0755)
    return 0;
  if (bk_dest_look(t->c->dest, up->path, up->low, f->name, &node, err)) return -1;
  if (!node.exists || !S_ISLNK(node.st.st_mode)) return 0;
  struct bk_buf canon = {0};
  int rc = bk_dest_resolve(t->c->dest, *path, &canon, &node, err);
  bool dir = rc == 0 && node.exists && S_ISDIR(node.st.st_mode);
  if (dir) {
    free(*path);
    *path = bk_buf_steal(&canon);
  }
  bk_buf_free(&canon);
  return rc ? -1 : dir;
}

static int visit(void *ud, const struct bk_found *f, struct bk_err *err) {
  struct tree *t = ud;
  struct bk_object object = {t->sel, f, t->keep};
  struct bk_view_dir *low;
  const atomic_bool *cancel = t->c->opts->from.cancel;
  if (cancel && atomic_load(cancel)) return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
  if (!*f->rel) return visit_top(t, f, err);
  struct frame *up = &t->stack[t->n - 1];
  char *path = bk_asprintf("%s%s%s", up->path, *up->path ? "/" : "", f->name);
  struct bk_target target = {path, up->path, f->name, up->low, up->fresh};
  bool fresh = false;
  int rc;
  if (!f->ent->dir) {
    rc = bk_copy_put(t->c, &target, &object, err);
    free(path);
    return rc;
  }
  rc = follow_implied(t, f, up, &path, err);
  target.path = path;
  if (rc == 1) rc = bk_dest_dir(t->c->dest, path, &low, err);
  else if (rc == 0) rc = bk_copy_put_dir(t->c, &target, &object, &low, &fresh, err);
  if (rc == 0) push(t, path, low, fresh);
  else free(path);
  return rc;
}

static int leave(void *ud, const struct bk_found *f, struct bk_err *err) {
  struct tree *t = ud;
  (void)f, (void)err;
  free(t->stack[--t->n].path);
  return 0;
}

static int copy_tree(struct bk_copy *c, const struct bk_selection *sel, const struct bk_root *root,
                     bool keep, struct bk_err *err) {
  struct tree t = {.c = c, .sel = sel, .root = root, .keep = keep};
  struct bk_visitor visitor = {.visit = visit, .leave = leave, .ud = &t};
  int rc = bk_walk(sel, root, &visitor, err);
  tree_free(&t);
  bk_map_each(e, &c->links) free(e->value);
  bk_map_free(&c->links);
  return rc;
}

/* --- archives -------------------------------------------------------------------------------- */

static int merge_unpacked(struct bk_copy *c, const char *dir, struct bk_err *err) {
  cleanup_view struct bk_view *view = NULL;
  const char *const layers[] = {dir}, *const all[] = {"/"};
  struct bk_roots roots;
  if (bk_view_open(layers, 1, BK_VIEW_PLAIN, &view, err)) return -1;
  struct bk_selection sel = {.view = view, .place = "the archive", .cancel = c->opts->from.cancel};
  if (bk_select(&sel, all, 1, &roots, err)) return -1;
  int rc = copy_tree(c, &sel, &roots.v[0], true, err);
  bk_roots_free(&roots);
  return rc;
}

static int unpack(struct bk_copy *c, const char *file, const char *name, struct bk_err *err) {
  struct bk_buf canon = {0};
  struct bk_view_dir *low;
  struct bk_unpack_result result;
  struct bk_err ignored;
  bool fresh;
  int rc = dest_as_dir(c, &canon, &low, &fresh, err);
  bk_buf_free(&canon);
  if (rc) return -1;
  size_t len = strlen(c->opts->upper);
  while (len && c->opts->upper[len - 1] == '/') len--;
  cleanup_free char *dir = bk_asprintf("%.*s.add", (int)len, c->opts->upper);
  struct bk_unpack_opts o = {.file = file,
                             .name = name,
                             .dir = dir,
                             .owner = -1,
                             .rootless = c->opts->rootless,
                             .limits = c->opts->limits,
                             .cancel = c->opts->from.cancel};
  (void)!bk_rmtree(AT_FDCWD, dir, &ignored);
  rc = bk_archive_unpack(&o, &result, err);
  if (rc == 0) rc = merge_unpacked(c, dir, err);
  (void)!bk_rmtree(AT_FDCWD, dir, &ignored);
  return rc;
}

/* ADD of an archive: 1 done, 0 it is none, -1. */
static int try_unpack(struct bk_copy *c, const struct bk_root *root, struct bk_err *err) {
  const char *slash = strrchr(root->path, '/'), *kind = NULL;
  struct bk_found f = {"", slash ? slash + 1 : root->path, root->dir, &root->ent};
  if (!c->opts->unpack || !S_ISREG(root->ent.st.st_mode)) return 0;
  cleanup_close int fd = bk_found_open(&c->opts->from, &f, O_RDONLY);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", root->source);
  char file[4200]; /* what was opened, whatever happens to the path meanwhile */
  snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
  if (access(file, F_OK)) /* no /proc */
    snprintf(file, sizeof file, "%s/%s", bk_view_layer_path(c->opts->from.view, root->ent.layer), root->path);
  if (bk_archive_sniff(file, &kind, err)) return -1;
  if (!kind) return 0;
  mode_t mode = c->dest->new_mode;
  c->dest->new_mode = 0755; /* --chmod is not for archives, nor for what is made for them */
  int rc = unpack(c, file, root->source, err) ? -1 : 1;
  c->dest->new_mode = mode;
  return rc;
}

/* --- the whole ------------------------------------------------------------------------------- */

static int put_inline(struct bk_copy *c, const struct bk_copy_inline *file, struct bk_err *err) {
  struct place p = {0};
  int rc = find_place(c, file->name, &p, err);
  if (rc == 0) rc = bk_copy_put_inline(c, &p.target, file, err);
  place_free(&p);
  return rc;
}

static int copy_all(struct bk_copy *c, const struct bk_roots *roots, struct bk_err *err) {
  for (size_t i = 0; i < roots->n; i++) {
    const struct bk_root *root = &roots->v[i];
    int rc = try_unpack(c, root, err);
    if (rc == 0) rc = copy_tree(c, &c->opts->from, root, false, err);
    if (rc < 0) return -1;
  }
  for (size_t i = 0; i < c->opts->n_inlines; i++)
    if (put_inline(c, &c->opts->inlines[i], err)) return -1;
  return bk_dest_finish(c->dest, err);
}

/* --chown and --chmod, which also decide what new directories get. */
static int prepare(struct bk_copy *c, struct bk_err *err) {
  const struct bk_copy_opts *o = c->opts;
  struct bk_dest *d = c->dest;
  if (o->chmod) {
    if (bk_mode_parse(o->chmod, &c->change, err)) return -1;
    c->has_mode = true;
  }
  if (o->chown && *o->chown) {
    cleanup_view struct bk_view *users = NULL;
    const char *unknown;
    if (bk_view_open(o->chain.lowers, o->chain.n, 0, &users, err)) return -1;
    if (bk_snapshot_chown_ids(users, o->chown, &c->uid, &c->gid, &unknown, err)) return -1;
    c->has_ids = true;
  }
  struct bk_chain empty = {NULL, 0};
  if (bk_dest_open(d, o->upper, o->link ? empty : o->chain, err)) return -1;
  d->epoch = o->epoch;
  d->new_mode = c->has_mode && c->change.octal ? c->change.mode : 0755;
  d->new_uid = c->has_ids ? c->uid : 0;
  d->new_gid = c->has_ids ? c->gid : 0;
  d->new_time = (struct timespec){.tv_sec = o->epoch ? *o->epoch : o->now};
  return 0;
}

int bk_snapshot_copy(const struct bk_copy_opts *opts, struct bk_copy_result *out,
                     struct bk_err *err) {
  struct bk_dest dest = {.fd = -1};
  cleanup_close int reuse =
      opts->reuse ? open(opts->reuse, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  struct bk_copy c = {.opts = opts, .dest = &dest, .reuse = reuse};
  struct bk_roots roots = {0};
  int rc = bk_select(&opts->from, opts->sources, opts->n, &roots, err);
  if (rc == 0) rc = prepare(&c, err);
  if (rc == 0) rc = copy_all(&c, &roots, err);
  out->entries = dest.entries;
  bk_map_free(&c.reused);
  bk_roots_free(&roots);
  bk_dest_close(&dest);
  return rc;
}
