/* One pass over a layer's bytes: inflates them, notes where inflating can start again (zran, soci.md
 * 2.1) and hashes the spans between. Private to this module; a struct spans owns what it holds until
 * spans_free. */
#ifndef BK_SOCI_SPANS_H
#define BK_SOCI_SPANS_H

#include <zlib.h>

#include "digest/digest.h"
#include "soci/soci.h"

#define SPANS_WINDOW 32768
#define SPANS_POINT (8 + 8 + 1 + SPANS_WINDOW) /* a checkpoint's bytes */
#define SPANS_HEAD (4 + 8)

typedef int spans_plain(void *ctx, const char *p, size_t n, struct bk_err *err);

struct spans {
  struct bk_soci_opts o;
  spans_plain *plain; /* gets the uncompressed bytes */
  void *ctx;
  z_stream z;
  bool open, between; /* inflate is set up; a gzip member has ended */
  char *ring;
  size_t empty_points;
  int64_t in, out; /* bytes used and made */
  int64_t last;    /* out of the last checkpoint */
  int spill;       /* checkpoints, in order; -1 = none yet */
  int32_t n, cap;
  int64_t *outs;                   /* out per checkpoint */
  unsigned char (*digests)[32];    /* per finished span */
  int32_t ndigests;
  struct bk_digest hash; /* of the running span; ctx NULL before the first */
  unsigned char previous; /* last byte of the piece before */
};

void spans_free(struct spans *s);
void spans_restart(struct spans *s);
int spans_feed(struct spans *s, const char *p, size_t n, struct bk_err *err);
int spans_finish(struct spans *s, struct bk_err *err);
int32_t spans_of(const struct spans *s, int64_t offset);

#endif
