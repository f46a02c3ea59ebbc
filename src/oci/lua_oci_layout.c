#include <string.h>

#include "base/mem.h"
#include "oci/lua_oci.h"

static struct bk_oci_layout *check(lua_State *L) {
  struct bk_oci_layout **box = bk_check(L, 1, OCI_LAYOUT);
  if (!*box) luaL_argerror(L, 1, "layout is closed");
  return *box;
}

int oci_layout_close(lua_State *L) {
  struct bk_oci_layout **box = bk_check(L, 1, OCI_LAYOUT);
  bk_oci_layout_drop(*box);
  *box = NULL;
  return 0;
}

/* A string argument that has to be text. */
static const char *text_arg(lua_State *L, int arg, bool optional) {
  return optional && lua_isnoneornil(L, arg) ? NULL : bk_check_text(L, arg);
}

int oci_layout_open(lua_State *L) {
  static const char *const names[] = {"create", NULL};
  const char *dir = text_arg(L, 1, false);
  bk_opts(L, 2, names);
  bool create = bk_opt_bool(L, 2, "create", false);
  struct bk_oci_layout **box = bk_box(L, sizeof *box, OCI_LAYOUT);
  struct bk_err err;
  return bk_oci_layout_open(box, dir, create, &err) ? bk_lua_fail(L, &err) : 1;
}

static int layout_blob_path(lua_State *L) {
  struct bk_err err;
  char *path = bk_oci_layout_path(check(L), text_arg(L, 2, false), &err);
  if (!path) return bk_lua_fail(L, &err);
  lua_pushstring(L, path);
  free(path);
  return 1;
}

static int layout_has_blob(lua_State *L) {
  lua_pushboolean(L, bk_oci_layout_has(check(L), text_arg(L, 2, false)));
  return 1;
}

/* --- blobs ----------------------------------------------------------------------------------- */

static int work_put(struct call *k, struct bk_err *err) {
  if (k->path)
    return bk_oci_layout_put_file(k->layout, k->path, k->want.digest, k->link, &k->digest, &k->size,
                                  &k->op, err);
  k->size = (int64_t)k->text_len;
  return bk_oci_layout_put_data(k->layout, k->text, k->text_len, k->want.digest, &k->digest, err);
}

/* put_blob(data) or put_blob{file=|data=, digest=, link=, progress=} -> digest, size */
static int layout_put_blob(lua_State *L) {
  static const char *const names[] = {"file", "data", "digest", "link", "progress", NULL};
  lua_settop(L, 2);
  if (lua_type(L, 2) == LUA_TSTRING) {
    lua_createtable(L, 0, 1);
    lua_insert(L, 2);
    lua_setfield(L, 2, "data");
  }
  luaL_checktype(L, 2, LUA_TTABLE);
  bk_opts(L, 2, names);
  struct call *k = oci_layout_call_new(L, work_put);
  size_t n = 0;
  const char *data = bk_opt_str(L, 2, "data", NULL, &n);
  k->path = oci_opt_text(L, k, 2, "file");
  if (!k->path == !data) luaL_error(L, "put_blob: give either 'file' or 'data'");
  k->text = oci_copy(k, data, n);
  k->text_len = data ? n : 0;
  k->want.digest = oci_opt_text(L, k, 2, "digest");
  k->link = bk_opt_bool(L, 2, "link", false);
  oci_take_progress(L, k, 2);
  return bk_job_await(L, &k->job, oci_done_digest);
}

static int work_get(struct call *k, struct bk_err *err) {
  k->data.max = k->max;
  return bk_oci_layout_get(k->layout, k->want.digest, &k->data, err);
}

/* get_blob(digest[, max=16 MiB]) -> string */
static int layout_get_blob(lua_State *L) {
  lua_Integer max = luaL_optinteger(L, 3, 16 << 20);
  luaL_argcheck(L, max > 0, 3, "positive number of bytes expected");
  lua_settop(L, 3);
  struct call *k = oci_layout_call_new(L, work_get);
  oci_take_desc(L, k, 2);
  k->max = (size_t)max;
  return bk_job_await(L, &k->job, oci_done_data);
}

/* --- index ----------------------------------------------------------------------------------- */

static int work_index(struct call *k, struct bk_err *err) {
  return bk_oci_layout_index(k->layout, &k->data, err);
}

/* index() -> decoded index.json, its text */
static int done_index(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_createtable(L, 0, 2);
  oci_set_raw(L, "raw", "index", &k->data);
  lua_getfield(L, -1, "index");
  lua_getfield(L, -2, "raw");
  return 2;
}

static int layout_index(lua_State *L) {
  lua_settop(L, 1);
  struct call *k = oci_layout_call_new(L, work_index);
  return bk_job_await(L, &k->job, done_index);
}

static int work_add(struct call *k, struct bk_err *err) {
  return bk_oci_layout_add(k->layout, k->text, k->text_len, k->path, err);
}

/* add_manifest(descriptor[, ref_name]): the table goes through bakery.json as it is. */
static int layout_add_manifest(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  const char *name = text_arg(L, 3, true);
  lua_settop(L, 3);
  struct call *k = oci_layout_call_new(L, work_add);
  k->path = oci_copy(k, name, name ? strlen(name) : 0);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "bakery.json");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "encode");
  lua_pushvalue(L, 2);
  lua_call(L, 1, 1);
  size_t n;
  const char *text = lua_tolstring(L, -1, &n);
  if (!text) return luaL_error(L, "add_manifest: the descriptor cannot be encoded");
  k->text = oci_copy(k, text, n);
  k->text_len = n;
  lua_pop(L, 2);
  return bk_job_await(L, &k->job, oci_done_true);
}

static int work_remove(struct call *k, struct bk_err *err) {
  k->found = bk_oci_layout_remove(k->layout, k->path, err);
  return k->found < 0 ? -1 : 0;
}

static int done_found(lua_State *L, struct bk_job *job) {
  lua_pushboolean(L, ((struct call *)job)->found);
  return 1;
}

static int layout_remove(lua_State *L) {
  const char *name = text_arg(L, 2, false);
  lua_settop(L, 2);
  struct call *k = oci_layout_call_new(L, work_remove);
  k->path = oci_copy(k, name, strlen(name));
  return bk_job_await(L, &k->job, done_found);
}

static int work_resolve(struct call *k, struct bk_err *err) {
  return bk_oci_layout_resolve(k->layout, k->path, k->platform, &k->m, &k->index, err);
}

/* resolve([name|digest[, platform]]) -> as client:resolve */
static int layout_resolve(lua_State *L) {
  const char *name = text_arg(L, 2, true), *platform = text_arg(L, 3, true);
  lua_settop(L, 3);
  struct call *k = oci_layout_call_new(L, work_resolve);
  k->path = oci_copy(k, name, name ? strlen(name) : 0);
  k->platform = oci_copy(k, platform, platform ? strlen(platform) : 0);
  return bk_job_await(L, &k->job, oci_done_resolve);
}

const luaL_Reg oci_layout_methods[] = {{"blob_path", layout_blob_path},
                                       {"has_blob", layout_has_blob},
                                       {"put_blob", layout_put_blob},
                                       {"get_blob", layout_get_blob},
                                       {"index", layout_index},
                                       {"add_manifest", layout_add_manifest},
                                       {"remove", layout_remove},
                                       {"resolve", layout_resolve},
                                       {NULL, NULL}};
