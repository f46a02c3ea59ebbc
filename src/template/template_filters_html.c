/* Filters for HTML and URLs. Escaped text carries a mark that keeps it from being escaped again. */
#include <stdio.h>
#include <stdlib.h>

#include "template/template_run.h"

static bk_tv f_escape(rt *r, bk_tv *a) {
  if (a[0].kind == TV_STR && a[0].flags & TVF_SAFE) return a[0];
  return bk_tpl_escape(r, a[0]);
}

static bk_tv f_forceescape(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_str(r, a[0]);
  s.flags = 0;
  return bk_tpl_escape(r, s);
}

static bk_tv f_safe(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_str(r, a[0]);
  s.flags |= TVF_SAFE;
  return s;
}

/* Without everything from each `open` to the next `close`. */
static bk_tv drop(rt *r, bk_tv s, const char *open, const char *close) {
  size_t mark = bk_tpl_begin(r), at = 0;
  for (;;) {
    const char *a = bk_tpl_find(s, at, tv_strz(open));
    const char *b = a ? bk_tpl_find(s, (size_t)(a - s.u.s), tv_strz(close)) : NULL;
    size_t to = b ? (size_t)(a - s.u.s) : s.len;
    bk_tpl_put(r, s.u.s + at, to - at);
    if (!b) return bk_tpl_end(r, mark);
    at = (size_t)(b - s.u.s) + strlen(close);
  }
}

static uint32_t entity(const char *s, size_t n) {
  static const struct { const char *name; uint32_t c; } names[] = {
      {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}, {"nbsp", 0xa0},
      {"copy", 0xa9}, {"reg", 0xae}, {"hellip", 0x2026}, {"ndash", 0x2013}, {"mdash", 0x2014}};
  for (size_t i = 0; i < BK_ARRAY_LEN(names); i++)
    if (strlen(names[i].name) == n && memcmp(names[i].name, s, n) == 0) return names[i].c;
  if (n < 2 || n > 9 || s[0] != '#') return 0;
  char buf[12] = "", *end;
  memcpy(buf, s + 1, n - 1);
  bool hex = buf[0] == 'x' || buf[0] == 'X';
  unsigned long c = strtoul(buf + hex, &end, hex ? 16 : 10);
  return *end || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : (uint32_t)c;
}

static bk_tv f_striptags(rt *r, bk_tv *a) {
  bk_tv s = drop(r, drop(r, bk_tpl_str(r, a[0]), "<!--", "-->"), "<", ">");
  size_t mark = bk_tpl_begin(r), n;
  bool gap = false, any = false;
  for (const char *p = s.u.s, *end = p + s.len; p < end; p += n) {
    if ((n = bk_tpl_space(p, end))) {
      gap = true;
      continue;
    }
    n = bk_tpl_u8len(p, end);
    if (gap && any) bk_tpl_put(r, " ", 1);
    gap = false;
    any = true;
    const char *semi = *p == '&' ? memchr(p, ';', (size_t)(end - p > 12 ? 12 : end - p)) : NULL;
    uint32_t c = semi ? entity(p + 1, (size_t)(semi - p - 1)) : 0;
    if (c) {
      bk_tpl_u8put(r, c);
      n = (size_t)(semi - p) + 1;
    } else {
      bk_tpl_put(r, p, n);
    }
  }
  return bk_tpl_end(r, mark);
}

static bk_tv f_xmlattr(rt *r, bk_tv *a) {
  bk_tv k, v;
  if (a[0].kind == TV_UNDEF) bk_tpl_undefined(r, a[0]);
  if (a[0].kind != TV_DICT)
    bk_tpl_bad(r, "xmlattr(): expected a mapping, got '%s'", bk_tpl_type(a[0]));
  bool space = !tv_given(a[1]) || bk_tpl_truth(r, a[1]), first = true;
  size_t mark = bk_tpl_begin(r);
  for (size_t at = 0; bk_tv_pair(r, a[0], &at, &k, &v);) {
    if (v.kind == TV_NONE || v.kind == TV_UNDEF) continue;
    k = bk_tpl_need_str(r, k, "xmlattr(): key");
    for (uint32_t i = 0; i < k.len; i++)
      if (memchr(" \t\n\v\f\r/>=", k.u.s[i], 9))
        bk_tpl_bad(r, "xmlattr(): invalid character in key");
    if (!first || space) bk_tpl_put(r, " ", 1);
    first = false;
    bk_tpl_put_escaped(r, k);
    bk_tpl_puts(r, "=\"");
    bk_tpl_put_escaped(r, v);
    bk_tpl_put(r, "\"", 1);
  }
  v = bk_tpl_end(r, mark);
  if (r->autoescape) v.flags |= TVF_SAFE;
  return v;
}

static void put_quoted(rt *r, bk_tv v, bool query) {
  char buf[4];
  v = bk_tpl_str(r, v);
  for (uint32_t i = 0; i < v.len; i++) {
    unsigned char c = (unsigned char)v.u.s[i];
    bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (plain || (c && strchr("_.-~", c)) || (c == '/' && !query)) {
      bk_tpl_put(r, v.u.s + i, 1);
    } else if (c == ' ' && query) {
      bk_tpl_put(r, "+", 1);
    } else {
      snprintf(buf, sizeof buf, "%%%02X", c);
      bk_tpl_put(r, buf, 3);
    }
  }
}

static bk_tv f_urlencode(rt *r, bk_tv *a) {
  bk_tv v = a[0], e;
  size_t mark;
  if (v.kind == TV_STR || !bk_tpl_iterable(v)) {
    mark = bk_tpl_begin(r);
    put_quoted(r, v, false);
    return bk_tpl_end(r, mark);
  }
  struct tv_view w = {.kind = 'i'};
  if (v.kind == TV_DICT) {
    w.d = bk_tpl_d(r, v);
    v = tv_ptr(TV_VIEW, &w);
  }
  struct tv_list *pairs = bk_tpl_listed(r, v);
  mark = bk_tpl_begin(r);
  for (uint32_t i = 0; i < pairs->n; i++) {
    e = pairs->v[i];
    if (!bk_tpl_iterable(e)) bk_tpl_bad(r, "urlencode(): expected pairs, got '%s'", bk_tpl_type(e));
    struct tv_list *kv = bk_tpl_listed(r, e);
    if (kv->n != 2) bk_tpl_bad(r, "urlencode(): expected pairs, got %u values", kv->n);
    if (i) bk_tpl_put(r, "&", 1);
    put_quoted(r, kv->v[0], true);
    bk_tpl_put(r, "=", 1);
    put_quoted(r, kv->v[1], true);
  }
  return bk_tpl_end(r, mark);
}

const struct tpl_fn bk_tpl_filters_html[] = {
    {.name = "escape", .fn = f_escape, .need = 1, .params = {"s"}},
    {.name = "e", .fn = f_escape, .need = 1, .params = {"s"}},
    {.name = "forceescape", .fn = f_forceescape, .need = 1, .params = {"value"}},
    {.name = "safe", .fn = f_safe, .need = 1, .params = {"value"}},
    {.name = "striptags", .fn = f_striptags, .need = 1, .params = {"value"}},
    {.name = "xmlattr", .fn = f_xmlattr, .need = 1, .params = {"d", "autospace"}},
    {.name = "urlencode", .fn = f_urlencode, .need = 1, .params = {"value"}},
    {.name = NULL},
};
