/* Filters on text. Unless said otherwise the input is taken as str(value). */
#include <stdio.h>

#include "template/template_run.h"

static bk_tv f_lower(rt *r, bk_tv *a) { return bk_tpl_case(r, bk_tpl_str(r, a[0]), CASE_LOWER); }
static bk_tv f_upper(rt *r, bk_tv *a) { return bk_tpl_case(r, bk_tpl_str(r, a[0]), CASE_UPPER); }
static bk_tv f_capitalize(rt *r, bk_tv *a) {
  return bk_tpl_case(r, bk_tpl_str(r, a[0]), CASE_CAPITAL);
}
static bk_tv f_string(rt *r, bk_tv *a) { return bk_tpl_str(r, a[0]); }
static bk_tv f_trim(rt *r, bk_tv *a) { return bk_tpl_strip(bk_tpl_str(r, a[0]), a[1], 3); }

static void spaces(rt *r, int64_t n) {
  static const char blank[] = "                                ";
  if (n <= 0) return;
  bk_tpl_size(r, (uint64_t)n);
  for (; n > 0; n -= 32) bk_tpl_put(r, blank, n > 32 ? 32 : (size_t)n);
}

static bk_tv f_center(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_str(r, a[0]);
  int64_t width = tv_given(a[1]) ? bk_tpl_as_int(r, a[1], "center(): width") : 80;
  int64_t pad = width - (int64_t)bk_tpl_chars(s), left;
  if (pad <= 0) return s;
  left = pad / 2 + (pad & width & 1);
  size_t mark = bk_tpl_begin(r);
  spaces(r, left);
  bk_tpl_put_text(r, s);
  spaces(r, pad - left);
  return tv_like(bk_tpl_end(r, mark), s);
}

/* Line at *at without its end; false when there is none left. Python's line ends. */
static bool next_line(bk_tv s, size_t *at, bk_tv *line) {
  if (*at >= s.len) return false;
  const char *p = s.u.s + *at, *end = s.u.s + s.len, *q = p;
  size_t n = 1;
  for (; q < end; q += n) {
    if (*q >= 0x20 && *q < 0x7f) { /* most of all text */
      n = 1;
      continue;
    }
    int32_t c = bk_tpl_u8get(q, end, &n);
    if ((c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029)
      break;
  }
  *line = bk_tv_text(p, (size_t)(q - p));
  if (q < end) {
    if (*q == '\r' && q + 1 < end && q[1] == '\n') n = 2;
    q += n;
  }
  *at = (size_t)(q - s.u.s);
  return true;
}

static bk_tv f_indent(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_need_str(r, a[0], "indent()"), by = a[1];
  bool first = tv_given(a[2]) && bk_tpl_truth(r, a[2]);
  bool blank = tv_given(a[3]) && bk_tpl_truth(r, a[3]);
  int64_t width = 4;
  if (tv_given(by) && by.kind != TV_STR) width = bk_tpl_as_int(r, by, "indent(): width");
  bk_tv line, text = bk_tpl_binary(r, T_ADD, s, tv_strz("\n")); /* so a last empty line counts */
  size_t mark = bk_tpl_begin(r);
  for (size_t at = 0, from = 0; next_line(text, &at, &line); from = at) {
    if (from) bk_tpl_put(r, "\n", 1);
    if (from ? blank || line.len : first) {
      if (by.kind == TV_STR) bk_tpl_put_text(r, by);
      else spaces(r, width);
    }
    bk_tpl_put_text(r, line);
  }
  return tv_like(bk_tpl_end(r, mark), s);
}

static bk_tv f_replace(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_str(r, a[0]), from = bk_tpl_str(r, a[1]), to = bk_tpl_str(r, a[2]);
  bool all = !tv_given(a[3]) || a[3].kind == TV_NONE;
  int64_t count = all ? -1 : bk_tpl_as_int(r, a[3], "replace(): count");
  return bk_tpl_replace(r, s, from, to, count);
}

bk_tv bk_tpl_replace(rt *r, bk_tv s, bk_tv from, bk_tv to, int64_t count) {
  size_t mark = bk_tpl_begin(r), at = 0;
  while (count != 0 && at <= s.len) {
    const char *hit = bk_tpl_find(s, at, from);
    if (!hit) break;
    size_t pos = (size_t)(hit - s.u.s);
    bk_tpl_put(r, s.u.s + at, pos - at);
    bk_tpl_put_text(r, to);
    at = pos + from.len;
    if (!from.len) { /* between all characters, and at both ends */
      if (pos == s.len) {
        at = pos + 1;
        break;
      }
      size_t n = bk_tpl_u8len(hit, s.u.s + s.len);
      if (count == 1) {
        count = 0;
        break;
      }
      bk_tpl_put(r, hit, n);
      at = pos + n;
    }
    if (count > 0) count--;
  }
  if (at < s.len) bk_tpl_put(r, s.u.s + at, s.len - at);
  return bk_tpl_end(r, mark);
}

static bool word_begins_after(int32_t c) {
  return bk_tpl_cp_is(c, "space") || (c > 0 && c < 128 && strchr("-({[<", (int)c));
}

static bk_tv f_title(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_str(r, a[0]);
  size_t mark = bk_tpl_begin(r), n;
  const char *end = s.u.s + s.len;
  for (const char *p = s.u.s; p < end;) {
    const char *q = p;
    bool sep = word_begins_after(bk_tpl_u8get(p, end, &n));
    while (q < end && word_begins_after(bk_tpl_u8get(q, end, &n)) == sep) q += n;
    bk_tv word = bk_tv_text(p, (size_t)(q - p));
    bk_tpl_put_text(r, sep ? word : bk_tpl_case(r, word, CASE_CAPITAL));
    p = q;
  }
  return bk_tpl_end(r, mark);
}

/* What is short enough comes back as it is, whatever it is. */
static bk_tv f_truncate(rt *r, bk_tv *a) {
  bk_tv s = a[0], end = tv_strz("...");
  if (tv_given(a[3])) end = bk_tpl_need_str(r, a[3], "truncate(): end");
  int64_t length = tv_given(a[1]) ? bk_tpl_as_int(r, a[1], "truncate(): length") : 255, leeway = 5;
  int64_t tail = (int64_t)bk_tpl_chars(end), n;
  if (tv_given(a[4]) && a[4].kind != TV_NONE) leeway = bk_tpl_as_int(r, a[4], "truncate(): leeway");
  if (length < tail) bk_tpl_bad(r, "truncate(): length must be at least %lld", (long long)tail);
  if (leeway < 0) bk_tpl_bad(r, "truncate(): leeway must not be negative");
  n = bk_tpl_len(r, s);
  if (n < 0) bk_tpl_bad(r, "object of type '%s' has no len()", bk_tpl_type(s));
  if (leeway > INT64_MAX - length || n <= length + leeway) return s;
  bk_tv cut = bk_tpl_sub(bk_tpl_need_str(r, s, "truncate()"), 0, (size_t)(length - tail));
  if (!tv_given(a[2]) || !bk_tpl_truth(r, a[2])) {
    const char *blank = memrchr(cut.u.s, ' ', cut.len);
    if (blank) cut.len = (uint32_t)(blank - cut.u.s);
  }
  return bk_tpl_binary(r, T_ADD, cut, end);
}

static bk_tv f_wordcount(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_str(r, a[0]);
  int64_t words = 0;
  bool in = false;
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    size_t n;
    int32_t c = bk_tpl_u8get(p, end, &n);
    bool w = c == '_' || bk_tpl_cp_is(c, "alnum");
    words += w && !in;
    in = w;
    p += n;
  }
  return bk_tv_int(words);
}

static bk_tv f_format(rt *r, struct bk_tpl_args *a) {
  if (!a->n) bk_tpl_bad(r, "format(): the format string is missing");
  if (a->n > 1 && a->nkw) bk_tpl_bad(r, "format(): positional or keyword arguments, not both");
  bk_tv fmt = bk_tpl_str(r, a->v[0]);
  if (!a->nkw) return bk_tpl_percent(r, fmt, bk_tpl_tuple_of(r, a->v + 1, a->n - 1));
  bk_tv d = bk_tv_dict(r, 0);
  for (uint32_t i = 0; i < a->nkw; i++)
    bk_tpl_set(r, d.u.d, bk_tv_text(a->kw[i].name, a->kw[i].len), a->kw[i].v);
  return bk_tpl_percent(r, fmt, d);
}

static bk_tv f_wordwrap(rt *r, bk_tv *a) {
  bk_tv s = bk_tpl_need_str(r, a[0], "wordwrap()"), line;
  bk_tv with = tv_strz("\n");
  if (tv_given(a[3]) && a[3].kind != TV_NONE)
    with = bk_tpl_need_str(r, a[3], "wordwrap(): wrapstring");
  int64_t width = tv_given(a[1]) ? bk_tpl_as_int(r, a[1], "wordwrap(): width") : 79;
  bool long_words = !tv_given(a[2]) || bk_tpl_truth(r, a[2]);
  bool hyphens = !tv_given(a[4]) || bk_tpl_truth(r, a[4]);
  if (width <= 0) bk_tpl_bad(r, "wordwrap(): invalid width %lld (must be > 0)", (long long)width);
  size_t mark = bk_tpl_begin(r);
  bool first = true;
  for (size_t at = 0; next_line(s, &at, &line); first = false) {
    if (!first) bk_tpl_put_text(r, with);
    bk_tpl_wrap_line(r, line, (size_t)width, long_words, hyphens, with);
  }
  return bk_tpl_end(r, mark);
}

bk_tv bk_tpl_splitlines(rt *r, bk_tv s, bool keep) {
  bk_tv out = bk_tpl_list(r, 0), line;
  for (size_t at = 0, from = 0; next_line(s, &at, &line); from = at) {
    if (keep) line.len = (uint32_t)(at - from);
    bk_tpl_push(r, out.u.l, tv_like(line, s));
  }
  return out;
}

const struct tpl_fn bk_tpl_filters_text[] = {
    {.name = "lower", .fn = f_lower, .need = 1, .params = {"s"}},
    {.name = "upper", .fn = f_upper, .need = 1, .params = {"s"}},
    {.name = "capitalize", .fn = f_capitalize, .need = 1, .params = {"s"}},
    {.name = "string", .fn = f_string, .need = 1, .params = {"object"}},
    {.name = "trim", .fn = f_trim, .need = 1, .params = {"value", "chars"}},
    {.name = "center", .fn = f_center, .need = 1, .params = {"value", "width"}},
    {.name = "indent", .fn = f_indent, .need = 1, .params = {"s", "width", "first", "blank"}},
    {.name = "replace", .fn = f_replace, .need = 3, .params = {"s", "old", "new", "count"}},
    {.name = "title", .fn = f_title, .need = 1, .params = {"s"}},
    {.name = "truncate", .fn = f_truncate, .need = 1,
     .params = {"s", "length", "killwords", "end", "leeway"}},
    {.name = "wordcount", .fn = f_wordcount, .need = 1, .params = {"s"}},
    {.name = "wordwrap", .fn = f_wordwrap, .need = 1,
     .params = {"s", "width", "break_long_words", "wrapstring", "break_on_hyphens"}},
    {.name = "format", .raw = f_format},
    {.name = "pprint", .fn = bk_tpl_pprint, .need = 1, .params = {"value"}},
    {.name = NULL},
};
