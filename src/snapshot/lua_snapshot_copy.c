/* scan, copy, ignore, glob_match: arguments are copied, the work runs on a worker thread. */
#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "luakit/async.h"
#include "snapshot/copy.h"
#include "snapshot/glob.h"
#include "snapshot/lua_snapshot.h"
#include "snapshot/scan.h"

#define IGNORE "bakery.snapshot.ignore"

/* NULL-terminated copies; n = their number. */
struct strings {
  char **v;
  size_t n;
};

struct copy_job {
  struct bk_job job;
  struct strings layers; /* of the source */
  bool context;          /* one plain directory instead of layers */
  struct bk_ignore *ignore, *excludes, *includes;
  struct strings sources;
  char *cache;
  /* scan */
  struct bk_scan_result scanned;
  /* copy */
  struct strings lowers;
  char *dest, *upper, *chown, *chmod, *expect, *reuse;
  struct bk_copy_inline *inlines;
  size_t n_inlines;
  bool link, preserve, unpack, rootless, has_epoch, stamp;
  int64_t epoch, now;
  struct bk_limits limits;
  struct bk_copy_result copied;
};

static void strings_free(struct strings *s) {
  for (size_t i = 0; i < s->n; i++) free(s->v[i]);
  free(s->v);
}

static void release(struct bk_job *job) {
  struct copy_job *j = (struct copy_job *)job;
  strings_free(&j->layers);
  strings_free(&j->sources);
  strings_free(&j->lowers);
  bk_ignore_free(j->ignore);
  bk_ignore_free(j->excludes);
  bk_ignore_free(j->includes);
  bk_roots_free(&j->scanned.roots);
  for (size_t i = 0; i < j->n_inlines; i++) {
    free((char *)j->inlines[i].name);
    free((char *)j->inlines[i].data);
  }
  free(j->inlines);
  free(j->cache);
  free(j->dest);
  free(j->upper);
  free(j->chown);
  free(j->chmod);
  free(j->expect);
  free(j->reuse);
}

/* --- arguments ------------------------------------------------------------------------------- */

static char *copy_str(lua_State *L, int idx, const char *name) {
  const char *s = bk_opt_str(L, idx, name, NULL, NULL);
  return s ? bk_strdup(s) : NULL;
}

static bool copy_strv(lua_State *L, int idx, const char *name, struct strings *out) {
  const char **v;
  size_t n = bk_opt_strv(L, idx, name, &v);
  if (!v) return lua_pop(L, 1), false;
  out->v = bk_calloc(n + 1, sizeof *out->v);
  for (; out->n < n; out->n++) out->v[out->n] = bk_strdup(v[out->n]);
  lua_pop(L, 1);
  return true;
}

/* Patterns in option `name`; false with err when one is malformed. */
static bool copy_patterns(lua_State *L, const char *name, struct bk_ignore **out,
                          struct bk_err *err) {
  const char **v;
  size_t n = bk_opt_strv(L, 1, name, &v);
  bool ok = !v || bk_ignore_new(v, n, out, err) == 0;
  lua_pop(L, 1);
  if (!ok) bk_err_wrap(err, "%s", name);
  return ok;
}

/* Option includes: patterns of what alone is wanted, as an ignore list that hides the rest. */
static bool copy_includes(lua_State *L, struct copy_job *j, struct bk_err *err) {
  const char **v;
  size_t n = bk_opt_strv(L, 1, "includes", &v);
  bool ok = true;
  if (v) {
    char **lines = bk_calloc(n + 2, sizeof *lines);
    lines[0] = bk_strdup("**");
    for (size_t i = 0; i < n; i++) lines[i + 1] = bk_asprintf("!%s", v[i]);
    ok = bk_ignore_new((const char *const *)lines, n + 1, &j->includes, err) == 0;
    for (size_t i = 0; i <= n; i++) free(lines[i]);
    free(lines);
  }
  lua_pop(L, 1);
  if (!ok) bk_err_wrap(err, "includes");
  return ok;
}

/* { root= } or { lowers= } at idx: where files are read. */
static void copy_place(lua_State *L, int idx, struct copy_job *j) {
  const char *root = bk_opt_str(L, idx, "root", NULL, NULL);
  bool layers = copy_strv(L, idx, "lowers", &j->layers);
  if (!root == !layers) luaL_error(L, "expected either 'root' or 'lowers' to read from");
  if (!root) return;
  j->context = true;
  j->layers.v = bk_calloc(2, sizeof *j->layers.v);
  j->layers.v[0] = bk_strdup(root);
  j->layers.n = 1;
}

static int open_place(struct copy_job *j, struct bk_view **view, struct bk_selection *sel,
                      struct bk_err *err) {
  if (bk_view_open((const char *const *)j->layers.v, j->layers.n, j->context ? BK_VIEW_PLAIN : 0,
                   view, err))
    return -1;
  bk_view_limit(*view, &j->limits);
  *sel = (struct bk_selection){.view = *view,
                               .ignore = j->context ? j->ignore : NULL,
                               .excludes = j->excludes,
                               .includes = j->includes,
                               .place = j->context ? "the build context" : "the image or stage",
                               .cancel = &j->job.cancel};
  return 0;
}

/* --- scan ------------------------------------------------------------------------------------ */

static int scan(struct copy_job *j, struct bk_err *err) {
  cleanup_view struct bk_view *view = NULL;
  struct bk_scan_opts opts = {.sources = (const char *const *)j->sources.v,
                              .n = j->sources.n,
                              .owners = !j->context,
                              .cache = j->cache};
  if (open_place(j, &view, &opts.sel, err)) return -1;
  return bk_snapshot_scan(&opts, &j->scanned, err);
}

static int scan_run(struct bk_job *job, struct bk_err *err) {
  return scan((struct copy_job *)job, err);
}

static const char *type_of(const struct stat *st) {
  switch (st->st_mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "dir";
    case S_IFIFO: return "fifo";
    case S_IFCHR: return "char";
    case S_IFBLK: return "block";
    case S_IFLNK: return "symlink";
    default: return "socket";
  }
}

static int scan_done(lua_State *L, struct bk_job *job) {
  const struct bk_scan_result *r = &((struct copy_job *)job)->scanned;
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, (lua_Integer)r->entries);
  lua_setfield(L, -2, "entries");
  lua_pushstring(L, r->digest);
  lua_setfield(L, -2, "digest");
  lua_pushinteger(L, (lua_Integer)r->files);
  lua_setfield(L, -2, "files");
  lua_pushinteger(L, (lua_Integer)r->bytes);
  lua_setfield(L, -2, "bytes");
  lua_createtable(L, (int)r->roots.n, 0);
  for (size_t i = 0; i < r->roots.n; i++) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, r->roots.v[i].source);
    lua_setfield(L, -2, "source");
    lua_pushstring(L, r->roots.v[i].path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, type_of(&r->roots.v[i].ent.st));
    lua_setfield(L, -2, "type");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "matches");
  return 1;
}

/* The job is made first, so that whatever was copied is freed when an argument raises; the option
 * table stays at index 1 below it. */
static struct copy_job *job_new(lua_State *L, int (*run)(struct bk_job *, struct bk_err *)) {
  lua_settop(L, 1);
  struct copy_job *j = bk_job_new(L, sizeof *j, release);
  j->job.run = run;
  return j;
}

static int l_scan(lua_State *L) {
  static const char *const names[] = {"root",     "lowers", "paths",     "ignore",  "excludes",
                                      "includes", "cache",  "userxattr", "limits", NULL};
  struct bk_err err;
  luaL_checktype(L, 1, LUA_TTABLE);
  bk_opts(L, 1, names);
  struct copy_job *j = job_new(L, scan_run);
  copy_place(L, 1, j);
  if (!copy_strv(L, 1, "paths", &j->sources)) return luaL_error(L, "option 'paths' is required");
  j->cache = copy_str(L, 1, "cache");
  bk_opt_limits(L, 1, "limits", &j->limits);
  if (!copy_patterns(L, "ignore", &j->ignore, &err) ||
      !copy_patterns(L, "excludes", &j->excludes, &err) || !copy_includes(L, j, &err))
    return bk_lua_fail(L, &err);
  return bk_job_await(L, &j->job, scan_done);
}

/* --- copy ------------------------------------------------------------------------------------ */

/* With `expect`, the sources are read again by what stat says: files that changed between the scan
 * that made the step's key and the copy must not end up under that key. */
static int check_expected(struct copy_job *j, struct bk_err *err) {
  if (!j->expect) return 0;
  if (scan(j, err)) return -1;
  if (strcmp(j->scanned.digest, j->expect) == 0) return 0;
  bk_fail(err, BK_BUILD, "snapshot.changed", "the sources changed while they were copied");
  err->retryable = true;
  return -1;
}

static int copy_run(struct bk_job *job, struct bk_err *err) {
  struct copy_job *j = (struct copy_job *)job;
  cleanup_view struct bk_view *view = NULL;
  struct bk_copy_opts opts = {
      .sources = (const char *const *)j->sources.v,
      .n = j->sources.n,
      .inlines = j->inlines,
      .n_inlines = j->n_inlines,
      .dest = j->dest,
      .chain = {(const char *const *)j->lowers.v, j->lowers.n},
      .link = j->link,
      .upper = j->upper,
      .chown = j->chown,
      .chmod = j->chmod,
      .preserve_owner = j->preserve,
      .unpack = j->unpack,
      .limits = j->limits,
      .rootless = j->rootless,
      .epoch = j->has_epoch ? &j->epoch : NULL,
      .stamp = j->stamp,
      .now = j->now,
      .reuse = j->reuse,
  };
  if (open_place(j, &view, &opts.from, err)) return -1;
  if (bk_snapshot_copy(&opts, &j->copied, err)) return -1;
  return check_expected(j, err);
}

static int copy_done(lua_State *L, struct bk_job *job) {
  lua_createtable(L, 0, 1);
  lua_pushinteger(L, (lua_Integer)((struct copy_job *)job)->copied.entries);
  lua_setfield(L, -2, "entries");
  return 1;
}

static void copy_inlines(lua_State *L, struct copy_job *j) {
  static const char *const names[] = {"name", "data", "mode", NULL};
  if (!bk_opt_get(L, 1, "inline")) {
    lua_pop(L, 1);
    return;
  }
  luaL_checktype(L, -1, LUA_TTABLE);
  int list = lua_gettop(L);
  size_t n = lua_rawlen(L, list);
  j->inlines = bk_calloc(n + 1, sizeof *j->inlines);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, list, (lua_Integer)i + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    bk_opts(L, -1, names);
    int at = lua_gettop(L);
    size_t len;
    const char *name = bk_opt_need_str(L, at, "name", NULL);
    const char *data = bk_opt_need_str(L, at, "data", &len);
    lua_Integer mode = bk_opt_int(L, at, "mode", 0644);
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
      luaL_error(L, "option 'inline': '%s' is not a file name", name);
    if (mode < 0 || mode > 07777) luaL_error(L, "option 'inline': mode out of range");
    char *copy = bk_malloc(len + 1);
    memcpy(copy, data, len);
    j->inlines[j->n_inlines++] =
        (struct bk_copy_inline){bk_strdup(name), copy, len, (mode_t)mode};
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static void copy_flags(lua_State *L, struct copy_job *j) {
  j->link = bk_opt_bool(L, 1, "link", false);
  j->preserve = bk_opt_bool(L, 1, "preserve_owner", false);
  j->unpack = bk_opt_bool(L, 1, "unpack", false);
  j->rootless = bk_opt_bool(L, 1, "rootless", false);
  (void)bk_opt_bool(L, 1, "userxattr", false); /* no whiteout or opaque mark is ever needed */
  j->stamp = bk_opt_bool(L, 1, "stamp", false);
  j->now = bk_opt_int(L, 1, "now", (lua_Integer)time(NULL));
  j->has_epoch = bk_opt_get(L, 1, "epoch");
  lua_pop(L, 1);
  j->epoch = bk_opt_int(L, 1, "epoch", 0);
}

static int l_copy(lua_State *L) {
  static const char *const names[] = {
      "from",  "sources", "dest", "lowers", "upper", "chown",          "chmod",     "ignore",
      "excludes", "link", "unpack", "inline", "epoch", "preserve_owner", "userxattr", "now",
      "rootless", "expect", "cache", "reuse", "includes", "stamp", "limits", NULL};
  static const char *const from_names[] = {"root", "lowers", NULL};
  struct bk_err err;
  luaL_checktype(L, 1, LUA_TTABLE);
  bk_opts(L, 1, names);
  struct copy_job *j = job_new(L, copy_run);
  if (!bk_opt_get(L, 1, "from")) return luaL_error(L, "option 'from' is required");
  luaL_checktype(L, -1, LUA_TTABLE);
  bk_opts(L, -1, from_names);
  copy_place(L, lua_gettop(L), j);
  lua_pop(L, 1);
  if (!copy_strv(L, 1, "lowers", &j->lowers)) return luaL_error(L, "option 'lowers' is required");
  copy_strv(L, 1, "sources", &j->sources);
  j->dest = bk_strdup(bk_opt_need_str(L, 1, "dest", NULL));
  j->upper = bk_strdup(bk_opt_need_str(L, 1, "upper", NULL));
  j->chown = copy_str(L, 1, "chown");
  j->chmod = copy_str(L, 1, "chmod");
  j->expect = copy_str(L, 1, "expect");
  j->cache = copy_str(L, 1, "cache");
  j->reuse = copy_str(L, 1, "reuse");
  bk_opt_limits(L, 1, "limits", &j->limits);
  copy_flags(L, j);
  copy_inlines(L, j);
  if (!copy_patterns(L, "ignore", &j->ignore, &err) ||
      !copy_patterns(L, "excludes", &j->excludes, &err) || !copy_includes(L, j, &err))
    return bk_lua_fail(L, &err);
  return bk_job_await(L, &j->job, copy_done);
}

/* --- ignore, glob_match ---------------------------------------------------------------------- */

static int ignore_close(lua_State *L) {
  struct bk_ignore **box = bk_check(L, 1, IGNORE);
  bk_ignore_free(*box);
  *box = NULL;
  return 0;
}

static int l_ignore(lua_State *L) {
  const char **lines;
  struct bk_err err;
  size_t n = bk_lua_strv(L, 1, &lines);
  struct bk_ignore **box = bk_box(L, sizeof *box, IGNORE);
  if (bk_ignore_new(lines, n, box, &err)) return bk_lua_fail(L, &err);
  return 1;
}

/* matcher:match(path[, is_dir]) -> excluded, deciding line */
static int ignore_match(lua_State *L) {
  struct bk_ignore **box = bk_check(L, 1, IGNORE);
  const char *arg = luaL_checkstring(L, 2);
  luaL_argcheck(L, *box, 1, "the matcher is closed");
  char *path = bk_asprintf("/%s", arg);
  bk_path_clean(path);
  int rule;
  bool excluded = bk_ignore_path(*box, path + 1, NULL, &rule);
  free(path);
  lua_pushboolean(L, excluded);
  if (rule < 0) return 1;
  lua_pushstring(L, bk_ignore_line(*box, rule));
  return 2;
}

static int l_glob_match(lua_State *L) {
  size_t n, m;
  const char *pattern = luaL_checklstring(L, 1, &n), *path = luaL_checklstring(L, 2, &m);
  struct bk_err err;
  struct bk_glob *g = bk_glob_compile(pattern, n, BK_GLOB_PATH, &err);
  if (!g) return bk_lua_fail(L, &err);
  bool ok = bk_glob_match(g, path, m);
  bk_glob_free(g);
  lua_pushboolean(L, ok);
  return 1;
}

const luaL_Reg bk_snapshot_copy_functions[] = {{"scan", l_scan},
                                               {"copy", l_copy},
                                               {"ignore", l_ignore},
                                               {"glob_match", l_glob_match},
                                               {NULL, NULL}};

void bk_snapshot_copy_classes(lua_State *L) {
  static const luaL_Reg methods[] = {{"match", ignore_match}, {NULL, NULL}};
  bk_class(L, IGNORE, methods, ignore_close);
}
