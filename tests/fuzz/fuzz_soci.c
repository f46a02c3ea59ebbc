/* First byte: 0 reads a zTOC, 1 indexes a gzip layer, else a plain tar. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "soci/soci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void index_layer(const uint8_t *p, size_t n, bool plain) {
  static char path[64];
  if (!path[0]) snprintf(path, sizeof path, "/tmp/bakery-fuzz-soci-%d", (int)getpid());
  struct bk_soci_opts o = {.tool = "fuzz", .span_size = 4096, .plain = plain};
  struct bk_soci *s = bk_soci_new(&o);
  struct bk_soci_result r;
  struct bk_err err;
  size_t half = n / 2;
  if (bk_soci_write(s, p, half, &err) == 0 && bk_soci_write(s, p + half, n - half, &err) == 0 &&
      bk_soci_save(s, path, &r, &err) == 0) {
    struct bk_buf doc = {0};
    struct bk_soci_ztoc z;
    if (bk_read_file(-100, path, &doc, &err) || bk_soci_read(doc.p, doc.len, &z, &err) ||
        z.n_files != r.files || z.max_span_id + 1 != r.spans)
      abort();
    int32_t first, last;
    for (size_t i = 0; i < z.n_files && i < 20; i++) {
      struct bk_soci_file f;
      bk_soci_file_at(&z, i, &f);
      if (!bk_soci_find(s, f.name.p, f.name.len, &first, &last) || first > last) abort();
    }
    bk_buf_free(&doc);
    unlink(path);
  }
  bk_soci_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size) return 0;
  if (data[0]) {
    index_layer(data + 1, size - 1, data[0] != 1);
    return 0;
  }
  struct bk_soci_ztoc z;
  struct bk_err err;
  if (bk_soci_read(data + 1, size - 1, &z, &err)) return 0;
  for (size_t i = 0; i < z.n_files; i++) {
    struct bk_soci_file f;
    bk_soci_file_at(&z, i, &f);
    if (f.offset < 0 || f.name.p < z.p || f.name.p + f.name.len > z.p + z.len) abort();
  }
  return 0;
}
