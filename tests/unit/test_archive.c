#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "archive/overlay.h"
#include "archive/pack.h"
#include "archive/sink.h"
#include "base/fs.h"
#include "base/mem.h"
#include "unit/unit.h"

static char *sample(size_t n) {
  char *p = bk_malloc(n ? n : 1);
  uint32_t x = 1;
  for (size_t i = 0; i < n; i++) {
    x = x * 1664525 + 1013904223;
    p[i] = "abcdefghijklmnop"[(x >> 24) % (1 + i / 4096 % 16)];
  }
  return p;
}

/* Writes p in pieces of `piece` bytes; the compressed bytes end up in the memory file. */
static int compress_to(int fd, const char *p, size_t n, size_t piece, enum bk_compression c,
                       unsigned threads, struct bk_sink_result *r) {
  struct bk_err err;
  struct bk_sink *s;
  struct bk_sink_opts o = {.fd = fd, .compression = c, .threads = threads};
  if (bk_sink_open(&o, &s, &err)) return -1;
  int rc = 0;
  for (size_t at = 0; rc == 0 && at < n; at += piece)
    rc = bk_sink_write(s, p + at, n - at < piece ? n - at : piece, &err);
  if (rc == 0) rc = bk_sink_finish(s, r, &err);
  bk_sink_close(s);
  return rc;
}

static bool reads_back(int fd, const char *want, size_t n, bool use_zlib) {
  struct bk_err err;
  struct bk_stream *s;
  struct bk_stream_opts o = {.fd = fd, .use_zlib = use_zlib};
  if (lseek(fd, 0, SEEK_SET) || bk_stream_open(&o, &s, &err)) return false;
  size_t at = 0, len;
  const char *p;
  bool same = true, aligned = true;
  int rc;
  while ((rc = bk_stream_next(s, &p, &len, &err)) == 1) {
    aligned = aligned && at % 512 == 0;
    same = same && at + len <= n && memcmp(p, want + at, len) == 0;
    at += len;
  }
  bk_stream_close(s);
  return rc == 0 && same && aligned && at == n;
}

static void test_pipeline(enum bk_compression c, size_t n) {
  char *p = sample(n), first[BK_DIGEST_TEXT] = "";
  for (unsigned threads = 1; threads <= 4; threads++) {
    int fd = memfd_create("t", MFD_CLOEXEC);
    struct bk_sink_result r;
    size_t piece = threads == 1 ? 977 : threads * 300000;
    CHECK(compress_to(fd, p, n, piece, c, threads, &r) == 0);
    if (threads == 1) memcpy(first, r.digest, sizeof first);
    CHECK_STR(r.digest, first);
    CHECK(r.size == n && (off_t)r.output_size == lseek(fd, 0, SEEK_END));
    CHECK(reads_back(fd, p, n, false));
    CHECK(reads_back(fd, p, n, true));
    close(fd);
  }
  free(p);
}

/* Giving up in the middle must neither hang nor leak. */
static void test_abandoned(void) {
  struct bk_err err;
  char *p = sample(9 << 20);
  struct bk_sink *s;
  struct bk_sink_opts o = {.fd = -1, .compression = BK_COMPRESSION_GZIP};
  CHECK(bk_sink_open(&o, &s, &err) == 0);
  CHECK(bk_sink_write(s, p, 9 << 20, &err) == 0);
  bk_sink_close(s);

  int fd = memfd_create("t", MFD_CLOEXEC);
  struct bk_sink_result r;
  CHECK(compress_to(fd, p, 9 << 20, 1 << 20, BK_COMPRESSION_ZSTD, 2, &r) == 0);
  struct bk_stream *in;
  struct bk_stream_opts io = {.fd = fd};
  const char *piece;
  size_t n;
  CHECK(lseek(fd, 0, SEEK_SET) == 0 && bk_stream_open(&io, &in, &err) == 0);
  CHECK(bk_stream_next(in, &piece, &n, &err) == 1);
  bk_stream_close(in);
  close(fd);
  free(p);
}

/* A full disk shows up as an error, not as a hang. */
static void test_full(void) {
  int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
  char *p = sample(5 << 20);
  for (int c = BK_COMPRESSION_NONE; c <= BK_COMPRESSION_ZSTD; c++) {
    struct bk_err err;
    struct bk_sink *s;
    struct bk_sink_result r;
    struct bk_sink_opts o = {.fd = fd, .compression = (enum bk_compression)c, .threads = 2};
    CHECK(bk_sink_open(&o, &s, &err) == 0);
    int rc = bk_sink_write(s, p, 5 << 20, &err);
    if (rc == 0) rc = bk_sink_finish(s, &r, &err);
    CHECK(rc == -1);
    CHECK_STR(err.code, "ENOSPC");
    CHECK(err.cls == BK_INFRA);
    bk_sink_close(s);
  }
  free(p);
  close(fd);
}

static int no_record(void *ctx, const char *key, size_t klen, const char *value, size_t vlen,
                     struct bk_err *err) {
  (void)key, (void)klen, (void)value, (void)vlen, (void)err;
  ++*(int *)ctx;
  return 0;
}

static void test_pax(void) {
  struct bk_err err;
  int n = 0;
  CHECK(bk_tar_parse_pax("9 path=x\n12 uid=30000\n", 22, no_record, &n, &err) == -1);
  n = 0;
  CHECK(bk_tar_parse_pax("9 path=x\n13 uid=30000\n", 22, no_record, &n, &err) == 0);
  CHECK(n == 2);
  CHECK(bk_tar_parse_pax("", 0, no_record, &n, &err) == 0);
  static const char *const bad[] = {"9 path=x",          "path=x\n", "5 =x\n",
                                    "99999999999 a=b\n", "3 \n",     "5 a=b\n"};
  for (size_t i = 0; i < BK_ARRAY_LEN(bad); i++)
    CHECK(bk_tar_parse_pax(bad[i], strlen(bad[i]), no_record, &n, &err) == -1);
}

static void test_names(void) {
  CHECK(bk_xattr_is_kept("security.capability"));
  CHECK(bk_xattr_is_kept("user.x"));
  CHECK(!bk_xattr_is_kept("user.overlay.opaque"));
  CHECK(!bk_xattr_is_kept("user.containers.override_stat"));
  CHECK(!bk_xattr_is_kept("security.selinux"));
  CHECK(!bk_xattr_is_kept("trusted.x"));
  CHECK(bk_overlay_is_private("trusted.overlay.origin"));
  CHECK(!bk_overlay_is_private("user.overlayish"));
  CHECK(bk_compression_parse("zstd") == BK_COMPRESSION_ZSTD && bk_compression_parse("lz4") == -1);
  CHECK(bk_tar_padding(0) == 0 && bk_tar_padding(1) == 511 && bk_tar_padding(512) == 0);
}

int main(void) {
  static const size_t sizes[] = {0, 1, 511, 1 << 20, (1 << 20) + 1, 9000001};
  for (size_t i = 0; i < BK_ARRAY_LEN(sizes); i++)
    for (int c = BK_COMPRESSION_NONE; c <= BK_COMPRESSION_ZSTD; c++)
      test_pipeline((enum bk_compression)c, sizes[i]);
  test_abandoned();
  test_full();
  test_pax();
  test_names();
  return UNIT_END();
}
