/* Shared by the two binding files of this module; owns nothing. lua_snapshot.c opens the module and
 * registers its own functions, then those of lua_snapshot_copy.c (scan, copy, ignore, glob_match)
 * with their metatables. */
#ifndef BK_SNAPSHOT_LUA_SNAPSHOT_H
#define BK_SNAPSHOT_LUA_SNAPSHOT_H

#include "luakit/luakit.h"

extern const luaL_Reg bk_snapshot_copy_functions[]; /* ends with NULL */
void bk_snapshot_copy_classes(lua_State *L);        /* leaves the stack */


/* Those of lua_snapshot_flat.c: record, apply_dir, place. */
extern const luaL_Reg bk_snapshot_flat_functions[];
void bk_snapshot_flat_classes(lua_State *L);

#endif
