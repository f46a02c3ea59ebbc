/* bakery.json. Arrays read from JSON carry the metatable json.array_mt; ordered objects
 * (json.object, decode with ordered=true) keep their keys' order in a weak side table, so that they
 * read, write and count like plain tables. */
#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "luakit/luakit.h"

#define ARRAY "bakery.json.array"
#define OBJECT "bakery.json.object"
#define ORDERS "bakery.json.orders" /* registry: object -> { key1, …, [0] = { [key] = true } } */
#define TREE "bakery.json.tree"     /* json_t * that Lua frees when a call raises */
#define BUFFER "bakery.json.buffer"

static const char NULL_VALUE = 0; /* json.null is a light userdata: equal only to itself */

static void push_null(lua_State *L) { lua_pushlightuserdata(L, (void *)&NULL_VALUE); }

/* --- ordered objects ------------------------------------------------------------------------- */

/* Pushes the order list of the object at idx. */
static void push_order(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  lua_getfield(L, LUA_REGISTRYINDEX, ORDERS);
  lua_pushvalue(L, idx);
  if (lua_rawget(L, -2) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, 4, 1);
    lua_newtable(L);
    lua_rawseti(L, -2, 0); /* the set, at index 0 */
    lua_pushvalue(L, idx);
    lua_pushvalue(L, -2);
    lua_rawset(L, -4);
  }
  lua_remove(L, -2);
}

/* Appends the key at kidx to the order list at oidx unless it is there. */
static void note_key(lua_State *L, int oidx, int kidx) {
  oidx = lua_absindex(L, oidx);
  kidx = lua_absindex(L, kidx);
  lua_rawgeti(L, oidx, 0);
  lua_pushvalue(L, kidx);
  bool known = lua_rawget(L, -2) != LUA_TNIL;
  lua_pop(L, 1);
  if (!known) {
    lua_pushvalue(L, kidx);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pushvalue(L, kidx);
    lua_rawseti(L, oidx, (lua_Integer)lua_rawlen(L, oidx) + 1);
  }
  lua_pop(L, 1);
}

static int object_newindex(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (!lua_isnil(L, 3)) {
    push_order(L, 1);
    note_key(L, -1, 2);
    lua_pop(L, 1);
  }
  lua_rawset(L, 1);
  return 0;
}

/* next(state = object, key): walks the order list; the position is kept in the closure. */
static int object_next(lua_State *L) {
  lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));
  for (;;) {
    i++;
    if (lua_rawgeti(L, lua_upvalueindex(1), i) == LUA_TNIL) return 1;
    lua_pushvalue(L, -1);
    if (lua_rawget(L, lua_upvalueindex(3)) != LUA_TNIL) break; /* nil: deleted since */
    lua_pop(L, 2);
  }
  lua_pushinteger(L, i);
  lua_copy(L, -1, lua_upvalueindex(2));
  lua_pop(L, 1);
  return 2;
}

static int object_pairs(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  push_order(L, 1);
  lua_pushinteger(L, 0);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, object_next, 3);
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

static void new_object(lua_State *L) {
  lua_newtable(L);
  luaL_setmetatable(L, OBJECT);
}

static bool has_meta(lua_State *L, int idx, const char *tname) {
  if (!lua_getmetatable(L, idx)) return false;
  luaL_getmetatable(L, tname);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* --- key lists ------------------------------------------------------------------------------- */

struct key {
  const char *s; /* owned by the table that has the key */
  size_t len;
};

static int by_bytes(const void *a, const void *b) {
  const struct key *x = a, *y = b;
  int c = memcmp(x->s, y->s, x->len < y->len ? x->len : y->len);
  return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* Leaves a userdata with the string keys of the table at idx on the stack, sorted by bytes (that is
 * code point order); raises for other keys. */
static struct key *push_sorted_keys(lua_State *L, int idx, size_t *count) {
  idx = lua_absindex(L, idx);
  size_t n = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "object key: expected a string, got a %s", luaL_typename(L, -1));
    n++;
  }
  struct key *keys = lua_newuserdatauv(L, (n + 1) * sizeof *keys, 0);
  size_t i = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    keys[i].s = lua_tolstring(L, -1, &keys[i].len);
    i++;
  }
  qsort(keys, n, sizeof *keys, by_bytes);
  *count = n;
  return keys;
}

/* The table at 1 into the new object at 2, in its order or, for a plain table, sorted. */
static void copy_fields(lua_State *L) {
  size_t n;
  if (has_meta(L, 1, OBJECT)) {
    push_order(L, 1);
    n = (size_t)lua_rawlen(L, 3);
    for (size_t i = 1; i <= n; i++) {
      lua_rawgeti(L, 3, (lua_Integer)i);
      lua_pushvalue(L, -1);
      if (lua_rawget(L, 1) != LUA_TNIL) lua_settable(L, 2);
      else lua_pop(L, 2);
    }
    return;
  }
  const struct key *keys = push_sorted_keys(L, 1, &n);
  for (size_t i = 0; i < n; i++) {
    lua_pushlstring(L, keys[i].s, keys[i].len);
    lua_pushvalue(L, -1);
    lua_rawget(L, 1);
    lua_settable(L, 2);
  }
}

static int l_object(lua_State *L) {
  lua_settop(L, 1);
  new_object(L);
  if (lua_isnil(L, 1)) return 1;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  if (n == 0) copy_fields(L);
  for (lua_Integer i = 1; i <= n; i++) {
    luaL_argcheck(L, lua_rawgeti(L, 1, i) == LUA_TTABLE, 1, "list of { key, value } expected");
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    if (lua_isnil(L, -2)) return luaL_argerror(L, 1, "list of { key, value } expected");
    lua_settable(L, 2);
    lua_settop(L, 2);
  }
  lua_settop(L, 2);
  return 1;
}

static int l_array(lua_State *L) {
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_newtable(L);
    lua_replace(L, 1);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_setmetatable(L, ARRAY);
  return 1;
}

static int l_pairs(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (has_meta(L, 1, OBJECT)) return object_pairs(L);
  lua_getglobal(L, "next");
  lua_pushvalue(L, 1);
  lua_pushnil(L);
  return 3;
}

static int l_is_array(lua_State *L) {
  bool yes = lua_istable(L, 1) && !has_meta(L, 1, OBJECT) &&
             (has_meta(L, 1, ARRAY) || lua_rawlen(L, 1) > 0);
  lua_pushboolean(L, yes);
  return 1;
}

/* --- reading --------------------------------------------------------------------------------- */

struct decode {
  bool ordered;
  int null; /* stack index of the value for null, 0 = json.null */
};

static void push_json(lua_State *L, const json_t *v, const struct decode *how) {
  luaL_checkstack(L, 8, "JSON nesting");
  switch (json_typeof(v)) {
    case JSON_OBJECT: {
      if (how->ordered) {
        new_object(L);
        push_order(L, -1);
      } else {
        lua_createtable(L, 0, (int)json_object_size(v));
      }
      const char *key;
      json_t *item;
      json_object_foreach((json_t *)v, key, item) {
        lua_pushstring(L, key);
        if (how->ordered) note_key(L, -2, -1);
        push_json(L, item, how);
        lua_rawset(L, how->ordered ? -4 : -3);
      }
      if (how->ordered) lua_pop(L, 1);
      return;
    }
    case JSON_ARRAY: {
      lua_createtable(L, (int)json_array_size(v), 0);
      luaL_setmetatable(L, ARRAY);
      for (size_t i = 0; i < json_array_size(v); i++) {
        push_json(L, json_array_get(v, i), how);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
      }
      return;
    }
    case JSON_STRING: lua_pushlstring(L, json_string_value(v), json_string_length(v)); return;
    case JSON_INTEGER: lua_pushinteger(L, json_integer_value(v)); return;
    case JSON_REAL: lua_pushnumber(L, json_real_value(v)); return;
    case JSON_TRUE: lua_pushboolean(L, 1); return;
    case JSON_FALSE: lua_pushboolean(L, 0); return;
    default:
      if (how->null) lua_pushvalue(L, how->null);
      else push_null(L);
  }
}

static int tree_gc(lua_State *L) {
  json_t **box = lua_touserdata(L, 1);
  json_decref(*box);
  *box = NULL;
  return 0;
}

/* As bk_lua_fail, with line and col out of where ("name:line:col"). */
static int fail(lua_State *L, const struct bk_err *err) {
  bk_lua_fail(L, err);
  const char *col = strrchr(err->where, ':'), *line = col;
  if (!col) return 2;
  while (line > err->where && line[-1] != ':') line--;
  lua_pushinteger(L, atoi(line));
  lua_setfield(L, -2, "line");
  lua_pushinteger(L, atoi(col + 1));
  lua_setfield(L, -2, "col");
  return 2;
}

static int l_decode(lua_State *L) {
  static const char *const names[] = {"name", "null", "ordered", "unique", NULL};
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  bk_opts(L, 2, names);
  lua_settop(L, 2);
  const char *name = bk_opt_str(L, 2, "name", "json", NULL);
  struct decode how = {.ordered = bk_opt_bool(L, 2, "ordered", false)};
  int flags = bk_opt_bool(L, 2, "unique", false) ? BK_JSON_UNIQUE : 0;
  if (bk_opt_get(L, 2, "null")) how.null = lua_gettop(L);
  json_t **box = bk_box(L, sizeof *box, TREE);
  struct bk_err err;
  if (bk_json_parse(text, n, name, flags, box, &err)) return fail(L, &err);
  push_json(L, *box, &how);
  json_decref(*box);
  *box = NULL;
  return 1;
}

/* --- writing --------------------------------------------------------------------------------- */

struct encode {
  struct bk_buf *out;
  int indent; /* 0 = compact */
  bool sort, lossy;
};

static void newline(struct encode *e, int depth) {
  if (!e->indent) return;
  bk_buf_addc(e->out, '\n');
  for (int i = 0; i < depth * e->indent; i++) bk_buf_addc(e->out, ' ');
}

static void write_value(lua_State *L, struct encode *e, int depth);

static void write_array(lua_State *L, struct encode *e, int depth) {
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  if (n == 0) return bk_buf_adds(e->out, "[]");
  bk_buf_addc(e->out, '[');
  for (lua_Integer i = 1; i <= n; i++) {
    if (i > 1) bk_buf_addc(e->out, ',');
    newline(e, depth + 1);
    lua_rawgeti(L, -1, i);
    write_value(L, e, depth + 1);
    lua_pop(L, 1);
  }
  newline(e, depth);
  bk_buf_addc(e->out, ']');
}

/* One field of the object at obj; the key is on the stack top and is popped. */
static void write_field(lua_State *L, struct encode *e, int obj, int depth, bool *any) {
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "object key: expected a string, got a %s", luaL_typename(L, -1));
  lua_pushvalue(L, -1);
  if (lua_rawget(L, obj) != LUA_TNIL) { /* nil: deleted since it was ordered */
    bk_buf_addc(e->out, *any ? ',' : '{');
    *any = true;
    newline(e, depth + 1);
    size_t len;
    const char *key = lua_tolstring(L, -2, &len);
    if (!bk_json_quote(e->out, key, len, e->lossy))
      luaL_error(L, "cannot encode: key is not UTF-8");
    bk_buf_adds(e->out, e->indent ? ": " : ":");
    write_value(L, e, depth + 1);
  }
  lua_pop(L, 2);
}

static void write_object(lua_State *L, struct encode *e, int depth) {
  int obj = lua_gettop(L);
  bool any = false;
  if (has_meta(L, obj, OBJECT) && !e->sort) {
    push_order(L, obj);
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, obj + 1, i);
      write_field(L, e, obj, depth, &any);
    }
  } else {
    size_t n;
    const struct key *keys = push_sorted_keys(L, obj, &n);
    for (size_t i = 0; i < n; i++) {
      lua_pushlstring(L, keys[i].s, keys[i].len);
      write_field(L, e, obj, depth, &any);
    }
  }
  lua_settop(L, obj);
  if (!any) return bk_buf_adds(e->out, "{}");
  newline(e, depth);
  bk_buf_addc(e->out, '}');
}

/* A table without array_mt is a list when all its keys are 1 … n. */
static bool is_list(lua_State *L, int idx) {
  if (has_meta(L, idx, ARRAY)) return true;
  size_t n = (size_t)lua_rawlen(L, idx), have = 0;
  if (n == 0 || has_meta(L, idx, OBJECT)) return false;
  idx = lua_absindex(L, idx);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1 || (size_t)lua_tointeger(L, -1) > n)
      luaL_error(L, "cannot encode a table with list items and other fields, such as '%s'",
                 luaL_tolstring(L, -1, NULL));
    have++;
  }
  if (have != n) luaL_error(L, "cannot encode a list with holes");
  return true;
}

static void write_value(lua_State *L, struct encode *e, int depth) {
  if (depth > BK_JSON_DEPTH)
    luaL_error(L, "cannot encode: nested deeper than %d levels (a cycle?)", BK_JSON_DEPTH);
  luaL_checkstack(L, 12, "JSON nesting");
  switch (lua_type(L, -1)) {
    case LUA_TNIL: bk_buf_adds(e->out, "null"); return;
    case LUA_TBOOLEAN: bk_buf_adds(e->out, lua_toboolean(L, -1) ? "true" : "false"); return;
    case LUA_TNUMBER:
      if (lua_isinteger(L, -1)) bk_buf_addf(e->out, LUA_INTEGER_FMT, lua_tointeger(L, -1));
      else if (!bk_json_real(e->out, lua_tonumber(L, -1)))
        luaL_error(L, "cannot encode: not a finite number");
      return;
    case LUA_TSTRING: {
      size_t n;
      const char *s = lua_tolstring(L, -1, &n);
      if (!bk_json_quote(e->out, s, n, e->lossy))
        luaL_error(L, "cannot encode: string is not UTF-8");
      return;
    }
    case LUA_TTABLE:
      if (is_list(L, -1)) write_array(L, e, depth);
      else write_object(L, e, depth);
      return;
    case LUA_TLIGHTUSERDATA:
      if (lua_touserdata(L, -1) == &NULL_VALUE) return bk_buf_adds(e->out, "null");
      break;
    default: break;
  }
  luaL_error(L, "cannot encode a %s", luaL_typename(L, -1));
}

static int buf_gc(lua_State *L) {
  bk_buf_free(lua_touserdata(L, 1));
  return 0;
}

static int l_encode(lua_State *L) {
  static const char *const names[] = {"indent", "sort", "lossy", NULL};
  luaL_checkany(L, 1);
  bk_opts(L, 2, names);
  lua_Integer indent = bk_opt_int(L, 2, "indent", 0);
  luaL_argcheck(L, indent >= 0 && indent <= 16, 2, "indent from 0 to 16 expected");
  struct encode e = {.indent = (int)indent, .sort = bk_opt_bool(L, 2, "sort", false)};
  e.lossy = bk_opt_bool(L, 2, "lossy", false);
  lua_settop(L, 1);
  e.out = bk_box(L, sizeof *e.out, BUFFER);
  lua_pushvalue(L, 1);
  write_value(L, &e, 0);
  if (e.out->overflow) return luaL_error(L, "cannot encode: document too large");
  lua_pushlstring(L, bk_buf_str(e.out), e.out->len);
  bk_buf_free(e.out);
  return 1;
}

static int null_tostring(lua_State *L) {
  if (lua_touserdata(L, 1) == &NULL_VALUE) lua_pushliteral(L, "null");
  else lua_pushfstring(L, "lightuserdata: %p", lua_touserdata(L, 1));
  return 1;
}

BK_EXPORT int luaopen_bakery_json(lua_State *L);
BK_EXPORT int luaopen_bakery_json(lua_State *L) {
  static const luaL_Reg functions[] = {{"decode", l_decode},     {"encode", l_encode},
                                       {"object", l_object},     {"array", l_array},
                                       {"pairs", l_pairs},       {"is_array", l_is_array},
                                       {NULL, NULL}};
  bk_class(L, TREE, NULL, tree_gc);
  bk_class(L, BUFFER, NULL, buf_gc);
  if (lua_getfield(L, LUA_REGISTRYINDEX, ORDERS) == LUA_TNIL) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setfield(L, LUA_REGISTRYINDEX, ORDERS);
  }
  lua_pop(L, 1);
  if (luaL_newmetatable(L, OBJECT)) {
    lua_pushcfunction(L, object_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, object_pairs);
    lua_setfield(L, -2, "__pairs");
  }
  lua_pop(L, 1);
  luaL_newmetatable(L, ARRAY);
  lua_pop(L, 1);
  push_null(L); /* all light userdata share one metatable */
  if (!lua_getmetatable(L, -1)) {
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, null_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_setmetatable(L, -2);
  } else {
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  push_null(L);
  lua_setfield(L, -2, "null");
  luaL_getmetatable(L, ARRAY);
  lua_setfield(L, -2, "array_mt");
  luaL_getmetatable(L, OBJECT);
  lua_setfield(L, -2, "object_mt");
  return 1;
}
