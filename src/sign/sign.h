/* Keys and signatures as cosign uses them: ECDSA P-256 keys in PEM files, private ones encrypted with
 * scrypt and NaCl's secretbox. A struct bk_sign_key belongs to the caller until bk_sign_key_free and
 * may be used by several threads. Secrets are wiped from the memory that this module owns. */
#ifndef BK_SIGN_H
#define BK_SIGN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct bk_sign_key;

int bk_sign_generate(struct bk_sign_key **out, struct bk_err *err) BK_WARN_UNUSED;

/* Reads the first key of a PEM text: "PUBLIC KEY", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY",
 * "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED PRIVATE KEY". Codes:
 * sign.password_needed (password is NULL and the key is encrypted), sign.password (wrong one),
 * sign.key (class usage). Slow on purpose for encrypted keys: call it on a worker thread. */
int bk_sign_key_read(const char *pem, size_t len, const char *password, size_t password_len,
                     struct bk_sign_key **out, struct bk_err *err) BK_WARN_UNUSED;
void bk_sign_key_free(struct bk_sign_key *k); /* NULL is fine */

bool bk_sign_key_private(const struct bk_sign_key *k);
const char *bk_sign_key_type(const struct bk_sign_key *k); /* "ecdsa-p256", "rsa-3072", "ed25519" */
/* SHA-256 of the public key's DER (SubjectPublicKeyInfo). */
int bk_sign_key_id(const struct bk_sign_key *k, unsigned char out[32],
                   struct bk_err *err) BK_WARN_UNUSED;
int bk_sign_public_pem(const struct bk_sign_key *k, struct bk_buf *out,
                       struct bk_err *err) BK_WARN_UNUSED;
/* "ENCRYPTED SIGSTORE PRIVATE KEY" with scrypt N=65536, r=8, p=1. */
int bk_sign_private_pem(const struct bk_sign_key *k, const char *password, size_t password_len,
                        struct bk_buf *out, struct bk_err *err) BK_WARN_UNUSED;

/* Signature over the bytes: ECDSA in ASN.1 DER (SHA-256, 384, 512 by curve), RSA PKCS #1 v1.5 with
 * SHA-256, Ed25519. */
int bk_sign_make(const struct bk_sign_key *k, const void *p, size_t n, struct bk_buf *out,
                 struct bk_err *err) BK_WARN_UNUSED;
bool bk_sign_check(const struct bk_sign_key *k, const void *p, size_t n, const void *sig,
                   size_t sig_len);

/* A line from the terminal, not echoed. */
int bk_sign_ask(const char *prompt, struct bk_buf *out, struct bk_err *err) BK_WARN_UNUSED;

#endif
