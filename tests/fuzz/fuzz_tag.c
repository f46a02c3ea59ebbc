/* Tag filters, patterns and order: input is `A\nB`. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tag/tag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

typedef void filter_fn(struct bk_buf *out, const char *s, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static filter_fn *const FILTERS[] = {bk_tag_replace,        bk_tag_safe,        bk_tag_normalize,
                                       bk_tag_strip_metadata, bk_tag_strip_patch, bk_tag_condense};
  const char *text = (const char *)data;
  const char *nl = size ? memchr(text, '\n', size) : NULL;
  size_t na = nl ? (size_t)(nl - text) : size, nb = nl ? size - na - 1 : 0;
  char *a = bk_malloc(na ? na : 1), *b = bk_malloc(nb ? nb : 1);
  if (na) memcpy(a, text, na);
  if (nb) memcpy(b, nl + 1, nb);
  for (size_t i = 0; i < BK_ARRAY_LEN(FILTERS); i++) {
    struct bk_buf out = {0};
    FILTERS[i](&out, a, na);
    REQUIRE(out.len <= na);
    bk_buf_free(&out);
  }
  if (na < 200) (void)bk_tag_match(a, na, b, nb);
  (void)bk_tag_is_valid(a, na);
  REQUIRE(bk_tag_compare(a, na, a, na) == 0);
  REQUIRE(bk_tag_compare(a, na, b, nb) == -bk_tag_compare(b, nb, a, na));
  free(a);
  free(b);
  return 0;
}
