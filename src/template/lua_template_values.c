/* Values between Lua and templates. Tables with elements 1..n and those marked as arrays
 * (json.array, template.list) are lists; others are dicts, in the order of their __pairs
 * (json.object, template.map) or else sorted by key, so that output does not depend on hashing. */
#include <string.h>

#include "template/lua_template.h"

#define LIST_MT "bakery.template.list"
#define JSON_ARRAY_MT "bakery.json.array"
#define MAX_DEPTH 100

static bool has_mt(lua_State *L, int idx, const char *name) {
  if (!lua_getmetatable(L, idx)) return false;
  luaL_getmetatable(L, name);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

static bool has_field(lua_State *L, int idx, const char *name) {
  if (luaL_getmetafield(L, idx, name) == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

void bk_tpl_lua_push_none(lua_State *L) {
  static const char none = 0;
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "bakery.json") == LUA_TTABLE) {
    lua_getfield(L, -1, "null");
    lua_replace(L, -3);
    lua_pop(L, 1);
    if (lua_islightuserdata(L, -1)) return;
    lua_pop(L, 1);
  } else {
    lua_pop(L, 2);
  }
  lua_pushlightuserdata(L, (void *)(uintptr_t)&none);
}

/* --- Lua to template ------------------------------------------------------------------------- */

static lua_Integer anchor(struct tpl_bridge *b, int idx) {
  lua_pushvalue(b->L, idx);
  lua_rawseti(b->L, b->anchors, ++b->n);
  return b->n;
}

static int push_tostring(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

static bk_tv text_of(struct tpl_bridge *b, struct bk_tpl_run *r, int idx) {
  lua_State *L = b->L;
  size_t n;
  lua_pushcfunction(L, push_tostring);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK || !lua_isstring(L, -1)) {
    lua_pop(L, 1);
    lua_pushliteral(L, "userdata");
  }
  const char *s = lua_tolstring(L, -1, &n);
  bk_tv v = bk_tv_copy(r, s, n);
  lua_pop(L, 1);
  return v;
}

bk_tv bk_tpl_from_lua(struct tpl_bridge *b, struct bk_tpl_run *r, int idx) {
  lua_State *L = b->L;
  size_t n;
  const char *s;
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 8, "template values");
  switch (lua_type(L, idx)) {
    case LUA_TBOOLEAN: return bk_tv_bool(lua_toboolean(L, idx));
    case LUA_TNUMBER:
      if (lua_isinteger(L, idx)) return bk_tv_int(lua_tointeger(L, idx));
      return bk_tv_float(lua_tonumber(L, idx));
    case LUA_TSTRING: s = lua_tolstring(L, idx, &n); return bk_tv_copy(r, s, n);
    case LUA_TTABLE:
      if (has_field(L, idx, "__call")) break;
      if (lua_rawlen(L, idx) > 0 || has_mt(L, idx, LIST_MT) || has_mt(L, idx, JSON_ARRAY_MT))
        return bk_tv_list(r, anchor(b, idx));
      return bk_tv_dict(r, anchor(b, idx));
    case LUA_TFUNCTION: break;
    case LUA_TUSERDATA:
      if (has_field(L, idx, "__call")) break;
      return text_of(b, r, idx);
    case LUA_TTHREAD: return text_of(b, r, idx);
    default: return bk_tv_none(); /* nil, light userdata */
  }
  bk_tv fn = bk_tv_int(anchor(b, idx));
  fn.kind = TV_HOST;
  return fn;
}

bk_tv bk_tpl_vars_from_lua(struct tpl_bridge *b, struct bk_tpl_run *r, int idx) {
  return bk_tv_dict(r, lua_istable(b->L, idx) ? anchor(b, lua_absindex(b->L, idx)) : 0);
}

static bool key_less(lua_State *L, int a, int b) {
  bool na = lua_type(L, a) == LUA_TNUMBER, nb = lua_type(L, b) == LUA_TNUMBER;
  if (na != nb) return na;
  return lua_compare(L, a, b, LUA_OPLT);
}

/* Sorts the list at idx, n keys that are numbers or strings, by heap: no Lua code runs. */
static void sort_keys(lua_State *L, int idx, lua_Integer n) {
  for (lua_Integer end = n, start = n / 2 + 1; end > 1;) {
    if (start > 1) {
      start--;
    } else {
      lua_rawgeti(L, idx, end);
      lua_rawgeti(L, idx, 1);
      lua_rawseti(L, idx, end--);
      lua_rawseti(L, idx, 1);
    }
    lua_Integer root = start;
    for (lua_Integer child; (child = 2 * root) <= end; root = child) {
      if (child < end) {
        lua_rawgeti(L, idx, child);
        lua_rawgeti(L, idx, child + 1);
        if (key_less(L, -2, -1)) child++;
        lua_pop(L, 2);
      }
      lua_rawgeti(L, idx, root);
      lua_rawgeti(L, idx, child);
      if (!key_less(L, -2, -1)) {
        lua_pop(L, 2);
        break;
      }
      lua_rawseti(L, idx, root);
      lua_rawseti(L, idx, child);
    }
  }
}

/* Protected: pushes the list key1, value1, key2 … of the table at 1, in the order of __pairs. */
static int collect_pairs(lua_State *L) {
  lua_Integer n = 0;
  lua_settop(L, 1);
  lua_newtable(L);
  luaL_getmetafield(L, 1, "__pairs");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 3);
  for (;;) {
    lua_pushvalue(L, 3);
    lua_pushvalue(L, 4);
    lua_pushvalue(L, 5);
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2)) break;
    lua_pushvalue(L, -2);
    lua_replace(L, 5);
    lua_rawseti(L, 2, n + 2);
    lua_rawseti(L, 2, n + 1);
    n += 2;
  }
  lua_settop(L, 2);
  return 1;
}

static int fill_ordered(struct tpl_bridge *b, struct bk_tpl_run *r, bk_tv d, int idx,
                        struct bk_err *err) {
  lua_State *L = b->L;
  lua_pushcfunction(L, collect_pairs);
  lua_pushvalue(L, idx);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    const char *why = lua_tostring(L, -1);
    if (!why) why = "error";
    return bk_fail(err, BK_BUILD, "template.runtime", "reading a variable: %s", why);
  }
  int list = lua_gettop(L);
  lua_Integer n = (lua_Integer)lua_rawlen(L, list);
  for (lua_Integer i = 1; i < n; i += 2) {
    lua_rawgeti(L, list, i);
    lua_rawgeti(L, list, i + 1);
    bk_tv_put(r, d, bk_tpl_from_lua(b, r, -2), bk_tpl_from_lua(b, r, -1));
    lua_pop(L, 2);
  }
  return 0;
}

static void fill_sorted(struct tpl_bridge *b, struct bk_tpl_run *r, bk_tv d, int idx) {
  lua_State *L = b->L;
  lua_Integer n = 0;
  lua_newtable(L);
  int keys = lua_gettop(L);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    int t = lua_type(L, -1);
    if (t != LUA_TSTRING && t != LUA_TNUMBER) continue; /* templates cannot name others */
    lua_pushvalue(L, -1);
    lua_rawseti(L, keys, ++n);
  }
  sort_keys(L, keys, n);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, keys, i);
    lua_pushvalue(L, -1);
    lua_rawget(L, idx);
    bk_tv_put(r, d, bk_tpl_from_lua(b, r, -2), bk_tpl_from_lua(b, r, -1));
    lua_pop(L, 2);
  }
}

static int fill(void *ud, struct bk_tpl_run *r, bk_tv c, int64_t lazy, struct bk_err *err) {
  struct tpl_bridge *b = ud;
  lua_State *L = b->L;
  int top = lua_gettop(L), rc = 0;
  luaL_checkstack(L, 12, "template values");
  lua_rawgeti(L, b->anchors, lazy);
  int idx = lua_gettop(L);
  if (c.kind == TV_LIST) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, idx);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, idx, i);
      bk_tv_push(r, c, bk_tpl_from_lua(b, r, -1));
      lua_pop(L, 1);
    }
  } else if (has_field(L, idx, "__pairs")) {
    rc = fill_ordered(b, r, c, idx, err);
  } else {
    fill_sorted(b, r, c, idx);
  }
  lua_settop(L, top);
  return rc;
}

/* --- template to Lua ------------------------------------------------------------------------- */

static int push(struct tpl_bridge *b, struct bk_tpl_run *r, bk_tv v, int depth, struct bk_err *err);

static int push_dict(struct tpl_bridge *b, struct bk_tpl_run *r, bk_tv v, int depth,
                     struct bk_err *err) {
  lua_State *L = b->L;
  bk_tv k, x;
  lua_pushcfunction(L, bk_tpl_lua_map);
  lua_call(L, 0, 1);
  for (size_t at = 0; bk_tv_pair(r, v, &at, &k, &x);) {
    if (k.kind != TV_STR && k.kind != TV_INT && k.kind != TV_FLOAT && k.kind != TV_BOOL)
      return bk_fail(err, BK_BUILD, "template.runtime", "a dict with such keys cannot go to Lua");
    if (push(b, r, k, depth + 1, err) || push(b, r, x, depth + 1, err)) return -1;
    lua_settable(L, -3);
  }
  return 0;
}

static int push(struct tpl_bridge *b, struct bk_tpl_run *r, bk_tv v, int depth,
                struct bk_err *err) {
  lua_State *L = b->L;
  size_t n;
  if (depth > MAX_DEPTH)
    return bk_fail(err, BK_BUILD, "template.runtime", "value nested too deeply");
  luaL_checkstack(L, 8, "template values");
  switch (v.kind) {
    case TV_MISSING:
    case TV_UNDEF: lua_pushnil(L); return 0;
    case TV_NONE: bk_tpl_lua_push_none(L); return 0;
    case TV_BOOL: lua_pushboolean(L, v.u.b); return 0;
    case TV_INT: lua_pushinteger(L, v.u.i); return 0;
    case TV_FLOAT: lua_pushnumber(L, v.u.f); return 0;
    case TV_STR: lua_pushlstring(L, v.u.s, v.len); return 0;
    case TV_HOST:
      lua_rawgeti(L, v.u.i > 0 ? b->anchors : b->functions, v.u.i > 0 ? v.u.i : -v.u.i);
      return 0;
    case TV_DICT:
    case TV_NS: return push_dict(b, r, v, depth, err);
    case TV_LIST:
    case TV_TUPLE:
    case TV_RANGE:
    case TV_VIEW:
    case TV_GEN: {
      const bk_tv *e = bk_tv_items(r, v, &n);
      lua_createtable(L, n > 1000 ? 1000 : (int)n, 0);
      luaL_setmetatable(L, LIST_MT);
      for (size_t i = 0; i < n; i++) {
        if (push(b, r, e[i], depth + 1, err)) return -1;
        lua_rawseti(L, -2, (lua_Integer)i + 1);
      }
      return 0;
    }
    default:
      return bk_fail(err, BK_BUILD, "template.runtime",
                     "macros and other template objects cannot go to Lua");
  }
}

/* The error value on the stack top, as text in err. */
static int lua_error_to(lua_State *L, struct bk_err *err) {
  const char *msg = NULL, *code = NULL;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "code");
    lua_getfield(L, -2, "message");
    code = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    msg = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
  } else if (lua_type(L, -1) == LUA_TSTRING) {
    msg = lua_tostring(L, -1);
  }
  return bk_fail(err, BK_BUILD, code ? code : "template.runtime", "%s", msg ? msg : "failed");
}

static int call(void *ud, struct bk_tpl_run *r, int64_t fn, const struct bk_tpl_args *a,
                bk_tv *result, struct bk_err *err) {
  struct tpl_bridge *b = ud;
  lua_State *L = b->L;
  int top = lua_gettop(L), nargs = (int)a->n, rc = 0;
  if (!lua_checkstack(L, nargs + 12))
    return bk_fail(err, BK_BUILD, "template.runtime", "too many arguments");
  lua_rawgeti(L, fn > 0 ? b->anchors : b->functions, fn > 0 ? fn : -fn);
  for (uint32_t i = 0; i < a->n && !rc; i++) rc = push(b, r, a->v[i], 0, err);
  if (!rc && a->nkw) { /* keyword arguments come last, as a table */
    nargs++;
    lua_createtable(L, 0, (int)a->nkw);
    for (uint32_t i = 0; i < a->nkw && !rc; i++) {
      lua_pushlstring(L, a->kw[i].name, a->kw[i].len);
      rc = push(b, r, a->kw[i].v, 0, err);
      if (!rc) lua_rawset(L, -3);
    }
  }
  if (!rc) {
    if (lua_pcall(L, nargs, 2, 0) != LUA_OK) rc = lua_error_to(L, err);
    else if (lua_isnil(L, -2) && !lua_isnil(L, -1)) rc = lua_error_to(L, err);
    else *result = bk_tpl_from_lua(b, r, -2);
  }
  lua_settop(L, top);
  return rc;
}

static int load(void *ud, const char *name, size_t len, struct bk_buf *text, struct bk_err *err) {
  struct tpl_bridge *b = ud;
  lua_State *L = b->L;
  int top = lua_gettop(L), rc = 0;
  size_t n;
  luaL_checkstack(L, 6, "template loader");
  if (lua_istable(L, b->loader)) {
    lua_pushlstring(L, name, len);
    lua_rawget(L, b->loader);
    lua_pushnil(L);
  } else if (lua_isfunction(L, b->loader)) {
    lua_pushvalue(L, b->loader);
    lua_pushlstring(L, name, len);
    if (lua_pcall(L, 1, 2, 0) != LUA_OK) rc = lua_error_to(L, err);
  } else {
    return 0;
  }
  if (!rc) {
    const char *s = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &n) : NULL;
    if (s) bk_buf_add(text, s, n);
    if (s) rc = 1;
    else if (!lua_isnil(L, -2))
      rc = bk_fail(err, BK_BUILD, "template.runtime", "loader: expected text");
    else if (!lua_isnil(L, -1)) rc = lua_error_to(L, err);
  }
  if (rc < 0) bk_err_wrap(err, "loading template '%.100s'", name);
  lua_settop(L, top);
  return rc;
}

const struct bk_tpl_host bk_tpl_lua_host = {.load = load, .fill = fill, .call = call};

/* --- template.map, template.list ------------------------------------------------------------- */

/* __newindex of one map; upvalue 1: its list of keys, with the known ones in the table at 0. */
static int map_newindex(lua_State *L) {
  lua_rawgeti(L, lua_upvalueindex(1), 0);
  lua_pushvalue(L, 2);
  if (!lua_isnil(L, 3) && lua_rawget(L, -2) == LUA_TNIL) {
    lua_pushvalue(L, 2);
    lua_pushboolean(L, 1);
    lua_rawset(L, -4);
    lua_pushvalue(L, 2);
    lua_rawseti(L, lua_upvalueindex(1), (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)) + 1);
  }
  lua_settop(L, 3);
  lua_rawset(L, 1);
  return 0;
}

static int map_next(lua_State *L) { /* upvalues: the map, its keys, the position */
  lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
  while (lua_rawgeti(L, lua_upvalueindex(2), ++i) != LUA_TNIL) {
    lua_pushvalue(L, -1);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
      lua_pushinteger(L, i);
      lua_replace(L, lua_upvalueindex(3));
      return 2;
    }
    lua_pop(L, 2);
  }
  return 1;
}

static int map_pairs(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, map_next, 3);
  lua_pushvalue(L, 1);
  return 2;
}

int bk_tpl_lua_map(lua_State *L) {
  lua_settop(L, 1);
  if (!lua_isnil(L, 1)) luaL_checktype(L, 1, LUA_TTABLE);
  lua_newtable(L);
  lua_createtable(L, 0, 3);
  lua_newtable(L); /* keys */
  lua_newtable(L);
  lua_rawseti(L, 4, 0);
  lua_pushvalue(L, 4);
  lua_pushcclosure(L, map_newindex, 1);
  lua_setfield(L, 3, "__newindex");
  lua_pushvalue(L, 4);
  lua_pushcclosure(L, map_pairs, 1);
  lua_setfield(L, 3, "__pairs");
  lua_pushliteral(L, "bakery.template.map");
  lua_setfield(L, 3, "__name");
  lua_settop(L, 3);
  lua_setmetatable(L, 2);
  lua_Integer n = lua_isnil(L, 1) ? 0 : (lua_Integer)lua_rawlen(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    luaL_argcheck(L, lua_rawgeti(L, 1, i) == LUA_TTABLE, 1, "list of { key, value } expected");
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    luaL_argcheck(L, !lua_isnil(L, -2), 1, "list of { key, value } expected");
    lua_settable(L, 2);
    lua_settop(L, 2);
  }
  return 1;
}

int bk_tpl_lua_list(lua_State *L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_newtable(L);
    lua_replace(L, 1);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_newmetatable(L, LIST_MT);
  lua_setmetatable(L, 1);
  return 1;
}
