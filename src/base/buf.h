/* Growable byte buffer with an upper bound; owns its memory until bk_buf_free or bk_buf_steal.
 * Appending past the bound sets `overflow` and drops the bytes: check once at the end. The data is
 * always followed by a NUL that is not counted. */
#ifndef BK_BASE_BUF_H
#define BK_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct bk_buf {
  char *p;
  size_t len, cap;
  size_t max; /* 0 = 1 GiB */
  bool overflow;
};

void bk_buf_add(struct bk_buf *b, const void *p, size_t n);
void bk_buf_addc(struct bk_buf *b, char c);
void bk_buf_adds(struct bk_buf *b, const char *s);
void bk_buf_addf(struct bk_buf *b, const char *fmt, ...) BK_PRINTF(2, 3);
/* Room for n more bytes, to be written at the returned place and then counted by len += …;
 * NULL past the bound. */
char *bk_buf_reserve(struct bk_buf *b, size_t n);
char *bk_buf_str(struct bk_buf *b);   /* never NULL */
char *bk_buf_steal(struct bk_buf *b); /* caller frees; the buffer is empty again */
void bk_buf_reset(struct bk_buf *b);  /* keeps the memory */
void bk_buf_free(struct bk_buf *b);

#define cleanup_buf __attribute__((cleanup(bk_buf_free)))

#endif
