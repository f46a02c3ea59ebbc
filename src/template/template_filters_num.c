/* Filters on numbers, and tojson. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "template/template_run.h"

static bk_tv f_abs(rt *r, bk_tv *a) {
  if (a[0].kind == TV_UNDEF) bk_tpl_undefined(r, a[0]);
  if (a[0].kind == TV_FLOAT) return bk_tv_float(fabs(a[0].u.f));
  if (!tv_integral(a[0])) bk_tpl_bad(r, "abs(): expected a number, got '%s'", bk_tpl_type(a[0]));
  int64_t i = tv_i64(a[0]);
  return i < 0 ? bk_tpl_unary(r, N_NEG, a[0]) : bk_tv_int(i);
}

/* --- reading numbers ------------------------------------------------------------------------- */

/* The text without outer blanks and with underscores between digits removed; false: malformed. */
static bool plain_number(bk_tv s, char *buf, size_t cap) {
  s = bk_tpl_strip(s, tv_kind(TV_MISSING), 3);
  size_t n = 0;
  if (!s.len || s.len >= cap) return false;
  for (uint32_t i = 0; i < s.len; i++) {
    char c = s.u.s[i];
    if (c == '_') {
      bool between = i > 0 && i + 1 < s.len && bk_tpl_cp_is(s.u.s[i - 1], "alnum") &&
                     bk_tpl_cp_is(s.u.s[i + 1], "alnum");
      if (!between) return false;
      continue;
    }
    if (c <= ' ' || c & 0x80) return false;
    buf[n++] = c;
  }
  buf[n] = '\0';
  return true;
}

static bool text_to_float(bk_tv s, double *f) {
  char buf[400], *end;
  if (!plain_number(s, buf, sizeof buf) || strpbrk(buf, "xXpP(")) return false;
  *f = strtod(buf, &end);
  return *end == '\0';
}

static int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  return c >= 'A' && c <= 'Z' ? c - 'A' + 10 : 99;
}

static bool text_to_int(rt *r, bk_tv s, int64_t base, int64_t *out) {
  char buf[400];
  if (!plain_number(s, buf, sizeof buf)) return false;
  const char *p = buf;
  bool neg = *p == '-';
  if (*p == '-' || *p == '+') p++;
  char c = p[0] == '0' ? (char)(p[1] | 32) : 0;
  int prefix = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
  if (prefix && (base == prefix || base == 0)) {
    p += 2;
    base = prefix;
  } else if (base == 0) {
    base = 10;
    if (p[0] == '0' && strspn(p, "0") != strlen(p)) return false;
  }
  if (!*p) return false;
  int64_t v = 0;
  bool over = false;
  for (; *p; p++) {
    int d = digit_of(*p);
    if (d >= base) return false;
    over = over || __builtin_mul_overflow(v, base, &v) ||
           __builtin_add_overflow(v, neg ? -d : d, &v);
  }
  if (over) bk_tpl_bad(r, "integer overflow: '%s' needs more than 64 bits", buf);
  *out = v;
  return true;
}

static int64_t float_to_int(rt *r, double f) {
  if (!(fabs(f) < 9223372036854775808.0))
    bk_tpl_bad(r, "cannot convert float %s to a 64-bit integer",
               isinf(f) ? "infinity" : isnan(f) ? "NaN" : "of this size");
  return (int64_t)f;
}

static bk_tv f_int(rt *r, bk_tv *a) {
  bk_tv def = tv_given(a[1]) ? a[1] : bk_tv_int(0);
  int64_t base = tv_given(a[2]) ? bk_tpl_as_int(r, a[2], "int(): base") : 10, i;
  double f;
  if (a[0].kind == TV_UNDEF) bk_tpl_undefined(r, a[0]);
  if (tv_integral(a[0])) return bk_tv_int(tv_i64(a[0]));
  if (a[0].kind == TV_FLOAT) return isnan(a[0].u.f) ? def : bk_tv_int(float_to_int(r, a[0].u.f));
  if (a[0].kind != TV_STR) return def;
  if (base != 0 && (base < 2 || base > 36)) base = 10; /* Python's ValueError leads to the float */
  else if (text_to_int(r, a[0], base, &i)) return bk_tv_int(i);
  if (!text_to_float(a[0], &f) || isnan(f) || isinf(f)) return def;
  return bk_tv_int(float_to_int(r, f));
}

static bk_tv f_float(rt *r, bk_tv *a) {
  double f;
  if (a[0].kind == TV_UNDEF) bk_tpl_undefined(r, a[0]);
  if (a[0].kind == TV_FLOAT) return a[0];
  if (tv_integral(a[0])) return bk_tv_float((double)tv_i64(a[0]));
  if (a[0].kind == TV_STR && text_to_float(a[0], &f)) return bk_tv_float(f);
  return tv_given(a[1]) ? a[1] : bk_tv_float(0);
}

/* --- rounding -------------------------------------------------------------------------------- */

static int64_t round_int(rt *r, int64_t v, int64_t digits) {
  if (digits >= 0) return v;
  if (digits < -18) return 0;
  int64_t p = 1;
  for (; digits < 0; digits++) p *= 10;
  int64_t m = v % p;
  if (m < 0) m += p;
  int64_t low = v - m; /* may leave the range at the very ends */
  if (v < INT64_MIN + p) bk_tpl_bad(r, "integer overflow in round()");
  bool up = m > p - m || (m == p - m && (low / p) % 2 != 0);
  if (up && __builtin_add_overflow(low, p, &low)) bk_tpl_bad(r, "integer overflow in round()");
  return low;
}

static double round_float(double f, int64_t digits) {
  char buf[500];
  if (!isfinite(f) || digits > 323) return f;
  if (digits >= 0) {
    snprintf(buf, sizeof buf, "%.*f", (int)digits, f); /* exact, ties to even */
    return digits > 150 ? f : strtod(buf, NULL);
  }
  if (digits < -308) return copysign(0, f);
  double p = pow(10, (double)-digits), q = f / p, n = nearbyint(q);
  if (fabs(q - trunc(q)) == 0.5) n = 2 * nearbyint(q / 2);
  return n * p;
}

static bk_tv f_round(rt *r, bk_tv *a) {
  int64_t digits = tv_given(a[1]) ? bk_tpl_as_int(r, a[1], "round(): precision") : 0;
  bk_tv how = tv_given(a[2]) ? a[2] : tv_strz("common"), v = a[0];
  bool ceiling = tv_is(how, "ceil");
  if (!tv_is(how, "common") && !ceiling && !tv_is(how, "floor"))
    bk_tpl_bad(r, "round(): method must be 'common', 'ceil' or 'floor'");
  if (v.kind == TV_UNDEF) bk_tpl_undefined(r, v);
  if (!tv_num(v)) bk_tpl_bad(r, "round(): expected a number, got '%s'", bk_tpl_type(v));
  if (tv_is(how, "common"))
    return v.kind == TV_FLOAT ? bk_tv_float(round_float(v.u.f, digits))
                              : bk_tv_int(round_int(r, tv_i64(v), digits));
  bk_tv p = bk_tpl_binary(r, T_POW, bk_tv_int(10), bk_tv_int(digits));
  v = bk_tpl_binary(r, T_MUL, v, p);
  if (v.kind == TV_FLOAT) {
    if (!isfinite(v.u.f)) bk_tpl_bad(r, "round(): cannot convert float infinity or NaN to integer");
    double f = ceiling ? ceil(v.u.f) : floor(v.u.f);
    v = fabs(f) < 9e18 ? bk_tv_int((int64_t)f) : bk_tv_float(f);
  }
  return bk_tpl_binary(r, T_DIV, v, p);
}

static bk_tv f_filesizeformat(rt *r, bk_tv *a) {
  static const char letters[] = "kMGTPEZY";
  bool binary = tv_given(a[1]) && bk_tpl_truth(r, a[1]);
  bk_tv v = f_float(r, (bk_tv[]){a[0], bk_tv_none()});
  if (v.kind != TV_FLOAT) bk_tpl_bad(r, "filesizeformat(): expected a number");
  double n = v.u.f, base = binary ? 1024 : 1000;
  long double unit = base * base; /* 1000^9 is exact in it */
  char buf[400];
  if (n == 1) return tv_strz("1 Byte");
  if (n < base) {
    snprintf(buf, sizeof buf, "%lld Bytes", (long long)float_to_int(r, n));
    return bk_tv_copy(r, buf, strlen(buf));
  }
  size_t i = 0;
  for (; i < 7 && n >= unit; i++) unit *= base;
  char letter = binary && i == 0 ? 'K' : letters[i];
  snprintf(buf, sizeof buf, "%.1f %c%sB", base * n / (double)unit, letter, binary ? "i" : "");
  return bk_tv_copy(r, buf, strlen(buf));
}

/* --- tojson ---------------------------------------------------------------------------------- */

static void json_string(rt *r, bk_tv s) {
  char buf[16];
  bk_tpl_put(r, "\"", 1);
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    size_t n;
    int32_t c = bk_tpl_u8get(p, end, &n);
    if (c < 0) c = 0xdc00 + (unsigned char)*p;
    const char *esc = c == '"' ? "\\\"" : c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r"
                    : c == '\t' ? "\\t" : c == '\b' ? "\\b" : c == '\f' ? "\\f" : NULL;
    if (esc) {
      bk_tpl_puts(r, esc);
    } else if (c >= ' ' && c < 0x7f && c != '<' && c != '>' && c != '&' && c != '\'') {
      bk_tpl_put(r, p, 1);
    } else {
      if (c > 0xffff) {
        snprintf(buf, sizeof buf, "\\u%04x\\u%04x", 0xd800 + ((unsigned)(c - 0x10000) >> 10),
                 0xdc00 + ((unsigned)(c - 0x10000) & 0x3ff));
      } else {
        snprintf(buf, sizeof buf, "\\u%04x", (unsigned)c);
      }
      bk_tpl_puts(r, buf);
    }
    p += n;
  }
  bk_tpl_put(r, "\"", 1);
}

static void json(rt *r, bk_tv v, bk_tv indent, uint32_t level);

static void json_break(rt *r, bk_tv indent, uint32_t level) {
  if (!tv_given(indent)) return;
  bk_tpl_put(r, "\n", 1);
  for (uint32_t i = 0; i < level; i++) bk_tpl_put_text(r, indent);
}

static void json_list(rt *r, struct tv_list *l, bk_tv indent, uint32_t level) {
  if (l->printing) bk_tpl_bad(r, "tojson(): circular reference");
  l->printing = true;
  bk_tpl_put(r, "[", 1);
  for (uint32_t i = 0; i < l->n; i++) {
    if (i) bk_tpl_puts(r, tv_given(indent) ? "," : ", ");
    json_break(r, indent, level + 1);
    json(r, l->v[i], indent, level + 1);
  }
  if (l->n) json_break(r, indent, level);
  bk_tpl_put(r, "]", 1);
  l->printing = false;
}

static bk_tv json_key(rt *r, bk_tv k) {
  if (k.kind == TV_STR) return k;
  if (k.kind == TV_BOOL) return tv_strz(k.u.b ? "true" : "false");
  if (k.kind == TV_NONE) return tv_strz("null");
  if (!tv_num(k))
    bk_tpl_bad(r, "tojson(): keys must be strings or numbers, not '%s'", bk_tpl_type(k));
  return bk_tpl_str(r, k);
}

static void json_dict(rt *r, bk_tv v, bk_tv indent, uint32_t level) {
  struct tv_dict *d = bk_tpl_d(r, v);
  bk_tv keys = bk_tpl_list(r, d->live), pairs = bk_tpl_list(r, d->live), k, x;
  if (d->printing) bk_tpl_bad(r, "tojson(): circular reference");
  d->printing = true;
  for (size_t at = 0; bk_tv_pair(r, v, &at, &k, &x);) {
    bk_tpl_push(r, keys.u.l, k);
    bk_tpl_push(r, pairs.u.l, x);
  }
  uint32_t n = keys.u.l->n;
  bk_tv *copy = bk_tpl_alloc(r, sizeof *copy * (n + 1));
  if (n) memcpy(copy, keys.u.l->v, sizeof *copy * n);
  bk_tpl_sort(r, pairs.u.l->v, copy, n, false);
  bk_tpl_put(r, "{", 1);
  for (uint32_t i = 0; i < n; i++) {
    if (i) bk_tpl_puts(r, tv_given(indent) ? "," : ", ");
    json_break(r, indent, level + 1);
    json_string(r, json_key(r, copy[i]));
    bk_tpl_puts(r, ": ");
    json(r, pairs.u.l->v[i], indent, level + 1);
  }
  if (n) json_break(r, indent, level);
  bk_tpl_put(r, "}", 1);
  d->printing = false;
}

static void json(rt *r, bk_tv v, bk_tv indent, uint32_t level) {
  bk_tpl_guard(r);
  switch (v.kind) {
    case TV_NONE: bk_tpl_puts(r, "null"); return;
    case TV_BOOL: bk_tpl_puts(r, v.u.b ? "true" : "false"); return;
    case TV_INT: bk_tpl_put_text(r, v); return;
    case TV_FLOAT:
      if (isfinite(v.u.f)) bk_tpl_put_text(r, v);
      else bk_tpl_puts(r, isnan(v.u.f) ? "NaN" : v.u.f < 0 ? "-Infinity" : "Infinity");
      return;
    case TV_STR: json_string(r, v); return;
    case TV_LIST:
    case TV_TUPLE: json_list(r, bk_tpl_l(r, v), indent, level); return;
    case TV_DICT: json_dict(r, v, indent, level); return;
    case TV_UNDEF: bk_tpl_undefined(r, v);
    default:
      bk_tpl_bad(r, "tojson(): object of type '%s' is not JSON serializable", bk_tpl_type(v));
  }
}

static bk_tv f_tojson(rt *r, bk_tv *a) {
  bk_tv indent = tv_kind(TV_MISSING);
  if (tv_given(a[1]) && a[1].kind != TV_NONE) {
    indent = a[1];
    if (indent.kind != TV_STR) {
      int64_t n = bk_tpl_as_int(r, indent, "tojson(): indent");
      indent = bk_tpl_binary(r, T_MUL, bk_tv_text(" ", 1), bk_tv_int(n));
    }
  }
  size_t mark = bk_tpl_begin(r);
  json(r, a[0], indent, 0);
  bk_tv v = bk_tpl_end(r, mark);
  v.flags |= TVF_SAFE;
  return v;
}

const struct tpl_fn bk_tpl_filters_num[] = {
    {.name = "abs", .fn = f_abs, .need = 1, .params = {"x"}},
    {.name = "int", .fn = f_int, .need = 1, .params = {"value", "default", "base"}},
    {.name = "float", .fn = f_float, .need = 1, .params = {"value", "default"}},
    {.name = "round", .fn = f_round, .need = 1, .params = {"value", "precision", "method"}},
    {.name = "filesizeformat", .fn = f_filesizeformat, .need = 1, .params = {"value", "binary"}},
    {.name = "tojson", .fn = f_tojson, .need = 1, .params = {"value", "indent"}},
    {.name = NULL},
};
