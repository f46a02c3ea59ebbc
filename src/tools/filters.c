/* filters OUT.c : the seccomp filters of the usual boxes as C arrays. Making one takes libseccomp 15 ms,
 * most of what a short RUN takes. */
#include <stdio.h>

#include "base/buf.h"
#include "base/fs.h"
#include "sandbox/sandbox_int.h"

const struct sandbox_filter sandbox_filters[] = {{0}};
const size_t sandbox_filter_count = 0;

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: filters OUT.c\n"), 2;
  struct bk_buf out = {0}, table = {0};
  struct bk_err err;
  bk_buf_adds(&out, "/* made by src/tools/filters.c */\n#include \"sandbox/sandbox_int.h\"\n");
  for (int single = 0; single < 2; single++) {
    struct sock_fprog prog;
    if (sandbox_seccomp(SANDBOX_CAPS_DOCKER, single, &prog, &err)) return fprintf(stderr, "filters: %s\n", err.msg), 1;
    bk_buf_addf(&out, "static const struct sock_filter f%d[] = {", single);
    for (unsigned i = 0; i < prog.len; i++) {
      const struct sock_filter *f = &prog.filter[i];
      bk_buf_addf(&out, "%s{%u,%u,%u,%u},", i % 6 ? "" : "\n", f->code, f->jt, f->jf, f->k);
    }
    bk_buf_adds(&out, "};\n");
    bk_buf_addf(&table, "  {SANDBOX_CAPS_DOCKER, %d, %u, f%d},\n", single, prog.len, single);
  }
  bk_buf_addf(&out, "const struct sandbox_filter sandbox_filters[] = {\n%s};\n", bk_buf_str(&table));
  bk_buf_adds(&out, "const size_t sandbox_filter_count = BK_ARRAY_LEN(sandbox_filters);\n");
  if (bk_write_file(-100, argv[1], out.p, out.len, 0644, false, &err))
    return fprintf(stderr, "filters: %s\n", err.msg), 1;
  return 0;
}
