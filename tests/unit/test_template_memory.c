/* The binding of src/template when Lua runs out of memory, at every possible point: nothing leaks
 * (ASan tells) and nothing but a Lua error comes of it. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdlib.h>

#include "unit/unit.h"

int luaopen_bakery_template(lua_State *L);

static long left; /* allocations that still succeed, also after Lua's emergency collection; -1: all */

static void *allocate(void *ud, void *p, size_t old, size_t n) {
  (void)ud;
  if (n == 0) {
    free(p);
    return NULL;
  }
  if (n > (p ? old : 0) && left >= 0) {
    if (left == 0) return NULL;
    left--;
  }
  return realloc(p, n);
}

static const char script[] =
    "local t = ...\n"
    "local env = t.new{ undefined = 'strict', filters = { f = function(v) return { v, { k = v } } end },\n"
    "  globals = { g = { 1, 2 } }, loader = { m = '{% macro m(x) %}{{ x|f }}{% endmacro %}' } }\n"
    "local map = t.map{ { 'z', 1 }, { 'a', { b = { 3 } } } }\n"
    "local out = assert(env:render('{% import \"m\" as m %}{% for v in list %}{{ m.m(v) }}{% endfor %}'\n"
    "  .. '{{ map.a.b }}{{ map }}{{ g|sum }}', { list = { 'a', 'b' }, map = map }))\n"
    "local bad, err = env:render('{{ nope }}', {}, { name = 'n' })\n"
    "return out, bad == nil and err.where\n";

static int body(lua_State *L) {
  luaL_openlibs(L);
  luaL_requiref(L, "bakery.template", luaopen_bakery_template, 0);
  if (luaL_loadstring(L, script)) return lua_error(L);
  lua_insert(L, -2);
  lua_call(L, 1, 2);
  CHECK_STR(lua_tostring(L, -2),
            "['a', {'k': 'a'}]['b', {'k': 'b'}][3]{'z': 1, 'a': {'b': [3]}}3");
  CHECK_STR(lua_tostring(L, -1), "n:1:4");
  return 0;
}

/* Whether the script got through with that many allocations. */
static bool attempt(long allocations) {
  left = -1;
  lua_State *L = lua_newstate(allocate, NULL);
  lua_pushcfunction(L, body);
  left = allocations;
  int rc = lua_pcall(L, 0, 0, 0);
  left = -1;
  if (rc != LUA_OK && rc != LUA_ERRMEM) {
    const char *why = lua_tostring(L, -1);
    CHECK(why && strstr(why, "memory") != NULL);
  }
  lua_close(L);
  return rc == LUA_OK;
}

int main(void) {
  long n = 0;
  while (n < 100000 && !attempt(n)) n++;
  CHECK(n > 100 && n < 100000);
  return UNIT_END();
}
