/* Whole lists of version texts: comparing, sorting, choosing and resolving constraints. */
#include "version/lua_version.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* --- any kind ----------------------------------------------------------------------------------- */

enum kind { KIND_PEP440, KIND_RELEASE, KIND_SEMVER };
static const char *const KINDS[] = {"pep440", "release", "semver", NULL};

union any {
  struct bk_pep440 pep;
  struct bk_release rel;
  struct bk_semver sem;
};

/* `valid` is false for a release name that cannot be parsed (it sorts below all). */
struct item {
  union any v;
  bool valid;
  size_t index;
  uint64_t rank; /* of a PEP 440 version in a list */
};

static int item_parse(struct bk_arena *arena, struct item *it, enum kind kind, const char *s,
                      size_t n, struct bk_err *err) {
  it->valid = true;
  if (kind == KIND_PEP440) return bk_pep440_parse_in(arena, &it->v.pep, s, n, err);
  if (kind == KIND_SEMVER) return bk_semver_parse(&it->v.sem, s, n, err);
  it->valid = bk_release_parse(&it->v.rel, s, n, err) == 0;
  return 0;
}

static void item_free(struct item *it, enum kind kind) { /* PEP 440 goes with the arena */
  if (kind == KIND_SEMVER) bk_semver_free(&it->v.sem);
  else if (kind == KIND_RELEASE && it->valid) bk_release_free(&it->v.rel);
}

static int item_compare(const struct item *a, const struct item *b, enum kind kind) {
  if (kind == KIND_PEP440) return bk_pep440_compare(&a->v.pep, &b->v.pep);
  if (kind == KIND_SEMVER) return bk_semver_compare(&a->v.sem, &b->v.sem);
  return bk_release_compare(a->valid ? &a->v.rel : NULL, b->valid ? &b->v.rel : NULL);
}

int bk_lua_version_compare(lua_State *L) {
  size_t n[2];
  const char *s[2] = {luaL_checklstring(L, 1, &n[0]), luaL_checklstring(L, 2, &n[1])};
  enum kind kind = (enum kind)luaL_checkoption(L, 3, "pep440", KINDS);
  struct item a, b;
  struct bk_err err;
  struct bk_arena arena = {0};
  bool good = item_parse(&arena, &a, kind, s[0], n[0], &err) == 0;
  int c = 0;
  if (good) {
    good = item_parse(&arena, &b, kind, s[1], n[1], &err) == 0;
    if (good) {
      c = item_compare(&a, &b, kind);
      item_free(&b, kind);
    }
    item_free(&a, kind);
  }
  bk_arena_free(&arena);
  if (!good) return bk_lua_fail(L, &err);
  lua_pushinteger(L, c);
  return 1;
}

/* Items parsed from a list of strings; owned by a box, so that Lua errors cannot leak them. */
struct items {
  struct item *p;
  size_t n;
  enum kind kind;
  struct bk_arena arena;
  struct place *order; /* of sort_items */
};

/* Where an item is, with a number that decides most comparisons. */
struct place {
  uint64_t rank;
  const struct item *item;
};

#define T_ITEMS "bakery.version.items"

static int items_close(lua_State *L) {
  struct items *list = bk_check(L, 1, T_ITEMS);
  for (size_t i = 0; i < list->n; i++) item_free(&list->p[i], list->kind);
  free(list->p);
  free(list->order);
  bk_arena_free(&list->arena);
  memset(list, 0, sizeof *list);
  return 0;
}

struct order {
  enum kind kind;
  bool down;
};

static int by_order(const void *a, const void *b, void *arg) {
  const struct place *x = a, *y = b;
  const struct order *o = arg;
  if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
  int c = item_compare(x->item, y->item, o->kind);
  if (c) return o->down ? -c : c;
  return (x->item->index > y->item->index) - (x->item->index < y->item->index);
}

/* Fills list->order, stable. */
static void sort_items(struct items *list, bool down) {
  struct order o = {list->kind, down};
  list->order = bk_calloc(list->n ? list->n : 1, sizeof *list->order);
  for (size_t i = 0; i < list->n; i++) {
    const struct item *it = &list->p[i];
    list->order[i].item = it;
    if (o.kind == KIND_PEP440) list->order[i].rank = down ? ~it->rank : it->rank;
  }
  qsort_r(list->order, list->n, sizeof *list->order, by_order, &o);
}

/* What is left out of a list: texts that are no version, and those outside. NULL: nothing. */
struct filter {
  const struct bk_pep440 *max, *min;
  uint64_t max_rank, min_rank;
  size_t series; /* leading numbers of max that choose its whole series; 0: none */
  bool prereleases;
};

static bool passes(const struct filter *f, const struct bk_pep440 *v, uint64_t rank) {
  if (!f->prereleases && (v->pre || v->has_dev)) return false;
  if (f->min && bk_pep440_compare_ranked(v, rank, f->min, f->min_rank) < 0) return false;
  if (!f->max) return true;
  return bk_pep440_compare_ranked(v, rank, f->max, f->max_rank) <= 0 ||
         (f->series && bk_pep440_common(v, f->max, f->series) == f->series);
}

/* Parses the strings of the list at idx and pushes the box. 0, or 2 pushed values. */
static int parse_items(lua_State *L, int idx, enum kind kind, const struct filter *filter,
                       struct items **out) {
  luaL_checktype(L, idx, LUA_TTABLE);
  size_t n = lua_rawlen(L, idx);
  struct items *list = *out = bk_box(L, sizeof *list, T_ITEMS);
  list->kind = kind;
  list->p = bk_calloc(n ? n : 1, sizeof *list->p);
  for (size_t i = 0; i < n; i++) {
    size_t len;
    if (lua_rawgeti(L, idx, (lua_Integer)i + 1) != LUA_TSTRING)
      return luaL_argerror(L, idx, "list of strings expected");
    const char *s = lua_tolstring(L, -1, &len);
    struct bk_err err;
    struct item *it = &list->p[list->n];
    it->index = i + 1;
    int bad = item_parse(&list->arena, it, kind, s, len, filter ? NULL : &err);
    if (bad && !filter) return bk_lua_fail(L, &err);
    if (!bad && kind == KIND_PEP440) it->rank = bk_pep440_rank(&it->v.pep);
    if (!bad && (!filter || passes(filter, &it->v.pep, it->rank))) list->n++;
    lua_pop(L, 1);
  }
  return 0;
}

/* The strings of the list at idx in the order of the items. */
static int push_items(lua_State *L, int idx, const struct items *list) {
  lua_createtable(L, (int)list->n, 0);
  for (size_t i = 0; i < list->n; i++) {
    lua_rawgeti(L, idx, (lua_Integer)list->order[i].item->index);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

int bk_lua_version_sort(lua_State *L) {
  enum kind kind = (enum kind)luaL_checkoption(L, 2, "pep440", KINDS);
  bool down = lua_toboolean(L, 3);
  lua_settop(L, 3);
  struct items *list;
  int failed = parse_items(L, 1, kind, NULL, &list);
  if (failed) return failed;
  sort_items(list, down);
  return push_items(L, 1, list);
}

/* --- constraints -------------------------------------------------------------------------------- */

static const char *const CONSTRAINT[] = {"latest", "count", "max", "min", NULL};

/* A bound in the table at idx, as text (a number is taken as its text). Pushes the box, or nil when
 * absent. */
static int bound(lua_State *L, int idx, const char *name, struct bk_pep440 **out) {
  *out = NULL;
  int t = lua_getfield(L, idx, name);
  if (t == LUA_TNIL) return 0;
  if (t != LUA_TSTRING && t != LUA_TNUMBER)
    return luaL_error(L, "option '%s': expected a version", name);
  size_t n;
  const char *s = lua_tolstring(L, -1, &n);
  struct bk_err err;
  *out = bk_lua_push_pep440(L, s, n, &err);
  if (*out) return 0;
  bk_err_wrap(&err, "%s", name);
  return bk_lua_fail(L, &err);
}

/* The bounds max and min of the table at idx, pushed. 0, or 2 pushed values. */
static int bounds(lua_State *L, int idx, struct filter *filter) {
  struct bk_pep440 *max, *min;
  int failed = bound(L, idx, "max", &max);
  if (!failed) failed = bound(L, idx, "min", &min);
  if (failed) return failed;
  filter->max = max;
  filter->min = min;
  if (max) filter->max_rank = bk_pep440_rank(max);
  if (min) filter->min_rank = bk_pep440_rank(min);
  int n = max ? bk_version_pieces(max->text) : 0;
  filter->series = n <= 2 ? (size_t)n : 0;
  return 0;
}

static const char *const SELECT[] = {"max", "min", "prerelease", NULL};

int bk_lua_version_select(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  bk_opts(L, 2, SELECT);
  struct filter filter = {.prereleases = bk_opt_bool(L, 2, "prerelease", false)};
  struct items *list;
  int failed = bounds(L, 2, &filter);
  if (!failed) failed = parse_items(L, 1, KIND_PEP440, &filter, &list);
  if (failed) return failed;
  sort_items(list, true);
  return push_items(L, 1, list);
}

int bk_lua_version_resolve(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  bk_opts(L, 1, CONSTRAINT);
  lua_Integer count = bk_opt_int(L, 1, "count", 0);
  bool latest = bk_opt_bool(L, 1, "latest", false);
  if (bk_opt_get(L, 1, "count"))
    luaL_argcheck(L, count > 0, 1, "option 'count': a number above 0 is expected");
  struct filter filter = {.prereleases = true};
  struct items *list;
  int failed = bounds(L, 1, &filter);
  if (!failed) failed = parse_items(L, 2, KIND_PEP440, NULL, &list);
  if (failed) return failed;
  if (latest && !count && !filter.min) count = 1;
  sort_items(list, true);
  lua_newtable(L);
  lua_Integer kept = 0;
  const struct bk_pep440 *last = NULL;
  for (size_t i = 0; i < list->n && (!count || kept < count); i++) {
    const struct item *it = list->order[i].item;
    const struct bk_pep440 *v = &it->v.pep;
    if (!passes(&filter, v, it->rank)) continue;
    if (last && bk_pep440_common(v, last, 2) == 2) continue;
    last = v;
    lua_pushstring(L, v->text);
    lua_rawseti(L, -2, ++kept);
  }
  if (kept) return 1;
  struct bk_err err;
  bk_fail(&err, BK_USAGE, "version.none", "versions list cannot be empty");
  return bk_lua_fail(L, &err);
}

void bk_lua_version_lists(lua_State *L) {
  static const luaL_Reg none[] = {{NULL, NULL}};
  bk_class(L, T_ITEMS, none, items_close);
}
