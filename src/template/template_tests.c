/* Tests: what stands after `is`. */
#include "template/template_run.h"

#define TEST(name, expr) \
  static bk_tv t_##name(rt *r, bk_tv *a) { return (void)r, bk_tv_bool(expr); }

static bool truthy_is(bk_tv v, bool b) { return v.kind == TV_BOOL && v.u.b == b; }
static bool cased(rt *r, bk_tv v, const char *cls, const char *other) {
  v = bk_tpl_str(r, v);
  bool any = false;
  for (const char *p = v.u.s, *end = p + v.len; p < end;) {
    size_t n;
    int32_t c = bk_tpl_u8get(p, end, &n);
    if (bk_tpl_cp_is(c, other)) return false;
    any = any || bk_tpl_cp_is(c, cls);
    p += n;
  }
  return any;
}
static bool callable(bk_tv v) {
  return v.kind == TV_FUNC || v.kind == TV_METHOD || v.kind == TV_MACRO || v.kind == TV_HOST ||
         v.kind == TV_BLOCK || v.kind == TV_LOOP || v.kind == TV_JOINER || v.kind == TV_UNDEF;
}
static bool sequence(const rt *r, bk_tv v) {
  if (v.kind == TV_UNDEF) return !r->env->opt.strict || ((struct tv_undef *)v.u.p)->lenient;
  return v.kind == TV_STR || tv_seq(v) || v.kind == TV_DICT || v.kind == TV_RANGE;
}
static int64_t mod(rt *r, bk_tv v, int64_t by) {
  bk_tv m = bk_tpl_binary(r, T_MOD, v, bk_tv_int(by));
  return m.kind == TV_FLOAT ? (m.u.f == 0 ? 0 : m.u.f == 1 ? 1 : 2) : m.u.i;
}
static bool same(bk_tv a, bk_tv b) {
  if (a.kind != b.kind) return false;
  if (a.kind == TV_STR) return a.len == b.len && memcmp(a.u.s, b.u.s, a.len) == 0;
  if (a.kind == TV_NONE) return true;
  if (a.kind == TV_BOOL) return a.u.b == b.u.b;
  return a.u.i == b.u.i;
}
static bk_tv first(rt *r, bk_tv v) {
  if (v.kind == TV_UNDEF) bk_tpl_undefined(r, v);
  return v;
}

TEST(defined, a[0].kind != TV_UNDEF)
TEST(undefined, a[0].kind == TV_UNDEF)
TEST(none, a[0].kind == TV_NONE)
TEST(boolean, a[0].kind == TV_BOOL)
TEST(true, truthy_is(a[0], true))
TEST(false, truthy_is(a[0], false))
TEST(integer, a[0].kind == TV_INT)
TEST(float, a[0].kind == TV_FLOAT)
TEST(number, tv_num(a[0]))
TEST(string, a[0].kind == TV_STR)
TEST(mapping, a[0].kind == TV_DICT)
TEST(iterable, bk_tpl_iterable(a[0]) && (a[0].kind != TV_UNDEF || (bk_tpl_lenient(r, a[0]), true)))
TEST(sequence, sequence(r, a[0]))
TEST(callable, callable(a[0]))
TEST(escaped, a[0].kind == TV_STR && a[0].flags & TVF_SAFE)
TEST(lower, cased(r, a[0], "lower", "upper"))
TEST(upper, cased(r, a[0], "upper", "lower"))
TEST(odd, mod(r, first(r, a[0]), 2) == 1)
TEST(even, mod(r, first(r, a[0]), 2) == 0)
TEST(divisibleby, !bk_tpl_truth(r, bk_tpl_binary(r, T_MOD, first(r, a[0]), a[1])))
TEST(sameas, same(a[0], a[1]))
TEST(eq, bk_tpl_eq(r, a[0], a[1]))
TEST(ne, !bk_tpl_eq(r, a[0], a[1]))
TEST(lt, bk_tpl_cmp(r, a[0], a[1], "<") == -1)
TEST(gt, bk_tpl_cmp(r, a[0], a[1], ">") == 1)
TEST(le, (unsigned)(bk_tpl_cmp(r, a[0], a[1], "<=") + 1) <= 1)
TEST(ge, (unsigned)bk_tpl_cmp(r, a[0], a[1], ">=") <= 1)
TEST(in, bk_tpl_contains(r, a[1], a[0]))

static bk_tv t_filter(rt *r, bk_tv *a) {
  if (a[0].kind != TV_STR) return bk_tv_bool(false);
  return bk_tv_bool(bk_tpl_find_filter(r->env, a[0].u.s, a[0].len) ||
                    bk_map_has(&r->env->filters, a[0].u.s, a[0].len));
}
static bk_tv t_test(rt *r, bk_tv *a) {
  if (a[0].kind != TV_STR) return bk_tv_bool(false);
  return bk_tv_bool(bk_tpl_find_test(a[0].u.s, a[0].len) ||
                    bk_map_has(&r->env->tests, a[0].u.s, a[0].len));
}

#define ONE(n, f) {.name = n, .fn = f, .need = 1, .params = {"value"}}
#define TWO(n, f) {.name = n, .fn = f, .need = 2, .params = {"value", "other"}}
const struct tpl_fn bk_tpl_tests[] = {
    ONE("defined", t_defined), ONE("undefined", t_undefined), ONE("none", t_none),
    ONE("boolean", t_boolean), ONE("true", t_true), ONE("false", t_false),
    ONE("integer", t_integer), ONE("float", t_float), ONE("number", t_number),
    ONE("string", t_string), ONE("mapping", t_mapping), ONE("iterable", t_iterable),
    ONE("sequence", t_sequence), ONE("callable", t_callable), ONE("escaped", t_escaped),
    ONE("lower", t_lower), ONE("upper", t_upper), ONE("odd", t_odd), ONE("even", t_even),
    ONE("filter", t_filter), ONE("test", t_test),
    {.name = "divisibleby", .fn = t_divisibleby, .need = 2, .params = {"value", "num"}},
    TWO("sameas", t_sameas), TWO("eq", t_eq), TWO("equalto", t_eq), TWO("==", t_eq),
    TWO("ne", t_ne), TWO("!=", t_ne), TWO("lt", t_lt), TWO("lessthan", t_lt), TWO("<", t_lt),
    TWO("gt", t_gt), TWO("greaterthan", t_gt), TWO(">", t_gt), TWO("le", t_le), TWO("<=", t_le),
    TWO("ge", t_ge), TWO(">=", t_ge),
    {.name = "in", .fn = t_in, .need = 2, .params = {"value", "seq"}},
    {.name = NULL},
};
