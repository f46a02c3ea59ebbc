#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "snapshot/glob.h"

/* A pattern is a row of tokens; state i means "tokens before i are matched". */
enum op {
  CHAR,    /* one character */
  ANY,     /* one character but '/' */
  CLASS,   /* [...]: may match '/', as in Go */
  STAR,    /* any number of characters but '/' */
  DEEP,    /* "**" or "**" and '/' in the middle: nothing, or anything that ends in '/' */
  DEEP_IN, /* second half of DEEP: at least one character seen, no end yet */
  ALL,     /* anything at all */
};

struct token {
  uint8_t op;
  bool negated;       /* CLASS */
  uint16_t n;         /* CLASS: number of ranges */
  uint32_t c;         /* CHAR: code; CLASS: index of the first range */
};

struct range {
  uint32_t lo, hi;
};

struct bk_glob {
  struct token *tokens;
  size_t n, cap;
  struct range *ranges;
  size_t n_ranges, cap_ranges;
  /* What every match begins and ends with: most texts fail here already. */
  char *text;
  size_t prefix, suffix; /* bytes of text; the suffix stands after the prefix */
  bool literal;          /* no wildcard at all: text is the only match */
  bool ends_with;        /* "**x": anything that ends in text */
};

/* One character of s[0..n), n > 0; a byte that is not UTF-8 becomes a code of its own. */
static size_t decode(const char *s, size_t n, uint32_t *out) {
  const unsigned char *p = (const unsigned char *)s;
  size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3
               : p[0] < 0xf5 ? 4 : 0;
  uint32_t c = len == 1 ? p[0] : len == 2 ? p[0] & 0x1fu : len == 3 ? p[0] & 0x0fu : p[0] & 0x07u;
  bool ok = len && len <= n;
  for (size_t i = 1; ok && i < len; i++) {
    ok = (p[i] & 0xc0) == 0x80;
    c = c << 6 | (p[i] & 0x3fu);
  }
  if (ok && len == 3) ok = c >= 0x800 && !(c >= 0xd800 && c < 0xe000);
  if (ok && len == 4) ok = c >= 0x10000 && c <= 0x10ffff;
  *out = ok ? c : 0x110000u + p[0];
  return ok ? len : 1;
}

/* --- compiling ------------------------------------------------------------------------------- */

static struct token *add(struct bk_glob *g, enum op op) {
  if (g->n == g->cap) g->tokens = bk_reallocarray(g->tokens, g->cap = g->cap ? g->cap * 2 : 16,
                                                  sizeof *g->tokens);
  g->tokens[g->n] = (struct token){.op = (uint8_t)op};
  return &g->tokens[g->n++];
}

static int malformed(const char *pattern, size_t n, const char *why, struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "glob.syntax", "malformed pattern '%.*s': %s",
                 n > 200 ? 200 : (int)n, pattern, why);
}

/* One bound of a range, possibly escaped: bytes used, 0 when there is none. */
static size_t class_char(const char *p, size_t n, uint32_t *c) {
  if (n == 0 || *p == '-' || *p == ']') return 0;
  size_t esc = *p == '\\';
  if (esc == n) return 0;
  return esc + decode(p + esc, n - esc, c);
}

/* p is behind '['; returns bytes used including ']', or 0. The grammar is that of Go's Match:
 * '[' [ '^' ] { lo [ '-' hi ] } ']' with at least one range. */
static size_t add_class(struct bk_glob *g, const char *p, size_t n) {
  size_t at = 0, first = g->n_ranges;
  bool negated = n && *p == '^';
  if (negated) at++;
  while (at < n && (p[at] != ']' || g->n_ranges == first)) {
    struct range r;
    size_t used = class_char(p + at, n - at, &r.lo);
    if (!used) return 0;
    at += used;
    r.hi = r.lo;
    if (at < n && p[at] == '-') {
      used = class_char(p + at + 1, n - at - 1, &r.hi);
      if (!used) return 0;
      at += 1 + used;
    }
    if (g->n_ranges == g->cap_ranges)
      g->ranges = bk_reallocarray(g->ranges, g->cap_ranges = g->cap_ranges ? g->cap_ranges * 2 : 8,
                                  sizeof *g->ranges);
    g->ranges[g->n_ranges++] = r;
  }
  if (at >= n) return 0;
  struct token *t = add(g, CLASS);
  t->negated = negated;
  t->c = (uint32_t)first;
  t->n = (uint16_t)(g->n_ranges - first);
  return at + 1;
}

/* p is at a '*'; returns bytes used. */
static size_t add_star(struct bk_glob *g, const char *p, size_t n, enum bk_glob_kind kind) {
  if (kind == BK_GLOB_PATH || n < 2 || p[1] != '*') {
    if (!g->n || g->tokens[g->n - 1].op != STAR) add(g, STAR);
    return 1;
  }
  size_t used = 2 + (n > 2 && p[2] == '/');
  if (used == n) {
    add(g, ALL);
  } else {
    add(g, DEEP);
    add(g, DEEP_IN);
  }
  return used;
}

static int compile(struct bk_glob *g, const char *p, size_t n, enum bk_glob_kind kind,
                   struct bk_err *err) {
  for (size_t at = 0; at < n;) {
    size_t used = 1;
    if (p[at] == '*') {
      used = add_star(g, p + at, n - at, kind);
    } else if (p[at] == '?') {
      add(g, ANY);
    } else if (p[at] == '[') {
      used = add_class(g, p + at + 1, n - at - 1);
      if (!used++) return malformed(p, n, "bad or unclosed '['", err);
    } else {
      size_t esc = p[at] == '\\';
      if (at + esc == n) return malformed(p, n, "nothing after the last '\\'", err);
      uint32_t c;
      used = esc + decode(p + at + esc, n - at - esc, &c);
      add(g, CHAR)->c = c;
    }
    at += used;
  }
  return 0;
}

static void encode(char *out, size_t *n, uint32_t c) {
  if (c >= 0x110000) out[(*n)++] = (char)(c - 0x110000);
  else if (c < 0x80) out[(*n)++] = (char)c;
  else {
    int extra = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[(*n)++] = (char)(lead[extra] | c >> (6 * extra));
    while (extra--) out[(*n)++] = (char)(0x80 | (c >> (6 * extra) & 0x3f));
  }
}

/* Finds the literal ends of the pattern. */
static void fix_ends(struct bk_glob *g, const char *pattern, size_t n) {
  size_t from = 0, to = g->n, len = 0;
  g->text = bk_malloc(n + 1);
  while (from < g->n && g->tokens[from].op == CHAR) encode(g->text, &len, g->tokens[from++].c);
  g->prefix = len;
  g->literal = from == g->n;
  if (g->literal) return;
  while (to > from && g->tokens[to - 1].op == CHAR) to--;
  for (size_t i = to; i < g->n; i++) encode(g->text, &len, g->tokens[i].c);
  g->suffix = len - g->prefix;
  /* "**x" with x literal matches by its end alone, also inside a name: "ba" by "**a", as moby's
   * patternmatcher has it. With a slash, "**" and "/x", it is x or anything that ends in "/x". */
  bool slash = n > 2 && pattern[2] == '/';
  g->ends_with = g->prefix == 0 && to == 2 && g->tokens[0].op == DEEP && !slash;
}

struct bk_glob *bk_glob_compile(const char *pattern, size_t n, enum bk_glob_kind kind,
                                struct bk_err *err) {
  if (n > BK_GLOB_MAX) {
    bk_fail(err, BK_BUILD, "glob.syntax", "pattern '%.60s…' is longer than %d bytes", pattern,
            BK_GLOB_MAX);
    return NULL;
  }
  struct bk_glob *g = bk_calloc(1, sizeof *g);
  if (compile(g, pattern, n, kind, err)) {
    bk_glob_free(g);
    return NULL;
  }
  fix_ends(g, pattern, n);
  return g;
}

void bk_glob_free(struct bk_glob *g) {
  if (!g) return;
  free(g->tokens);
  free(g->ranges);
  free(g->text);
  free(g);
}

bool bk_glob_has_magic(const char *s) {
  for (; *s; s++) {
    if (*s == '\\') {
      if (!*++s) return false;
    } else if (*s == '*' || *s == '?' || *s == '[') {
      return true;
    }
  }
  return false;
}

/* --- matching -------------------------------------------------------------------------------- */

struct states {
  uint16_t *list;
  size_t n;
  uint32_t *mark, turn; /* mark[i] == turn: i is in the list */
};

/* Adds a state and those it reaches without a character. */
static void enter(const struct bk_glob *g, struct states *s, size_t i) {
  for (;; i++) {
    if (s->mark[i] == s->turn) return;
    s->mark[i] = s->turn;
    s->list[s->n++] = (uint16_t)i;
    if (i == g->n) return;
    switch (g->tokens[i].op) {
      case STAR:
      case ALL: break; /* may match nothing */
      case DEEP: i++; break;
      default: return;
    }
  }
}

static bool in_class(const struct bk_glob *g, const struct token *t, uint32_t c) {
  bool in = false;
  for (size_t i = 0; i < t->n && !in; i++)
    in = g->ranges[t->c + i].lo <= c && c <= g->ranges[t->c + i].hi;
  return in != t->negated;
}

static void step(const struct bk_glob *g, size_t i, uint32_t c, struct states *to) {
  const struct token *t = &g->tokens[i];
  if (i == g->n) return;
  switch ((enum op)t->op) {
    case CHAR:
      if (t->c == c) enter(g, to, i + 1);
      break;
    case ANY:
      if (c != '/') enter(g, to, i + 1);
      break;
    case CLASS:
      if (in_class(g, t, c)) enter(g, to, i + 1);
      break;
    case STAR:
      if (c != '/') enter(g, to, i);
      break;
    case ALL: enter(g, to, i); break;
    case DEEP:
      if (c == '/') enter(g, to, i + 2);
      enter(g, to, i + 1);
      break;
    case DEEP_IN:
      if (c == '/') enter(g, to, i + 1);
      enter(g, to, i);
      break;
  }
}

static bool simulate(const struct bk_glob *g, const char *text, size_t n) {
  enum { SMALL = 128 };
  uint16_t lists[2][SMALL];
  uint32_t marks[2][SMALL];
  size_t size = g->n + 1;
  void *heap = NULL;
  struct states a = {.list = lists[0], .mark = marks[0]}, b = {.list = lists[1], .mark = marks[1]};
  if (size > SMALL) {
    heap = bk_malloc(size * 2 * (sizeof *a.list + sizeof *a.mark));
    a.mark = heap;
    b.mark = a.mark + size;
    a.list = (uint16_t *)(b.mark + size);
    b.list = a.list + size;
  }
  memset(a.mark, 0, size * sizeof *a.mark);
  memset(b.mark, 0, size * sizeof *b.mark);
  a.turn = 1;
  enter(g, &a, 0);
  uint32_t turn = 1;
  while (n && a.n) {
    uint32_t c;
    size_t used = decode(text, n, &c);
    text += used;
    n -= used;
    b.n = 0;
    b.turn = ++turn;
    for (size_t i = 0; i < a.n; i++) step(g, a.list[i], c, &b);
    struct states swap = a;
    a = b;
    b = swap;
  }
  bool ok = n == 0 && a.n && a.mark[g->n] == a.turn;
  free(heap);
  return ok;
}

bool bk_glob_match(const struct bk_glob *g, const char *text, size_t n) {
  if (g->literal) return n == g->prefix && memcmp(text, g->text, n) == 0;
  if (g->ends_with)
    return n >= g->suffix && memcmp(text + n - g->suffix, g->text, g->suffix) == 0;
  if (n < g->prefix || memcmp(text, g->text, g->prefix) != 0) return false;
  if (n < g->suffix || memcmp(text + n - g->suffix, g->text + g->prefix, g->suffix) != 0)
    return false;
  return simulate(g, text, n);
}
