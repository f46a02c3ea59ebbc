/* Blobs from one registry to another: a thread downloads into a ring, the upload's body is read from
 * it. Nothing touches the disk, and what is wrong is never completed: the last byte waits for the
 * digest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "oci/upload.h"

#define RING (1u << 20)

struct copy {
  struct bk_oci *c;
  const struct bk_oci_ref *from;
  const struct bk_oci_desc *d;
  const struct bk_oci_op *op;
  pthread_t thread;
  bool running;
  pthread_mutex_t lock; /* guards what follows */
  pthread_cond_t moved;
  char *ring;
  size_t head, fill;
  int64_t given; /* bytes handed to the upload */
  bool ended;    /* the download has: rc, err tell how */
  int rc;
  struct bk_err err;
  atomic_bool stop; /* the download's cancel flag */
};

/* --- download -------------------------------------------------------------------------------- */

static int put(void *ctx, const void *p, size_t n, struct bk_err *err) {
  struct copy *k = ctx;
  const char *from = p;
  pthread_mutex_lock(&k->lock);
  while (n && !atomic_load(&k->stop)) {
    size_t room = RING - k->fill, at = (k->head + k->fill) % RING;
    if (room == 0) {
      pthread_cond_wait(&k->moved, &k->lock);
      continue;
    }
    size_t m = n < room ? n : room;
    if (m > RING - at) m = RING - at;
    memcpy(k->ring + at, from, m);
    from += m;
    n -= m;
    k->fill += m;
    pthread_cond_broadcast(&k->moved);
  }
  pthread_mutex_unlock(&k->lock);
  return n ? bk_fail(err, BK_BUILD, "cancelled", "cancelled") : 0;
}

static void *download(void *arg) {
  struct copy *k = arg;
  int64_t passed = 0;
  const struct oci_sink sink = {.write = put, .ctx = k, .passed = &passed};
  const struct bk_oci_op op = {.cancel = &k->stop};
  struct bk_err err = {0};
  int rc = oci_route_stream(k->c, k->from, k->d, &sink, &op, &err);
  pthread_mutex_lock(&k->lock);
  k->rc = rc;
  k->err = err;
  k->ended = true;
  pthread_cond_broadcast(&k->moved);
  pthread_mutex_unlock(&k->lock);
  return NULL;
}

static int start(void *ctx, struct bk_err *err) {
  struct copy *k = ctx;
  k->head = k->fill = 0;
  k->given = 0;
  k->ended = false;
  atomic_store(&k->stop, false);
  int rc = pthread_create(&k->thread, NULL, download, k);
  if (rc) return bk_fail_errno(err, rc, "start a thread");
  k->running = true;
  return 0;
}

static void stop(void *ctx) {
  struct copy *k = ctx;
  if (!k->running) return;
  pthread_mutex_lock(&k->lock);
  atomic_store(&k->stop, true);
  pthread_cond_broadcast(&k->moved);
  pthread_mutex_unlock(&k->lock);
  pthread_join(k->thread, NULL);
  k->running = false;
}

/* --- upload ---------------------------------------------------------------------------------- */

/* Bytes that may be sent now. */
static size_t ready(const struct copy *k) {
  bool last = k->given + (int64_t)k->fill >= k->d->size;
  return k->fill && last && !k->ended ? k->fill - 1 : k->fill;
}

static void wait_a_moment(struct copy *k) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_nsec += 200000000;
  if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
  pthread_cond_timedwait(&k->moved, &k->lock, &t);
}

static ssize_t take(void *ctx, int64_t at, void *p, size_t n, struct bk_err *err) {
  struct copy *k = ctx;
  if (at != k->given) { /* renewed token, dead connection: the whole copy is begun anew */
    bk_fail(err, BK_INFRA, "http.send", "the upload had to begin anew");
    err->retryable = true;
    return -1;
  }
  ssize_t got = -1;
  pthread_mutex_lock(&k->lock);
  for (;;) {
    if (k->ended && k->rc) {
      *err = k->err;
      break;
    }
    if (oci_cancelled(k->op)) {
      bk_fail(err, BK_BUILD, "cancelled", "cancelled");
      break;
    }
    size_t m = ready(k);
    if (m == 0) {
      wait_a_moment(k);
      continue;
    }
    if (m > n) m = n;
    if (m > RING - k->head) m = RING - k->head;
    memcpy(p, k->ring + k->head, m);
    k->head = (k->head + m) % RING;
    k->fill -= m;
    k->given += (int64_t)m;
    got = (ssize_t)m;
    pthread_cond_broadcast(&k->moved);
    break;
  }
  pthread_mutex_unlock(&k->lock);
  return got;
}

/* --- entry point ----------------------------------------------------------------------------- */

/* Content the descriptor brings along, and empty blobs, need no download. */
static int small(struct copy *k, const struct bk_oci_ref *to, enum bk_oci_pushed *how,
                 struct bk_err *err) {
  cleanup_buf struct bk_buf data = {.max = OCI_MANIFEST_MAX};
  if (k->d->size > 0 && oci_blob_data(k->c, k->from, k->d, &data, k->op, err)) return -1;
  const struct bk_oci_source src = {.data = bk_buf_str(&data), .len = data.len};
  const struct bk_oci_desc d = {.digest = k->d->digest, .size = k->d->size};
  return oci_blob_push(k->c, to, &d, &src, how, k->op, err);
}

static int stream(struct copy *k, const struct bk_oci_ref *to, enum bk_oci_pushed *how,
                  struct bk_err *err) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_mutex_init(&k->lock, NULL);
  pthread_cond_init(&k->moved, &attr);
  pthread_condattr_destroy(&attr);
  k->ring = bk_malloc(RING);
  struct oci_upload u = {.c = k->c, .h = oci_host(k->c, to->registry), .r = to,
                         .digest = k->d->digest, .op = k->op, .size = k->d->size, .fd = -1,
                         .start = start, .read = take, .stop = stop, .ctx = k};
  bool same = strcmp(k->from->registry, to->registry) == 0;
  int rc = oci_upload_deliver(&u, same ? k->from->repository : NULL, how, err);
  stop(k);
  free(k->ring);
  pthread_mutex_destroy(&k->lock);
  pthread_cond_destroy(&k->moved);
  return rc;
}

int oci_blob_copy(struct bk_oci *c, const struct bk_oci_ref *to, const struct bk_oci_ref *from,
                  const struct bk_oci_desc *d, enum bk_oci_pushed *how, const struct bk_oci_op *op,
                  struct bk_err *err) {
  if (!bk_oci_is_digest(d->digest))
    return bk_fail(err, BK_USAGE, "oci.digest", "'%.80s' is not a digest", d->digest);
  if (d->size < 0)
    return bk_fail(err, BK_USAGE, "oci.descriptor", "copy blob %.19s: its size must be known",
                   d->digest);
  struct copy k = {.c = c, .from = from, .d = d, .op = op};
  int rc = d->size == 0 || d->data ? small(&k, to, how, err) : stream(&k, to, how, err);
  if (rc && strcmp(err->code, "cancelled") != 0)
    bk_err_wrap(err, "copy blob %.19s to %s/%s", d->digest, to->registry, to->repository);
  return rc;
}
