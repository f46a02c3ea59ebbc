/* Shared by the two halves of the binding. Nothing here may raise a template error while a Lua call
 * is on the C stack above it: values are made before or after lua_pcall, never inside. */
#ifndef BK_LUA_TEMPLATE_H
#define BK_LUA_TEMPLATE_H

#include "luakit/luakit.h"
#include "template/template.h"

/* One rendering. The tables are at absolute stack indices of the C function that renders. */
struct tpl_bridge {
  lua_State *L;
  int anchors;   /* containers and functions met so far, by number from 1 */
  int functions; /* the environment's filters and tests; they have negative numbers */
  int loader;    /* function, table or nil */
  int list_mt, array_mt; /* metatables of template.list and json.array */
  lua_Integer n;
};

/* The value at idx; containers are converted when first used. */
bk_tv bk_tpl_from_lua(struct tpl_bridge *b, struct bk_tpl_run *r, int idx);
/* A dict for the table at idx (nil: empty). */
bk_tv bk_tpl_vars_from_lua(struct tpl_bridge *b, struct bk_tpl_run *r, int idx);
extern const struct bk_tpl_host bk_tpl_lua_host; /* ud: a struct tpl_bridge */

/* template.map, template.list, template.none. */
int bk_tpl_lua_map(lua_State *L);
int bk_tpl_lua_list(lua_State *L);
void bk_tpl_lua_push_none(lua_State *L);

#endif
