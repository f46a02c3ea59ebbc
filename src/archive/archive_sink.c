#include "archive/sink.h"

#include <errno.h>
#include <libdeflate.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/fs.h"
#include "base/mem.h"

#define MAX_THREADS 16

/* One block on its way through: filled by the producer, compressed by any worker, then hashed and
 * written by the orderer in sequence. */
struct unit {
  char *in, *out;
  size_t in_len, out_len;
  bool ready; /* out holds the compressed block */
};

struct worker {
  struct bk_sink *sink;
  pthread_t thread;
  struct libdeflate_compressor *deflate;
  ZSTD_CCtx *zstd;
};

struct bk_sink {
  struct bk_sink_opts opts;
  size_t block; /* bytes per block */
  struct bk_digest in_hash, out_hash;
  uint64_t in_total, out_total;
  struct unit *units;
  unsigned n_units;
  struct worker workers[MAX_THREADS];
  unsigned n_workers, n_started;
  pthread_t orderer;
  bool threaded;

  pthread_mutex_t lock;
  pthread_cond_t changed;
  /* Sequence numbers: blocks handed out to fill, taken by workers, written. */
  uint64_t filled, claimed, written;
  bool ended, failed;
  struct bk_err err;
};

/* --- codecs ---------------------------------------------------------------------------------- */

int bk_compression_parse(const char *name) {
  for (int c = BK_COMPRESSION_NONE; c <= BK_COMPRESSION_ZSTD; c++)
    if (strcmp(name, bk_compression_name((enum bk_compression)c)) == 0) return c;
  return -1;
}

const char *bk_compression_name(enum bk_compression c) {
  static const char *const names[] = {"none", "gzip", "zstd"};
  return names[c];
}

bool bk_compression_level_ok(enum bk_compression c, int level) {
  return level >= 0 && level <= (c == BK_COMPRESSION_GZIP ? 12 : c == BK_COMPRESSION_ZSTD ? 19 : 0);
}

static int worker_init(struct bk_sink *s, struct worker *w, struct bk_err *err) {
  w->sink = s;
  int level = s->opts.level;
  if (s->opts.compression == BK_COMPRESSION_GZIP)
    w->deflate = libdeflate_alloc_compressor(level ? level : 6);
  if (s->opts.compression == BK_COMPRESSION_ZSTD && (w->zstd = ZSTD_createCCtx()))
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, level ? level : 3);
  if (w->deflate || w->zstd) return 0;
  return bk_fail(err, BK_BUILD, "ENOMEM", "start compressor");
}

static size_t out_bound(const struct bk_sink *s) {
  if (s->opts.compression == BK_COMPRESSION_GZIP)
    return libdeflate_gzip_compress_bound(NULL, s->block);
  return ZSTD_compressBound(s->block);
}

static int compress_unit(struct worker *w, struct unit *u, struct bk_err *err) {
  size_t bound = out_bound(w->sink);
  if (!u->out) u->out = bk_malloc(bound);
  if (w->deflate) {
    u->out_len = libdeflate_gzip_compress(w->deflate, u->in, u->in_len, u->out, bound);
    if (!u->out_len) return bk_fail(err, BK_BUILD, "archive.compress", "gzip compression failed");
    return 0;
  }
  u->out_len = ZSTD_compress2(w->zstd, u->out, bound, u->in, u->in_len);
  if (ZSTD_isError(u->out_len))
    return bk_fail(err, BK_BUILD, "archive.compress", "zstd compression failed: %s",
                   ZSTD_getErrorName(u->out_len));
  return 0;
}

/* --- threads --------------------------------------------------------------------------------- */

static void fail(struct bk_sink *s, const struct bk_err *err) {
  pthread_mutex_lock(&s->lock);
  if (!s->failed) s->err = *err;
  s->failed = true;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
}

static void *worker_main(void *arg) {
  struct worker *w = arg;
  struct bk_sink *s = w->sink;
  for (;;) {
    pthread_mutex_lock(&s->lock);
    while (s->claimed == s->filled && !s->ended && !s->failed)
      pthread_cond_wait(&s->changed, &s->lock);
    if (s->failed || s->claimed == s->filled) break;
    struct unit *u = &s->units[s->claimed++ % s->n_units];
    pthread_mutex_unlock(&s->lock);
    struct bk_err err;
    if (compress_unit(w, u, &err)) {
      fail(s, &err);
      return NULL;
    }
    pthread_mutex_lock(&s->lock);
    u->ready = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

static int put_out(struct bk_sink *s, struct unit *u, struct bk_err *err) {
  bool plain = s->opts.compression == BK_COMPRESSION_NONE;
  const char *p = plain ? u->in : u->out;
  size_t n = plain ? u->in_len : u->out_len;
  if (!plain) bk_digest_update(&s->out_hash, p, n);
  if (s->opts.fd >= 0 && bk_write_all(s->opts.fd, p, n))
    return bk_fail_errno(err, errno, "write archive");
  s->out_total += n;
  return 0;
}

static void put_in(struct bk_sink *s, const struct unit *u) {
  bk_digest_update(&s->in_hash, u->in, u->in_len);
  s->in_total += u->in_len;
  if (s->opts.progress) atomic_fetch_add(s->opts.progress, u->in_len);
}

static void *orderer_main(void *arg) {
  struct bk_sink *s = arg;
  bool plain = s->opts.compression == BK_COMPRESSION_NONE;
  pthread_mutex_lock(&s->lock);
  for (;;) {
    while (s->written == s->filled && !s->ended && !s->failed)
      pthread_cond_wait(&s->changed, &s->lock);
    if (s->failed || s->written == s->filled) break;
    struct unit *u = &s->units[s->written % s->n_units];
    pthread_mutex_unlock(&s->lock);
    put_in(s, u); /* while the workers compress it */
    pthread_mutex_lock(&s->lock);
    while (!plain && !u->ready && !s->failed) pthread_cond_wait(&s->changed, &s->lock);
    if (s->failed) break;
    pthread_mutex_unlock(&s->lock);
    struct bk_err err;
    if (put_out(s, u, &err)) {
      fail(s, &err);
      return NULL;
    }
    pthread_mutex_lock(&s->lock);
    u->ready = false;
    u->in_len = 0;
    s->written++;
    pthread_cond_broadcast(&s->changed);
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

static int start_threads(struct bk_sink *s, struct bk_err *err) {
  int rc = pthread_create(&s->orderer, NULL, orderer_main, s);
  if (rc) return bk_fail_errno(err, rc, "start archive thread");
  s->threaded = true;
  for (unsigned i = 0; i < s->n_workers; i++) {
    if (i && worker_init(s, &s->workers[i], err)) return -1; /* the first one exists since open */
    rc = pthread_create(&s->workers[i].thread, NULL, worker_main, &s->workers[i]);
    if (rc) return bk_fail_errno(err, rc, "start compression thread");
    s->n_started++;
  }
  return 0;
}

static void join_threads(struct bk_sink *s, bool give_up) {
  pthread_mutex_lock(&s->lock);
  s->ended = true;
  s->failed = s->failed || give_up;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
  for (unsigned i = 0; i < s->n_started; i++) pthread_join(s->workers[i].thread, NULL);
  s->n_started = 0;
  if (s->threaded) pthread_join(s->orderer, NULL);
  s->threaded = false;
}

/* --- producer -------------------------------------------------------------------------------- */

int bk_sink_open(const struct bk_sink_opts *opts, struct bk_sink **out, struct bk_err *err) {
  struct bk_sink *s = bk_calloc(1, sizeof *s);
  s->opts = *opts;
  bool plain = opts->compression == BK_COMPRESSION_NONE;
  s->block = opts->compression == BK_COMPRESSION_ZSTD ? 4u << 20 : 1u << 20;
  if (!plain) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    s->n_workers = opts->threads ? opts->threads : cpus > 0 ? (unsigned)cpus : 1;
    if (s->n_workers > MAX_THREADS) s->n_workers = MAX_THREADS;
  }
  s->n_units = s->n_workers + 2;
  s->units = bk_calloc(s->n_units, sizeof *s->units);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->changed, NULL);
  bk_digest_init(&s->in_hash, BK_SHA256);
  if (!plain) bk_digest_init(&s->out_hash, BK_SHA256);
  if (!plain && worker_init(s, &s->workers[0], err)) {
    bk_sink_close(s);
    return -1;
  }
  *out = s;
  return 0;
}

/* The block being filled; room() waits until it is free. */
static struct unit *current(struct bk_sink *s) { return &s->units[s->filled % s->n_units]; }

char *bk_sink_room(struct bk_sink *s, size_t *n) {
  struct unit *u = current(s);
  if (!u->in) u->in = bk_malloc(s->block);
  *n = s->block - u->in_len;
  return u->in + u->in_len;
}

static int submit(struct bk_sink *s, struct bk_err *err) {
  if (s->opts.cancel && atomic_load(s->opts.cancel))
    return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
  if (!s->threaded && start_threads(s, err)) return -1;
  pthread_mutex_lock(&s->lock);
  s->filled++;
  pthread_cond_broadcast(&s->changed);
  while (s->filled - s->written == s->n_units && !s->failed)
    pthread_cond_wait(&s->changed, &s->lock);
  bool failed = s->failed;
  if (failed) *err = s->err;
  pthread_mutex_unlock(&s->lock);
  return failed ? -1 : 0;
}

int bk_sink_add(struct bk_sink *s, size_t n, struct bk_err *err) {
  struct unit *u = current(s);
  u->in_len += n;
  return u->in_len == s->block ? submit(s, err) : 0;
}

int bk_sink_write(struct bk_sink *s, const void *p, size_t n, struct bk_err *err) {
  for (const char *from = p; n;) {
    size_t room;
    char *to = bk_sink_room(s, &room);
    if (room > n) room = n;
    memcpy(to, from, room);
    if (bk_sink_add(s, room, err)) return -1;
    from += room;
    n -= room;
  }
  return 0;
}

int bk_sink_zeros(struct bk_sink *s, size_t n, struct bk_err *err) {
  while (n) {
    size_t room;
    char *to = bk_sink_room(s, &room);
    if (room > n) room = n;
    memset(to, 0, room);
    if (bk_sink_add(s, room, err)) return -1;
    n -= room;
  }
  return 0;
}

/* The last, short block; without any input one empty member or frame. */
static int flush(struct bk_sink *s, struct bk_err *err) {
  struct unit *u = current(s);
  if (!u->in_len && s->filled) return 0;
  if (s->threaded) return submit(s, err);
  if (!u->in) u->in = bk_malloc(1);
  put_in(s, u);
  if (s->n_workers && compress_unit(&s->workers[0], u, err)) return -1;
  return put_out(s, u, err);
}

int bk_sink_finish(struct bk_sink *s, struct bk_sink_result *out, struct bk_err *err) {
  int rc = flush(s, err);
  join_threads(s, rc != 0);
  if (rc) return -1;
  if (s->failed) {
    *err = s->err;
    return -1;
  }
  memset(out, 0, sizeof *out);
  bk_hash_text(&s->in_hash, out->diff_id);
  if (s->n_workers) bk_hash_text(&s->out_hash, out->digest);
  else memcpy(out->digest, out->diff_id, sizeof out->digest);
  out->size = s->in_total;
  out->output_size = s->out_total;
  return 0;
}

void bk_sink_close(struct bk_sink *s) {
  if (!s) return;
  join_threads(s, true);
  for (unsigned i = 0; i < s->n_workers; i++) {
    libdeflate_free_compressor(s->workers[i].deflate);
    ZSTD_freeCCtx(s->workers[i].zstd);
  }
  for (unsigned i = 0; i < s->n_units; i++) {
    free(s->units[i].in);
    free(s->units[i].out);
  }
  free(s->units);
  bk_digest_free(&s->in_hash);
  bk_digest_free(&s->out_hash);
  pthread_cond_destroy(&s->changed);
  pthread_mutex_destroy(&s->lock);
  free(s);
}
