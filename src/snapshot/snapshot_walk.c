#include "snapshot/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "base/mem.h"
#include "snapshot/glob.h"

/* --- opening --------------------------------------------------------------------------------- */

int bk_open_below(int layer_fd, const char *dir, const char *name, int flags) {
  char path[4096];
  struct open_how how = {
      .flags = (uint64_t)(flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC),
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  };
  int n = snprintf(path, sizeof path, "%s%s%s", dir, *dir && *name ? "/" : "", name);
  if (n < 0 || (size_t)n >= sizeof path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int fd;
  do fd = (int)syscall(SYS_openat2, layer_fd, *path ? path : ".", &how, sizeof how);
  while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return fd;
}

int bk_found_open(const struct bk_selection *sel, const struct bk_found *f, int flags) {
  if (f->ent->layer < 0) {
    errno = ENOENT;
    return -1;
  }
  const char *dir = f->dir ? bk_view_dir_path(f->dir) : "";
  return bk_open_below(bk_view_layer_fd(sel->view, f->ent->layer), dir, f->dir ? f->name : "",
                       flags);
}

/* --- roots ----------------------------------------------------------------------------------- */

void bk_roots_free(struct bk_roots *roots) {
  for (size_t i = 0; i < roots->n; i++) {
    free(roots->v[i].source);
    free(roots->v[i].name);
    free(roots->v[i].path);
  }
  free(roots->v);
  *roots = (struct bk_roots){0};
}

static void add_root(struct bk_roots *out, const struct bk_root *r) {
  if ((out->n & (out->n + 1)) == 0)
    out->v = bk_reallocarray(out->v, 2 * out->n + 2, sizeof *out->v);
  out->v[out->n++] = *r;
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static int not_found(const struct bk_selection *sel, const char *source, int rule,
                     struct bk_err *err) {
  if (rule < 0)
    return bk_fail(err, BK_BUILD, "snapshot.not_found", "'%s' does not exist in %s", source,
                   sel->place);
  return bk_fail(err, BK_BUILD, "snapshot.not_found",
                 "'%s' is hidden from %s by the ignore rule '%s'", source, sel->place,
                 bk_ignore_line(sel->ignore, rule));
}

/* Whether a symlink on the way along `path` is hidden: what it leads to cannot be named by it. */
static int link_hidden(const struct bk_selection *sel, const char *path, int *rule,
                       struct bk_err *err) {
  cleanup_buf struct bk_buf at = {0};
  for (size_t n = 0; path[n];) {
    n += strcspn(path + n + (n > 0), "/") + (n > 0);
    cleanup_free char *part = bk_strndup(path, n);
    struct bk_view_ent ent;
    int rc = bk_view_find(sel->view, part, 0, &at, &ent, err);
    if (rc <= 0) return rc;
    if (S_ISLNK(ent.st.st_mode) && bk_ignore_path(sel->ignore, at.p, NULL, rule)) return 1;
  }
  return 0;
}

/* Resolves `path` (clean, no leading slash) and adds it. 1, 0 when it is not there, -1. */
static int add_path(const struct bk_selection *sel, const char *source, const char *path,
                    bool wildcard, struct bk_roots *out, struct bk_err *err) {
  cleanup_buf struct bk_buf canon = {0};
  struct bk_root r = {.wildcard = wildcard, .hidden_by = -1};
  const char *base;
  int rule, rc = bk_view_find(sel->view, path, BK_VIEW_FOLLOW, &canon, &r.ent, err);
  if (rc <= 0) return rc;
  if (canon.len) {
    rc = bk_view_parent(sel->view, canon.p, &r.dir, &base, err);
    if (rc <= 0) return rc;
  }
  bool through = false;
  if (bk_ignore_count(sel->ignore) && strcmp(canon.p, path) != 0) {
    rc = link_hidden(sel, path, &rule, err);
    if (rc < 0) return -1;
    through = rc;
  }
  bool hidden = through || bk_ignore_path(sel->ignore, canon.p, NULL, &rule);
  bool open = !through && r.ent.dir && bk_ignore_may_include(sel->ignore, canon.p, canon.len);
  if (hidden && !open) return wildcard ? 0 : not_found(sel, source, rule, err);
  if (hidden) r.hidden_by = rule;
  r.source = bk_strdup(source);
  r.name = bk_strdup(base_name(path));
  r.path = bk_buf_steal(&canon);
  add_root(out, &r);
  return 1;
}

/* One level of a wildcard: `pattern` is a row of components, `prefix` the path of d as named so far
 * (symlinks followed only before the first wildcard). */
struct expand {
  const struct bk_selection *sel;
  const char *source;
  struct bk_glob **globs; /* one per component; NULL ends */
  struct bk_roots *out;
};

/* Adds what the last component of a wildcard matches. A link that leads to nothing is an error, so
 * that nothing gets lost unseen; one that is hidden itself or excluded is not meant. */
static int add_match(const struct expand *x, const struct bk_view_item *item, const char *path,
                     struct bk_err *err) {
  if (bk_ignore_path(x->sel->excludes, item->name, NULL, NULL)) return 0;
  bool link = S_ISLNK(item->ent.st.st_mode);
  if (link && bk_ignore_path(x->sel->ignore, path, NULL, NULL)) return 0;
  int rc = add_path(x->sel, x->source, path, true, x->out, err);
  if (rc || !link) return rc;
  return bk_fail(err, BK_BUILD, "snapshot.not_found", "'%s' leads to nothing in %s", path,
                 x->sel->place);
}

static int expand(const struct expand *x, size_t level, struct bk_view_dir *d, const char *prefix,
                  struct bk_err *err) {
  cleanup_view_list struct bk_view_list list = {0};
  if (bk_view_readdir(x->sel->view, d, &list, err)) return -1;
  for (size_t i = 0; i < list.n; i++) {
    const struct bk_view_item *item = &list.items[i];
    if (!bk_glob_match(x->globs[level], item->name, strlen(item->name))) continue;
    cleanup_free char *path = bk_asprintf("%s%s%s", prefix, *prefix ? "/" : "", item->name);
    int rc = 0;
    if (!x->globs[level + 1]) {
      rc = add_match(x, item, path, err);
    } else if (item->ent.dir) {
      rc = expand(x, level + 1, item->ent.dir, path, err);
    }
    if (rc < 0) return -1;
  }
  return 0;
}

/* The directory before the first wildcard: its listing may be empty, but it must be there. 1, 0 when
 * it is none, -1. */
static int find_head(const struct bk_selection *sel, const char *head, struct bk_buf *canon,
                     struct bk_view_ent *ent, struct bk_err *err) {
  int rule = -1, rc = bk_view_find(sel->view, head, BK_VIEW_FOLLOW, canon, ent, err);
  if (rc < 0) return -1;
  if (rc && (!bk_ignore_path(sel->ignore, bk_buf_str(canon), NULL, &rule) ||
             bk_ignore_may_include(sel->ignore, canon->p, canon->len)))
    return ent->dir != NULL;
  return not_found(sel, head, rule, err);
}

/* Splits "a/b*c/d" before the first component with a wildcard and compiles the rest. A malformed
 * pattern matches nothing (containerfile.md 10.2), even where its bad part is never reached. */
static int wildcard(const struct bk_selection *sel, const char *source, const char *path,
                    struct bk_roots *out, struct bk_err *err) {
  size_t split = 0, count = 1, n = 0;
  for (;;) {
    size_t len = strcspn(path + split, "/");
    cleanup_free char *part = bk_strndup(path + split, len);
    if (bk_glob_has_magic(part)) break;
    split += len + 1;
  }
  for (const char *p = path + split; *p; p++) count += *p == '/';
  struct bk_glob **globs = bk_calloc(count + 1, sizeof *globs);
  bool bad = false;
  for (const char *p = path + split; n < count && !bad; n++) {
    size_t len = strcspn(p, "/");
    struct bk_err syntax;
    globs[n] = bk_glob_compile(p, len, BK_GLOB_PATH, &syntax);
    bad = !globs[n];
    p += len + 1;
  }
  cleanup_free char *head = bk_strndup(path, split ? split - 1 : 0);
  struct bk_view_ent ent;
  struct bk_buf canon = {0};
  int rc = find_head(sel, head, &canon, &ent, err);
  if (rc == 1 && !bad) {
    struct expand x = {sel, source, globs, out};
    rc = expand(&x, 0, ent.dir, bk_buf_str(&canon), err);
  }
  bk_buf_free(&canon);
  for (size_t i = 0; i < count; i++) bk_glob_free(globs[i]);
  free(globs);
  return rc < 0 ? -1 : 0;
}

int bk_select(const struct bk_selection *sel, const char *const *sources, size_t n,
              struct bk_roots *out, struct bk_err *err) {
  *out = (struct bk_roots){0};
  int rc = 0;
  for (size_t i = 0; i < n && rc >= 0; i++) {
    cleanup_free char *path = bk_asprintf("/%s", sources[i]);
    bk_path_clean(path);
    if (bk_glob_has_magic(path)) {
      rc = wildcard(sel, sources[i], path + 1, out, err);
    } else {
      rc = add_path(sel, sources[i], path + 1, false, out, err);
      if (rc == 0) rc = not_found(sel, sources[i], -1, err);
    }
  }
  if (rc >= 0) return 0;
  bk_roots_free(out);
  return -1;
}

/* --- walking --------------------------------------------------------------------------------- */

/* A directory on the way down. */
struct level {
  struct level *up;
  struct bk_found found;
  size_t rel_len; /* found.rel is this much of walk.rel, set when it is visited */
  bool visited;
  uint64_t *ignore, *exclude, *include; /* states */
};

struct walk {
  const struct bk_selection *sel;
  const struct bk_visitor *visitor;
  struct bk_buf rel; /* path below the root */
  struct bk_buf full; /* path below the view's root */
  bool any;
};

static int visit_level(struct walk *w, struct level *l, struct bk_err *err) {
  if (!l || l->visited) return 0;
  if (visit_level(w, l->up, err)) return -1;
  l->visited = true;
  w->any = true;
  cleanup_free char *rel = bk_strndup(bk_buf_str(&w->rel), l->rel_len);
  l->found.rel = rel;
  return w->visitor->visit(w->visitor->ud, &l->found, err);
}

/* Whether the current path is excluded by one of the matchers. *closed: nothing below it can be
 * included again. l (NULL for what is no directory) gets the states for what is below. */
static bool excluded(struct walk *w, const struct level *up, struct level *l, bool *closed) {
  const struct bk_selection *s = w->sel;
  const char *full = w->full.p, *rel = w->rel.p;
  size_t n = w->full.len, m = w->rel.len;
  bool a = bk_ignore_match(s->ignore, full, n, up->ignore, l ? l->ignore : NULL, NULL);
  bool b = bk_ignore_match(s->excludes, rel, m, up->exclude, l ? l->exclude : NULL, NULL);
  bool c = bk_ignore_match(s->includes, rel, m, up->include, l ? l->include : NULL, NULL);
  if (closed)
    *closed = (a && !bk_ignore_may_include(s->ignore, full, n)) ||
              (b && !bk_ignore_may_include(s->excludes, rel, m)) ||
              (c && !bk_ignore_may_include(s->includes, rel, m));
  return a || b || c;
}

/* Room for the states of all matchers; the caller frees. */
static uint64_t *make_states(const struct bk_selection *s, struct level *l) {
  size_t a = bk_ignore_words(s->ignore), b = bk_ignore_words(s->excludes);
  uint64_t *states = bk_calloc(a + b + bk_ignore_words(s->includes) + 1, sizeof *states);
  l->ignore = states;
  l->exclude = states + a;
  l->include = states + a + b;
  return states;
}

static int walk_dir(struct walk *w, struct level *l, struct bk_err *err);

static int walk_item(struct walk *w, struct level *up, const struct bk_view_item *item,
                     struct bk_err *err) {
  struct level l = {.up = up, .rel_len = w->rel.len};
  l.found = (struct bk_found){w->rel.p, item->name, up->found.ent->dir, &item->ent};
  if (!item->ent.dir) {
    if (excluded(w, up, NULL, NULL)) return 0;
    if (visit_level(w, up, err)) return -1;
    w->any = true;
    return w->visitor->visit(w->visitor->ud, &l.found, err);
  }
  cleanup_free uint64_t *states = make_states(w->sel, &l);
  bool closed;
  if (!excluded(w, up, &l, &closed)) {
    if (visit_level(w, &l, err)) return -1;
  } else if (closed) {
    return 0;
  }
  return walk_dir(w, &l, err);
}

static int walk_dir(struct walk *w, struct level *l, struct bk_err *err) {
  cleanup_view_list struct bk_view_list list = {0};
  if (w->sel->cancel && atomic_load(w->sel->cancel))
    return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
  if (bk_view_readdir(w->sel->view, l->found.ent->dir, &list, err)) return -1;
  size_t rel = w->rel.len, full = w->full.len;
  int rc = 0;
  for (size_t i = 0; i < list.n && rc == 0; i++) {
    if (!l->up && w->visitor->parts > 1 && i * w->visitor->parts / list.n != w->visitor->part) continue;
    if (rel) bk_buf_addc(&w->rel, '/');
    bk_buf_adds(&w->rel, list.items[i].name);
    if (full) bk_buf_addc(&w->full, '/');
    bk_buf_adds(&w->full, list.items[i].name);
    rc = walk_item(w, l, &list.items[i], err);
    w->rel.p[w->rel.len = rel] = '\0';
    w->full.p[w->full.len = full] = '\0';
  }
  if (rc || !l->visited || !w->visitor->leave) return rc;
  l->found.rel = bk_buf_str(&w->rel);
  return w->visitor->leave(w->visitor->ud, &l->found, err);
}

int bk_walk(const struct bk_selection *sel, const struct bk_root *root,
            const struct bk_visitor *visitor, struct bk_err *err) {
  struct bk_found top = {"", root->path + (root->dir ? base_name(root->path) - root->path : 0),
                         root->dir, &root->ent};
  struct walk w = {.sel = sel, .visitor = visitor};
  int rc;
  if (!root->ent.dir) { /* --exclude sees a file by its name */
    if (bk_ignore_path(sel->excludes, root->name, NULL, NULL)) return 0;
    return visitor->visit(visitor->ud, &top, err);
  }
  struct level l = {.found = top};
  uint64_t *states = make_states(sel, &l);
  if (bk_ignore_count(sel->ignore)) bk_ignore_path(sel->ignore, root->path, l.ignore, NULL);
  bk_buf_str(&w.rel);
  bk_buf_adds(&w.full, root->path);
  rc = root->hidden_by < 0 ? visit_level(&w, &l, err) : 0;
  if (rc == 0) rc = walk_dir(&w, &l, err);
  if (rc == 0 && !w.any && !root->wildcard)
    rc = not_found(sel, root->source, root->hidden_by, err);
  free(states);
  bk_buf_free(&w.rel);
  bk_buf_free(&w.full);
  return rc;
}
