/* Python's two ways of formatting: "…" % args and "…".format(…). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "template/template_run.h"

#define MAX_PRECISION 4000

struct spec { /* of one field, in either notation */
  char fill[5];
  uint8_t fill_len;
  char align; /* < > = ^ or 0 */
  char sign;  /* + - space or 0 */
  bool alt, zero;
  char group; /* , _ or 0 */
  int64_t width, prec; /* -1: not given */
  char type;  /* 0: none */
};

static void put_n(rt *r, const char *s, size_t n, int64_t times) {
  if (times > 0) bk_tpl_size(r, (uint64_t)times);
  while (times-- > 0) bk_tpl_put(r, s, n);
}

static void put_text_field(rt *r, const struct spec *f, bk_tv s) {
  if (f->prec >= 0) s = bk_tpl_sub(s, 0, (size_t)f->prec);
  int64_t pad = f->width - (int64_t)bk_tpl_chars(s), left = 0;
  if (pad < 0) pad = 0;
  if (f->align == '>' || f->align == '=') left = pad;
  if (f->align == '^') left = pad / 2;
  put_n(r, f->fill, f->fill_len, left);
  bk_tpl_put(r, s.u.s, s.len);
  put_n(r, f->fill, f->fill_len, pad - left);
}

/* digits with a separator between groups, counted from the end; zeros in front until `width`. */
static bk_tv group_digits(rt *r, const char *digits, size_t n, char sep, int size, int64_t width) {
  if (!sep && width <= (int64_t)n) return bk_tv_text(digits, n);
  size_t room = n + (width > 0 ? (size_t)width : 0);
  bk_tpl_size(r, room);
  char *buf = bk_tpl_alloc(r, room * 2 + 2), *end = buf + room * 2 + 2, *p = end;
  size_t left = n;
  int64_t put = 0;
  int run = 0;
  while (left || put < width) {
    if (sep && run == size) {
      *--p = sep;
      put++;
      run = 0;
      if (!left && put >= width) { /* a separator never comes first: one zero more */
        *--p = '0';
        break;
      }
    }
    *--p = left ? digits[--left] : '0';
    put++;
    run++;
  }
  return bk_tv_text(p, (size_t)(end - p));
}

/* sign, prefix and digits (whose first `whole` are the integer part) padded to the width. */
static void put_number(rt *r, const struct spec *f, const char *sign, const char *prefix,
                       const char *digits, size_t n, size_t whole, int group) {
  size_t head = strlen(sign) + strlen(prefix), tail = n - whole;
  bool inner = f->align == '=';
  bool zeros = inner && f->fill_len == 1 && f->fill[0] == '0';
  int64_t want = zeros ? f->width - (int64_t)(head + tail) : 0;
  bk_tv d = group_digits(r, digits, whole, f->group, group, want);
  int64_t pad = f->width - (int64_t)(head + d.len + tail), left;
  if (pad < 0) pad = 0;
  left = f->align == '<' ? 0 : f->align == '^' ? pad / 2 : pad;
  if (!inner) put_n(r, f->fill, f->fill_len, left);
  bk_tpl_puts(r, sign);
  bk_tpl_puts(r, prefix);
  if (inner) put_n(r, f->fill, f->fill_len, left);
  bk_tpl_put(r, d.u.s, d.len);
  bk_tpl_put(r, digits + whole, tail);
  put_n(r, f->fill, f->fill_len, pad - left);
}

static const char *sign_of(const struct spec *f, bool negative) {
  return negative ? "-" : f->sign == '+' ? "+" : f->sign == ' ' ? " " : "";
}

static void put_int_field(rt *r, const struct spec *f, int64_t v, bool percent) {
  char type = f->type ? f->type : 'd', buf[80];
  uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  const char *prefix = "", *set = type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  char *end = buf + sizeof buf, *p = end;
  do *--p = set[u % base];
  while (u /= base);
  if (f->alt && base != 10)
    prefix = type == 'x' ? "0x" : type == 'X' ? "0X" : base == 8 ? "0o" : "0b";
  size_t n = (size_t)(end - p);
  const char *digits = p;
  if (percent && f->prec > (int64_t)n) {
    bk_tv d = group_digits(r, p, n, 0, 3, f->prec);
    digits = d.u.s;
    n = d.len;
  }
  put_number(r, f, sign_of(f, v < 0), prefix, digits, n, n, base == 10 ? 3 : 4);
}

/* Drops zeros, and then the point, before the exponent. */
static void drop_zeros(char *buf) {
  char *e = strchr(buf, 'e'), *z = e;
  while (z > buf && z[-1] == '0' && memchr(buf, '.', (size_t)(z - buf))) z--;
  if (z > buf && z[-1] == '.') z--;
  memmove(z, e, strlen(e) + 1);
}

/* A float without a type letter: as few digits as needed, or `prec` of them, and never "1"; `alt`
 * keeps zeros and always has a point. */
static void plain_float(double v, int64_t prec, bool alt, char *buf, size_t cap) {
  if (prec < 0) {
    bk_tpl_float_text(v, buf);
  } else {
    if (prec == 0) prec = 1;
    snprintf(buf, cap, "%.*e", (int)prec - 1, v);
    int exp = atoi(strchr(buf, 'e') + 1);
    if (exp >= -4 && exp < prec - 1) {
      if (alt) snprintf(buf, cap, "%#.*g", (int)prec, v);
      else snprintf(buf, cap, "%.*g", (int)prec, v);
      if (!strchr(buf, '.')) snprintf(buf + strlen(buf), cap - strlen(buf), ".0");
    } else if (!alt) {
      drop_zeros(buf);
    }
  }
  char *e = strchr(buf, 'e');
  if (!alt || strchr(buf, '.') || !e) return;
  memmove(e + 1, e, strlen(e) + 1);
  *e = '.';
}

static void put_float_field(rt *r, const struct spec *f, double v) {
  char type = f->type, fmt[16];
  int64_t prec = f->prec;
  if (prec > MAX_PRECISION) bk_tpl_raise(r, "template.limit", "precision above %d", MAX_PRECISION);
  bool percent = type == '%';
  if (percent) v *= 100, type = 'f';
  if (type == 'n') type = 'g';
  size_t cap = 420 + (prec > 0 ? (size_t)prec : 0);
  char *buf = bk_tpl_alloc(r, cap);
  double u = fabs(v);
  if (!isfinite(v)) {
    bool upper = type == 'F' || type == 'E' || type == 'G';
    snprintf(buf, cap, "%s", isnan(v) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf");
  } else if (!type) {
    plain_float(u, prec, f->alt, buf, cap);
  } else {
    snprintf(fmt, sizeof fmt, "%%%s.*%c", f->alt ? "#" : "", type);
    if (prec < 0) prec = 6;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(buf, cap, fmt, (int)prec, u);
#pragma GCC diagnostic pop
  }
  if (percent) snprintf(buf + strlen(buf), cap - strlen(buf), "%%");
  size_t whole = strspn(buf, "0123456789");
  bool negative = signbit(v) && !isnan(v);
  if (!isfinite(v)) whole = strlen(buf);
  put_number(r, f, sign_of(f, negative), "", buf, strlen(buf), whole, 3);
}

/* A float that is no 64-bit integer, cut to a whole number. */
static void put_huge_field(rt *r, const struct spec *f, double v) {
  if (!isfinite(v)) bk_tpl_bad(r, "float %s is no integer", isnan(v) ? "NaN" : "infinity");
  char buf[320];
  int n = snprintf(buf, sizeof buf, "%.0f", fabs(v));
  bk_tv d = group_digits(r, buf, (size_t)n, 0, 3, f->prec);
  put_number(r, f, sign_of(f, v < 0), "", d.u.s, d.len, d.len, 3);
}

static void put_char_field(rt *r, const struct spec *f, int64_t c) {
  if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
    bk_tpl_bad(r, "%%c: %lld is not a character", (long long)c);
  size_t mark = bk_tpl_begin(r);
  bk_tpl_u8put(r, (uint32_t)c);
  put_text_field(r, f, bk_tpl_end(r, mark));
}

/* --- "…" % args ---------------------------------------------------------------------------- */

struct percent {
  rt *r;
  bk_tv args;
  uint32_t next;
  bool named, safe;
};

static bk_tv next_arg(struct percent *p) {
  bool tuple = p->args.kind == TV_TUPLE;
  if (p->next >= (tuple ? p->args.u.l->n : 1))
    bk_tpl_bad(p->r, "not enough arguments for format string");
  p->next++;
  return tuple ? p->args.u.l->v[p->next - 1] : p->args;
}

static int64_t number_at(bk_tv fmt, uint32_t *i) {
  int64_t n = 0;
  while (*i < fmt.len && fmt.u.s[*i] >= '0' && fmt.u.s[*i] <= '9') {
    if (n < INT32_MAX) n = n * 10 + (fmt.u.s[*i] - '0');
    ++*i;
  }
  return n;
}

static int64_t star(struct percent *p, bk_tv fmt, uint32_t *i) {
  if (*i >= fmt.len || fmt.u.s[*i] != '*') return number_at(fmt, i);
  ++*i;
  return bk_tpl_as_int(p->r, next_arg(p), "* in a format");
}

static void convert(struct percent *p, struct spec *f, bk_tv v) {
  rt *r = p->r;
  if (!strchr("srac", f->type) && v.kind == TV_UNDEF) bk_tpl_undefined(r, v);
  switch (f->type) {
    case 's': put_text_field(r, f, p->safe ? bk_tpl_escape(r, v) : bk_tpl_str(r, v)); return;
    case 'r': put_text_field(r, f, bk_tpl_repr(r, v)); return;
    case 'a': put_text_field(r, f, bk_tpl_ascii(r, v)); return;
    case 'c':
      f->prec = -1;
      if (v.kind == TV_STR && bk_tpl_chars(v) == 1) put_text_field(r, f, v);
      else put_char_field(r, f, bk_tpl_as_int(r, v, "%c argument"));
      return;
    case 'd':
      if (v.kind == TV_FLOAT) {
        if (!(fabs(v.u.f) < 9.2e18)) {
          put_huge_field(r, f, v.u.f);
          return;
        }
        v = bk_tv_int((int64_t)v.u.f);
      }
      /* fall through */
    case 'x':
    case 'X':
    case 'o': put_int_field(r, f, bk_tpl_as_int(r, v, "argument of %d, %x or %o"), true); return;
    default:
      if (!tv_num(v)) bk_tpl_bad(r, "%%%c: expected a number, got '%s'", f->type, bk_tpl_type(v));
      put_float_field(r, f, v.kind == TV_FLOAT ? v.u.f : (double)tv_i64(v));
  }
}

/* One conversion; *i stands after the '%'. */
static void percent_field(struct percent *p, bk_tv fmt, uint32_t *i) {
  rt *r = p->r;
  struct spec f = {.fill = " ", .fill_len = 1, .align = '>', .width = 0, .prec = -1};
  bk_tv v = tv_kind(TV_MISSING);
  if (*i < fmt.len && fmt.u.s[*i] == '(') {
    const char *start = fmt.u.s + *i + 1, *close = memchr(start, ')', fmt.len - *i - 1);
    if (p->args.kind != TV_DICT) bk_tpl_bad(r, "format requires a mapping");
    if (!close) bk_tpl_bad(r, "incomplete format key");
    bk_tv *got = bk_tpl_get(r, bk_tpl_d(r, p->args), bk_tv_text(start, (size_t)(close - start)));
    if (!got) bk_tpl_bad(r, "format: there is no key '%.*s'", (int)(close - start), start);
    v = *got;
    p->named = true;
    *i = (uint32_t)(close - fmt.u.s) + 1;
  }
  for (; *i < fmt.len && fmt.u.s[*i] && strchr("-+ #0", fmt.u.s[*i]); ++*i) {
    char c = fmt.u.s[*i];
    if (c == '-') f.align = '<';
    else if (c == '+' || (c == ' ' && !f.sign)) f.sign = c;
    else if (c == '#') f.alt = true;
    else if (c == '0') f.zero = true;
  }
  f.width = star(p, fmt, i);
  if (f.width < 0) f.align = '<', f.width = f.width == INT64_MIN ? 0 : -f.width;
  if (*i < fmt.len && fmt.u.s[*i] == '.') {
    ++*i;
    f.prec = star(p, fmt, i);
    if (f.prec < 0) f.prec = 0;
  }
  if (*i < fmt.len && fmt.u.s[*i] && strchr("hlL", fmt.u.s[*i])) ++*i;
  if (*i >= fmt.len) bk_tpl_bad(r, "incomplete format");
  f.type = fmt.u.s[(*i)++];
  if (f.type == '%') {
    bk_tpl_put(r, "%", 1);
    return;
  }
  if (f.type == 'i' || f.type == 'u') f.type = 'd';
  if (!f.type || !strchr("dxXoeEfFgGcrsa", f.type))
    bk_tpl_bad(r, "unsupported format character '%c'", f.type);
  bool text = strchr("srac", f.type) != NULL;
  if (f.zero && f.align != '<' && !text) f.align = '=', f.fill[0] = '0';
  if (f.prec > MAX_PRECISION && !text)
    bk_tpl_raise(r, "template.limit", "precision above %d", MAX_PRECISION);
  convert(p, &f, tv_given(v) ? v : next_arg(p));
}

bk_tv bk_tpl_percent(rt *r, bk_tv fmt, bk_tv args) {
  struct percent p = {.r = r, .args = args, .safe = fmt.flags & TVF_SAFE};
  size_t mark = bk_tpl_begin(r);
  for (uint32_t i = 0; i < fmt.len;) {
    const char *hit = memchr(fmt.u.s + i, '%', fmt.len - i);
    uint32_t to = hit ? (uint32_t)(hit - fmt.u.s) : fmt.len;
    bk_tpl_put(r, fmt.u.s + i, to - i);
    i = to;
    if (!hit) break;
    i++;
    percent_field(&p, fmt, &i);
  }
  bool all = args.kind == TV_TUPLE ? p.next >= args.u.l->n
                                   : p.next || args.kind == TV_DICT || args.kind == TV_LIST;
  if (!all) bk_tpl_bad(r, "not all arguments converted during string formatting");
  return tv_like(bk_tpl_end(r, mark), fmt);
}

/* --- "…".format(…) ------------------------------------------------------------------------ */

struct format {
  rt *r;
  const struct bk_tpl_args *a;
  const bk_tv *map;
  int64_t next; /* automatic number; -1: explicit numbers are used */
  bool safe;
};

static void parse_spec(rt *r, bk_tv s, struct spec *f) {
  uint32_t i = 0;
  size_t n = s.len ? bk_tpl_u8len(s.u.s, s.u.s + s.len) : 0;
  *f = (struct spec){.fill = " ", .fill_len = 1, .width = 0, .prec = -1};
  bool filled = false;
  if (n < s.len && n && s.u.s[n] && strchr("<>=^", s.u.s[n])) {
    memcpy(f->fill, s.u.s, n);
    f->fill_len = (uint8_t)n;
    filled = true;
    f->align = s.u.s[n];
    i = (uint32_t)n + 1;
  } else if (s.len && s.u.s[0] && strchr("<>=^", s.u.s[0])) {
    f->align = s.u.s[i++];
  }
  if (i < s.len && s.u.s[i] && strchr("+- ", s.u.s[i])) f->sign = s.u.s[i++];
  if (i < s.len && s.u.s[i] == '#') f->alt = true, i++;
  if (i < s.len && s.u.s[i] == '0') {
    f->zero = !f->align;
    if (f->zero) f->align = '=';
    if (!filled) f->fill[0] = '0';
    i++;
  }
  f->width = number_at(s, &i);
  if (i < s.len && (s.u.s[i] == ',' || s.u.s[i] == '_')) f->group = s.u.s[i++];
  if (i < s.len && s.u.s[i] == '.') {
    uint32_t at = ++i;
    f->prec = number_at(s, &i);
    if (i == at) bk_tpl_bad(r, "format specifier: precision is missing");
  }
  if (i < s.len) f->type = s.u.s[i++];
  if (i < s.len)
    bk_tpl_bad(r, "invalid format specifier '%.*s'", (int)(s.len > 60 ? 60 : s.len), s.u.s);
}

static void format_value(struct format *x, bk_tv v, bk_tv spec) {
  rt *r = x->r;
  struct spec f;
  if (!spec.len) {
    if (x->safe) bk_tpl_put_escaped(r, v);
    else bk_tpl_put_text(r, v);
    return;
  }
  parse_spec(r, spec, &f);
  bool float_type = f.type && strchr("eEfFgG%", f.type);
  bool int_type = f.type && strchr("bcdoxXn", f.type);
  if (v.kind == TV_STR && (!f.type || f.type == 's')) {
    if (f.sign || f.alt || f.group || (f.align == '=' && !f.zero))
      bk_tpl_bad(r, "this format specifier is not allowed for strings");
    if (f.zero) f.align = '<';
    put_text_field(r, &f, x->safe ? bk_tpl_escape(r, v) : v);
  } else if (tv_integral(v) && (!f.type || int_type)) {
    if (f.prec >= 0) bk_tpl_bad(r, "precision is not allowed in an integer format");
    if (f.group && f.type && (f.type == 'n' || f.type == 'c' || (f.group == ',' && f.type != 'd')))
      bk_tpl_bad(r, "cannot specify '%c' with '%c'", f.group, f.type);
    if (f.type == 'n') f.type = 'd';
    if (f.type == 'c') {
      if (f.sign || f.alt) bk_tpl_bad(r, "sign and '#' are not allowed with 'c'");
      if (!f.align) f.align = '<';
      put_char_field(r, &f, tv_i64(v));
    } else {
      put_int_field(r, &f, tv_i64(v), false);
    }
  } else if (f.group && f.type == 'n') {
    bk_tpl_bad(r, "cannot specify '%c' with 'n'", f.group);
  } else if (tv_num(v) && (float_type || (v.kind == TV_FLOAT && (!f.type || f.type == 'n')))) {
    put_float_field(r, &f, v.kind == TV_FLOAT ? v.u.f : (double)tv_i64(v));
  } else {
    bk_tpl_bad(r, "format specifier '%.*s' does not fit a value of type '%s'",
               (int)(spec.len > 60 ? 60 : spec.len), spec.u.s, bk_tpl_type(v));
  }
}

static bool all_digits(bk_tv s) {
  for (uint32_t i = 0; i < s.len; i++)
    if (s.u.s[i] < '0' || s.u.s[i] > '9') return false;
  return s.len > 0 && s.len < 10;
}

static bk_tv field_base(struct format *x, bk_tv name) {
  rt *r = x->r;
  int64_t index;
  uint32_t i = 0;
  if (!name.len) {
    if (x->next < 0) bk_tpl_bad(r, "cannot switch from manual field numbering to automatic");
    index = x->next++;
  } else if (all_digits(name)) {
    if (x->next > 0) bk_tpl_bad(r, "cannot switch from automatic field numbering to manual");
    x->next = -1;
    index = number_at(name, &i);
  } else {
    bk_tv *p = x->map ? bk_tpl_get(r, bk_tpl_d(r, *x->map), name) : NULL;
    if (p) return *p;
    for (uint32_t k = 0; k < x->a->nkw; k++)
      if (x->a->kw[k].len == name.len && memcmp(x->a->kw[k].name, name.u.s, name.len) == 0)
        return x->a->kw[k].v;
    bk_tpl_bad(r, "format: there is no argument '%.*s'", (int)(name.len > 60 ? 60 : name.len),
               name.u.s);
  }
  if (index >= x->a->n) bk_tpl_bad(r, "format: there is no argument %lld", (long long)index);
  return x->a->v[index];
}

/* name.attr[key]… */
static bk_tv field_value(struct format *x, bk_tv f) {
  rt *r = x->r;
  uint32_t i = 0;
  while (i < f.len && f.u.s[i] != '.' && f.u.s[i] != '[') i++;
  bk_tv v = field_base(x, bk_tv_text(f.u.s, i));
  while (i < f.len) {
    bool item = f.u.s[i++] == '[';
    uint32_t from = i;
    while (i < f.len && (item ? f.u.s[i] != ']' : f.u.s[i] != '.' && f.u.s[i] != '[')) i++;
    bk_tv key = bk_tv_text(f.u.s + from, i - from);
    if (!key.len || (item && i == f.len))
      bk_tpl_bad(r, "format: malformed field '%.*s'", (int)f.len, f.u.s);
    if (item) i++;
    uint32_t at = 0;
    if (item && all_digits(key)) key = bk_tv_int(number_at(key, &at));
    v = item ? bk_tpl_item(r, v, key) : bk_tpl_attr_only(r, v, key);
    if (!tv_given(v)) bk_tpl_bad(r, "format: there is no attribute '%.*s'", (int)key.len, key.u.s);
    if (v.kind == TV_UNDEF) bk_tpl_undefined(r, v);
  }
  return v;
}

static void put_format(struct format *x, bk_tv s, int depth);

/* The field between braces. */
static void put_field(struct format *x, bk_tv f, int depth) {
  rt *r = x->r;
  uint32_t name = 0, level = 0;
  while (name < f.len && (level || (f.u.s[name] != '!' && f.u.s[name] != ':'))) {
    if (f.u.s[name] == '[') level = 1;
    if (f.u.s[name] == ']') level = 0;
    name++;
  }
  bk_tv v = field_value(x, bk_tv_text(f.u.s, name)), spec = bk_tv_text("", 0);
  uint32_t i = name;
  if (i < f.len && f.u.s[i] == '!') {
    char c = i + 1 < f.len ? f.u.s[i + 1] : 0;
    if (c != 'r' && c != 's' && c != 'a')
      bk_tpl_bad(r, "format: unknown conversion '!%c'", c ? c : ' ');
    v = c == 's' ? bk_tpl_str(r, v) : c == 'a' ? bk_tpl_ascii(r, v) : bk_tpl_repr(r, v);
    i += 2;
    if (i < f.len && f.u.s[i] != ':') bk_tpl_bad(r, "format: expected ':' after the conversion");
  }
  if (i < f.len) {
    spec = bk_tv_text(f.u.s + i + 1, f.len - i - 1);
    if (spec.len && memchr(spec.u.s, '{', spec.len)) {
      size_t mark = bk_tpl_begin(r);
      put_format(x, spec, depth + 1);
      spec = bk_tpl_end(r, mark);
    }
  }
  format_value(x, v, spec);
}

static void put_format(struct format *x, bk_tv s, int depth) {
  rt *r = x->r;
  if (depth > 1) bk_tpl_bad(r, "format: replacement fields nested too deeply");
  for (uint32_t i = 0; i < s.len;) {
    char c = s.u.s[i];
    if (c != '{' && c != '}') {
      uint32_t from = i;
      while (i < s.len && s.u.s[i] != '{' && s.u.s[i] != '}') i++;
      bk_tpl_put(r, s.u.s + from, i - from);
      continue;
    }
    if (i + 1 < s.len && s.u.s[i + 1] == c) {
      bk_tpl_put(r, &c, 1);
      i += 2;
      continue;
    }
    if (c == '}') bk_tpl_bad(r, "format: single '}' in the format string");
    uint32_t from = ++i, level = 1;
    for (; i < s.len && level; i++) level += s.u.s[i] == '{' ? 1u : s.u.s[i] == '}' ? -1u : 0;
    if (level) bk_tpl_bad(r, "format: expected '}' before the end of the format string");
    put_field(x, bk_tv_text(s.u.s + from, i - 1 - from), depth);
  }
}

bk_tv bk_tpl_format(rt *r, bk_tv fmt, const struct bk_tpl_args *a, const bk_tv *map) {
  struct format x = {.r = r, .a = a, .map = map, .safe = fmt.flags & TVF_SAFE};
  size_t mark = bk_tpl_begin(r);
  put_format(&x, fmt, 0);
  return tv_like(bk_tpl_end(r, mark), fmt);
}
