#include <stdlib.h>

#include "base/fs.h"
#include "digest/digest.h"
#include "unit/unit.h"

#define ABC256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void test_streams(void) {
  char out[BK_DIGEST_HEX_MAX];
  bk_sha256_hex("abc", 3, out);
  CHECK_STR(out, ABC256);
  /* Every split of a block-crossing text gives the same digest. */
  char text[200], want[65];
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)i;
  bk_sha256_hex(text, sizeof text, want);
  for (size_t cut = 0; cut <= sizeof text; cut++) {
    struct bk_digest d;
    bk_digest_init(&d, BK_SHA256);
    bk_digest_update(&d, text, cut);
    bk_digest_update(&d, text + cut, sizeof text - cut);
    bk_digest_hex(&d, out);
    CHECK_STR(out, want);
  }
  struct bk_digest d;
  bk_digest_init(&d, BK_SHA512);
  unsigned char raw[64];
  CHECK(bk_digest_raw(&d, raw) == 64);
  CHECK(raw[0] == 0xcf && raw[63] == 0x3e);
  bk_digest_free(&d);
  CHECK(d.ctx == NULL);
}

static void test_file(void) {
  char path[] = "/tmp/bk-digest-XXXXXX", out[BK_DIGEST_HEX_MAX];
  int fd = mkstemp(path);
  CHECK(fd >= 0 && bk_write_all(fd, "abc", 3) == 0);
  close(fd);
  struct bk_err err;
  uint64_t size = 0;
  CHECK(bk_digest_file(-100, path, BK_SHA256, out, &size, &err) == 0);
  CHECK_STR(out, ABC256);
  CHECK(size == 3);
  unlink(path);
  CHECK(bk_digest_file(-100, path, BK_SHA256, out, NULL, &err) == -1);
  CHECK_STR(err.code, "ENOENT");
}

static void test_texts(void) {
  CHECK(bk_digest_is_valid("sha256:" ABC256));
  CHECK(!bk_digest_is_valid("sha256:" ABC256 "0"));
  CHECK(!bk_digest_is_valid("sha512:" ABC256));
  CHECK(!bk_digest_is_valid("sha256:../../../../../../../../../../../../../../../../../../etc/passwd0000"));
}

int main(void) {
  test_streams();
  test_file();
  test_texts();
  return UNIT_END();
}
