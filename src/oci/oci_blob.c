/* Blobs from a registry: streamed, hashed on the way, resumed (registry.md 1.4). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "oci/oci_int.h"

struct fetch {
  const struct bk_oci_desc *d;
  const struct bk_oci_op *op;
  const char *path;    /* final name, or NULL: */
  struct bk_buf *data;
  const struct oci_sink *sink; /* instead of both */
  int fd;
  int64_t have;
  int64_t passed; /* bytes the sink has: a download begun anew gives it no byte twice */
  struct oci_hash hash;
};

static void count(const struct fetch *f, int64_t n) {
  if (f->op && f->op->done) atomic_fetch_add(f->op->done, (uint64_t)n);
}

static int restart(struct fetch *f, struct bk_err *err) {
  count(f, -f->have);
  f->have = 0;
  bk_digest_free(&f->hash.d);
  oci_hash_start(&f->hash, f->d->digest);
  if (f->sink) return 0;
  if (f->data) bk_buf_reset(f->data);
  else if (ftruncate(f->fd, 0) || lseek(f->fd, 0, SEEK_SET) < 0)
    return bk_fail_errno(err, errno, "truncate '%s'", f->path);
  return 0;
}

static int on_begin(void *ctx, const struct bk_http_res *res, struct bk_err *err) {
  struct fetch *f = ctx;
  if (res->status == 206 && f->have) {
    const char *range = bk_http_header(res, "content-range");
    long long from = -1, to = -1, size = -1;
    if (!range || sscanf(range, "bytes %lld-%lld/%lld", &from, &to, &size) < 2 || from != f->have ||
        (size >= 0 && f->d->size >= 0 && size != f->d->size))
      return bk_fail(err, BK_INFRA, "oci.range", "unusable Content-Range '%.80s'",
                     range ? range : "");
    return 0;
  }
  if (f->have && restart(f, err)) return -1;
  if (f->d->size >= 0 && res->length >= 0 && res->length != f->d->size)
    return bk_fail(err, BK_INFRA, "oci.size_mismatch", "%lld bytes announced, %lld expected",
                   (long long)res->length, (long long)f->d->size);
  return 0;
}

static int on_data(void *ctx, const void *p, size_t n, struct bk_err *err) {
  struct fetch *f = ctx;
  if (f->d->size >= 0 && (int64_t)n > f->d->size - f->have)
    return bk_fail(err, BK_INFRA, "oci.size_mismatch", "more than the expected %lld bytes",
                   (long long)f->d->size);
  if (f->sink) {
    int64_t skip = f->passed > f->have ? f->passed - f->have : 0;
    if (skip < (int64_t)n) {
      if (f->sink->write(f->sink->ctx, (const char *)p + skip, n - (size_t)skip, err)) return -1;
      f->passed += (int64_t)n - skip;
    }
  } else if (f->data) {
    bk_buf_add(f->data, p, n);
    if (f->data->overflow)
      return bk_fail(err, BK_INFRA, "oci.too_large", "larger than %zu bytes", f->data->max);
  } else if (bk_write_all(f->fd, p, n)) {
    return bk_fail_errno(err, errno, "write '%s'", f->path);
  }
  bk_digest_update(&f->hash.d, p, n);
  f->have += (int64_t)n;
  count(f, (int64_t)n);
  return 0;
}

static int request(struct bk_oci *c, const struct bk_oci_ref *r, struct fetch *f,
                   struct bk_http_res *res, struct bk_err *err) {
  cleanup_free char *ns = oci_namespace(f->op);
  cleanup_free char *path = bk_asprintf("/v2/%s/blobs/%s%s", r->repository, f->d->digest, ns);
  char range[64];
  snprintf(range, sizeof range, "Range: bytes=%lld-", (long long)f->have);
  struct bk_http_req sink = {.begin = on_begin, .write = on_data, .ctx = f};
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "GET",
                          .path = path,
                          .actions = "pull",
                          .headers = {f->have ? range : NULL},
                          .body = &sink,
                          .follow = 5,
                          .once = true,
                          .op = f->op};
  return oci_call(c, &call, res, err);
}

/* One attempt: 1 complete, 0 try again (*err says why), -1 give up. */
static int attempt(struct bk_oci *c, const struct bk_oci_ref *r, struct fetch *f,
                   struct bk_http_res *res, struct bk_err *err) {
  int64_t before = f->have;
  if (request(c, r, f, res, err)) {
    if (strcmp(err->code, "oci.range") == 0) return restart(f, err) ? -1 : 0;
    return err->retryable ? 0 : -1;
  }
  bool ok = res->status == 200 || res->status == 206;
  if (ok && (f->d->size < 0 || f->have == f->d->size)) return 1;
  if (ok) {
    bk_fail(err, BK_INFRA, "http.truncated", "only %lld of %lld bytes arrived", (long long)f->have,
            (long long)f->d->size);
    return 0;
  }
  oci_status_error(res, err, "blob %.19s", f->d->digest);
  if (before && (res->status == 416 || res->status == 403 || res->status == 400))
    return restart(f, err) ? -1 : 0; /* an expired signature or a server that cannot resume */
  return err->retryable ? 0 : -1;
}

static int verify(struct fetch *f, struct bk_err *err) {
  cleanup_free char *got = oci_hash_end(&f->hash);
  oci_hash_start(&f->hash, f->d->digest);
  if (strcmp(got, f->d->digest) == 0) return 0;
  return bk_fail(err, BK_INFRA, "oci.digest_mismatch", "content has digest %s", got);
}

static int run(struct bk_oci *c, const struct bk_oci_ref *r, struct fetch *f, struct bk_err *err) {
  time_t since = oci_now();
  bool fresh = false; /* was started over after a wrong digest */
  int64_t mark = 0;
  for (int n = 1, total = 1;; n++, total++) {
    struct bk_http_res res = {0};
    int rc = attempt(c, r, f, &res, err);
    if (rc > 0 && verify(f, err)) {
      rc = fresh || f->sink ? -1 : 0; /* a sink cannot take back what it has had */
      err->retryable = f->sink != NULL;
      fresh = true;
      struct bk_err ignored;
      if (rc == 0 && restart(f, &ignored)) rc = -1;
    }
    if (f->have > mark + (1 << 20) && total < 50) n = 1; /* it moves: patience */
    mark = f->have;
    if (rc == 0) rc = oci_backoff(c, n, since, res.status ? &res : NULL, f->op, err) ? -1 : 0;
    bk_http_res_free(&res);
    if (rc) return rc > 0 ? 0 : -1;
  }
}

/* Content that the descriptor brings along saves the request. */
static int take_inline(struct fetch *f, struct bk_err *err) {
  size_t n;
  cleanup_free char *text = oci_base64(f->d->data, strlen(f->d->data), &n);
  if (!text) return bk_fail(err, BK_INFRA, "oci.manifest", "the descriptor's data is not base64");
  if (f->d->size >= 0 && (int64_t)n != f->d->size)
    return bk_fail(err, BK_INFRA, "oci.size_mismatch",
                   "the descriptor's data has %zu bytes, its size is %lld", n,
                   (long long)f->d->size);
  return on_data(f, text, n, err) || verify(f, err) ? -1 : 0;
}

static int limited(struct bk_oci *c, const struct bk_oci_ref *r, struct fetch *f,
                   struct bk_err *err) {
  if (!bk_oci_is_digest(f->d->digest))
    return bk_fail(err, BK_USAGE, "oci.digest", "'%.80s' is not a digest", f->d->digest);
  struct oci_host *h = oci_host(c, r->registry);
  /* A copy holds its place at the destination already: waiting for two could be for ever. */
  if (!f->sink && oci_limit_take(c, h, f->op, err)) return -1;
  oci_hash_start(&f->hash, f->d->digest);
  int rc = restart(f, err); /* another source may have begun it */
  if (rc == 0) rc = f->d->data ? take_inline(f, err) : run(c, r, f, err);
  bk_digest_free(&f->hash.d);
  if (!f->sink) oci_limit_give(h);
  if (rc && f->have) count(f, -f->have);
  if (rc && strcmp(err->code, "cancelled") != 0)
    bk_err_wrap(err, "pull blob %.19s of %s/%s", f->d->digest, r->registry, r->repository);
  return rc;
}

int oci_blob_file(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                  const char *path, const struct bk_oci_op *op, struct bk_err *err) {
  const char *slash = strrchr(path, '/');
  bool in_place = op && op->in_place;
  char name[40];
  bk_tmpname(name, ".tmp-");
  cleanup_free char *tmp =
      in_place ? bk_strdup(path) : bk_asprintf("%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name);
  cleanup_close int fd = open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC | (in_place ? O_TRUNC : O_EXCL), 0644);
  if (fd < 0) return bk_fail_errno(err, errno, "create '%s'", path);
  struct fetch f = {.d = d, .op = op, .path = path, .fd = fd};
  int rc = limited(c, r, &f, err);
  if (rc == 0 && !in_place && rename(tmp, path)) rc = bk_fail_errno(err, errno, "create '%s'", path);
  if (rc) unlink(tmp);
  return rc;
}

int oci_blob_data(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                  struct bk_buf *out, const struct bk_oci_op *op, struct bk_err *err) {
  struct fetch f = {.d = d, .op = op, .data = out, .fd = -1};
  return limited(c, r, &f, err);
}

int oci_blob_stream(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                    const struct oci_sink *sink, const struct bk_oci_op *op, struct bk_err *err) {
  struct fetch f = {.d = d, .op = op, .sink = sink, .fd = -1, .passed = *sink->passed};
  int rc = limited(c, r, &f, err);
  *sink->passed = f.passed;
  return rc;
}

int oci_blob_head(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                  const char *actions, int64_t *size, const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path = bk_asprintf("/v2/%s/blobs/%s", r->repository, digest);
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "HEAD",
                          .path = path,
                          .actions = actions,
                          .follow = 5,
                          .op = op};
  struct bk_http_res res;
  int rc = oci_call(c, &call, &res, err);
  if (rc == 0) {
    if (size) *size = res.length;
    rc = res.status == 200   ? 1
         : res.status == 404 ? 0
                             : oci_status_error(&res, err, "look up blob %.19s of %s/%s", digest,
                                                r->registry, r->repository);
  } else if (strcmp(err->code, "cancelled") != 0) {
    bk_err_wrap(err, "look up blob %.19s of %s/%s", digest, r->registry, r->repository);
  }
  bk_http_res_free(&res);
  return rc;
}
