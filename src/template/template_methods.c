/* Methods of lists, tuples, dicts, numbers and cyclers. */
#include <math.h>

#include "template/template_run.h"

/* --- lists and tuples ------------------------------------------------------------------------ */

static bk_tv none(void) { return bk_tv_none(); }

static bk_tv l_append(rt *r, bk_tv *a) {
  bk_tpl_push(r, bk_tpl_l(r, a[0]), a[1]);
  return none();
}

static bk_tv l_extend(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_l(r, a[0]), *more = bk_tpl_listed(r, a[1]);
  for (uint32_t i = 0; i < more->n; i++) bk_tpl_push(r, l, more->v[i]);
  return none();
}

static uint32_t place(int64_t i, uint32_t n) {
  if (i < 0) i = i + n < 0 ? 0 : i + n;
  return i > n ? n : (uint32_t)i;
}

static bk_tv l_insert(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_l(r, a[0]);
  uint32_t at = place(bk_tpl_as_int(r, a[1], "insert(): index"), l->n);
  bk_tpl_push(r, l, a[2]);
  memmove(l->v + at + 1, l->v + at, sizeof *l->v * (l->n - 1 - at));
  l->v[at] = a[2];
  return none();
}

static bk_tv take(struct tv_list *l, uint32_t at) {
  bk_tv v = l->v[at];
  memmove(l->v + at, l->v + at + 1, sizeof *l->v * (l->n - at - 1));
  l->n--;
  return v;
}

static bk_tv l_pop(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_l(r, a[0]);
  int64_t i = tv_given(a[1]) ? bk_tpl_as_int(r, a[1], "pop(): index") : -1;
  if (!l->n) bk_tpl_bad(r, "pop from empty list");
  if (i < 0) i += l->n;
  if (i < 0 || i >= l->n) bk_tpl_bad(r, "pop index out of range");
  return take(l, (uint32_t)i);
}

static int64_t position(rt *r, const struct tv_list *l, bk_tv v, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to && i < l->n; i++) {
    bk_tpl_step(r, 1);
    if (bk_tpl_eq(r, l->v[i], v)) return i;
  }
  return -1;
}

static bk_tv l_remove(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_l(r, a[0]);
  int64_t i = position(r, l, a[1], 0, l->n);
  if (i < 0) bk_tpl_bad(r, "remove(): the value is not in the list");
  take(l, (uint32_t)i);
  return none();
}

static bk_tv l_index(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_l(r, a[0]);
  uint32_t from = tv_given(a[2]) ? place(bk_tpl_as_int(r, a[2], "start"), l->n) : 0;
  uint32_t to = tv_given(a[3]) ? place(bk_tpl_as_int(r, a[3], "stop"), l->n) : l->n;
  int64_t i = position(r, l, a[1], from, to);
  if (i < 0) bk_tpl_bad(r, "index(): the value is not in the %s", bk_tpl_type(a[0]));
  return bk_tv_int(i);
}

static bk_tv l_count(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_l(r, a[0]);
  int64_t n = 0;
  for (uint32_t i = 0; i < l->n; i++) n += bk_tpl_eq(r, l->v[i], a[1]);
  return bk_tv_int(n);
}

static bk_tv l_reverse(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_l(r, a[0]);
  for (uint32_t i = 0, k = l->n; i + 1 < k; i++) {
    bk_tv t = l->v[i];
    l->v[i] = l->v[--k];
    l->v[k] = t;
  }
  return none();
}

static bk_tv l_sort(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_l(r, a[0]);
  struct tv_list *keys = bk_tpl_listed(r, a[0]);
  if (tv_given(a[1]) && a[1].kind != TV_NONE) {
    for (uint32_t i = 0; i < keys->n; i++) {
      struct bk_tpl_args one = {.v = &keys->v[i], .n = 1};
      keys->v[i] = bk_tpl_call(r, a[1], &one);
    }
  }
  bool reverse = tv_given(a[2]) && bk_tpl_truth(r, a[2]);
  bk_tpl_sort(r, l->v, keys->v, l->n < keys->n ? l->n : keys->n, reverse);
  return none();
}

static bk_tv l_copy(rt *r, bk_tv *a) { return tv_ptr(TV_LIST, bk_tpl_listed(r, a[0])); }

static bk_tv l_clear(rt *r, bk_tv *a) {
  bk_tpl_l(r, a[0])->n = 0;
  return none();
}

/* --- dicts ----------------------------------------------------------------------------------- */

static bk_tv view(rt *r, bk_tv d, char kind) {
  struct tv_view *w = bk_tpl_alloc(r, sizeof *w);
  *w = (struct tv_view){.d = bk_tpl_d(r, d), .kind = kind};
  return tv_ptr(TV_VIEW, w);
}

static bk_tv d_keys(rt *r, bk_tv *a) { return view(r, a[0], 'k'); }
static bk_tv d_values(rt *r, bk_tv *a) { return view(r, a[0], 'v'); }
static bk_tv d_items(rt *r, bk_tv *a) { return view(r, a[0], 'i'); }

static bk_tv d_get(rt *r, bk_tv *a) {
  bk_tv *v = bk_tpl_get(r, bk_tpl_d(r, a[0]), a[1]);
  return v ? *v : tv_given(a[2]) ? a[2] : none();
}

static bk_tv d_pop(rt *r, bk_tv *a) {
  bk_tv old;
  if (bk_tpl_del(r, bk_tpl_d(r, a[0]), a[1], &old)) return old;
  if (tv_given(a[2])) return a[2];
  bk_tv k = bk_tpl_repr(r, a[1]);
  bk_tpl_bad(r, "pop(): there is no key %.*s", (int)(k.len > 200 ? 200 : k.len), k.u.s);
}

static bk_tv d_popitem(rt *r, bk_tv *a) {
  struct tv_dict *d = bk_tpl_d(r, a[0]);
  for (uint32_t i = d->n; i-- > 0;) {
    if (!d->e[i].key.kind) continue;
    bk_tv kv[2] = {d->e[i].key, d->e[i].val}, old;
    bk_tpl_del(r, d, kv[0], &old);
    return bk_tpl_tuple_of(r, kv, 2);
  }
  bk_tpl_bad(r, "popitem(): dictionary is empty");
}

static bk_tv d_setdefault(rt *r, bk_tv *a) {
  struct tv_dict *d = bk_tpl_d(r, a[0]);
  bk_tv *v = bk_tpl_get(r, d, a[1]), def = tv_given(a[2]) ? a[2] : none();
  if (v) return *v;
  bk_tpl_set(r, d, a[1], def);
  return def;
}

static bk_tv d_update(rt *r, struct bk_tpl_args *a) {
  if (a->n > 2) bk_tpl_bad(r, "update() takes at most 1 argument");
  bk_tpl_merge(r, bk_tpl_d(r, a->v[0]), a->n > 1 ? a->v[1] : tv_kind(TV_MISSING), a);
  return none();
}

static bk_tv d_copy(rt *r, bk_tv *a) {
  bk_tv d = bk_tv_dict(r, 0);
  bk_tpl_merge(r, d.u.d, a[0], NULL);
  return d;
}

static bk_tv d_clear(rt *r, bk_tv *a) {
  bk_tpl_clear(bk_tpl_d(r, a[0]));
  return none();
}

/* --- others ---------------------------------------------------------------------------------- */

static bk_tv n_is_integer(rt *r, bk_tv *a) {
  (void)r;
  return bk_tv_bool(isfinite(a[0].u.f) && a[0].u.f == floor(a[0].u.f));
}

static bk_tv n_bit_length(rt *r, bk_tv *a) {
  (void)r;
  int64_t i = tv_i64(a[0]);
  uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
  return bk_tv_int(u ? 64 - __builtin_clzll(u) : 0);
}

static bk_tv c_next(rt *r, bk_tv *a) {
  (void)r;
  struct tv_cycler *c = a[0].u.p;
  bk_tv v = c->v[c->at];
  c->at = (c->at + 1) % c->n;
  return v;
}

static bk_tv c_reset(rt *r, bk_tv *a) {
  (void)r;
  ((struct tv_cycler *)a[0].u.p)->at = 0;
  return none();
}

#define M(n, f, k, ...) {.name = n, .fn = f, .need = k, .params = {"self", ##__VA_ARGS__}}
const struct tpl_fn bk_tpl_list_methods[] = {
    M("append", l_append, 2, "object"), M("extend", l_extend, 2, "iterable"),
    M("insert", l_insert, 3, "index", "object"), M("pop", l_pop, 1, "index"),
    M("remove", l_remove, 2, "value"), M("index", l_index, 2, "value", "start", "stop"),
    M("count", l_count, 2, "value"), M("reverse", l_reverse, 1),
    M("sort", l_sort, 1, "key", "reverse"), M("copy", l_copy, 1), M("clear", l_clear, 1),
    {.name = NULL}};
const struct tpl_fn bk_tpl_tuple_methods[] = {
    M("index", l_index, 2, "value", "start", "stop"), M("count", l_count, 2, "value"),
    {.name = NULL}};
const struct tpl_fn bk_tpl_dict_methods[] = {
    M("keys", d_keys, 1), M("values", d_values, 1), M("items", d_items, 1),
    M("get", d_get, 2, "key", "default"), M("pop", d_pop, 2, "key", "default"),
    M("popitem", d_popitem, 1), M("setdefault", d_setdefault, 2, "key", "default"),
    {.name = "update", .raw = d_update}, M("copy", d_copy, 1), M("clear", d_clear, 1),
    {.name = NULL}};
const struct tpl_fn bk_tpl_float_methods[] = {M("is_integer", n_is_integer, 1), {.name = NULL}};
const struct tpl_fn bk_tpl_int_methods[] = {M("bit_length", n_bit_length, 1), {.name = NULL}};
const struct tpl_fn bk_tpl_cycler_methods[] = {
    M("next", c_next, 1), M("reset", c_reset, 1), {.name = NULL}};

const struct tpl_fn *bk_tpl_find_method(bk_tv obj, const char *s, size_t n) {
  switch (obj.kind) {
    case TV_STR: return bk_tpl_find_fn(bk_tpl_str_methods, s, n);
    case TV_LIST: return bk_tpl_find_fn(bk_tpl_list_methods, s, n);
    case TV_TUPLE: return bk_tpl_find_fn(bk_tpl_tuple_methods, s, n);
    case TV_DICT: return bk_tpl_find_fn(bk_tpl_dict_methods, s, n);
    case TV_FLOAT: return bk_tpl_find_fn(bk_tpl_float_methods, s, n);
    case TV_BOOL:
    case TV_INT: return bk_tpl_find_fn(bk_tpl_int_methods, s, n);
    case TV_CYCLER: return bk_tpl_find_fn(bk_tpl_cycler_methods, s, n);
    case TV_LOOP: return bk_tpl_find_fn(bk_tpl_loop_methods, s, n);
    default: return NULL;
  }
}

bool bk_tpl_any_method(const char *s, size_t n) {
  static const struct tpl_fn *const tables[] = {
      bk_tpl_str_methods, bk_tpl_list_methods, bk_tpl_dict_methods, bk_tpl_float_methods,
      bk_tpl_int_methods, bk_tpl_cycler_methods, bk_tpl_loop_methods};
  for (size_t i = 0; i < BK_ARRAY_LEN(tables); i++)
    if (bk_tpl_find_fn(tables[i], s, n)) return true;
  return false;
}
