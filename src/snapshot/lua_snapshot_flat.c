#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "luakit/async.h"
#include "snapshot/flat.h"
#include "snapshot/lua_snapshot.h"
#include "snapshot/snapshot.h"

#define RECORD "bakery.snapshot.record"
#define PLACED "bakery.snapshot.placed"

/* --- jobs ------------------------------------------------------------------------------------ */

struct job {
  struct bk_job job;
  char *dir, *other, **stubs;
  bool has_epoch, nodev;
  int64_t epoch;
  struct bk_flat *made;         /* by record, until Lua has it */
  const struct bk_flat *record; /* of diff: anchored as the job's user value */
};

static void release(struct bk_job *job) {
  struct job *j = (struct job *)job;
  free(j->dir);
  free(j->other);
  for (char **p = j->stubs; p && *p; p++) free(*p);
  free(j->stubs);
  bk_flat_free(j->made);
}

static struct job *new_job(lua_State *L, int (*run)(struct bk_job *, struct bk_err *)) {
  struct job *j = bk_job_new(L, sizeof *j, release);
  j->job.run = run;
  return j;
}

static char *dup_need(lua_State *L, int idx, const char *name) {
  return bk_strdup(bk_opt_need_str(L, idx, name, NULL));
}

static int record_run(struct bk_job *job, struct bk_err *err) {
  struct job *j = (struct job *)job;
  return bk_flat_record(j->dir, &job->cancel, &j->made, err);
}

static int record_done(lua_State *L, struct bk_job *job) {
  struct job *j = (struct job *)job;
  struct bk_flat **box = bk_box(L, sizeof *box, RECORD);
  *box = bk_steal_ptr(&j->made);
  lua_newtable(L);
  lua_pushstring(L, j->dir);
  lua_setfield(L, -2, "dir");
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static int l_record(lua_State *L) {
  static const char *const names[] = {"dir", NULL};
  bk_opts(L, 1, names);
  lua_settop(L, 1);
  struct job *j = new_job(L, record_run);
  j->dir = dup_need(L, 1, "dir");
  return bk_job_await(L, &j->job, record_done);
}

static int record_close(lua_State *L) {
  struct bk_flat **box = lua_touserdata(L, 1);
  bk_flat_free(*box);
  *box = NULL;
  return 0;
}

static int diff_run(struct bk_job *job, struct bk_err *err) {
  struct job *j = (struct job *)job;
  struct bk_flat_opts o = {.dir = j->dir, .upper = j->other, .epoch = j->has_epoch ? &j->epoch : NULL,
                           .stubs = (const char *const *)j->stubs, .cancel = &job->cancel};
  return bk_flat_diff(j->record, &o, err);
}

static int job_true(lua_State *L, struct bk_job *job) {
  (void)job;
  lua_pushboolean(L, true);
  return 1;
}

/* record:diff { upper=, epoch=, stubs= } */
static int record_diff(lua_State *L) {
  static const char *const names[] = {"upper", "epoch", "stubs", NULL};
  struct bk_flat **box = bk_check(L, 1, RECORD);
  luaL_argcheck(L, *box, 1, "the record is closed");
  bk_opts(L, 2, names);
  lua_settop(L, 2);
  struct job *j = new_job(L, diff_run);
  j->record = *box;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  j->other = dup_need(L, 2, "upper");
  if (bk_opt_get(L, 2, "epoch")) {
    j->has_epoch = true;
    j->epoch = bk_opt_int(L, 2, "epoch", 0);
  }
  lua_pop(L, 1);
  const char **stubs;
  size_t n = bk_opt_strv(L, 2, "stubs", &stubs);
  j->stubs = bk_calloc(n + 1, sizeof *j->stubs);
  for (size_t i = 0; i < n; i++) j->stubs[i] = bk_strdup(stubs[i]);
  lua_settop(L, 3);
  lua_getiuservalue(L, 1, 1);
  lua_getfield(L, -1, "dir");
  j->dir = bk_strdup(lua_tostring(L, -1));
  lua_settop(L, 3);
  return bk_job_await(L, &j->job, job_true);
}

static int apply_run(struct bk_job *job, struct bk_err *err) {
  struct job *j = (struct job *)job;
  return bk_snapshot_apply_dir(j->other, j->dir, j->nodev, &job->cancel, err);
}

static int l_apply_dir(lua_State *L) {
  static const char *const names[] = {"layer", "dir", "nodev", NULL};
  bk_opts(L, 1, names);
  lua_settop(L, 1);
  struct job *j = new_job(L, apply_run);
  j->nodev = bk_opt_bool(L, 1, "nodev", false);
  j->other = dup_need(L, 1, "layer");
  j->dir = dup_need(L, 1, "dir");
  return bk_job_await(L, &j->job, job_true);
}

/* --- things put into a tree ------------------------------------------------------------------ */

/* snapshot.place { tree=, aside=, items={ { path=, source= }, … } } */
static int l_place(lua_State *L) {
  static const char *const names[] = {"tree", "aside", "items", NULL};
  static const char *const fields[] = {"path", "source", "uid", "gid", NULL};
  struct bk_err err;
  bk_opts(L, 1, names);
  lua_settop(L, 1);
  const char *tree = bk_opt_need_str(L, 1, "tree", NULL), *aside = bk_opt_need_str(L, 1, "aside", NULL);
  struct bk_placed **box = bk_box(L, sizeof *box, PLACED);
  if (!bk_opt_get(L, 1, "items")) return luaL_error(L, "option 'items' is required");
  luaL_checktype(L, 3, LUA_TTABLE);
  size_t n = lua_rawlen(L, 3);
  luaL_argcheck(L, n <= 10000, 1, "too many items");
  luaL_checkstack(L, (int)n + 8, "items");
  struct bk_place *items = lua_newuserdatauv(L, (n + 1) * sizeof *items, 0);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, 3, (lua_Integer)i + 1);
    int idx = lua_gettop(L);
    luaL_checktype(L, idx, LUA_TTABLE);
    bk_opts(L, idx, fields);
    items[i].path = bk_opt_need_str(L, idx, "path", NULL);
    items[i].source = bk_opt_need_str(L, idx, "source", NULL);
    items[i].uid = bk_opt_int(L, idx, "uid", -1);
    items[i].gid = bk_opt_int(L, idx, "gid", -1);
    lua_settop(L, idx); /* the strings live in the tables, which stay below */
  }
  if (bk_place(tree, aside, items, n, box, &err)) return bk_lua_fail(L, &err);
  lua_settop(L, 2);
  return 1;
}

static int placed_restore(lua_State *L) {
  struct bk_placed **box = bk_check(L, 1, PLACED);
  struct bk_placed *p = bk_steal_ptr(box);
  struct bk_err err;
  if (p && bk_unplace(p, &err)) return bk_lua_fail(L, &err);
  lua_pushboolean(L, true);
  return 1;
}

static int placed_close(lua_State *L) {
  struct bk_placed **box = lua_touserdata(L, 1);
  struct bk_placed *p = bk_steal_ptr(box);
  struct bk_err ignored;
  if (p) (void)!bk_unplace(p, &ignored);
  return 0;
}

const luaL_Reg bk_snapshot_flat_functions[] = {
    {"record", l_record}, {"apply_dir", l_apply_dir}, {"place", l_place}, {NULL, NULL}};

void bk_snapshot_flat_classes(lua_State *L) {
  static const luaL_Reg record[] = {{"diff", record_diff}, {NULL, NULL}};
  static const luaL_Reg placed[] = {{"restore", placed_restore}, {NULL, NULL}};
  bk_class(L, RECORD, record, record_close);
  bk_class(L, PLACED, placed, placed_close);
}
