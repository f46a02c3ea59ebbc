#include "luakit/luakit.h"

#include "base/ids.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ERROR "bakery.error"

/* --- errors ---------------------------------------------------------------------------------- */

static int err_tostring(lua_State *L) {
  lua_getfield(L, 1, "where");
  lua_getfield(L, 1, "message");
  if (!lua_isstring(L, -1)) lua_pushliteral(L, "unknown error");
  if (lua_isstring(L, 2) && lua_rawlen(L, 2) > 0)
    lua_pushfstring(L, "%s: %s", lua_tostring(L, 2), lua_tostring(L, -1));
  return 1;
}

void bk_lua_push_err(lua_State *L, const struct bk_err *err) {
  lua_createtable(L, 0, 5);
  lua_pushstring(L, err->code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, bk_class_name(err->cls));
  lua_setfield(L, -2, "class");
  lua_pushstring(L, err->msg);
  lua_setfield(L, -2, "message");
  lua_pushboolean(L, err->retryable);
  lua_setfield(L, -2, "retryable");
  if (err->where[0]) {
    lua_pushstring(L, err->where);
    lua_setfield(L, -2, "where");
  }
  if (luaL_getmetatable(L, ERROR) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushliteral(L, ERROR);
    lua_setfield(L, -2, "__name");
    lua_pushcfunction(L, err_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, ERROR); /* last: running out of memory leaves no half of it */
  }
  lua_setmetatable(L, -2);
}

int bk_lua_fail(lua_State *L, const struct bk_err *err) {
  lua_pushnil(L);
  bk_lua_push_err(L, err);
  return 2;
}

int bk_lua_raise(lua_State *L, const struct bk_err *err) {
  bk_lua_push_err(L, err);
  return lua_error(L);
}

/* --- did you mean ---------------------------------------------------------------------------- */

static size_t distance(const char *a, const char *b) {
  size_t n = strlen(b), row[64];
  if (n >= BK_ARRAY_LEN(row)) return 99;
  for (size_t j = 0; j <= n; j++) row[j] = j;
  for (size_t i = 1; *a; a++, i++) {
    size_t diag = row[0];
    row[0] = i;
    for (size_t j = 1; j <= n; j++) {
      size_t sub = diag + (*a != b[j - 1]);
      diag = row[j];
      size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
      row[j] = sub < best ? sub : best;
    }
  }
  return row[n];
}

const char *bk_nearest(const char *word, const char *const names[], size_t n) {
  const char *best = NULL;
  size_t least = strlen(word) / 3 + 2; /* a third of the letters may be wrong, at least one */
  for (size_t i = 0; i < n; i++) {
    size_t d = distance(word, names[i]);
    if (d < least) {
      least = d;
      best = names[i];
    }
  }
  return best;
}

/* --- option tables --------------------------------------------------------------------------- */

bool bk_opts(lua_State *L, int idx, const char *const names[]) {
  if (lua_isnoneornil(L, idx)) return false;
  luaL_checktype(L, idx, LUA_TTABLE);
  idx = lua_absindex(L, idx);
  size_t n = 0;
  while (names[n]) n++;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "option table: expected named options, found a %s key", luaL_typename(L, -1));
    const char *key = lua_tostring(L, -1);
    size_t i = 0;
    while (i < n && strcmp(names[i], key) != 0) i++;
    if (i == n) {
      const char *near = bk_nearest(key, names, n);
      if (near) luaL_error(L, "unknown option '%s' (did you mean '%s'?)", key, near);
      luaL_error(L, "unknown option '%s'", key);
    }
  }
  return true;
}

static int bad(lua_State *L, const char *name, const char *want) {
  return luaL_error(L, "option '%s': expected %s, got %s", name, want, luaL_typename(L, -1));
}

/* Field or nil on the stack top; a missing table counts as empty. */
static int field(lua_State *L, int idx, const char *name) {
  if (!lua_istable(L, idx)) {
    lua_pushnil(L);
    return LUA_TNIL;
  }
  return lua_getfield(L, idx, name);
}

bool bk_opt_get(lua_State *L, int idx, const char *name) { return field(L, idx, name) != LUA_TNIL; }

const char *bk_opt_str(lua_State *L, int idx, const char *name, const char *def, size_t *len) {
  int t = field(L, idx, name);
  const char *s = def;
  size_t n = def ? strlen(def) : 0;
  if (t == LUA_TSTRING) s = lua_tolstring(L, -1, &n);
  else if (t != LUA_TNIL) bad(L, name, "a string");
  if (len) *len = n;
  else if (s && strlen(s) != n) luaL_error(L, "option '%s': contains a zero byte", name);
  lua_pop(L, 1);
  return s;
}

const char *bk_opt_need_str(lua_State *L, int idx, const char *name, size_t *len) {
  const char *s = bk_opt_str(L, idx, name, NULL, len);
  if (!s) luaL_error(L, "option '%s' is required", name);
  return s;
}

lua_Integer bk_opt_int(lua_State *L, int idx, const char *name, lua_Integer def) {
  int t = field(L, idx, name), ok = 0;
  lua_Integer v = def;
  if (t != LUA_TNIL) {
    if (t == LUA_TNUMBER) v = lua_tointegerx(L, -1, &ok);
    if (!ok) bad(L, name, "an integer");
  }
  lua_pop(L, 1);
  return v;
}

lua_Number bk_opt_num(lua_State *L, int idx, const char *name, lua_Number def) {
  int t = field(L, idx, name);
  lua_Number v = def;
  if (t == LUA_TNUMBER) v = lua_tonumber(L, -1);
  else if (t != LUA_TNIL) bad(L, name, "a number");
  lua_pop(L, 1);
  return v;
}

static uint64_t count_of(lua_State *L, int idx, const char *name) {
  lua_Integer n = bk_opt_int(L, idx, name, 0);
  if (n < 0) bad(L, name, "a number that is not negative");
  return (uint64_t)n;
}

void bk_opt_limits(lua_State *L, int idx, const char *name, struct bk_limits *out) {
  static const char *const names[] = {"bytes", "ratio", "floor", "entries", NULL};
  int t = field(L, idx, name);
  *out = (struct bk_limits){0};
  if (t == LUA_TTABLE) {
    int at = lua_gettop(L);
    bk_opts(L, at, names);
    out->bytes = count_of(L, at, "bytes");
    out->ratio = bk_opt_num(L, at, "ratio", 0);
    out->floor = count_of(L, at, "floor");
    out->entries = count_of(L, at, "entries");
  } else if (t != LUA_TNIL) {
    bad(L, name, "a table");
  }
  lua_pop(L, 1);
}

bool bk_opt_bool(lua_State *L, int idx, const char *name, bool def) {
  int t = field(L, idx, name);
  bool v = def;
  if (t == LUA_TBOOLEAN) v = lua_toboolean(L, -1);
  else if (t != LUA_TNIL) bad(L, name, "a boolean");
  lua_pop(L, 1);
  return v;
}

size_t bk_lua_strv(lua_State *L, int idx, const char ***out) {
  luaL_checktype(L, idx, LUA_TTABLE);
  idx = lua_absindex(L, idx);
  size_t n = lua_rawlen(L, idx);
  const char **v = lua_newuserdatauv(L, (n + 1) * sizeof *v, 0);
  for (size_t i = 0; i < n; i++) {
    if (lua_rawgeti(L, idx, (lua_Integer)i + 1) != LUA_TSTRING)
      luaL_error(L, "list item %d: expected a string, got %s", (int)i + 1, luaL_typename(L, -1));
    size_t len;
    v[i] = lua_tolstring(L, -1, &len);
    if (strlen(v[i]) != len) luaL_error(L, "list item %d: contains a zero byte", (int)i + 1);
    lua_pop(L, 1);
  }
  v[n] = NULL;
  *out = v;
  return n;
}

size_t bk_opt_strv(lua_State *L, int idx, const char *name, const char ***out) {
  int t = field(L, idx, name);
  *out = NULL;
  if (t == LUA_TNIL) return 0;
  if (t != LUA_TTABLE) bad(L, name, "a list of strings");
  size_t n = bk_lua_strv(L, -1, out);
  lua_remove(L, -2);
  return n;
}

/* --- boxes and classes ----------------------------------------------------------------------- */

static int box_tostring(lua_State *L) {
  if (luaL_getmetafield(L, 1, "__name") != LUA_TSTRING) lua_pushliteral(L, "object");
  lua_pushfstring(L, "%s: %p", lua_tostring(L, -1), lua_topointer(L, 1));
  return 1;
}

static void set_function(lua_State *L, lua_CFunction f, const char *name) {
  lua_pushcfunction(L, f);
  lua_setfield(L, -2, name);
}

void bk_class(lua_State *L, const char *tname, const luaL_Reg *methods, lua_CFunction close) {
  if (luaL_getmetatable(L, tname) == LUA_TNIL) {
    lua_createtable(L, 0, 6);
    lua_pushstring(L, tname);
    lua_setfield(L, -2, "__name");
    lua_pushstring(L, tname); /* scripts cannot get at the closers */
    lua_setfield(L, -2, "__metatable");
    lua_newtable(L);
    if (methods) luaL_setfuncs(L, methods, 0);
    if (close) set_function(L, close, "close");
    lua_setfield(L, -2, "__index");
    set_function(L, box_tostring, "__tostring");
    if (close) set_function(L, close, "__gc");
    if (close) set_function(L, close, "__close");
    lua_setfield(L, LUA_REGISTRYINDEX, tname); /* last, so that there never is half a class */
  }
  lua_pop(L, 1);
}

void *bk_box(lua_State *L, size_t size, const char *tname) {
  void *p = lua_newuserdatauv(L, size, 1);
  memset(p, 0, size);
  luaL_setmetatable(L, tname);
  return p;
}

const char *bk_check_text(lua_State *L, int idx) {
  size_t n;
  const char *s = luaL_checklstring(L, idx, &n);
  luaL_argcheck(L, strlen(s) == n, idx, "contains a zero byte");
  return s;
}

void *bk_check(lua_State *L, int idx, const char *tname) { return luaL_checkudata(L, idx, tname); }

void bk_sink_class(lua_State *L, const char *tname) {
  luaL_getmetatable(L, tname);
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "__sink"); /* scripts cannot get at metatables of classes */
  lua_pop(L, 1);
}

struct bk_sink *bk_sink_take(lua_State *L, int idx) {
  bool is = lua_type(L, idx) == LUA_TUSERDATA && lua_getmetatable(L, idx);
  if (is) {
    lua_getfield(L, -1, "__sink");
    is = lua_toboolean(L, -1);
    lua_pop(L, 2);
  }
  if (!is) luaL_typeerror(L, idx, "sink");
  struct bk_sink *s = lua_touserdata(L, idx);
  if (atomic_exchange(&s->busy, true)) luaL_argerror(L, idx, "the sink is in use");
  return s;
}

int bk_lua_record_ids(lua_State *L) {
  static const char *const words[] = {"none", "owners", "all", NULL};
  static const unsigned flags[] = {0, BK_IDS_OWNERS, BK_IDS_ALL};
  unsigned set = flags[luaL_checkoption(L, 1, NULL, words)];
  bk_ids_set(set | (lua_toboolean(L, 2) ? BK_IDS_MARKS : 0) | (lua_toboolean(L, 3) ? BK_IDS_DEVICES : 0));
  return 0;
}
