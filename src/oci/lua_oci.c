#include <string.h>

#include "base/mem.h"
#include "oci/lua_oci.h"

#define PARTS "bakery.oci.parts"

BK_EXPORT int luaopen_bakery_oci(lua_State *L);

/* --- references ------------------------------------------------------------------------------ */

static void push_ref(lua_State *L, const struct bk_oci_ref *r) {
  lua_createtable(L, 0, 5);
  oci_set_text(L, "registry", r->registry);
  oci_set_text(L, "repository", r->repository);
  oci_set_text(L, "tag", r->tag);
  oci_set_text(L, "digest", r->digest);
  lua_pushfstring(L, "%s/%s", r->registry, r->repository);
  lua_setfield(L, -2, "name");
  luaL_setmetatable(L, OCI_REF);
}

static int ref_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_Buffer b;
  lua_getfield(L, 1, "registry");
  lua_getfield(L, 1, "repository");
  lua_getfield(L, 1, "tag");
  lua_getfield(L, 1, "digest");
  luaL_buffinit(L, &b);
  static const char *const before[] = {"", "/", ":", "@"};
  for (int i = 0; i < 4; i++) {
    const char *s = lua_tostring(L, 2 + i);
    if (!s) continue;
    luaL_addstring(&b, before[i]);
    luaL_addstring(&b, s);
  }
  luaL_pushresult(&b);
  return 1;
}

static int ref_eq(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_pushboolean(L, lua_rawequal(L, -1, -2));
  return 1;
}

static int parts_close(lua_State *L) {
  bk_oci_ref_free(bk_check(L, 1, PARTS));
  return 0;
}

static int oci_ref(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  struct bk_err err;
  struct bk_oci_ref *r = bk_box(L, sizeof *r, PARTS);
  if (bk_oci_ref_parse(r, text, n, &err)) return bk_lua_fail(L, &err);
  push_ref(L, r);
  bk_oci_ref_free(r);
  return 1;
}

/* --- client ---------------------------------------------------------------------------------- */

static int client_close(lua_State *L) {
  struct bk_oci **box = bk_check(L, 1, OCI_CLIENT);
  bk_oci_drop(*box);
  *box = NULL;
  return 0;
}

static void login_fields(lua_State *L, int idx, struct bk_oci_login *l) {
  static const char *const names[] = {"host", "username", "password", "identity_token",
                                      "registry_token", NULL};
  bk_opts(L, idx, names);
  l->host = bk_opt_str(L, idx, "host", l->host, NULL);
  l->username = bk_opt_str(L, idx, "username", NULL, NULL);
  l->password = bk_opt_str(L, idx, "password", NULL, NULL);
  l->identity_token = bk_opt_str(L, idx, "identity_token", NULL, NULL);
  l->registry_token = bk_opt_str(L, idx, "registry_token", NULL, NULL);
}

/* auth = false | {username=, password=, host=…} | {["ghcr.io"]={…}, …}; leaves a userdata. */
static void take_auth(lua_State *L, struct bk_oci_opts *o) {
  bool given = bk_opt_get(L, 1, "auth");
  int at = lua_gettop(L);
  if (!given) return;
  if (lua_isboolean(L, at)) {
    o->anonymous = !lua_toboolean(L, at);
    return;
  }
  luaL_checktype(L, at, LUA_TTABLE);
  size_t n = 1;
  bool per_host = false;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    n++;
    if (lua_istable(L, -1)) per_host = true;
  }
  struct bk_oci_login *list = lua_newuserdatauv(L, n * sizeof *list, 0);
  memset(list, 0, n * sizeof *list);
  o->logins = list;
  if (!per_host) {
    login_fields(L, at, &list[o->nlogins++]);
    return;
  }
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || !lua_istable(L, -1))
      luaL_error(L, "option 'auth': expected host names with tables of credentials");
    list[o->nlogins].host = lua_tostring(L, -2);
    login_fields(L, lua_gettop(L), &list[o->nlogins++]);
  }
}

static void add_mirror(lua_State *L, struct bk_oci_opts *o, struct bk_oci_mirror *list,
                       const char *prefix, const char *location) {
  if (!prefix || !location || !*prefix || !*location)
    luaL_error(L, "option 'mirrors': expected prefixes with a location or a list of locations");
  list[o->nmirrors++] = (struct bk_oci_mirror){.prefix = prefix, .location = location};
}

/* mirrors = {["docker.io"] = "host/path" | {"host/path", …}}; leaves a userdata. */
static void take_mirrors(lua_State *L, struct bk_oci_opts *o) {
  bool given = bk_opt_get(L, 1, "mirrors");
  int at = lua_gettop(L);
  if (!given) return;
  luaL_checktype(L, at, LUA_TTABLE);
  size_t n = 0;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
    n += lua_istable(L, -1) ? lua_rawlen(L, -1) : 1;
  struct bk_oci_mirror *list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
  o->mirrors = list;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    const char *prefix = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    if (!lua_istable(L, -1)) {
      add_mirror(L, o, list, prefix, lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL);
      continue;
    }
    size_t k = lua_rawlen(L, -1);
    for (size_t i = 1; i <= k && o->nmirrors < n; i++) { /* the table keeps the string */
      bool text = lua_rawgeti(L, -1, (lua_Integer)i) == LUA_TSTRING;
      add_mirror(L, o, list, prefix, text ? lua_tostring(L, -1) : NULL);
      lua_pop(L, 1);
    }
  }
}

/* registries_conf = path | false; the string stays owned by the options. */
static const char *take_conf(lua_State *L) {
  bool off = bk_opt_get(L, 1, "registries_conf") && lua_isboolean(L, -1) && !lua_toboolean(L, -1);
  lua_pop(L, 1);
  return off ? "" : bk_opt_str(L, 1, "registries_conf", NULL, NULL);
}

static int oci_client(lua_State *L) {
  static const char *const names[] = {"auth",       "auth_file", "plain_http", "ca_file",
                                      "insecure",   "user_agent", "retries",   "parallel",
                                      "mirrors",    "registries_conf", "chunk_size",
                                      "manifest_max", NULL};
  bk_opts(L, 1, names);
  lua_settop(L, 1);
  struct bk_oci_opts o = {.auth_file = bk_opt_str(L, 1, "auth_file", NULL, NULL),
                          .ca_file = bk_opt_str(L, 1, "ca_file", NULL, NULL),
                          .user_agent = bk_opt_str(L, 1, "user_agent", NULL, NULL),
                          .insecure = bk_opt_bool(L, 1, "insecure", false),
                          .retries = (int)bk_opt_int(L, 1, "retries", -1),
                          .parallel = (int)bk_opt_int(L, 1, "parallel", 0),
                          .chunk = bk_opt_int(L, 1, "chunk_size", 0)};
  int64_t most = bk_opt_int(L, 1, "manifest_max", 0);
  if (most < 0) luaL_error(L, "option 'manifest_max': must not be negative");
  o.manifest_max = (size_t)most;
  if (o.chunk < 0) luaL_error(L, "option 'chunk_size': must not be negative");
  const char **plain;
  bk_opt_strv(L, 1, "plain_http", &plain);
  o.plain_http = plain;
  take_auth(L, &o);
  take_mirrors(L, &o);
  o.registries_conf = take_conf(L);
  struct bk_oci **box = bk_box(L, sizeof *box, OCI_CLIENT);
  struct bk_err err;
  *box = bk_oci_new(&o, &err);
  return *box ? 1 : bk_lua_fail(L, &err);
}

/* credentials(host): those a client without options would find. */
static int oci_credentials(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_pushcfunction(L, oci_client);
  lua_call(L, 0, 1);
  lua_insert(L, 1);
  return oci_client_credentials(L);
}

static int oci_is_digest(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_pushboolean(L, strlen(s) == n && bk_oci_is_digest(s));
  return 1;
}

BK_EXPORT int luaopen_bakery_oci(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"ref", oci_ref},
      {"client", oci_client},
      {"credentials", oci_credentials},
      {"is_digest", oci_is_digest},
      {"layout", oci_layout_open},
      {NULL, NULL}};
  static const luaL_Reg ref_meta[] = {{"__tostring", ref_tostring}, {"__eq", ref_eq}, {NULL, NULL}};
  bk_lua_loop(L); /* before any job: it is closed after them */
  bk_class(L, OCI_CLIENT, oci_client_methods, client_close);
  bk_class(L, OCI_LAYOUT, oci_layout_methods, oci_layout_close);
  bk_class(L, PARTS, NULL, parts_close);
  if (luaL_newmetatable(L, OCI_REF)) luaL_setfuncs(L, ref_meta, 0);
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  luaL_setfuncs(L, oci_document_functions, 0);
  return 1;
}
