/* UTF-8, character classes, case, stripping. Bytes that are not UTF-8 count as one character each
 * and are kept as they are. Classes and simple case mappings come from the C.UTF-8 locale. */
#include <locale.h>
#include <wctype.h>

#include "template/template_run.h"

static locale_t shared;

__attribute__((destructor)) static void drop_locale(void) {
  if (shared) freelocale(shared);
  shared = (locale_t)0;
}

static locale_t utf8_locale(void) {
  locale_t l = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
  if (l) return l;
  l = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  if (!l) l = newlocale(LC_CTYPE_MASK, "C", (locale_t)0);
  locale_t none = (locale_t)0;
  if (!__atomic_compare_exchange_n(&shared, &none, l, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    freelocale(l);
    l = none;
  }
  return l;
}

int32_t bk_tpl_u8get(const char *s, const char *end, size_t *len) {
  unsigned char c = (unsigned char)*s;
  *len = 1;
  if (c < 0x80) return c;
  size_t n = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 0;
  if (!n || (size_t)(end - s) < n) return -1;
  int32_t v = c & (0x7f >> n);
  for (size_t i = 1; i < n; i++) {
    if (((unsigned char)s[i] & 0xc0) != 0x80) return -1;
    v = v << 6 | (s[i] & 0x3f);
  }
  static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000)) return -1;
  *len = n;
  return v;
}

size_t bk_tpl_u8len(const char *s, const char *end) {
  size_t n;
  if (!(*s & 0x80)) return 1;
  bk_tpl_u8get(s, end, &n);
  return n;
}

void bk_tpl_u8put(rt *r, uint32_t c) {
  char b[4];
  size_t n = 1;
  if (c < 0x80) {
    b[0] = (char)c;
  } else if (c < 0x800) {
    b[0] = (char)(0xc0 | c >> 6);
    b[1] = (char)(0x80 | (c & 63));
    n = 2;
  } else {
    n = c < 0x10000 ? 3 : 4;
    if (n == 4) b[0] = (char)(0xf0 | c >> 18);
    else b[0] = (char)(0xe0 | c >> 12);
    if (n == 4) b[1] = (char)(0x80 | (c >> 12 & 63));
    b[n - 2] = (char)(0x80 | (c >> 6 & 63));
    b[n - 1] = (char)(0x80 | (c & 63));
  }
  bk_tpl_put(r, b, n);
}

static bool ascii(bk_tv s) {
  for (uint32_t i = 0; i < s.len; i++)
    if (s.u.s[i] & 0x80) return false;
  return true;
}

size_t bk_tpl_chars(bk_tv s) {
  size_t n = 0;
  if (ascii(s)) return s.len;
  for (const char *p = s.u.s, *end = p + s.len; p < end; p += bk_tpl_u8len(p, end)) n++;
  return n;
}

size_t bk_tpl_offset(bk_tv s, size_t chars) {
  const char *p = s.u.s, *end = p + s.len;
  while (chars-- && p < end) p += bk_tpl_u8len(p, end);
  return (size_t)(p - s.u.s);
}

bk_tv bk_tpl_sub(bk_tv s, size_t from, size_t to) {
  size_t a = bk_tpl_offset(s, from);
  bk_tv rest = bk_tv_text(s.u.s + a, s.len - a);
  bk_tv out = bk_tv_text(rest.u.s, to > from ? bk_tpl_offset(rest, to - from) : 0);
  return tv_like(out, s);
}

static bool space_cp(int32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || c == ' ' || (c >= 0x1c && c <= 0x1f);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t bk_tpl_space(const char *s, const char *end) {
  size_t n;
  int32_t c = bk_tpl_u8get(s, end, &n);
  return c >= 0 && space_cp(c) ? n : 0;
}

/* Start of the character that ends at p. */
static const char *back(const char *start, const char *p) {
  const char *q = p - 1;
  while (q > start && p - q < 4 && ((unsigned char)*q & 0xc0) == 0x80) q--;
  size_t n;
  return bk_tpl_u8get(q, p, &n) >= 0 && q + n == p ? q : p - 1;
}

static bool in_set(const char *s, size_t n, bk_tv set) {
  for (const char *p = set.u.s, *end = p + set.len; p < end;) {
    size_t m = bk_tpl_u8len(p, end);
    if (m == n && memcmp(p, s, n) == 0) return true;
    p += m;
  }
  return false;
}

bk_tv bk_tpl_strip(bk_tv s, bk_tv chars, int sides) {
  const char *a = s.u.s, *b = a + s.len;
  bool set = chars.kind == TV_STR;
  while (sides & 1 && a < b) {
    size_t n = bk_tpl_u8len(a, b);
    if (set ? !in_set(a, n, chars) : !bk_tpl_space(a, b)) break;
    a += n;
  }
  while (sides & 2 && a < b) {
    const char *q = back(a, b);
    if (set ? !in_set(q, (size_t)(b - q), chars) : !bk_tpl_space(q, b)) break;
    b = q;
  }
  return tv_like(bk_tv_text(a, (size_t)(b - a)), s);
}

/* Classes: alpha, digit, alnum, lower, upper, space, print (as repr sees it), cased. */
bool bk_tpl_cp_is(int32_t c, const char *cls) {
  if (c < 0) return false;
  if (strcmp(cls, "space") == 0) return space_cp(c);
  if (strcmp(cls, "cased") == 0) return bk_tpl_cp_is(c, "lower") || bk_tpl_cp_is(c, "upper");
  if (strcmp(cls, "digit") == 0 && c >= '0' && c <= '9') return true;
  if (strcmp(cls, "print") == 0 && c >= 0x80) {
    if (space_cp(c) || c == 0xad || (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
        (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe000 && c <= 0xf8ff) || c >= 0xe0000)
      return false;
  }
  locale_t loc = utf8_locale();
  return iswctype_l((wint_t)c, wctype_l(cls, loc), loc) != 0;
}

bool bk_tpl_class(bk_tv s, const char *cls) {
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    size_t n;
    if (!bk_tpl_cp_is(bk_tpl_u8get(p, end, &n), cls)) return false;
    p += n;
  }
  return s.len > 0;
}

static void put_cased(rt *r, const char *s, size_t n, int32_t c, bool upper) {
  if (c == 0xdf && upper) { /* the one common letter whose capital is two */
    bk_tpl_put(r, "SS", 2);
    return;
  }
  if (c < 0) {
    bk_tpl_put(r, s, n);
    return;
  }
  locale_t loc = utf8_locale();
  bk_tpl_u8put(r, (uint32_t)(upper ? towupper_l((wint_t)c, loc) : towlower_l((wint_t)c, loc)));
}

bk_tv bk_tpl_case(rt *r, bk_tv s, int how) {
  size_t mark = bk_tpl_begin(r);
  bool in_word = false;
  for (const char *p = s.u.s, *end = p + s.len; p < end;) {
    size_t n;
    int32_t c = bk_tpl_u8get(p, end, &n);
    bool upper = how == CASE_UPPER;
    if (how == CASE_SWAP) upper = bk_tpl_cp_is(c, "lower");
    if (how == CASE_TITLE) {
      upper = !in_word;
      in_word = bk_tpl_cp_is(c, "cased");
    }
    if (how == CASE_CAPITAL) upper = p == s.u.s;
    if (c >= 0 && c < 0x80) {
      char a = (char)c;
      if (upper && a >= 'a' && a <= 'z') a = (char)(a - 32);
      else if (!upper && a >= 'A' && a <= 'Z') a = (char)(a + 32);
      bk_tpl_put(r, &a, 1);
    } else if (how == CASE_FOLD && (c == 0xdf || c == 0x1e9e)) {
      bk_tpl_put(r, "ss", 2);
    } else if (how == CASE_FOLD && c == 0x3c2) { /* a final sigma is a sigma */
      bk_tpl_u8put(r, 0x3c3);
    } else if (how == CASE_TITLE && c == 0xdf && upper) {
      bk_tpl_put(r, "Ss", 2);
    } else {
      put_cased(r, p, n, c, upper);
    }
    p += n;
  }
  return tv_like(bk_tpl_end(r, mark), s);
}

const char *bk_tpl_find(bk_tv s, size_t from, bk_tv what) {
  if (from > s.len) return NULL;
  if (!what.len) return s.u.s + from;
  return memmem(s.u.s + from, s.len - from, what.u.s, what.len);
}
