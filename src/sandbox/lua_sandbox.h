/* Shared by the binding files of this module. Owns nothing. */
#ifndef BK_LUA_SANDBOX_H
#define BK_LUA_SANDBOX_H

#include "luakit/luakit.h"
#include "sandbox/sandbox.h"

/* Adds probe, enter, subids, make_dev, binfmt and devices_refused to the module at the top of the stack. */
void bk_lua_sandbox_facts(lua_State *L);

#endif
