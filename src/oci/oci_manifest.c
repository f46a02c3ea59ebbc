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
static char *manifest_path(const struct bk_oci_ref *r, const struct bk_oci_op *op) {
  cleanup_free char *ns = oci_namespace(op);
  return bk_asprintf("/v2/%s/manifests/%s%s", r->repository, r->digest ? r->digest : r->tag, ns);
}

/* Points 1 to 4 of registry.md 1.3. */
static int verify(const struct bk_oci_ref *r, const struct bk_http_res *res, char **digest,
                  struct bk_err *err) {
  const char *body = res->body.p ? res->body.p : "";
  const char *told = bk_http_header(res, "docker-content-digest");
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

/* oci_call that is patient with registries that do not show at once what was just pushed. */
static int patient_call(struct bk_oci *c, const struct bk_oci_ref *r, const struct oci_call *call,
                        struct bk_http_res *res, struct bk_err *err) {
  time_t since = oci_now();
  for (int n = 1;; n++) {
    int rc = oci_call(c, call, res, err);
    if (rc || res->status != 404 || !oci_fresh_has(call->host, r)) return rc;
    struct bk_err ended = {0};
    if (oci_backoff(c, n, since, res, call->op, &ended)) {
      if (ended.code[0]) *err = ended;
      return ended.code[0] ? -1 : 0;
    }
    bk_http_res_free(res);
  }
}

int oci_manifest_get(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                     const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path = manifest_path(r, op), *name = bk_oci_ref_text(r);
  *m = (struct bk_oci_manifest){0};
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "GET",
                          .path = path,
                          .actions = "pull",
                          .headers = {accept_all},
                          .max_body = c->o.manifest_max,
                          .follow = 5,
                          .op = op};
  struct bk_http_res res;
  int rc = patient_call(c, r, &call, &res, err);
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

int oci_manifest_head(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                      const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path = manifest_path(r, op), *name = bk_oci_ref_text(r);
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
  if (patient_call(c, r, &call, &res, err)) {
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
    rc = oci_manifest_get(c, r, m, op, err);
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
  cleanup_free char *path = manifest_path(r, op), *name = bk_oci_ref_text(r);
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
      err->cls = BK_INFRA;
      err->retryable = true; /* after the blobs have been pushed again */
    }
    return -1;
  }
  const char *told = bk_http_header(res, "docker-content-digest");
  if (told && strncmp(told, digest, 7) == 0 && strcmp(told, digest) != 0)
    return bk_fail(err, BK_INFRA, "oci.digest_mismatch",
                   "push %s: the registry stored other bytes: %s instead of %s", name, told,
                   digest);
  return 0;
}

/* Some registries do not let one look into a repository that is only about to be. */
static bool tells_nothing(const struct bk_err *err) {
  return strcmp(err->code, "oci.denied") == 0 || strcmp(err->code, "oci.unauthorized") == 0 ||
         strcmp(err->code, "oci.unsupported") == 0;
}

/* Which of the things a manifest names are not there; "" = all are. */
static int missing(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                   char *out, size_t size, const struct bk_oci_op *op, struct bk_err *err) {
  json_error_t e;
  json_t *doc = json_loadb(raw, len, 0, &e), *layers = json_object_get(doc, "layers"), *v;
  json_t *children = json_object_get(doc, "manifests"), *config = json_object_get(doc, "config");
  size_t i;
  int rc = 0;
  out[0] = '\0';
  json_t *all = json_array();
  if (config) json_array_append(all, config);
  json_array_extend(all, layers);
  json_array_extend(all, children);
  json_array_foreach(all, i, v) {
    const char *digest = oci_json_str(v, "digest");
    if (!digest || !bk_oci_is_digest(digest)) continue;
    if (children) {
      struct bk_oci_ref at = {.registry = r->registry, .repository = r->repository,
                              .digest = (char *)digest};
      struct bk_oci_manifest m;
      rc = oci_manifest_head(c, &at, &m, op, err) ? strcmp(err->code, "oci.not_found") ? -1 : 0 : 1;
      bk_oci_manifest_free(&m);
    } else {
      rc = oci_blob_head(c, r, digest, "pull,push", NULL, op, err);
    }
    if (rc < 0 && tells_nothing(err)) rc = 1;
    if (rc < 0) break;
    size_t n = strlen(out);
    if (rc == 0) snprintf(out + n, size - n, "%s%.19s", n ? ", " : "", digest);
    if (rc == 0 && !children)
      oci_blob_known(oci_host(c, r->registry), r->repository, digest, OCI_LOST);
  }
  json_decref(all);
  json_decref(doc);
  return rc < 0 ? -1 : 0;
}

/* "Blob unknown" of blobs that are there is replication lag: patience (registry.md 1.5). */
static int put_patiently(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                         const char *media_type, const char *digest, const struct bk_oci_op *op,
                         struct bk_err *err) {
  time_t since = oci_now();
  for (int n = 1;; n++) {
    struct bk_http_res res = {0};
    int rc = put(c, r, raw, len, media_type, digest, op, &res, err);
    bool lag = rc && strcmp(err->code, "oci.blob_unknown") == 0;
    char names[300] = "";
    struct bk_err other;
    if (lag && missing(c, r, raw, len, names, sizeof names, op, &other)) lag = false;
    if (lag && names[0]) {
      size_t k = strlen(err->msg);
      snprintf(err->msg + k, sizeof err->msg - k, "; missing: %s", names);
      lag = false;
    }
    if (lag && oci_backoff(c, n, since, &res, op, err)) lag = false;
    bk_http_res_free(&res);
    if (!lag) return rc;
  }
}

/* Does the tag have this digest already? */
static bool is_there(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                     const struct bk_oci_op *op) {
  struct bk_oci_manifest m = {0};
  struct bk_err ignored;
  bool same = oci_manifest_head(c, r, &m, op, &ignored) == 0 && strcmp(m.desc.digest, digest) == 0;
  bk_oci_manifest_free(&m);
  return same;
}

/* Immutable tags: that is no error when the tag stands for this manifest already. */
static bool refuses_tags(const struct bk_err *err) {
  static const char *const codes[] = {"http.400", "http.409", "http.412", "oci.denied"};
  for (size_t i = 0; i < BK_ARRAY_LEN(codes); i++)
    if (strcmp(err->code, codes[i]) == 0) return true;
  return false;
}

int oci_manifest_put(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                     const char *media_type, char **digest, const struct bk_oci_op *op,
                     struct bk_err *err) {
  char *own = oci_digest_of(r->digest, raw, len);
  *digest = NULL;
  int rc = 0;
  if (r->digest && strcmp(own, r->digest) != 0)
    rc = bk_fail(err, BK_USAGE, "oci.digest_mismatch",
                 "push %s/%s: the manifest has digest %s, not %s", r->registry, r->repository, own,
                 r->digest);
  else if (r->digest || (op && op->blind) || !is_there(c, r, own, op))
    rc = put_patiently(c, r, raw, len, media_type, own, op, err);
  if (rc && !r->digest && refuses_tags(err) && is_there(c, r, own, op)) rc = 0;
  if (rc == 0) oci_fresh_add(oci_host(c, r->registry), r, own);
  if (rc == 0) rc = oci_referrer_added(c, r, raw, len, media_type, own, op, err);
  if (rc == 0) *digest = bk_steal_ptr(&own);
  free(own);
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
