#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "luakit/luakit.h"
#include "tag/tag.h"

BK_EXPORT int luaopen_bakery_tag(lua_State *L);

/* --- filters ------------------------------------------------------------------------------------ */

#define T_BUF "bakery.tag.buffer"

static int buf_close(lua_State *L) {
  bk_buf_free(bk_check(L, 1, T_BUF));
  return 0;
}

typedef void filter_fn(struct bk_buf *out, const char *s, size_t len);

static int apply(lua_State *L, filter_fn *fn) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  struct bk_buf *out = bk_box(L, sizeof *out, T_BUF);
  fn(out, s, n);
  lua_pushlstring(L, bk_buf_str(out), out->len);
  bk_buf_free(out);
  return 1;
}

static int l_safe(lua_State *L) { return apply(L, bk_tag_safe); }
static int l_replace(lua_State *L) { return apply(L, bk_tag_replace); }
static int l_normalize(lua_State *L) { return apply(L, bk_tag_normalize); }
static int l_strip_metadata(lua_State *L) { return apply(L, bk_tag_strip_metadata); }
static int l_strip_patch(lua_State *L) { return apply(L, bk_tag_strip_patch); }
static int l_condense(lua_State *L) { return apply(L, bk_tag_condense); }

static int l_is_valid(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_pushboolean(L, bk_tag_is_valid(s, n));
  return 1;
}

static int l_match(lua_State *L) {
  size_t n, p;
  const char *pattern = luaL_checklstring(L, 1, &p), *s = luaL_checklstring(L, 2, &n);
  lua_pushboolean(L, bk_tag_match(pattern, p, s, n));
  return 1;
}

static int l_compare(lua_State *L) {
  size_t n, m;
  const char *a = luaL_checklstring(L, 1, &n), *b = luaL_checklstring(L, 2, &m);
  lua_pushinteger(L, bk_tag_compare(a, n, b, m));
  return 1;
}

/* --- lists -------------------------------------------------------------------------------------- */

/* Strings of the list at idx, checked; they stay owned by the list. */
static size_t check_list(lua_State *L, int idx) {
  luaL_checktype(L, idx, LUA_TTABLE);
  size_t n = lua_rawlen(L, idx);
  for (size_t i = 1; i <= n; i++) {
    if (lua_rawgeti(L, idx, (lua_Integer)i) != LUA_TSTRING)
      luaL_argerror(L, idx, "list of strings expected");
    lua_pop(L, 1);
  }
  return n;
}

static const char *item(lua_State *L, int idx, size_t i, size_t *len) {
  lua_rawgeti(L, idx, (lua_Integer)i);
  const char *s = lua_tolstring(L, -1, len);
  lua_pop(L, 1); /* the list keeps the string alive */
  return s;
}

struct entry {
  const char *s;
  size_t len, index;
};

struct order {
  bool down, bytes;
};

static int by_order(const void *a, const void *b, void *arg) {
  const struct entry *x = a, *y = b;
  const struct order *o = arg;
  int c;
  if (o->bytes) {
    size_t n = x->len < y->len ? x->len : y->len;
    c = memcmp(x->s, y->s, n);
    if (!c) c = (x->len > y->len) - (x->len < y->len);
  } else {
    c = bk_tag_compare(x->s, x->len, y->s, y->len);
  }
  if (c) return o->down ? -c : c;
  return (x->index > y->index) - (x->index < y->index);
}

/* sort(list[, {order="version"|"text", reverse=bool}]) */
static int l_sort(lua_State *L) {
  static const char *const names[] = {"order", "reverse", NULL};
  size_t n = check_list(L, 1);
  struct order o = {false, false};
  if (bk_opts(L, 2, names)) {
    const char *kind = bk_opt_str(L, 2, "order", "version", NULL);
    o.bytes = strcmp(kind, "text") == 0;
    if (!o.bytes && strcmp(kind, "version"))
      return luaL_error(L, "option 'order': 'version' or 'text' expected");
    o.down = bk_opt_bool(L, 2, "reverse", false);
  }
  struct entry *list = lua_newuserdatauv(L, (n ? n : 1) * sizeof *list, 0);
  for (size_t i = 0; i < n; i++) {
    list[i].s = item(L, 1, i + 1, &list[i].len);
    list[i].index = i + 1;
  }
  qsort_r(list, n, sizeof *list, by_order, &o);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, 1, (lua_Integer)list[i].index);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* Lua's own tables are the sets: strings are interned there already. Pushes {string = true}. */
static void push_set(lua_State *L, int idx, size_t n) {
  lua_createtable(L, 0, (int)n);
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, idx, (lua_Integer)i);
    lua_pushboolean(L, true);
    lua_rawset(L, -3);
  }
}

/* Is the string on top of the stack a key of the table at idx? */
static bool has(lua_State *L, int idx) {
  lua_pushvalue(L, -1);
  bool found = lua_rawget(L, idx) != LUA_TNIL;
  lua_pop(L, 1);
  return found;
}

/* Appends to the table at out the strings of idx that are in the set, or are not; each once. */
static void select_once(lua_State *L, int idx, size_t n, int set, bool wanted, int seen, int out) {
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, idx, (lua_Integer)i);
    bool in = set ? has(L, set) : wanted;
    if (in != wanted || has(L, seen)) {
      lua_pop(L, 1);
      continue;
    }
    lua_pushvalue(L, -1);
    lua_pushboolean(L, true);
    lua_rawset(L, seen);
    lua_rawseti(L, out, (lua_Integer)lua_rawlen(L, out) + 1);
  }
}

static int two_sets(lua_State *L, bool wanted) {
  size_t n = check_list(L, 1), m = check_list(L, 2);
  lua_settop(L, 2);
  push_set(L, 2, m);
  lua_newtable(L);
  lua_newtable(L);
  select_once(L, 1, n, 3, wanted, 4, 5);
  return 1;
}

static int l_intersect(lua_State *L) { return two_sets(L, true); }
static int l_subtract(lua_State *L) { return two_sets(L, false); }

/* union(list…): each string once, in order of first appearance. */
static int l_union(lua_State *L) {
  int args = lua_gettop(L);
  for (int i = 1; i <= args; i++) check_list(L, i);
  luaL_checkstack(L, 8, "too many lists");
  lua_newtable(L);
  lua_newtable(L);
  for (int i = 1; i <= args; i++)
    select_once(L, i, lua_rawlen(L, i), 0, true, args + 1, args + 2);
  return 1;
}

/* --- filter ------------------------------------------------------------------------------------- */

/* One glob or a list of them at field `name`: pushed as a list (empty when absent). */
static size_t globs(lua_State *L, const char *name) {
  int t = lua_getfield(L, 2, name);
  if (t == LUA_TNIL || t == LUA_TSTRING) {
    lua_createtable(L, 1, 0);
    lua_insert(L, -2);
    if (t == LUA_TNIL) lua_pop(L, 1);
    else lua_rawseti(L, -2, 1);
  } else if (t != LUA_TTABLE) {
    luaL_error(L, "option '%s': a pattern or a list of patterns expected", name);
  }
  return check_list(L, lua_gettop(L));
}

static bool any_glob(lua_State *L, int idx, size_t n, const char *s, size_t len) {
  for (size_t i = 1; i <= n; i++) {
    size_t k;
    const char *p = item(L, idx, i, &k);
    if (bk_tag_match(p, k, s, len)) return true;
  }
  return false;
}

/* Calls fn(tag), or object:match(tag), at stack index `fn`; truth of the result. */
static bool ask(lua_State *L, int fn, size_t i) {
  if (lua_type(L, fn) == LUA_TFUNCTION) {
    lua_pushvalue(L, fn);
    lua_rawgeti(L, 1, (lua_Integer)i);
    lua_call(L, 1, 1);
  } else {
    lua_getfield(L, fn, "match");
    lua_pushvalue(L, fn);
    lua_rawgeti(L, 1, (lua_Integer)i);
    lua_call(L, 2, 1);
  }
  bool yes = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return yes;
}

/* filter(list, {glob=, exclude=, regex=, where=}) */
static int l_filter(lua_State *L) {
  static const char *const names[] = {"glob", "exclude", "regex", "where", NULL};
  size_t n = check_list(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  bk_opts(L, 2, names);
  lua_settop(L, 2);
  size_t ng = globs(L, "glob"), nx = globs(L, "exclude");
  bool regex = bk_opt_get(L, 2, "regex"), where = bk_opt_get(L, 2, "where");
  if (regex && lua_type(L, 5) != LUA_TUSERDATA && lua_type(L, 5) != LUA_TTABLE)
    return luaL_error(L, "option 'regex': a compiled expression expected");
  if (where) luaL_argexpected(L, lua_isfunction(L, 6), 2, "function in option 'where'");
  lua_newtable(L);
  lua_Integer kept = 0;
  for (size_t i = 1; i <= n; i++) {
    size_t len;
    const char *s = item(L, 1, i, &len);
    if (ng && !any_glob(L, 3, ng, s, len)) continue;
    if (any_glob(L, 4, nx, s, len)) continue;
    if (regex && !ask(L, 5, i)) continue;
    if (where && !ask(L, 6, i)) continue;
    lua_rawgeti(L, 1, (lua_Integer)i);
    lua_rawseti(L, 7, ++kept);
  }
  return 1;
}

static const luaL_Reg FUNCTIONS[] = {
    {"safe", l_safe},
    {"replace", l_replace},
    {"normalize", l_normalize},
    {"strip_metadata", l_strip_metadata},
    {"strip_patch", l_strip_patch},
    {"condense", l_condense},
    {"is_valid", l_is_valid},
    {"match", l_match},
    {"compare", l_compare},
    {"sort", l_sort},
    {"union", l_union},
    {"intersect", l_intersect},
    {"subtract", l_subtract},
    {"filter", l_filter},
    {NULL, NULL}};

int luaopen_bakery_tag(lua_State *L) {
  bk_class(L, T_BUF, NULL, buf_close);
  luaL_newlib(L, FUNCTIONS);
  return 1;
}
