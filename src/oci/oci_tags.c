/* Tag lists with paging, and deletion (registry.md 1.7). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "oci/oci_int.h"

#define PAGE_MAX (16u << 20)
#define TAGS_MAX 2000000
#define DECOY_TYPE "application/vnd.oci.image.manifest.v1+json"
#define DECOY_CONFIG "{}"

void bk_oci_tags_free(struct bk_oci_tags *t) {
  free(t->names);
  bk_arena_free(&t->text);
  *t = (struct bk_oci_tags){0};
}

/* Is "next" one of the relations that a link's parameters name? */
static bool says_next(const char *params) {
  const char *p = params;
  while ((p = strcasestr(p, "rel"))) {
    bool name = p == params || strchr("; \t", p[-1]);
    p += 3;
    p += strspn(p, " \t");
    if (!name || *p != '=') continue;
    p += 1 + strspn(p + 1, " \t");
    bool quoted = *p == '"';
    const char *end = p + quoted + strcspn(p + quoted, quoted ? "\"" : ";, \t");
    for (p += quoted; p < end;) {
      size_t n = strcspn(p, " \"");
      if (p + n > end) n = (size_t)(end - p);
      if (n == 4 && strncasecmp(p, "next", 4) == 0) return true;
      p += n + (p + n < end);
    }
  }
  return false;
}

/* The target of a rel="next" link (RFC 8288), caller frees; NULL = none. */
static char *next_in(const char *v) {
  while ((v = strchr(v, '<'))) {
    const char *end = strchr(v, '>');
    if (!end) return NULL;
    const char *params = end + 1, *stop = strchr(params, '<');
    size_t n = stop ? (size_t)(stop - params) : strlen(params);
    cleanup_free char *text = bk_strndup(params, n);
    if (says_next(text)) return bk_strndup(v + 1, (size_t)(end - v - 1));
    v = end;
  }
  return NULL;
}

char *oci_next_link(const struct oci_host *h, const struct bk_http_res *res) {
  const char *v;
  for (size_t i = 0; (v = bk_http_header_nth(res, "link", i)); i++) {
    cleanup_free char *target = next_in(v);
    struct bk_http_url u;
    struct bk_err ignored;
    if (!target || bk_http_url_parse(&u, res->url, target, &ignored)) continue;
    char *url = oci_is_home(h, u.text) ? bk_strdup(u.text) : NULL;
    bk_http_url_free(&u);
    if (url) return url;
  }
  return NULL;
}

/* A list that comes in pages. */
struct list {
  struct bk_oci *c;
  struct oci_call call; /* path, scope and so on of the first page */
  const char *field;    /* of the answer: "tags" */
  char what[330];       /* for messages */
  const struct bk_oci_page *page;
  const struct bk_oci_op *op;
  struct bk_map seen;
};

/* Appends a page; *fresh: it brought names. */
static int take_page(const struct list *l, const struct bk_http_res *res, struct bk_oci_tags *t,
                     bool *fresh, struct bk_err *err) {
  size_t before = t->n;
  if (oci_names(res->body.p ? res->body.p : "", res->body.len, l->field, t, err)) return -1;
  *fresh = t->n > before && (before == 0 || strcmp(t->names[before], t->names[before - 1]) != 0);
  return 0;
}

/* Gets the page at *url (NULL: the first) and replaces it with the next one's. */
static int page(struct list *l, char **url, struct bk_oci_tags *out, struct bk_err *err) {
  l->call.url = *url;
  struct bk_http_res res;
  bool fresh = false;
  size_t first = out->n, most = l->page && l->page->max ? l->page->max : TAGS_MAX;
  int rc = oci_call(l->c, &l->call, &res, err);
  if (rc == 0 && res.status != 200) {
    rc = oci_status_error(&res, err, "%s", l->what);
  } else {
    if (rc == 0) rc = take_page(l, &res, out, &fresh, err);
    if (rc && strcmp(err->code, "cancelled") != 0) bk_err_wrap(err, "%s", l->what);
  }
  if (rc == 0 && fresh) { /* a server that ignores `last` sends the same page again */
    const char *key = out->names[first];
    fresh = !bk_map_has(&l->seen, key, strlen(key));
    bk_map_set(&l->seen, key, strlen(key), NULL);
    if (!fresh) out->n = first;
  }
  free(*url);
  *url = rc == 0 && fresh && out->n < most ? oci_next_link(l->call.host, &res) : NULL;
  if (out->n > most) out->n = most;
  bk_http_res_free(&res);
  return rc;
}

/* A name with its first eight bytes as a number, which nearly always tells two apart. */
struct keyed {
  uint64_t key;
  char *name;
};

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct keyed *)a)->name, ((const struct keyed *)b)->name);
}

/* By one byte of the keys, keeping the order of equals; false when it is the same in all. */
static bool by_digit(const struct keyed *from, struct keyed *to, size_t n, unsigned shift) {
  size_t at[256] = {0}, sum = 0;
  for (size_t i = 0; i < n; i++) at[from[i].key >> shift & 255]++;
  if (at[from[0].key >> shift & 255] == n) return false;
  for (size_t d = 0; d < BK_ARRAY_LEN(at); d++) {
    size_t here = at[d];
    at[d] = sum;
    sum += here;
  }
  for (size_t i = 0; i < n; i++) to[at[from[i].key >> shift & 255]++] = from[i];
  return true;
}

/* By bytes: the keys digit by digit, then each run of equal keys by the whole names. */
static void sort_names(struct bk_oci_tags *t) {
  size_t sorted = 1; /* most registries answer in order */
  while (sorted < t->n && strcmp(t->names[sorted - 1], t->names[sorted]) <= 0) sorted++;
  if (sorted >= t->n) return;
  cleanup_free struct keyed *first = bk_reallocarray(NULL, t->n, sizeof *first);
  cleanup_free struct keyed *second = bk_reallocarray(NULL, t->n, sizeof *second);
  struct keyed *all = first, *other = second;
  for (size_t i = 0; i < t->n; i++) {
    const char *s = t->names[i];
    uint64_t key = 0;
    for (size_t k = 0; k < sizeof key; k++) {
      key = key << 8 | (unsigned char)*s;
      s += *s != '\0';
    }
    all[i] = (struct keyed){.key = key, .name = t->names[i]};
  }
  for (unsigned shift = 0; shift < 64; shift += 8)
    if (by_digit(all, other, t->n, shift)) {
      struct keyed *in_order = other;
      other = all;
      all = in_order;
    }
  for (size_t i = 0, end; i < t->n; i = end) {
    for (end = i + 1; end < t->n && all[end].key == all[i].key;) end++;
    if (end - i > 1) qsort(all + i, end - i, sizeof *all, by_name);
  }
  for (size_t i = 0; i < t->n; i++) t->names[i] = all[i].name;
}

static int all_pages(struct list *l, const char *path, struct bk_oci_tags *out,
                     struct bk_err *err) {
  *out = (struct bk_oci_tags){0};
  int size = l->page && l->page->size > 0 ? l->page->size : 1000;
  if (l->page && l->page->max && l->page->max < (size_t)size) size = (int)l->page->max;
  cleanup_buf struct bk_buf text = {0};
  bk_buf_addf(&text, "%s?n=%d", path, size);
  if (l->page && l->page->last) {
    bk_buf_adds(&text, "&last=");
    oci_url_encode(&text, l->page->last);
  }
  l->call.path = bk_buf_str(&text);
  l->call.method = "GET";
  l->call.headers[0] = "Accept: application/json";
  l->call.max_body = PAGE_MAX;
  l->call.op = l->op;
  char *url = NULL;
  int rc;
  do rc = page(l, &url, out, err);
  while (rc == 0 && url);
  bk_map_free(&l->seen);
  free(url);
  if (rc) bk_oci_tags_free(out);
  else if (l->page && l->page->sort) sort_names(out);
  return rc;
}

int oci_tags(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_page *pg,
             struct bk_oci_tags *out, const struct bk_oci_op *op, struct bk_err *err) {
  struct list l = {.c = c, .field = "tags", .page = pg, .op = op,
                   .call = {.host = oci_host(c, r->registry), .repository = r->repository,
                            .actions = "pull"}};
  snprintf(l.what, sizeof l.what, "list tags of %s/%s", r->registry, r->repository);
  cleanup_free char *path = bk_asprintf("/v2/%s/tags/list", r->repository);
  return all_pages(&l, path, out, err);
}

int bk_oci_catalog(struct bk_oci *c, const char *registry, const struct bk_oci_page *pg,
                   struct bk_oci_tags *out, const struct bk_oci_op *op, struct bk_err *err) {
  struct list l = {.c = c, .field = "repositories", .page = pg, .op = op,
                   .call = {.host = oci_host(c, registry), .scope = "registry:catalog:*"}};
  snprintf(l.what, sizeof l.what, "list repositories of %s", registry);
  return all_pages(&l, "/v2/_catalog", out, err);
}

/* --- deletion -------------------------------------------------------------------------------- */

static int delete_once(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_http_res *res,
                       const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path =
      bk_asprintf("/v2/%s/manifests/%s", r->repository, r->digest ? r->digest : r->tag);
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "DELETE",
                          .path = path,
                          .actions = "delete,pull",
                          .op = op};
  oci_fresh_forget(call.host, r->repository);
  if (!r->digest) oci_listed_forget(call.host, r->repository, r->tag);
  return oci_call(c, &call, res, err);
}

static int delete_by_digest(struct bk_oci *c, const struct bk_oci_ref *r, const char *name,
                            const struct bk_oci_op *op, struct bk_err *err) {
  struct bk_http_res res;
  int rc = delete_once(c, r, &res, op, err);
  if (rc == 0 && res.status / 100 != 2) rc = oci_status_error(&res, err, "delete %s", name);
  bk_http_res_free(&res);
  return rc;
}

int oci_blob_delete(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                    const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *path = bk_asprintf("/v2/%s/blobs/%s", r->repository, digest);
  struct oci_call call = {.host = oci_host(c, r->registry),
                          .repository = r->repository,
                          .method = "DELETE",
                          .path = path,
                          .actions = "delete,pull",
                          .op = op};
  cleanup_free char *key = bk_asprintf("%s@%s", r->repository, digest);
  pthread_mutex_lock(&call.host->lock);
  bk_map_del(&call.host->present, key, strlen(key));
  pthread_mutex_unlock(&call.host->lock);
  struct bk_http_res res;
  int rc = oci_call(c, &call, &res, err);
  if (rc == 0 && res.status / 100 != 2)
    rc = oci_status_error(&res, err, "delete blob %.19s of %s/%s", digest, r->registry,
                          r->repository);
  else if (rc && strcmp(err->code, "cancelled") != 0)
    bk_err_wrap(err, "delete blob %.19s of %s/%s", digest, r->registry, r->repository);
  bk_http_res_free(&res);
  return rc;
}

/* A manifest that nothing else can have. */
static int make_decoy(char *raw, size_t size) {
  char nonce[40];
  bk_tmpname(nonce, "delete-");
  cleanup_free char *digest = oci_digest_of(NULL, DECOY_CONFIG, 2);
  return snprintf(raw, size,
                  "{\"schemaVersion\":2,"
                  "\"mediaType\":\"" DECOY_TYPE "\","
                  "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
                  "\"digest\":\"%s\",\"size\":2},\"layers\":[],"
                  "\"annotations\":{\"bakery.decoy\":\"%s\"}}",
                  digest, nonce);
}

/* Whether the registry deletes manifests at all, asked of one that it does not have. */
static int must_delete(struct bk_oci *c, const struct bk_oci_ref *at, const char *name,
                       const struct bk_oci_op *op, struct bk_err *err) {
  struct bk_http_res res;
  int rc = delete_once(c, at, &res, op, err);
  if (rc == 0 && res.status / 100 != 2 && res.status != 404)
    rc = oci_status_error(&res, err, "delete %s", name);
  bk_http_res_free(&res);
  return rc;
}

/* Puts the decoy under the tag and deletes it; what the tag stood for goes back when that fails. */
static int swap_and_delete(struct bk_oci *c, const struct bk_oci_ref *r,
                           const struct bk_oci_ref *at, const char *raw, const char *name,
                           const struct bk_oci_op *op, struct bk_err *err) {
  struct bk_oci_manifest old;
  char *put = NULL, *back = NULL;
  if (oci_manifest_get(c, r, &old, op, err)) return -1;
  int rc = oci_manifest_put(c, r, raw, strlen(raw), DECOY_TYPE, &put, op, err);
  if (rc) bk_err_wrap(err, "delete %s", name);
  else rc = delete_by_digest(c, at, name, op, err);
  struct bk_err other;
  const struct bk_oci_op alone = {.blind = true}; /* also when we were cancelled */
  if (rc && oci_manifest_put(c, r, old.raw.p, old.raw.len, old.desc.media_type, &back, &alone, &other))
    bk_err_wrap(err, "%s no longer stands for %s", name, old.desc.digest);
  bk_oci_manifest_free(&old);
  free(put);
  free(back);
  return rc;
}

static int delete_by_decoy(struct bk_oci *c, const struct bk_oci_ref *r, const char *name,
                           const struct bk_oci_op *op, struct bk_err *err) {
  char raw[700];
  int n = make_decoy(raw, sizeof raw);
  cleanup_free char *digest = oci_digest_of(NULL, raw, (size_t)n);
  cleanup_free char *config = oci_digest_of(NULL, DECOY_CONFIG, 2);
  const struct bk_oci_ref at = {.registry = r->registry, .repository = r->repository,
                                .digest = digest};
  if (must_delete(c, &at, name, op, err)) return -1;
  const struct bk_oci_desc d = {.digest = config, .size = 2};
  const struct bk_oci_source src = {.data = DECOY_CONFIG, .len = 2};
  enum bk_oci_pushed how;
  if (oci_blob_push(c, r, &d, &src, &how, op, err)) return bk_err_wrap(err, "delete %s", name);
  return swap_and_delete(c, r, &at, raw, name, op, err);
}

int oci_delete(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_op *op,
               struct bk_err *err) {
  cleanup_free char *name = bk_oci_ref_text(r);
  if (r->digest) {
    cleanup_free char *subject = NULL;
    struct bk_oci_manifest m = {0};
    struct bk_err ignored;
    if (oci_manifest_get(c, r, &m, op, &ignored) == 0) subject = oci_subject(&m.raw);
    bk_oci_manifest_free(&m);
    if (delete_by_digest(c, r, name, op, err)) return -1;
    return subject ? oci_referrer_removed(c, r, subject, op, err) : 0;
  }
  struct bk_http_res res;
  int rc = delete_once(c, r, &res, op, err);
  bool cannot = rc == 0 && (res.status == 400 || res.status == 405);
  if (rc == 0 && !cannot && res.status / 100 != 2)
    rc = oci_status_error(&res, err, "delete %s", name);
  bk_http_res_free(&res);
  if (rc || !cannot) return rc;
  struct bk_oci_manifest m = {0};
  rc = oci_manifest_head(c, r, &m, op, err); /* no decoy for a tag that is not there */
  bk_oci_manifest_free(&m);
  return rc ? -1 : delete_by_decoy(c, r, name, op, err);
}
