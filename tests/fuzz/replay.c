/* Runs a fuzz driver over files: fuzz_X FILE|DIR… replays a corpus; with -DLIBFUZZER this file is
 * left out and clang's libFuzzer drives the same entry point. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replayed, unreadable;

static void replay(const char *path) {
  struct stat st;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
      if (e->d_name[0] == '.') continue;
      char *sub = bk_asprintf("%s/%s", path, e->d_name);
      replay(sub);
      free(sub);
    }
    if (d) closedir(d);
    return;
  }
  struct bk_buf b = {0};
  struct bk_err err;
  if (bk_read_file(-100, path, &b, &err)) {
    fprintf(stderr, "%s\n", err.msg);
    unreadable++;
  } else {
    /* An exact-size copy, so that ASan sees a read past the end. */
    uint8_t *copy = bk_malloc(b.len);
    memcpy(copy, bk_buf_str(&b), b.len);
    LLVMFuzzerTestOneInput(copy, b.len);
    free(copy);
    replayed++;
  }
  bk_buf_free(&b);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) replay(argv[i]);
  printf("%d passed, %d failed\n", replayed, unreadable);
  return unreadable != 0;
}
