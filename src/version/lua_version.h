/* Shared by the binding files of this module. Owns nothing: versions are boxes of the Lua state. */
#ifndef BK_LUA_VERSION_H
#define BK_LUA_VERSION_H

#include "luakit/luakit.h"
#include "version/version.h"

#define T_PEP440 "bakery.version.pep440"

/* Pushes the parsed version's box; NULL and err when the text is none (the box is pushed, empty). */
struct bk_pep440 *bk_lua_push_pep440(lua_State *L, const char *s, size_t n, struct bk_err *err);
/* Dots in the text as written, plus one. */
int bk_version_pieces(const char *text);

/* version.compare, .sort, .select and .resolve */
int bk_lua_version_compare(lua_State *L);
int bk_lua_version_sort(lua_State *L);
int bk_lua_version_select(lua_State *L);
int bk_lua_version_resolve(lua_State *L);
/* Defines the class that those need. */
void bk_lua_version_lists(lua_State *L);

#endif
