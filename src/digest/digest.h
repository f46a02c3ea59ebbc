/* Streaming digests on OpenSSL's EVP (which uses the CPU's SHA instructions). A struct bk_digest
 * owns its EVP context from bk_digest_init until bk_digest_hex, bk_digest_raw or bk_digest_free. */
#ifndef BK_DIGEST_H
#define BK_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum bk_digest_alg { BK_SHA256, BK_SHA512 };

#define BK_DIGEST_HEX_MAX 129 /* sha512 in hex, with NUL */

struct bk_digest {
  void *ctx; /* EVP_MD_CTX */
};

void bk_digest_init(struct bk_digest *d, enum bk_digest_alg alg);
void bk_digest_update(struct bk_digest *d, const void *p, size_t n);
/* Lower-case hex into out (65 bytes for sha256, 129 for sha512); releases the context. */
void bk_digest_hex(struct bk_digest *d, char *out);
/* The raw digest (32 or 64 bytes); returns its length and releases the context. */
size_t bk_digest_raw(struct bk_digest *d, unsigned char out[64]);
void bk_digest_free(struct bk_digest *d); /* without a result; idempotent */

/* One buffer at once. */
void bk_sha256_hex(const void *p, size_t n, char out[65]);

/* A whole file; *size (may be NULL) gets its length. */
int bk_digest_file(int dirfd, const char *path, enum bk_digest_alg alg, char *out, uint64_t *size,
                   struct bk_err *err) BK_WARN_UNUSED;

/* HMAC of one buffer, hex. */
void bk_hmac_hex(enum bk_digest_alg alg, const void *key, size_t key_len, const void *p, size_t n,
                 char *out);

/* "sha256:<64 lower-case hex>" or "sha512:<128>" (image-spec descriptor.md, "Digests"). */
bool bk_digest_is_valid(const char *text);

#endif
