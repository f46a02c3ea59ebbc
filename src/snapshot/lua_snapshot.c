#include "snapshot/lua_snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "luakit/async.h"
#include "snapshot/snapshot.h"

#define VIEW "bakery.snapshot.view"

/* --- views in boxes -------------------------------------------------------------------------- */

static int view_close(lua_State *L) {
  struct bk_view **box = lua_touserdata(L, 1);
  bk_view_close(*box);
  *box = NULL;
  return 0;
}

/* Leaves the box (and the list it was made from) on the stack; NULL with err filled. */
static struct bk_view *open_view(lua_State *L, int idx, struct bk_err *err) {
  const char **layers;
  size_t n = bk_opt_strv(L, idx, "lowers", &layers);
  if (!layers) luaL_error(L, "option 'lowers' is required");
  struct bk_view **box = bk_box(L, sizeof *box, VIEW);
  return bk_view_open(layers, n, 0, box, err) ? NULL : *box;
}

/* --- lookup, read ---------------------------------------------------------------------------- */

static void set_int(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static int l_lookup(lua_State *L) {
  static const char *const names[] = {"lowers", "path", "follow", NULL};
  bk_opts(L, 1, names);
  const char *path = bk_opt_need_str(L, 1, "path", NULL);
  bool follow = bk_opt_bool(L, 1, "follow", true);
  lua_settop(L, 1);
  struct bk_err err;
  struct bk_view *v = open_view(L, 1, &err);
  if (!v) return bk_lua_fail(L, &err);
  struct bk_buf canon = {0};
  struct bk_view_ent e;
  int rc = bk_view_find(v, path, follow ? BK_VIEW_FOLLOW : 0, &canon, &e, &err);
  char resolved[4096], *p = bk_buf_str(&canon); /* Lua may raise: no heap memory past this point */
  snprintf(resolved, sizeof resolved, "%s", p);
  bk_buf_free(&canon);
  if (rc < 0) return bk_lua_fail(L, &err);
  if (rc == 0) return 0;
  lua_createtable(L, 0, 10);
  lua_pushstring(L, bk_type_name(e.st.st_mode));
  lua_setfield(L, -2, "type");
  set_int(L, "mode", e.st.st_mode & 07777);
  set_int(L, "uid", e.st.st_uid);
  set_int(L, "gid", e.st.st_gid);
  set_int(L, "size", S_ISDIR(e.st.st_mode) ? 0 : e.st.st_size);
  set_int(L, "mtime", e.st.st_mtim.tv_sec);
  set_int(L, "layer", e.layer + 1);
  lua_pushstring(L, resolved);
  lua_setfield(L, -2, "path");
  if (e.layer >= 0) {
    const char *layer = bk_view_layer_path(v, e.layer);
    lua_pushfstring(L, resolved[0] ? "%s/%s" : "%s", layer, resolved);
    lua_setfield(L, -2, "real");
  }
  return 1;
}

static int l_read(lua_State *L) {
  static const char *const names[] = {"lowers", "path", "max", NULL};
  bk_opts(L, 1, names);
  const char *path = bk_opt_need_str(L, 1, "path", NULL);
  lua_Integer max = bk_opt_int(L, 1, "max", 10 << 20);
  luaL_argcheck(L, max >= 0 && max <= 1 << 30, 1, "option 'max': expected 0 to 1 GiB");
  lua_settop(L, 1);
  struct bk_err err;
  struct bk_view *v = open_view(L, 1, &err);
  if (!v) return bk_lua_fail(L, &err);
  struct bk_buf *text = bk_box(L, sizeof *text, "bakery.snapshot.buffer");
  int rc = bk_view_read(v, path, (size_t)max, text, &err);
  if (rc == 0) bk_fail_errno(&err, ENOENT, "read '%s'", path);
  if (rc <= 0) return bk_lua_fail(L, &err);
  lua_pushlstring(L, bk_buf_str(text), text->len);
  bk_buf_free(text);
  return 1;
}

static int buffer_close(lua_State *L) {
  bk_buf_free(lua_touserdata(L, 1));
  return 0;
}

static int l_user(lua_State *L) {
  static const char *const names[] = {"lowers", "spec", NULL};
  bk_opts(L, 1, names);
  const char *spec = bk_opt_str(L, 1, "spec", "", NULL);
  lua_settop(L, 1);
  struct bk_err err;
  struct bk_view *v = open_view(L, 1, &err);
  if (!v) return bk_lua_fail(L, &err);
  struct bk_user *u = lua_newuserdatauv(L, sizeof *u, 0);
  if (bk_snapshot_user(v, spec, u, &err)) return bk_lua_fail(L, &err);
  lua_createtable(L, 0, 4);
  set_int(L, "uid", u->uid);
  set_int(L, "gid", u->gid);
  lua_pushstring(L, u->home);
  lua_setfield(L, -2, "home");
  lua_createtable(L, (int)u->n_groups, 0);
  for (size_t i = 0; i < u->n_groups; i++) {
    lua_pushinteger(L, u->groups[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "groups");
  return 1;
}

static int l_owner(lua_State *L) {
  static const char *const names[] = {"lowers", "spec", NULL};
  bk_opts(L, 1, names);
  const char *spec = bk_opt_str(L, 1, "spec", "", NULL), *unknown;
  lua_settop(L, 1);
  struct bk_err err;
  struct bk_view *v = open_view(L, 1, &err);
  if (!v) return bk_lua_fail(L, &err);
  uid_t uid;
  gid_t gid;
  if (bk_snapshot_chown_ids(v, spec, &uid, &gid, &unknown, &err)) return bk_lua_fail(L, &err);
  lua_createtable(L, 0, 3);
  set_int(L, "uid", uid);
  set_int(L, "gid", gid);
  if (unknown) {
    lua_pushlstring(L, unknown, strcspn(unknown, ":"));
    lua_setfield(L, -2, "unknown");
  }
  return 1;
}

/* --- jobs ------------------------------------------------------------------------------------ */

/* What all jobs of this module share; strings are copies. */
struct job {
  struct bk_job job;
  char *paths[3];
  char **lowers, **stubs;
  size_t n_lowers;
  bool has_epoch, userxattr, rootless, nodev;
  int64_t epoch;
  struct bk_limits limits;
  uint64_t grows_to, entries;
  _Atomic uint64_t *progress;
  mode_t mode;
  uid_t uid;
  gid_t gid;
  unsigned created;
  struct bk_layer_result layer;
};

static void free_strv(char **v) {
  for (char **s = v; v && *s; s++) free(*s);
  free(v);
}

static void release(struct bk_job *job) {
  struct job *j = (struct job *)job;
  for (size_t i = 0; i < BK_ARRAY_LEN(j->paths); i++) free(j->paths[i]);
  free_strv(j->lowers);
  free_strv(j->stubs);
}

/* Copy of a list option, NULL-ended. Nothing raises between the two allocations of memory. */
static char **copy_strv(lua_State *L, const char *name, size_t *n) {
  const char **v;
  *n = bk_opt_strv(L, 1, name, &v);
  char **copy = bk_calloc(*n + 1, sizeof *copy);
  for (size_t i = 0; i < *n; i++) copy[i] = bk_strdup(v[i]);
  lua_pop(L, 1);
  return copy;
}

static struct bk_chain chain_of(const struct job *j) {
  return (struct bk_chain){.lowers = (const char *const *)j->lowers, .n = j->n_lowers};
}

static char *dup_need(lua_State *L, const char *name) {
  return bk_strdup(bk_opt_need_str(L, 1, name, NULL));
}

/* A job on the top of the stack with the options that every function has. */
static struct job *new_job(lua_State *L, const char *const names[],
                           int (*run)(struct bk_job *, struct bk_err *)) {
  bk_opts(L, 1, names);
  lua_settop(L, 1);
  luaL_checktype(L, 1, LUA_TTABLE);
  struct job *j = bk_job_new(L, sizeof *j, release);
  j->job.run = run;
  j->lowers = copy_strv(L, "lowers", &j->n_lowers);
  if (bk_opt_get(L, 1, "epoch")) {
    j->has_epoch = true;
    j->epoch = bk_opt_int(L, 1, "epoch", 0);
  }
  lua_pop(L, 1);
  j->userxattr = bk_opt_bool(L, 1, "userxattr", false);
  j->rootless = bk_opt_bool(L, 1, "rootless", false);
  struct bk_counter *c = bk_opt_counter(L, 1, "progress");
  if (c) {
    lua_getfield(L, 1, "progress");
    lua_setiuservalue(L, -2, 1);
    j->progress = &c->done;
  }
  return j;
}

static int layer_done(lua_State *L, struct bk_job *job) {
  const struct bk_layer_result *r = &((struct job *)job)->layer;
  lua_createtable(L, 0, 4);
  lua_pushstring(L, r->diff_id);
  lua_setfield(L, -2, "diff_id");
  set_int(L, "entries", (lua_Integer)r->entries);
  set_int(L, "size", (lua_Integer)r->size);
  lua_pushboolean(L, r->entries == 0);
  lua_setfield(L, -2, "empty");
  return 1;
}

static int apply_run(struct bk_job *job, struct bk_err *err) {
  struct job *j = (struct job *)job;
  struct bk_apply_opts o = {.blob = j->paths[0], .dir = j->paths[1], .diff_id = j->paths[2],
                            .chain = chain_of(j), .userxattr = j->userxattr,
                            .rootless = j->rootless, .grows_to = j->grows_to, .limits = j->limits,
                            .cancel = &job->cancel, .progress = j->progress};
  return bk_snapshot_apply(&o, &j->layer, err);
}

static int l_apply(lua_State *L) {
  static const char *const names[] = {"blob",     "dir",      "diff_id",  "lowers", "userxattr",
                                      "rootless", "progress", "limits", "grows_to", NULL};
  struct job *j = new_job(L, names, apply_run);
  j->paths[0] = dup_need(L, "blob");
  j->paths[1] = dup_need(L, "dir");
  const char *diff_id = bk_opt_str(L, 1, "diff_id", NULL, NULL);
  if (diff_id) j->paths[2] = bk_strdup(diff_id);
  bk_opt_limits(L, 1, "limits", &j->limits);
  lua_Integer size = bk_opt_int(L, 1, "grows_to", 0);
  if (size < 0) return luaL_error(L, "option 'grows_to': expected bytes");
  j->grows_to = (uint64_t)size;
  return bk_job_await(L, &j->job, layer_done);
}

static int commit_run(struct bk_job *job, struct bk_err *err) {
  struct job *j = (struct job *)job;
  struct bk_commit_opts o = {.upper = j->paths[0], .chain = chain_of(j),
                             .epoch = j->has_epoch ? &j->epoch : NULL,
                             .stubs = (const char *const *)j->stubs,
                             .cancel = &job->cancel, .progress = j->progress};
  return bk_snapshot_commit(&o, &j->layer, err);
}

static int l_commit(lua_State *L) {
  static const char *const names[] = {"upper", "lowers", "epoch", "userxattr", "stubs", "progress",
                                      NULL};
  struct job *j = new_job(L, names, commit_run);
  j->paths[0] = dup_need(L, "upper");
  size_t n;
  j->stubs = copy_strv(L, "stubs", &n);
  return bk_job_await(L, &j->job, layer_done);
}

static int export_run(struct bk_job *job, struct bk_err *err) {
  struct job *j = (struct job *)job;
  return bk_snapshot_export(chain_of(j), j->paths[0], j->nodev, &job->cancel, &j->entries, err);
}

static int export_done(lua_State *L, struct bk_job *job) {
  lua_createtable(L, 0, 1);
  set_int(L, "entries", (lua_Integer)((struct job *)job)->entries);
  return 1;
}

static int l_export(lua_State *L) {
  static const char *const names[] = {"lowers", "dir", "nodev", NULL};
  struct job *j = new_job(L, names, export_run);
  j->nodev = bk_opt_bool(L, 1, "nodev", false);
  j->paths[0] = dup_need(L, "dir");
  return bk_job_await(L, &j->job, export_done);
}

static int mkdir_run(struct bk_job *job, struct bk_err *err) {
  struct job *j = (struct job *)job;
  struct bk_mkdir_opts o = {.chain = chain_of(j), .upper = j->paths[0], .path = j->paths[1],
                            .mode = j->mode, .uid = j->uid, .gid = j->gid,
                            .userxattr = j->userxattr, .epoch = j->has_epoch ? &j->epoch : NULL};
  return bk_snapshot_mkdir(&o, &j->created, err);
}

static int mkdir_done(lua_State *L, struct bk_job *job) {
  lua_createtable(L, 0, 1);
  set_int(L, "created", ((struct job *)job)->created);
  return 1;
}

static int l_mkdir(lua_State *L) {
  static const char *const names[] = {"lowers", "upper", "path",  "mode",
                                      "uid",    "gid",   "epoch", "userxattr", NULL};
  struct job *j = new_job(L, names, mkdir_run);
  j->paths[0] = dup_need(L, "upper");
  j->paths[1] = dup_need(L, "path");
  lua_Integer mode = bk_opt_int(L, 1, "mode", 0755);
  lua_Integer uid = bk_opt_int(L, 1, "uid", 0), gid = bk_opt_int(L, 1, "gid", 0);
  if (mode < 0 || mode > 07777) return luaL_error(L, "option 'mode': expected 0 to 07777");
  if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
    return luaL_error(L, "options 'uid' and 'gid': expected ids");
  j->mode = (mode_t)mode;
  j->uid = (uid_t)uid;
  j->gid = (gid_t)gid;
  return bk_job_await(L, &j->job, mkdir_done);
}

/* --- module ---------------------------------------------------------------------------------- */

BK_EXPORT int luaopen_bakery_snapshot(lua_State *L);
int luaopen_bakery_snapshot(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"apply", l_apply},   {"commit", l_commit}, {"export", l_export}, {"lookup", l_lookup},
      {"mkdir", l_mkdir},   {"owner", l_owner},   {"read", l_read},     {"user", l_user},
      {"record_ids", bk_lua_record_ids},      {NULL, NULL}};
  bk_class(L, VIEW, NULL, view_close);
  bk_class(L, "bakery.snapshot.buffer", NULL, buffer_close);
  bk_snapshot_copy_classes(L);
  bk_snapshot_flat_classes(L);
  luaL_newlib(L, functions);
  luaL_setfuncs(L, bk_snapshot_copy_functions, 0);
  luaL_setfuncs(L, bk_snapshot_flat_functions, 0);
  return 1;
}
