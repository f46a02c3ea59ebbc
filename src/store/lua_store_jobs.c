/* Calls that walk directories or hash files: worker threads, so that tasks go on meanwhile. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "store/lua_store.h"

/* One struct for all: what a call does not need stays zero. */
struct store_job {
  struct bk_job job;
  int (*run)(struct store_job *j, struct bk_err *err);
  struct bk_store *s;
  char *a, *b, *data; /* copied arguments */
  size_t n;
  bool flag;
  double x, y;
  int limit;
  int64_t id;
  char *path;        /* result */
  unsigned count;    /* result */
  struct bk_buf out; /* result: strings, each followed by NUL */
  struct bk_store_opts opts;
  struct bk_store_usage usage;
  struct bk_store_gc gc;
  char **keep;
};

static void release(struct bk_job *job) {
  struct store_job *j = (struct store_job *)job;
  bk_store_unref(j->s);
  free(j->a);
  free(j->b);
  free(j->data);
  free(j->path);
  for (char **k = j->keep; k && *k; k++) free(*k);
  free(j->keep);
  bk_buf_free(&j->out);
}

/* The reference ends with the work, not with the garbage collection of the job: gc counts them. */
static int job_run(struct bk_job *job, struct bk_err *err) {
  struct store_job *j = (struct store_job *)job;
  int rc = j->run(j, err);
  bk_store_unref(j->s);
  j->s = NULL;
  return rc;
}

static struct store_job *job_new(lua_State *L, struct bk_store *s,
                                 int (*run)(struct store_job *, struct bk_err *)) {
  struct store_job *j = bk_job_new(L, sizeof *j, release);
  j->job.run = job_run;
  j->run = run;
  j->s = bk_store_ref(s);
  return j;
}

static int push_true(lua_State *L, struct bk_job *job) {
  (void)job;
  return lua_pushboolean(L, 1), 1;
}

static int push_path(lua_State *L, struct bk_job *job) {
  return lua_pushstring(L, ((struct store_job *)job)->path), 1;
}

static int push_count(lua_State *L, struct bk_job *job) {
  return lua_pushinteger(L, ((struct store_job *)job)->count), 1;
}

/* --- open ------------------------------------------------------------------------------------ */

static int open_run(struct bk_job *job, struct bk_err *err) {
  struct store_job *j = (struct store_job *)job;
  return bk_store_open(j->a, &j->opts, &j->s, err);
}

static int open_done(lua_State *L, struct bk_job *job) {
  struct store_job *j = (struct store_job *)job;
  struct lua_store *box = bk_box(L, sizeof *box, STORE);
  box->s = j->s;
  j->s = NULL;
  return 1;
}

int bk_lua_store_open(lua_State *L) {
  static const char *const names[] = {"create", "durable", "timeout", "mode", NULL};
  const char *dir = luaL_checkstring(L, 1);
  bk_opts(L, 2, names);
  struct bk_store_opts opts = {
      .create = bk_opt_bool(L, 2, "create", false),
      .durable = bk_opt_bool(L, 2, "durable", false),
      .timeout = bk_opt_num(L, 2, "timeout", 60),
  };
  const char *mode = bk_opt_str(L, 2, "mode", NULL, NULL);
  if (mode && (!*mode || strlen(mode) > 60 || strpbrk(mode, " \t\n")))
    return luaL_error(L, "option 'mode': expected one word");
  struct store_job *j = bk_job_new(L, sizeof *j, release);
  j->job.run = open_run;
  j->opts = opts;
  j->a = bk_strdup(dir);
  if (mode) j->opts.mode = j->b = bk_strdup(mode);
  return bk_job_await(L, &j->job, open_done);
}

/* --- objects --------------------------------------------------------------------------------- */

static int add_run(struct store_job *j, struct bk_err *err) {
  return bk_store_add_blob(j->s, j->a, j->b, j->flag, err);
}

static int add_blob_file(lua_State *L) {
  static const char *const names[] = {"verify", NULL};
  struct bk_store *s = bk_lua_store(L)->s;
  const char *path = luaL_checkstring(L, 2), *digest = luaL_checkstring(L, 3);
  bk_opts(L, 4, names);
  bool verify = bk_opt_bool(L, 4, "verify", false);
  struct store_job *j = job_new(L, s, add_run);
  j->a = bk_strdup(path);
  j->b = bk_strdup(digest);
  j->flag = verify;
  return bk_job_await(L, &j->job, push_true);
}

static int publish_run(struct store_job *j, struct bk_err *err) {
  return bk_store_publish_layer(j->s, j->a, j->b, j->data, j->n, &j->path, err);
}

static int publish_layer(lua_State *L) {
  struct bk_store *s = bk_lua_store(L)->s;
  const char *fs = luaL_checkstring(L, 2), *diff_id = luaL_checkstring(L, 3);
  if (lua_isnoneornil(L, 4)) {
    lua_settop(L, 3);
    lua_newtable(L);
  }
  luaL_checktype(L, 4, LUA_TTABLE);
  size_t n;
  const char *meta = bk_lua_store_encode(L, 4, &n);
  struct store_job *j = job_new(L, s, publish_run);
  j->a = bk_strdup(fs);
  j->b = bk_strdup(diff_id);
  j->data = bk_strndup(meta, n);
  j->n = n;
  return bk_job_await(L, &j->job, push_path);
}

static int remove_run(struct store_job *j, struct bk_err *err) {
  return bk_store_remove_tmp(j->s, j->a, err);
}

static int remove_tmp(lua_State *L) {
  struct bk_store *s = bk_lua_store(L)->s;
  const char *path = luaL_checkstring(L, 2);
  struct store_job *j = job_new(L, s, remove_run);
  j->a = bk_strdup(path);
  return bk_job_await(L, &j->job, push_true);
}

static int clean_run(struct store_job *j, struct bk_err *err) {
  return bk_store_sweep(j->s, &j->count, err);
}

static int clean_tmp(lua_State *L) {
  struct store_job *j = job_new(L, bk_lua_store(L)->s, clean_run);
  return bk_job_await(L, &j->job, push_count);
}

/* --- du, gc, check --------------------------------------------------------------------------- */

static void push_usage(lua_State *L, const struct bk_store_usage *u) {
  lua_createtable(L, 0, BK_STORE_AREAS + 1);
  for (int i = 0; i < BK_STORE_AREAS; i++) {
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)u->area[i].count);
    lua_setfield(L, -2, "count");
    lua_pushinteger(L, (lua_Integer)u->area[i].bytes);
    lua_setfield(L, -2, "bytes");
    lua_setfield(L, -2, bk_store_area_names[i]);
  }
  lua_pushinteger(L, (lua_Integer)u->bytes);
  lua_setfield(L, -2, "bytes");
}

static int du_run(struct store_job *j, struct bk_err *err) {
  return bk_store_du(j->s, &j->usage, err);
}

static int du_done(lua_State *L, struct bk_job *job) {
  push_usage(L, &((struct store_job *)job)->usage);
  return 1;
}

static int du(lua_State *L) {
  struct store_job *j = job_new(L, bk_lua_store(L)->s, du_run);
  return bk_job_await(L, &j->job, du_done);
}

static int gc_run(struct store_job *j, struct bk_err *err) {
  return bk_store_collect(j->s, &j->gc, err);
}

static int gc_done(lua_State *L, struct bk_job *job) {
  struct store_job *j = (struct store_job *)job;
  uint64_t count = 0;
  for (int i = 0; i < BK_STORE_AREAS; i++) count += j->gc.removed.area[i].count;
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, (lua_Integer)count);
  lua_setfield(L, -2, "removed");
  lua_pushinteger(L, (lua_Integer)j->gc.removed.bytes);
  lua_setfield(L, -2, "bytes");
  lua_pushboolean(L, j->gc.dry_run);
  lua_setfield(L, -2, "dry_run");
  push_usage(L, &j->gc.removed);
  lua_setfield(L, -2, "gone");
  push_usage(L, &j->gc.kept);
  lua_setfield(L, -2, "kept");
  return 1;
}

static int gc(lua_State *L) {
  static const char *const names[] = {"max_bytes", "max_age", "ref_age", "grace",
                                      "dry_run",   "keep",    NULL};
  struct bk_store *s = bk_lua_store(L)->s;
  lua_settop(L, 2);
  bk_opts(L, 2, names);
  struct bk_store_gc opt = {
      .max_bytes = (int64_t)bk_opt_num(L, 2, "max_bytes", -1),
      .max_age = bk_opt_num(L, 2, "max_age", -1),
      .ref_age = bk_opt_num(L, 2, "ref_age", -1),
      .grace = bk_opt_num(L, 2, "grace", 3600),
      .dry_run = bk_opt_bool(L, 2, "dry_run", false),
      .own_refs = 2, /* the handle's and the job's */
  };
  const char **keep;
  size_t n = bk_opt_strv(L, 2, "keep", &keep);
  struct store_job *j = job_new(L, s, gc_run);
  j->gc = opt;
  j->keep = bk_calloc(n + 1, sizeof *j->keep);
  for (size_t i = 0; i < n; i++) j->keep[i] = bk_strdup(keep[i]);
  j->gc.keep = (const char *const *)j->keep;
  return bk_job_await(L, &j->job, gc_done);
}

static void on_problem(void *ud, const char *area, const char *name, const char *problem) {
  struct store_job *j = ud;
  const char *const parts[] = {area, name, problem};
  for (size_t i = 0; i < 3; i++) bk_buf_add(&j->out, parts[i], strlen(parts[i]) + 1);
}

static int check_run(struct store_job *j, struct bk_err *err) {
  return bk_store_check(j->s, j->flag, on_problem, j, err);
}

static int check_done(lua_State *L, struct bk_job *job) {
  static const char *const fields[] = {"area", "name", "problem"};
  struct store_job *j = (struct store_job *)job;
  lua_newtable(L);
  const char *p = bk_buf_str(&j->out), *end = p + j->out.len;
  for (lua_Integer n = 1; p < end; n++) {
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < 3; i++, p += strlen(p) + 1) {
      lua_pushstring(L, p);
      lua_setfield(L, -2, fields[i]);
    }
    lua_getfield(L, -1, "area");
    lua_getfield(L, -2, "name");
    lua_getfield(L, -3, "problem");
    lua_pushfstring(L, "%s: %s: %s", lua_tostring(L, -3), lua_tostring(L, -2), lua_tostring(L, -1));
    lua_setfield(L, -5, "message");
    lua_pop(L, 3);
    lua_rawseti(L, -2, n);
  }
  return 1;
}

static int check(lua_State *L) {
  static const char *const names[] = {"repair", NULL};
  struct bk_store *s = bk_lua_store(L)->s;
  lua_settop(L, 2);
  bk_opts(L, 2, names);
  bool repair = bk_opt_bool(L, 2, "repair", false);
  struct store_job *j = job_new(L, s, check_run);
  j->flag = repair;
  return bk_job_await(L, &j->job, check_done);
}

/* --- run history ----------------------------------------------------------------------------- */

static int record_run(struct store_job *j, struct bk_err *err) {
  return bk_store_record_run(j->s, j->x, j->y, j->a, j->b, j->data, j->n, &j->id, err);
}

static int record_done(lua_State *L, struct bk_job *job) {
  return lua_pushinteger(L, (lua_Integer)((struct store_job *)job)->id), 1;
}

static int store_record_run(lua_State *L) {
  struct bk_store *s = bk_lua_store(L)->s;
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  lua_Number started = bk_opt_num(L, 2, "started", (lua_Number)time(NULL));
  lua_Number seconds = bk_opt_num(L, 2, "seconds", 0);
  const char *name = bk_opt_str(L, 2, "name", "", NULL);
  const char *status = bk_opt_str(L, 2, "status", "", NULL);
  size_t n;
  const char *data = bk_lua_store_encode(L, 2, &n);
  struct store_job *j = job_new(L, s, record_run);
  j->x = started;
  j->y = seconds;
  j->a = bk_strdup(name);
  j->b = bk_strdup(status);
  j->data = bk_strndup(data, n);
  j->n = n;
  return bk_job_await(L, &j->job, record_done);
}

struct row {
  int64_t id;
  size_t n;
};

static int on_run(void *ud, int64_t id, const char *data, size_t n) {
  struct store_job *j = ud;
  struct row row = {id, n};
  bk_buf_add(&j->out, &row, sizeof row);
  bk_buf_add(&j->out, data, n);
  return j->out.overflow;
}

static int runs_run(struct store_job *j, struct bk_err *err) {
  return bk_store_runs(j->s, j->a, j->x, j->limit, on_run, j, err);
}

static int runs_done(lua_State *L, struct bk_job *job) {
  struct store_job *j = (struct store_job *)job;
  lua_newtable(L);
  const char *p = bk_buf_str(&j->out), *end = p + j->out.len;
  for (lua_Integer i = 0; p < end;) {
    struct row row;
    memcpy(&row, p, sizeof row);
    p += sizeof row;
    bk_lua_store_decode(L, p, row.n);
    p += row.n;
    if (!lua_istable(L, -1)) {
      lua_pop(L, 1);
      continue;
    }
    lua_pushinteger(L, (lua_Integer)row.id);
    lua_setfield(L, -2, "id");
    lua_rawseti(L, -2, ++i);
  }
  return 1;
}

static int runs(lua_State *L) {
  static const char *const names[] = {"name", "since", "limit", NULL};
  struct bk_store *s = bk_lua_store(L)->s;
  lua_settop(L, 2);
  bk_opts(L, 2, names);
  const char *name = bk_opt_str(L, 2, "name", NULL, NULL);
  lua_Number since = bk_opt_num(L, 2, "since", 0);
  lua_Integer limit = bk_opt_int(L, 2, "limit", 1000);
  if (limit < 0 || limit > 1000000) return luaL_error(L, "option 'limit': out of range");
  struct store_job *j = job_new(L, s, runs_run);
  if (name) j->a = bk_strdup(name);
  j->x = since;
  j->limit = (int)limit;
  return bk_job_await(L, &j->job, runs_done);
}

const luaL_Reg bk_lua_store_jobs[] = {
    {"add_blob_file", add_blob_file}, {"publish_layer", publish_layer},
    {"remove_tmp", remove_tmp},       {"clean_tmp", clean_tmp},
    {"du", du},                       {"gc", gc},
    {"check", check},                 {"record_run", store_record_run},
    {"runs", runs},                   {NULL, NULL}};
