/* Upload sessions: whole, in chunks, resumed (registry.md 1.5). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "oci/upload.h"

#define RESUME_MIN (1 << 20) /* below this a new session is cheaper than asking */

void oci_upload_count(const struct oci_upload *u, int64_t n) {
  if (u->op && u->op->done) atomic_fetch_add(u->op->done, (uint64_t)n);
}

static struct oci_call base_call(const struct oci_upload *u, const char *method) {
  return (struct oci_call){.host = u->h,
                           .repository = u->r->repository,
                           .method = method,
                           .actions = "pull,push",
                           .op = u->op};
}

/* --- sessions -------------------------------------------------------------------------------- */

/* Where to go on with the upload: relative to the request, plain http raised to https on the same
 * host (registries behind a TLS proxy), other hosts only when they are no less public and safe. */
static int take_location(struct oci_upload *u, const struct bk_http_res *res, struct bk_err *err) {
  const char *text = bk_http_header(res, "location");
  if (!text)
    return bk_fail(err, BK_INFRA, "oci.location", "the registry sent no Location for the upload");
  struct bk_http_url home, to;
  if (bk_http_url_parse(&home, NULL, res->url, err)) return -1;
  int rc = bk_http_url_parse(&to, res->url, text, err);
  if (rc) {
    bk_http_url_free(&home);
    err->cls = BK_INFRA;
    return bk_err_wrap(err, "Location");
  }
  bool down = strcmp(home.scheme, "https") == 0 && strcmp(to.scheme, "http") == 0;
  char *url = bk_strdup(to.text);
  if (down && strcmp(to.host, home.host) == 0) {
    free(url);
    url = bk_asprintf("https://%s:%s%s%s%s", home.host, home.port, to.path, to.query ? "?" : "",
                      to.query ? to.query : "");
  } else if (down) {
    rc = bk_fail(err, BK_INFRA, "oci.location", "upload to http://%s refused: it leaves TLS",
                 to.host);
  } else if (strcmp(to.host, home.host) != 0 && bk_http_is_private(to.host) &&
             !bk_http_is_private(home.host)) {
    rc = bk_fail(err, BK_INFRA, "oci.location", "upload to private address %s refused", to.host);
  }
  bk_http_url_free(&to);
  bk_http_url_free(&home);
  if (rc) return free(url), -1;
  free(u->location);
  u->location = url;
  return 0;
}

int oci_upload_mount(struct oci_upload *u, const char *from, struct bk_err *err) {
  cleanup_free char *path =
      *from ? bk_asprintf("/v2/%s/blobs/uploads/?mount=%s&from=%s", u->r->repository, u->digest, from)
            : bk_asprintf("/v2/%s/blobs/uploads/?mount=%s", u->r->repository, u->digest);
  struct oci_call call = base_call(u, "POST");
  call.path = path;
  call.from_repo = *from ? from : NULL;
  struct bk_http_res res;
  int rc = oci_call(u->c, &call, &res, err);
  if (rc == 0 && res.status == 201) rc = 1;
  else if (rc == 0 && res.status == 202) {
    u->absent = true;
    rc = take_location(u, &res, err);
  }
  bk_http_res_free(&res);
  return rc; /* any other status: upload */
}

static int open_session(struct oci_upload *u, struct bk_err *err) {
  bool usual = strncmp(u->digest, "sha256:", 7) == 0; /* another algorithm is told beforehand */
  cleanup_free char *path =
      bk_asprintf("/v2/%s/blobs/uploads/%s%.*s", u->r->repository, usual ? "" : "?digest-algorithm=",
                  usual ? 0 : (int)strcspn(u->digest, ":"), u->digest);
  struct oci_call call = base_call(u, "POST");
  call.path = path;
  struct bk_http_res res;
  int rc = oci_call(u->c, &call, &res, err);
  if (rc == 0 && res.status != 202) rc = oci_status_error(&res, err, "start upload");
  if (rc == 0) rc = take_location(u, &res, err);
  const char *least = rc == 0 ? bk_http_header(&res, "oci-chunk-min-length") : NULL;
  long long n = least ? atoll(least) : 0;
  u->chunk_min = n > 0 ? n : 0;
  bk_http_res_free(&res);
  return rc;
}

void oci_upload_close(struct oci_upload *u) {
  if (!u->location) return;
  struct bk_err ignored;
  struct bk_http_res res;
  const struct bk_oci_op alone = {0}; /* also when we were cancelled */
  struct oci_call call = base_call(u, "DELETE");
  call.url = u->location;
  call.once = true;
  call.stall_s = 10;
  call.op = &alone;
  (void)!oci_call(u->c, &call, &res, &ignored);
  bk_http_res_free(&res);
  free(bk_steal_ptr(&u->location));
}

/* Bytes the registry has by a Range header "0-N", or -1 when it does not say. "0-0" means one byte or
 * none: only who has sent just one can tell. */
static int64_t received(const struct bk_http_res *res, int64_t sent) {
  const char *range = bk_http_header(res, "range");
  long long from = -1, to = -1;
  if (range && strncasecmp(range, "bytes=", 6) == 0) range += 6;
  if (!range || sscanf(range, "%lld-%lld", &from, &to) != 2 || from != 0 || to < 0) return -1;
  if (to == 0 && sent != 1) return -1;
  return to + 1;
}

/* How far an interrupted upload came: bytes, or -1 when the session is of no use any more. */
static int64_t ask_status(struct oci_upload *u, int64_t sent) {
  struct bk_http_res res;
  struct bk_err ignored;
  struct oci_call call = base_call(u, "GET");
  call.url = u->location;
  int64_t have = -1;
  if (oci_call(u->c, &call, &res, &ignored) == 0 && (res.status == 204 || res.status == 202)) {
    have = received(&res, sent);
    if (have > sent) have = -1;
    if (have >= 0 && bk_http_header(&res, "location") && take_location(u, &res, &ignored)) have = -1;
  }
  bk_http_res_free(&res);
  return have;
}

/* --- sending --------------------------------------------------------------------------------- */

/* Seconds the transfer may take: 4 MB/s assumed, and what a slow commit needs. */
static int expected_seconds(int64_t size) {
  int64_t s = 30 + size / 4000000;
  return s > 7200 ? 7200 : (int)s;
}

/* n bytes of the blob from `at` on, to url. */
static int send_part(struct oci_upload *u, const char *method, const char *url, int64_t at,
                     int64_t n, struct bk_http_res *res, struct bk_err *err) {
  char range[80];
  snprintf(range, sizeof range, "Content-Range: %lld-%lld", (long long)at, (long long)(at + n - 1));
  struct bk_http_req body = {.sent = u->op ? u->op->done : NULL, .body_once = true};
  if (u->read) {
    body.body_read = u->read;
    body.body_ctx = u->ctx;
    body.body_size = n;
  } else if (u->fd >= 0) {
    body.body_is_file = true;
    body.body_fd = u->fd;
    body.body_offset = at;
    body.body_size = n;
  } else {
    body.body = n ? (const char *)u->data + at : NULL;
    body.body_len = (size_t)n;
  }
  struct oci_call call = base_call(u, method);
  call.url = url;
  call.headers[0] = "Content-Type: application/octet-stream";
  if (strcmp(method, "PATCH") == 0) call.headers[1] = range;
  call.body = &body;
  call.stall_s = 300; /* the registry hashes and copies before it answers */
  call.token_life = expected_seconds(u->size - at);
  call.once = true;
  int rc = oci_call(u->c, &call, res, err);
  u->counted += (int64_t)res->sent;
  return rc;
}

static int commit(struct oci_upload *u, int64_t at, struct bk_http_res *res, struct bk_err *err) {
  bool query = strchr(u->location, '?') != NULL;
  cleanup_free char *url = bk_asprintf("%s%cdigest=%s", u->location, query ? '&' : '?', u->digest);
  return send_part(u, "PUT", url, at, u->size - at, res, err);
}

/* What a failed PUT means: 0 another session may do, -1 not. */
static int refused(const struct bk_http_res *res, struct bk_err *err) {
  oci_status_error(res, err, "upload");
  if (oci_has_code(res, "DIGEST_INVALID"))
    snprintf(err->code, sizeof err->code, "oci.digest_mismatch");
  /* 404: the session has expired; 416: it holds bytes of an attempt that broke off. */
  bool lost = res->status == 404 || res->status == 416;
  if (lost) err->retryable = true;
  return lost || err->retryable ? 0 : -1;
}

/* One PATCH from *at on, which moves forward: 1 go on, 0 a new session is needed, -1 give up. */
static int patch(struct oci_upload *u, int64_t *at, int64_t n, bool *broken, struct bk_err *err) {
  struct bk_http_res res = {0};
  int64_t before = u->counted;
  int rc = send_part(u, "PATCH", u->location, *at, n, &res, err);
  int64_t end = *at + n, have = -1;
  *broken = rc != 0 || res.status != 202;
  if (rc == 0 && res.status == 202) {
    have = bk_http_header(&res, "range") ? received(&res, end) : end;
    if (have < 0 || have > end || take_location(u, &res, err)) have = -1;
    rc = have > *at ? 1 : 0;
    if (!rc) bk_fail(err, BK_INFRA, "oci.range", "the registry lost a chunk of the upload");
  } else if (rc ? err->retryable : res.status == 416 || bk_http_status_retryable(res.status)) {
    if (rc == 0) oci_status_error(&res, err, "upload chunk");
    have = ask_status(u, end);
    rc = have >= 0;
  } else if (rc == 0) {
    rc = refused(&res, err);
    if (res.status / 100 == 2 || res.status == 405 || res.status == 501 || res.status == 413) {
      u->h->no_chunks = true; /* takes whole blobs only */
      rc = 0;
    }
  }
  if (have >= 0) {
    oci_upload_count(u, have - *at - (u->counted - before)); /* what counts is what is there */
    u->counted = before + have - *at;
    *at = have;
  }
  err->retryable = true;
  bk_http_res_free(&res);
  return rc;
}

/* The rest of a session in chunks, then the commit: as attempt(). */
static int chunks(struct oci_upload *u, int64_t at, int64_t size, struct bk_http_res *res,
                  struct bk_err *err) {
  time_t since = oci_now();
  if (size < u->chunk_min) size = u->chunk_min;
  for (int n = 1; at < u->size;) {
    int64_t left = u->size - at;
    bool broken;
    int64_t before = at;
    int rc = patch(u, &at, left < size ? left : size, &broken, err);
    if (rc <= 0) return rc;
    if (at > before) n = 1;
    if (broken && oci_backoff(u->c, n++, since, NULL, u->op, err)) return -1;
  }
  int rc = commit(u, at, res, err);
  if (rc == 0 && (res->status == 201 || res->status == 204)) return 1;
  return rc ? (err->retryable ? 0 : -1) : refused(res, err);
}

/* One session: 1 stored, 0 try again with a new one (*err says why), -1 give up. */
static int attempt(struct oci_upload *u, struct bk_http_res *res, struct bk_err *err) {
  u->counted = 0;
  if (!u->location && open_session(u, err)) return -1; /* it has had its retries */
  bool pieces = u->chunk > 0 && u->chunk < u->size && !u->read && !u->h->no_chunks;
  if (pieces) return chunks(u, 0, u->chunk, res, err);
  if (u->start && u->start(u->ctx, err)) return -1;
  int rc = commit(u, 0, res, err);
  if (u->stop) u->stop(u->ctx);
  if (rc == 0 && (res->status == 201 || res->status == 204)) return 1;
  if (rc == 0) return refused(res, err);
  if (!err->retryable) return -1;
  if (u->size < RESUME_MIN || u->read || u->h->no_chunks || oci_cancelled(u->op)) return 0;
  struct bk_err first = *err;
  int64_t have = ask_status(u, u->counted);
  if (have <= 0) return *err = first, 0;
  oci_upload_count(u, have - u->counted);
  u->counted = have;
  bk_http_res_free(res);
  *res = (struct bk_http_res){0};
  return chunks(u, have, u->chunk > 0 ? u->chunk : u->size - have, res, err);
}

static int run(struct oci_upload *u, struct bk_err *err) {
  time_t since = oci_now();
  for (int n = 1;; n++) {
    struct bk_http_res res = {0};
    int rc = attempt(u, &res, err);
    if (rc > 0) {
      free(bk_steal_ptr(&u->location));
    } else {
      oci_upload_count(u, -u->counted);
      oci_upload_close(u);
    }
    if (rc == 0)
      rc = oci_backoff(u->c, n, since, res.status ? &res : NULL, u->op, err) ? -1 : 0;
    bk_http_res_free(&res);
    if (rc) return rc > 0 ? 0 : -1;
  }
}

/* --- order of attempts ----------------------------------------------------------------------- */

enum oci_known oci_blob_known(struct oci_host *h, const char *repository, const char *digest,
                              enum oci_known now) {
  cleanup_free char *key = bk_asprintf("%s@%s", repository, digest);
  size_t n = strlen(key);
  pthread_mutex_lock(&h->lock);
  enum oci_known was = (enum oci_known)(intptr_t)bk_map_get(&h->present, key, n);
  if (now) bk_map_set(&h->present, key, n, (void *)(intptr_t)now);
  pthread_mutex_unlock(&h->lock);
  return was;
}

static int deliver(struct oci_upload *u, const char *from, enum bk_oci_pushed *how,
                   struct bk_err *err) {
  *how = BK_OCI_EXISTS;
  enum oci_known known = oci_blob_known(u->h, u->r->repository, u->digest, 0);
  if (known == OCI_PRESENT) return oci_upload_count(u, u->size), 0;
  if (from && strcmp(from, u->r->repository) != 0 && known != OCI_LOST) {
    int rc = oci_upload_mount(u, from, err);
    if (rc < 0) return -1;
    if (rc > 0) return *how = BK_OCI_MOUNTED, oci_upload_count(u, u->size), 0;
  }
  if (!u->absent) {
    int rc = oci_blob_head(u->c, u->r, u->digest, "pull,push", NULL, u->op, err);
    if (rc > 0) return oci_upload_count(u, u->size), 0;
    /* Registries that refuse to tell (401 for unknown repositories) may still take it. */
    if (rc < 0 && strcmp(err->code, "oci.unauthorized") != 0 &&
        strcmp(err->code, "oci.denied") != 0 && strcmp(err->code, "oci.unsupported") != 0)
      return -1;
  }
  *how = BK_OCI_UPLOADED;
  if (oci_limit_take(u->c, u->h, u->op, err)) return -1;
  int rc = run(u, err);
  oci_limit_give(u->h);
  return rc;
}

int oci_upload_deliver(struct oci_upload *u, const char *mount_from, enum bk_oci_pushed *how,
                       struct bk_err *err) {
  int rc = deliver(u, mount_from, how, err);
  if (rc == 0) oci_blob_known(u->h, u->r->repository, u->digest, OCI_PRESENT);
  oci_upload_close(u);
  return rc;
}
