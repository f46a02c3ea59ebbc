/* Ignore lines and paths: everything before the first NUL is the file, each text after it a path. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "snapshot/glob.h"
#include "snapshot/ignore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Both kinds of pattern on its own text: only bounds and termination matter. */
static void try_glob(const char *pattern, size_t n, const char *path) {
  struct bk_err err;
  for (int kind = BK_GLOB_PATH; kind <= BK_GLOB_IGNORE; kind++) {
    struct bk_glob *g = bk_glob_compile(pattern, n, (enum bk_glob_kind)kind, &err);
    if (!g) continue;
    bool hit = bk_glob_match(g, path, strlen(path));
    if (!bk_glob_has_magic(pattern) && !strchr(pattern, '\\'))
      assert(hit == (strcmp(pattern, path) == 0));
    bk_glob_free(g);
  }
}

static void try_path(const struct bk_ignore *ig, const char *raw) {
  cleanup_free char *path = bk_malloc(strlen(raw) + 2), *again = NULL;
  memcpy(path, raw, strlen(raw) + 1);
  size_t n = bk_path_clean(path);
  assert(n == strlen(path) && n <= strlen(raw) + 1);
  again = bk_asprintf("%s%c", path, 0);
  assert(bk_path_clean(again) == n && strcmp(path, again) == 0);
  const char *p = path + (*path == '/');
  cleanup_free uint64_t *state = bk_calloc(bk_ignore_words(ig) + 1, sizeof *state);
  int rule, same;
  bool a = bk_ignore_path(ig, p, NULL, &rule), b = bk_ignore_path(ig, p, state, &same);
  assert(a == b && rule == same);
  if (a) { /* an excluded directory that is closed has no included child */
    cleanup_free char *child = bk_asprintf("%s/child", p);
    if (!bk_ignore_may_include(ig, p, strlen(p))) assert(bk_ignore_path(ig, child, NULL, NULL));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enum { LINES = 64 };
  if (size > 8192) return 0;
  char *text = bk_malloc(size + 2);
  if (size) memcpy(text, data, size);
  text[size] = text[size + 1] = '\0';
  const char *lines[LINES];
  size_t n = 0, head = strlen(text);
  char *rest = text + head + (head < size);
  for (char *p = text; n < LINES && p;) {
    char *nl = strchr(p, '\n');
    if (nl) *nl = '\0';
    lines[n++] = p;
    try_glob(p, strlen(p), rest);
    p = nl ? nl + 1 : NULL;
  }
  struct bk_ignore *ig = NULL;
  struct bk_err err;
  if (bk_ignore_new(lines, n, &ig, &err) == 0)
    for (char *p = rest; p < text + size; p += strlen(p) + 1) try_path(ig, p);
  bk_ignore_free(ig);
  free(text);
  return 0;
}
