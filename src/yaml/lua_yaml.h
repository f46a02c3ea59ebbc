/* Shared by the two halves of the binding: values between Lua and trees. A tree made of a Lua value
 * lives in an arena that Lua owns. */
#ifndef BK_LUA_YAML_H
#define BK_LUA_YAML_H

#include "luakit/luakit.h"
#include "yaml/yaml.h"

/* Pushes yaml.null, which is json.null. */
void bk_lua_yaml_null(lua_State *L);
/* Pushes a tree as plain Lua value: maps are ordered objects, lists have json.array_mt. */
void bk_lua_yaml_push(lua_State *L, const struct bk_yaml_node *n);
/* The value at idx as a tree; leaves the userdata that owns it on the stack. Raises for what YAML
 * cannot say (functions, cycles, strings that are not UTF-8, more than 100 levels). */
const struct bk_yaml_node *bk_lua_yaml_value(lua_State *L, int idx);
/* As bk_lua_fail, with line and col. */
int bk_lua_yaml_fail(lua_State *L, const struct bk_err *err);
/* Registers bakery.yaml.editor; yaml.edit. */
void bk_lua_yaml_open_edit(lua_State *L);
int bk_lua_yaml_edit(lua_State *L);

#endif
