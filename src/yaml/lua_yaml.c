/* bakery.yaml: documents as Lua tables (shapes in stdlib/stubs/yaml.lua). */
#include <stdlib.h>
#include <string.h>

#include "luakit/luakit.h"
#include "yaml/yaml.h"

#define DOC "bakery.yaml.document"

static const char NULL_KEY = 0;

/* yaml.null is json.null, so that values move between the two. */
static void push_null(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &NULL_KEY);
}

static void set_int(lua_State *L, const char *name, size_t v) {
  lua_pushinteger(L, (lua_Integer)v);
  lua_setfield(L, -2, name);
}

static void push_scalar_value(lua_State *L, const struct bk_yaml_node *n) {
  switch (n->type) {
    case BK_YAML_INT: lua_pushinteger(L, n->as.i); return;
    case BK_YAML_FLOAT: lua_pushnumber(L, n->as.f); return;
    case BK_YAML_BOOL: lua_pushboolean(L, n->as.b); return;
    case BK_YAML_NULL: push_null(L); return;
    default: lua_pushlstring(L, n->text, n->len);
  }
}

/* Node tables are made once per node: aliases share theirs (cache at index `memo`). */
static void push_node(lua_State *L, const struct bk_yaml_node *n, int memo) {
  static const char *const kinds[] = {"scalar", "seq", "map"};
  static const char *const types[] = {"str", "int", "float", "bool", "null", "date"};
  static const char *const styles[] = {"plain", "single", "double", "literal", "folded"};
  luaL_checkstack(L, 12, "YAML nesting");
  if (lua_rawgetp(L, memo, n) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 12);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, memo, n);
  lua_pushstring(L, kinds[n->kind]);
  lua_setfield(L, -2, "kind");
  set_int(L, "line", n->start.line);
  set_int(L, "col", n->start.col);
  set_int(L, "end_line", n->end.line);
  set_int(L, "end_col", n->end.col);
  set_int(L, "offset", n->start.offset);
  set_int(L, "end_offset", n->end.offset);
  if (n->tag) lua_pushstring(L, n->tag), lua_setfield(L, -2, "tag");
  if (n->anchor) lua_pushstring(L, n->anchor), lua_setfield(L, -2, "anchor");
  if (n->alias) lua_pushstring(L, n->alias), lua_setfield(L, -2, "alias");
  if (n->flow) lua_pushboolean(L, 1), lua_setfield(L, -2, "flow");
  if (n->kind == BK_YAML_SCALAR) {
    push_scalar_value(L, n);
    lua_setfield(L, -2, "value");
    lua_pushlstring(L, n->text, n->len);
    lua_setfield(L, -2, "text");
    lua_pushstring(L, styles[n->style]);
    lua_setfield(L, -2, "style");
    lua_pushstring(L, types[n->type]);
    lua_setfield(L, -2, "type");
  } else if (n->kind == BK_YAML_SEQ) {
    lua_createtable(L, (int)n->count, 0);
    for (size_t i = 0; i < n->count; i++) {
      push_node(L, n->items[i], memo);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "items");
  } else {
    lua_createtable(L, (int)n->count, 0); /* keys */
    lua_createtable(L, 0, (int)n->count); /* map */
    for (size_t i = 0; i < n->count; i++) {
      const struct bk_yaml_pair *p = &n->pairs[i];
      lua_createtable(L, 0, 3);
      push_node(L, p->key, memo);
      lua_setfield(L, -2, "key");
      push_node(L, p->value, memo);
      lua_pushvalue(L, -1);
      lua_setfield(L, -3, "value");
      lua_pushlstring(L, p->key->text, p->key->len);
      lua_insert(L, -2);
      lua_rawset(L, -4); /* map[key] = node */
      if (p->merged) lua_pushboolean(L, 1), lua_setfield(L, -2, "merged");
      lua_rawseti(L, -3, (lua_Integer)i + 1);
    }
    lua_setfield(L, -3, "map");
    lua_setfield(L, -2, "keys");
  }
}

static void push_value(lua_State *L, const struct bk_yaml_node *n) {
  luaL_checkstack(L, 8, "YAML nesting");
  if (n->kind == BK_YAML_SCALAR) {
    push_scalar_value(L, n);
  } else if (n->kind == BK_YAML_SEQ) {
    lua_createtable(L, (int)n->count, 0);
    luaL_getmetatable(L, "bakery.json.array");
    if (lua_istable(L, -1)) lua_setmetatable(L, -2);
    else lua_pop(L, 1);
    for (size_t i = 0; i < n->count; i++) {
      push_value(L, n->items[i]);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
  } else {
    lua_createtable(L, 0, (int)n->count);
    luaL_getmetatable(L, "bakery.json.object");
    if (lua_istable(L, -1)) lua_setmetatable(L, -2);
    else lua_pop(L, 1);
    for (size_t i = 0; i < n->count; i++) {
      lua_pushlstring(L, n->pairs[i].key->text, n->pairs[i].key->len);
      push_value(L, n->pairs[i].value);
      lua_settable(L, -3); /* through __newindex: keeps the order */
    }
  }
}

static int doc_close(lua_State *L) {
  bk_yaml_free(lua_touserdata(L, 1));
  return 0;
}

static int fail(lua_State *L, const struct bk_err *err) {
  bk_lua_fail(L, err);
  const char *col = strrchr(err->where, ':');
  if (!col) return 2;
  const char *line = col;
  while (line > err->where && line[-1] != ':') line--;
  lua_pushinteger(L, atoi(line));
  lua_setfield(L, -2, "line");
  lua_pushinteger(L, atoi(col + 1));
  lua_setfield(L, -2, "col");
  return 2;
}

/* Parses argument 1 into a new document userdata on the stack top; false with nil, err pushed. */
static struct bk_yaml *parse(lua_State *L, int *results) {
  static const char *const names[] = {"name", "schema", NULL};
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  bk_opts(L, 2, names);
  const char *name = bk_opt_str(L, 2, "name", "yaml", NULL);
  struct bk_yaml *doc = bk_box(L, sizeof *doc, DOC);
  struct bk_err err;
  if (bk_yaml_parse(text, n, name, doc, &err) == 0) return doc;
  *results = fail(L, &err);
  return NULL;
}

static int l_parse(lua_State *L) {
  int results;
  return parse(L, &results) ? 1 : results;
}

static int l_load(lua_State *L) {
  int results;
  struct bk_yaml *doc = parse(L, &results);
  if (!doc) return results;
  if (!doc->root) return push_null(L), 1;
  push_value(L, doc->root);
  return 1;
}

static int doc_root(lua_State *L) {
  const struct bk_yaml *doc = bk_check(L, 1, DOC);
  if (!doc->root) return lua_pushnil(L), 1;
  if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE) return 1;
  lua_newtable(L);
  push_node(L, doc->root, lua_gettop(L));
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, 1);
  return 1;
}

/* yaml.to_lua(node): a node table as plain Lua value. */
static int l_to_lua(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_checkstack(L, 10, "YAML nesting");
  lua_getfield(L, 1, "kind");
  const char *kind = luaL_checkstring(L, -1);
  if (strcmp(kind, "scalar") == 0) {
    lua_getfield(L, 1, "value");
    return 1;
  }
  bool map = strcmp(kind, "map") == 0;
  lua_newtable(L);
  luaL_getmetatable(L, map ? "bakery.json.object" : "bakery.json.array");
  if (lua_istable(L, -1)) lua_setmetatable(L, -2);
  else lua_pop(L, 1);
  lua_getfield(L, 1, map ? "keys" : "items");
  luaL_checktype(L, -1, LUA_TTABLE);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 4, i);
    if (map) {
      lua_getfield(L, -1, "key");
      lua_getfield(L, -1, "text");
      lua_replace(L, -2);
      lua_getfield(L, -2, "value");
    } else {
      lua_pushvalue(L, -1);
    }
    lua_pushcfunction(L, l_to_lua);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    if (map) lua_settable(L, 3);
    else lua_rawseti(L, 3, i);
    lua_settop(L, 4);
  }
  lua_settop(L, 3);
  return 1;
}

BK_EXPORT int luaopen_bakery_yaml(lua_State *L);
BK_EXPORT int luaopen_bakery_yaml(lua_State *L) {
  static const luaL_Reg methods[] = {{"root", doc_root}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"parse", l_parse}, {"load", l_load}, {"to_lua", l_to_lua}, {NULL, NULL}};
  bk_class(L, DOC, methods, doc_close);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "bakery.json");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "null");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &NULL_KEY);
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  push_null(L);
  lua_setfield(L, -2, "null");
  return 1;
}
