/* The native modules of this program, for package.preload. */
#ifndef BK_HOST_MODULES_H
#define BK_HOST_MODULES_H

#include <lua.h>

/* Registers every native module in package.preload. */
void bk_modules_preload(lua_State *L);

#endif
