/* bakery.regex: compiled patterns as objects. */
#include <string.h>

#include "luakit/luakit.h"
#include "regex/regex.h"

#define REGEX "bakery.regex.pattern"

static int re_close(lua_State *L) {
  bk_regex_free(lua_touserdata(L, 1));
  return 0;
}

static int l_compile(lua_State *L) {
  size_t n;
  const char *pattern = luaL_checklstring(L, 1, &n);
  const char *flags = luaL_optstring(L, 2, "");
  struct bk_regex *re = bk_box(L, sizeof *re, REGEX);
  struct bk_err err;
  if (bk_regex_compile(re, pattern, n, flags, &err)) return bk_lua_fail(L, &err);
  return 1;
}

static struct bk_regex *check(lua_State *L) {
  struct bk_regex *re = bk_check(L, 1, REGEX);
  if (!re->code) luaL_error(L, "the pattern is closed");
  return re;
}

/* Start offset from a 1-based, possibly negative position as string.find takes it. */
static size_t start_arg(lua_State *L, int idx, size_t len) {
  lua_Integer i = luaL_optinteger(L, idx, 1);
  if (i < 0) i = (lua_Integer)len + i + 1;
  return i < 1 ? 0 : (size_t)i - 1;
}

/* { [0] = whole, [1] = group … , first =, last = }; groups without part are false. */
static void push_match(lua_State *L, const struct bk_regex *re, const char *s) {
  size_t from, to;
  lua_createtable(L, (int)re->groups, 3);
  for (size_t i = 0; i <= re->groups; i++) {
    if (bk_regex_group(re, i, &from, &to)) lua_pushlstring(L, s + from, to - from);
    else lua_pushboolean(L, 0);
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  bk_regex_group(re, 0, &from, &to);
  lua_pushinteger(L, (lua_Integer)from + 1);
  lua_setfield(L, -2, "first");
  lua_pushinteger(L, (lua_Integer)to);
  lua_setfield(L, -2, "last");
}

static int search(lua_State *L, bool anchored) {
  struct bk_regex *re = check(L);
  size_t n;
  const char *s = luaL_checklstring(L, 2, &n);
  size_t start = start_arg(L, 3, n);
  if (start > n) return lua_pushnil(L), 1;
  struct bk_err err;
  int rc = bk_regex_search(re, s, n, start, anchored, &err);
  if (rc < 0) return bk_lua_fail(L, &err);
  if (rc == 0) return lua_pushnil(L), 1;
  push_match(L, re, s);
  return 1;
}

static int re_search(lua_State *L) { return search(L, false); }
static int re_match(lua_State *L) { return search(L, true); }

static int re_find(lua_State *L) {
  int n = search(L, false);
  if (n == 2 || lua_isnil(L, -1)) return n;
  lua_getfield(L, -1, "first");
  lua_getfield(L, -2, "last");
  return 2;
}

/* Appends the replacement: \1 … \9 and \g<0> are groups, \\ a backslash. */
static void add_expanded(luaL_Buffer *b, const struct bk_regex *re, const char *s, const char *repl, size_t n) {
  for (size_t i = 0; i < n; i++) {
    size_t from, to, group;
    if (repl[i] != '\\' || i + 1 == n) {
      luaL_addchar(b, repl[i]);
      continue;
    }
    i++;
    if (repl[i] >= '0' && repl[i] <= '9') group = (size_t)(repl[i] - '0');
    else if (n - i >= 4 && repl[i] == 'g' && repl[i + 1] == '<' && repl[i + 3] == '>') group = (size_t)(repl[i + 2] - '0'), i += 3;
    else {
      if (repl[i] != '\\') luaL_addchar(b, '\\');
      luaL_addchar(b, repl[i]);
      continue;
    }
    if (bk_regex_group(re, group, &from, &to)) luaL_addlstring(b, s + from, to - from);
  }
}

static size_t char_len(const char *s, size_t left) {
  size_t n = 1;
  while (n < left && ((unsigned char)s[n] & 0xc0) == 0x80) n++;
  return n;
}

static int re_gsub(lua_State *L) {
  struct bk_regex *re = check(L);
  size_t n, rn = 0;
  const char *s = luaL_checklstring(L, 2, &n);
  bool call = lua_isfunction(L, 3);
  const char *repl = call ? NULL : luaL_checklstring(L, 3, &rn);
  lua_Integer max = luaL_optinteger(L, 4, LUA_MAXINTEGER), count = 0;
  luaL_Buffer b;
  lua_settop(L, 4);
  luaL_buffinit(L, &b);
  size_t at = 0, copied = 0, from, to;
  struct bk_err err;
  while (at <= n && count < max) {
    int rc = bk_regex_search(re, s, n, at, false, &err);
    if (rc < 0) return bk_lua_fail(L, &err);
    if (rc == 0) break;
    bk_regex_group(re, 0, &from, &to);
    luaL_addlstring(&b, s + copied, from - copied);
    if (call) {
      lua_pushvalue(L, 3);
      push_match(L, re, s);
      lua_call(L, 1, 1);
      if (!lua_toboolean(L, -1)) lua_pop(L, 1), lua_pushlstring(L, s + from, to - from);
      else if (!lua_isstring(L, -1)) return luaL_error(L, "replacement function returned a %s", luaL_typename(L, -1));
      luaL_addvalue(&b);
    } else {
      add_expanded(&b, re, s, repl, rn);
    }
    count++;
    copied = to;
    at = to > from ? to : to < n ? to + char_len(s + to, n - to) : n + 1;
  }
  luaL_addlstring(&b, s + copied, n - copied);
  luaL_pushresult(&b);
  lua_pushinteger(L, count);
  return 2;
}

/* regex.escape(text): a pattern that matches exactly the text. */
static int l_escape(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < n; i++) {
    if (strchr("\\^$.[]|()?*+{}#-&~ \t\n", s[i]) && s[i]) luaL_addchar(&b, '\\');
    luaL_addchar(&b, s[i]);
  }
  luaL_pushresult(&b);
  return 1;
}

BK_EXPORT int luaopen_bakery_regex(lua_State *L);
BK_EXPORT int luaopen_bakery_regex(lua_State *L) {
  static const luaL_Reg methods[] = {{"search", re_search}, {"match", re_match}, {"find", re_find},
                                     {"gsub", re_gsub},     {NULL, NULL}};
  static const luaL_Reg functions[] = {{"compile", l_compile}, {"escape", l_escape}, {NULL, NULL}};
  bk_class(L, REGEX, methods, re_close);
  luaL_newlib(L, functions);
  return 1;
}
