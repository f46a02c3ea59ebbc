/* Tar reading: the input is an archive. Small and large pieces must give the same entries, and
 * every entry survives being written and read again. Compressed input goes through the decoder
 * first, by ISA-L and by zlib, which must agree. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/stream.h"
#include "archive/tar.h"
#include "base/mem.h"
#include "fuzz/checksums.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

struct memory {
  const char *p;
  size_t left, piece;
};

static int pull(void *ctx, const char **p, size_t *n, struct bk_err *err) {
  (void)err;
  struct memory *m = ctx;
  if (!m->left) return 0;
  *p = m->p;
  *n = m->left < m->piece ? m->left : m->piece;
  m->p += *n;
  m->left -= *n;
  return 1;
}

static void describe(struct bk_buf *out, const struct bk_tar_entry *e) {
  bk_buf_addf(out, "%c %o %u %u %u %u %lld %lld.%u %s\n%s\n", (char)e->type, e->mode, e->uid,
              e->gid, e->devmajor, e->devminor, (long long)e->size, (long long)e->mtime,
              e->mtime_nsec, e->path, e->link);
  for (size_t i = 0; i < e->n_xattrs; i++) {
    bk_buf_adds(out, e->xattrs[i].name);
    bk_buf_add(out, e->xattrs[i].value, e->xattrs[i].len);
  }
}

static void again(const struct bk_tar_entry *e) {
  struct bk_tar_entry copy = *e, back;
  struct bk_err err;
  struct bk_buf text = {0}, one = {0}, two = {0};
  char *path = bk_strdup(e->path);
  if (e->type == BK_TAR_DIR)
    for (size_t n = strlen(path); n && path[n - 1] == '/';) path[--n] = '\0';
  copy.path = path;
  copy.size = 0;
  copy.mtime_nsec = 0;
  REQUIRE(e->n_xattrs == 0 || e->xattrs);
  if (bk_tar_put_header(&text, &copy, &err) == 0) {
    struct memory m = {text.p, text.len, text.len};
    struct bk_tar_reader *r = bk_tar_reader_new(pull, &m);
    REQUIRE(bk_tar_next(r, &back, &err) == 1);
    char *back_path = bk_strdup(back.path);
    if (e->type == BK_TAR_DIR) back_path[strlen(back_path) - 1] = '\0';
    back.path = back_path;
    copy.xattrs = back.n_xattrs == e->n_xattrs ? copy.xattrs : NULL;
    describe(&one, &(struct bk_tar_entry){.type = copy.type, .mode = copy.mode, .uid = copy.uid,
                                          .gid = copy.gid, .mtime = copy.mtime, .path = path,
                                          .link = copy.link});
    describe(&two, &(struct bk_tar_entry){.type = back.type, .mode = back.mode, .uid = back.uid,
                                          .gid = back.gid, .mtime = back.mtime, .path = back_path,
                                          .link = back.link});
    REQUIRE(one.len == two.len && memcmp(one.p, two.p, one.len) == 0);
    REQUIRE(back.n_xattrs == e->n_xattrs);
    free(back_path);
    bk_tar_reader_free(r);
  }
  free(path);
  bk_buf_free(&text);
  bk_buf_free(&one);
  bk_buf_free(&two);
}

static void parse(const void *data, size_t size, size_t piece, bool deep, struct bk_buf *out) {
  struct memory m = {data, size, piece};
  struct bk_tar_reader *r = bk_tar_reader_new(pull, &m);
  struct bk_tar_entry e;
  struct bk_err err = {0};
  int rc;
  while ((rc = bk_tar_next(r, &e, &err)) == 1) {
    describe(out, &e);
    if (deep) again(&e);
    const char *p;
    size_t n;
    int more;
    while ((more = bk_tar_data(r, &p, &n, &err)) == 1) bk_buf_add(out, p, n);
    if (more < 0) break;
  }
  bk_buf_addf(out, "%d %s", rc, err.code);
  bk_tar_reader_free(r);
}

static void decode(int fd, bool use_zlib, struct bk_buf *out, char code[40]) {
  struct bk_stream_opts o = {.fd = fd, .max_size = 8 << 20, .use_zlib = use_zlib};
  struct bk_stream *s = NULL;
  struct bk_err err = {0};
  REQUIRE(lseek(fd, 0, SEEK_SET) == 0);
  int rc = bk_stream_open(&o, &s, &err);
  const char *p;
  size_t n;
  while (rc >= 0 && (rc = bk_stream_next(s, &p, &n, &err)) == 1) bk_buf_add(out, p, n);
  snprintf(code, 40, "%d%s", rc, rc ? "" : " ok");
  bk_stream_close(s);
}

static void compressed(const uint8_t *data, size_t size) {
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  struct bk_buf a = {0}, b = {0};
  char ca[40], cb[40];
  decode(fd, false, &a, ca);
  decode(fd, true, &b, cb);
  if (strcmp(ca, "0 ok") == 0 && strcmp(cb, "0 ok") == 0) {
    REQUIRE(a.len == b.len && (!a.len || memcmp(a.p, b.p, a.len) == 0));
    struct bk_buf ignored = {0};
    parse(bk_buf_str(&a), a.len, 512, false, &ignored);
    bk_buf_free(&ignored);
  }
  bk_buf_free(&a);
  bk_buf_free(&b);
  close(fd);
}

static void read_both_ways(const uint8_t *data, size_t size) {
  struct bk_buf a = {0}, b = {0};
  parse(data, size, size ? size : 1, true, &a);
  parse(data, size, 512, false, &b);
  REQUIRE(a.len == b.len && memcmp(a.p, b.p, a.len) == 0);
  bk_buf_free(&a);
  bk_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  read_both_ways(data, size);
  uint8_t *fixed = with_checksums(data, size);
  read_both_ways(fixed, size);
  free(fixed);
  if (bk_compression_sniff(data, size) != BK_COMPRESSION_NONE) compressed(data, size);
  return 0;
}
