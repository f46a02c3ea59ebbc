/* bakery.yaml: documents as Lua tables (shapes in stdlib/stubs/yaml.lua). */
#include <string.h>

#include "yaml/lua_yaml.h"

#define DOC "bakery.yaml.document"
#define BUFFER "bakery.yaml.buffer"

static void set_int(lua_State *L, const char *name, size_t v) {
  lua_pushinteger(L, (lua_Integer)v);
  lua_setfield(L, -2, name);
}

static void set_str(lua_State *L, const char *name, const char *v) {
  if (!v) return;
  lua_pushstring(L, v);
  lua_setfield(L, -2, name);
}

static void push_node(lua_State *L, const struct bk_yaml_node *n, int memo);

static void fill_scalar(lua_State *L, const struct bk_yaml_node *n) {
  static const char *const types[] = {"str", "int", "float", "bool", "null", "date"};
  static const char *const styles[] = {"plain", "single", "double", "literal", "folded"};
  bk_lua_yaml_push(L, n);
  lua_setfield(L, -2, "value");
  lua_pushlstring(L, n->text, n->len);
  lua_setfield(L, -2, "text");
  set_str(L, "style", styles[n->style]);
  set_str(L, "type", types[n->type]);
}

static void fill_seq(lua_State *L, const struct bk_yaml_node *n, int memo) {
  lua_createtable(L, (int)n->count, 0);
  for (size_t i = 0; i < n->count; i++) {
    push_node(L, n->items[i], memo);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "items");
}

static void fill_map(lua_State *L, const struct bk_yaml_node *n, int memo) {
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

/* Node tables are made once per node: what aliases stand for is shared (memo: a table's index). */
static void push_node(lua_State *L, const struct bk_yaml_node *n, int memo) {
  static const char *const kinds[] = {"scalar", "seq", "map"};
  luaL_checkstack(L, 12, "YAML nesting");
  if (lua_rawgetp(L, memo, n) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, n->kind == BK_YAML_SCALAR ? 11 : 9);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, memo, n);
  set_str(L, "kind", kinds[n->kind]);
  set_int(L, "line", n->start.line);
  set_int(L, "col", n->start.col);
  set_int(L, "end_line", n->end.line);
  set_int(L, "end_col", n->end.col);
  set_int(L, "offset", n->start.offset);
  set_int(L, "end_offset", n->end.offset);
  set_str(L, "tag", n->tag);
  set_str(L, "anchor", n->anchor);
  set_str(L, "alias", n->alias);
  if (n->flow) lua_pushboolean(L, 1), lua_setfield(L, -2, "flow");
  if (n->kind == BK_YAML_SCALAR) fill_scalar(L, n);
  else if (n->kind == BK_YAML_SEQ) fill_seq(L, n, memo);
  else fill_map(L, n, memo);
}

static int doc_close(lua_State *L) {
  bk_yaml_free(bk_check(L, 1, DOC));
  return 0;
}

static int buffer_gc(lua_State *L) {
  bk_buf_free(lua_touserdata(L, 1));
  return 0;
}

/* Parses argument 1 into a new document userdata on the stack top; NULL with nil, err pushed. */
static struct bk_yaml *parse(lua_State *L) {
  static const char *const names[] = {"name", "schema", NULL};
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  bk_opts(L, 2, names);
  const char *name = bk_opt_str(L, 2, "name", "yaml", NULL);
  if (strcmp(bk_opt_str(L, 2, "schema", "1.2", NULL), "1.2") != 0)
    luaL_error(L, "option 'schema': expected \"1.2\"");
  struct bk_yaml *doc = bk_box(L, sizeof *doc, DOC);
  struct bk_err err;
  if (bk_yaml_parse(text, n, name, doc, &err) == 0) return doc;
  bk_lua_yaml_fail(L, &err);
  return NULL;
}

static int l_parse(lua_State *L) { return parse(L) ? 1 : 2; }

static int l_load(lua_State *L) {
  struct bk_yaml *doc = parse(L);
  if (!doc) return 2;
  if (doc->root) bk_lua_yaml_push(L, doc->root);
  else bk_lua_yaml_null(L);
  bk_yaml_free(doc);
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

/* Pushes the plain value of the node table at idx. */
static void push_plain(lua_State *L, int idx, int depth) {
  luaL_checkstack(L, 12, "YAML nesting");
  idx = lua_absindex(L, idx);
  if (depth > BK_YAML_DEPTH || !lua_istable(L, idx)) luaL_error(L, "expected a YAML node");
  lua_getfield(L, idx, "kind");
  const char *kind = lua_tostring(L, -1);
  bool map = kind && strcmp(kind, "map") == 0, seq = kind && strcmp(kind, "seq") == 0;
  if (kind && strcmp(kind, "scalar") == 0) {
    lua_getfield(L, idx, "value");
    lua_remove(L, -2);
    return;
  }
  lua_getfield(L, idx, map ? "keys" : "items");
  if ((!map && !seq) || !lua_istable(L, -1)) luaL_error(L, "expected a YAML node");
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  lua_newtable(L);
  luaL_setmetatable(L, map ? "bakery.json.object" : "bakery.json.array");
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, -2, i) != LUA_TTABLE) luaL_error(L, "expected a YAML node");
    if (map) {
      lua_getfield(L, -1, "key");
      lua_getfield(L, -1, "text");
      lua_getfield(L, -3, "value");
      push_plain(L, -1, depth + 1);
      lua_replace(L, -2);
      lua_settable(L, -5);
      lua_pop(L, 2);
    } else {
      push_plain(L, -1, depth + 1);
      lua_rawseti(L, -3, i);
      lua_pop(L, 1);
    }
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
}

static int l_to_lua(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  push_plain(L, 1, 0);
  return 1;
}

static int l_dump(lua_State *L) {
  static const struct bk_yaml_layout layout = {.indent = 2, .seq_offset = 2};
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  const struct bk_yaml_node *value = bk_lua_yaml_value(L, 1);
  struct bk_buf *b = bk_box(L, sizeof *b, BUFFER);
  bk_yaml_emit(b, value, 0, &layout);
  bk_buf_addc(b, '\n');
  if (b->overflow) return luaL_error(L, "YAML: document too large");
  lua_pushlstring(L, b->p, b->len);
  bk_buf_free(b);
  return 1;
}

BK_EXPORT int luaopen_bakery_yaml(lua_State *L);
BK_EXPORT int luaopen_bakery_yaml(lua_State *L) {
  static const luaL_Reg methods[] = {{"root", doc_root}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"parse", l_parse},   {"load", l_load},
                                       {"to_lua", l_to_lua}, {"dump", l_dump},
                                       {"edit", bk_lua_yaml_edit}, {NULL, NULL}};
  bk_class(L, DOC, methods, doc_close);
  bk_class(L, BUFFER, NULL, buffer_gc);
  bk_lua_yaml_open_edit(L);
  luaL_newlib(L, functions);
  bk_lua_yaml_null(L);
  lua_setfield(L, -2, "null");
  return 1;
}
