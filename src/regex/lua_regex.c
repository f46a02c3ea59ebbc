/* bakery.regex: compiled patterns as objects. */
#include <string.h>

#include "luakit/luakit.h"
#include "regex/regex.h"

#define REGEX "bakery.regex.pattern"
#define BUFFER "bakery.regex.buffer"

static int re_close(lua_State *L) {
  bk_regex_free(bk_check(L, 1, REGEX));
  return 0;
}

static int buffer_gc(lua_State *L) {
  bk_buf_free(lua_touserdata(L, 1));
  return 0;
}

static int l_compile(lua_State *L) {
  size_t n;
  const char *pattern = luaL_checklstring(L, 1, &n);
  const char *flags = luaL_optstring(L, 2, "");
  struct bk_regex *re = bk_box(L, sizeof *re, REGEX);
  struct bk_err err;
  if (bk_regex_compile(re, pattern, n, flags, &err) == 0) return 1;
  bk_lua_fail(L, &err);
  if (strcmp(err.code, "regex.syntax") == 0) {
    lua_pushinteger(L, (lua_Integer)re->error_offset);
    lua_setfield(L, -2, "offset");
  }
  return 2;
}

static struct bk_regex *check(lua_State *L, int idx) {
  struct bk_regex *re = bk_check(L, idx, REGEX);
  if (!re->code) luaL_error(L, "the pattern is closed");
  return re;
}

/* Start offset from a 1-based, possibly negative position as string.find takes it. */
static size_t start_arg(lua_State *L, int idx, size_t len) {
  lua_Integer i = luaL_optinteger(L, idx, 1);
  if (i < 0) i = (lua_Integer)len + i + 1;
  return i < 1 ? 0 : (size_t)i - 1;
}

/* The last match: { [0] = whole, [1] = group … , first=, last=, named= }; a group that took no
 * part is false. */
static void push_match(lua_State *L, const struct bk_regex *re, const char *s) {
  size_t from, to;
  lua_createtable(L, (int)re->groups, re->names ? 4 : 3);
  for (size_t i = 0; i <= re->groups; i++) {
    if (bk_regex_group(re, i, &from, &to)) lua_pushlstring(L, s + from, to - from);
    else lua_pushboolean(L, 0);
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  if (bk_regex_group(re, 0, &from, &to)) {
    lua_pushinteger(L, (lua_Integer)from + 1);
    lua_setfield(L, -2, "first");
    lua_pushinteger(L, (lua_Integer)to);
    lua_setfield(L, -2, "last");
  }
  if (!re->names) return;
  lua_createtable(L, 0, (int)re->names);
  for (size_t i = 0; i < re->names; i++) {
    const char *name;
    size_t group = bk_regex_name(re, i, &name);
    lua_rawgeti(L, -2, (lua_Integer)group);
    lua_setfield(L, -2, name);
  }
  lua_setfield(L, -2, "named");
}

static int search(lua_State *L, int how) {
  struct bk_regex *re = check(L, 1);
  size_t n;
  const char *s = luaL_checklstring(L, 2, &n);
  size_t start = start_arg(L, 3, n);
  if (start > n) return lua_pushnil(L), 1;
  struct bk_err err;
  int rc = bk_regex_search(re, s, n, start, how, &err);
  if (rc < 0) return bk_lua_fail(L, &err);
  if (rc == 0) return lua_pushnil(L), 1;
  push_match(L, re, s);
  return 1;
}

static int re_search(lua_State *L) { return search(L, 0); }
static int re_match(lua_State *L) { return search(L, BK_REGEX_AT_START); }
static int re_fullmatch(lua_State *L) { return search(L, BK_REGEX_AT_START | BK_REGEX_AT_END); }

static int re_find(lua_State *L) {
  int n = search(L, 0);
  if (n == 2 || lua_isnil(L, -1)) return n;
  lua_getfield(L, -1, "first");
  lua_getfield(L, -2, "last");
  return 2;
}

/* Upvalues: pattern, subject, next start, how. */
static int gmatch_next(lua_State *L) {
  struct bk_regex *re = check(L, lua_upvalueindex(1));
  size_t n, from = 0, to = 0;
  const char *s = lua_tolstring(L, lua_upvalueindex(2), &n);
  size_t start = (size_t)lua_tointeger(L, lua_upvalueindex(3));
  int how = (int)lua_tointeger(L, lua_upvalueindex(4));
  struct bk_err err;
  int rc = bk_regex_search(re, s, n, start, how, &err);
  if (rc < 0) return bk_lua_raise(L, &err);
  if (rc == 0 || !bk_regex_group(re, 0, &from, &to)) return lua_pushnil(L), 1;
  lua_pushinteger(L, (lua_Integer)to);
  lua_replace(L, lua_upvalueindex(3));
  lua_pushinteger(L, BK_REGEX_CHECKED | (from == to ? BK_REGEX_ADVANCE : 0));
  lua_replace(L, lua_upvalueindex(4));
  push_match(L, re, s);
  return 1;
}

static int re_gmatch(lua_State *L) {
  check(L, 1);
  luaL_checkstring(L, 2);
  lua_settop(L, 2);
  lua_pushinteger(L, 0);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, gmatch_next, 4);
  return 1;
}

struct gsub {
  struct bk_regex *re;
  const char *s, *repl; /* repl NULL: call the function at 3 */
  size_t len, repl_len;
  struct bk_buf *out;
};

/* Appends what replaces the match [from, to). */
static int replace(lua_State *L, struct gsub *g, size_t from, size_t to, struct bk_err *err) {
  if (g->repl) return bk_regex_expand(g->re, g->s, g->repl, g->repl_len, g->out, err);
  lua_pushvalue(L, 3);
  push_match(L, g->re, g->s);
  lua_call(L, 1, 1);
  if (!lua_toboolean(L, -1)) {
    bk_buf_add(g->out, g->s + from, to - from);
  } else {
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    if (!text) return luaL_error(L, "replacement function returned a %s", luaL_typename(L, -1));
    bk_buf_add(g->out, text, n);
  }
  lua_pop(L, 1);
  return 0;
}

static int re_gsub(lua_State *L) {
  struct gsub g = {.re = check(L, 1)};
  g.s = luaL_checklstring(L, 2, &g.len);
  if (!lua_isfunction(L, 3)) g.repl = luaL_checklstring(L, 3, &g.repl_len);
  lua_Integer max = luaL_optinteger(L, 4, LUA_MAXINTEGER), count = 0;
  lua_settop(L, 4);
  g.out = bk_box(L, sizeof *g.out, BUFFER);
  size_t at = 0, from = 0, to = 0;
  struct bk_err err;
  int how = 0, rc = 0;
  if (g.repl && bk_regex_expand(g.re, NULL, g.repl, g.repl_len, NULL, &err))
    return bk_lua_fail(L, &err);
  for (; count < max; count++) {
    rc = bk_regex_search(check(L, 1), g.s, g.len, to, how, &err);
    if (rc <= 0) break;
    if (!bk_regex_group(g.re, 0, &from, &to) || from < at) break; /* a \K that looks back */
    bk_buf_add(g.out, g.s + at, from - at);
    at = to;
    how = BK_REGEX_CHECKED | (from == to ? BK_REGEX_ADVANCE : 0);
    if (replace(L, &g, from, to, &err)) return bk_lua_fail(L, &err);
  }
  if (rc < 0) return bk_lua_fail(L, &err);
  bk_buf_add(g.out, g.s + at, g.len - at);
  if (g.out->overflow) return luaL_error(L, "the result is too large");
  lua_pushlstring(L, bk_buf_str(g.out), g.out->len);
  bk_buf_free(g.out);
  lua_pushinteger(L, count);
  return 2;
}

/* regex.escape(text): a pattern that matches exactly the text. */
static int l_escape(lua_State *L) {
  static const char special[] = "\\^$.[]|()?*+{}#-&~ \t\n\r\v\f";
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < n; i++) {
    if (memchr(special, s[i], sizeof special - 1)) luaL_addchar(&b, '\\');
    luaL_addchar(&b, s[i]);
  }
  luaL_pushresult(&b);
  return 1;
}

BK_EXPORT int luaopen_bakery_regex(lua_State *L);
BK_EXPORT int luaopen_bakery_regex(lua_State *L) {
  static const luaL_Reg methods[] = {{"search", re_search}, {"match", re_match},
                                     {"fullmatch", re_fullmatch}, {"find", re_find},
                                     {"gmatch", re_gmatch}, {"gsub", re_gsub}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"compile", l_compile}, {"escape", l_escape}, {NULL, NULL}};
  bk_class(L, REGEX, methods, re_close);
  bk_class(L, BUFFER, NULL, buffer_gc);
  luaL_newlib(L, functions);
  return 1;
}
