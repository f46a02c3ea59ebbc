#include "base/utf8.h"

size_t bk_utf8_len(const char *text, size_t n) {
  const unsigned char *s = (const unsigned char *)text;
  unsigned char c = s[0];
  size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
  if (len == 0 || len > n) return 0;
  for (size_t i = 1; i < len; i++)
    if ((s[i] & 0xc0) != 0x80) return 0;
  if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f)) return 0;
  if ((c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f)) return 0;
  return len;
}

bool bk_utf8_valid(const char *s, size_t n) {
  for (size_t i = 0, len; i < n; i += len)
    if ((len = bk_utf8_len(s + i, n - i)) == 0) return false;
  return true;
}
