/* Scanning helpers shared by the version parsers; private to this folder. */
#ifndef BK_VERSION_SCAN_H
#define BK_VERSION_SCAN_H

#include <string.h>

#include "version/version.h"

static inline bool scan_digit(char c) { return c >= '0' && c <= '9'; }
static inline char scan_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }
static inline bool scan_alnum(char c) {
  char l = scan_lower(c);
  return scan_digit(c) || (l >= 'a' && l <= 'z');
}
static inline bool scan_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Digits at *p into *n (leading zeros dropped); false when there is none. */
static inline bool scan_num(const char **p, const char *end, struct bk_num *n) {
  const char *s = *p;
  *n = (struct bk_num){s, 0};
  while (*p < end && scan_digit(**p)) (*p)++;
  if (*p == s) return false;
  while (s < *p && *s == '0') s++;
  n->p = s;
  n->len = (size_t)(*p - s);
  return true;
}

static inline size_t scan_count(const char *p, const char *end, char c) {
  size_t n = 0;
  for (; p < end; p++) n += *p == c;
  return n;
}

int scan_too_long(size_t len, struct bk_err *err);
int scan_refuse(const char *what, const char *text, size_t len, struct bk_err *err);

#endif
