/* The program: one Lua state, native modules preloaded, shipped Lua found in the binary (or below
 * $BAKERY_ROOT while developing), then lua/app/main.lua does everything else. */
#include <lauxlib.h>
#include <locale.h>
#include <lua.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fs.h"
#include "host/alloc.h"
#include "host/embedded.h"
#include "host/modules.h"

enum { FREE_KB = 16 << 10, RUNNING = -1 };

const struct bk_embedded *bk_embedded_find(const char *name) {
  size_t lo = 0, hi = bk_embedded_count;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    int c = strcmp(name, bk_embedded_files[mid].name);
    if (c == 0) return &bk_embedded_files[mid];
    if (c < 0) hi = mid;
    else lo = mid + 1;
  }
  return NULL;
}

/* Pushes a shipped file as embedded.h has it (as text below $BAKERY_ROOT), or returns false. */
static bool push_shipped(lua_State *L, const char *name) {
  const char *root = getenv("BAKERY_ROOT");
  if (root && *root) {
    struct bk_buf text = {0};
    struct bk_err err;
    const char *path = lua_pushfstring(L, "%s/%s", root, name);
    bool ok = bk_read_file(-100, path, &text, &err) == 0;
    lua_pop(L, 1);
    if (ok) lua_pushlstring(L, bk_buf_str(&text), text.len);
    bk_buf_free(&text);
    return ok;
  }
  const struct bk_embedded *f = bk_embedded_find(name);
  if (f) lua_pushlstring(L, (const char *)f->data, f->size);
  return f != NULL;
}

/* host.read(name) -> text of a shipped recipe, resolver or template, or nil. */
static int host_read(lua_State *L) {
  if (!push_shipped(L, luaL_checkstring(L, 1))) lua_pushnil(L);
  return 1;
}

/* host.list(prefix) -> names of the shipped files that begin with it, sorted. */
static int host_list(lua_State *L) {
  size_t len;
  const char *prefix = luaL_optlstring(L, 1, "", &len);
  lua_newtable(L);
  lua_Integer n = 0;
  for (size_t i = 0; i < bk_embedded_count; i++)
    if (strncmp(bk_embedded_files[i].name, prefix, len) == 0) {
      lua_pushstring(L, bk_embedded_files[i].name);
      lua_rawseti(L, -2, ++n);
    }
  return 1;
}

static int flush(int code) {
  if (fflush(stdout) == 0) return code;
  fprintf(stderr, "bakery: cannot write to standard output\n");
  return code ? code : 1;
}

/* bakery.x.y is stdlib/bakery/x/y.lua, app.x is lua/app/x.lua, or a folder's init.lua. */
static int search_shipped(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  const char *dir = strncmp(name, "bakery", 6) == 0 && (name[6] == '.' || !name[6]) ? "stdlib"
                    : strncmp(name, "app.", 4) == 0                                ? "lua"
                                                                                   : NULL;
  if (!dir) return 0;
  const char *path = luaL_gsub(L, name, ".", "/");
  static const char *const forms[] = {"%s/%s.lua", "%s/%s/init.lua"};
  for (size_t i = 0; i < 2; i++) {
    const char *file = lua_pushfstring(L, forms[i], dir, path);
    if (!push_shipped(L, file)) continue;
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    if (luaL_loadbuffer(L, text, n, lua_pushfstring(L, "@%s", file))) return lua_error(L);
    lua_pushstring(L, file);
    return 2;
  }
  lua_pushfstring(L, "no shipped file '%s/%s.lua'", dir, path);
  return 1;
}

static void install_searcher(lua_State *L) {
  lua_getglobal(L, "package");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "path");
  lua_pushliteral(L, "");
  lua_setfield(L, -2, "cpath");
  lua_getfield(L, -1, "searchers");
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = n; i >= 2; i--) { /* after preload, before the path searchers */
    lua_rawgeti(L, -1, i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, search_shipped);
  lua_rawseti(L, -2, 2);
  lua_pop(L, 2);
}

static int open_host(lua_State *L) {
  static const luaL_Reg functions[] = {{"read", host_read}, {"list", host_list}, {NULL, NULL}};
  luaL_newlib(L, functions);
  lua_pushliteral(L, BK_VERSION);
  lua_setfield(L, -2, "version");
  return 1;
}

/* Ends the process when the state's finalizers have run: the first object that got one is the last to be
 * finalized. What follows, giving a hundred thousand objects back, is not worth it. */
static int end_process(lua_State *L) {
  const int *code = lua_touserdata(L, lua_upvalueindex(1));
  if (*code != RUNNING) _exit(flush(*code)); /* else os.exit closes the state and knows a code of its own */
  return 0;
}

static void end_with_finalizers(lua_State *L, int *code) {
#ifndef __SANITIZE_ADDRESS__ /* it looks for leaks */
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushlightuserdata(L, code);
  lua_pushcclosure(L, end_process, 1);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  luaL_ref(L, LUA_REGISTRYINDEX);
#else
  (void)L, (void)code, (void)end_process;
#endif
}

static int traceback(lua_State *L) {
  const char *text = luaL_tolstring(L, 1, NULL);
  luaL_traceback(L, L, text, 1);
  return 1;
}

static int run(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  luaL_openlibs(L);
  bk_modules_preload(L);
  install_searcher(L);
  luaL_requiref(L, "app.host", open_host, 0);
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
  lua_getglobal(L, "require");
  lua_pushliteral(L, "app.main");
  lua_call(L, 1, 1);
  lua_insert(L, -2);
  lua_call(L, 1, 1);
  return 1;
}

/* warn(…) as lua.c has it: off until warn("@on"). A message can come in pieces. */
static void warning(void *ud, const char *text, int more) {
  static bool on, within;
  (void)ud;
  if (!within && !more && *text == '@') {
    if (strcmp(text, "@on") == 0) on = true;
    else if (strcmp(text, "@off") == 0) on = false;
    return;
  }
  if (on) fprintf(stderr, "%s%s%s", within ? "" : "Lua warning: ", text, more ? "" : "\n");
  within = more;
}

/* Credentials and keys are in our memory: no core files. The kernel takes a limit of one byte for "none"
 * also where cores go to a program, where 0 would not count (core(5)). */
static void no_core_files(void) {
  struct rlimit core;
  if (getrlimit(RLIMIT_CORE, &core)) return;
  core.rlim_cur = core.rlim_max < 1 ? core.rlim_max : 1;
  setrlimit(RLIMIT_CORE, &core);
}

int main(int argc, char **argv) {
  no_core_files();
  setlocale(LC_CTYPE, "C.UTF-8");
  signal(SIGPIPE, SIG_IGN);
  static struct bk_alloc memory;
  lua_State *L = lua_newstate(bk_alloc, &memory);
  if (!L) return fprintf(stderr, "bakery: out of memory\n"), 1;
  lua_setwarnf(L, warning, NULL);
  lua_gc(L, LUA_GCINC, 300, 400, 0);
  lua_gc(L, LUA_GCSTEP, -(FREE_KB)); /* the first collection starts after that much */
  int code = RUNNING, ended = 1;
  end_with_finalizers(L, &code);
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, run);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  if (lua_pcall(L, 2, 1, 1) == LUA_OK) ended = (int)lua_tointeger(L, -1);
  else fprintf(stderr, "bakery: internal error: %s\n", lua_tostring(L, -1));
  code = ended;
  lua_close(L);
  return flush(code);
}
