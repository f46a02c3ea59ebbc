/* Key files and base64; no password is given, so that nothing is derived. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "sign/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct bk_sign_key *k = NULL;
  struct bk_err err;
  if (bk_sign_key_read((const char *)data, size, NULL, 0, &k, &err) == 0) {
    unsigned char id[32];
    struct bk_buf pem = {0};
    if (bk_sign_key_id(k, id, &err) || bk_sign_public_pem(k, &pem, &err)) abort();
    (void)bk_sign_check(k, "x", 1, data, size);
    bk_buf_free(&pem);
    bk_sign_key_free(k);
  }
  struct bk_buf raw = {0}, text = {0};
  if (bk_unbase64(&raw, (const char *)data, size)) {
    bk_base64(&text, raw.p, raw.len);
    struct bk_buf back = {0};
    if (!bk_unbase64(&back, bk_buf_str(&text), text.len) || back.len != raw.len) abort();
    bk_buf_free(&back);
  }
  bk_buf_free(&raw);
  bk_buf_free(&text);
  return 0;
}
