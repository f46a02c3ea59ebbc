/* Arithmetic with Python's rules on 64-bit integers; leaving their range is an error. */
#include <math.h>

#include "template/template_run.h"

static _Noreturn void overflow(rt *r) {
  bk_tpl_bad(r, "integer overflow: result needs more than 64 bits");
}
static _Noreturn void by_zero(rt *r) { bk_tpl_bad(r, "division by zero"); }

static const char *symbol(enum tok op) {
  switch (op) {
    case T_ADD: return "+";
    case T_SUB: return "-";
    case T_MUL: return "*";
    case T_DIV: return "/";
    case T_FLOORDIV: return "//";
    case T_MOD: return "%";
    default: return "** or pow()";
  }
}

static double as_float(bk_tv v) { return v.kind == TV_FLOAT ? v.u.f : (double)tv_i64(v); }

static double float_mod(double a, double b, double *div) {
  double mod = fmod(a, b), d = (a - mod) / b;
  if (mod != 0) {
    if ((b < 0) != (mod < 0)) mod += b, d -= 1;
  } else {
    mod = copysign(0, b);
  }
  if (d != 0) {
    double f = floor(d);
    *div = d - f > 0.5 ? f + 1 : f;
  } else {
    *div = copysign(0, a / b);
  }
  return mod;
}

static bk_tv float_op(rt *r, enum tok op, double a, double b) {
  double div, v;
  switch (op) {
    case T_ADD: return bk_tv_float(a + b);
    case T_SUB: return bk_tv_float(a - b);
    case T_MUL: return bk_tv_float(a * b);
    case T_POW:
      if (a == 0 && b < 0) bk_tpl_bad(r, "0.0 cannot be raised to a negative power");
      if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b))
        bk_tpl_bad(r, "a negative number to a fractional power is not a real number");
      v = pow(a, b);
      if (isinf(v) && isfinite(a) && isfinite(b)) bk_tpl_bad(r, "result of ** is too large");
      return bk_tv_float(v);
    default: break;
  }
  if (b == 0) by_zero(r);
  if (op == T_DIV) return bk_tv_float(a / b);
  v = float_mod(a, b, &div);
  return bk_tv_float(op == T_MOD ? v : div);
}

static int64_t int_pow(rt *r, int64_t base, int64_t exp) {
  int64_t v = 1;
  if (base == 0 || base == 1 || exp == 0) return exp == 0 ? 1 : base;
  if (base == -1) return exp & 1 ? -1 : 1;
  if (exp > 63) overflow(r);
  for (; exp; exp--)
    if (__builtin_mul_overflow(v, base, &v)) overflow(r);
  return v;
}

static bk_tv int_op(rt *r, enum tok op, int64_t a, int64_t b) {
  int64_t v;
  switch (op) {
    case T_ADD:
      if (__builtin_add_overflow(a, b, &v)) overflow(r);
      return bk_tv_int(v);
    case T_SUB:
      if (__builtin_sub_overflow(a, b, &v)) overflow(r);
      return bk_tv_int(v);
    case T_MUL:
      if (__builtin_mul_overflow(a, b, &v)) overflow(r);
      return bk_tv_int(v);
    case T_POW:
      if (b < 0) return float_op(r, op, (double)a, (double)b);
      return bk_tv_int(int_pow(r, a, b));
    default: break;
  }
  if (b == 0) by_zero(r);
  if (op == T_DIV) return bk_tv_float((double)a / (double)b);
  if (b == -1) {
    if (op == T_MOD) return bk_tv_int(0);
    if (a == INT64_MIN) overflow(r);
    return bk_tv_int(-a);
  }
  int64_t q = a / b, m = a % b;
  if (m != 0 && (m < 0) != (b < 0)) q--, m += b;
  return bk_tv_int(op == T_MOD ? m : q);
}

static bk_tv join_str(rt *r, bk_tv a, bk_tv b) {
  bool safe = (a.flags | b.flags) & TVF_SAFE;
  if (safe) {
    a = bk_tpl_escape(r, a);
    b = bk_tpl_escape(r, b);
  }
  bk_tpl_size(r, (uint64_t)a.len + b.len);
  char *p = bk_tpl_alloc(r, (size_t)a.len + b.len + 1);
  if (a.len) memcpy(p, a.u.s, a.len);
  if (b.len) memcpy(p + a.len, b.u.s, b.len);
  bk_tv v = bk_tv_text(p, (size_t)a.len + b.len);
  if (safe) v.flags = TVF_SAFE;
  return v;
}

static bk_tv join_list(rt *r, bk_tv a, bk_tv b) {
  struct tv_list *x = bk_tpl_l(r, a), *y = bk_tpl_l(r, b);
  bk_tpl_step(r, (x->n + (uint64_t)y->n) / 16);
  bk_tv v = bk_tpl_list(r, x->n + y->n);
  v.kind = a.kind;
  for (uint32_t i = 0; i < x->n; i++) bk_tpl_push(r, v.u.l, x->v[i]);
  for (uint32_t i = 0; i < y->n; i++) bk_tpl_push(r, v.u.l, y->v[i]);
  return v;
}

static bk_tv repeat(rt *r, bk_tv a, int64_t n) {
  if (n < 0) n = 0;
  if (a.kind == TV_STR) {
    __int128 total = (__int128)a.len * n;
    bk_tpl_size(r, total > INT64_MAX ? UINT64_MAX : (uint64_t)total);
    char *p = bk_tpl_alloc(r, (size_t)total + 1);
    for (int64_t i = 0; a.len && i < n; i++) memcpy(p + i * a.len, a.u.s, a.len);
    return tv_like(bk_tv_text(p, (size_t)total), a);
  }
  struct tv_list *l = bk_tpl_l(r, a);
  if ((__int128)l->n * n > r->env->opt.limits.range)
    bk_tpl_raise(r, "template.limit", "a list of more than %lld elements is refused",
                 (long long)r->env->opt.limits.range);
  bk_tv v = bk_tpl_list(r, (uint32_t)(l->n * n));
  v.kind = a.kind;
  for (int64_t i = 0; l->n && i < n; i++)
    for (uint32_t k = 0; k < l->n; k++) bk_tpl_push(r, v.u.l, l->v[k]);
  return v;
}

bk_tv bk_tpl_binary(rt *r, enum tok op, bk_tv a, bk_tv b) {
  if (tv_integral(a) && tv_integral(b)) return int_op(r, op, tv_i64(a), tv_i64(b));
  if (tv_num(a) && tv_num(b)) return float_op(r, op, as_float(a), as_float(b));
  if (a.kind == TV_UNDEF) bk_tpl_undefined(r, a);
  if (op == T_MOD && a.kind == TV_STR) return bk_tpl_percent(r, a, b);
  if (b.kind == TV_UNDEF) bk_tpl_undefined(r, b);
  if (op == T_ADD && a.kind == b.kind) {
    if (a.kind == TV_STR) return join_str(r, a, b);
    if (tv_seq(a)) return join_list(r, a, b);
  }
  if (op == T_MUL) {
    if ((a.kind == TV_STR || tv_seq(a)) && tv_integral(b)) return repeat(r, a, tv_i64(b));
    if ((b.kind == TV_STR || tv_seq(b)) && tv_integral(a)) return repeat(r, b, tv_i64(a));
  }
  bk_tpl_bad(r, "unsupported operand types for %s: '%s' and '%s'", symbol(op), bk_tpl_type(a),
             bk_tpl_type(b));
}

bk_tv bk_tpl_unary(rt *r, enum node_op op, bk_tv a) {
  if (a.kind == TV_UNDEF) bk_tpl_undefined(r, a);
  if (a.kind == TV_FLOAT) return op == N_NEG ? bk_tv_float(-a.u.f) : a;
  if (!tv_integral(a))
    bk_tpl_bad(r, "bad operand type for unary %c: '%s'", op == N_NEG ? '-' : '+', bk_tpl_type(a));
  return op == N_NEG ? int_op(r, T_SUB, 0, tv_i64(a)) : bk_tv_int(tv_i64(a));
}
