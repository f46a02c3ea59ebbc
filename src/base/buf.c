#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static bool room(struct bk_buf *b, size_t n) {
  size_t max = b->max ? b->max : (size_t)1 << 30;
  if (b->overflow || n > max || b->len > max - n) {
    b->overflow = true;
    return false;
  }
  size_t need = b->len + n + 1;
  if (need > b->cap) {
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need) cap *= 2;
    b->p = bk_realloc(b->p, cap);
    b->cap = cap;
    b->p[b->len] = '\0'; /* room that nobody uses ends here */
  }
  return true;
}

void bk_buf_add(struct bk_buf *b, const void *p, size_t n) {
  if (!room(b, n)) return;
  if (n) memcpy(b->p + b->len, p, n);
  b->len += n;
  b->p[b->len] = '\0';
}

void bk_buf_addc(struct bk_buf *b, char c) { bk_buf_add(b, &c, 1); }
void bk_buf_adds(struct bk_buf *b, const char *s) { bk_buf_add(b, s, strlen(s)); }

void bk_buf_addf(struct bk_buf *b, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  char small[256];
  int n = vsnprintf(small, sizeof small, fmt, ap);
  va_end(ap);
  if (n < 0) return;
  if ((size_t)n < sizeof small) {
    bk_buf_add(b, small, (size_t)n);
    return;
  }
  char *p = bk_buf_reserve(b, (size_t)n + 1);
  if (!p) return;
  va_start(ap, fmt);
  vsnprintf(p, (size_t)n + 1, fmt, ap);
  va_end(ap);
  b->len += (size_t)n;
}

char *bk_buf_reserve(struct bk_buf *b, size_t n) { return room(b, n) ? b->p + b->len : NULL; }

char *bk_buf_str(struct bk_buf *b) {
  if (!b->p) bk_buf_add(b, "", 0);
  return b->p;
}

char *bk_buf_steal(struct bk_buf *b) {
  char *p = bk_buf_str(b);
  *b = (struct bk_buf){.max = b->max};
  return p;
}

void bk_buf_reset(struct bk_buf *b) {
  b->len = 0;
  b->overflow = false;
  if (b->p) b->p[0] = '\0';
}

void bk_buf_free(struct bk_buf *b) {
  free(b->p);
  *b = (struct bk_buf){.max = b->max};
}
