/* The pprint filter: Python's pformat with its width of 80. What does not fit on a line is broken
 * at elements, long strings at white space; dicts are shown by key. */
#include "template/template_run.h"

#define WIDTH 80

struct room { int64_t indent, allowance; int level; };

static void put(rt *r, bk_tv v, struct room at);

/* Keys and values of a dict: None, numbers, strings, others; each group in its own order. */
static uint32_t pairs(rt *r, bk_tv d, bk_tv **keys, bk_tv **vals) {
  bk_tv k, v, ks = bk_tpl_list(r, 0), vs = bk_tpl_list(r, 0), by = bk_tpl_list(r, 0);
  for (size_t at = 0; bk_tv_pair(r, d, &at, &k, &v);) {
    int rank = k.kind == TV_NONE ? 0 : tv_num(k) ? 1 : k.kind == TV_STR ? 2 : 3;
    bk_tv rest = rank == 1 || rank == 2 ? k : bk_tv_int(ks.u.l->n);
    bk_tpl_push(r, by.u.l, bk_tpl_tuple_of(r, (bk_tv[]){bk_tv_int(rank), rest, k}, 3));
    bk_tpl_push(r, ks.u.l, k);
    bk_tpl_push(r, vs.u.l, v);
  }
  uint32_t n = ks.u.l->n;
  bk_tpl_sort(r, vs.u.l->v, by.u.l->v, n, false);
  for (uint32_t i = 0; i < n; i++) ks.u.l->v[i] = by.u.l->v[i].u.l->v[2];
  *keys = ks.u.l->v;
  *vals = vs.u.l->v;
  return n;
}

static void put_flat(rt *r, bk_tv v) {
  bk_tpl_guard(r);
  if (v.kind == TV_DICT && !v.u.d->printing) {
    bk_tv *k, *x;
    uint32_t n = pairs(r, v, &k, &x);
    v.u.d->printing = true;
    bk_tpl_put(r, "{", 1);
    for (uint32_t i = 0; i < n; i++) {
      if (i) bk_tpl_put(r, ", ", 2);
      bk_tpl_put_repr(r, k[i]);
      bk_tpl_put(r, ": ", 2);
      put_flat(r, x[i]);
    }
    bk_tpl_put(r, "}", 1);
    v.u.d->printing = false;
  } else if (tv_seq(v) && !v.u.l->printing) {
    struct tv_list *l = bk_tpl_l(r, v);
    l->printing = true;
    bk_tpl_put(r, v.kind == TV_LIST ? "[" : "(", 1);
    for (uint32_t i = 0; i < l->n; i++) {
      if (i) bk_tpl_put(r, ", ", 2);
      put_flat(r, l->v[i]);
    }
    if (v.kind == TV_TUPLE && l->n == 1) bk_tpl_put(r, ",", 1);
    bk_tpl_put(r, v.kind == TV_LIST ? "]" : ")", 1);
    l->printing = false;
  } else {
    bk_tpl_put_repr(r, v);
  }
}

static bk_tv flat(rt *r, bk_tv v) {
  size_t mark = bk_tpl_begin(r);
  put_flat(r, v);
  return bk_tpl_end(r, mark);
}

static void new_line(rt *r, int64_t indent) {
  bk_tpl_put(r, "\n", 1);
  while (indent-- > 0) bk_tpl_put(r, " ", 1);
}

static void put_items(rt *r, struct tv_list *l, struct room at) {
  at.indent++;
  for (uint32_t i = 0; i < l->n; i++) {
    if (i) {
      bk_tpl_put(r, ",", 1);
      new_line(r, at.indent);
    }
    struct room inner = {at.indent, i + 1 == l->n ? at.allowance : 1, at.level + 1};
    put(r, l->v[i], inner);
  }
}

static void put_dict(rt *r, bk_tv d, struct room at) {
  bk_tv *k, *x;
  uint32_t n = pairs(r, d, &k, &x);
  bk_tpl_put(r, "{", 1);
  at.indent++;
  for (uint32_t i = 0; i < n; i++) {
    if (i) {
      bk_tpl_put(r, ",", 1);
      new_line(r, at.indent);
    }
    bk_tv key = flat(r, k[i]);
    bk_tpl_put_text(r, key);
    bk_tpl_put(r, ": ", 2);
    struct room inner = {at.indent + (int64_t)bk_tpl_chars(key) + 2,
                         i + 1 == n ? at.allowance + 1 : 1, at.level + 1};
    put(r, x[i], inner);
  }
  bk_tpl_put(r, "}", 1);
}

static int64_t repr_width(rt *r, bk_tv s) { return (int64_t)bk_tpl_chars(bk_tpl_repr(r, s)); }

/* The pieces of one line: words with the white space after them, as many as fit. */
static void split_line(rt *r, bk_tv line, int64_t width, int64_t last_width,
                       struct tv_list *chunks) {
  const char *p = line.u.s, *end = p + line.len;
  bk_tv current = bk_tv_text(p, 0);
  while (p < end) {
    const char *q = p;
    while (q < end && !bk_tpl_space(q, end)) q += bk_tpl_u8len(q, end);
    for (size_t n; q < end && (n = bk_tpl_space(q, end)); q += n) {}
    bk_tv longer = bk_tv_text(current.u.s, (size_t)(q - current.u.s));
    if (q == end) width = last_width;
    bk_tpl_step(r, 1);
    if (repr_width(r, longer) > width) {
      if (current.len) bk_tpl_push(r, chunks, bk_tpl_repr(r, current));
      current = bk_tv_text(p, (size_t)(q - p));
    } else {
      current = longer;
    }
    p = q;
  }
  if (current.len) bk_tpl_push(r, chunks, bk_tpl_repr(r, current));
}

static void put_string(rt *r, bk_tv s, struct room at) {
  struct tv_list *lines = bk_tpl_splitlines(r, s, true).u.l, *chunks = bk_tpl_list(r, 0).u.l;
  if (at.level == 1) at.indent++, at.allowance++;
  int64_t width = WIDTH - at.indent;
  for (uint32_t i = 0; i < lines->n; i++) {
    int64_t last = i + 1 == lines->n ? width - at.allowance : width;
    if (repr_width(r, lines->v[i]) <= last) bk_tpl_push(r, chunks, bk_tpl_repr(r, lines->v[i]));
    else split_line(r, lines->v[i], width, last, chunks);
  }
  bool parens = at.level == 1 && chunks->n > 1;
  if (parens) bk_tpl_put(r, "(", 1);
  for (uint32_t i = 0; i < chunks->n; i++) {
    if (i) new_line(r, at.indent);
    bk_tpl_put_text(r, chunks->v[i]);
  }
  if (parens) bk_tpl_put(r, ")", 1);
}

static void put(rt *r, bk_tv v, struct room at) {
  bk_tpl_guard(r);
  bk_tpl_step(r, 1);
  bk_tv text = flat(r, v);
  bool fits = (int64_t)bk_tpl_chars(text) <= WIDTH - at.indent - at.allowance;
  if (fits || (v.kind != TV_LIST && v.kind != TV_TUPLE && v.kind != TV_DICT && v.kind != TV_STR)) {
    bk_tpl_put_text(r, text);
  } else if (v.kind == TV_DICT) {
    if (v.u.d->printing) return bk_tpl_put_text(r, text);
    v.u.d->printing = true;
    put_dict(r, v, at);
    v.u.d->printing = false;
  } else if (v.kind == TV_STR) {
    put_string(r, v, at);
  } else {
    struct tv_list *l = v.u.l;
    bool tuple = v.kind == TV_TUPLE, one = tuple && l->n == 1;
    at.allowance += one ? 2 : 1;
    if (l->printing) return bk_tpl_put_text(r, text);
    l->printing = true;
    bk_tpl_put(r, tuple ? "(" : "[", 1);
    put_items(r, l, at);
    bk_tpl_puts(r, one ? ",)" : tuple ? ")" : "]");
    l->printing = false;
  }
}

bk_tv bk_tpl_pprint(rt *r, bk_tv *a) {
  size_t mark = bk_tpl_begin(r);
  put(r, a[0], (struct room){.level = 1});
  return bk_tpl_end(r, mark);
}
