/* Shared by the two binding files of this module; owns nothing. lua_snapshot.c opens the module and
 * registers its own functions, then those of bk_snapshot_copy_functions (scan, copy, ignore,
 * glob_match: lua_snapshot_copy.c) and calls bk_snapshot_copy_classes for their metatables. Both
 * are weak: a build without that file simply lacks the functions. */
#ifndef BK_SNAPSHOT_LUA_SNAPSHOT_H
#define BK_SNAPSHOT_LUA_SNAPSHOT_H

#include "luakit/luakit.h"

extern const luaL_Reg bk_snapshot_copy_functions[] __attribute__((weak)); /* ends with NULL */
void bk_snapshot_copy_classes(lua_State *L) __attribute__((weak));        /* leaves the stack */

#endif
