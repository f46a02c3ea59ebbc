/* Core schema of YAML 1.2.2 (10.3.2): what a plain scalar is. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "yaml/yaml.h"

static bool is_one_of(const char *s, size_t n, const char *const words[]) {
  for (; *words; words++)
    if (strlen(*words) == n && memcmp(s, *words, n) == 0) return true;
  return false;
}

static size_t digits(const char *s, size_t n) {
  size_t i = 0;
  while (i < n && s[i] >= '0' && s[i] <= '9') i++;
  return i;
}

/* [-+]?[0-9]+ | 0o[0-7]+ | 0x[0-9a-fA-F]+ that fits 64 bits. */
static bool is_int(const char *s, size_t n, int64_t *out) {
  char text[32];
  if (n == 0 || n >= sizeof text) return false;
  int base = 10;
  size_t sign = s[0] == '-' || s[0] == '+';
  if (n > 2 && s[0] == '0' && (s[1] == 'o' || s[1] == 'x')) {
    base = s[1] == 'o' ? 8 : 16;
    if (strspn(s + 2, base == 8 ? "01234567" : "0123456789abcdefABCDEF") < n - 2) return false;
    memcpy(text, s + 2, n - 2);
    text[n - 2] = '\0';
  } else {
    if (n == sign || digits(s + sign, n - sign) != n - sign) return false;
    memcpy(text, s, n);
    text[n] = '\0';
  }
  errno = 0;
  *out = strtoll(text, NULL, base);
  return errno == 0;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? | [-+]?\.inf | \.nan */
static bool is_float(const char *s, size_t n, double *out) {
  static const char *const inf[] = {".inf", ".Inf", ".INF", NULL};
  static const char *const nan_words[] = {".nan", ".NaN", ".NAN", NULL};
  size_t i = n > 0 && (s[0] == '-' || s[0] == '+');
  if (is_one_of(s + i, n - i, inf)) {
    *out = s[0] == '-' ? -INFINITY : INFINITY;
    return true;
  }
  if (is_one_of(s, n, nan_words)) {
    *out = NAN;
    return true;
  }
  size_t whole = digits(s + i, n - i);
  i += whole;
  size_t part = 0;
  if (i < n && s[i] == '.') {
    part = digits(s + i + 1, n - i - 1);
    i += 1 + part;
  }
  if (whole + part == 0) return false;
  if (i < n && (s[i] == 'e' || s[i] == 'E')) {
    i++;
    if (i < n && (s[i] == '-' || s[i] == '+')) i++;
    size_t e = digits(s + i, n - i);
    if (e == 0) return false;
    i += e;
  }
  if (i != n || n >= 400) return false;
  char text[400];
  memcpy(text, s, n);
  text[n] = '\0';
  *out = strtod(text, NULL);
  return true;
}

/* YYYY-MM-DD, alone or with a time behind T, t or a blank (the timestamp type). */
static bool is_date(const char *s, size_t n) {
  if (n < 10 || digits(s, 4) != 4 || s[4] != '-' || digits(s + 5, 2) != 2 || s[7] != '-' ||
      digits(s + 8, 2) != 2)
    return false;
  if (n == 10) return true;
  return (s[10] == 'T' || s[10] == 't' || s[10] == ' ') && n >= 16 && digits(s + 11, 2) == 2 &&
         s[13] == ':';
}

enum bk_yaml_type bk_yaml_resolve(const char *s, size_t n, struct bk_yaml_node *node) {
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
  static const char *const yes[] = {"true", "True", "TRUE", NULL};
  static const char *const no[] = {"false", "False", "FALSE", NULL};
  if (is_one_of(s, n, nulls)) return BK_YAML_NULL;
  if (is_one_of(s, n, yes) || is_one_of(s, n, no)) {
    node->as.b = s[0] == 't' || s[0] == 'T';
    return BK_YAML_BOOL;
  }
  if (is_int(s, n, &node->as.i)) return BK_YAML_INT;
  if (is_float(s, n, &node->as.f)) return BK_YAML_FLOAT;
  return is_date(s, n) ? BK_YAML_DATE : BK_YAML_STR;
}
