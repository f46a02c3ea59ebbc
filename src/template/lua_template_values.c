/* Values between Lua and templates. Tables with elements 1..n and those marked as arrays
 * (json.array, template.list) are lists; others are dicts, in the order of their __pairs
 * (json.object, template.map) or else sorted by key, so that output does not depend on hashing. */
#include <stdlib.h>
#include <string.h>

#include "template/lua_template.h"

#define LIST_MT "bakery.template.list"
#define MAX_DEPTH 100

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

enum shape { LIST, DICT, FUNCTION };

/* What the table at idx is to templates. */
static enum shape shape_of(struct tpl_bridge *b, int idx) {
  lua_State *L = b->L;
  bool elements = lua_rawlen(L, idx) > 0;
  if (!lua_getmetatable(L, idx)) return elements ? LIST : DICT;
  enum shape s = elements ? LIST : DICT;
  if (lua_rawequal(L, -1, b->list_mt) || lua_rawequal(L, -1, b->array_mt)) s = LIST;
  else if (has_field(L, idx, "__call")) s = FUNCTION;
  lua_pop(L, 1);
  return s;
}

/* idx is absolute and there are 8 free places on the stack. */
static bk_tv convert(struct tpl_bridge *b, struct bk_tpl_run *r, int idx) {
  lua_State *L = b->L;
  size_t n;
  const char *s;
  enum shape shape = FUNCTION;
  switch (lua_type(L, idx)) {
    case LUA_TBOOLEAN: return bk_tv_bool(lua_toboolean(L, idx));
    case LUA_TNUMBER:
      if (lua_isinteger(L, idx)) return bk_tv_int(lua_tointeger(L, idx));
      return bk_tv_float(lua_tonumber(L, idx));
    case LUA_TSTRING: s = lua_tolstring(L, idx, &n); return bk_tv_copy(r, s, n);
    case LUA_TTABLE: shape = shape_of(b, idx); break;
    case LUA_TFUNCTION: break;
    case LUA_TUSERDATA:
      if (has_field(L, idx, "__call")) break;
      return text_of(b, r, idx);
    case LUA_TTHREAD: return text_of(b, r, idx);
    default: return bk_tv_none(); /* nil, light userdata */
  }
  lua_Integer number = anchor(b, idx);
  if (shape == LIST) return bk_tv_list(r, number);
  if (shape == DICT) return bk_tv_dict(r, number);
  bk_tv fn = bk_tv_int(number);
  fn.kind = TV_HOST;
  return fn;
}

bk_tv bk_tpl_from_lua(struct tpl_bridge *b, struct bk_tpl_run *r, int idx) {
  luaL_checkstack(b->L, 8, "template values");
  return convert(b, r, lua_absindex(b->L, idx));
}

bk_tv bk_tpl_vars_from_lua(struct tpl_bridge *b, struct bk_tpl_run *r, int idx) {
  return bk_tv_dict(r, lua_istable(b->L, idx) ? anchor(b, lua_absindex(b->L, idx)) : 0);
}

/* In the order of __pairs, which is called as it is: if it raises, so does the rendering. */
static void fill_ordered(struct tpl_bridge *b, struct bk_tpl_run *r, bk_tv d, int idx) {
  lua_State *L = b->L;
  int top = lua_gettop(L);
  luaL_getmetafield(L, idx, "__pairs");
  lua_pushvalue(L, idx);
  lua_call(L, 1, 3); /* at top + 1: function, state, key */
  for (;;) {
    lua_pushvalue(L, top + 1);
    lua_pushvalue(L, top + 2);
    lua_pushvalue(L, top + 3);
    lua_call(L, 2, 2);
    if (lua_isnil(L, top + 4)) break;
    bk_tv key = convert(b, r, top + 4);
    bk_tv_put(r, d, key, convert(b, r, top + 5));
    lua_pop(L, 1);
    lua_replace(L, top + 3);
  }
  lua_settop(L, top);
}

struct pair { bk_tv key, v; };

static int compare_pairs(const void *pa, const void *pb) {
  const bk_tv *a = &((const struct pair *)pa)->key, *b = &((const struct pair *)pb)->key;
  bool sa = a->kind == TV_STR, sb = b->kind == TV_STR;
  if (sa != sb) return sa - sb;
  if (a->kind == TV_INT && b->kind == TV_INT) return a->u.i < b->u.i ? -1 : a->u.i > b->u.i;
  if (!sa) {
    double x = a->kind == TV_INT ? (double)a->u.i : a->u.f;
    double y = b->kind == TV_INT ? (double)b->u.i : b->u.f;
    return x < y ? -1 : x > y;
  }
  size_t n = a->len < b->len ? a->len : b->len;
  int c = n ? memcmp(a->u.s, b->u.s, n) : 0;
  return c ? c : a->len < b->len ? -1 : a->len > b->len;
}

static void sort_pairs(struct pair *p, size_t n) {
  if (n > 16) {
    qsort(p, n, sizeof *p, compare_pairs);
    return;
  }
  for (size_t i = 1; i < n; i++) {
    struct pair x = p[i];
    size_t k = i;
    for (; k > 0 && compare_pairs(&p[k - 1], &x) > 0; k--) p[k] = p[k - 1];
    p[k] = x;
  }
}

static void fill_sorted(struct tpl_bridge *b, struct bk_tpl_run *r, bk_tv d, int idx) {
  lua_State *L = b->L;
  int top = lua_gettop(L);
  size_t n = 0, cap = 16;
  struct pair room[16], *p = room;
  lua_pushnil(L);
  lua_pushnil(L); /* at top + 1: a larger array, once there is one; at top + 2: the key */
  while (lua_next(L, idx)) {
    int t = lua_type(L, top + 2);
    if (t == LUA_TSTRING || t == LUA_TNUMBER) { /* templates cannot name others */
      if (n == cap) {
        struct pair *more = lua_newuserdatauv(L, 2 * cap * sizeof *p, 0);
        memcpy(more, p, n * sizeof *p);
        p = more;
        cap *= 2;
        lua_replace(L, top + 1);
      }
      p[n].key = convert(b, r, top + 2);
      p[n++].v = convert(b, r, top + 3);
    }
    lua_settop(L, top + 2);
  }
  sort_pairs(p, n);
  for (size_t i = 0; i < n; i++) bk_tv_put(r, d, p[i].key, p[i].v);
  lua_settop(L, top);
}

static int get(void *ud, struct bk_tpl_run *r, int64_t lazy, const char *key, size_t len,
               bk_tv *out) {
  struct tpl_bridge *b = ud;
  lua_State *L = b->L;
  int top = lua_gettop(L), rc = 1;
  luaL_checkstack(L, 16, "template values");
  lua_rawgeti(L, b->anchors, lazy);
  lua_pushlstring(L, key, len);
  if (lua_rawget(L, top + 1) != LUA_TNIL) *out = convert(b, r, top + 2);
  else rc = has_field(L, top + 1, "__pairs") ? -1 : 0; /* there may be more than the table holds */
  lua_settop(L, top);
  return rc;
}

static int fill(void *ud, struct bk_tpl_run *r, bk_tv c, int64_t lazy, struct bk_err *err) {
  struct tpl_bridge *b = ud;
  lua_State *L = b->L;
  int top = lua_gettop(L);
  (void)err;
  luaL_checkstack(L, 20, "template values");
  lua_rawgeti(L, b->anchors, lazy);
  int idx = top + 1;
  if (c.kind == TV_LIST) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, idx);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, idx, i);
      bk_tv_push(r, c, convert(b, r, idx + 1));
      lua_pop(L, 1);
    }
  } else if (has_field(L, idx, "__pairs")) {
    fill_ordered(b, r, c, idx);
  } else {
    fill_sorted(b, r, c, idx);
  }
  lua_settop(L, top);
  return 0;
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

const struct bk_tpl_host bk_tpl_lua_host = {.load = load, .get = get, .fill = fill, .call = call};

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
