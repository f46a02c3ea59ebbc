/* Text of values as Python's str() and repr() give it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "template/template_run.h"

size_t bk_tpl_begin(rt *r) { return r->out.len; }

static _Noreturn void too_long(rt *r) {
  bk_tpl_raise(r, "template.limit", "text is longer than the limit of %zu bytes",
               r->env->opt.limits.output);
}

bk_tv bk_tpl_end(rt *r, size_t mark) {
  if (r->out.overflow) too_long(r);
  size_t n = r->out.len - mark;
  bk_tv v = n ? bk_tv_copy(r, r->out.p + mark, n) : bk_tv_text("", 0);
  r->out.len = mark;
  return v;
}

void bk_tpl_put_more(rt *r, const char *s, size_t n) {
  bk_buf_add(&r->out, s, n);
  if (r->out.overflow) too_long(r);
}

void bk_tpl_size(rt *r, uint64_t bytes) {
  if (bytes > r->env->opt.limits.output) too_long(r);
}

/* --- numbers --------------------------------------------------------------------------------- */

/* Shortest digits that read back as f, laid out as Python does: exponents below -4 and from 16. */
int bk_tpl_float_text(double f, char out[static 40]) {
  if (isnan(f)) return snprintf(out, 40, "nan");
  if (isinf(f)) return snprintf(out, 40, "%sinf", f < 0 ? "-" : "");
  if (f == floor(f) && fabs(f) < 1e15) return snprintf(out, 40, "%.1f", f);
  char e[40];
  /* 15 digits survive the way there and back; subnormal numbers have fewer. */
  for (int digits = fabs(f) < 2.3e-308 ? 1 : 15; digits <= 17; digits++) {
    snprintf(e, sizeof e, "%.*e", digits - 1, f);
    if (strtod(e, NULL) == f) break;
  }
  char *mark = strchr(e, 'e');
  int exp = atoi(mark + 1);
  char digits[24];
  int n = 0, o = 0;
  for (const char *s = e; s < mark; s++)
    if (*s >= '0' && *s <= '9') digits[n++] = *s;
  while (n > 1 && digits[n - 1] == '0') n--;
  digits[n] = '\0';
  if (f < 0) out[o++] = '-';
  if (exp < -4 || exp >= 16) {
    o += snprintf(out + o, (size_t)(40 - o), n > 1 ? "%c.%s" : "%c%s", digits[0], digits + 1);
    return o + snprintf(out + o, (size_t)(40 - o), "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
  }
  if (exp < 0) {
    o += snprintf(out + o, (size_t)(40 - o), "0.");
    for (int i = exp + 1; i < 0; i++) out[o++] = '0';
    return o + snprintf(out + o, (size_t)(40 - o), "%s", digits);
  }
  for (int i = 0; i <= exp; i++) out[o++] = i < n ? digits[i] : '0';
  if (n > exp + 1) return o + snprintf(out + o, (size_t)(40 - o), ".%s", digits + exp + 1);
  return o + snprintf(out + o, (size_t)(40 - o), ".0");
}

static void put_int(rt *r, int64_t i) {
  char buf[24];
  char *p = buf + sizeof buf;
  uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
  do *--p = (char)('0' + u % 10);
  while (u /= 10);
  if (i < 0) *--p = '-';
  bk_tpl_put(r, p, (size_t)(buf + sizeof buf - p));
}

/* --- repr ------------------------------------------------------------------------------------ */

static void put_char_repr(rt *r, const char *s, const char *end, size_t *n, char quote) {
  char buf[16];
  int32_t c = bk_tpl_u8get(s, end, n);
  if (c < 0) c = (unsigned char)*s;
  else if (c >= 0x80 && bk_tpl_cp_is(c, "print")) {
    bk_tpl_put(r, s, *n);
    return;
  }
  if (c == quote || c == '\\') snprintf(buf, sizeof buf, "\\%c", c);
  else if (c == '\n') snprintf(buf, sizeof buf, "\\n");
  else if (c == '\r') snprintf(buf, sizeof buf, "\\r");
  else if (c == '\t') snprintf(buf, sizeof buf, "\\t");
  else if (c >= 0x20 && c < 0x7f) snprintf(buf, sizeof buf, "%c", c);
  else if (c < 0x100) snprintf(buf, sizeof buf, "\\x%02x", (unsigned)c);
  else if (c < 0x10000) snprintf(buf, sizeof buf, "\\u%04x", (unsigned)c);
  else snprintf(buf, sizeof buf, "\\U%08x", (unsigned)c);
  bk_tpl_puts(r, buf);
}

static void put_str_repr(rt *r, bk_tv v) {
  const char *s = v.u.s, *end = s + v.len;
  bool safe = v.flags & TVF_SAFE;
  char quote = v.len && memchr(s, '\'', v.len) && !memchr(s, '"', v.len) ? '"' : '\'';
  if (safe) bk_tpl_puts(r, "Markup(");
  bk_tpl_put(r, &quote, 1);
  while (s < end) {
    const char *plain = s;
    while (s < end && *s >= 0x20 && *s < 0x7f && *s != quote && *s != '\\') s++;
    if (s > plain) bk_tpl_put(r, plain, (size_t)(s - plain));
    if (s == end) break;
    size_t n;
    put_char_repr(r, s, end, &n, quote);
    s += n;
  }
  bk_tpl_put(r, &quote, 1);
  if (safe) bk_tpl_puts(r, ")");
}

static void put_list(rt *r, bk_tv v) {
  struct tv_list *l = bk_tpl_l(r, v);
  bool tuple = v.kind == TV_TUPLE;
  if (l->printing) {
    bk_tpl_puts(r, tuple ? "(...)" : "[...]");
    return;
  }
  l->printing = true;
  bk_tpl_puts(r, tuple ? "(" : "[");
  for (uint32_t i = 0; i < l->n; i++) {
    if (i) bk_tpl_puts(r, ", ");
    bk_tpl_put_repr(r, l->v[i]);
  }
  if (tuple && l->n == 1) bk_tpl_puts(r, ",");
  bk_tpl_puts(r, tuple ? ")" : "]");
  l->printing = false;
}

static void put_dict(rt *r, struct tv_dict *d) {
  if (d->printing) {
    bk_tpl_puts(r, "{...}");
    return;
  }
  d->printing = true;
  bk_tpl_puts(r, "{");
  bool first = true;
  for (uint32_t i = 0; i < d->n; i++) {
    if (!d->e[i].key.kind) continue;
    if (!first) bk_tpl_puts(r, ", ");
    first = false;
    bk_tpl_put_repr(r, d->e[i].key);
    bk_tpl_puts(r, ": ");
    bk_tpl_put_repr(r, d->e[i].val);
  }
  bk_tpl_puts(r, "}");
  d->printing = false;
}

static void put_special(rt *r, bk_tv v) {
  char buf[80] = "";
  bk_tpl_guard(r);
  switch (v.kind) {
    case TV_LIST:
    case TV_TUPLE: put_list(r, v); return;
    case TV_DICT: put_dict(r, bk_tpl_d(r, v)); return;
    case TV_VIEW:
      bk_tpl_puts(r, bk_tpl_type(v));
      bk_tpl_puts(r, "(");
      bk_tpl_put_repr(r, tv_ptr(TV_LIST, bk_tpl_listed(r, v)));
      bk_tpl_puts(r, ")");
      return;
    case TV_NS:
      bk_tpl_puts(r, "<Namespace ");
      put_dict(r, v.u.d);
      bk_tpl_puts(r, ">");
      return;
    case TV_RANGE: {
      const struct tv_range *g = v.u.p;
      bk_tpl_puts(r, "range(");
      put_int(r, g->start);
      bk_tpl_puts(r, ", ");
      put_int(r, g->stop);
      if (g->step != 1) {
        bk_tpl_puts(r, ", ");
        put_int(r, g->step);
      }
      bk_tpl_puts(r, ")");
      return;
    }
    case TV_GEN:
      snprintf(buf, sizeof buf, "<generator object %s>", ((struct tv_gen *)v.u.p)->name);
      break;
    case TV_MACRO:
      snprintf(buf, sizeof buf, "<Macro '%.60s'>", ((struct tv_macro *)v.u.p)->name);
      break;
    case TV_FUNC:
      snprintf(buf, sizeof buf, "<function %s>", ((const struct tpl_fn *)v.u.p)->name);
      break;
    case TV_METHOD: {
      const struct tv_method *m = v.u.p;
      snprintf(buf, sizeof buf, "<method %s of %s object>", m->fn->name, bk_tpl_type(m->self));
      break;
    }
    default: snprintf(buf, sizeof buf, "<%s>", bk_tpl_type(v));
  }
  bk_tpl_puts(r, buf);
}

void bk_tpl_put_repr(rt *r, bk_tv v) {
  if (v.kind == TV_STR) put_str_repr(r, v);
  else if (v.kind == TV_UNDEF) bk_tpl_puts(r, "Undefined");
  else bk_tpl_put_text(r, v);
}

void bk_tpl_put_text(rt *r, bk_tv v) {
  char buf[40];
  switch (v.kind) {
    case TV_STR: bk_tpl_put(r, v.u.s, v.len); return;
    case TV_UNDEF: bk_tpl_lenient(r, v); return;
    case TV_MISSING: return;
    case TV_NONE: bk_tpl_puts(r, "None"); return;
    case TV_BOOL: bk_tpl_puts(r, v.u.b ? "True" : "False"); return;
    case TV_INT: put_int(r, v.u.i); return;
    case TV_FLOAT: bk_tpl_put(r, buf, (size_t)bk_tpl_float_text(v.u.f, buf)); return;
    case TV_MODULE: bk_tpl_put_text(r, ((struct tv_module *)v.u.p)->text); return;
    case TV_LOOP: {
      struct tv_loop *l = v.u.p;
      bk_tpl_puts(r, "<LoopContext ");
      put_int(r, l->index0 + 1);
      bk_tpl_puts(r, "/");
      put_int(r, bk_tpl_loop_attr(r, l, "length", 6).u.i);
      bk_tpl_puts(r, ">");
      return;
    }
    default: put_special(r, v);
  }
}

void bk_tpl_put_escaped(rt *r, bk_tv v) {
  if (v.kind == TV_STR && v.flags & TVF_SAFE) {
    bk_tpl_put(r, v.u.s, v.len);
    return;
  }
  bk_tv t = bk_tpl_str(r, v);
  const char *s = t.u.s, *end = s + t.len;
  while (s < end) {
    const char *plain = s;
    while (s < end && *s != '&' && *s != '<' && *s != '>' && *s != '"' && *s != '\'') s++;
    bk_tpl_put(r, plain, (size_t)(s - plain));
    if (s == end) break;
    char c = *s++;
    bk_tpl_puts(r, c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&#34;"
                : "&#39;");
  }
}

bk_tv bk_tpl_str(rt *r, bk_tv v) {
  if (v.kind == TV_STR) return v;
  size_t mark = bk_tpl_begin(r);
  bk_tpl_put_text(r, v);
  return bk_tpl_end(r, mark);
}

bk_tv bk_tpl_escape(rt *r, bk_tv v) {
  size_t mark = bk_tpl_begin(r);
  bk_tpl_put_escaped(r, v);
  v = bk_tpl_end(r, mark);
  v.flags |= TVF_SAFE;
  return v;
}

bk_tv bk_tpl_repr(rt *r, bk_tv v) {
  size_t mark = bk_tpl_begin(r);
  bk_tpl_put_repr(r, v);
  return bk_tpl_end(r, mark);
}

bk_tv bk_tpl_ascii(rt *r, bk_tv v) {
  v = bk_tpl_repr(r, v);
  size_t mark = bk_tpl_begin(r), n;
  for (const char *s = v.u.s, *end = s + v.len; s < end; s += n) {
    int32_t c = bk_tpl_u8get(s, end, &n);
    char buf[12];
    if (c >= 0 && c < 0x80) {
      bk_tpl_put(r, s, 1);
      continue;
    }
    if (c < 0) c = (unsigned char)*s;
    if (c < 0x100) snprintf(buf, sizeof buf, "\\x%02x", (unsigned)c);
    else snprintf(buf, sizeof buf, c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
    bk_tpl_puts(r, buf);
  }
  return bk_tpl_end(r, mark);
}

bk_tv bk_tpl_need_str(rt *r, bk_tv v, const char *who) {
  if (v.kind == TV_STR) return v;
  if (v.kind == TV_UNDEF) bk_tpl_undefined(r, v);
  bk_tpl_bad(r, "%s: expected a string, got '%s'", who, bk_tpl_type(v));
}
