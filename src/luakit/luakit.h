/* The only glue between the cores and Lua: error objects, option tables, boxes (userdata with one
 * idempotent closer) and class tables. Lua owns every box; C keeps no pointer into Lua memory
 * without anchoring it. */
#ifndef BK_LUAKIT_H
#define BK_LUAKIT_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/err.h"
#include "base/sink.h"

#define BK_EXPORT __attribute__((visibility("default")))

/* --- errors ---------------------------------------------------------------------------------- */

/* Pushes an error object (metatable "bakery.error": code, class, message, where, retryable,
 * __tostring). */
void bk_lua_push_err(lua_State *L, const struct bk_err *err);
/* `return bk_lua_fail(L, &err)`: pushes nil, error object; returns 2. */
int bk_lua_fail(lua_State *L, const struct bk_err *err);
/* Raises the error object. */
int bk_lua_raise(lua_State *L, const struct bk_err *err);

/* --- option tables --------------------------------------------------------------------------- */

/* Raises unless the value at idx is nil/none or a table whose keys are all in names (NULL-ended);
 * an unknown key is reported with the nearest name. Returns false when there is no table. */
bool bk_opts(lua_State *L, int idx, const char *const names[]);
/* Field readers: nil gives the default, a wrong type raises "option 'x': expected …". Strings stay
 * owned by the table: copy them before the table can be collected. Without `len` a string that
 * contains a zero byte raises, because C would see only its beginning. */
const char *bk_opt_str(lua_State *L, int idx, const char *name, const char *def, size_t *len);
const char *bk_opt_need_str(lua_State *L, int idx, const char *name, size_t *len);
lua_Integer bk_opt_int(lua_State *L, int idx, const char *name, lua_Integer def);
lua_Number bk_opt_num(lua_State *L, int idx, const char *name, lua_Number def);
/* { bytes=, ratio=, floor=, entries= }, each 0 (no limit) when absent. */
void bk_opt_limits(lua_State *L, int idx, const char *name, struct bk_limits *out);
bool bk_opt_bool(lua_State *L, int idx, const char *name, bool def);
/* Array of strings: NULL-terminated vector in a Lua-owned userdata that is left on the stack (nil
 * when the field is absent, with *out = NULL). The strings stay owned by the option table. */
size_t bk_opt_strv(lua_State *L, int idx, const char *name, const char ***out);
/* The same for a plain list argument at idx. */
size_t bk_lua_strv(lua_State *L, int idx, const char ***out);
/* luaL_checkstring that refuses zero bytes: for paths, names, patterns. */
const char *bk_check_text(lua_State *L, int idx);
/* Pushes the field (like lua_getfield) and returns whether it is not nil. */
bool bk_opt_get(lua_State *L, int idx, const char *name);

/* Nearest of n names to word within a small edit distance, or NULL. */
const char *bk_nearest(const char *word, const char *const names[], size_t n);

/* --- boxes and classes ----------------------------------------------------------------------- */

/* Defines metatable `tname` once: methods in __index, close as __gc, __close and :close(), plus
 * __name/__tostring. close must be idempotent and accept a zeroed box. */
void bk_class(lua_State *L, const char *tname, const luaL_Reg *methods, lua_CFunction close);
/* Pushes a zeroed userdata with that metatable: acquire resources into it afterwards. */
void *bk_box(lua_State *L, size_t size, const char *tname);
/* luaL_checkudata with the type name users see. */
void *bk_check(lua_State *L, int idx, const char *tname);
/* Says that every box of that class begins with a struct bk_sink. */
void bk_sink_class(lua_State *L, const char *tname);
/* The sink at idx, now marked busy: clear that when done with it, and keep the value alive until
 * then. Raises when it is no sink or somebody feeds it already. */
struct bk_sink *bk_sink_take(lua_State *L, int idx);

/* f(what, marks, devices): what layers cannot hold here is kept in attributes (base/ids.h). what: "none",
 * "owners" or "all"; marks: whiteouts too; devices: device nodes too. For each module that writes or reads layers. */
int bk_lua_record_ids(lua_State *L);

#endif
