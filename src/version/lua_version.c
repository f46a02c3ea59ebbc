#include <string.h>

#include "version/lua_version.h"

BK_EXPORT int luaopen_bakery_version(lua_State *L);

#define T_RELEASE "bakery.version.release"
#define T_SEMVER "bakery.version.semver"

/* --- values ------------------------------------------------------------------------------------- */

/* Integer, or its digits when it does not fit. */
static void push_num(lua_State *L, struct bk_num n) {
  if (n.len > 18) {
    lua_pushlstring(L, n.p, n.len);
    return;
  }
  lua_Integer i = 0;
  for (size_t k = 0; k < n.len; k++) i = i * 10 + (n.p[k] - '0');
  lua_pushinteger(L, i);
}

static void push_nums(lua_State *L, const struct bk_num *nums, size_t n) {
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    push_num(L, nums[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_slice(lua_State *L, struct bk_slice s) {
  if (s.p) lua_pushlstring(L, s.p, s.len);
  else lua_pushnil(L);
}

/* Falls back to the methods in the metatable (upvalue-free: they live in its `methods` field). */
static int push_method(lua_State *L) {
  lua_getmetatable(L, 1);
  lua_getfield(L, -1, "methods");
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  return 1;
}

/* --- pep440 ------------------------------------------------------------------------------------- */

static int pep_close(lua_State *L) {
  bk_pep440_free(bk_check(L, 1, T_PEP440));
  return 0;
}

struct bk_pep440 *bk_lua_push_pep440(lua_State *L, const char *s, size_t n, struct bk_err *err) {
  struct bk_pep440 *v = bk_box(L, sizeof *v, T_PEP440);
  return bk_pep440_parse(v, s, n, err) ? NULL : v;
}

static int l_pep440(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  struct bk_err err;
  return bk_lua_push_pep440(L, s, n, &err) ? 1 : bk_lua_fail(L, &err);
}

/* The value at idx as a version; a string is parsed and replaced by its box. Raises on bad text. */
static struct bk_pep440 *to_pep440(lua_State *L, int idx) {
  if (lua_type(L, idx) != LUA_TSTRING) return bk_check(L, idx, T_PEP440);
  size_t n;
  const char *s = lua_tolstring(L, idx, &n);
  struct bk_err err;
  struct bk_pep440 *v = bk_lua_push_pep440(L, s, n, &err);
  if (!v) bk_lua_raise(L, &err);
  lua_replace(L, idx);
  return v;
}

int bk_version_pieces(const char *text) {
  int n = 1;
  for (; *text; text++) n += *text == '.';
  return n;
}

static int pep_has_minor(lua_State *L) {
  struct bk_pep440 *v = bk_check(L, 1, T_PEP440);
  lua_pushboolean(L, v->text && bk_version_pieces(v->text) > 1);
  return 1;
}

static int pep_has_patch(lua_State *L) {
  struct bk_pep440 *v = bk_check(L, 1, T_PEP440);
  lua_pushboolean(L, v->text && bk_version_pieces(v->text) > 2);
  return 1;
}

static const luaL_Reg PEP_METHODS[] = {
    {"has_minor", pep_has_minor}, {"has_patch", pep_has_patch}, {NULL, NULL}};

static void push_part(lua_State *L, const struct bk_pep440 *v, size_t i) {
  if (i < v->nrelease) push_num(L, v->release[i]);
  else lua_pushinteger(L, 0);
}

static void push_pre(lua_State *L, const struct bk_pep440 *v) {
  static const char *const LETTER[] = {"", "a", "b", "rc"};
  if (!v->pre) {
    lua_pushnil(L);
    return;
  }
  lua_createtable(L, 2, 0);
  lua_pushstring(L, LETTER[v->pre]);
  lua_rawseti(L, -2, 1);
  push_num(L, v->pre_n);
  lua_rawseti(L, -2, 2);
}

static int pep_index(lua_State *L) {
  struct bk_pep440 *v = bk_check(L, 1, T_PEP440);
  const char *k = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (!v->text) lua_pushnil(L);
  else if (!strcmp(k, "text")) lua_pushstring(L, v->text);
  else if (!strcmp(k, "epoch")) push_num(L, v->epoch);
  else if (!strcmp(k, "release")) push_nums(L, v->release, v->nrelease);
  else if (!strcmp(k, "major")) push_part(L, v, 0);
  else if (!strcmp(k, "minor")) push_part(L, v, 1);
  else if (!strcmp(k, "patch")) push_part(L, v, 2);
  else if (!strcmp(k, "pre")) push_pre(L, v);
  else if (!strcmp(k, "post")) v->has_post ? push_num(L, v->post) : lua_pushnil(L);
  else if (!strcmp(k, "dev")) v->has_dev ? push_num(L, v->dev) : lua_pushnil(L);
  else if (!strcmp(k, "local")) v->local.len ? push_slice(L, v->local) : lua_pushnil(L);
  else if (!strcmp(k, "is_prerelease")) lua_pushboolean(L, v->pre || v->has_dev);
  else return push_method(L);
  return 1;
}

static int pep_tostring(lua_State *L) {
  struct bk_pep440 *v = bk_check(L, 1, T_PEP440);
  lua_pushstring(L, v->text ? v->text : "");
  return 1;
}

#define COMPARES(prefix, type, tname, fn)                             \
  static int prefix##_lt(lua_State *L) {                              \
    struct type *a = bk_check(L, 1, tname), *b = bk_check(L, 2, tname); \
    lua_pushboolean(L, fn(a, b) < 0);                                 \
    return 1;                                                         \
  }                                                                   \
  static int prefix##_le(lua_State *L) {                              \
    struct type *a = bk_check(L, 1, tname), *b = bk_check(L, 2, tname); \
    lua_pushboolean(L, fn(a, b) <= 0);                                \
    return 1;                                                         \
  }                                                                   \
  static int prefix##_eq(lua_State *L) {                              \
    struct type *a = luaL_testudata(L, 1, tname), *b = luaL_testudata(L, 2, tname); \
    lua_pushboolean(L, a && b && fn(a, b) == 0);                      \
    return 1;                                                         \
  }

COMPARES(pep, bk_pep440, T_PEP440, bk_pep440_compare)

/* --- release names ------------------------------------------------------------------------------ */

static int rel_close(lua_State *L) {
  bk_release_free(bk_check(L, 1, T_RELEASE));
  return 0;
}

static int l_release(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  struct bk_release *r = bk_box(L, sizeof *r, T_RELEASE);
  struct bk_err err;
  return bk_release_parse(r, s, n, &err) ? bk_lua_fail(L, &err) : 1;
}

static void push_deps(lua_State *L, const struct bk_release *r) {
  lua_createtable(L, (int)r->ndeps, 0);
  for (size_t i = 0; i < r->ndeps; i++) {
    lua_createtable(L, 0, 2);
    push_slice(L, r->deps[i].name);
    lua_setfield(L, -2, "name");
    push_nums(L, r->nums + r->deps[i].first, r->deps[i].count);
    lua_setfield(L, -2, "release");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static int rel_index(lua_State *L) {
  struct bk_release *r = bk_check(L, 1, T_RELEASE);
  const char *k = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (!r->text) lua_pushnil(L);
  else if (!strcmp(k, "text")) lua_pushstring(L, r->text);
  else if (!strcmp(k, "kind")) lua_pushstring(L, r->is_deps ? "dependencies" : "release");
  else if (!strcmp(k, "release"))
    r->is_deps ? lua_pushnil(L) : push_nums(L, r->nums, r->nnums);
  else if (!strcmp(k, "prerelease")) push_slice(L, r->prerelease);
  else if (!strcmp(k, "build")) push_slice(L, r->build);
  else if (!strcmp(k, "dependencies")) r->is_deps ? push_deps(L, r) : lua_pushnil(L);
  else lua_pushnil(L);
  return 1;
}

static int rel_tostring(lua_State *L) {
  struct bk_release *r = bk_check(L, 1, T_RELEASE);
  lua_pushstring(L, r->text ? r->text : "");
  return 1;
}

COMPARES(rel, bk_release, T_RELEASE, bk_release_compare)

static int l_matches_filter(lua_State *L) {
  size_t n, f;
  const char *name = luaL_checklstring(L, 1, &n), *filter = luaL_checklstring(L, 2, &f);
  lua_pushboolean(L, bk_release_matches(name, n, filter, f));
  return 1;
}

/* --- semver ------------------------------------------------------------------------------------- */

static int sem_close(lua_State *L) {
  bk_semver_free(bk_check(L, 1, T_SEMVER));
  return 0;
}

static int l_semver(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  struct bk_semver *v = bk_box(L, sizeof *v, T_SEMVER);
  struct bk_err err;
  return bk_semver_parse(v, s, n, &err) ? bk_lua_fail(L, &err) : 1;
}

static int sem_index(lua_State *L) {
  struct bk_semver *v = bk_check(L, 1, T_SEMVER);
  const char *k = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (!v->text) lua_pushnil(L);
  else if (!strcmp(k, "text")) lua_pushstring(L, v->text);
  else if (!strcmp(k, "major")) push_num(L, v->num[0]);
  else if (!strcmp(k, "minor")) push_num(L, v->num[1]);
  else if (!strcmp(k, "patch")) push_num(L, v->num[2]);
  else if (!strcmp(k, "parts")) lua_pushinteger(L, (lua_Integer)v->parts);
  else if (!strcmp(k, "prerelease")) push_slice(L, v->prerelease);
  else if (!strcmp(k, "build")) push_slice(L, v->build);
  else lua_pushnil(L);
  return 1;
}

static int sem_tostring(lua_State *L) {
  struct bk_semver *v = bk_check(L, 1, T_SEMVER);
  lua_pushstring(L, v->text ? v->text : "");
  return 1;
}

COMPARES(sem, bk_semver, T_SEMVER, bk_semver_compare)

static int l_satisfies(lua_State *L) {
  size_t n, r;
  const char *s = luaL_checklstring(L, 1, &n), *range = luaL_checklstring(L, 2, &r);
  struct bk_semver v, probe = {0};
  struct bk_err err;
  /* A bad range is an error whatever the version; a text that is no version satisfies nothing. */
  probe.num[0] = probe.num[1] = probe.num[2] = (struct bk_num){"", 0};
  if (bk_semver_satisfies(&probe, range, r, &err) < 0) return bk_lua_fail(L, &err);
  if (bk_semver_parse(&v, s, n, &err)) {
    lua_pushboolean(L, false);
    return 1;
  }
  int ok = bk_semver_satisfies(&v, range, r, &err);
  bk_semver_free(&v);
  if (ok < 0) return bk_lua_fail(L, &err);
  lua_pushboolean(L, ok);
  return 1;
}

/* --- the module ---------------------------------------------------------------------------------- */

/* Text before the first `+` or `-`, and that without its last dotted part. */
static int l_edition(lua_State *L) {
  const char *s = luaL_checkstring(L, 1);
  size_t n = strcspn(s, "+-"), m = n;
  lua_pushlstring(L, s, n);
  while (m > 0 && s[m - 1] != '.') m--;
  lua_pushlstring(L, s, m > 1 ? m - 1 : n);
  lua_insert(L, -2);
  return 2;
}

/* Is a <= b in PEP 440 order, where a partial text counts as zero-extended? For min/max checks. */
static int l_le(lua_State *L) {
  struct bk_pep440 *a = to_pep440(L, 1), *b = to_pep440(L, 2);
  lua_pushboolean(L, bk_pep440_compare(a, b) <= 0);
  return 1;
}

static const luaL_Reg FUNCTIONS[] = {
    {"pep440", l_pep440},       {"release", l_release}, {"semver", l_semver},
    {"compare", bk_lua_version_compare},     {"sort", bk_lua_version_sort},       {"matches_filter", l_matches_filter},
    {"satisfies", l_satisfies}, {"resolve", bk_lua_version_resolve}, {"edition", l_edition},
    {"le", l_le},               {"select", bk_lua_version_select},   {NULL, NULL}};

static void define(lua_State *L, const char *tname, lua_CFunction close, const luaL_Reg *meta,
                   const luaL_Reg *methods) {
  static const luaL_Reg none[] = {{NULL, NULL}};
  bk_class(L, tname, none, close);
  luaL_getmetatable(L, tname);
  luaL_setfuncs(L, meta, 0);
  lua_newtable(L);
  luaL_setfuncs(L, methods ? methods : none, 0);
  lua_setfield(L, -2, "methods");
  lua_pop(L, 1);
}

int luaopen_bakery_version(lua_State *L) {
  static const luaL_Reg pep[] = {{"__index", pep_index}, {"__tostring", pep_tostring},
                                 {"__lt", pep_lt},       {"__le", pep_le},
                                 {"__eq", pep_eq},       {NULL, NULL}};
  static const luaL_Reg rel[] = {{"__index", rel_index}, {"__tostring", rel_tostring},
                                 {"__lt", rel_lt},       {"__le", rel_le},
                                 {"__eq", rel_eq},       {NULL, NULL}};
  static const luaL_Reg sem[] = {{"__index", sem_index}, {"__tostring", sem_tostring},
                                 {"__lt", sem_lt},       {"__le", sem_le},
                                 {"__eq", sem_eq},       {NULL, NULL}};
  define(L, T_PEP440, pep_close, pep, PEP_METHODS);
  define(L, T_RELEASE, rel_close, rel, NULL);
  define(L, T_SEMVER, sem_close, sem, NULL);
  bk_lua_version_lists(L);
  luaL_newlib(L, FUNCTIONS);
  return 1;
}
