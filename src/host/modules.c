#include "host/modules.h"

#include <lauxlib.h>

#define MODULES(X)                                                                            \
  X(archive) X(digest) X(fs) X(http) X(json) X(loop) X(oci) X(process) X(regex) X(sandbox)    \
  X(sign) X(snapshot) X(soci) X(store) X(tag) X(template) X(version) X(yaml)

#define DECLARE(m) int luaopen_bakery_##m(lua_State *L);
MODULES(DECLARE)

void bk_modules_preload(lua_State *L) {
#define ENTRY(m) {"bakery." #m, luaopen_bakery_##m},
  static const luaL_Reg modules[] = {MODULES(ENTRY){NULL, NULL}};
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  luaL_setfuncs(L, modules, 0);
  lua_pop(L, 1);
}
