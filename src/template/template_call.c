/* Calls of every kind: built-in functions with bound arguments, macros, host functions. */
#include "template/template_run.h"

const struct tpl_fn *bk_tpl_find_fn(const struct tpl_fn *t, const char *s, size_t n) {
  for (; t->name; t++)
    if (n && t->name[0] == s[0] && tpl_same(t->name, s, n)) return t;
  return NULL;
}

bk_tv bk_tpl_kwarg(struct bk_tpl_args *a, const char *name) {
  size_t n = strlen(name);
  for (uint32_t i = 0; i < a->nkw; i++) {
    if (a->kw[i].len != n || memcmp(a->kw[i].name, name, n) != 0) continue;
    bk_tv v = a->kw[i].v;
    memmove(a->kw + i, a->kw + i + 1, sizeof *a->kw * (a->nkw - i - 1));
    a->nkw--;
    return v;
  }
  return tv_kind(TV_MISSING);
}

static void bind(rt *r, const struct tpl_fn *f, const struct bk_tpl_args *a, bk_tv *slot) {
  uint32_t np = 0;
  while (np < TPL_MAX_ARGS && f->params[np]) np++;
  if (a->n > np)
    bk_tpl_bad(r, "%s() takes at most %u arguments, got %u", f->name, np, a->n);
  for (uint32_t i = 0; i < a->n; i++) slot[i] = a->v[i];
  for (uint32_t i = a->n; i < TPL_MAX_ARGS; i++) slot[i] = tv_kind(TV_MISSING);
  for (uint32_t k = 0; k < a->nkw; k++) {
    const struct bk_tpl_kw *kw = &a->kw[k];
    uint32_t i = 0;
    while (i < np && !tpl_same(f->params[i], kw->name, kw->len)) i++;
    if (i == np)
      bk_tpl_bad(r, "%s() has no argument '%.*s'", f->name, (int)kw->len, kw->name);
    if (tv_given(slot[i]))
      bk_tpl_bad(r, "%s(): argument '%s' is given twice", f->name, f->params[i]);
    slot[i] = kw->v;
  }
  for (uint32_t i = 0; i < f->need; i++)
    if (!tv_given(slot[i])) bk_tpl_bad(r, "%s(): argument '%s' is missing", f->name, f->params[i]);
}

bk_tv bk_tpl_call_fn(rt *r, const struct tpl_fn *f, struct bk_tpl_args *a) {
  if (f->raw) return f->raw(r, a);
  bk_tv slot[TPL_MAX_ARGS];
  bind(r, f, a, slot);
  return f->fn(r, slot);
}

bk_tv bk_tpl_call_host(rt *r, int64_t fn, struct bk_tpl_args *a, const char *kind,
                       const char *name) {
  bk_tv v = bk_tv_none();
  const struct node *at = r->at;
  if (!r->host.call) bk_tpl_bad(r, "%s '%s' cannot be called here", kind, name);
  if (r->host.call(r->host.ud, r, fn, a, &v, r->err)) {
    r->at = at;
    if (name[0]) bk_err_wrap(r->err, "%s '%s'", kind, name);
    bk_tpl_throw(r);
  }
  return v;
}

bk_tv bk_tpl_call(rt *r, bk_tv f, struct bk_tpl_args *a) {
  switch (f.kind) {
    case TV_FUNC: return bk_tpl_call_fn(r, f.u.p, a);
    case TV_METHOD: {
      const struct tv_method *m = f.u.p;
      bk_tv *v = bk_tpl_alloc(r, sizeof *v * ((size_t)a->n + 1));
      v[0] = m->self;
      if (a->n) memcpy(v + 1, a->v, sizeof *v * a->n);
      struct bk_tpl_args with = {.v = v, .n = a->n + 1, .kw = a->kw, .nkw = a->nkw};
      return bk_tpl_call_fn(r, m->fn, &with);
    }
    case TV_MACRO: return bk_tpl_macro_call(r, f.u.p, a);
    case TV_HOST: return bk_tpl_call_host(r, f.u.i, a, "function", "");
    case TV_BLOCK: return bk_tpl_block_text(r, f.u.p);
    case TV_LOOP: {
      struct tv_loop *l = f.u.p;
      if (!l->node->u.loop->recursive)
        bk_tpl_bad(r, "the loop must have the 'recursive' marker to be called recursively");
      if (a->n != 1 || a->nkw) bk_tpl_bad(r, "loop() takes exactly one iterable");
      return bk_tpl_for_text(r, l->node, a->v[0], l->outer, l->depth0 + 1);
    }
    case TV_JOINER: {
      struct tv_joiner *j = f.u.p;
      if (j->used) return j->sep;
      j->used = true;
      return bk_tv_text("", 0);
    }
    case TV_UNDEF: bk_tpl_undefined(r, f);
    default: bk_tpl_bad(r, "'%s' object is not callable", bk_tpl_type(f));
  }
}

/* --- macros ---------------------------------------------------------------------------------- */

bk_tv bk_tpl_macro_new(rt *r, const struct macro_node *m) {
  struct tv_macro *v = bk_tpl_alloc(r, sizeof *v);
  *v = (struct tv_macro){.m = m,
                         .closure = r->scope,
                         .ctx = r->ctx,
                         .tpl = r->frame->tpl,
                         .name = m->name ? m->name->s : "caller",
                         .autoescape = r->autoescape};
  return tv_ptr(TV_MACRO, v);
}

/* Parameters that were not given are undefined until their defaults have been evaluated. */
static bool *bind_params(rt *r, const struct macro_node *m, struct bk_tpl_args *a, struct scope *s,
                         bool *found_caller) {
  bool *missing = bk_tpl_alloc(r, m->nparams + 1);
  *found_caller = a->n >= m->nparams && m->explicit_caller;
  for (uint32_t i = 0; i < m->nparams; i++) {
    const struct tpl_sym *name = m->params[i];
    bk_tv v = i < a->n ? a->v[i] : bk_tpl_kwarg(a, name->s);
    if (i >= a->n && name == r->env->s_caller) *found_caller = true;
    missing[i] = !tv_given(v);
    if (missing[i]) {
      bool has_default = i + m->defaults.n >= m->nparams;
      v = has_default ? bk_tpl_undef_name(r, name)
                      : bk_tpl_undef_hint(r, "parameter '%s' was not provided", name->s);
    }
    bk_tpl_define(r, s, name, v, false);
  }
  return missing;
}

/* caller, kwargs and varargs, where the body speaks of them. */
static void bind_special(rt *r, const struct tv_macro *mv, struct bk_tpl_args *a, struct scope *s,
                         bool found_caller) {
  const struct macro_node *m = mv->m;
  if (m->uses_caller && !found_caller) {
    bk_tv v = bk_tpl_kwarg(a, "caller");
    if (!tv_given(v) || v.kind == TV_NONE) v = bk_tpl_undef_hint(r, "no caller defined");
    bk_tpl_define(r, s, r->env->s_caller, v, false);
  }
  if (m->uses_kwargs) {
    bk_tv d = bk_tv_dict(r, 0);
    for (uint32_t i = 0; i < a->nkw; i++)
      bk_tpl_set(r, d.u.d, bk_tv_text(a->kw[i].name, a->kw[i].len), a->kw[i].v);
    bk_tpl_define(r, s, r->env->s_kwargs, d, false);
  } else if (a->nkw) {
    bk_tpl_bad(r, "macro '%s' takes no keyword argument '%.*s'", mv->name, (int)a->kw[0].len,
               a->kw[0].name);
  }
  uint32_t extra = a->n > m->nparams ? a->n - m->nparams : 0;
  if (m->uses_varargs)
    bk_tpl_define(r, s, r->env->s_varargs, bk_tpl_tuple_of(r, a->v + (a->n - extra), extra), false);
  else if (extra)
    bk_tpl_bad(r, "macro '%s' takes not more than %u argument(s)", mv->name, m->nparams);
}

bk_tv bk_tpl_macro_call(rt *r, struct tv_macro *mv, struct bk_tpl_args *a) {
  const struct macro_node *m = mv->m;
  struct scope *s = bk_tpl_scope(r, mv->closure), *scope = r->scope;
  struct context *ctx = r->ctx;
  bool mute = r->mute, autoescape = r->autoescape, found_caller;
  bool *missing = bind_params(r, m, a, s, &found_caller);
  bind_special(r, mv, a, s, found_caller);
  struct frame f;
  bk_tpl_push_frame(r, &f, mv->tpl, m->name ? "macro" : "call block", m->name ? mv->name : NULL);
  r->scope = s;
  r->ctx = mv->ctx;
  r->mute = false;
  r->autoescape = mv->autoescape;
  uint32_t first = m->nparams - m->defaults.n;
  for (uint32_t i = first; i < m->nparams; i++)
    if (missing[i])
      bk_tpl_define(r, s, m->params[i], bk_tpl_eval(r, m->defaults.v[i - first]), false);
  bk_tv text;
  bk_tpl_capture(r, &m->body, &text);
  r->scope = scope;
  r->ctx = ctx;
  r->mute = mute;
  r->autoescape = autoescape;
  text.flags = autoescape ? TVF_SAFE : 0;
  bk_tpl_pop_frame(r, &f);
  return text;
}
