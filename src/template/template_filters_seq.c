/* Filters on sequences and mappings. */
#include <stdlib.h>

#include "template/template_run.h"

static bool flag(rt *r, bk_tv v) { return tv_given(v) && bk_tpl_truth(r, v); }

static bk_tv fold(rt *r, bk_tv v, bool case_sensitive) {
  return v.kind == TV_STR && !case_sensitive ? bk_tpl_case(r, v, CASE_LOWER) : v;
}

static bk_tv f_default(rt *r, bk_tv *a) {
  bool none = a[0].kind == TV_UNDEF || (flag(r, a[2]) && !bk_tpl_truth(r, a[0]));
  if (!none) return a[0];
  return tv_given(a[1]) ? a[1] : bk_tv_text("", 0);
}

static bk_tv f_length(rt *r, bk_tv *a) {
  int64_t n = bk_tpl_len(r, a[0]);
  if (n < 0) bk_tpl_bad(r, "object of type '%s' has no len()", bk_tpl_type(a[0]));
  return bk_tv_int(n);
}

static bk_tv f_first(rt *r, bk_tv *a) {
  struct tv_iter it;
  bk_tv v;
  bk_tpl_iter(r, &it, a[0]);
  if (bk_tpl_next(r, &it, &v)) return v;
  return bk_tpl_undef_hint(r, "no first item, the sequence was empty");
}

static bk_tv f_last(rt *r, bk_tv *a) {
  if (a[0].kind == TV_GEN) bk_tpl_bad(r, "last(): 'generator' object is not reversible");
  struct tv_list *l = bk_tpl_listed(r, a[0]);
  return l->n ? l->v[l->n - 1] : bk_tpl_undef_hint(r, "no last item, the sequence was empty");
}

static bk_tv f_random(rt *r, bk_tv *a) {
  int64_t n = bk_tpl_len(r, a[0]);
  if (n < 0) bk_tpl_bad(r, "random(): '%s' has no length", bk_tpl_type(a[0]));
  if (!n) return bk_tpl_undef_hint(r, "no random item, the sequence was empty");
  return bk_tpl_item(r, a[0], bk_tv_int(arc4random_uniform((uint32_t)n)));
}

static bk_tv f_list(rt *r, bk_tv *a) { return tv_ptr(TV_LIST, bk_tpl_listed(r, a[0])); }

static bk_tv f_reverse(rt *r, bk_tv *a) {
  if (a[0].kind == TV_STR)
    return bk_tpl_slice(r, a[0], tv_kind(TV_MISSING), tv_kind(TV_MISSING), bk_tv_int(-1));
  struct tv_list *l = bk_tpl_listed(r, a[0]);
  for (uint32_t i = 0; i < l->n / 2; i++) {
    bk_tv t = l->v[i];
    l->v[i] = l->v[l->n - 1 - i];
    l->v[l->n - 1 - i] = t;
  }
  bk_tv v = tv_ptr(TV_LIST, l);
  return a[0].kind == TV_GEN ? v : bk_tpl_gen(r, v, "reverse");
}

static bk_tv f_join(rt *r, bk_tv *a) {
  struct tv_iter it;
  bk_tv v, sep = tv_given(a[1]) ? a[1] : bk_tv_text("", 0);
  bool safe = false;
  struct tv_list *l = NULL;
  if (r->autoescape) { /* one safe part makes the others be escaped */
    l = bk_tpl_listed(r, a[0]);
    safe = sep.kind == TV_STR && sep.flags & TVF_SAFE;
    for (uint32_t i = 0; i < l->n; i++) safe |= l->v[i].kind == TV_STR && l->v[i].flags & TVF_SAFE;
  }
  sep = safe ? bk_tpl_escape(r, sep) : bk_tpl_str(r, sep);
  size_t mark = bk_tpl_begin(r);
  bool first = true;
  bk_tpl_iter(r, &it, l ? tv_ptr(TV_LIST, l) : a[0]);
  for (; bk_tpl_next(r, &it, &v); first = false) {
    if (!first) bk_tpl_put(r, sep.u.s, sep.len);
    v = bk_tpl_path(r, v, a[2], tv_kind(TV_MISSING));
    if (safe) bk_tpl_put_escaped(r, v);
    else bk_tpl_put_text(r, v);
  }
  v = bk_tpl_end(r, mark);
  if (safe) v.flags |= TVF_SAFE;
  return v;
}

static bk_tv f_batch(rt *r, bk_tv *a) {
  int64_t n = bk_tpl_as_int(r, a[1], "batch(): linecount");
  bk_tv out = bk_tpl_list(r, 0), row = tv_kind(TV_MISSING), v;
  struct tv_iter it;
  bk_tpl_iter(r, &it, a[0]);
  while (bk_tpl_next(r, &it, &v)) {
    if (tv_given(row) && row.u.l->n == n) {
      bk_tpl_push(r, out.u.l, row);
      row = tv_kind(TV_MISSING);
    }
    if (!tv_given(row)) row = bk_tpl_list(r, 0);
    bk_tpl_push(r, row.u.l, v);
  }
  if (tv_given(row)) {
    if (tv_given(a[2]) && a[2].kind != TV_NONE) {
      if (n > r->env->opt.limits.range)
        bk_tpl_raise(r, "template.limit", "batch(): row is too long");
      while (row.u.l->n < n) bk_tpl_push(r, row.u.l, a[2]);
    }
    bk_tpl_push(r, out.u.l, row);
  }
  return bk_tpl_gen(r, out, "batch");
}

static bk_tv f_slice(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_listed(r, a[0]);
  int64_t n = bk_tpl_as_int(r, a[1], "slice(): slices"), at = 0;
  if (n == 0) bk_tpl_bad(r, "division by zero");
  if (n > r->env->opt.limits.range) bk_tpl_raise(r, "template.limit", "slice(): too many slices");
  bk_tv out = bk_tpl_list(r, 0);
  for (int64_t i = 0; i < n; i++) {
    bk_tv row = bk_tpl_list(r, 0);
    int64_t size = l->n / n + (i < l->n % n);
    for (int64_t k = 0; k < size; k++) bk_tpl_push(r, row.u.l, l->v[at++]);
    if (tv_given(a[2]) && a[2].kind != TV_NONE && i >= l->n % n) bk_tpl_push(r, row.u.l, a[2]);
    bk_tpl_push(r, out.u.l, row);
  }
  return bk_tpl_gen(r, out, "slice");
}

static bk_tv f_items(rt *r, bk_tv *a) {
  bk_tv out = bk_tpl_list(r, 0), k, v;
  if (a[0].kind == TV_UNDEF) return bk_tpl_gen(r, out, "items");
  if (a[0].kind != TV_DICT)
    bk_tpl_bad(r, "items(): expected a mapping, got '%s'", bk_tpl_type(a[0]));
  for (size_t at = 0; bk_tv_pair(r, a[0], &at, &k, &v);)
    bk_tpl_push(r, out.u.l, bk_tpl_tuple_of(r, (bk_tv[]){k, v}, 2));
  return bk_tpl_gen(r, out, "items");
}

static bk_tv f_dictsort(rt *r, bk_tv *a) {
  bk_tv by = tv_given(a[2]) ? a[2] : tv_strz("key"), out = bk_tpl_list(r, 0), k, v;
  bool key = tv_is(by, "key");
  if (!key && !tv_is(by, "value")) bk_tpl_bad(r, "dictsort(): by must be 'key' or 'value'");
  if (a[0].kind == TV_UNDEF) bk_tpl_undefined(r, a[0]);
  if (a[0].kind != TV_DICT)
    bk_tpl_bad(r, "dictsort(): expected a mapping, got '%s'", bk_tpl_type(a[0]));
  bk_tv keys = bk_tpl_list(r, 0);
  for (size_t at = 0; bk_tv_pair(r, a[0], &at, &k, &v);) {
    bk_tpl_push(r, out.u.l, bk_tpl_tuple_of(r, (bk_tv[]){k, v}, 2));
    bk_tpl_push(r, keys.u.l, fold(r, key ? k : v, flag(r, a[1])));
  }
  bk_tpl_sort(r, out.u.l->v, keys.u.l->v, out.u.l->n, flag(r, a[3]));
  return out;
}

/* Sort key of v: a list of the attributes of "a,b". One alone is put into a list, too: lists look
 * for equality first, so that values without an order may be equal. */
static bk_tv sort_key(rt *r, bk_tv v, bk_tv attr, bool case_sensitive) {
  bk_tv keys = bk_tpl_list(r, 1);
  if (attr.kind != TV_STR || !memchr(attr.u.s, ',', attr.len)) {
    bk_tpl_push(r, keys.u.l, fold(r, bk_tpl_path(r, v, attr, tv_kind(TV_MISSING)), case_sensitive));
    return keys;
  }
  const char *s = attr.u.s, *end = s + attr.len;
  for (const char *comma; s; s = comma ? comma + 1 : NULL) {
    comma = memchr(s, ',', (size_t)(end - s));
    bk_tv part = bk_tv_text(s, (size_t)((comma ? comma : end) - s));
    bk_tpl_push(r, keys.u.l, fold(r, bk_tpl_path(r, v, part, tv_kind(TV_MISSING)), case_sensitive));
  }
  return keys;
}

static bk_tv f_sort(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_listed(r, a[0]);
  bk_tv keys = bk_tpl_list(r, l->n);
  for (uint32_t i = 0; i < l->n; i++)
    bk_tpl_push(r, keys.u.l, sort_key(r, l->v[i], a[3], flag(r, a[2])));
  bk_tpl_sort(r, l->v, keys.u.l->v, l->n, flag(r, a[1]));
  return tv_ptr(TV_LIST, l);
}

static bk_tv f_unique(rt *r, bk_tv *a) {
  struct tv_iter it;
  bk_tv out = bk_tpl_list(r, 0), seen = bk_tv_dict(r, 0), v;
  bk_tpl_iter(r, &it, a[0]);
  while (bk_tpl_next(r, &it, &v)) {
    bk_tv key = fold(r, bk_tpl_path(r, v, a[2], tv_kind(TV_MISSING)), flag(r, a[1]));
    if (bk_tpl_get(r, seen.u.d, key)) continue;
    bk_tpl_set(r, seen.u.d, key, bk_tv_none());
    bk_tpl_push(r, out.u.l, v);
  }
  return bk_tpl_gen(r, out, "unique");
}

static bk_tv extreme(rt *r, bk_tv *a, bool max) {
  struct tv_iter it;
  bk_tv v, best = tv_kind(TV_MISSING), best_key = best;
  bk_tpl_iter(r, &it, a[0]);
  while (bk_tpl_next(r, &it, &v)) {
    bk_tv key = fold(r, bk_tpl_path(r, v, a[2], tv_kind(TV_MISSING)), flag(r, a[1]));
    if (tv_given(best) && bk_tpl_cmp(r, key, best_key, max ? ">" : "<") != (max ? 1 : -1)) continue;
    best = v;
    best_key = key;
  }
  return tv_given(best) ? best : bk_tpl_undef_hint(r, "no aggregated item, the sequence was empty");
}

static bk_tv f_min(rt *r, bk_tv *a) { return extreme(r, a, false); }
static bk_tv f_max(rt *r, bk_tv *a) { return extreme(r, a, true); }

static bk_tv f_sum(rt *r, bk_tv *a) {
  struct tv_iter it;
  bk_tv v, total = tv_given(a[2]) ? a[2] : bk_tv_int(0);
  if (total.kind == TV_STR) bk_tpl_bad(r, "sum() cannot add strings; use join");
  bk_tpl_iter(r, &it, a[0]);
  while (bk_tpl_next(r, &it, &v))
    total = bk_tpl_binary(r, T_ADD, total, bk_tpl_path(r, v, a[1], tv_kind(TV_MISSING)));
  return total;
}

static bk_tv f_groupby(rt *r, bk_tv *a) {
  struct tv_list *l = bk_tpl_listed(r, a[0]);
  bool exact = flag(r, a[3]);
  bk_tv keys = bk_tpl_list(r, l->n), out = bk_tpl_list(r, 0);
  bk_tv group = tv_kind(TV_MISSING), last = group;
  for (uint32_t i = 0; i < l->n; i++)
    bk_tpl_push(r, keys.u.l, fold(r, bk_tpl_path(r, l->v[i], a[1], a[2]), exact));
  bk_tpl_sort(r, l->v, keys.u.l->v, l->n, false);
  for (uint32_t i = 0; i < l->n; i++) {
    if (!tv_given(group) || !bk_tpl_eq(r, keys.u.l->v[i], last)) {
      last = keys.u.l->v[i];
      group = bk_tpl_list(r, 0);
      bk_tv key = exact ? last : bk_tpl_path(r, l->v[i], a[1], a[2]);
      bk_tv pair = bk_tpl_tuple_of(r, (bk_tv[]){key, group}, 2);
      pair.flags |= TVF_GROUP;
      bk_tpl_push(r, out.u.l, pair);
    }
    bk_tpl_push(r, group.u.l, l->v[i]);
  }
  return out;
}

static bk_tv f_attr(rt *r, bk_tv *a) {
  bk_tv name = bk_tpl_str(r, a[1]), v = bk_tpl_attr_only(r, a[0], name);
  return tv_given(v) ? v : bk_tpl_undef_attr(r, a[0], name);
}

const struct tpl_fn bk_tpl_filters_seq[] = {
    {.name = "default", .fn = f_default, .need = 1,
     .params = {"value", "default_value", "boolean"}},
    {.name = "d", .fn = f_default, .need = 1, .params = {"value", "default_value", "boolean"}},
    {.name = "length", .fn = f_length, .need = 1, .params = {"obj"}},
    {.name = "count", .fn = f_length, .need = 1, .params = {"obj"}},
    {.name = "first", .fn = f_first, .need = 1, .params = {"seq"}},
    {.name = "last", .fn = f_last, .need = 1, .params = {"seq"}},
    {.name = "random", .fn = f_random, .need = 1, .params = {"seq"}},
    {.name = "list", .fn = f_list, .need = 1, .params = {"value"}},
    {.name = "reverse", .fn = f_reverse, .need = 1, .params = {"value"}},
    {.name = "join", .fn = f_join, .need = 1, .params = {"value", "d", "attribute"}},
    {.name = "batch", .fn = f_batch, .need = 2, .params = {"value", "linecount", "fill_with"}},
    {.name = "slice", .fn = f_slice, .need = 2, .params = {"value", "slices", "fill_with"}},
    {.name = "items", .fn = f_items, .need = 1, .params = {"value"}},
    {.name = "dictsort", .fn = f_dictsort, .need = 1,
     .params = {"value", "case_sensitive", "by", "reverse"}},
    {.name = "sort", .fn = f_sort, .need = 1,
     .params = {"value", "reverse", "case_sensitive", "attribute"}},
    {.name = "unique", .fn = f_unique, .need = 1,
     .params = {"value", "case_sensitive", "attribute"}},
    {.name = "min", .fn = f_min, .need = 1, .params = {"value", "case_sensitive", "attribute"}},
    {.name = "max", .fn = f_max, .need = 1, .params = {"value", "case_sensitive", "attribute"}},
    {.name = "sum", .fn = f_sum, .need = 1, .params = {"iterable", "attribute", "start"}},
    {.name = "groupby", .fn = f_groupby, .need = 2,
     .params = {"value", "attribute", "default", "case_sensitive"}},
    {.name = "attr", .fn = f_attr, .need = 2, .params = {"obj", "name"}},
    {.name = NULL},
};
