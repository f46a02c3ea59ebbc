/* Expressions. */
#include "template/template_run.h"

/* Keeps the frames of the recursion small. */
#define NOINLINE __attribute__((noinline))

/* --- scopes ---------------------------------------------------------------------------------- */

struct scope *bk_tpl_scope(rt *r, struct scope *up) {
  struct scope *s = bk_tpl_alloc(r, sizeof *s);
  s->up = up;
  s->vars = s->room;
  s->cap = BK_ARRAY_LEN(s->room);
  return s;
}

static uint32_t *slot(const struct scope *s, const struct tpl_sym *name) {
  uint64_t at = name->hash & s->mask;
  while (s->index[at] && s->vars[s->index[at] - 1].name != name) at = (at + 1) & s->mask;
  return &s->index[at];
}

struct var *bk_tpl_var(const struct scope *s, const struct tpl_sym *name) {
  if (s->index) {
    uint32_t at = *slot(s, name);
    return at ? &s->vars[at - 1] : NULL;
  }
  for (uint32_t i = 0; i < s->n; i++)
    if (s->vars[i].name == name) return &s->vars[i];
  return NULL;
}

static void grow(rt *r, struct scope *s) {
  struct var *more = bk_tpl_alloc(r, sizeof *more * s->cap * 2);
  memcpy(more, s->vars, sizeof *more * s->n);
  s->vars = more;
  s->cap *= 2;
  if (s->cap <= 16) return;
  s->index = bk_tpl_alloc(r, sizeof *s->index * s->cap * 2);
  s->mask = s->cap * 2 - 1; /* cap is a power of two */
  for (uint32_t i = 0; i < s->n; i++) *slot(s, s->vars[i].name) = i + 1;
}

void bk_tpl_define(rt *r, struct scope *s, const struct tpl_sym *name, bk_tv v, bool exported) {
  struct var *old = bk_tpl_var(s, name);
  if (old) {
    old->v = v;
    old->exported = exported;
    return;
  }
  if (s->n == s->cap) grow(r, s);
  s->vars[s->n++] = (struct var){.name = name, .v = v, .exported = exported};
  if (s->index) *slot(s, name) = s->n;
}

bk_tv bk_tpl_lookup(rt *r, struct scope *s, const struct tpl_sym *name) {
  for (; s; s = s->up) {
    const struct var *v = bk_tpl_var(s, name);
    if (v) return v->v;
    if (!s->base) continue;
    bk_tv *p = bk_tpl_entry(r, s->base, name->s, name->len, name->hash);
    if (p) return *p;
  }
  if (name == r->env->s_self && r->ctx) return tv_ptr(TV_SELF, r->ctx);
  return bk_tpl_global(r, name);
}

static bk_tv name_value(rt *r, const struct tpl_sym *name) {
  bk_tv v = bk_tpl_lookup(r, r->scope, name);
  return tv_given(v) ? v : bk_tpl_undef_name(r, name);
}

static void assign_tuple(rt *r, const struct node *target, bk_tv v) {
  const struct nodes *t = &target->u.list;
  struct tv_list *l = tv_seq(v) ? bk_tpl_l(r, v) : NULL;
  if (!l) {
    if (v.kind == TV_UNDEF) bk_tpl_lenient(r, v);
    if (v.kind != TV_UNDEF && !bk_tpl_iterable(v))
      bk_tpl_bad(r, "cannot unpack non-iterable %s object", bk_tpl_type(v));
    l = bk_tpl_listed(r, v);
  }
  if (l->n > t->n) bk_tpl_bad(r, "too many values to unpack (expected %u, got %u)", t->n, l->n);
  if (l->n < t->n) bk_tpl_bad(r, "not enough values to unpack (expected %u, got %u)", t->n, l->n);
  for (uint32_t i = 0; i < t->n; i++) bk_tpl_assign(r, t->v[i], l->v[i]);
}

void bk_tpl_assign(rt *r, const struct node *target, bk_tv v) {
  if (target->op == N_TUPLE) {
    r->at = target;
    assign_tuple(r, target, v);
  } else if (target->op == N_NSREF) {
    bk_tv ns = name_value(r, target->u.attr.a->u.sym);
    r->at = target;
    if (ns.kind != TV_NS) bk_tpl_bad(r, "cannot assign attribute on non-namespace object");
    bk_tpl_set(r, ns.u.d, bk_tv_text(target->u.attr.name->s, target->u.attr.name->len), v);
  } else {
    bool top = r->ctx && r->scope == r->ctx->root;
    bk_tpl_define(r, r->scope, target->u.sym, v, top && target->u.sym->s[0] != '_');
  }
}

/* --- operators ------------------------------------------------------------------------------- */

static bool compare_one(rt *r, uint8_t op, bk_tv a, bk_tv b) {
  int c;
  switch (op) {
    case T_EQ: return bk_tpl_eq(r, a, b);
    case T_NE: return !bk_tpl_eq(r, a, b);
    case T_NAME: return bk_tpl_contains(r, b, a);
    case T_SEMI: return !bk_tpl_contains(r, b, a);
    case T_LT: return bk_tpl_cmp(r, a, b, "<") == -1;
    case T_GT: return bk_tpl_cmp(r, a, b, ">") == 1;
    case T_LE: c = bk_tpl_cmp(r, a, b, "<="); return c == -1 || c == 0;
    default: c = bk_tpl_cmp(r, a, b, ">="); return c == 1 || c == 0;
  }
}

static NOINLINE bk_tv compare(rt *r, const struct node *n) {
  bk_tv a = bk_tpl_eval(r, n->u.cmp.a);
  for (uint32_t i = 0; i < n->u.cmp.rest.n; i++) {
    bk_tv b = bk_tpl_eval(r, n->u.cmp.rest.v[i]);
    r->at = n;
    if (!compare_one(r, n->u.cmp.ops[i], a, b)) return bk_tv_bool(false);
    a = b;
  }
  return bk_tv_bool(true);
}

static NOINLINE bk_tv concat(rt *r, const struct node *n) {
  bk_tv small[8], *v = small;
  uint32_t k = n->u.list.n;
  if (k > BK_ARRAY_LEN(small)) v = bk_tpl_alloc(r, sizeof *v * k);
  for (uint32_t i = 0; i < k; i++) v[i] = bk_tpl_eval(r, n->u.list.v[i]);
  r->at = n;
  bool safe = false;
  for (uint32_t i = 0; i < k; i++) safe = safe || (v[i].kind == TV_STR && v[i].flags & TVF_SAFE);
  safe = safe && r->autoescape;
  size_t mark = bk_tpl_begin(r);
  for (uint32_t i = 0; i < k; i++) {
    if (v[i].kind == TV_UNDEF) r->at = n->u.list.v[i];
    if (safe) bk_tpl_put_escaped(r, v[i]);
    else bk_tpl_put_text(r, v[i]);
  }
  bk_tv out = bk_tpl_end(r, mark);
  if (safe) out.flags = TVF_SAFE;
  return out;
}

static NOINLINE bk_tv sequence(rt *r, const struct node *n) {
  bk_tv v = bk_tpl_list(r, n->u.list.n);
  if (n->op == N_TUPLE) v.kind = TV_TUPLE;
  for (uint32_t i = 0; i < n->u.list.n; i++) bk_tpl_push(r, v.u.l, bk_tpl_eval(r, n->u.list.v[i]));
  return v;
}

static NOINLINE bk_tv dict(rt *r, const struct node *n) {
  bk_tv d = bk_tv_dict(r, 0);
  for (uint32_t i = 0; i < n->u.dict.keys.n; i++) {
    bk_tv k = bk_tpl_eval(r, n->u.dict.keys.v[i]), v = bk_tpl_eval(r, n->u.dict.vals.v[i]);
    r->at = n;
    bk_tpl_set(r, d.u.d, k, v);
  }
  return d;
}

static bk_tv optional(rt *r, const struct node *n) {
  return n ? bk_tpl_eval(r, n) : tv_kind(TV_MISSING);
}

static NOINLINE bk_tv slice(rt *r, const struct node *n) {
  bk_tv obj = bk_tpl_eval(r, n->u.slice.a), lo = optional(r, n->u.slice.lo);
  bk_tv hi = optional(r, n->u.slice.hi), step = optional(r, n->u.slice.step);
  r->at = n;
  return bk_tpl_slice(r, obj, lo, hi, step);
}

static NOINLINE bk_tv inline_if(rt *r, const struct node *n) {
  bk_tv c = bk_tpl_eval(r, n->u.x.c);
  r->at = n->u.x.c;
  if (bk_tpl_truth(r, c)) return bk_tpl_eval(r, n->u.x.a);
  if (n->u.x.b) return bk_tpl_eval(r, n->u.x.b);
  r->at = n;
  bk_tv v = bk_tpl_undef_hint(r, "the inline if evaluated to false and has no else");
  ((struct tv_undef *)v.u.p)->lenient = true;
  return v;
}

static NOINLINE bk_tv logic(rt *r, const struct node *n) {
  bk_tv a = bk_tpl_eval(r, n->u.x.a);
  r->at = n->u.x.a;
  return bk_tpl_truth(r, a) == (n->op == N_OR) ? a : bk_tpl_eval(r, n->u.x.b);
}

/* --- calls ----------------------------------------------------------------------------------- */

struct evaluated {
  struct bk_tpl_args a;
  bk_tv room[8];
  struct bk_tpl_kw kwroom[4];
};

static void spread_kwargs(rt *r, struct bk_tpl_args *a, bk_tv d) {
  if (d.kind == TV_UNDEF) bk_tpl_undefined(r, d);
  if (d.kind != TV_DICT)
    bk_tpl_bad(r, "argument after ** must be a mapping, not %s", bk_tpl_type(d));
  struct tv_dict *m = bk_tpl_d(r, d);
  struct bk_tpl_kw *kw = bk_tpl_alloc(r, sizeof *kw * ((size_t)a->nkw + m->live + 1));
  if (a->nkw) memcpy(kw, a->kw, sizeof *kw * a->nkw);
  a->kw = kw;
  uint32_t given = a->nkw;
  for (uint32_t i = 0; i < m->n; i++) {
    bk_tv key = m->e[i].key;
    if (!key.kind) continue;
    if (key.kind != TV_STR) bk_tpl_bad(r, "keywords must be strings");
    for (uint32_t k = 0; k < given; k++)
      if (kw[k].len == key.len && memcmp(kw[k].name, key.u.s, key.len) == 0)
        bk_tpl_bad(r, "argument '%.*s' is given twice", (int)key.len, key.u.s);
    kw[a->nkw++] = (struct bk_tpl_kw){.name = key.u.s, .len = key.len, .v = m->e[i].val};
  }
}

/* first (when given) and the arguments of the node; `extra` is a keyword argument `caller`. */
static void arguments(rt *r, struct evaluated *e, const struct args *args, const bk_tv *first,
                      const bk_tv *caller) {
  uint32_t fixed = (args ? args->pos.n : 0) + (first != NULL), nkw = args ? args->kwval.n : 0;
  e->a = (struct bk_tpl_args){.v = e->room, .kw = e->kwroom};
  if (fixed > BK_ARRAY_LEN(e->room)) e->a.v = bk_tpl_alloc(r, sizeof *e->a.v * fixed);
  if (nkw + 1 > BK_ARRAY_LEN(e->kwroom)) e->a.kw = bk_tpl_alloc(r, sizeof *e->a.kw * (nkw + 1));
  if (first) e->a.v[e->a.n++] = *first;
  for (uint32_t i = 0; args && i < args->pos.n; i++)
    e->a.v[e->a.n++] = bk_tpl_eval(r, args->pos.v[i]);
  for (uint32_t i = 0; i < nkw; i++) {
    bk_tv v = bk_tpl_eval(r, args->kwval.v[i]);
    e->a.kw[e->a.nkw++] = (struct bk_tpl_kw){args->kwname[i]->s, args->kwname[i]->len, v};
  }
  if (caller) e->a.kw[e->a.nkw++] = (struct bk_tpl_kw){"caller", 6, *caller};
  if (args && args->dyn_args) {
    bk_tv v = bk_tpl_eval(r, args->dyn_args);
    r->at = args->dyn_args;
    struct tv_list *more = bk_tpl_listed(r, v);
    bk_tv *all = bk_tpl_alloc(r, sizeof *all * ((size_t)e->a.n + more->n + 1));
    if (e->a.n) memcpy(all, e->a.v, sizeof *all * e->a.n);
    if (more->n) memcpy(all + e->a.n, more->v, sizeof *all * more->n);
    e->a.v = all;
    e->a.n += more->n;
  }
  if (args && args->dyn_kwargs) {
    bk_tv v = bk_tpl_eval(r, args->dyn_kwargs);
    r->at = args->dyn_kwargs;
    spread_kwargs(r, &e->a, v);
  }
}

static bool has_methods(bk_tv v) {
  return v.kind == TV_STR || tv_seq(v) || v.kind == TV_DICT || v.kind == TV_LOOP ||
         v.kind == TV_CYCLER;
}

bk_tv bk_tpl_eval_call(rt *r, const struct node *n, const bk_tv *caller) {
  const struct node *f = n->u.call.a;
  struct evaluated e;
  bk_tpl_step(r, 1);
  if (f->op == N_ATTR) { /* obj.method(…) without making a bound method */
    bk_tv obj = bk_tpl_eval(r, f->u.attr.a);
    const struct tpl_sym *name = f->u.attr.name;
    r->at = f;
    const struct tpl_fn *fn =
        name->method && has_methods(obj) ? bk_tpl_find_method(obj, name->s, name->len) : NULL;
    if (fn) {
      arguments(r, &e, n->u.call.args, &obj, caller);
      r->at = f;
      return bk_tpl_call_fn(r, fn, &e.a);
    }
    bk_tv v = bk_tpl_attr(r, obj, name);
    arguments(r, &e, n->u.call.args, NULL, caller);
    r->at = f;
    return bk_tpl_call(r, v, &e.a);
  }
  bk_tv v = bk_tpl_eval(r, f);
  arguments(r, &e, n->u.call.args, NULL, caller);
  r->at = f;
  return bk_tpl_call(r, v, &e.a);
}

bk_tv bk_tpl_eval_filter(rt *r, const struct node *n, bk_tv in) {
  if (n->u.filter.a) in = bk_tpl_eval_filter(r, n->u.filter.a, in);
  struct evaluated e;
  arguments(r, &e, n->u.filter.args, &in, NULL);
  r->at = n;
  const struct tpl_sym *name = n->u.filter.name;
  if (n->u.filter.fn) return bk_tpl_call_fn(r, n->u.filter.fn, &e.a);
  if (!n->u.filter.host) bk_tpl_bad(r, "there is no filter named '%s'", name->s);
  return bk_tpl_call_host(r, n->u.filter.host, &e.a, "filter", name->s);
}

static NOINLINE bk_tv filter(rt *r, const struct node *n) {
  struct evaluated e;
  bk_tv in = bk_tpl_eval(r, n->u.filter.a);
  arguments(r, &e, n->u.filter.args, &in, NULL);
  r->at = n;
  const struct tpl_sym *name = n->u.filter.name;
  if (n->u.filter.fn) return bk_tpl_call_fn(r, n->u.filter.fn, &e.a);
  if (!n->u.filter.host)
    bk_tpl_bad(r, "there is no %s named '%s'", n->op == N_TEST ? "test" : "filter", name->s);
  return bk_tpl_call_host(r, n->u.filter.host, &e.a, n->op == N_TEST ? "test" : "filter", name->s);
}

static NOINLINE bk_tv test(rt *r, const struct node *n) {
  bk_tv v = filter(r, n);
  return bk_tv_bool(bk_tpl_truth(r, v) != (bool)n->sub);
}

/* --- dispatch -------------------------------------------------------------------------------- */

static NOINLINE bk_tv operate(rt *r, const struct node *n) {
  bk_tv a = bk_tpl_eval(r, n->u.x.a), b;
  switch (n->op) {
    case N_BIN:
      b = bk_tpl_eval(r, n->u.x.b);
      r->at = n;
      if (a.kind == TV_UNDEF) r->at = n->u.x.a;
      else if (b.kind == TV_UNDEF) r->at = n->u.x.b;
      return bk_tpl_binary(r, (enum tok)n->sub, a, b);
    case N_ITEM:
      b = bk_tpl_eval(r, n->u.x.b);
      r->at = a.kind == TV_UNDEF ? n->u.x.a : n;
      return bk_tpl_item(r, a, b);
    case N_NOT:
      r->at = n->u.x.a;
      return bk_tv_bool(!bk_tpl_truth(r, a));
    default:
      r->at = n;
      return bk_tpl_unary(r, (enum node_op)n->op, a);
  }
}

static NOINLINE bk_tv eval_form(rt *r, const struct node *n) {
  switch (n->op) {
    case N_TUPLE:
    case N_LIST: return sequence(r, n);
    case N_DICT: return dict(r, n);
    case N_COND: return inline_if(r, n);
    case N_AND:
    case N_OR: return logic(r, n);
    case N_COMPARE: return compare(r, n);
    case N_CONCAT: return concat(r, n);
    case N_SLICE: return slice(r, n);
    case N_CALL: return bk_tpl_eval_call(r, n, NULL);
    case N_FILTER: return filter(r, n);
    case N_TEST: return test(r, n);
    default: return operate(r, n);
  }
}

/* The leaves are done here, in a small frame. */
bk_tv bk_tpl_eval(rt *r, const struct node *n) {
  if (n->op == N_CONST) return n->u.val;
  if (n->op == N_NAME) return name_value(r, n->u.sym);
  bk_tpl_guard(r);
  if (n->op != N_ATTR) return eval_form(r, n);
  bk_tv v = bk_tpl_eval(r, n->u.attr.a);
  r->at = v.kind == TV_UNDEF ? n->u.attr.a : n;
  return bk_tpl_attr(r, v, n->u.attr.name);
}
