#include "digest/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/mem.h"

/* Fetched once: EVP_sha256() looks its implementation up on every init (OpenSSL 3). */
static const EVP_MD *md_of(enum bk_digest_alg alg) {
  static const EVP_MD *sha256, *sha512;
  const EVP_MD **slot = alg == BK_SHA512 ? &sha512 : &sha256;
  const EVP_MD *md = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
  if (md) return md;
  /* The machine's openssl.cnf has no say here, and reading it would leave error state behind in
   * whichever worker thread comes first. */
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
  md = EVP_MD_fetch(NULL, alg == BK_SHA512 ? "SHA512" : "SHA256", NULL);
  if (!md) return alg == BK_SHA512 ? EVP_sha512() : EVP_sha256();
  const EVP_MD *none = NULL;
  if (!__atomic_compare_exchange_n(slot, &none, md, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    EVP_MD_free((EVP_MD *)md);
    md = none;
  }
  return md;
}

static void hex(const unsigned char *raw, size_t n, char *out) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < n; i++) {
    out[2 * i] = digits[raw[i] >> 4];
    out[2 * i + 1] = digits[raw[i] & 15];
  }
  out[2 * n] = '\0';
}

void bk_digest_init(struct bk_digest *d, enum bk_digest_alg alg) {
  d->ctx = EVP_MD_CTX_new();
  if (!d->ctx || EVP_DigestInit_ex(d->ctx, md_of(alg), NULL) != 1) abort();
}

void bk_digest_update(struct bk_digest *d, const void *p, size_t n) {
  if (n) EVP_DigestUpdate(d->ctx, p, n);
}

size_t bk_digest_raw(struct bk_digest *d, unsigned char out[64]) {
  unsigned n = 0;
  EVP_DigestFinal_ex(d->ctx, out, &n);
  bk_digest_free(d);
  return n;
}

void bk_digest_hex(struct bk_digest *d, char *out) {
  unsigned char raw[64];
  hex(raw, bk_digest_raw(d, raw), out);
}

void bk_digest_free(struct bk_digest *d) {
  EVP_MD_CTX_free(d->ctx);
  d->ctx = NULL;
}

void bk_sha256_hex(const void *p, size_t n, char out[65]) {
  struct bk_digest d;
  bk_digest_init(&d, BK_SHA256);
  bk_digest_update(&d, p, n);
  bk_digest_hex(&d, out);
}

int bk_digest_file(int dirfd, const char *path, enum bk_digest_alg alg, char *out, uint64_t *size,
                   struct bk_err *err) {
  cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", path);
  enum { BLOCK = 1 << 17 };
  cleanup_free char *block = bk_malloc(BLOCK);
  struct bk_digest d;
  bk_digest_init(&d, alg);
  uint64_t total = 0;
  for (;;) {
    ssize_t n = read(fd, block, BLOCK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int e = errno;
      bk_digest_free(&d);
      return bk_fail_errno(err, e, "read '%s'", path);
    }
    if (n == 0) break;
    bk_digest_update(&d, block, (size_t)n);
    total += (uint64_t)n;
  }
  bk_digest_hex(&d, out);
  if (size) *size = total;
  return 0;
}

void bk_hmac_hex(enum bk_digest_alg alg, const void *key, size_t key_len, const void *p, size_t n,
                 char *out) {
  unsigned char raw[64];
  unsigned len = 0;
  if (!HMAC(md_of(alg), key, (int)key_len, p, n, raw, &len)) abort();
  hex(raw, len, out);
}

bool bk_digest_is_valid(const char *text) {
  size_t want = strncmp(text, "sha256:", 7) == 0 ? 64 : strncmp(text, "sha512:", 7) == 0 ? 128 : 0;
  return want && strlen(text + 7) == want && strspn(text + 7, "0123456789abcdef") == want;
}
