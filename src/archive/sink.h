/* Where an archive is written: hashes the bytes, compresses fixed-size blocks in worker threads and
 * writes them in order, hashing what comes out. The sink owns its threads and buffers; the output
 * descriptor stays the caller's. The bytes depend on the data, the codec and the level only, never
 * on the number of threads: gzip = one member per 1 MiB by libdeflate (MTIME 0, OS 255), zstd = one
 * frame per 4 MiB. */
#ifndef BK_ARCHIVE_SINK_H
#define BK_ARCHIVE_SINK_H

#include "archive/stream.h"

struct bk_sink_opts {
  int fd; /* -1: only the digests are wanted */
  enum bk_compression compression;
  int level;        /* 0 = default: gzip 6 (1-12), zstd 3 (1-19) */
  unsigned threads; /* compressing threads; 0 = number of CPUs, 16 at most */
  const atomic_bool *cancel;
  _Atomic uint64_t *progress; /* uncompressed bytes are added; may be NULL */
};

struct bk_sink_result {
  char diff_id[BK_DIGEST_TEXT]; /* of what was put in */
  char digest[BK_DIGEST_TEXT];  /* of what came out: the same without compression */
  uint64_t size, output_size;
};

struct bk_sink;
int bk_sink_open(const struct bk_sink_opts *opts, struct bk_sink **out,
                 struct bk_err *err) BK_WARN_UNUSED;
/* Memory for the next bytes, at least one; count what was filled in with bk_sink_add. */
char *bk_sink_room(struct bk_sink *s, size_t *n);
int bk_sink_add(struct bk_sink *s, size_t n, struct bk_err *err) BK_WARN_UNUSED;
int bk_sink_write(struct bk_sink *s, const void *p, size_t n, struct bk_err *err) BK_WARN_UNUSED;
int bk_sink_zeros(struct bk_sink *s, size_t n, struct bk_err *err) BK_WARN_UNUSED;
/* Ends the output; the sink can only be closed after it. */
int bk_sink_finish(struct bk_sink *s, struct bk_sink_result *out,
                   struct bk_err *err) BK_WARN_UNUSED;
void bk_sink_close(struct bk_sink *s); /* at any time; NULL is fine */

/* "none", "gzip", "zstd" -> codec; -1 for anything else. */
int bk_compression_parse(const char *name);
const char *bk_compression_name(enum bk_compression c);
/* Whether level is 0 or one that the codec knows. */
bool bk_compression_level_ok(enum bk_compression c, int level);

#define cleanup_sink __attribute__((cleanup(bk_sink_cleanup_)))
static inline void bk_sink_cleanup_(struct bk_sink **s) { bk_sink_close(*s); }

#endif
