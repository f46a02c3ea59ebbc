/* Length, membership and iteration over every kind of value, and stable sorting. */
#include "template/template_run.h"

int64_t bk_tpl_len(rt *r, bk_tv v) {
  switch (v.kind) {
    case TV_UNDEF: bk_tpl_lenient(r, v); return 0;
    case TV_STR: bk_tpl_step(r, v.len / 4096); return (int64_t)bk_tpl_chars(v);
    case TV_LIST:
    case TV_TUPLE: return bk_tpl_l(r, v)->n;
    case TV_DICT: return bk_tpl_d(r, v)->live;
    case TV_VIEW: return ((struct tv_view *)v.u.p)->d->live;
    case TV_RANGE: return ((struct tv_range *)v.u.p)->n;
    default: return -1;
  }
}

bool bk_tpl_iterable(bk_tv v) {
  switch (v.kind) {
    case TV_STR:
    case TV_LIST:
    case TV_TUPLE:
    case TV_DICT:
    case TV_VIEW:
    case TV_RANGE:
    case TV_GEN:
    case TV_UNDEF:
    case TV_LOOP: return true;
    default: return false;
  }
}

void bk_tpl_iter(rt *r, struct tv_iter *it, bk_tv v) {
  if (v.kind == TV_UNDEF) bk_tpl_lenient(r, v);
  if (!bk_tpl_iterable(v) || v.kind == TV_LOOP)
    bk_tpl_bad(r, "'%s' object is not iterable", bk_tpl_type(v));
  *it = (struct tv_iter){.seq = v};
  if (v.kind == TV_DICT) it->live = bk_tpl_d(r, v)->live;
  if (v.kind == TV_VIEW) it->live = ((struct tv_view *)v.u.p)->d->live;
  if (tv_seq(v)) bk_tpl_l(r, v);
}

static bool next_entry(rt *r, struct tv_iter *it, struct tv_dict *d, char kind, bk_tv *v) {
  if (d->live != it->live) bk_tpl_bad(r, "dictionary changed size during iteration");
  while (it->i < d->n && !d->e[it->i].key.kind) it->i++;
  if (it->i >= d->n) return false;
  struct tv_entry *e = &d->e[it->i++];
  if (kind == 'i') *v = bk_tpl_tuple_of(r, (bk_tv[]){e->key, e->val}, 2);
  else *v = kind == 'k' ? e->key : e->val;
  return true;
}

bool bk_tpl_next(rt *r, struct tv_iter *it, bk_tv *v) {
  bk_tv s = it->seq;
  switch (s.kind) {
    case TV_STR:
      if (it->i >= s.len) return false;
      *v = bk_tv_text(s.u.s + it->i, bk_tpl_u8len(s.u.s + it->i, s.u.s + s.len));
      it->i += v->len;
      return true;
    case TV_LIST:
    case TV_TUPLE:
      if (it->i >= s.u.l->n) return false;
      *v = s.u.l->v[it->i++];
      return true;
    case TV_DICT: return next_entry(r, it, s.u.d, 'k', v);
    case TV_VIEW: {
      struct tv_view *w = s.u.p;
      return next_entry(r, it, w->d, w->kind, v);
    }
    case TV_RANGE: {
      struct tv_range *g = s.u.p;
      if (it->at >= g->n) return false;
      *v = bk_tv_int(g->start + it->at++ * g->step);
      return true;
    }
    case TV_GEN: {
      struct tv_gen *g = s.u.p;
      if (g->at >= g->l->n) return false;
      *v = g->l->v[g->at++];
      return true;
    }
    default: return false;
  }
}

struct tv_list *bk_tpl_listed(rt *r, bk_tv v) {
  struct tv_iter it;
  bk_tv e, out;
  bk_tpl_iter(r, &it, v);
  int64_t n = bk_tpl_len(r, v);
  if (n > r->env->opt.limits.range)
    bk_tpl_raise(r, "template.limit", "a list of %lld elements is refused", (long long)n);
  out = bk_tpl_list(r, n > 0 ? (uint32_t)n : 0);
  while (bk_tpl_next(r, &it, &e)) bk_tpl_push(r, out.u.l, e);
  bk_tpl_step(r, out.u.l->n / 16);
  return out.u.l;
}

const bk_tv *bk_tv_items(rt *r, bk_tv v, size_t *n) {
  struct tv_list *l = tv_seq(v) ? bk_tpl_l(r, v) : bk_tpl_listed(r, v);
  *n = l->n;
  return l->v;
}

bool bk_tv_pair(rt *r, bk_tv dict, size_t *at, bk_tv *key, bk_tv *v) {
  struct tv_dict *d = dict.kind == TV_DICT ? bk_tpl_d(r, dict) : dict.u.d;
  while (*at < d->n && !d->e[*at].key.kind) ++*at;
  if (*at >= d->n) return false;
  *key = d->e[*at].key;
  *v = d->e[(*at)++].val;
  return true;
}

static bool range_has(rt *r, const struct tv_range *g, bk_tv v) {
  if (v.kind == TV_FLOAT) {
    for (int64_t i = 0; i < g->n; i++)
      if (bk_tpl_eq(r, bk_tv_int(g->start + i * g->step), v)) return true;
    return false;
  }
  if (!tv_integral(v) || !g->n) return false;
  int64_t x = tv_i64(v), last = g->start + (g->n - 1) * g->step;
  if (g->step > 0 ? x < g->start || x > last : x > g->start || x < last) return false;
  return (__int128)((__int128)x - g->start) % g->step == 0;
}

bool bk_tpl_contains(rt *r, bk_tv in, bk_tv v) {
  if (in.kind == TV_UNDEF) bk_tpl_lenient(r, in);
  if (in.kind == TV_STR) {
    if (v.kind == TV_UNDEF) bk_tpl_undefined(r, v);
    if (v.kind != TV_STR)
      bk_tpl_bad(r, "'in <string>' requires string as left operand, not %s", bk_tpl_type(v));
    return bk_tpl_find(in, 0, v) != NULL;
  }
  if (in.kind == TV_DICT) return bk_tpl_get(r, bk_tpl_d(r, in), v) != NULL;
  if (in.kind == TV_VIEW && ((struct tv_view *)in.u.p)->kind == 'k')
    return bk_tpl_get(r, ((struct tv_view *)in.u.p)->d, v) != NULL;
  if (in.kind == TV_RANGE) return range_has(r, in.u.p, v);
  if (!bk_tpl_iterable(in) || in.kind == TV_LOOP)
    bk_tpl_bad(r, "argument of type '%s' is not iterable", bk_tpl_type(in));
  struct tv_iter it;
  bk_tv e;
  bk_tpl_iter(r, &it, in);
  while (bk_tpl_next(r, &it, &e)) {
    bk_tpl_step(r, 1);
    if (bk_tpl_eq(r, e, v)) return true;
  }
  return false;
}

/* Merge sort of v[0..n) by keys, both permuted. */
static void merge_sort(rt *r, bk_tv *v, bk_tv *k, bk_tv *tv, bk_tv *tk, uint32_t n, bool reverse) {
  if (n < 2) return;
  uint32_t half = n / 2, i = 0, j = half, o = 0;
  merge_sort(r, v, k, tv, tk, half, reverse);
  merge_sort(r, v + half, k + half, tv, tk, n - half, reverse);
  bk_tpl_step(r, 1 + n / 16);
  while (i < half && j < n) { /* only "less than" is asked, as Python does */
    int c = reverse ? bk_tpl_cmp(r, k[i], k[j], "<") : bk_tpl_cmp(r, k[j], k[i], "<");
    bool second = c == -1;
    uint32_t *from = second ? &j : &i;
    tv[o] = v[*from];
    tk[o++] = k[(*from)++];
  }
  for (; i < half; i++, o++) tv[o] = v[i], tk[o] = k[i];
  for (; j < n; j++, o++) tv[o] = v[j], tk[o] = k[j];
  memcpy(v, tv, sizeof *v * n);
  memcpy(k, tk, sizeof *k * n);
}

void bk_tpl_sort(rt *r, bk_tv *v, bk_tv *keys, uint32_t n, bool reverse) {
  if (n < 2) return;
  bk_tv *spare = bk_tpl_alloc(r, sizeof *spare * n * 2);
  merge_sort(r, v, keys, spare, spare + n, n, reverse);
}
