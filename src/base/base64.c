#include "base/base64.h"

void bk_base64(struct bk_buf *out, const void *p, size_t n) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *s = p;
  for (size_t i = 0; i < n; i += 3) {
    unsigned v = (unsigned)s[i] << 16;
    if (i + 1 < n) v |= (unsigned)s[i + 1] << 8;
    if (i + 2 < n) v |= s[i + 2];
    bk_buf_addc(out, alphabet[v >> 18]);
    bk_buf_addc(out, alphabet[v >> 12 & 63]);
    bk_buf_addc(out, i + 1 < n ? alphabet[v >> 6 & 63] : '=');
    bk_buf_addc(out, i + 2 < n ? alphabet[v & 63] : '=');
  }
}

static int digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  return c == '/' || c == '_' ? 63 : -1;
}

bool bk_unbase64(struct bk_buf *out, const char *p, size_t n) {
  size_t pad = 0;
  while (pad < 2 && n > pad && p[n - 1 - pad] == '=') pad++;
  if (pad && n % 4) return false;
  n -= pad;
  if (n % 4 == 1) return false;
  unsigned v = 0;
  for (size_t i = 0; i < n; i++) {
    int d = digit(p[i]);
    if (d < 0) return false;
    v = (v << 6 | (unsigned)d) & 0xffffff;
    if (i % 4 == 3) {
      bk_buf_addc(out, (char)(v >> 16));
      bk_buf_addc(out, (char)(v >> 8));
      bk_buf_addc(out, (char)v);
    }
  }
  if (n % 4 == 2) {
    bk_buf_addc(out, (char)(v >> 4));
    if (v & 15) return false; /* bits that say nothing must be zero: one text per value */
  } else if (n % 4 == 3) {
    bk_buf_addc(out, (char)(v >> 10));
    bk_buf_addc(out, (char)(v >> 2));
    if (v & 3) return false;
  }
  return !out->overflow;
}
