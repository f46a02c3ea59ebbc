/* Blobs to a registry: known, mount, HEAD, upload, in this order (registry.md 1.5). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "oci/oci_int.h"

struct push {
  struct bk_oci *c;
  struct oci_host *h;
  const struct bk_oci_ref *r;
  const struct bk_oci_desc *d;
  const struct bk_oci_source *src;
  const struct bk_oci_op *op;
  int fd;
  int64_t size;
  char *location; /* of an open upload session */
  bool absent;    /* the registry has said that it lacks the blob */
};

static struct oci_call base_call(const struct push *p, const char *method) {
  return (struct oci_call){.host = p->h,
                           .repository = p->r->repository,
                           .method = method,
                           .actions = "pull,push",
                           .op = p->op};
}

static bool is_known(struct push *p, bool add) {
  cleanup_free char *key = bk_asprintf("%s@%s", p->r->repository, p->d->digest);
  size_t n = strlen(key);
  pthread_mutex_lock(&p->h->lock);
  bool there = bk_map_has(&p->h->present, key, n);
  if (add && !there) bk_map_set(&p->h->present, key, n, NULL);
  pthread_mutex_unlock(&p->h->lock);
  return there;
}

/* Where to go on with the upload: relative to the request, plain http raised to https on the same
 * host (registries behind a TLS proxy), other hosts only when they are no less public and safe. */
static int take_location(struct push *p, const struct bk_http_res *res, struct bk_err *err) {
  const char *text = bk_http_header(res, "location");
  if (!text)
    return bk_fail(err, BK_INFRA, "oci.location", "the registry sent no Location for the upload");
  struct bk_http_url home, u;
  if (bk_http_url_parse(&home, NULL, res->url, err)) return -1;
  int rc = bk_http_url_parse(&u, res->url, text, err);
  if (rc) {
    bk_http_url_free(&home);
    err->cls = BK_INFRA;
    return bk_err_wrap(err, "Location");
  }
  bool down = strcmp(home.scheme, "https") == 0 && strcmp(u.scheme, "http") == 0;
  char *url = bk_strdup(u.text);
  if (down && strcmp(u.host, home.host) == 0) {
    free(url);
    url = bk_asprintf("https://%s:%s%s%s%s", home.host, home.port, u.path, u.query ? "?" : "",
                      u.query ? u.query : "");
  } else if (down) {
    rc = bk_fail(err, BK_INFRA, "oci.location", "upload to http://%s refused: it leaves TLS",
                 u.host);
  } else if (strcmp(u.host, home.host) != 0 && bk_http_is_private(u.host) &&
             !bk_http_is_private(home.host)) {
    rc = bk_fail(err, BK_INFRA, "oci.location", "upload to private address %s refused", u.host);
  }
  bk_http_url_free(&u);
  bk_http_url_free(&home);
  if (rc) return free(url), -1;
  free(p->location);
  p->location = url;
  return 0;
}

/* 1 mounted, 0 go on (perhaps with an open session), -1 error. */
static int try_mount(struct push *p, struct bk_err *err) {
  cleanup_free char *path =
      bk_asprintf("/v2/%s/blobs/uploads/?mount=%s&from=%s", p->r->repository, p->d->digest,
                  p->src->mount_from);
  struct oci_call call = base_call(p, "POST");
  call.path = path;
  call.from_repo = p->src->mount_from;
  struct bk_http_res res;
  int rc = oci_call(p->c, &call, &res, err);
  if (rc == 0 && res.status == 201) rc = 1;
  else if (rc == 0 && res.status == 202) {
    p->absent = true;
    rc = take_location(p, &res, err);
  }
  bk_http_res_free(&res);
  return rc; /* any other status: upload */
}

static int open_session(struct push *p, struct bk_err *err) {
  cleanup_free char *path = bk_asprintf("/v2/%s/blobs/uploads/", p->r->repository);
  struct oci_call call = base_call(p, "POST");
  call.path = path;
  struct bk_http_res res;
  int rc = oci_call(p->c, &call, &res, err);
  if (rc == 0 && res.status != 202)
    rc = oci_status_error(&res, err, "start upload");
  if (rc == 0) rc = take_location(p, &res, err);
  bk_http_res_free(&res);
  return rc;
}

static void close_session(struct push *p) {
  if (!p->location) return;
  struct bk_err ignored;
  struct bk_http_res res;
  const struct bk_oci_op alone = {0}; /* also when we were cancelled */
  struct oci_call call = base_call(p, "DELETE");
  call.url = p->location;
  call.once = true;
  call.stall_s = 10;
  call.op = &alone;
  (void)!oci_call(p->c, &call, &res, &ignored);
  bk_http_res_free(&res);
  free(bk_steal_ptr(&p->location));
}

/* Seconds the transfer may take: 4 MB/s assumed, and what a slow commit needs. */
static int expected_seconds(int64_t size) {
  int64_t s = 30 + size / 4000000;
  return s > 7200 ? 7200 : (int)s;
}

static void count(const struct push *p, int64_t n) {
  if (p->op && p->op->done) atomic_fetch_add(p->op->done, (uint64_t)n);
}

static int put_body(struct push *p, struct bk_http_res *res, struct bk_err *err) {
  bool query = strchr(p->location, '?') != NULL;
  cleanup_free char *url =
      bk_asprintf("%s%cdigest=%s", p->location, query ? '&' : '?', p->d->digest);
  struct bk_http_req body = {.body = p->src->data,
                             .body_len = p->src->path ? 0 : p->src->len,
                             .body_is_file = p->src->path != NULL,
                             .body_fd = p->fd,
                             .body_size = p->size,
                             .sent = p->op ? p->op->done : NULL};
  struct oci_call call = base_call(p, "PUT");
  call.url = url;
  call.headers[0] = "Content-Type: application/octet-stream";
  call.body = &body;
  call.stall_s = 300; /* the registry hashes and copies before it answers */
  call.token_life = expected_seconds(p->size);
  call.once = true;
  return oci_call(p->c, &call, res, err);
}

/* One session: 1 stored, 0 try again with a new one (*err says why), -1 give up. */
static int upload_once(struct push *p, struct bk_http_res *res, struct bk_err *err) {
  if (!p->location && open_session(p, err)) return -1; /* it has had its retries */
  int rc = put_body(p, res, err);
  if (rc == 0 && (res->status == 201 || res->status == 204)) {
    free(bk_steal_ptr(&p->location));
    return 1;
  }
  count(p, -(int64_t)res->sent);
  if (rc) return err->retryable ? 0 : -1;
  oci_status_error(res, err, "upload");
  if (oci_has_code(res, "DIGEST_INVALID"))
    snprintf(err->code, sizeof err->code, "oci.digest_mismatch");
  /* 404: the session has expired; 416: it holds bytes of an attempt that broke off. */
  bool lost = res->status == 404 || res->status == 416;
  if (lost) err->retryable = true;
  return lost || err->retryable ? 0 : -1;
}

static int upload(struct push *p, struct bk_err *err) {
  time_t since = oci_now();
  for (int n = 1;; n++) {
    struct bk_http_res res = {0};
    int rc = upload_once(p, &res, err);
    if (rc <= 0) close_session(p);
    if (rc == 0)
      rc = oci_backoff(p->c, n, since, res.status ? &res : NULL, p->op, err) ? -1 : 0;
    bk_http_res_free(&res);
    if (rc) return rc > 0 ? 0 : -1;
  }
}

/* --- order of attempts ----------------------------------------------------------------------- */

static int push(struct push *p, enum bk_oci_pushed *how, struct bk_err *err) {
  *how = BK_OCI_EXISTS;
  if (is_known(p, false)) return count(p, p->size), 0;
  const char *from = p->src->mount_from;
  if (from && strcmp(from, p->r->repository) != 0) {
    int rc = try_mount(p, err);
    if (rc < 0) return -1;
    if (rc > 0) return *how = BK_OCI_MOUNTED, count(p, p->size), 0;
  }
  if (!p->absent) {
    int rc = oci_blob_head(p->c, p->r, p->d->digest, "pull,push", NULL, p->op, err);
    if (rc > 0) return count(p, p->size), 0;
    /* Registries that refuse to tell (401 for unknown repositories) may still take it. */
    if (rc < 0 && strcmp(err->code, "oci.unauthorized") != 0 &&
        strcmp(err->code, "oci.denied") != 0 && strcmp(err->code, "oci.unsupported") != 0)
      return -1;
  }
  *how = BK_OCI_UPLOADED;
  if (oci_limit_take(p->c, p->h, p->op, err)) return -1;
  int rc = upload(p, err);
  oci_limit_give(p->h);
  return rc;
}

static int open_source(struct push *p, struct bk_err *err) {
  p->size = (int64_t)p->src->len;
  if (p->src->path) {
    struct stat st;
    p->fd = open(p->src->path, O_RDONLY | O_CLOEXEC);
    if (p->fd < 0 || fstat(p->fd, &st)) return bk_fail_errno(err, errno, "open '%s'", p->src->path);
    p->size = st.st_size;
  }
  if (p->d->size >= 0 && p->d->size != p->size)
    return bk_fail(err, BK_USAGE, "oci.size_mismatch",
                   "source has %lld bytes, descriptor says %lld", (long long)p->size,
                   (long long)p->d->size);
  return 0;
}

int oci_blob_push(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                  const struct bk_oci_source *src, enum bk_oci_pushed *how,
                  const struct bk_oci_op *op, struct bk_err *err) {
  struct push p = {.c = c, .h = oci_host(c, r->registry), .r = r, .d = d, .src = src, .op = op,
                   .fd = -1};
  int rc = !bk_oci_is_digest(d->digest)
               ? bk_fail(err, BK_USAGE, "oci.digest", "'%.80s' is not a digest", d->digest)
               : open_source(&p, err);
  if (rc == 0) rc = push(&p, how, err);
  if (rc == 0) is_known(&p, true);
  close_session(&p);
  if (p.fd >= 0) close(p.fd);
  if (rc && strcmp(err->code, "cancelled") != 0)
    bk_err_wrap(err, "push blob %.19s to %s/%s", d->digest, r->registry, r->repository);
  return rc;
}
