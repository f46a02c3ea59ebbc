/* Decompression in a thread of its own: the stream owns its thread, buffers and codec; the input
 * descriptor stays the caller's and must outlive the stream. The codec is found by its magic
 * (gzip RFC 1952, zstd RFC 8878, otherwise none). */
#ifndef BK_ARCHIVE_STREAM_H
#define BK_ARCHIVE_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "archive/hash.h"
#include "base/err.h"

enum bk_compression { BK_COMPRESSION_NONE, BK_COMPRESSION_GZIP, BK_COMPRESSION_ZSTD };

struct bk_stream_opts {
  int fd;            /* read from its current position to its end */
  uint64_t grows_to; /* bytes that fd will have: the end before that is waited for; 0 = it is all there */
  uint64_t max_size; /* of the uncompressed data; 0 = no limit (archive.too_large beyond) */
  bool hash_input;   /* digest of the compressed bytes too */
  bool use_zlib;     /* gzip by zlib instead of ISA-L */
  const atomic_bool *cancel;   /* may be NULL */
  _Atomic uint64_t *progress;  /* compressed bytes read are added; may be NULL */
};

struct bk_stream_result {
  char diff_id[BK_DIGEST_TEXT]; /* of the uncompressed bytes */
  char digest[BK_DIGEST_TEXT];  /* of the compressed bytes; "" unless asked for */
  uint64_t size, input_size;
  enum bk_compression compression;
};

struct bk_stream;
int bk_stream_open(const struct bk_stream_opts *opts, struct bk_stream **out,
                   struct bk_err *err) BK_WARN_UNUSED;
/* Next piece, valid until the next call: 1, 0 at the end, -1. All but the last have a length that
 * is a multiple of 512. Has the type bk_tar_pull for ctx = the stream. */
int bk_stream_next(void *stream, const char **p, size_t *n, struct bk_err *err);
/* Reads what is left, so that digests and trailers are checked, and fills *out. */
int bk_stream_finish(struct bk_stream *s, struct bk_stream_result *out,
                     struct bk_err *err) BK_WARN_UNUSED;
void bk_stream_close(struct bk_stream *s); /* at any time; NULL is fine */

enum bk_compression bk_compression_sniff(const void *p, size_t n);

#define cleanup_stream __attribute__((cleanup(bk_stream_cleanup_)))
static inline void bk_stream_cleanup_(struct bk_stream **s) { bk_stream_close(*s); }

#endif
