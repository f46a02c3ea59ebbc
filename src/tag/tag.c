#include "tag/tag.h"

#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_safe(char c) { return is_word(c) || c == '.' || c == '-'; }
static bool is_edge(char c) { return c == '.' || c == '-' || c == '_'; }
static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Length of the UTF-8 sequence at s, 1 for anything malformed. */
static size_t sequence(const char *s, size_t len) {
  unsigned char c = (unsigned char)*s;
  size_t n = c >= 0xF0 && c < 0xF5 ? 4 : c >= 0xE0 && c < 0xF0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 1;
  if (n > len) return 1;
  for (size_t i = 1; i < n; i++)
    if (((unsigned char)s[i] & 0xC0) != 0x80) return 1;
  return n;
}

void bk_tag_replace(struct bk_buf *out, const char *s, size_t len) {
  for (size_t i = 0; i < len;) {
    size_t n = sequence(s + i, len - i);
    bk_buf_addc(out, n == 1 && is_safe(s[i]) ? s[i] : '-');
    i += n;
  }
}

void bk_tag_safe(struct bk_buf *out, const char *s, size_t len) {
  /* Unsafe characters become `-`, which the edges lose anyway: strip both kinds first. */
  while (len && (is_edge(*s) || !is_safe(*s))) s++, len--;
  while (len && (is_edge(s[len - 1]) || !is_safe(s[len - 1]))) len--;
  bk_tag_replace(out, s, len);
}

void bk_tag_normalize(struct bk_buf *out, const char *s, size_t len) {
  while (len && is_blank(*s)) s++, len--;
  while (len && is_blank(s[len - 1])) len--;
  while (len && is_edge(*s)) s++, len--;
  while (len && is_edge(s[len - 1])) len--;
  bk_tag_replace(out, s, len);
}

void bk_tag_strip_metadata(struct bk_buf *out, const char *s, size_t len) {
  const char *end = s + len;
  for (;;) {
    const char *nl = memchr(s, '\n', (size_t)(end - s));
    const char *stop = nl ? nl : end, *cut = stop;
    while (cut > s && cut[-1] != '+' && cut[-1] != '-') cut--;
    bk_buf_add(out, s, (size_t)((cut > s ? cut - 1 : stop) - s));
    if (!nl) return;
    bk_buf_addc(out, '\n');
    s = nl + 1;
  }
}

static size_t digits(const char *s, const char *end) {
  size_t n = 0;
  while (s + n < end && is_digit(s[n])) n++;
  return n;
}

void bk_tag_strip_patch(struct bk_buf *out, const char *s, size_t len) {
  const char *end = s + len;
  while (s < end) {
    size_t n = digits(s, end);
    if (!n) {
      bk_buf_addc(out, *s++);
      continue;
    }
    /* Groups of the run N(.N)* that begins here; the first two are kept. */
    const char *p = s + n, *second = NULL;
    int groups = 1;
    for (size_t k; p < end && *p == '.' && (k = digits(p + 1, end)); groups++) {
      p += 1 + k;
      if (groups == 1) second = p;
    }
    bk_buf_add(out, s, (size_t)((groups > 2 ? second : p) - s));
    s = p;
  }
}

void bk_tag_condense(struct bk_buf *out, const char *s, size_t len) {
  for (; len; s++, len--)
    if (*s != ' ' && *s != '\t' && *s != '.' && *s != '-') bk_buf_addc(out, *s);
}

bool bk_tag_is_valid(const char *s, size_t len) {
  if (len < 1 || len > 128 || !is_word(*s)) return false;
  for (size_t i = 1; i < len; i++)
    if (!is_safe(s[i])) return false;
  return true;
}

/* One bracket expression at p (after the `[`): whether c is in it; *next is set after the `]`.
 * Without a closing bracket the `[` is an ordinary character. */
static bool in_class(const char *p, const char *end, char c, const char **next) {
  const char *start = p;
  bool negated = p < end && (*p == '!' || *p == '^'), hit = false;
  if (negated) p++;
  for (bool first = true; p < end && (first || *p != ']'); first = false) {
    unsigned char low = (unsigned char)*p++, high = low;
    if (p + 1 < end && *p == '-' && p[1] != ']') {
      high = (unsigned char)p[1];
      p += 2;
    }
    hit = hit || ((unsigned char)c >= low && (unsigned char)c <= high);
  }
  if (p == end) {
    *next = start;
    return c == '[';
  }
  *next = p + 1;
  return hit != negated;
}

bool bk_tag_match(const char *pattern, size_t plen, const char *s, size_t len) {
  const char *p = pattern, *pend = pattern + plen, *send = s + len;
  const char *star = NULL, *retry = NULL;
  while (s < send) {
    const char *next = p + 1;
    bool hit;
    if (p < pend && *p == '*') {
      star = p++;
      retry = s;
      continue;
    }
    if (p == pend) hit = false;
    else if (*p == '?') hit = true;
    else if (*p == '[') hit = in_class(p + 1, pend, *s, &next);
    else hit = *p == *s;
    if (hit) {
      p = next;
      s++;
    } else if (star) {
      p = star + 1;
      s = ++retry;
    } else {
      return false;
    }
  }
  while (p < pend && *p == '*') p++;
  return p == pend;
}

/* Digit runs by value; the same value with fewer leading zeros first is left to the byte order. */
static int compare_digits(const char **a, const char *ae, const char **b, const char *be) {
  while (*a < ae && **a == '0') (*a)++;
  while (*b < be && **b == '0') (*b)++;
  size_t na = digits(*a, ae), nb = digits(*b, be);
  int c = na != nb ? (na < nb ? -1 : 1) : na ? memcmp(*a, *b, na) : 0;
  *a += na;
  *b += nb;
  return c;
}

/* Rank of what follows where one text goes on differently: `-…` < end < `+…` < `.…` < the rest. */
static int rank(const char *p, const char *end) {
  if (p == end) return 1;
  switch (*p) {
    case '-': return 0;
    case '+': return 2;
    case '.': return 3;
    default: return is_digit(*p) ? 4 : 5;
  }
}

int bk_tag_compare(const char *a, size_t alen, const char *b, size_t blen) {
  const char *p = a, *q = b, *pe = a + alen, *qe = b + blen;
  while (p < pe && q < qe) {
    int c;
    if (is_digit(*p) && is_digit(*q)) {
      c = compare_digits(&p, pe, &q, qe);
    } else if (*p == *q) {
      p++, q++;
      continue;
    } else {
      c = rank(p, pe) - rank(q, qe);
      if (!c) c = (unsigned char)*p - (unsigned char)*q;
    }
    if (c) return c < 0 ? -1 : 1;
  }
  int c = rank(p, pe) - rank(q, qe);
  if (c) return c < 0 ? -1 : 1;
  size_t n = alen < blen ? alen : blen;
  c = n ? memcmp(a, b, n) : 0;
  return c ? (c > 0) - (c < 0) : (alen > blen) - (alen < blen);
}
