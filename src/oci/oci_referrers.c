/* Referrers: the API where there is one, else the fallback tag (registry.md 1.8). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "oci/oci_int.h"

#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"
#define ACCEPT_INDEX "Accept: " INDEX_TYPE
#define PAGES_MAX 1000

enum { API = 1, FALLBACK = 2 };

/* One writer per process: two updates of a fallback tag would lose one entry. */
static pthread_mutex_t update_lock = PTHREAD_MUTEX_INITIALIZER;

char *oci_subject(const struct bk_buf *raw) {
  json_error_t e;
  json_t *doc = raw->p ? json_loadb(raw->p, raw->len, 0, &e) : NULL;
  const char *s = oci_json_str(json_object_get(doc, "subject"), "digest");
  char *out = s && bk_oci_is_digest(s) ? bk_strdup(s) : NULL;
  json_decref(doc);
  return out;
}

char *bk_oci_fallback_tag(const char *digest) {
  const char *colon = strchr(digest, ':');
  char *tag = bk_asprintf("%.*s-%.64s", (int)(colon - digest > 32 ? 32 : colon - digest), digest,
                          colon + 1);
  for (char *s = tag; *s; s++)
    if (!isalnum((unsigned char)*s) && !strchr("._-", *s)) *s = '-';
  return tag;
}

static int known(struct oci_host *h, const char *repository) {
  pthread_mutex_lock(&h->lock);
  void *v = bk_map_get(&h->referrers, repository, strlen(repository));
  pthread_mutex_unlock(&h->lock);
  return (int)(intptr_t)v;
}

static void remember(struct oci_host *h, const char *repository, int what) {
  pthread_mutex_lock(&h->lock);
  bk_map_set(&h->referrers, repository, strlen(repository), (void *)(intptr_t)what);
  pthread_mutex_unlock(&h->lock);
}

static json_t *new_index(void) {
  return json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType", INDEX_TYPE, "manifests");
}

static json_t *entries(const json_t *index) { return json_object_get(index, "manifests"); }

static json_t *entry_of(const json_t *index, const char *digest) {
  size_t i;
  json_t *e;
  json_array_foreach(entries(index), i, e) {
    const char *d = oci_json_str(e, "digest");
    if (d && strcmp(d, digest) == 0) return e;
  }
  return NULL;
}

/* Context for failures of the transport, which name only a URL. */
static int context(const struct bk_oci_ref *r, int rc, struct bk_err *err) {
  if (rc < 0 && strncmp(err->code, "http.", 5) == 0 && !strstr(err->msg, "referrers "))
    bk_err_wrap(err, "referrers of %s/%s", r->registry, r->repository);
  return rc;
}

/* --- API ------------------------------------------------------------------------------------- */

static bool is_index_answer(const struct bk_http_res *res) {
  const char *type = bk_http_header(res, "content-type");
  return type && strncmp(type, INDEX_TYPE, sizeof INDEX_TYPE - 1) == 0;
}

/* The same of a document that some proxies call only JSON. */
static bool is_index(const struct bk_http_res *res) {
  char *type = NULL;
  struct bk_err ignored;
  bool is = bk_oci_manifest_check(res->body.p, res->body.len, bk_http_header(res, "content-type"),
                                  &type, &ignored) == 0 &&
            strcmp(type, INDEX_TYPE) == 0;
  free(type);
  return is;
}

/* Appends a page's entries. What is no list, or not of things with digests, is no answer. */
static int take_entries(json_t *index, const json_t *doc, struct bk_err *err) {
  const json_t *list = entries(doc);
  size_t i;
  json_t *e;
  bool good = json_is_array(list) || json_is_null(list);
  json_array_foreach(list, i, e) {
    const char *digest = oci_json_str(e, "digest");
    good = good && digest && bk_oci_is_digest(digest);
  }
  if (!good) return bk_fail(err, BK_INFRA, "oci.referrers", "referrers: not a list of descriptors");
  json_array_extend(entries(index), (json_t *)list);
  return 1;
}

/* One page into *index: 1 taken, 0 no API, -1 error. */
static int api_page(struct bk_oci *c, struct oci_host *h, const struct bk_oci_ref *r,
                    const char *path, char **url, json_t *index, const struct bk_oci_op *op,
                    struct bk_err *err) {
  struct oci_call call = {.host = h,
                          .repository = r->repository,
                          .method = "GET",
                          .path = path,
                          .url = *url,
                          .actions = "pull",
                          .headers = {ACCEPT_INDEX},
                          .max_body = c->o.manifest_max,
                          .op = op};
  struct bk_http_res res;
  int rc = context(r, oci_call(c, &call, &res, err), err);
  bool first = *url == NULL;
  free(bk_steal_ptr(url));
  int s = res.status;
  if (rc == 0 && (s / 100 == 5 || s == 429 || s == 401 || s == 403))
    rc = oci_status_error(&res, err, "referrers of %s/%s", r->registry, r->repository);
  else if (rc == 0 && (res.status != 200 || !is_index_answer(&res)))
    rc = first ? 0 : bk_fail(err, BK_INFRA, "oci.referrers", "referrers: paging broke off");
  else if (rc == 0) {
    json_t *doc = oci_json(bk_buf_str(&res.body), res.body.len, "referrers", err);
    rc = doc ? take_entries(index, doc, err) : -1;
    json_decref(doc);
    if (rc > 0) *url = oci_next_link(h, &res);
  }
  bk_http_res_free(&res);
  return rc;
}

static int from_api(struct bk_oci *c, struct oci_host *h, const struct bk_oci_ref *r,
                    const char *type, json_t *index, const struct bk_oci_op *op,
                    struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  bk_buf_addf(&text, "/v2/%s/referrers/%s", r->repository, r->digest);
  if (type) {
    bk_buf_adds(&text, "?artifactType=");
    oci_url_encode(&text, type);
  }
  const char *path = bk_buf_str(&text);
  cleanup_free char *last = NULL;
  char *url = NULL;
  int rc;
  for (int n = 0;; n++) {
    rc = api_page(c, h, r, path, &url, index, op, err);
    bool loop = url && last && strcmp(url, last) == 0;
    free(last);
    last = url ? bk_strdup(url) : NULL;
    if (rc <= 0 || !url || loop || n == PAGES_MAX) break;
  }
  free(url);
  return rc;
}

/* --- fallback tag ---------------------------------------------------------------------------- */

struct tag {
  json_t *index; /* owned */
  char *etag;
  bool absent;
};

static void tag_free(struct tag *t) {
  json_decref(t->index);
  free(t->etag);
  *t = (struct tag){0};
}

/* A missing tag is an empty index; anything but an index there must not be overwritten. */
static int tag_get(struct bk_oci *c, const struct bk_oci_ref *r, const char *tag, struct tag *t,
                   const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path = bk_asprintf("/v2/%s/manifests/%s", r->repository, tag);
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "GET",
                          .path = path,
                          .actions = "pull",
                          .headers = {"Accept: " INDEX_TYPE
                                      ", application/vnd.oci.image.manifest.v1+json, */*;q=0.1"},
                          .max_body = c->o.manifest_max,
                          .follow = 5,
                          .op = op};
  struct bk_http_res res;
  *t = (struct tag){0};
  int rc = context(r, oci_call(c, &call, &res, err), err);
  if (rc == 0 && res.status == 404) {
    t->index = new_index();
    t->absent = true;
  } else if (rc == 0 && res.status != 200) {
    rc = oci_status_error(&res, err, "referrers tag %s of %s/%s", tag, r->registry, r->repository);
  } else if (rc == 0) {
    t->index = oci_json(bk_buf_str(&res.body), res.body.len, "referrers tag", err);
    const char *etag = bk_http_header(&res, "etag");
    t->etag = etag ? bk_strdup(etag) : NULL;
    if (!t->index) rc = -1;
    else if (!is_index(&res))
      rc = bk_fail(err, BK_INFRA, "oci.referrers", "tag %s of %s/%s is not a referrers index", tag,
                   r->registry, r->repository);
  }
  bk_http_res_free(&res);
  if (rc) tag_free(t);
  return rc;
}

/* 0 stored, 1 somebody else was faster, -1 error. */
static int tag_put(struct bk_oci *c, const struct bk_oci_ref *r, const char *tag,
                   const struct tag *t, const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path = bk_asprintf("/v2/%s/manifests/%s", r->repository, tag);
  cleanup_free char *match = t->etag ? bk_asprintf("If-Match: %s", t->etag) : NULL;
  char *raw = json_dumps(t->index, JSON_COMPACT);
  if (!raw) return bk_fail(err, BK_BUILD, "oci.referrers", "cannot write the referrers index");
  struct bk_http_req body = {.body = raw, .body_len = strlen(raw)};
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "PUT",
                          .path = path,
                          .actions = "pull,push",
                          .headers = {"Content-Type: " INDEX_TYPE, match},
                          .body = &body,
                          .stall_s = 300,
                          .op = op};
  struct bk_http_res res;
  int rc = context(r, oci_call(c, &call, &res, err), err);
  if (rc == 0 && res.status == 412) rc = 1;
  else if (rc == 0 && res.status / 100 != 2)
    rc = oci_status_error(&res, err, "update referrers tag of %s/%s", r->registry, r->repository);
  bk_http_res_free(&res);
  free(raw);
  return rc;
}

/* What this process has put into a tag's index, which the registry may not show yet: a list of entries. */
static json_t *own_entries(struct oci_host *h, const char *repository, const char *tag) {
  cleanup_free char *key = bk_asprintf("%s:%s", repository, tag);
  pthread_mutex_lock(&h->lock);
  json_t *own = bk_map_get(&h->listed, key, strlen(key));
  if (!own) bk_map_set(&h->listed, key, strlen(key), own = json_array());
  pthread_mutex_unlock(&h->lock);
  return own;
}

void oci_listed_forget(struct oci_host *h, const char *repository, const char *tag) {
  cleanup_free char *key = bk_asprintf("%s:%s", repository, tag);
  pthread_mutex_lock(&update_lock);
  pthread_mutex_lock(&h->lock);
  json_decref(bk_map_get(&h->listed, key, strlen(key)));
  bk_map_del(&h->listed, key, strlen(key));
  pthread_mutex_unlock(&h->lock);
  pthread_mutex_unlock(&update_lock);
}

static bool drop_entry(json_t *list, const char *digest) {
  size_t n = json_array_size(list);
  for (size_t i = json_array_size(list); i-- > 0;) {
    const char *d = oci_json_str(json_array_get(list, i), "digest");
    if (d && strcmp(d, digest) == 0) json_array_remove(list, i);
  }
  return json_array_size(list) < n;
}

/* Appends the entries that the index lacks; how many. */
static size_t add_missing(json_t *index, const json_t *list) {
  size_t i, n = 0;
  json_t *e;
  json_array_foreach(list, i, e) {
    const char *digest = oci_json_str(e, "digest");
    if (!digest || entry_of(index, digest)) continue;
    json_array_append(entries(index), e);
    n++;
  }
  return n;
}

/* Makes the entry for `digest` be (`entry`) or not be (NULL) in the tag's index, and all that we have put
 * there before; checks afterwards, because another process may have written in between. */
static int tag_update(struct bk_oci *c, const struct bk_oci_ref *r, const char *subject,
                      const char *digest, json_t *entry, const struct bk_oci_op *op,
                      struct bk_err *err) {
  cleanup_free char *tag = bk_oci_fallback_tag(subject);
  json_t *own = own_entries(oci_host(c, r->registry), r->repository, tag);
  bool known_there = drop_entry(own, digest) && !entry; /* even if an old list does not show it */
  if (entry) json_array_append(own, entry);
  time_t since = oci_now();
  for (int n = 1;; n++) {
    struct tag t;
    if (tag_get(c, r, tag, &t, op, err)) return -1;
    bool stale = !entry && (drop_entry(entries(t.index), digest) || (known_there && n == 1));
    bool gone = !entry && t.absent;
    if (gone || (add_missing(t.index, own) == 0 && !stale)) return tag_free(&t), 0;
    int rc = tag_put(c, r, tag, &t, op, err);
    tag_free(&t);
    if (rc < 0) return -1;
    bk_fail(err, BK_INFRA, "oci.referrers", "referrers tag %s of %s/%s keeps changing", tag,
            r->registry, r->repository);
    if (n > 1 && oci_backoff(c, n, since, NULL, op, err)) return -1;
  }
}

/* --- entry points ---------------------------------------------------------------------------- */

static int probe(struct bk_oci *c, struct oci_host *h, const struct bk_oci_ref *r,
                 const char *subject, const struct bk_oci_op *op, struct bk_err *err) {
  int what = known(h, r->repository);
  if (what) return what;
  struct bk_oci_ref at = {.registry = r->registry, .repository = r->repository,
                          .digest = (char *)subject};
  json_t *index = new_index();
  int rc = from_api(c, h, &at, NULL, index, op, err);
  json_decref(index);
  if (rc < 0) return -1;
  remember(h, r->repository, rc > 0 ? API : FALLBACK);
  return rc > 0 ? API : FALLBACK;
}

/* The descriptor of a manifest as an index lists it: artifactType and all annotations. */
static json_t *describe(const char *raw, size_t len, const char *media_type, const char *digest) {
  json_error_t e;
  json_t *doc = json_loadb(raw, len, 0, &e);
  const char *type = oci_json_str(doc, "artifactType");
  if (!type || !*type) type = oci_json_str(json_object_get(doc, "config"), "mediaType");
  json_t *d = json_pack("{s:s, s:s, s:I}", "mediaType", media_type, "digest", digest, "size",
                        (json_int_t)len);
  if (type) json_object_set_new(d, "artifactType", json_string(type));
  json_t *a = json_object_get(doc, "annotations");
  if (json_object_size(a)) json_object_set(d, "annotations", a);
  json_decref(doc);
  return d;
}

int oci_referrer_added(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                       const char *media_type, const char *digest, const struct bk_oci_op *op,
                       struct bk_err *err) {
  struct bk_buf view = {.p = (char *)raw, .len = len};
  cleanup_free char *subject = oci_subject(&view);
  if (!subject) return 0;
  int what = probe(c, oci_host(c, r->registry), r, subject, op, err);
  if (what != FALLBACK) return what < 0 ? -1 : 0;
  json_t *entry = describe(raw, len, media_type, digest);
  pthread_mutex_lock(&update_lock);
  int rc = tag_update(c, r, subject, digest, entry, op, err);
  pthread_mutex_unlock(&update_lock);
  json_decref(entry);
  return rc;
}

/* Also where there is the API: the tag may be older than that. */
int oci_referrer_removed(struct bk_oci *c, const struct bk_oci_ref *r, const char *subject,
                         const struct bk_oci_op *op, struct bk_err *err) {
  pthread_mutex_lock(&update_lock);
  int rc = tag_update(c, r, subject, r->digest, NULL, op, err);
  pthread_mutex_unlock(&update_lock);
  return rc;
}

/* Older writers left artifactType out: the manifest itself tells it. */
static void complete(struct bk_oci *c, const struct bk_oci_ref *r, json_t *index,
                     const struct bk_oci_op *op) {
  size_t i;
  json_t *e;
  int budget = 100;
  json_array_foreach(entries(index), i, e) {
    const char *type = oci_json_str(e, "artifactType"), *digest = oci_json_str(e, "digest");
    if ((type && *type) || !digest || !bk_oci_is_digest(digest) || budget-- == 0) continue;
    struct bk_oci_ref at = {.registry = r->registry, .repository = r->repository,
                            .digest = (char *)digest};
    struct bk_oci_manifest m;
    struct bk_err ignored;
    if (oci_manifest_get(c, &at, &m, op, &ignored)) continue;
    json_t *full = describe(m.raw.p, m.raw.len, m.desc.media_type, digest);
    json_object_update_missing(e, full);
    json_decref(full);
    bk_oci_manifest_free(&m);
  }
}

static void filter(json_t *index, const char *artifact_type) {
  for (size_t i = json_array_size(entries(index)); artifact_type && i-- > 0;) {
    const char *t = oci_json_str(json_array_get(entries(index), i), "artifactType");
    if (!t || strcmp(t, artifact_type) != 0) json_array_remove(entries(index), i);
  }
}

/* Adds what only the tag lists. Beside the API that is from before there was one, and counts as long as
 * it is there. */
static int from_tag(struct bk_oci *c, const struct bk_oci_ref *r, bool api, json_t *index,
                    const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *tag = bk_oci_fallback_tag(r->digest);
  struct tag t;
  int rc = tag_get(c, r, tag, &t, op, err);
  if (rc && api && strcmp(err->code, "oci.referrers") == 0) return 0; /* something else has this tag */
  if (rc) return -1;
  for (size_t i = json_array_size(entries(t.index)); api && rc == 0 && i-- > 0;) {
    const char *digest = oci_json_str(json_array_get(entries(t.index), i), "digest");
    if (digest && entry_of(index, digest)) continue;
    struct bk_oci_ref at = {.registry = r->registry, .repository = r->repository,
                            .digest = (char *)digest};
    struct bk_oci_manifest m = {0};
    bool gone = !digest || !bk_oci_is_digest(digest);
    if (!gone && oci_manifest_head(c, &at, &m, op, err)) {
      gone = strcmp(err->code, "oci.not_found") == 0;
      rc = gone ? 0 : -1;
    }
    bk_oci_manifest_free(&m);
    if (gone) json_array_remove(entries(t.index), i);
  }
  if (rc == 0) add_missing(index, entries(t.index));
  tag_free(&t);
  return rc;
}

int oci_referrers(struct bk_oci *c, const struct bk_oci_ref *r, const char *artifact_type,
                  struct bk_buf *out, const struct bk_oci_op *op, struct bk_err *err) {
  if (!r->digest)
    return bk_fail(err, BK_USAGE, "oci.reference", "referrers: the reference needs a digest");
  struct oci_host *h = oci_host(c, r->registry);
  json_t *index = new_index();
  int what = known(h, r->repository);
  int rc = what == FALLBACK ? 0 : from_api(c, h, r, artifact_type, index, op, err);
  if (rc >= 0 && !what) remember(h, r->repository, rc > 0 ? API : FALLBACK);
  if (rc >= 0) rc = from_tag(c, r, rc > 0, index, op, err);
  if (rc >= 0) {
    complete(c, r, index, op);
    filter(index, artifact_type);
    char *text = json_dumps(index, JSON_COMPACT);
    bk_buf_adds(out, text ? text : "");
    free(text);
  }
  json_decref(index);
  return rc < 0 ? -1 : 0;
}
