/* Breaking a line at white space and hyphens the way Python's textwrap does. */
#include "template/template_run.h"

struct chunk { size_t from, to; }; /* characters */

struct wrap {
  rt *r;
  const char *s;       /* the line */
  const int32_t *c;    /* its characters … */
  const uint32_t *at;  /* … and where each begins; at[n] is the end */
  size_t n;
};

static bool blank(int32_t c) { return (c >= 9 && c <= 13) || c == ' '; }
static bool word(int32_t c) { return c == '_' || bk_tpl_cp_is(c, "alnum"); }
static bool punct(int32_t c) { return word(c) || (c > 0 && c < 128 && strchr("!\"'&.,?", (int)c)); }
static bool letter(int32_t c) { return word(c) && !bk_tpl_cp_is(c, "digit"); }

/* Two or more dashes at i with a word after them and one before. */
static size_t em_dash(const struct wrap *w, size_t i) {
  size_t j = i;
  if (i == 0 || !punct(w->c[i - 1])) return 0;
  while (j < w->n && w->c[j] == '-') j++;
  return j - i >= 2 && j < w->n && word(w->c[j]) ? j : 0;
}

/* The hyphen at k may end a line: letters on both sides of it. */
static bool hyphen(const struct wrap *w, size_t k) {
  const int32_t *c = w->c;
  if (c[k] != '-') return false;
  bool before = (k >= 2 && letter(c[k - 1]) && letter(c[k - 2])) ||
                (k >= 3 && letter(c[k - 3]) && c[k - 2] == '-' && punct(c[k - 1]));
  if (!before || k + 1 >= w->n || !letter(c[k + 1])) return false;
  size_t j = k + 2;
  if (j < w->n && c[j] == '-') j++;
  return j < w->n && letter(c[j]);
}

static size_t chunk_end(const struct wrap *w, size_t i, bool hyphens) {
  size_t j = i;
  if (blank(w->c[i])) {
    while (j < w->n && blank(w->c[j])) j++;
    return j;
  }
  if (hyphens && w->c[i] == '-' && (j = em_dash(w, i))) return j;
  for (j = i + 1; j < w->n && !blank(w->c[j]); j++) {
    if (!hyphens) continue;
    if (hyphen(w, j)) return j + 1;
    if (w->c[j] == '-' && em_dash(w, j)) return j;
  }
  return j;
}

static void put(const struct wrap *w, size_t from, size_t to) {
  bk_tpl_put(w->r, w->s + w->at[from], w->at[to] - w->at[from]);
}

/* How much of the chunk, too long for any line, still fits into `left` characters. */
static size_t break_word(const struct wrap *w, const struct chunk *ch, size_t left, bool hyphens) {
  if (hyphens && ch->to - ch->from > left) {
    for (size_t k = ch->from + left; k-- > ch->from + 1;) {
      if (w->c[k] != '-') continue;
      for (size_t j = ch->from; j < k; j++)
        if (w->c[j] != '-') return k + 1;
      break;
    }
  }
  return ch->from + left < ch->to ? ch->from + left : ch->to;
}

void bk_tpl_wrap_line(rt *r, bk_tv line, size_t width, bool long_words, bool hyphens, bk_tv with) {
  size_t n = bk_tpl_chars(line), i = 0, nch = 0, lines = 0;
  int32_t *c = bk_tpl_alloc(r, sizeof *c * (n + 1));
  uint32_t *at = bk_tpl_alloc(r, sizeof *at * (n + 1));
  for (const char *p = line.u.s, *end = p + line.len; p < end; i++) {
    size_t len;
    at[i] = (uint32_t)(p - line.u.s);
    c[i] = bk_tpl_u8get(p, end, &len);
    p += len;
  }
  at[n] = line.len;
  struct wrap w = {.r = r, .s = line.u.s, .c = c, .at = at, .n = n};
  struct chunk *ch = bk_tpl_alloc(r, sizeof *ch * (n + 1));
  for (i = 0; i < n; i = ch[nch++].to) ch[nch] = (struct chunk){i, chunk_end(&w, i, hyphens)};
  for (i = 0; i < nch;) {
    bk_tpl_step(r, 1);
    if (lines && blank(c[ch[i].from])) i++; /* only the first line may begin with blanks */
    if (i == nch) break;
    size_t start = ch[i].from, end = start, last = start; /* of the line; its last piece */
    while (i < nch && ch[i].to - start <= width) last = ch[i].from, end = ch[i++].to;
    if (i < nch && ch[i].to - ch[i].from > width && (long_words || end == start)) {
      last = ch[i].from;
      end = long_words ? break_word(&w, &ch[i], width - (end - start), hyphens) : ch[i].to;
      ch[i].from = end;
      if (end == ch[i].to) i++;
    }
    if (end > last && blank(c[last])) end = last;
    if (end == start) continue;
    if (lines++) bk_tpl_put_text(r, with);
    put(&w, start, end);
  }
}
