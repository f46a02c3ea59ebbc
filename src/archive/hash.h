/* Digests in the form "sha256:…" for this module's pipelines; nothing here owns memory. */
#ifndef BK_ARCHIVE_HASH_H
#define BK_ARCHIVE_HASH_H

#include <string.h>

#include "digest/digest.h"

#define BK_DIGEST_TEXT 72 /* "sha256:" + 64 hex digits + NUL */

/* Ends d and writes its text. */
static inline void bk_hash_text(struct bk_digest *d, char out[BK_DIGEST_TEXT]) {
  memcpy(out, "sha256:", 7);
  bk_digest_hex(d, out + 7);
}

#endif
