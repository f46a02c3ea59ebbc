#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "yaml/lua_yaml.h"

#define ARENA "bakery.yaml.arena"

static const char NULL_KEY = 0;

/* The registry has it under our own key; bakery.json is asked once. */
void bk_lua_yaml_null(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &NULL_KEY) != LUA_TNIL) return;
  lua_pop(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "bakery.json");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "null");
  lua_remove(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &NULL_KEY);
}

int bk_lua_yaml_fail(lua_State *L, const struct bk_err *err) {
  bk_lua_fail(L, err);
  const char *col = strrchr(err->where, ':'), *line = col;
  if (!col || !(col[1] >= '0' && col[1] <= '9')) return 2;
  while (line > err->where && line[-1] != ':') line--;
  if (line == err->where) return 2; /* a name alone */
  lua_pushinteger(L, atoi(line));
  lua_setfield(L, -2, "line");
  lua_pushinteger(L, atoi(col + 1));
  lua_setfield(L, -2, "col");
  return 2;
}

/* --- trees to Lua ---------------------------------------------------------------------------- */

static void push_scalar(lua_State *L, const struct bk_yaml_node *n) {
  switch (n->type) {
    case BK_YAML_INT: lua_pushinteger(L, n->as.i); return;
    case BK_YAML_FLOAT: lua_pushnumber(L, n->as.f); return;
    case BK_YAML_BOOL: lua_pushboolean(L, n->as.b); return;
    case BK_YAML_NULL: bk_lua_yaml_null(L); return;
    default: lua_pushlstring(L, n->text, n->len);
  }
}

void bk_lua_yaml_push(lua_State *L, const struct bk_yaml_node *n) {
  luaL_checkstack(L, 10, "YAML nesting");
  if (n->kind == BK_YAML_SCALAR) return push_scalar(L, n);
  bool map = n->kind == BK_YAML_MAP;
  lua_createtable(L, map ? 0 : (int)n->count, map ? (int)n->count : 0);
  luaL_setmetatable(L, map ? "bakery.json.object" : "bakery.json.array");
  for (size_t i = 0; i < n->count; i++) {
    if (!map) {
      bk_lua_yaml_push(L, n->items[i]);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
      continue;
    }
    lua_pushlstring(L, n->pairs[i].key->text, n->pairs[i].key->len);
    bk_lua_yaml_push(L, n->pairs[i].value);
    lua_settable(L, -3); /* through __newindex: keeps the order */
  }
}

/* --- Lua to trees ---------------------------------------------------------------------------- */

static int arena_gc(lua_State *L) {
  bk_arena_free(lua_touserdata(L, 1));
  return 0;
}

static struct bk_yaml_node *make_text(lua_State *L, int idx, struct bk_arena *a) {
  size_t n;
  const char *s = lua_tolstring(L, idx, &n);
  if (!bk_utf8_valid(s, n)) luaL_error(L, "YAML: a string is not UTF-8");
  struct bk_yaml_node *node = bk_arena_alloc(a, sizeof *node);
  node->text = bk_arena_strndup(a, s, n);
  node->len = n;
  return node;
}

/* A number, boolean or null as its plain text, typed as a reader would. */
static struct bk_yaml_node *make_plain(struct bk_arena *a, const char *text) {
  struct bk_yaml_node *node = bk_arena_alloc(a, sizeof *node);
  node->len = strlen(text);
  node->text = bk_arena_strndup(a, text, node->len);
  node->type = bk_yaml_resolve(node->text, node->len, node);
  return node;
}

static struct bk_yaml_node *make_number(lua_State *L, int idx, struct bk_arena *a) {
  char text[48];
  if (lua_isinteger(L, idx)) {
    snprintf(text, sizeof text, LUA_INTEGER_FMT, lua_tointeger(L, idx));
    return make_plain(a, text);
  }
  double v = lua_tonumber(L, idx);
  if (isnan(v)) return make_plain(a, ".nan");
  if (isinf(v)) return make_plain(a, v < 0 ? "-.inf" : ".inf");
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtod(text, NULL) == v) break;
  }
  char *e = strchr(text, 'e');
  if (!strchr(text, '.')) { /* YAML 1.1 wants a dot in every float */
    char tail[16] = "";
    if (e) snprintf(tail, sizeof tail, "%s", e);
    size_t n = e ? (size_t)(e - text) : strlen(text);
    snprintf(text + n, sizeof text - n, ".0%s", tail);
  }
  return make_plain(a, text);
}

static struct bk_yaml_node *make_node(lua_State *L, int idx, struct bk_arena *a, int depth);

struct entries {
  lua_State *L;
  struct bk_arena *a;
  struct bk_yaml_pair *p;
  size_t n, cap; /* the vector is in the arena and doubles */
};

/* Adds the key and value at the two topmost stack places; pops the value. */
static void add_entry(struct entries *e, int depth) {
  if (lua_type(e->L, -2) != LUA_TSTRING)
    luaL_error(e->L, "YAML: expected string keys, got a %s", luaL_typename(e->L, -2));
  if (e->n == e->cap) {
    e->cap = e->cap ? e->cap * 2 : 8;
    struct bk_yaml_pair *grown = bk_arena_alloc(e->a, e->cap * sizeof *grown);
    if (e->n) memcpy(grown, e->p, e->n * sizeof *grown);
    e->p = grown;
  }
  struct bk_yaml_node *key = make_text(e->L, -2, e->a);
  e->p[e->n++] = (struct bk_yaml_pair){key, make_node(e->L, -1, e->a, depth), false};
  lua_pop(e->L, 1);
}

static int by_key(const void *a, const void *b) {
  const struct bk_yaml_node *x = ((const struct bk_yaml_pair *)a)->key;
  const struct bk_yaml_node *y = ((const struct bk_yaml_pair *)b)->key;
  int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
  return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* Ordered objects in their order (through __pairs), other tables sorted by bytes. */
static void make_map(lua_State *L, int idx, struct bk_arena *a, int depth,
                     struct bk_yaml_node *out) {
  struct entries e = {.L = L, .a = a};
  if (luaL_getmetafield(L, idx, "__pairs") != LUA_TNIL) {
    lua_pushvalue(L, idx);
    lua_call(L, 1, 3);
    for (;;) {
      lua_pushvalue(L, -3);
      lua_pushvalue(L, -3);
      lua_pushvalue(L, -3);
      lua_call(L, 2, 2);
      if (lua_isnil(L, -2)) break;
      add_entry(&e, depth);
      lua_replace(L, -2);
    }
    lua_pop(L, 5);
  } else {
    lua_pushnil(L);
    while (lua_next(L, idx)) add_entry(&e, depth);
    if (e.n) qsort(e.p, e.n, sizeof *e.p, by_key);
  }
  out->kind = BK_YAML_MAP;
  out->pairs = e.p;
  out->count = e.n;
}

/* As json.encode tells lists and maps apart. */
static bool is_list(lua_State *L, int idx) {
  if (lua_getmetatable(L, idx)) {
    luaL_getmetatable(L, "bakery.json.array");
    luaL_getmetatable(L, "bakery.json.object");
    bool array = lua_rawequal(L, -2, -3), object = lua_rawequal(L, -1, -3);
    lua_pop(L, 3);
    if (array || object) return array;
  }
  return lua_rawlen(L, idx) > 0;
}

static void make_list(lua_State *L, int idx, struct bk_arena *a, int depth,
                      struct bk_yaml_node *out) {
  size_t n = (size_t)lua_rawlen(L, idx), have = 0;
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    lua_pop(L, 1);
    if (!lua_isinteger(L, -1)) luaL_error(L, "YAML: a table has list items and other fields");
    have++;
  }
  if (have != n) luaL_error(L, "YAML: a list has holes");
  out->kind = BK_YAML_SEQ;
  out->count = n;
  out->items = bk_arena_alloc(a, (n + 1) * sizeof *out->items);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, idx, (lua_Integer)i + 1);
    out->items[i] = make_node(L, -1, a, depth);
    lua_pop(L, 1);
  }
}

static struct bk_yaml_node *make_node(lua_State *L, int idx, struct bk_arena *a, int depth) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 12, "YAML nesting");
  switch (lua_type(L, idx)) {
    case LUA_TSTRING: return make_text(L, idx, a);
    case LUA_TNUMBER: return make_number(L, idx, a);
    case LUA_TBOOLEAN: return make_plain(a, lua_toboolean(L, idx) ? "true" : "false");
    case LUA_TTABLE: {
      if (depth >= BK_YAML_DEPTH) luaL_error(L, "YAML: nested deeper than 100 levels (a cycle?)");
      struct bk_yaml_node *node = bk_arena_alloc(a, sizeof *node);
      if (is_list(L, idx)) make_list(L, idx, a, depth + 1, node);
      else make_map(L, idx, a, depth + 1, node);
      return node;
    }
    default: break;
  }
  bk_lua_yaml_null(L);
  bool null = lua_rawequal(L, -1, idx);
  lua_pop(L, 1);
  if (!null) luaL_error(L, "YAML cannot say a %s", luaL_typename(L, idx));
  return make_plain(a, "null");
}

const struct bk_yaml_node *bk_lua_yaml_value(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  bk_class(L, ARENA, NULL, arena_gc);
  struct bk_arena *a = bk_box(L, sizeof *a, ARENA);
  return make_node(L, idx, a, 0);
}
