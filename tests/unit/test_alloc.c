/* Running out of memory inside Lua: each scenario runs with the Nth allocation failing, for every N
 * until none is left to fail. Once as if memory were gone for good, once for a single allocation
 * that succeeds when tried again: Lua collects garbage in between, so that everything which is not
 * anchored goes away at the worst moment. Nothing may crash, leak (ASan) or stay broken. */
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/fs.h"
#include "host/modules.h"
#include "unit/unit.h"

struct memory {
  long left; /* allocations until one fails; negative: none does */
  bool once, failed;
};

static void *alloc(void *ud, void *p, size_t old, size_t n) {
  struct memory *m = ud;
  if (n == 0) {
    free(p);
    return NULL;
  }
  if ((!p || n > old) && m->left >= 0 && m->left-- == 0) {
    m->failed = true;
    if (!m->once) m->left = 0;
    return NULL;
  }
  return realloc(p, n);
}

struct scenario {
  const char *name, *code;
};

/* Each chunk returns true when everything was as it should be. */
static const struct scenario scenarios[] = {
    {"json",
     "local json = require 'bakery.json'\n"
     "local v = json.decode('{\"a\": [1, 2.5, \"x\\\\u00e9\", null, true], \"b\": {\"c\": {}}}')\n"
     "local bad, err = json.decode('{\"a\": }')\n"
     "local o = json.object { { 'z', 1 }, { 'a', json.array {} } }\n"
     "return v.a[3] == 'x\\u{e9}' and not bad and err.line == 1\n"
     "  and json.encode(o) == '{\"z\":1,\"a\":[]}' and #json.encode(v, { indent = 2 }) > 40"},
    {"yaml",
     "local yaml = require 'bakery.yaml'\n"
     "local t = yaml.load('a: &x {b: 1, c: [1, two, 3.5]}\\nd: *x\\ne: |\\n  text\\n  more\\n')\n"
     "local bad, err = yaml.parse('a: 1\\na: 2\\n')\n"
     "return t.d.c[2] == 'two' and t.e == 'text\\nmore\\n' and not bad and err.line == 2\n"
     "  and yaml.load(yaml.dump(t)).a.b == 1"},
    {"regex",
     "local regex = require 'bakery.regex'\n"
     "local re = regex.compile('(?P<y>\\\\d+)-(\\\\w+)', 'i')\n"
     "local m = re:search('on 2024-May')\n"
     "local bad, err = regex.compile('(')\n"
     "return m[1] == '2024' and m[2] == 'May' and not bad and err ~= nil\n"
     "  and re:gsub('1-a 2-b', function(x) return '<' .. tostring(x) .. '>' end) ~= nil\n"
     "  and (re:gsub('1-a 2-b', 'x')) == 'x x'"},
    {"version",
     "local version = require 'bakery.version'\n"
     "local list = { '1.10.0', '1.2.0', '1.9.1', '2.0.0rc1' }\n"
     "local sorted = version.sort(list, 'pep440')\n"
     "local bad = version.pep440 'nonsense!'\n"
     "return sorted[1] == '1.2.0' and not bad and version.pep440 '1.0' < version.pep440 '1.1'\n"
     "  and version.release('1.2.3+4') ~= nil"},
    {"tag",
     "local tag = require 'bakery.tag'\n"
     "local list = tag.sort { 'v10', 'v9', 'v1.2' }\n"
     "return list[1] == 'v1.2' and tag.safe 'a b+c' == 'a-b-c' and #tag.union(list, { 'x' }) == 4\n"
     "  and tag.match('v1*', 'v10')"},
    {"digest",
     "local digest = require 'bakery.digest'\n"
     "local h = digest.new 'sha256'\n"
     "h:update 'ab':update 'c'\n"
     "local hex = digest.file '/dev/null'\n"
     "return h:hex() == digest.sha256 'abc' and #digest.sha512 '' == 128 and hex == digest.sha256 ''\n"
     "  and select('#', digest.file '/no/such/file') == 2"},
    {"fs",
     "local fs = require 'bakery.fs'\n"
     "local dir <close> = setmetatable({ fs.tmpdir 'bakery-alloc' },\n"
     "  { __close = function(t) fs.remove(t[1], { recursive = true }) end })\n"
     "local d = dir[1]\n"
     "assert(fs.write(d .. '/a', 'text')) assert(fs.mkdir(d .. '/b/c', { parents = true }))\n"
     "assert(fs.symlink('a', d .. '/l'))\n"
     "local bad, err = fs.read(d .. '/none')\n"
     "return fs.read(d .. '/a') == 'text' and #fs.list(d) == 3 and #fs.walk(d) == 4\n"
     "  and fs.readlink(d .. '/l') == 'a' and fs.stat(d .. '/b').type == 'dir'\n"
     "  and #fs.glob(d .. '/*') == 3 and not bad and err.code == 'ENOENT'\n"
     "  and fs.join('a', '..', 'b') ~= nil"},
    {"template",
     "local template = require 'bakery.template'\n"
     "local env <close> = template.new { filters = { up = string.upper }, globals = { g = 7 },\n"
     "  loader = function(n) return n == 'm' and '{% macro m(x) %}<{{ x }}>{% endmacro %}' or nil end }\n"
     "local out, err = env:render(\"{% import 'm' as l %}{% for i in list %}{{ loop.index }}{{ i | up }}\"\n"
     "  .. '{% endfor %}{{ l.m(g) }}{{ d.k | default(1) }}', { list = { 'a', 'b' }, d = { k = 'v' } })\n"
     "local bad, why = env:render('{{ nope.x }}', {})\n"
     "return out == '1A2B<7>v' and not bad and why ~= nil and not env:render('{% if %}', {})"},
    {"tasks",
     "local loop = require 'bakery.loop'\n"
     "local closed, e = 0, loop.event()\n"
     "local function guard() return setmetatable({}, { __close = function() closed = closed + 1 end }) end\n"
     "local sleeper = loop.spawn(function() local g <close> = guard() loop.sleep(60) end)\n"
     "local waiter = loop.spawn(function(...) local g <close> = guard() e:wait() return ... end, 1, 2)\n"
     "local failing = loop.spawn(function() error('x', 0) end)\n"
     "loop.sleep(0)\n"
     "sleeper:cancel() e:set()\n"
     "local ok, a, b = waiter:wait()\n"
     "local ok2, err = sleeper:wait()\n"
     "local ok3, err3 = failing:wait()\n"
     "if not ok then error(a, 0) end\n" /* memory ran out in the task */
     "if type(err) ~= 'table' then error(err, 0) end\n"
     "if err3 ~= 'x' then error(err3, 0) end\n"
     "return a == 1 and b == 2 and not ok2 and err.code == 'cancelled' and not ok3 and closed == 2"},
};

static int run(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_call(L, 0, 1);
  return 1;
}

/* 1 as expected, 0 not, -1 raised (the message is left on the stack). */
static int call(lua_State *L) {
  lua_settop(L, 1);
  lua_pushcfunction(L, run);
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 1, 1, 0)) return -1;
  return lua_toboolean(L, -1);
}

/* Tasks that a failed run has left must not disturb the next one. */
static const char drop_tasks[] =
    "for _, t in pairs(debug.getregistry()['bakery.tasks'] or {}) do t:cancel() end\n"
    "require 'bakery.loop'.finish()";

static lua_State *new_state(struct memory *m) {
  lua_State *L = lua_newstate(alloc, m);
  luaL_openlibs(L);
  bk_modules_preload(L);
  return L;
}

static void check_healthy(lua_State *L, const struct scenario *s, long n) {
  if (luaL_dostring(L, drop_tasks)) fprintf(stderr, "%s, %ld: %s\n", s->name, n, lua_tostring(L, -1));
  int got = call(L);
  if (got != 1)
    fprintf(stderr, "%s: broken after allocation %ld had failed: %s\n", s->name, n,
            got < 0 ? luaL_tolstring(L, -1, NULL) : "wrong result");
  CHECK(got == 1);
}

/* Allocation 0, 1, 2 … fails, in one state; `first` skips numbers where nothing new can be seen. */
static void same_state(const struct scenario *s, bool once) {
  struct memory m = {.left = -1, .once = once};
  lua_State *L = new_state(&m);
  CHECK(luaL_loadstring(L, s->code) == LUA_OK);
  for (long n = 0;; n++) {
    m.left = n;
    m.failed = false;
    int got = call(L);
    m.left = -1;
    CHECK(got != 0 && (got == 1 || m.failed)); /* never a wrong result */
    if (!m.failed) break;
    if (once) CHECK(got == 1);
    if (!once) check_healthy(L, s, n);
  }
  lua_close(L);
}

/* Every start-up of the modules, too: a fresh state per number. */
static void fresh_state(const struct scenario *s, long step) {
  struct memory m = {.left = -1};
  for (long n = 0;; n += step) {
    m.left = -1;
    lua_State *L = new_state(&m);
    CHECK(luaL_loadstring(L, s->code) == LUA_OK);
    m.left = n;
    m.failed = false;
    int got = call(L);
    m.left = -1;
    bool failed = m.failed;
    CHECK(got != 0 && (got == 1 || failed));
    if (failed) check_healthy(L, s, n);
    lua_close(L);
    if (!failed) break;
  }
}

int main(int argc, char **argv) {
  /* What a failed run could not remove goes with this. */
  char tmp[] = "/tmp/bakery-test-alloc-XXXXXX";
  if (!mkdtemp(tmp) || setenv("TMPDIR", tmp, 1)) return 1;
  for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
    if (argc > 1 && strcmp(argv[1], scenarios[i].name) != 0) continue;
    same_state(&scenarios[i], true);
    same_state(&scenarios[i], false);
    fresh_state(&scenarios[i], 1);
  }
  struct bk_err err;
  CHECK(bk_rmtree(AT_FDCWD, tmp, &err) == 0);
  return UNIT_END();
}
