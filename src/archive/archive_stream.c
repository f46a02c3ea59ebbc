#include "archive/stream.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "archive/decoder.h"
#include "base/fs.h"
#include "base/ids.h"
#include "base/mem.h"

#define BLOCK (512u << 10) /* multiple of 512: no tar header crosses two blocks */
#define BLOCKS 6
#define INPUT (256u << 10)
#define ENOUGH (4u << 10) /* of a file that grows: no more is waited for */

struct block {
  uint8_t *p;
  size_t len;
};

struct bk_stream {
  struct bk_stream_opts opts;
  struct bk_decoder dec;
  struct bk_digest out_hash, in_hash;
  uint8_t *input;
  uint64_t in_total, out_total;
  enum bk_compression compression;
  bool eof; /* of the input */
  pthread_t thread;
  bool started;

  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct block ring[BLOCKS];
  unsigned head, tail; /* published, released blocks (monotonic counters) */
  bool ended, stop;    /* producer has finished; consumer gives up */
  int rc;
  struct bk_err err;
  bool holding; /* consumer has block tail % BLOCKS in use */
};

/* --- producer -------------------------------------------------------------------------------- */

static bool stopped(struct bk_stream *s) {
  pthread_mutex_lock(&s->lock);
  bool stop = s->stop;
  pthread_mutex_unlock(&s->lock);
  return stop;
}

/* Some bytes of a file that somebody is still writing: waits for them while the file has a name. */
static ssize_t read_growing(struct bk_stream *s, struct bk_err *err) {
  const struct timespec pause = {.tv_nsec = 1000000};
  for (size_t have = 0;;) {
    struct stat st;
    ssize_t n = bk_read_full(s->opts.fd, s->input + have, INPUT - have);
    if (n < 0) return bk_fail_errno(err, errno, "read archive");
    have += (size_t)n;
    if (have >= ENOUGH || s->in_total + have >= s->opts.grows_to || stopped(s)) return (ssize_t)have;
    if (n == 0 && (bk_fstat(s->opts.fd, &st) || st.st_nlink == 0))
      return bk_fail(err, BK_BUILD, "archive.truncated", "the archive ends early after %llu bytes",
                     (unsigned long long)(s->in_total + have));
    if (s->opts.cancel && atomic_load(s->opts.cancel)) return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
    nanosleep(&pause, NULL);
  }
}

static int read_input(struct bk_stream *s, struct bk_err *err) {
  if (s->opts.cancel && atomic_load(s->opts.cancel))
    return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
  ssize_t n = s->opts.grows_to ? read_growing(s, err) : bk_read_full(s->opts.fd, s->input, INPUT);
  if (n < 0) return s->opts.grows_to ? -1 : bk_fail_errno(err, errno, "read archive");
  s->eof = s->opts.grows_to ? n == 0 || s->in_total + (uint64_t)n >= s->opts.grows_to : (size_t)n < INPUT;
  s->dec.in = s->input;
  s->dec.in_left = (size_t)n;
  s->in_total += (uint64_t)n;
  if (s->opts.hash_input) bk_digest_update(&s->in_hash, s->input, (size_t)n);
  if (s->opts.progress) atomic_fetch_add(s->opts.progress, (uint64_t)n);
  return 0;
}

static uint8_t *free_block(struct bk_stream *s) {
  pthread_mutex_lock(&s->lock);
  while (s->head - s->tail == BLOCKS && !s->stop) pthread_cond_wait(&s->changed, &s->lock);
  bool stop = s->stop;
  pthread_mutex_unlock(&s->lock);
  if (stop) return NULL;
  struct block *b = &s->ring[s->head % BLOCKS];
  if (!b->p) b->p = bk_malloc(BLOCK);
  return b->p;
}

static int publish(struct bk_stream *s, size_t len, struct bk_err *err) {
  struct block *b = &s->ring[s->head % BLOCKS];
  b->len = len;
  s->out_total += len;
  if (s->opts.max_size && s->out_total > s->opts.max_size)
    return bk_fail(err, BK_BUILD, "archive.too_large",
                   "archive is larger than %llu bytes when uncompressed",
                   (unsigned long long)s->opts.max_size);
  bk_digest_update(&s->out_hash, b->p, len);
  pthread_mutex_lock(&s->lock);
  s->head++;
  pthread_cond_signal(&s->changed);
  pthread_mutex_unlock(&s->lock);
  return 0;
}

static int produce(struct bk_stream *s, struct bk_err *err) {
  struct bk_decoder *d = &s->dec;
  for (;;) {
    if (!(d->out = free_block(s))) return 0;
    d->out_left = BLOCK;
    while (d->out_left) {
      if (!d->in_left && !s->eof && read_input(s, err)) return -1;
      if (bk_decoder_run(d, err)) return -1;
      if (!d->in_left && s->eof && d->out_left) break;
    }
    size_t len = BLOCK - d->out_left;
    if (len && publish(s, len, err)) return -1;
    if (!d->out_left) continue;
    if (!d->between)
      return bk_fail(err, BK_BUILD, "archive.truncated", "%s data ends early after %llu bytes",
                     d->codec->name, (unsigned long long)s->in_total);
    return 0;
  }
}

static void *thread_main(void *arg) {
  struct bk_stream *s = arg;
  int rc = produce(s, &s->err);
  pthread_mutex_lock(&s->lock);
  s->rc = rc;
  s->ended = true;
  pthread_cond_signal(&s->changed);
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* --- consumer -------------------------------------------------------------------------------- */

int bk_stream_open(const struct bk_stream_opts *opts, struct bk_stream **out, struct bk_err *err) {
  struct bk_stream *s = bk_calloc(1, sizeof *s);
  s->opts = *opts;
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->changed, NULL);
  s->input = bk_malloc(INPUT);
  bk_digest_init(&s->out_hash, BK_SHA256);
  if (opts->hash_input) bk_digest_init(&s->in_hash, BK_SHA256);
  if (read_input(s, err)) goto fail;
  s->compression = bk_compression_sniff(s->input, s->dec.in_left);
  s->dec.codec = bk_codec_for(s->compression, opts->use_zlib);
  if (s->dec.codec->init(&s->dec, err)) goto fail;
  int rc = pthread_create(&s->thread, NULL, thread_main, s);
  if (rc) {
    bk_fail_errno(err, rc, "start decompression thread");
    goto fail;
  }
  s->started = true;
  *out = s;
  return 0;
fail:
  bk_stream_close(s);
  return -1;
}

int bk_stream_next(void *stream, const char **p, size_t *n, struct bk_err *err) {
  struct bk_stream *s = stream;
  pthread_mutex_lock(&s->lock);
  if (s->holding) {
    s->holding = false;
    s->tail++;
    pthread_cond_signal(&s->changed);
  }
  while (s->head == s->tail && !s->ended) pthread_cond_wait(&s->changed, &s->lock);
  int rc = 1;
  if (s->head != s->tail) {
    s->holding = true;
    *p = (const char *)s->ring[s->tail % BLOCKS].p;
    *n = s->ring[s->tail % BLOCKS].len;
  } else {
    rc = s->rc;
    if (rc) *err = s->err;
  }
  pthread_mutex_unlock(&s->lock);
  return rc;
}

int bk_stream_finish(struct bk_stream *s, struct bk_stream_result *out, struct bk_err *err) {
  const char *p;
  size_t n;
  int rc;
  while ((rc = bk_stream_next(s, &p, &n, err)) == 1) continue;
  if (rc) return -1;
  memset(out, 0, sizeof *out);
  bk_hash_text(&s->out_hash, out->diff_id);
  if (s->opts.hash_input) bk_hash_text(&s->in_hash, out->digest);
  out->size = s->out_total;
  out->input_size = s->in_total;
  out->compression = s->compression;
  return 0;
}

void bk_stream_close(struct bk_stream *s) {
  if (!s) return;
  if (s->started) {
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
  }
  if (s->dec.codec) s->dec.codec->end(&s->dec);
  for (unsigned i = 0; i < BLOCKS; i++) free(s->ring[i].p);
  bk_digest_free(&s->out_hash);
  bk_digest_free(&s->in_hash);
  pthread_cond_destroy(&s->changed);
  pthread_mutex_destroy(&s->lock);
  free(s->input);
  free(s);
}
