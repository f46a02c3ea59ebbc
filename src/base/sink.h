/* Where a stream of bytes goes: implemented by one module, fed by another that knows nothing of it.
 * The sink belongs to whoever made it; `busy` is held while somebody feeds it. */
#ifndef BK_BASE_SINK_H
#define BK_BASE_SINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct bk_sink {
  /* The next bytes, on any one thread at a time; 0 or -1. */
  int (*write)(struct bk_sink *s, const void *p, size_t n, struct bk_err *err);
  /* Forget what came so far: the stream begins anew. */
  int (*restart)(struct bk_sink *s, struct bk_err *err);
  atomic_bool busy;
};

#endif
