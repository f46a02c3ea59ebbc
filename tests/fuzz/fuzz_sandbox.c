/* /etc/subuid is written by administrators and tools: whatever it holds, ranges stay in bounds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sandbox/sandbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = bk_strndup((const char *)data, size);
  struct bk_id_range r[4];
  size_t n = bk_sandbox_subids(text, "ann", 1000, r, 4);
  if (n > 4) abort();
  for (size_t i = 0; i < n; i++)
    if (r[i].count == 0 || r[i].first + r[i].count > 4294967296UL) abort();
  free(text);
  return 0;
}
