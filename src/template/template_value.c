/* Values: constructors, lists, dicts in insertion order, undefined values, truth, equality,
 * order. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "template/template_run.h"

bk_tv bk_tv_none(void) { return tv_kind(TV_NONE); }
bk_tv bk_tv_bool(bool b) { return (bk_tv){.kind = TV_BOOL, .u.b = b}; }
bk_tv bk_tv_int(int64_t i) { return (bk_tv){.kind = TV_INT, .u.i = i}; }
bk_tv bk_tv_float(double f) { return (bk_tv){.kind = TV_FLOAT, .u.f = f}; }
bk_tv bk_tv_text(const char *s, size_t n) {
  return (bk_tv){.kind = TV_STR, .len = (uint32_t)n, .u.s = s};
}

bk_tv bk_tv_copy(rt *r, const char *s, size_t n) {
  bk_tpl_size(r, n);
  char *p = bk_tpl_alloc(r, n + 1);
  if (n) memcpy(p, s, n);
  return bk_tv_text(p, n);
}

/* --- lists ----------------------------------------------------------------------------------- */

static void fill(rt *r, bk_tv v, int64_t lazy) {
  if (r->host.fill(r->host.ud, r, v, lazy, r->err)) bk_tpl_throw(r);
}

struct tv_list *bk_tpl_l(rt *r, bk_tv v) {
  struct tv_list *l = v.u.l;
  if (l->lazy) {
    int64_t lazy = l->lazy;
    l->lazy = 0;
    fill(r, v, lazy);
  }
  return l;
}

bk_tv bk_tpl_list(rt *r, uint32_t cap) {
  struct tv_list *l = bk_tpl_alloc(r, sizeof *l);
  if (cap) {
    l->v = bk_tpl_alloc(r, sizeof *l->v * cap);
    l->cap = cap;
  }
  return tv_ptr(TV_LIST, l);
}

bk_tv bk_tv_list(rt *r, int64_t lazy) {
  bk_tv v = bk_tpl_list(r, 0);
  v.u.l->lazy = lazy;
  return v;
}

bk_tv bk_tpl_tuple_of(rt *r, const bk_tv *v, uint32_t n) {
  bk_tv t = bk_tpl_list(r, n);
  t.kind = TV_TUPLE;
  if (n) memcpy(t.u.l->v, v, sizeof *v * n);
  t.u.l->n = n;
  return t;
}

void bk_tpl_push(rt *r, struct tv_list *l, bk_tv v) {
  if (l->n == l->cap) {
    if (l->cap > UINT32_MAX / 4) bk_tpl_raise(r, "template.limit", "list is too long");
    uint32_t cap = l->cap ? l->cap * 2 : 4;
    bk_tv *more = bk_tpl_alloc(r, sizeof *more * cap);
    if (l->n) memcpy(more, l->v, sizeof *more * l->n);
    l->v = more;
    l->cap = cap;
  }
  l->v[l->n++] = v;
}

void bk_tv_push(rt *r, bk_tv list, bk_tv v) { bk_tpl_push(r, list.u.l, v); }

bk_tv bk_tpl_gen(rt *r, bk_tv list, const char *name) {
  struct tv_gen *g = bk_tpl_alloc(r, sizeof *g);
  *g = (struct tv_gen){.l = list.u.l, .name = name};
  return tv_ptr(TV_GEN, g);
}

/* --- dicts ----------------------------------------------------------------------------------- */

uint64_t bk_tpl_hash_str(const char *s, size_t n) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 1099511628211u;
  return h ^ (h >> 29);
}

static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
  return x ^ (x >> 29);
}

/* Equal values hash alike: 1, 1.0 and true. */
static uint64_t hash(rt *r, bk_tv v) {
  switch (v.kind) {
    case TV_STR: return bk_tpl_hash_str(v.u.s, v.len);
    case TV_BOOL:
    case TV_INT: return mix((uint64_t)tv_i64(v));
    case TV_FLOAT:
      if (v.u.f == floor(v.u.f) && fabs(v.u.f) < 9e18) return mix((uint64_t)(int64_t)v.u.f);
      return mix((uint64_t)v.u.i + 77);
    case TV_NONE: return 3;
    case TV_TUPLE: {
      uint64_t h = 5;
      bk_tpl_guard(r);
      for (uint32_t i = 0; i < v.u.l->n; i++) h = mix(h * 31 + hash(r, v.u.l->v[i]));
      return h;
    }
    case TV_UNDEF: bk_tpl_lenient(r, v); return 7;
    case TV_LIST:
    case TV_DICT: bk_tpl_bad(r, "unhashable type: '%s'", bk_tpl_type(v));
    default: return mix((uint64_t)v.u.i);
  }
}

static struct tv_entry *find(rt *r, struct tv_dict *d, bk_tv key, uint64_t h);

struct tv_dict *bk_tpl_d(rt *r, bk_tv v) {
  struct tv_dict *d = v.u.d, seen = *d;
  if (!d->lazy) return d;
  *d = (struct tv_dict){.printing = seen.printing};
  fill(r, v, seen.lazy);
  for (uint32_t i = 0; i < seen.n; i++) { /* what templates have got stays the same object */
    struct tv_entry *e = find(r, d, seen.e[i].key, seen.e[i].hash);
    if (e) e->val = seen.e[i].val;
  }
  return d;
}

bk_tv *bk_tpl_entry(rt *r, struct tv_dict *d, const char *s, size_t n, uint64_t hash) {
  bk_tv *p = bk_tpl_get_str(d, s, n, hash), v;
  if (p || !d->lazy) return p;
  int rc = r->host.get ? r->host.get(r->host.ud, r, d->lazy, s, n, &v) : -1;
  if (rc == 0) return NULL;
  if (rc > 0) bk_tpl_set(r, d, bk_tv_text(s, n), v);
  else bk_tpl_d(r, tv_ptr(TV_DICT, d));
  return bk_tpl_get_str(d, s, n, hash);
}

bk_tv bk_tv_dict(rt *r, int64_t lazy) {
  struct tv_dict *d = bk_tpl_alloc(r, sizeof *d);
  d->lazy = lazy;
  return tv_ptr(TV_DICT, d);
}

static void reindex(rt *r, struct tv_dict *d) {
  uint32_t size = 32;
  while (size < d->cap * 2) size *= 2;
  d->index = bk_tpl_alloc(r, sizeof *d->index * size);
  d->mask = size - 1;
  for (uint32_t i = 0; i < d->n; i++) {
    uint64_t at = d->e[i].hash & d->mask;
    while (d->index[at]) at = (at + 1) & d->mask;
    d->index[at] = i + 1;
  }
}

static struct tv_entry *find(rt *r, struct tv_dict *d, bk_tv key, uint64_t h) {
  if (!d->index) {
    for (uint32_t i = 0; i < d->n; i++)
      if (d->e[i].hash == h && d->e[i].key.kind && bk_tpl_eq(r, d->e[i].key, key)) return &d->e[i];
    return NULL;
  }
  for (uint64_t at = h & d->mask; d->index[at]; at = (at + 1) & d->mask) {
    struct tv_entry *e = &d->e[d->index[at] - 1];
    if (e->hash == h && e->key.kind && bk_tpl_eq(r, e->key, key)) return e;
  }
  return NULL;
}

bk_tv *bk_tpl_get(rt *r, struct tv_dict *d, bk_tv key) {
  uint64_t h = hash(r, key);
  struct tv_entry *e = find(r, d, key, h);
  return e ? &e->val : NULL;
}

bk_tv *bk_tpl_get_str(struct tv_dict *d, const char *s, size_t n, uint64_t h) {
  if (!d->index) {
    for (struct tv_entry *e = d->e, *end = e + d->n; e < end; e++)
      if (e->hash == h && e->key.kind == TV_STR && e->key.len == n && memcmp(e->key.u.s, s, n) == 0)
        return &e->val;
    return NULL;
  }
  for (uint64_t at = h & d->mask; d->index[at]; at = (at + 1) & d->mask) {
    struct tv_entry *e = &d->e[d->index[at] - 1];
    if (e->hash == h && e->key.kind == TV_STR && e->key.len == n && memcmp(e->key.u.s, s, n) == 0)
      return &e->val;
  }
  return NULL;
}

void bk_tpl_set(rt *r, struct tv_dict *d, bk_tv key, bk_tv v) {
  uint64_t h = hash(r, key);
  struct tv_entry *e = find(r, d, key, h);
  if (e) {
    e->val = v;
    return;
  }
  if (d->n == d->cap) { /* grow, dropping what was deleted */
    if (d->cap > UINT32_MAX / 8) bk_tpl_raise(r, "template.limit", "dict is too large");
    uint32_t cap = d->live >= 4 ? d->live * 2 : 8, n = 0;
    struct tv_entry *more = bk_tpl_alloc(r, sizeof *more * cap);
    for (uint32_t i = 0; i < d->n; i++)
      if (d->e[i].key.kind) more[n++] = d->e[i];
    d->e = more;
    d->n = n;
    d->cap = cap;
    d->index = NULL;
    if (cap > 8) reindex(r, d);
  }
  d->e[d->n++] = (struct tv_entry){.key = key, .val = v, .hash = h};
  d->live++;
  if (!d->index) return;
  uint64_t at = h & d->mask;
  while (d->index[at]) at = (at + 1) & d->mask;
  d->index[at] = d->n;
}

void bk_tv_put(rt *r, bk_tv dict, bk_tv key, bk_tv v) { bk_tpl_set(r, dict.u.d, key, v); }

bool bk_tpl_del(rt *r, struct tv_dict *d, bk_tv key, bk_tv *old) {
  struct tv_entry *e = find(r, d, key, hash(r, key));
  if (!e) return false;
  *old = e->val;
  e->key = tv_kind(TV_MISSING); /* the index keeps pointing here until the next growth */
  d->live--;
  return true;
}

void bk_tpl_clear(struct tv_dict *d) { *d = (struct tv_dict){.printing = d->printing}; }

/* --- undefined ------------------------------------------------------------------------------- */

static struct tv_undef *undef(rt *r, bk_tv *out) {
  struct tv_undef *u = bk_tpl_alloc(r, sizeof *u);
  *out = tv_ptr(TV_UNDEF, u);
  return u;
}

bk_tv bk_tpl_undef_name(rt *r, const struct tpl_sym *name) {
  bk_tv v;
  struct tv_undef *u = undef(r, &v);
  u->how = UNDEF_NAME;
  u->key = bk_tv_text(name->s, name->len);
  return v;
}

bk_tv bk_tpl_undef_attr(rt *r, bk_tv obj, bk_tv key) {
  bk_tv v;
  struct tv_undef *u = undef(r, &v);
  u->how = UNDEF_ATTR;
  u->obj = obj;
  u->key = key;
  return v;
}

bk_tv bk_tpl_undef_hint(rt *r, const char *fmt, ...) {
  bk_tv v;
  char msg[400];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  struct tv_undef *u = undef(r, &v);
  u->how = UNDEF_HINT;
  u->hint = bk_tv_copy(r, msg, n < 0 ? 0 : strlen(msg)).u.s;
  return v;
}

void bk_tpl_undefined(rt *r, bk_tv v) {
  static const char code[] = "template.undefined";
  const struct tv_undef *u = v.u.p;
  bk_tpl_hint_undefined(r, u);
  if (u->how == UNDEF_HINT) bk_tpl_raise(r, code, "%s", u->hint);
  int n = u->key.kind == TV_STR ? (int)(u->key.len > 200 ? 200 : u->key.len) : 0;
  if (u->how == UNDEF_NAME) bk_tpl_raise(r, code, "'%.*s' is undefined", n, u->key.u.s);
  const char *type = u->obj.kind == TV_NONE ? "None" : bk_tpl_type(u->obj);
  const char *object = u->obj.kind == TV_NONE ? "" : " object";
  if (u->key.kind == TV_STR)
    bk_tpl_raise(r, code, "'%s%s' has no attribute '%.*s'", type, object, n, u->key.u.s);
  bk_tv k = bk_tpl_repr(r, u->key);
  bk_tpl_raise(r, code, "%s%s has no element %.*s", type, object, (int)(k.len > 200 ? 200 : k.len),
               k.u.s);
}

void bk_tpl_lenient(rt *r, bk_tv v) {
  const struct tv_undef *u = v.u.p;
  if (r->env->opt.strict && !u->lenient) bk_tpl_undefined(r, v);
}

const char *bk_tpl_type(bk_tv v) {
  static const char *const names[] = {
      [TV_MISSING] = "missing", [TV_UNDEF] = "Undefined", [TV_NONE] = "NoneType",
      [TV_BOOL] = "bool", [TV_INT] = "int", [TV_FLOAT] = "float", [TV_STR] = "str",
      [TV_LIST] = "list", [TV_TUPLE] = "tuple", [TV_DICT] = "dict", [TV_HOST] = "function",
      [TV_RANGE] = "range", [TV_VIEW] = "dict_view", [TV_GEN] = "generator",
      [TV_NS] = "Namespace", [TV_FUNC] = "function", [TV_METHOD] = "method",
      [TV_MACRO] = "Macro", [TV_LOOP] = "LoopContext", [TV_CYCLER] = "Cycler",
      [TV_JOINER] = "Joiner", [TV_MODULE] = "TemplateModule", [TV_SELF] = "TemplateReference",
      [TV_BLOCK] = "BlockReference"};
  if (v.kind == TV_STR && v.flags & TVF_SAFE) return "Markup";
  if (v.kind == TV_VIEW) {
    char k = ((struct tv_view *)v.u.p)->kind;
    return k == 'k' ? "dict_keys" : k == 'v' ? "dict_values" : "dict_items";
  }
  return names[v.kind];
}

/* --- truth, equality, order ------------------------------------------------------------------ */

bool bk_tpl_truth(rt *r, bk_tv v) {
  switch (v.kind) {
    case TV_UNDEF: bk_tpl_lenient(r, v); return false;
    case TV_MISSING:
    case TV_NONE: return false;
    case TV_BOOL: return v.u.b;
    case TV_INT: return v.u.i != 0;
    case TV_FLOAT: return v.u.f != 0;
    case TV_STR: return v.len > 0;
    case TV_LIST:
    case TV_TUPLE:
    case TV_DICT:
    case TV_VIEW:
    case TV_RANGE: return bk_tpl_len(r, v) > 0;
    default: return true;
  }
}

/* Exact comparison of an integer with a double: -1, 0, 1; 2 for NaN. */
static int cmp_mixed(int64_t i, double f) {
  if (isnan(f)) return 2;
  if (f >= 9223372036854775808.0) return -1;
  if (f < -9223372036854775808.0) return 1;
  int64_t t = (int64_t)f;
  if (i != t) return i < t ? -1 : 1;
  double frac = f - (double)t;
  return frac > 0 ? -1 : frac < 0 ? 1 : 0;
}

static int cmp_num(bk_tv a, bk_tv b) {
  if (a.kind == TV_FLOAT && b.kind == TV_FLOAT) {
    if (isnan(a.u.f) || isnan(b.u.f)) return 2;
    return a.u.f < b.u.f ? -1 : a.u.f > b.u.f;
  }
  if (a.kind == TV_FLOAT) {
    int c = cmp_mixed(tv_i64(b), a.u.f);
    return c == 2 ? 2 : -c;
  }
  if (b.kind == TV_FLOAT) return cmp_mixed(tv_i64(a), b.u.f);
  return tv_i64(a) < tv_i64(b) ? -1 : tv_i64(a) > tv_i64(b);
}

static int cmp_str(bk_tv a, bk_tv b) { /* the order of bytes is that of code points */
  uint32_t n = a.len < b.len ? a.len : b.len;
  int c = n ? memcmp(a.u.s, b.u.s, n) : 0;
  return c ? (c < 0 ? -1 : 1) : a.len < b.len ? -1 : a.len > b.len;
}

static bool eq_dict(rt *r, struct tv_dict *a, struct tv_dict *b) {
  if (a == b) return true;
  if (a->live != b->live) return false;
  for (uint32_t i = 0; i < a->n; i++) {
    if (!a->e[i].key.kind) continue;
    bk_tpl_step(r, 1);
    struct tv_entry *e = find(r, b, a->e[i].key, a->e[i].hash);
    if (!e || !bk_tpl_eq(r, a->e[i].val, e->val)) return false;
  }
  return true;
}

static bool eq_range(const struct tv_range *a, const struct tv_range *b) {
  return a->n == b->n && (a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

bool bk_tpl_eq(rt *r, bk_tv a, bk_tv b) {
  if (a.kind == TV_UNDEF) bk_tpl_lenient(r, a);
  if (b.kind == TV_UNDEF) bk_tpl_lenient(r, b);
  if (a.kind == TV_STR && b.kind == TV_STR)
    return a.len == b.len && (a.u.s == b.u.s || memcmp(a.u.s, b.u.s, a.len) == 0);
  if (tv_num(a) && tv_num(b)) return cmp_num(a, b) == 0;
  if (a.kind != b.kind) return false;
  bk_tpl_guard(r);
  switch (a.kind) {
    case TV_UNDEF:
    case TV_NONE: return true;
    case TV_LIST:
    case TV_TUPLE: {
      struct tv_list *x = bk_tpl_l(r, a), *y = bk_tpl_l(r, b);
      if (x->n != y->n) return false;
      for (uint32_t i = 0; i < x->n; i++) {
        bk_tpl_step(r, 1);
        if (!bk_tpl_eq(r, x->v[i], y->v[i])) return false;
      }
      return true;
    }
    case TV_DICT: return eq_dict(r, bk_tpl_d(r, a), bk_tpl_d(r, b));
    case TV_RANGE: return eq_range(a.u.p, b.u.p);
    case TV_METHOD: {
      const struct tv_method *x = a.u.p, *y = b.u.p;
      return x->fn == y->fn && bk_tpl_eq(r, x->self, y->self);
    }
    default: return a.u.i == b.u.i;
  }
}

int bk_tpl_cmp(rt *r, bk_tv a, bk_tv b, const char *op) {
  if (a.kind == TV_UNDEF) bk_tpl_undefined(r, a);
  if (b.kind == TV_UNDEF) bk_tpl_undefined(r, b);
  if (a.kind == TV_STR && b.kind == TV_STR) return cmp_str(a, b);
  if (tv_num(a) && tv_num(b)) return cmp_num(a, b);
  if (a.kind != b.kind || !tv_seq(a))
    bk_tpl_bad(r, "'%s' not supported between instances of '%s' and '%s'", op, bk_tpl_type(a),
               bk_tpl_type(b));
  bk_tpl_guard(r);
  struct tv_list *x = bk_tpl_l(r, a), *y = bk_tpl_l(r, b);
  for (uint32_t i = 0; i < x->n && i < y->n; i++) {
    bk_tpl_step(r, 1);
    if (!bk_tpl_eq(r, x->v[i], y->v[i])) return bk_tpl_cmp(r, x->v[i], y->v[i], op);
  }
  return x->n < y->n ? -1 : x->n > y->n;
}

int64_t bk_tpl_as_int(rt *r, bk_tv v, const char *what) {
  if (tv_integral(v)) return tv_i64(v);
  if (v.kind == TV_UNDEF) bk_tpl_undefined(r, v);
  bk_tpl_bad(r, "%s must be an integer, not '%s'", what, bk_tpl_type(v));
}
