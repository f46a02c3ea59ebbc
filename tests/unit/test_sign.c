/* The golden vector of cosign's key encryption, and keys there and back. */
#include <stdlib.h>

#include "base/base64.h"
#include "sign/box.h"
#include "sign/sign.h"
#include "unit/unit.h"

static void test_box(void) {
  unsigned char salt[BOX_SALT], nonce[BOX_NONCE];
  for (int i = 0; i < BOX_SALT; i++) salt[i] = (unsigned char)i;
  for (int i = 0; i < BOX_NONCE; i++) nonce[i] = (unsigned char)i;
  struct bk_buf text = {0}, plain = {0}, want = {0};
  struct bk_err err;
  CHECK(box_seal(&text, "bakery-test", 11, "hello pkcs8", 11, salt, nonce, &err) == 0);
  static const unsigned char sealed[] = {0x38, 0x7f, 0x54, 0x08, 0x25, 0x8d, 0xeb, 0x8d, 0x52,
                                         0x6b, 0xb6, 0xed, 0xda, 0x95, 0x04, 0xa8, 0xc2, 0x14,
                                         0xa1, 0x9a, 0x06, 0xaa, 0xe9, 0xfb, 0xeb, 0x6b, 0xa9};
  bk_buf_adds(&want, "\"ciphertext\":\"");
  bk_base64(&want, sealed, sizeof sealed);
  CHECK(strstr(bk_buf_str(&text), bk_buf_str(&want)) != NULL);
  CHECK(box_open(text.p, text.len, "bakery-test", 11, &plain, &err) == 0);
  CHECK(plain.len == 11 && memcmp(plain.p, "hello pkcs8", 11) == 0);
  CHECK(box_open(text.p, text.len, "other", 5, &plain, &err) == -1);
  CHECK_STR(err.code, "sign.password");
  CHECK(box_open(text.p, text.len, NULL, 0, &plain, &err) == -1);
  CHECK_STR(err.code, "sign.password_needed");
  char *n = strstr(text.p, "65536");
  memcpy(n, "99999", 5);
  CHECK(box_open(text.p, text.len, "bakery-test", 11, &plain, &err) == -1);
  CHECK_STR(err.code, "sign.key");
  bk_buf_free(&text);
  bk_buf_free(&plain);
  bk_buf_free(&want);
}

static void test_keys(void) {
  struct bk_sign_key *a, *b = NULL, *pub = NULL;
  struct bk_buf pem = {0}, sig = {0}, again = {0};
  struct bk_err err;
  CHECK(bk_sign_generate(&a, &err) == 0);
  CHECK_STR(bk_sign_key_type(a), "ecdsa-p256");
  CHECK(bk_sign_private_pem(a, "", 0, &pem, &err) == 0);
  CHECK(bk_sign_key_read(pem.p, pem.len, NULL, 0, &b, &err) == -1);
  CHECK_STR(err.code, "sign.password_needed");
  CHECK(bk_sign_key_read(pem.p, pem.len, "x", 1, &b, &err) == -1);
  CHECK_STR(err.code, "sign.password");
  CHECK(bk_sign_key_read(pem.p, pem.len, "", 0, &b, &err) == 0);
  bk_buf_reset(&pem);
  CHECK(bk_sign_public_pem(b, &pem, &err) == 0);
  CHECK(bk_sign_key_read(pem.p, pem.len, NULL, 0, &pub, &err) == 0);
  CHECK(!bk_sign_key_private(pub) && bk_sign_key_private(b));
  CHECK(bk_sign_make(b, "text", 4, &sig, &err) == 0);
  CHECK(bk_sign_check(pub, "text", 4, sig.p, sig.len));
  CHECK(!bk_sign_check(pub, "texT", 4, sig.p, sig.len));
  for (size_t i = 0; i < sig.len; i += 5) {
    sig.p[i] ^= 1;
    CHECK(!bk_sign_check(pub, "text", 4, sig.p, sig.len));
    sig.p[i] ^= 1;
  }
  CHECK(!bk_sign_check(pub, "text", 4, sig.p, 0));
  CHECK(bk_sign_make(pub, "text", 4, &again, &err) == -1);
  unsigned char x[32], y[32];
  CHECK(bk_sign_key_id(a, x, &err) == 0 && bk_sign_key_id(pub, y, &err) == 0);
  CHECK(memcmp(x, y, 32) == 0);
  bk_sign_key_free(a);
  bk_sign_key_free(b);
  bk_sign_key_free(pub);
  bk_buf_free(&pem);
  bk_buf_free(&sig);
  bk_buf_free(&again);
}

static void test_base64(void) {
  static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
                                         {"foob", "Zm9vYg=="}, {"\xff\xfe\xfd", "//79"}};
  for (size_t i = 0; i < BK_ARRAY_LEN(pairs); i++) {
    struct bk_buf out = {0}, back = {0};
    bk_base64(&out, pairs[i][0], strlen(pairs[i][0]));
    CHECK_STR(bk_buf_str(&out), pairs[i][1]);
    CHECK(bk_unbase64(&back, pairs[i][1], strlen(pairs[i][1])));
    CHECK_STR(bk_buf_str(&back), pairs[i][0]);
    bk_buf_free(&out);
    bk_buf_free(&back);
  }
  static const char *const bad[] = {"Z", "Zg=", "Zh==", "Z g=", "Zg==\n", "===", "Zm9v=", "Zm9=v"};
  for (size_t i = 0; i < BK_ARRAY_LEN(bad); i++) {
    struct bk_buf out = {0};
    CHECK(!bk_unbase64(&out, bad[i], strlen(bad[i])));
    bk_buf_free(&out);
  }
  struct bk_buf out = {0};
  CHECK(bk_unbase64(&out, "__79", 4) && bk_unbase64(&out, "Zg", 2));
  bk_buf_free(&out);
}

int main(void) {
  test_base64();
  test_box();
  test_keys();
  return UNIT_END();
}
