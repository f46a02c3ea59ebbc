/* map, select and reject: filters that apply other filters and tests by name. */
#include "template/template_run.h"

static bool empty(rt *r, bk_tv v) {
  return v.kind == TV_UNDEF ? (bk_tpl_lenient(r, v), true) : !bk_tpl_truth(r, v);
}

static bk_tv need_value(rt *r, const struct bk_tpl_args *a, const char *who) {
  if (!a->n) bk_tpl_bad(r, "%s(): argument 'value' is missing", who);
  return a->v[0];
}

/* Arguments for the inner function: a free first place, then those of a from `skip` on. */
static struct bk_tpl_args inner(rt *r, const struct bk_tpl_args *a, uint32_t skip) {
  uint32_t n = a->n - skip;
  struct bk_tpl_args in = {.v = bk_tpl_alloc(r, sizeof *in.v * ((size_t)n + 1)), .n = n + 1};
  if (n) memcpy(in.v + 1, a->v + skip, sizeof *in.v * n);
  in.kw = bk_tpl_alloc(r, sizeof *in.kw * ((size_t)a->nkw + 1));
  if (a->nkw) memcpy(in.kw, a->kw, sizeof *in.kw * a->nkw);
  in.nkw = a->nkw;
  return in;
}

static bk_tv f_map(rt *r, struct bk_tpl_args *a) {
  bk_tv value = need_value(r, a, "map"), out = bk_tpl_list(r, 0), v, attr = tv_kind(TV_MISSING);
  bk_tv def = attr;
  struct bk_tpl_args in;
  struct tv_iter it;
  if (empty(r, value)) return bk_tpl_gen(r, out, "map");
  if (a->n == 1) {
    attr = bk_tpl_kwarg(a, "attribute");
    def = bk_tpl_kwarg(a, "default");
    if (!tv_given(attr)) bk_tpl_bad(r, "map() requires a filter argument");
    if (a->nkw) bk_tpl_bad(r, "map() has no argument '%.*s'", (int)a->kw[0].len, a->kw[0].name);
  }
  bk_tpl_iter(r, &it, value);
  while (bk_tpl_next(r, &it, &v)) {
    bk_tpl_step(r, 1);
    if (a->n > 1) {
      in = inner(r, a, 2);
      in.v[0] = v;
      v = bk_tpl_apply_filter(r, a->v[1], &in);
    } else {
      v = bk_tpl_path(r, v, attr, def);
    }
    bk_tpl_push(r, out.u.l, v);
  }
  return bk_tpl_gen(r, out, "map");
}

static bk_tv pick(rt *r, struct bk_tpl_args *a, bool keep, bool by_attr, const char *who) {
  bk_tv value = need_value(r, a, who), out = bk_tpl_list(r, 0), v;
  uint32_t skip = by_attr ? 2 : 1;
  struct tv_iter it;
  if (empty(r, value)) return bk_tpl_gen(r, out, who);
  if (a->n < skip) bk_tpl_bad(r, "%s(): the attribute argument is missing", who);
  bk_tpl_iter(r, &it, value);
  while (bk_tpl_next(r, &it, &v)) {
    bk_tpl_step(r, 1);
    bk_tv x = by_attr ? bk_tpl_path(r, v, a->v[1], tv_kind(TV_MISSING)) : v;
    bool ok;
    if (a->n > skip) {
      struct bk_tpl_args in = inner(r, a, skip + 1);
      in.v[0] = x;
      ok = bk_tpl_apply_test(r, a->v[skip], &in);
    } else {
      ok = bk_tpl_truth(r, x);
    }
    if (ok == keep) bk_tpl_push(r, out.u.l, v);
  }
  return bk_tpl_gen(r, out, who);
}

static bk_tv f_select(rt *r, struct bk_tpl_args *a) { return pick(r, a, true, false, "select"); }
static bk_tv f_reject(rt *r, struct bk_tpl_args *a) { return pick(r, a, false, false, "reject"); }
static bk_tv f_selectattr(rt *r, struct bk_tpl_args *a) {
  return pick(r, a, true, true, "selectattr");
}
static bk_tv f_rejectattr(rt *r, struct bk_tpl_args *a) {
  return pick(r, a, false, true, "rejectattr");
}

const struct tpl_fn bk_tpl_filters_pick[] = {
    {.name = "map", .raw = f_map},
    {.name = "select", .raw = f_select},
    {.name = "reject", .raw = f_reject},
    {.name = "selectattr", .raw = f_selectattr},
    {.name = "rejectattr", .raw = f_rejectattr},
    {.name = NULL},
};

/* --- finding filters and tests --------------------------------------------------------------- */

static const struct tpl_fn *const tables[] = {
    bk_tpl_filters_text, bk_tpl_filters_seq,  bk_tpl_filters_num,
    bk_tpl_filters_html, bk_tpl_filters_pick, bk_tpl_filters_bakery};

size_t bk_tpl_filter_tables(const struct bk_tpl_env *env) {
  return BK_ARRAY_LEN(tables) - !env->opt.bakery;
}

const struct tpl_fn *bk_tpl_filter_table(size_t i) { return tables[i]; }

const struct tpl_fn *bk_tpl_find_filter(const struct bk_tpl_env *env, const char *s, size_t n) {
  for (size_t i = 0; i < bk_tpl_filter_tables(env); i++) {
    const struct tpl_fn *f = bk_tpl_find_fn(tables[i], s, n);
    if (f) return f;
  }
  return NULL;
}

const struct tpl_fn *bk_tpl_find_test(const char *s, size_t n) {
  return bk_tpl_find_fn(bk_tpl_tests, s, n);
}

bk_tv bk_tpl_apply_filter(rt *r, bk_tv name, struct bk_tpl_args *a) {
  name = bk_tpl_need_str(r, name, "filter name");
  int64_t host = (int64_t)(intptr_t)bk_map_get(&r->env->filters, name.u.s, name.len);
  if (host) return bk_tpl_call_host(r, host, a, "filter", bk_tv_copy(r, name.u.s, name.len).u.s);
  const struct tpl_fn *f = bk_tpl_find_filter(r->env, name.u.s, name.len);
  if (!f) bk_tpl_bad(r, "there is no filter named '%.*s'", (int)name.len, name.u.s);
  return bk_tpl_call_fn(r, f, a);
}

bool bk_tpl_apply_test(rt *r, bk_tv name, struct bk_tpl_args *a) {
  name = bk_tpl_need_str(r, name, "test name");
  int64_t host = (int64_t)(intptr_t)bk_map_get(&r->env->tests, name.u.s, name.len);
  if (host)
  {
    const char *s = bk_tv_copy(r, name.u.s, name.len).u.s;
    return bk_tpl_truth(r, bk_tpl_call_host(r, host, a, "test", s));
  }
  const struct tpl_fn *f = bk_tpl_find_test(name.u.s, name.len);
  if (!f) bk_tpl_bad(r, "there is no test named '%.*s'", (int)name.len, name.u.s);
  return bk_tpl_truth(r, bk_tpl_call_fn(r, f, a));
}
