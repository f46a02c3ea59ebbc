/* Version texts: input is `A\nB`; parsers, order (antisymmetric), filter and ranges. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "version/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

static void pep440(const char *a, size_t na, const char *b, size_t nb) {
  struct bk_pep440 x, y;
  struct bk_err err;
  if (bk_pep440_parse(&x, a, na, &err)) return;
  REQUIRE(bk_pep440_compare(&x, &x) == 0);
  if (!bk_pep440_parse(&y, b, nb, &err)) {
    REQUIRE(bk_pep440_compare(&x, &y) == -bk_pep440_compare(&y, &x));
    uint64_t rx = bk_pep440_rank(&x), ry = bk_pep440_rank(&y);
    REQUIRE(rx == ry || (rx < ry) == (bk_pep440_compare(&x, &y) < 0));
    bk_pep440_free(&y);
  }
  bk_pep440_free(&x);
}

static void release(const char *a, size_t na, const char *b, size_t nb) {
  struct bk_release x, y;
  struct bk_err err;
  REQUIRE(bk_release_matches(a, na, a, na));
  (void)bk_release_matches(a, na, b, nb);
  if (bk_release_parse(&x, a, na, &err)) return;
  REQUIRE(bk_release_compare(&x, &x) == 0);
  if (!bk_release_parse(&y, b, nb, &err)) {
    REQUIRE(bk_release_compare(&x, &y) == -bk_release_compare(&y, &x));
    bk_release_free(&y);
  }
  bk_release_free(&x);
}

static void semver(const char *a, size_t na, const char *b, size_t nb) {
  struct bk_semver x, y;
  struct bk_err err;
  if (bk_semver_parse(&x, a, na, &err)) return;
  REQUIRE(bk_semver_compare(&x, &x) == 0);
  (void)!bk_semver_satisfies(&x, b, nb, &err);
  if (!bk_semver_parse(&y, b, nb, &err)) {
    REQUIRE(bk_semver_compare(&x, &y) == -bk_semver_compare(&y, &x));
    bk_semver_free(&y);
  }
  bk_semver_free(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  const char *nl = size ? memchr(text, '\n', size) : NULL;
  size_t na = nl ? (size_t)(nl - text) : size, nb = nl ? size - na - 1 : 0;
  /* Exact copies, so that a read past either end is seen. */
  char *a = bk_malloc(na ? na : 1), *b = bk_malloc(nb ? nb : 1);
  if (na) memcpy(a, text, na);
  if (nb) memcpy(b, nl + 1, nb);
  pep440(a, na, b, nb);
  release(a, na, b, nb);
  semver(a, na, b, nb);
  free(a);
  free(b);
  return 0;
}
