/* bakery.yaml.editor: the object yaml.edit gives. */
#include <string.h>

#include "yaml/lua_yaml.h"
#include "yaml/yaml_edit.h"

#define EDITOR "bakery.yaml.editor"

static int ed_close(lua_State *L) {
  bk_yaml_edit_free(bk_check(L, 1, EDITOR));
  return 0;
}

static struct bk_yaml_edit *check(lua_State *L) {
  struct bk_yaml_edit *e = bk_check(L, 1, EDITOR);
  if (!e->name) luaL_error(L, "the editor is closed");
  return e;
}

int bk_lua_yaml_edit(lua_State *L) {
  static const char *const names[] = {"name", NULL};
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  bk_opts(L, 2, names);
  const char *name = bk_opt_str(L, 2, "name", "yaml", NULL);
  struct bk_yaml_edit *e = bk_box(L, sizeof *e, EDITOR);
  struct bk_err err;
  if (bk_yaml_edit_open(e, text, n, name, &err)) return bk_lua_yaml_fail(L, &err);
  return 1;
}

/* One step out of the value at the stack top, which must stay anchored. */
static struct bk_yaml_step step(lua_State *L, int arg) {
  struct bk_yaml_step s = {0};
  if (lua_type(L, -1) == LUA_TSTRING) s.key = lua_tolstring(L, -1, &s.len);
  else if (lua_isinteger(L, -1) && lua_tointeger(L, -1) > 0) s.index = (size_t)lua_tointeger(L, -1);
  else luaL_argerror(L, arg, "keys and item numbers from 1 expected");
  return s;
}

/* The path list at argument 2; leaves a userdata on the stack. The strings belong to that list. */
static struct bk_yaml_step *path_arg(lua_State *L, size_t *n) {
  luaL_checktype(L, 2, LUA_TTABLE);
  *n = (size_t)lua_rawlen(L, 2);
  luaL_argcheck(L, *n <= 1000, 2, "path too long");
  struct bk_yaml_step *path = lua_newuserdatauv(L, (*n + 1) * sizeof *path, 0);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, 2, (lua_Integer)i + 1);
    path[i] = step(L, 2);
    lua_pop(L, 1);
  }
  return path;
}

static int result(lua_State *L, int rc, const struct bk_err *err) {
  if (rc) return bk_lua_yaml_fail(L, err);
  lua_pushboolean(L, 1);
  return 1;
}

static int ed_set(lua_State *L) {
  struct bk_yaml_edit *e = check(L);
  size_t n;
  luaL_checkany(L, 3);
  const struct bk_yaml_step *path = path_arg(L, &n);
  const struct bk_yaml_node *value = bk_lua_yaml_value(L, 3);
  struct bk_err err;
  return result(L, bk_yaml_edit_set(e, path, n, value, &err), &err);
}

static int ed_insert(lua_State *L) {
  struct bk_yaml_edit *e = check(L);
  size_t n;
  struct bk_yaml_step at = {0};
  luaL_checkany(L, 4);
  lua_settop(L, 4);
  if (!lua_isnil(L, 3)) {
    lua_pushvalue(L, 3);
    at = step(L, 3);
    lua_pop(L, 1);
  }
  const struct bk_yaml_step *path = path_arg(L, &n);
  const struct bk_yaml_node *value = bk_lua_yaml_value(L, 4);
  struct bk_err err;
  return result(L, bk_yaml_edit_insert(e, path, n, &at, value, &err), &err);
}

static int ed_remove(lua_State *L) {
  struct bk_yaml_edit *e = check(L);
  size_t n;
  const struct bk_yaml_step *path = path_arg(L, &n);
  struct bk_err err;
  return result(L, bk_yaml_edit_remove(e, path, n, &err), &err);
}

static int ed_get(lua_State *L) {
  struct bk_yaml_edit *e = check(L);
  size_t n;
  const struct bk_yaml_step *path = path_arg(L, &n);
  const struct bk_yaml_node *node = bk_yaml_edit_get(e, path, n);
  if (node) bk_lua_yaml_push(L, node);
  else lua_pushnil(L);
  return 1;
}

static int ed_text(lua_State *L) {
  struct bk_yaml_edit *e = check(L);
  lua_pushlstring(L, bk_buf_str(&e->text), e->text.len);
  return 1;
}

void bk_lua_yaml_open_edit(lua_State *L) {
  static const luaL_Reg methods[] = {{"set", ed_set}, {"insert", ed_insert}, {"remove", ed_remove},
                                     {"get", ed_get}, {"text", ed_text},     {NULL, NULL}};
  bk_class(L, EDITOR, methods, ed_close);
}
