/* Base64 (RFC 4648). Owns nothing. */
#ifndef BK_BASE_BASE64_H
#define BK_BASE_BASE64_H

#include "base/buf.h"

/* Standard alphabet, with padding. */
void bk_base64(struct bk_buf *out, const void *p, size_t n);
/* Reads the standard and the URL-safe alphabet, padded or not, without blanks; false when it is none
 * or when unused bits are set. */
bool bk_unbase64(struct bk_buf *out, const char *p, size_t n);

#endif
