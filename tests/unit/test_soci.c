/* The golden vector of soci-snapshotter's format: a layer of 435 bytes and the digests of its zTOCs. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "soci/soci.h"
#include "unit/unit.h"

static const char GOLDEN[] =
    "H4sIAAAAAAACA+3a3WrCMBgG4Bz3KnIFab40aY7KBjtxsIPBjnYYa5kF/9afrd2FeQPe2KriZIJsO2it6/uAWIoQ"
    "NH5v8oUKX/i3j64aJW6SZKwVcu/cu5TKHq+390kq0oxXrANlXrisGZ4Nkwr4vEjnSUT28PsLZTwGwzDx2x+j+U+R"
    "tfZ8/TfXpI3S1kq9ux+qwDJuUP+tEz3If7KE/L8QrfjT3ej+4VlUrigykSdxmaVFLWK3cuN01lxGLhrz2FPm+yfL"
    "PMnER0QehbxcuGYJyTbrzbrwyPAynUTBfjY9rDB9Nk4Xftt11sy4tsYc616RNOFX/ZM1p/lvjTaMyy7rP7u5KQY4"
    "/xUA/Ht93v+h/0f/Dxfq/5M3P25//ydDrX/f/9OuJeTBNdX//nscNrmE/h/5j/yHvpt2MMaf819aIsk4dXE4gfNf"
    "5D/yH/k/1Pp/n4qX5SLpWf4HOuj4/Bf5j/xH/iP/B2bpb1eA3Wu5eu3N+Y9ShPxH/mP+kf/QppnLW3/s4Yf8J010"
    "+vxfaBXyvws1ANQ1lgIAAAAAAAAAAAAAAAAAALhin4KaMFcAUAAA";

static size_t base64(const char *s, unsigned char *out) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned v = 0;
  size_t n = 0;
  int bits = 0;
  for (; *s && *s != '='; s++) {
    v = v << 6 | (unsigned)(strchr(alphabet, *s) - alphabet);
    if ((bits += 6) >= 8) out[n++] = (unsigned char)(v >> (bits -= 8));
  }
  return n;
}

static struct bk_soci_result result;
static char path[64];

/* Digest of the zTOC, fed in pieces of `piece` bytes. */
static const char *digest(const unsigned char *p, size_t n, bool plain, int64_t span, size_t piece) {
  struct bk_soci_opts o = {.tool = "AWS SOCI CLI v0.2", .span_size = span, .plain = plain};
  struct bk_soci *s = bk_soci_new(&o);
  static struct bk_err err;
  err.msg[0] = '\0';
  for (size_t at = 0; at < n && !err.msg[0]; at += piece)
    if (bk_soci_write(s, p + at, n - at < piece ? n - at : piece, &err)) break;
  if (!err.msg[0] && bk_soci_save(s, path, &result, &err) == 0) err.msg[0] = '\0';
  if (err.msg[0]) fprintf(stderr, "%s\n", err.msg);
  bk_soci_free(s);
  return err.msg[0] ? err.code : result.digest;
}

static void check_reading(void) {
  struct bk_buf doc = {0};
  struct bk_err err;
  struct bk_soci_ztoc z;
  CHECK(bk_read_file(AT_FDCWD, path, &doc, &err) == 0);
  CHECK(bk_soci_read(doc.p, doc.len, &z, &err) == 0);
  CHECK(z.n_files == 7 && z.max_span_id == 4 && z.plain && z.tar_size == 13824);
  struct bk_soci_file f;
  bk_soci_file_at(&z, 1, &f);
  CHECK(f.mode == 04755 && f.uid == 3000000);
  for (size_t cut = 0; cut + 8 < doc.len; cut += 7) {
    char *copy = bk_malloc(cut + 1);
    memcpy(copy, doc.p, cut);
    CHECK(bk_soci_read(copy, cut, &z, &err) == -1);
    free(copy);
  }
  bk_buf_free(&doc);
}

int main(void) {
  unsigned char gz[512], *tar = bk_malloc(20480);
  size_t n = base64(GOLDEN, gz);
  CHECK(n == 435);
  z_stream z = {.next_in = gz, .avail_in = (uInt)n, .next_out = tar, .avail_out = 20480};
  CHECK(inflateInit2(&z, 31) == Z_OK && inflate(&z, Z_FINISH) == Z_STREAM_END);
  inflateEnd(&z);
  snprintf(path, sizeof path, "/tmp/bakery-test-soci-%d", (int)getpid());

  static const char big[] = "sha256:f0dd96d0cd19b3406bfe21b5fab74ddbea3a7712f3f0c87ca69efd19b5e7ce69";
  CHECK_STR(digest(gz, n, false, 4194304, n), big);
  CHECK(result.size == 34728 && result.spans == 1 && result.files == 7 && result.tar_size == 13824);
  CHECK(!result.no_xattrs);
  for (size_t piece = 1; piece < 40; piece += 6) CHECK_STR(digest(gz, n, false, 4194304, piece), big);
  CHECK_STR(digest(gz, n, false, 1024, 100),
            "sha256:15014c0a91d6240ddc0425df01433446c4ca353f9332a8029fe35a888087f10d");
  CHECK_STR(digest(tar, 20480, true, 4194304, 777),
            "sha256:17833ab6fcb206f1074f35f55551c5b52aa7b68a819b69ea5b3378cd491038d1");
  CHECK(result.size == 1984);
  CHECK_STR(digest(tar, 20480, true, 4096, 1000),
            "sha256:37e4dc111e02cea386209723fb27e6ddc7be053a0395375ba04b075cdc4aab99");
  CHECK(result.spans == 5);
  check_reading();

  CHECK_STR(digest(gz, n - 1, false, 4096, n), "soci.malformed"); /* ends early */
  CHECK_STR(digest(tar, 20480, false, 4096, n), "soci.malformed"); /* no gzip */
  CHECK_STR(digest(tar, 700, true, 4096, n), "soci.malformed");
  unlink(path);
  free(tar);
  return UNIT_END();
}
