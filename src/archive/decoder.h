/* Codecs behind one table; private to this module. A decoder owns its `state` from init to end. */
#ifndef BK_ARCHIVE_DECODER_H
#define BK_ARCHIVE_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/stream.h"

struct bk_decoder {
  const struct bk_codec *codec;
  const uint8_t *in;
  size_t in_left;
  uint8_t *out;
  size_t out_left;
  bool between; /* no member or frame is open: the input may end here */
  void *state;
};

struct bk_codec {
  const char *name;
  int (*init)(struct bk_decoder *d, struct bk_err *err);
  /* One call of the library; sets `between`. */
  int (*step)(struct bk_decoder *d, struct bk_err *err);
  void (*end)(struct bk_decoder *d); /* state may be NULL */
};

/* Turns input into output until one of them is used up. */
int bk_decoder_run(struct bk_decoder *d, struct bk_err *err) BK_WARN_UNUSED;

const struct bk_codec *bk_codec_for(enum bk_compression c, bool use_zlib);

#endif
