#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sign/box.h"
#include "sign/sign.h"

#define PEM_MAX (1u << 20)

struct bk_sign_key {
  EVP_PKEY *pkey;
  bool private;
  char type[24];
};

/* What OpenSSL says last, in *err; its queue is empty afterwards. */
static int crypto_fail(struct bk_err *err, int cls, const char *code, const char *what) {
  unsigned long e = ERR_peek_last_error();
  const char *why = e ? ERR_reason_error_string(e) : NULL;
  ERR_clear_error();
  return bk_fail(err, cls, code, "%s%s%s", what, why ? ": " : "", why ? why : "");
}

static void set_up(void) { OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL); }

/* --- kinds of keys --------------------------------------------------------------------------- */

static int name_type(struct bk_sign_key *k, struct bk_err *err) {
  int id = EVP_PKEY_get_base_id(k->pkey), bits = EVP_PKEY_get_bits(k->pkey);
  char group[40] = "";
  if (id == EVP_PKEY_EC) EVP_PKEY_get_group_name(k->pkey, group, sizeof group, NULL);
  bool p256 = strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0;
  bool other = strcmp(group, "secp384r1") == 0 || strcmp(group, "P-384") == 0 ||
               strcmp(group, "secp521r1") == 0 || strcmp(group, "P-521") == 0;
  if (p256 || other) snprintf(k->type, sizeof k->type, "ecdsa-p%d", bits);
  else if (id == EVP_PKEY_RSA && bits >= 2048) snprintf(k->type, sizeof k->type, "rsa-%d", bits);
  else if (id == EVP_PKEY_ED25519) snprintf(k->type, sizeof k->type, "ed25519");
  else
    return bk_fail(err, BK_USAGE, "sign.key",
                   "keys of this kind are not used: ECDSA on P-256, P-384 or P-521, RSA from 2048 bits, Ed25519");
  return 0;
}

static const EVP_MD *hash_of(const struct bk_sign_key *k) {
  if (strcmp(k->type, "ed25519") == 0) return NULL;
  if (strcmp(k->type, "ecdsa-p384") == 0) return EVP_sha384();
  return strcmp(k->type, "ecdsa-p521") == 0 ? EVP_sha512() : EVP_sha256();
}

static int wrap(EVP_PKEY *pkey, bool private, struct bk_sign_key **out, struct bk_err *err) {
  struct bk_sign_key *k = bk_calloc(1, sizeof *k);
  k->pkey = pkey;
  k->private = private;
  if (name_type(k, err)) {
    bk_sign_key_free(k);
    return -1;
  }
  *out = k;
  return 0;
}

void bk_sign_key_free(struct bk_sign_key *k) {
  if (!k) return;
  EVP_PKEY_free(k->pkey);
  free(k);
}

bool bk_sign_key_private(const struct bk_sign_key *k) { return k->private; }
const char *bk_sign_key_type(const struct bk_sign_key *k) { return k->type; }

int bk_sign_generate(struct bk_sign_key **out, struct bk_err *err) {
  set_up();
  EVP_PKEY *pkey = EVP_EC_gen("P-256");
  if (!pkey) return crypto_fail(err, BK_INFRA, "sign.crypto", "make a key");
  return wrap(pkey, true, out, err);
}

/* --- reading --------------------------------------------------------------------------------- */

static int from_der(const unsigned char *der, size_t len, bool private, struct bk_sign_key **out,
                    struct bk_err *err) {
  const unsigned char *p = der;
  EVP_PKEY *pkey = private ? d2i_AutoPrivateKey(NULL, &p, (long)len) : d2i_PUBKEY(NULL, &p, (long)len);
  if (!pkey) return crypto_fail(err, BK_USAGE, "sign.key", "the key is damaged");
  return wrap(pkey, private, out, err);
}

/* PKCS #8 with its own encryption, as openssl pkcs8 writes it. */
static int from_pkcs8(const unsigned char *der, size_t len, const char *password, size_t password_len,
                      struct bk_sign_key **out, struct bk_err *err) {
  if (!password)
    return bk_fail(err, BK_USAGE, "sign.password_needed", "the key is encrypted: it needs its password");
  const unsigned char *p = der;
  X509_SIG *sealed = d2i_X509_SIG(NULL, &p, (long)len);
  if (!sealed) return crypto_fail(err, BK_USAGE, "sign.key", "the key is damaged");
  PKCS8_PRIV_KEY_INFO *info = PKCS8_decrypt(sealed, password, (int)password_len);
  X509_SIG_free(sealed);
  if (!info) return crypto_fail(err, BK_USAGE, "sign.password", "the password does not open the key");
  EVP_PKEY *pkey = EVP_PKCS82PKEY(info);
  PKCS8_PRIV_KEY_INFO_free(info);
  if (!pkey) return crypto_fail(err, BK_USAGE, "sign.key", "the key is damaged");
  return wrap(pkey, true, out, err);
}

static int from_box(const char *text, size_t len, const char *password, size_t password_len,
                    struct bk_sign_key **out, struct bk_err *err) {
  struct bk_buf der = {0};
  int rc = box_open(text, len, password, password_len, &der, err);
  if (rc == 0) rc = from_der((unsigned char *)der.p, der.len, true, out, err);
  if (der.p) OPENSSL_cleanse(der.p, der.cap);
  bk_buf_free(&der);
  return rc;
}

static int from_pem(const char *name, const unsigned char *der, size_t len, const char *password,
                    size_t password_len, struct bk_sign_key **out, struct bk_err *err) {
  if (strcmp(name, "PUBLIC KEY") == 0) return from_der(der, len, false, out, err);
  if (strcmp(name, "PRIVATE KEY") == 0 || strcmp(name, "EC PRIVATE KEY") == 0 ||
      strcmp(name, "RSA PRIVATE KEY") == 0)
    return from_der(der, len, true, out, err);
  if (strcmp(name, "ENCRYPTED PRIVATE KEY") == 0)
    return from_pkcs8(der, len, password, password_len, out, err);
  if (strcmp(name, "ENCRYPTED SIGSTORE PRIVATE KEY") == 0 ||
      strcmp(name, "ENCRYPTED COSIGN PRIVATE KEY") == 0)
    return from_box((const char *)der, len, password, password_len, out, err);
  return bk_fail(err, BK_USAGE, "sign.key", "a PEM block of type '%.60s' is no key", name);
}

/* The next PEM block that may be a key: openssl writes the curve's parameters in front of some. */
static int next_block(BIO *bio, char **name, char **header, unsigned char **der, long *len) {
  for (;;) {
    int rc = PEM_read_bio(bio, name, header, der, len);
    if (rc != 1 || strcmp(*name, "EC PARAMETERS") != 0) return rc;
    OPENSSL_free(*name);
    OPENSSL_free(*header);
    OPENSSL_free(*der);
    *name = *header = NULL;
    *der = NULL;
  }
}

int bk_sign_key_read(const char *pem, size_t len, const char *password, size_t password_len,
                     struct bk_sign_key **out, struct bk_err *err) {
  if (len > PEM_MAX) return bk_fail(err, BK_USAGE, "sign.key", "too large for a key");
  set_up();
  BIO *bio = BIO_new_mem_buf(pem, (int)len);
  char *name = NULL, *header = NULL;
  unsigned char *der = NULL;
  long der_len = 0;
  int rc;
  if (!bio) rc = crypto_fail(err, BK_INFRA, "sign.crypto", "read a key");
  else if (next_block(bio, &name, &header, &der, &der_len) != 1) {
    ERR_clear_error();
    rc = bk_fail(err, BK_USAGE, "sign.key", "no PEM text (-----BEGIN … KEY-----)");
  } else if (*header) {
    rc = bk_fail(err, BK_USAGE, "sign.key", "keys encrypted the old way (Proc-Type) are not read");
  } else {
    rc = from_pem(name, der, (size_t)der_len, password, password_len, out, err);
  }
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_clear_free(der, (size_t)der_len);
  BIO_free(bio);
  return rc;
}

/* --- writing --------------------------------------------------------------------------------- */

int bk_sign_key_id(const struct bk_sign_key *k, unsigned char out[32], struct bk_err *err) {
  unsigned char *der = NULL;
  int len = i2d_PUBKEY(k->pkey, &der);
  if (len <= 0) return crypto_fail(err, BK_INFRA, "sign.crypto", "write the public key");
  unsigned n = 0;
  int rc = EVP_Digest(der, (size_t)len, out, &n, EVP_sha256(), NULL) == 1
               ? 0
               : crypto_fail(err, BK_INFRA, "sign.crypto", "hash the public key");
  OPENSSL_free(der);
  return rc;
}

static int take(BIO *bio, bool ok, struct bk_buf *out, struct bk_err *err) {
  char *p;
  long n = bio ? BIO_get_mem_data(bio, &p) : 0;
  if (ok && n > 0) bk_buf_add(out, p, (size_t)n);
  BIO_free(bio);
  return ok && n > 0 ? 0 : crypto_fail(err, BK_INFRA, "sign.crypto", "write a key");
}

int bk_sign_public_pem(const struct bk_sign_key *k, struct bk_buf *out, struct bk_err *err) {
  BIO *bio = BIO_new(BIO_s_mem());
  return take(bio, bio && PEM_write_bio_PUBKEY(bio, k->pkey) == 1, out, err);
}

int bk_sign_private_pem(const struct bk_sign_key *k, const char *password, size_t password_len,
                        struct bk_buf *out, struct bk_err *err) {
  if (!k->private) return bk_fail(err, BK_USAGE, "sign.key", "this is a public key");
  PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(k->pkey);
  unsigned char *der = NULL, salt[BOX_SALT], nonce[BOX_NONCE];
  int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : 0;
  PKCS8_PRIV_KEY_INFO_free(info);
  if (len <= 0 || RAND_bytes(salt, sizeof salt) != 1 || RAND_bytes(nonce, sizeof nonce) != 1) {
    OPENSSL_clear_free(der, len > 0 ? (size_t)len : 0);
    return crypto_fail(err, BK_INFRA, "sign.crypto", "write the private key");
  }
  cleanup_buf struct bk_buf box = {0};
  int rc = box_seal(&box, password, password_len, der, (size_t)len, salt, nonce, err);
  OPENSSL_clear_free(der, (size_t)len);
  if (rc) return rc;
  BIO *bio = BIO_new(BIO_s_mem());
  bool ok = bio && PEM_write_bio(bio, "ENCRYPTED SIGSTORE PRIVATE KEY", "", (unsigned char *)box.p,
                                 (long)box.len) > 0;
  return take(bio, ok, out, err);
}

/* --- signatures ------------------------------------------------------------------------------ */

int bk_sign_make(const struct bk_sign_key *k, const void *p, size_t n, struct bk_buf *out,
                 struct bk_err *err) {
  if (!k->private) return bk_fail(err, BK_USAGE, "sign.key", "signing needs a private key");
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  size_t len = 0;
  bool ok = ctx && EVP_DigestSignInit(ctx, NULL, hash_of(k), NULL, k->pkey) == 1 &&
            EVP_DigestSign(ctx, NULL, &len, p, n) == 1;
  char *to = ok ? bk_buf_reserve(out, len) : NULL;
  ok = to && EVP_DigestSign(ctx, (unsigned char *)to, &len, p, n) == 1;
  if (ok) out->len += len;
  EVP_MD_CTX_free(ctx);
  return ok ? 0 : crypto_fail(err, BK_INFRA, "sign.crypto", "sign");
}

bool bk_sign_check(const struct bk_sign_key *k, const void *p, size_t n, const void *sig,
                   size_t sig_len) {
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  bool ok = ctx && EVP_DigestVerifyInit(ctx, NULL, hash_of(k), NULL, k->pkey) == 1 &&
            EVP_DigestVerify(ctx, sig, sig_len, p, n) == 1;
  EVP_MD_CTX_free(ctx);
  ERR_clear_error();
  return ok;
}
