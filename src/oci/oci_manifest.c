/* Manifests over the network (registry.md 1.3, 1.6). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "oci/oci_int.h"

static const char accept_all[] =
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";

/* "sha256-…" cannot be confused: a reference with a digest is asked for by it. */
static char *manifest_path(const struct bk_oci_ref *r) {
  return bk_asprintf("/v2/%s/manifests/%s", r->repository, r->digest ? r->digest : r->tag);
}

/* Points 1 to 4 of registry.md 1.3. */
static int verify(const struct bk_oci_ref *r, const struct bk_http_res *res, char **digest,
                  struct bk_err *err) {
  const char *body = res->body.p ? res->body.p : "", *told = bk_http_header(res, "docker-content-digest");
  *digest = oci_digest_of(r->digest, body, res->body.len);
  if (r->digest) {
    if (strcmp(*digest, r->digest) == 0) return 0;
    return bk_fail(err, BK_INFRA, "oci.digest_mismatch", "asked for %s, got content with digest %s",
                   r->digest, *digest);
  }
  if (!told) return 0;
  if (!bk_oci_is_digest(told))
    return bk_fail(err, BK_INFRA, "oci.digest_mismatch",
                   "the registry names a digest of unknown form: %.100s", told);
  cleanup_free char *same = oci_digest_of(told, body, res->body.len);
  if (strcmp(same, told) == 0) return 0;
  return bk_fail(err, BK_INFRA, "oci.digest_mismatch",
                 "the registry says digest %s, but the content has %s", told, same);
}

static int take(const struct bk_oci_ref *r, struct bk_http_res *res, struct bk_oci_manifest *m,
                struct bk_err *err) {
  if (verify(r, res, &m->desc.digest, err)) return -1;
  if (bk_oci_manifest_check(res->body.p ? res->body.p : "", res->body.len,
                            bk_http_header(res, "content-type"), &m->desc.media_type, err))
    return -1;
  m->desc.size = (int64_t)res->body.len;
  m->raw = res->body;
  res->body = (struct bk_buf){0};
  return 0;
}

int bk_oci_manifest_get(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                        const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path = manifest_path(r), *name = bk_oci_ref_text(r);
  *m = (struct bk_oci_manifest){0};
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "GET",
                          .path = path,
                          .actions = "pull",
                          .headers = {accept_all},
                          .max_body = OCI_MANIFEST_MAX,
                          .follow = 5,
                          .op = op};
  struct bk_http_res res;
  int rc = oci_call(c, &call, &res, err);
  if (rc == 0 && res.status != 200) {
    rc = oci_status_error(&res, err, "pull %s", name);
  } else if (rc == 0) {
    rc = take(r, &res, m, err);
    if (rc) bk_err_wrap(err, "manifest of %s", name);
  } else if (strcmp(err->code, "cancelled") != 0) {
    bk_err_wrap(err, "pull %s", name);
  }
  bk_http_res_free(&res);
  if (rc) bk_oci_manifest_free(m);
  return rc;
}

int bk_oci_manifest_head(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                         const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path = manifest_path(r), *name = bk_oci_ref_text(r);
  *m = (struct bk_oci_manifest){0};
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "HEAD",
                          .path = path,
                          .actions = "pull",
                          .headers = {accept_all},
                          .follow = 5,
                          .op = op};
  struct bk_http_res res;
  if (oci_call(c, &call, &res, err)) {
    bk_http_res_free(&res);
    return strcmp(err->code, "cancelled") == 0 ? -1 : bk_err_wrap(err, "look up %s", name);
  }
  const char *digest = bk_http_header(&res, "docker-content-digest");
  const char *type = bk_http_header(&res, "content-type");
  int rc = 0;
  bool enough = digest && bk_oci_is_digest(digest) && res.length >= 0 && type &&
                (!r->digest || strcmp(digest, r->digest) == 0);
  if (res.status == 200 && enough) {
    m->desc = (struct bk_oci_desc){.media_type = bk_strndup(type, strcspn(type, "; ")),
                                   .digest = bk_strdup(digest),
                                   .size = res.length};
  } else if (res.status == 200 || res.status == 405) { /* proxies that strip HEAD answers */
    rc = bk_oci_manifest_get(c, r, m, op, err);
    bk_buf_free(&m->raw);
  } else {
    rc = oci_status_error(&res, err, "look up %s", name);
  }
  bk_http_res_free(&res);
  return rc;
}

/* --- push ------------------------------------------------------------------------------------ */

static int put(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
               const char *media_type, const char *digest, const struct bk_oci_op *op,
               struct bk_http_res *res, struct bk_err *err) {
  cleanup_free char *path = manifest_path(r), *name = bk_oci_ref_text(r);
  cleanup_free char *type = bk_asprintf("Content-Type: %s", media_type);
  struct bk_http_req body = {.body = raw, .body_len = len};
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "PUT",
                          .path = path,
                          .actions = "pull,push",
                          .headers = {type},
                          .body = &body,
                          .stall_s = 300,
                          .op = op};
  if (oci_call(c, &call, res, err))
    return strcmp(err->code, "cancelled") == 0 ? -1 : bk_err_wrap(err, "push %s", name);
  if (res->status / 100 != 2) {
    oci_status_error(res, err, "push %s", name);
    if (oci_has_code(res, "MANIFEST_BLOB_UNKNOWN")) {
      snprintf(err->code, sizeof err->code, "oci.blob_unknown");
      err->retryable = true; /* after the blobs have been pushed again */
    }
    return -1;
  }
  const char *told = bk_http_header(res, "docker-content-digest");
  if (told && strncmp(told, digest, 7) == 0 && strcmp(told, digest) != 0)
    return bk_fail(err, BK_INFRA, "oci.digest_mismatch",
                   "push %s: the registry stored other bytes: %s instead of %s", name, told, digest);
  return 0;
}

int bk_oci_manifest_put(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                        const char *media_type, char **digest, const struct bk_oci_op *op,
                        struct bk_err *err) {
  *digest = oci_digest_of(r->digest, raw, len);
  if (r->digest && strcmp(*digest, r->digest) != 0) {
    bk_fail(err, BK_USAGE, "oci.digest_mismatch", "push %s/%s: the manifest has digest %s, not %s",
            r->registry, r->repository, *digest, r->digest);
    free(bk_steal_ptr(digest));
    return -1;
  }
  struct bk_http_res res = {0};
  int rc = put(c, r, raw, len, media_type, *digest, op, &res, err);
  bk_http_res_free(&res);
  if (rc) free(bk_steal_ptr(digest));
  return rc;
}

int bk_oci_ping(struct bk_oci *c, const char *registry, const struct bk_oci_op *op,
                struct bk_err *err) {
  struct oci_call call = {
      .host = oci_host(c, registry), .method = "GET", .path = "/v2/", .follow = 3, .op = op};
  struct bk_http_res res;
  int rc = oci_call(c, &call, &res, err);
  if (rc == 0 && res.status != 200 && res.status != 404)
    rc = oci_status_error(&res, err, "registry %s", registry);
  else if (rc && strcmp(err->code, "cancelled") != 0)
    bk_err_wrap(err, "registry %s", registry);
  bk_http_res_free(&res);
  return rc;
}
