/* Functions that every template can call. */
#include "template/template_run.h"

static bk_tv g_range(rt *r, bk_tv *a) {
  int64_t start = 0, stop = bk_tpl_as_int(r, a[0], "range(): argument"), step = 1, n = 0;
  const int64_t most = (int64_t)1 << 60;
  if (tv_given(a[1])) {
    start = stop;
    stop = bk_tpl_as_int(r, a[1], "range(): stop");
  }
  if (tv_given(a[2])) step = bk_tpl_as_int(r, a[2], "range(): step");
  if (step == 0) bk_tpl_bad(r, "range(): step must not be zero");
  bool wide = start > most || start < -most || stop > most || stop < -most;
  wide = wide || step > most || step < -most;
  if (!wide && step > 0 && stop > start) n = (stop - start - 1) / step + 1;
  if (!wide && step < 0 && stop < start) n = (start - stop - 1) / -step + 1;
  if (wide || n > r->env->opt.limits.range)
    bk_tpl_raise(r, "template.limit", "range() of more than %lld elements is refused",
                 (long long)r->env->opt.limits.range);
  struct tv_range *g = bk_tpl_alloc(r, sizeof *g);
  *g = (struct tv_range){.start = start, .stop = stop, .step = step, .n = n};
  return tv_ptr(TV_RANGE, g);
}

/* Puts the entries of `from` (a mapping or an iterable of pairs) and the keyword arguments into
 * d. */
void bk_tpl_merge(rt *r, struct tv_dict *d, bk_tv from, const struct bk_tpl_args *kw) {
  bk_tv k, v;
  if (from.kind == TV_DICT) {
    struct tv_dict *s = bk_tpl_d(r, from);
    for (size_t at = 0; s != d && bk_tv_pair(r, from, &at, &k, &v);) bk_tpl_set(r, d, k, v);
  } else if (tv_given(from)) {
    struct tv_iter it;
    bk_tpl_iter(r, &it, from);
    while (bk_tpl_next(r, &it, &v)) {
      if (!bk_tpl_iterable(v)) bk_tpl_bad(r, "dict(): expected pairs, got '%s'", bk_tpl_type(v));
      struct tv_list *pair = bk_tpl_listed(r, v);
      if (pair->n != 2) bk_tpl_bad(r, "dict(): expected pairs, got %u values", pair->n);
      bk_tpl_set(r, d, pair->v[0], pair->v[1]);
    }
  }
  for (uint32_t i = 0; kw && i < kw->nkw; i++)
    bk_tpl_set(r, d, bk_tv_text(kw->kw[i].name, kw->kw[i].len), kw->kw[i].v);
}

static bk_tv make(rt *r, struct bk_tpl_args *a, const char *who) {
  bk_tv d = bk_tv_dict(r, 0);
  if (a->n > 1) bk_tpl_bad(r, "%s() takes at most 1 positional argument, got %u", who, a->n);
  bk_tpl_merge(r, d.u.d, a->n ? a->v[0] : tv_kind(TV_MISSING), a);
  return d;
}

static bk_tv g_dict(rt *r, struct bk_tpl_args *a) { return make(r, a, "dict"); }

static bk_tv g_namespace(rt *r, struct bk_tpl_args *a) {
  bk_tv v = make(r, a, "namespace");
  v.kind = TV_NS;
  return v;
}

static bk_tv g_cycler(rt *r, struct bk_tpl_args *a) {
  if (!a->n) bk_tpl_bad(r, "cycler(): at least one item has to be provided");
  if (a->nkw) bk_tpl_bad(r, "cycler() takes no keyword arguments");
  struct tv_cycler *c = bk_tpl_alloc(r, sizeof *c);
  c->v = bk_tpl_tuple_of(r, a->v, a->n).u.l->v;
  c->n = a->n;
  return tv_ptr(TV_CYCLER, c);
}

static bk_tv g_joiner(rt *r, bk_tv *a) {
  struct tv_joiner *j = bk_tpl_alloc(r, sizeof *j);
  j->sep = tv_given(a[0]) ? a[0] : tv_strz(", ");
  return tv_ptr(TV_JOINER, j);
}

static bk_tv g_raise(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_str(r, a[0]);
  bk_tpl_raise(r, "template.raise", "%.*s", (int)(s.len > 600 ? 600 : s.len), s.u.s);
}

const struct tpl_fn bk_tpl_globals[] = {
    {.name = "range", .fn = g_range, .need = 1, .params = {"start", "stop", "step"}},
    {.name = "dict", .raw = g_dict},
    {.name = "namespace", .raw = g_namespace},
    {.name = "cycler", .raw = g_cycler},
    {.name = "joiner", .fn = g_joiner, .params = {"sep"}},
    {.name = "raise", .fn = g_raise, .need = 1, .params = {"msg"}},
    {.name = NULL},
};

bk_tv bk_tpl_global(rt *r, const struct tpl_sym *name) {
  if (r->globals) {
    bk_tv *p = bk_tpl_entry(r, r->globals, name->s, name->len, name->hash);
    if (p) return *p;
  }
  const struct tpl_fn *f = bk_tpl_find_fn(bk_tpl_globals, name->s, name->len);
  if (!f || (f->fn == g_raise && !r->env->opt.bakery)) return tv_kind(TV_MISSING);
  return (bk_tv){.kind = TV_FUNC, .u.p = (void *)(uintptr_t)f};
}
