/* UTF-8 as RFC 3629, 4 defines it: no overlong forms, no surrogates. Owns nothing. */
#ifndef BK_BASE_UTF8_H
#define BK_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at s (n > 0 bytes left), 0 when it is malformed or cut off. */
size_t bk_utf8_len(const char *s, size_t n);
bool bk_utf8_valid(const char *s, size_t n);

#endif
