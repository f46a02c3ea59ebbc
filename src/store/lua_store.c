#include "store/lua_store.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

struct lua_store *bk_lua_store(lua_State *L) {
  struct lua_store *box = bk_check(L, 1, STORE);
  if (!box->s) luaL_error(L, "the store is closed");
  return box;
}

static struct bk_store *store(lua_State *L) { return bk_lua_store(L)->s; }

/* --- JSON: what Lua hands in and gets back; the core sees text -------------------------------- */

static void push_json(lua_State *L, const char *function) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "bakery.json");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, function);
  lua_remove(L, -2);
}

const char *bk_lua_store_encode(lua_State *L, int idx, size_t *n) {
  idx = lua_absindex(L, idx);
  push_json(L, "encode");
  lua_pushvalue(L, idx);
  lua_createtable(L, 0, 1);
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "sort");
  lua_call(L, 2, 1);
  return luaL_checklstring(L, -1, n);
}

void bk_lua_store_decode(lua_State *L, const char *text, size_t n) {
  push_json(L, "decode");
  lua_pushlstring(L, text, n);
  lua_call(L, 1, 1);
}

/* Pushes the buffer as decoded JSON and frees it, also when decoding raises. */
static void push_decoded(lua_State *L, struct bk_buf *text) {
  push_json(L, "decode");
  lua_pushlstring(L, bk_buf_str(text), text->len);
  bk_buf_free(text);
  lua_call(L, 1, 1);
}

/* --- blobs ----------------------------------------------------------------------------------- */

static int bad_digest(lua_State *L, const char *digest) {
  struct bk_err err;
  bk_fail(&err, BK_BUILD, "store.digest", "'%.100s' is not a sha256 digest", digest);
  return bk_lua_fail(L, &err);
}

/* Pushes and frees a path, or returns nil, err. */
static int push_path(lua_State *L, char *path, const struct bk_err *err) {
  if (!path) return bk_lua_fail(L, err);
  lua_pushstring(L, path);
  free(path);
  return 1;
}

static int blob_path(lua_State *L) {
  struct bk_store *s = store(L);
  const char *digest = luaL_checkstring(L, 2);
  if (!bk_store_is_digest(digest)) return bad_digest(L, digest);
  return push_path(L, bk_store_blob_path(s, digest), NULL);
}

static int has_blob(lua_State *L) {
  struct bk_err err;
  uint64_t size = 0;
  int rc = bk_store_has_blob(store(L), luaL_checkstring(L, 2), &size, &err);
  if (rc < 0) return bk_lua_fail(L, &err);
  lua_pushboolean(L, rc);
  if (rc) lua_pushinteger(L, (lua_Integer)size);
  return 1 + rc;
}

static int put_blob(lua_State *L) {
  struct bk_err err;
  size_t n;
  char digest[72];
  const char *data = luaL_checklstring(L, 2, &n);
  if (bk_store_put_blob(store(L), data, n, digest, &err)) return bk_lua_fail(L, &err);
  lua_pushstring(L, digest);
  lua_pushinteger(L, (lua_Integer)n);
  return 2;
}

static int get_blob(lua_State *L) {
  struct bk_err err;
  const char *digest = luaL_checkstring(L, 2);
  lua_Integer max = luaL_optinteger(L, 3, 16 << 20);
  luaL_argcheck(L, max > 0 && max <= 1 << 30, 3, "1 byte to 1 GiB expected");
  struct bk_buf out = {.max = (size_t)max};
  int rc = bk_store_get_blob(store(L), digest, &out, &err);
  if (rc == 1) lua_pushlstring(L, bk_buf_str(&out), out.len);
  bk_buf_free(&out);
  if (rc == 1) return 1;
  if (rc == 0)
    bk_fail(&err, BK_BUILD, "store.missing_blob", "blob %s is not in the store", digest);
  return bk_lua_fail(L, &err);
}

/* --- temporary space ------------------------------------------------------------------------- */

static int tmpdir(lua_State *L) {
  struct bk_err err;
  return push_path(L, bk_store_tmpdir(store(L), &err), &err);
}

static int tmpfile_(lua_State *L) {
  struct bk_err err;
  return push_path(L, bk_store_tmpfile(store(L), &err), &err);
}

/* --- layers ---------------------------------------------------------------------------------- */

static int layer_dir(lua_State *L) {
  char *path = bk_store_layer_dir(store(L), luaL_checkstring(L, 2));
  if (!path) return lua_pushnil(L), 1;
  return push_path(L, path, NULL);
}

static int layer_meta(lua_State *L) {
  struct bk_err err;
  struct bk_buf text = {.max = BK_STORE_RECORD_MAX};
  int rc = bk_store_layer_meta(store(L), luaL_checkstring(L, 2), &text, &err);
  if (rc == 1) {
    push_decoded(L, &text);
    return 1;
  }
  bk_buf_free(&text);
  if (rc < 0) return bk_lua_fail(L, &err);
  return lua_pushnil(L), 1;
}

static int set_layer_meta(lua_State *L) {
  struct bk_err err;
  size_t n;
  const char *diff_id = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  const char *meta = bk_lua_store_encode(L, 3, &n);
  if (bk_store_set_layer_meta(store(L), diff_id, meta, n, &err)) return bk_lua_fail(L, &err);
  return lua_pushboolean(L, 1), 1;
}

/* --- records --------------------------------------------------------------------------------- */

static int get(lua_State *L, enum bk_store_kind kind, int64_t *stamp) {
  struct bk_err err;
  struct bk_buf text = {.max = BK_STORE_RECORD_MAX};
  int rc = bk_store_get(store(L), kind, luaL_checkstring(L, 2), &text, stamp, &err);
  if (rc == 1) {
    push_decoded(L, &text); /* text that is no JSON counts as absent: one nil */
    return 1;
  }
  bk_buf_free(&text);
  if (rc < 0) return bk_lua_fail(L, &err);
  return lua_pushnil(L), 1;
}

static int put(lua_State *L, enum bk_store_kind kind) {
  struct bk_err err;
  size_t n;
  const char *name = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  const char *text = bk_lua_store_encode(L, 3, &n);
  if (bk_store_put(store(L), kind, name, text, n, &err)) return bk_lua_fail(L, &err);
  return lua_pushboolean(L, 1), 1;
}

static int del(lua_State *L, enum bk_store_kind kind) {
  struct bk_err err;
  int rc = bk_store_del(store(L), kind, luaL_checkstring(L, 2), &err);
  if (rc < 0) return bk_lua_fail(L, &err);
  return lua_pushboolean(L, rc), 1;
}

static int get_key(lua_State *L) { return get(L, BK_STORE_KEY, NULL); }
static int put_key(lua_State *L) { return put(L, BK_STORE_KEY); }
static int del_key(lua_State *L) { return del(L, BK_STORE_KEY); }
static int get_ref(lua_State *L) { return get(L, BK_STORE_REF, NULL); }
static int put_ref(lua_State *L) { return put(L, BK_STORE_REF); }
static int del_ref(lua_State *L) { return del(L, BK_STORE_REF); }
static int remote_put(lua_State *L) { return put(L, BK_STORE_REMOTE); }
static int remote_del(lua_State *L) { return del(L, BK_STORE_REMOTE); }

static int remote_get(lua_State *L) {
  int64_t stamp = 0;
  lua_Number max_age = luaL_optnumber(L, 3, -1);
  int n = get(L, BK_STORE_REMOTE, &stamp);
  if (n != 1 || lua_isnil(L, -1)) return n;
  lua_Number age = (lua_Number)(time(NULL) - (time_t)stamp);
  if (max_age >= 0 && age > max_age) lua_pushnil(L);
  lua_pushnumber(L, age);
  return 2;
}

struct listing {
  struct bk_buf bytes; /* struct listed, name, text; again and again */
  const char *prefix;
  bool full;
};

struct listed {
  size_t name, text;
  int64_t stamp;
};

/* No Lua here: an error would leak the walk's resources. */
static int list_one(void *ud, const char *name, const char *text, size_t n, int64_t stamp) {
  struct listing *l = ud;
  if (strncmp(name, l->prefix, strlen(l->prefix)) != 0) return 0;
  struct listed item = {strlen(name), l->full ? n : 0, stamp};
  bk_buf_add(&l->bytes, &item, sizeof item);
  bk_buf_add(&l->bytes, name, item.name);
  bk_buf_add(&l->bytes, text, item.text);
  return 0;
}

/* Pushes the name, or the table of a full listing (nil when the text does not decode). */
static void push_listed(lua_State *L, const char *p, const struct listed *item, bool full) {
  if (!full) {
    lua_pushlstring(L, p, item->name);
    return;
  }
  bk_lua_store_decode(L, p + item->name, item->text);
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_pushnil(L);
    return;
  }
  lua_createtable(L, 0, 3);
  lua_insert(L, -2);
  lua_setfield(L, -2, "value");
  lua_pushlstring(L, p, item->name);
  lua_setfield(L, -2, "name");
  lua_pushinteger(L, (lua_Integer)item->stamp);
  lua_setfield(L, -2, "stamp");
}

static int by_name(lua_State *L) {
  for (int i = 1; i <= 2; i++)
    if (lua_istable(L, i)) {
      lua_getfield(L, i, "name");
      lua_replace(L, i);
    }
  lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
  return 1;
}

/* s:refs([prefix[, full]]) */
static int list(lua_State *L, enum bk_store_kind kind) {
  struct bk_err err;
  struct bk_store *s = store(L);
  struct listing l = {.prefix = luaL_optstring(L, 2, ""), .full = lua_toboolean(L, 3)};
  int rc = bk_store_each(s, kind, list_one, &l, &err);
  /* Into a Lua string first, which Lua frees when decoding raises. */
  lua_pushlstring(L, bk_buf_str(&l.bytes), l.bytes.len);
  bk_buf_free(&l.bytes);
  if (rc) return bk_lua_fail(L, &err);
  size_t len;
  const char *p = lua_tolstring(L, -1, &len), *end = p + len;
  lua_newtable(L);
  for (lua_Integer i = 0; p < end;) {
    struct listed item;
    memcpy(&item, p, sizeof item);
    push_listed(L, p + sizeof item, &item, l.full);
    if (lua_isnil(L, -1)) lua_pop(L, 1);
    else lua_rawseti(L, -2, ++i);
    p += sizeof item + item.name + item.text;
  }
  lua_getglobal(L, "table");
  lua_getfield(L, -1, "sort");
  lua_pushvalue(L, -3);
  lua_pushcfunction(L, by_name);
  lua_call(L, 2, 0);
  lua_pop(L, 1);
  return 1;
}

static int refs(lua_State *L) { return list(L, BK_STORE_REF); }
static int keys(lua_State *L) { return list(L, BK_STORE_KEY); }

/* --- paths ----------------------------------------------------------------------------------- */

static int statcache_path(lua_State *L) {
  struct bk_err err;
  return push_path(L, bk_store_statcache_path(store(L), luaL_checkstring(L, 2), &err), &err);
}

static int log_path(lua_State *L) {
  struct bk_err err;
  return push_path(L, bk_store_log_path(store(L), luaL_checkstring(L, 2), &err), &err);
}

/* --- the class ------------------------------------------------------------------------------- */

static int close_store(lua_State *L) {
  struct lua_store *box = bk_check(L, 1, STORE);
  struct bk_store *s = box->s;
  box->s = NULL;
  bk_store_unref(s);
  return 0;
}

/* Methods, and the field `dir`. */
static int index_store(lua_State *L) {
  struct lua_store *box = bk_check(L, 1, STORE);
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "dir") == 0) {
    if (box->s) lua_pushstring(L, bk_store_dir(box->s));
    else lua_pushnil(L);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

BK_EXPORT int luaopen_bakery_store(lua_State *L);
BK_EXPORT int luaopen_bakery_store(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"blob_path", blob_path},     {"has_blob", has_blob},
      {"put_blob", put_blob},       {"get_blob", get_blob},
      {"tmpdir", tmpdir},           {"tmpfile", tmpfile_},
      {"layer_dir", layer_dir},     {"layer_meta", layer_meta},
      {"get_key", get_key},         {"put_key", put_key},
      {"del_key", del_key},         {"keys", keys},
      {"get_ref", get_ref},         {"put_ref", put_ref},
      {"del_ref", del_ref},         {"refs", refs},
      {"remote_get", remote_get},   {"remote_put", remote_put},
      {"remote_del", remote_del},   {"set_layer_meta", set_layer_meta},
      {"log_path", log_path},       {"statcache_path", statcache_path},
      {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", bk_lua_store_open}, {NULL, NULL}};
  bk_lua_loop(L);
  bk_class(L, STORE, methods, close_store);
  luaL_getmetatable(L, STORE);
  lua_getfield(L, -1, "__index");
  if (lua_istable(L, -1)) { /* the first time */
    luaL_setfuncs(L, bk_lua_store_jobs, 0);
    luaL_setfuncs(L, bk_lua_store_locks, 0);
    lua_pushcclosure(L, index_store, 1);
    lua_setfield(L, -2, "__index");
  } else {
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  bk_lua_store_lock_class(L);
  luaL_newlib(L, functions);
  return 1;
}
