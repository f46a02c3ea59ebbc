/* Attributes, subscripts and slices. obj.name looks at attributes first and items second, obj[key]
 * the other way round, as Jinja does. */
#include <math.h>

#include "template/template_run.h"

static bk_tv list_of_names(rt *r, const struct macro_node *m) {
  bk_tv v = bk_tpl_list(r, m->nparams);
  v.kind = TV_TUPLE;
  for (uint32_t i = 0; i < m->nparams; i++)
    bk_tpl_push(r, v.u.l, bk_tv_text(m->params[i]->s, m->params[i]->len));
  return v;
}

static bk_tv macro_attr(rt *r, const struct tv_macro *m, bk_tv name) {
  if (tv_is(name, "name"))
    return m->m->name ? bk_tv_text(m->m->name->s, m->m->name->len) : bk_tv_none();
  if (tv_is(name, "arguments")) return list_of_names(r, m->m);
  if (tv_is(name, "catch_kwargs")) return bk_tv_bool(m->m->uses_kwargs);
  if (tv_is(name, "catch_varargs")) return bk_tv_bool(m->m->uses_varargs);
  if (tv_is(name, "caller")) return bk_tv_bool(m->m->uses_caller);
  return tv_kind(TV_MISSING);
}

static bk_tv number_attr(bk_tv n, bk_tv name) {
  if (tv_is(name, "real")) return n.kind == TV_BOOL ? bk_tv_int(n.u.b) : n;
  if (tv_is(name, "imag")) return n.kind == TV_FLOAT ? bk_tv_float(0) : bk_tv_int(0);
  if (n.kind != TV_FLOAT && tv_is(name, "numerator")) return bk_tv_int(tv_i64(n));
  if (n.kind != TV_FLOAT && tv_is(name, "denominator")) return bk_tv_int(1);
  return tv_kind(TV_MISSING);
}

static bk_tv range_attr(const struct tv_range *g, bk_tv name) {
  if (tv_is(name, "start")) return bk_tv_int(g->start);
  if (tv_is(name, "stop")) return bk_tv_int(g->stop);
  if (tv_is(name, "step")) return bk_tv_int(g->step);
  return tv_kind(TV_MISSING);
}

bk_tv bk_tpl_module_attr(const struct tv_module *m, const struct tpl_sym *name) {
  const struct var *v = bk_tpl_var(m->root, name);
  return v && v->exported ? v->v : tv_kind(TV_MISSING);
}

static bk_tv module_item(const struct tv_module *m, bk_tv name) {
  for (uint32_t i = 0; i < m->root->n; i++) {
    const struct var *v = &m->root->vars[i];
    if (v->exported && tpl_same(v->name->s, name.u.s, name.len)) return v->v;
  }
  return tv_kind(TV_MISSING);
}

bk_tv bk_tpl_attr_only(rt *r, bk_tv obj, bk_tv name) {
  bk_tv v = tv_kind(TV_MISSING), *p;
  switch (obj.kind) {
    case TV_UNDEF: bk_tpl_undefined(r, obj);
    case TV_NS:
      p = bk_tpl_get(r, obj.u.d, name);
      return p ? *p : v;
    case TV_MODULE: return module_item(obj.u.p, name);
    case TV_LOOP: v = bk_tpl_loop_attr(r, obj.u.p, name.u.s, name.len); break;
    case TV_SELF: return bk_tpl_self_block(r, obj.u.p, name.u.s, name.len);
    case TV_BLOCK: return tv_is(name, "super") ? bk_tpl_block_super(r, obj.u.p) : v;
    case TV_MACRO: return macro_attr(r, obj.u.p, name);
    case TV_BOOL:
    case TV_INT:
    case TV_FLOAT: v = number_attr(obj, name); break;
    case TV_RANGE: v = range_attr(obj.u.p, name); break;
    case TV_TUPLE:
      if (obj.flags & TVF_GROUP && tv_is(name, "grouper")) return obj.u.l->v[0];
      if (obj.flags & TVF_GROUP && tv_is(name, "list")) return obj.u.l->v[1];
      break;
    case TV_CYCLER:
      if (tv_is(name, "current")) {
        const struct tv_cycler *c = obj.u.p;
        return c->v[c->at];
      }
      break;
    default: break;
  }
  if (tv_given(v)) return v;
  const struct tpl_fn *fn = bk_tpl_find_method(obj, name.u.s, name.len);
  if (!fn) return v;
  struct tv_method *m = bk_tpl_alloc(r, sizeof *m);
  *m = (struct tv_method){.self = obj, .fn = fn};
  return tv_ptr(TV_METHOD, m);
}

bk_tv bk_tpl_attr(rt *r, bk_tv obj, const struct tpl_sym *name) {
  if (obj.kind == TV_DICT && !name->method) {
    bk_tv *p = bk_tpl_entry(r, obj.u.d, name->s, name->len, name->hash);
    if (p) return *p;
    return bk_tpl_undef_attr(r, obj, bk_tv_text(name->s, name->len));
  }
  bk_tv key = bk_tv_text(name->s, name->len), v;
  v = obj.kind == TV_MODULE ? bk_tpl_module_attr(obj.u.p, name) : bk_tpl_attr_only(r, obj, key);
  if (tv_given(v)) return v;
  if (obj.kind == TV_DICT) {
    bk_tv *p = bk_tpl_get(r, bk_tpl_d(r, obj), key);
    if (p) return *p;
  }
  return bk_tpl_undef_attr(r, obj, key);
}

/* Element i of something that can be indexed by numbers; MISSING otherwise. */
static bk_tv element(rt *r, bk_tv obj, int64_t i) {
  int64_t n = obj.kind == TV_DICT || obj.kind == TV_VIEW ? -1 : bk_tpl_len(r, obj);
  if (n < 0) return tv_kind(TV_MISSING);
  if (i < 0) i += n;
  if (i < 0 || i >= n) return tv_kind(TV_MISSING);
  if (obj.kind == TV_STR) return bk_tpl_sub(obj, (size_t)i, (size_t)i + 1);
  if (obj.kind == TV_RANGE) {
    const struct tv_range *g = obj.u.p;
    return bk_tv_int(g->start + i * g->step);
  }
  return obj.u.l->v[i];
}

bk_tv bk_tpl_item(rt *r, bk_tv obj, bk_tv key) {
  bk_tv v = tv_kind(TV_MISSING);
  if (obj.kind == TV_UNDEF) bk_tpl_undefined(r, obj);
  if (obj.kind == TV_DICT) {
    bk_tv *p = NULL; /* as for lists and dicts, which cannot be keys */
    if (key.kind == TV_STR)
      p = bk_tpl_entry(r, obj.u.d, key.u.s, key.len, bk_tpl_hash_str(key.u.s, key.len));
    else if (key.kind != TV_LIST && key.kind != TV_DICT)
      p = bk_tpl_get(r, bk_tpl_d(r, obj), key);
    if (p) return *p;
  } else if (tv_integral(key)) {
    v = element(r, obj, tv_i64(key));
  }
  if (!tv_given(v) && key.kind == TV_STR) v = bk_tpl_attr_only(r, obj, key);
  return tv_given(v) ? v : bk_tpl_undef_attr(r, obj, key);
}

/* --- slices ---------------------------------------------------------------------------------- */

static int64_t bound(rt *r, bk_tv v, int64_t def, int64_t n, int64_t step) {
  if (!tv_given(v) || v.kind == TV_NONE) return def;
  if (v.kind == TV_UNDEF) bk_tpl_undefined(r, v);
  if (!tv_integral(v))
    bk_tpl_bad(r, "slice bounds must be integers or none, not '%s'", bk_tpl_type(v));
  int64_t i = tv_i64(v);
  if (i < 0) {
    i += n;
    if (i < 0) i = step < 0 ? -1 : 0;
  } else if (i >= n) {
    i = step < 0 ? n - 1 : n;
  }
  return i;
}

static bk_tv slice_str(rt *r, bk_tv s, int64_t lo, int64_t step, int64_t count) {
  if (step == 1) return bk_tpl_sub(s, (size_t)lo, (size_t)(lo + count));
  struct tv_list *chars = bk_tpl_listed(r, bk_tv_text(s.u.s, s.len));
  size_t mark = bk_tpl_begin(r);
  for (int64_t i = 0; i < count; i++) bk_tpl_put_text(r, chars->v[lo + i * step]);
  return tv_like(bk_tpl_end(r, mark), s);
}

bk_tv bk_tpl_slice(rt *r, bk_tv obj, bk_tv lov, bk_tv hiv, bk_tv stepv) {
  if (obj.kind == TV_UNDEF) bk_tpl_undefined(r, obj);
  if (obj.kind != TV_STR && !tv_seq(obj) && obj.kind != TV_RANGE)
    bk_tpl_bad(r, "'%s' object cannot be sliced", bk_tpl_type(obj));
  int64_t n = bk_tpl_len(r, obj), step = 1, count = 0;
  if (tv_given(stepv) && stepv.kind != TV_NONE) step = bk_tpl_as_int(r, stepv, "slice step");
  if (step == 0) bk_tpl_bad(r, "slice step cannot be zero");
  if (step == INT64_MIN) step++;
  int64_t lo = bound(r, lov, step < 0 ? n - 1 : 0, n, step);
  int64_t hi = bound(r, hiv, step < 0 ? -1 : n, n, step);
  if (step > 0 && hi > lo) count = (hi - lo - 1) / step + 1;
  if (step < 0 && lo > hi) count = (lo - hi - 1) / -step + 1;
  if (count <= 1) step = 1; /* a lone element: the step must not overflow below */
  if (obj.kind == TV_STR) return slice_str(r, obj, lo, step, count);
  if (obj.kind == TV_RANGE) {
    const struct tv_range *g = obj.u.p;
    struct tv_range *s = bk_tpl_alloc(r, sizeof *s);
    int64_t st = tv_given(stepv) && stepv.kind != TV_NONE ? tv_i64(stepv) : 1;
    if (__builtin_mul_overflow(g->step, st, &s->step)) bk_tpl_bad(r, "range step is too large");
    s->start = g->start + lo * g->step;
    s->stop = g->start + hi * g->step;
    s->n = count;
    return tv_ptr(TV_RANGE, s);
  }
  bk_tv v = bk_tpl_list(r, (uint32_t)count);
  v.kind = obj.kind;
  for (int64_t i = 0; i < count; i++) bk_tpl_push(r, v.u.l, obj.u.l->v[lo + i * step]);
  return v;
}

/* --- attribute paths ------------------------------------------------------------------------- */

static bk_tv path_part(const char *s, size_t n) {
  int64_t i = 0;
  bool digits = n > 0 && n < 18;
  for (size_t k = 0; k < n && digits; k++) {
    digits = s[k] >= '0' && s[k] <= '9';
    i = i * 10 + (s[k] - '0');
  }
  return digits ? bk_tv_int(i) : bk_tv_text(s, n);
}

bk_tv bk_tpl_path(rt *r, bk_tv obj, bk_tv path, bk_tv def) {
  if (!tv_given(path) || path.kind == TV_NONE) return obj;
  const char *s = path.u.s, *end = s + path.len;
  if (path.kind != TV_STR) s = end = NULL;
  do {
    const char *dot = s ? memchr(s, '.', (size_t)(end - s)) : NULL;
    bk_tv part = s ? path_part(s, (size_t)((dot ? dot : end) - s)) : path;
    obj = bk_tpl_item(r, obj, part);
    if (obj.kind == TV_UNDEF && tv_given(def) && def.kind != TV_NONE) obj = def;
    s = dot ? dot + 1 : NULL;
  } while (s);
  return obj;
}
