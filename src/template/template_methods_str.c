/* Methods of strings, with Python's arguments. Positions count characters. */
#include "template/template_run.h"

#define SAME(name, expr) \
  static bk_tv m_##name(rt *r, bk_tv *a) { return (void)r, expr; }

SAME(upper, bk_tpl_case(r, a[0], CASE_UPPER))
SAME(lower, bk_tpl_case(r, a[0], CASE_LOWER))
SAME(casefold, bk_tpl_case(r, a[0], CASE_FOLD))
SAME(swapcase, bk_tpl_case(r, a[0], CASE_SWAP))
SAME(title, bk_tpl_case(r, a[0], CASE_TITLE))
SAME(capitalize, bk_tpl_case(r, a[0], CASE_CAPITAL))

static bk_tv need(rt *r, bk_tv v, const char *who) { return bk_tpl_need_str(r, v, who); }

static bk_tv chars_arg(rt *r, bk_tv v) {
  if (!tv_given(v) || v.kind == TV_NONE) return tv_kind(TV_MISSING);
  return need(r, v, "strip()");
}
SAME(strip, bk_tpl_strip(a[0], chars_arg(r, a[1]), 3))
SAME(lstrip, bk_tpl_strip(a[0], chars_arg(r, a[1]), 1))
SAME(rstrip, bk_tpl_strip(a[0], chars_arg(r, a[1]), 2))

/* --- searching ------------------------------------------------------------------------------- */

/* s[start:end], and how many characters come before it. False: start lies past the end. */
static bool range(rt *r, bk_tv s, bk_tv startv, bk_tv endv, bk_tv *part, size_t *before) {
  int64_t n = -1, lo = 0, hi = INT64_MAX;
  if (tv_given(startv) && startv.kind != TV_NONE) lo = bk_tpl_as_int(r, startv, "start");
  if (tv_given(endv) && endv.kind != TV_NONE) hi = bk_tpl_as_int(r, endv, "end");
  *before = 0;
  *part = s;
  if (lo == 0 && hi == INT64_MAX) return true;
  n = (int64_t)bk_tpl_chars(s);
  if (lo < 0) lo = lo + n < 0 ? 0 : lo + n;
  if (hi < 0) hi = hi + n < 0 ? 0 : hi + n;
  if (hi > n) hi = n;
  if (lo > hi) return false;
  *part = bk_tpl_sub(s, (size_t)lo, (size_t)hi);
  *before = (size_t)lo;
  return true;
}

static int64_t find(rt *r, bk_tv *a, bool last, const char *who) {
  bk_tv s, what = need(r, a[1], who);
  size_t before;
  if (!range(r, a[0], a[2], a[3], &s, &before)) return -1;
  const char *hit = bk_tpl_find(s, 0, what);
  if (!hit) return -1;
  if (last) {
    for (size_t at = s.len - what.len + 1; at-- > 0;)
      if (memcmp(s.u.s + at, what.u.s, what.len) == 0) {
        hit = s.u.s + at;
        break;
      }
  }
  return (int64_t)(before + bk_tpl_chars(bk_tv_text(s.u.s, (size_t)(hit - s.u.s))));
}

static bk_tv index_of(rt *r, bk_tv *a, bool last, const char *who) {
  int64_t i = find(r, a, last, who);
  if (i < 0) bk_tpl_bad(r, "%s: substring not found", who);
  return bk_tv_int(i);
}
SAME(find, bk_tv_int(find(r, a, false, "find()")))
SAME(rfind, bk_tv_int(find(r, a, true, "rfind()")))
SAME(index, index_of(r, a, false, "index()"))
SAME(rindex, index_of(r, a, true, "rindex()"))

static bk_tv m_count(rt *r, bk_tv *a) {
  bk_tv s, what = need(r, a[1], "count()");
  size_t before;
  int64_t n = 0;
  if (!range(r, a[0], a[2], a[3], &s, &before)) return bk_tv_int(0);
  if (!what.len) return bk_tv_int((int64_t)bk_tpl_chars(s) + 1);
  const char *hit = s.u.s;
  for (; (hit = bk_tpl_find(s, (size_t)(hit - s.u.s), what)); hit += what.len) n++;
  return bk_tv_int(n);
}

static bool affix(bk_tv s, bk_tv x, bool end) {
  if (s.len < x.len || !x.len) return !x.len;
  return memcmp(end ? s.u.s + s.len - x.len : s.u.s, x.u.s, x.len) == 0;
}

static bk_tv affixed(rt *r, bk_tv *a, bool end) {
  const char *who = end ? "endswith()" : "startswith()";
  bk_tv s;
  size_t before;
  bool inside = range(r, a[0], a[2], a[3], &s, &before);
  if (a[1].kind != TV_TUPLE) return bk_tv_bool(affix(s, need(r, a[1], who), end) && inside);
  for (uint32_t i = 0; i < a[1].u.l->n; i++)
    if (affix(s, need(r, a[1].u.l->v[i], who), end) && inside) return bk_tv_bool(true);
  return bk_tv_bool(false);
}
SAME(startswith, affixed(r, a, false))
SAME(endswith, affixed(r, a, true))

static bk_tv m_removeprefix(rt *r, bk_tv *a) {
  bk_tv x = need(r, a[1], "removeprefix()");
  if (!affix(a[0], x, false)) return a[0];
  return tv_like(bk_tv_text(a[0].u.s + x.len, a[0].len - x.len), a[0]);
}

static bk_tv m_removesuffix(rt *r, bk_tv *a) {
  bk_tv x = need(r, a[1], "removesuffix()");
  if (!affix(a[0], x, true)) return a[0];
  return tv_like(bk_tv_text(a[0].u.s, a[0].len - x.len), a[0]);
}

/* --- splitting and joining ------------------------------------------------------------------- */

static void split_space(rt *r, struct tv_list *l, bk_tv s, int64_t max) {
  for (;;) {
    s = bk_tpl_strip(s, tv_kind(TV_MISSING), 1);
    if (!s.len) return;
    if (max-- == 0) break;
    const char *p = s.u.s, *end = p + s.len;
    while (p < end && !bk_tpl_space(p, end)) p += bk_tpl_u8len(p, end);
    bk_tpl_push(r, l, tv_like(bk_tv_text(s.u.s, (size_t)(p - s.u.s)), s));
    s = tv_like(bk_tv_text(p, (size_t)(end - p)), s);
  }
  bk_tpl_push(r, l, s); /* the rest, with the blanks at its end */
}

bk_tv bk_tpl_split(rt *r, bk_tv s, bk_tv sep, int64_t max) {
  bk_tv out = bk_tpl_list(r, 0);
  if (!tv_given(sep) || sep.kind == TV_NONE) {
    split_space(r, out.u.l, s, max);
    return out;
  }
  sep = need(r, sep, "split(): separator");
  if (!sep.len) bk_tpl_bad(r, "split(): empty separator");
  const char *p = s.u.s, *end = p + s.len;
  for (const char *hit; max != 0; max--, p = hit + sep.len) {
    hit = memmem(p, (size_t)(end - p), sep.u.s, sep.len);
    if (!hit) break;
    bk_tpl_push(r, out.u.l, tv_like(bk_tv_text(p, (size_t)(hit - p)), s));
  }
  bk_tpl_push(r, out.u.l, tv_like(bk_tv_text(p, (size_t)(end - p)), s));
  return out;
}

static int64_t max_arg(rt *r, bk_tv v) {
  return tv_given(v) ? bk_tpl_as_int(r, v, "maxsplit") : -1;
}

static bk_tv m_split(rt *r, bk_tv *a) { return bk_tpl_split(r, a[0], a[1], max_arg(r, a[2])); }

/* From the right: split all, then glue what is too much at the left together again. */
static bk_tv m_rsplit(rt *r, bk_tv *a) {
  int64_t max = max_arg(r, a[2]);
  bk_tv all = bk_tpl_split(r, a[0], a[1], -1);
  struct tv_list *l = all.u.l;
  if (max < 0 || l->n <= max + 1) return all;
  uint32_t glued = l->n - (uint32_t)max; /* pieces that form the first element */
  bk_tv first = l->v[glued - 1], out = bk_tpl_list(r, 0);
  first = bk_tv_text(a[0].u.s, (size_t)(first.u.s + first.len - a[0].u.s));
  bk_tpl_push(r, out.u.l, tv_like(first, a[0]));
  for (uint32_t i = glued; i < l->n; i++) bk_tpl_push(r, out.u.l, l->v[i]);
  return out;
}

static bk_tv m_splitlines(rt *r, bk_tv *a) {
  return bk_tpl_splitlines(r, a[0], tv_given(a[1]) && bk_tpl_truth(r, a[1]));
}

static bk_tv partition(rt *r, bk_tv *a, bool last) {
  bk_tv s = a[0], sep = need(r, a[1], "partition()"), none = bk_tv_text("", 0);
  if (!sep.len) bk_tpl_bad(r, "partition(): empty separator");
  const char *hit = bk_tpl_find(s, 0, sep);
  if (!hit)
    return bk_tpl_tuple_of(r, last ? (bk_tv[]){none, none, s} : (bk_tv[]){s, none, none}, 3);
  if (last)
    for (const char *next = hit; next; next = bk_tpl_find(s, (size_t)(next - s.u.s) + 1, sep))
      hit = next;
  size_t at = (size_t)(hit - s.u.s);
  bk_tv after = tv_like(bk_tv_text(hit + sep.len, s.len - at - sep.len), s);
  bk_tv v[3] = {tv_like(bk_tv_text(s.u.s, at), s), tv_like(sep, s), after};
  return bk_tpl_tuple_of(r, v, 3);
}
SAME(partition, partition(r, a, false))
SAME(rpartition, partition(r, a, true))

static bk_tv m_join(rt *r, bk_tv *a) {
  struct tv_iter it;
  bk_tv v;
  bool safe = a[0].flags & TVF_SAFE, first = true;
  bk_tpl_iter(r, &it, a[1]);
  size_t mark = bk_tpl_begin(r);
  for (; bk_tpl_next(r, &it, &v); first = false) {
    if (!first) bk_tpl_put_text(r, a[0]);
    if (safe) bk_tpl_put_escaped(r, v);
    else bk_tpl_put_text(r, need(r, v, "join(): item"));
  }
  return tv_like(bk_tpl_end(r, mark), a[0]);
}

static bk_tv m_replace(rt *r, bk_tv *a) {
  int64_t count = tv_given(a[3]) ? bk_tpl_as_int(r, a[3], "replace(): count") : -1;
  bk_tv from = need(r, a[1], "replace()"), to = need(r, a[2], "replace()");
  if (a[0].flags & TVF_SAFE) {
    from = bk_tpl_escape(r, from);
    to = bk_tpl_escape(r, to);
  }
  return tv_like(bk_tpl_replace(r, a[0], from, to, count), a[0]);
}

/* --- padding --------------------------------------------------------------------------------- */

static void fill(rt *r, int64_t n, bk_tv with) {
  if (n > 0) bk_tpl_size(r, (uint64_t)n * with.len);
  while (n-- > 0) bk_tpl_put(r, with.u.s, with.len);
}

static bk_tv pad(rt *r, bk_tv *a, int side, const char *who) {
  int64_t width = bk_tpl_as_int(r, a[1], "width"), n = (int64_t)bk_tpl_chars(a[0]), left, total;
  bk_tv with = tv_given(a[2]) ? need(r, a[2], who) : bk_tv_text(" ", 1);
  if (bk_tpl_chars(with) != 1) bk_tpl_bad(r, "%s: the fill character must be exactly one", who);
  if (width <= n) return a[0];
  total = width - n;
  left = side == 'l' ? 0 : side == 'r' ? total : total / 2 + (total & width & 1);
  size_t mark = bk_tpl_begin(r);
  fill(r, left, with);
  bk_tpl_put_text(r, a[0]);
  fill(r, total - left, with);
  return tv_like(bk_tpl_end(r, mark), a[0]);
}
SAME(ljust, pad(r, a, 'l', "ljust()"))
SAME(rjust, pad(r, a, 'r', "rjust()"))
SAME(center, pad(r, a, 'c', "center()"))

static bk_tv m_zfill(rt *r, bk_tv *a) {
  int64_t width = bk_tpl_as_int(r, a[1], "width"), n = (int64_t)bk_tpl_chars(a[0]);
  if (width <= n) return a[0];
  bool sign = a[0].len && (a[0].u.s[0] == '-' || a[0].u.s[0] == '+');
  size_t mark = bk_tpl_begin(r);
  bk_tpl_put(r, a[0].u.s, sign);
  fill(r, width - n, bk_tv_text("0", 1));
  bk_tpl_put(r, a[0].u.s + sign, a[0].len - sign);
  return tv_like(bk_tpl_end(r, mark), a[0]);
}

static bk_tv m_expandtabs(rt *r, bk_tv *a) {
  int64_t size = tv_given(a[1]) ? bk_tpl_as_int(r, a[1], "tabsize") : 8, col = 0;
  size_t mark = bk_tpl_begin(r), n;
  for (const char *p = a[0].u.s, *end = p + a[0].len; p < end; p += n) {
    n = bk_tpl_u8len(p, end);
    if (*p == '\t') {
      int64_t k = size > 0 ? size - col % size : 0;
      fill(r, k, bk_tv_text(" ", 1));
      col += k;
    } else {
      bk_tpl_put(r, p, n);
      col = *p == '\n' || *p == '\r' ? 0 : col + 1;
    }
  }
  return tv_like(bk_tpl_end(r, mark), a[0]);
}

static bk_tv m_format(rt *r, struct bk_tpl_args *a) {
  struct bk_tpl_args rest = {.v = a->v + 1, .n = a->n - 1, .kw = a->kw, .nkw = a->nkw};
  return bk_tpl_format(r, a->v[0], &rest, NULL);
}

static bk_tv m_format_map(rt *r, bk_tv *a) {
  struct bk_tpl_args none = {0};
  if (a[1].kind != TV_DICT) bk_tpl_bad(r, "format_map(): expected a mapping");
  return bk_tpl_format(r, a[0], &none, &a[1]);
}

/* --- questions ------------------------------------------------------------------------------- */

static bool cased(bk_tv s, const char *is, const char *not) {
  bool any = false;
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    size_t n;
    int32_t c = bk_tpl_u8get(p, end, &n);
    if (bk_tpl_cp_is(c, not)) return false;
    any = any || bk_tpl_cp_is(c, is);
    p += n;
  }
  return any;
}

static bool titled(bk_tv s) {
  bool in_word = false, any = false;
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    size_t n;
    int32_t c = bk_tpl_u8get(p, end, &n);
    bool up = bk_tpl_cp_is(c, "upper"), low = bk_tpl_cp_is(c, "lower");
    if (up && in_word) return false;
    if (low && !in_word) return false;
    in_word = up || low;
    any = any || in_word;
    p += n;
  }
  return any;
}

static bool only_ascii(bk_tv s) {
  for (uint32_t i = 0; i < s.len; i++)
    if (s.u.s[i] & 0x80) return false;
  return true;
}

/* Letters, and after the first also digits and combining marks. */
static bool identifier(bk_tv s) {
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    size_t n;
    int32_t c = bk_tpl_u8get(p, end, &n);
    bool ok = c == '_' || bk_tpl_cp_is(c, "alpha");
    if (p > s.u.s) ok = ok || (c >= '0' && c <= '9') || (c >= 0x300 && c < 0x370);
    if (!ok) return false;
    p += n;
  }
  return s.len > 0;
}

static bool printable(bk_tv s) {
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    size_t n;
    int32_t c = bk_tpl_u8get(p, end, &n);
    if (c < 0x20 || c == 0x7f || (c >= 0x80 && !bk_tpl_cp_is(c, "print"))) return false;
    p += n;
  }
  return true;
}

SAME(isalpha, bk_tv_bool(bk_tpl_class(a[0], "alpha") && !bk_tpl_class(a[0], "digit")))
SAME(isalnum, bk_tv_bool(bk_tpl_class(a[0], "alnum")))
SAME(isdigit, bk_tv_bool(bk_tpl_class(a[0], "digit")))
SAME(isspace, bk_tv_bool(bk_tpl_class(a[0], "space")))
SAME(islower, bk_tv_bool(cased(a[0], "lower", "upper")))
SAME(isupper, bk_tv_bool(cased(a[0], "upper", "lower")))
SAME(istitle, bk_tv_bool(titled(a[0])))
SAME(isascii, bk_tv_bool(only_ascii(a[0])))
SAME(isidentifier, bk_tv_bool(identifier(a[0])))
SAME(isprintable, bk_tv_bool(printable(a[0])))

#define M0(n) {.name = #n, .fn = m_##n, .need = 1, .params = {"self"}}
#define M1(n, p, k) {.name = #n, .fn = m_##n, .need = k, .params = {"self", p}}
#define M2(n, k, p, q) {.name = #n, .fn = m_##n, .need = k, .params = {"self", p, q}}
#define FIND(n) {.name = #n, .fn = m_##n, .need = 2, .params = {"self", "sub", "start", "end"}}
const struct tpl_fn bk_tpl_str_methods[] = {
    M0(upper), M0(lower), M0(swapcase), M0(title), M0(capitalize),
    M0(casefold),
    M1(strip, "chars", 1), M1(lstrip, "chars", 1), M1(rstrip, "chars", 1),
    FIND(find), FIND(rfind), FIND(index), FIND(rindex), FIND(count),
    FIND(startswith), FIND(endswith),
    M1(removeprefix, "prefix", 2), M1(removesuffix, "suffix", 2),
    M2(split, 1, "sep", "maxsplit"), M2(rsplit, 1, "sep", "maxsplit"),
    M1(splitlines, "keepends", 1),
    M1(partition, "sep", 2), M1(rpartition, "sep", 2), M1(join, "iterable", 2),
    {.name = "replace", .fn = m_replace, .need = 3, .params = {"self", "old", "new", "count"}},
    M2(ljust, 2, "width", "fillchar"), M2(rjust, 2, "width", "fillchar"),
    M2(center, 2, "width", "fillchar"), M1(zfill, "width", 2), M1(expandtabs, "tabsize", 1),
    {.name = "format", .raw = m_format}, M1(format_map, "mapping", 2),
    M0(isalpha), M0(isalnum), M0(isdigit), M0(isspace), M0(islower), M0(isupper), M0(istitle),
    M0(isascii), M0(isidentifier), M0(isprintable),
    {.name = "isdecimal", .fn = m_isdigit, .need = 1, .params = {"self"}},
    {.name = "isnumeric", .fn = m_isdigit, .need = 1, .params = {"self"}},
    {.name = NULL},
};
