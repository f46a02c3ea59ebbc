/* process.relay */
#include <stdint.h>
#include <unistd.h>

#include "process/lua_process.h"
#include "process/relay.h"

#define RELAY "bakery.process.relay"

static int relay_close(lua_State *L) {
  struct bk_relay **box = bk_check(L, 1, RELAY);
  bk_relay_close(*box);
  *box = NULL;
  return 0;
}

static lua_Integer number(lua_State *L, const char *name, lua_Integer def, lua_Integer max) {
  lua_Integer n = bk_opt_int(L, 1, name, def);
  if (n < 0 || n > max) luaL_error(L, "option '%s': out of range", name);
  return n;
}

int bk_lua_process_relay(lua_State *L) {
  static const luaL_Reg methods[] = {{"close", relay_close}, {NULL, NULL}};
  static const char *const names[] = {"listen", "connect", "mode", "uid", "gid", NULL};
  struct bk_err err;
  luaL_checktype(L, 1, LUA_TTABLE);
  bk_opts(L, 1, names);
  struct bk_relay_opts o = {
      .listen = bk_opt_need_str(L, 1, "listen", NULL),
      .connect = bk_opt_need_str(L, 1, "connect", NULL),
      .mode = (mode_t)number(L, "mode", 0600, 0777),
      .uid = (uid_t)number(L, "uid", (lua_Integer)geteuid(), UINT32_MAX),
      .gid = (gid_t)number(L, "gid", (lua_Integer)getegid(), UINT32_MAX),
  };
  bk_class(L, RELAY, methods, relay_close);
  struct bk_relay **box = bk_box(L, sizeof *box, RELAY);
  if (bk_relay_open(&o, box, &err)) return bk_lua_fail(L, &err);
  return 1;
}
