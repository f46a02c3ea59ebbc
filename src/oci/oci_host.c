/* What is known of one registry: scheme, limits. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "oci/oci_int.h"

static struct oci_host *host_new(struct bk_oci *c, const char *registry) {
  struct oci_host *h = bk_calloc(1, sizeof *h);
  h->registry = bk_strdup(registry);
  h->limit = c->o.parallel;
  h->insecure = c->o.insecure || oci_rules_insecure(&c->rules, registry);
  pthread_mutex_init(&h->lock, NULL);
  pthread_mutex_init(&h->limit_lock, NULL);
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&h->limit_free, &attr);
  pthread_condattr_destroy(&attr);
  return h;
}

void oci_host_free(struct oci_host *h) {
  while (h->tokens) {
    struct oci_token *next = h->tokens->next;
    explicit_bzero(h->tokens->text, strlen(h->tokens->text));
    free(h->tokens->text);
    free(h->tokens->account);
    free(h->tokens->scopes);
    free(h->tokens);
    h->tokens = next;
  }
  bk_map_each(e, &h->creds) {
    oci_cred_clear(e->value);
    free(e->value);
  }
  bk_map_free(&h->creds);
  bk_map_each(e, &h->listed) json_decref(e->value);
  bk_map_free(&h->listed);
  bk_map_free(&h->present);
  bk_map_free(&h->fresh);
  bk_map_free(&h->referrers);
  free(h->registry);
  free(h->base);
  free(h->ca_pem);
  free(h->cert_file);
  free(h->key_file);
  free(h->realm);
  free(h->realm_of);
  free(h->service);
  pthread_mutex_destroy(&h->lock);
  pthread_mutex_destroy(&h->limit_lock);
  pthread_cond_destroy(&h->limit_free);
  free(h);
}

struct oci_host *oci_host(struct bk_oci *c, const char *registry) {
  pthread_mutex_lock(&c->lock);
  struct oci_host *h = bk_map_get(&c->hosts, registry, strlen(registry));
  if (!h) {
    h = host_new(c, registry);
    bk_map_set(&c->hosts, registry, strlen(registry), h);
  }
  pthread_mutex_unlock(&c->lock);
  return h;
}

static bool plain_allowed(const struct bk_oci *c, const char *registry) {
  for (const char *const *p = c->o.plain_http; *p; p++)
    if (strcasecmp(*p, registry) == 0) return true;
  return false;
}

void oci_host_request(const struct bk_oci *c, const struct oci_host *h, const struct bk_oci_op *op,
                      struct bk_http_req *q) {
  q->user_agent = c->o.user_agent;
  q->ca_file = c->o.ca_file;
  q->ca_pem = h->ca_pem;
  q->cert_file = h->cert_file;
  q->key_file = h->key_file;
  q->insecure = h->insecure;
  q->cancel = op ? op->cancel : NULL;
}

/* Sends an anonymous GET of /v2/. The answer's status is kept in *status, and in *api whether it is a
 * registry's. */
static int probe(struct bk_oci *c, const struct oci_host *h, const char *scheme, const char *host,
                 const struct bk_oci_op *op, int *status, bool *api, struct bk_err *err) {
  cleanup_free char *url = bk_asprintf("%s://%s/v2/", scheme, host);
  struct bk_http_req q = {.url = url, .timeout_ms = 10000, .max_body = BK_HTTP_ERROR_BODY};
  oci_host_request(c, h, op, &q);
  q.insecure = true; /* only whether: nothing is sent, and what counts is checked later */
  struct bk_http_res res;
  int rc = bk_http_perform(c->http, &q, &res, err);
  *status = res.status;
  *api = rc == 0 && (bk_http_header(&res, "docker-distribution-api-version") ||
                     bk_http_header(&res, "distribution-api-version"));
  bk_http_res_free(&res);
  return rc;
}

/* Does the host speak TLS? 1 yes, 0 no, -1 error. Asked where plain http would do too. On loopback,
 * plain http is asked first: a registry that answers is what was looked for, and the connection goes
 * on to be used. All else, the error page of a TLS server included, leaves it to a handshake. */
static int speaks_tls(struct bk_oci *c, const struct oci_host *h, const char *host,
                      const struct bk_oci_op *op, struct bk_err *err) {
  int status;
  bool api;
  if (bk_http_is_loopback(host) && probe(c, h, "http", host, op, &status, &api, err) == 0 &&
      (status == 200 || status == 401) && api)
    return 0;
  int rc = probe(c, h, "https", host, op, &status, &api, err);
  static const char *const handshaken[] = {"http.certificate", "http.send", "http.recv"};
  for (size_t i = 0; rc && i < BK_ARRAY_LEN(handshaken); i++) /* what broke off behind it spoke TLS too */
    if (strcmp(err->code, handshaken[i]) == 0) return 1;
  if (rc == 0) return 1;
  return strcmp(err->code, "http.library") == 0 || strcmp(err->code, "cancelled") == 0 ? -1 : 0;
}

int oci_host_base(struct bk_oci *c, struct oci_host *h, const struct bk_oci_op *op,
                  struct bk_err *err) {
  pthread_mutex_lock(&h->lock);
  int rc = 0;
  if (!h->base) {
    const char *host = strcmp(h->registry, "docker.io") == 0 ? "registry-1.docker.io" : h->registry;
    bool tls = !plain_allowed(c, h->registry);
    if (tls) rc = oci_certs_load(c, h, err);
    bool maybe_plain = bk_http_is_loopback(host) || oci_rules_insecure(&c->rules, h->registry);
    if (tls && rc == 0 && maybe_plain) {
      rc = speaks_tls(c, h, host, op, err);
      tls = rc > 0;
    }
    if (rc >= 0) h->base = bk_asprintf("%s://%s", tls ? "https" : "http", host);
  }
  pthread_mutex_unlock(&h->lock);
  return rc < 0 ? -1 : 0;
}

/* --- manifests of our own --------------------------------------------------------------------- */

static char *fresh_key(const struct bk_oci_ref *r, const char *digest) {
  return digest ? bk_asprintf("%s@%s", r->repository, digest)
                : bk_asprintf("%s:%s", r->repository, r->tag);
}

void oci_fresh_add(struct oci_host *h, const struct bk_oci_ref *r, const char *digest) {
  cleanup_free char *by_digest = fresh_key(r, digest), *by_tag = r->tag ? fresh_key(r, NULL) : NULL;
  pthread_mutex_lock(&h->lock);
  bk_map_set(&h->fresh, by_digest, strlen(by_digest), NULL);
  if (by_tag && !r->digest) bk_map_set(&h->fresh, by_tag, strlen(by_tag), NULL);
  pthread_mutex_unlock(&h->lock);
}

bool oci_fresh_has(struct oci_host *h, const struct bk_oci_ref *r) {
  cleanup_free char *key = fresh_key(r, r->digest);
  pthread_mutex_lock(&h->lock);
  bool there = bk_map_has(&h->fresh, key, strlen(key));
  pthread_mutex_unlock(&h->lock);
  return there;
}

void oci_fresh_forget(struct oci_host *h, const char *repository) {
  size_t n = strlen(repository);
  pthread_mutex_lock(&h->lock);
  bk_map_each(e, &h->fresh)
    if (strncmp(e->key, repository, n) == 0 && (e->key[n] == ':' || e->key[n] == '@'))
      bk_map_del(&h->fresh, e->key, e->len);
  pthread_mutex_unlock(&h->lock);
}

/* --- limiter --------------------------------------------------------------------------------- */

int oci_limit_take(struct bk_oci *c, struct oci_host *h, const struct bk_oci_op *op,
                   struct bk_err *err) {
  (void)c;
  int rc = 0;
  pthread_mutex_lock(&h->limit_lock);
  while (h->running >= h->limit) {
    if (oci_cancelled(op)) {
      rc = bk_fail(err, BK_BUILD, "cancelled", "cancelled");
      break;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 200000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    pthread_cond_timedwait(&h->limit_free, &h->limit_lock, &t);
  }
  if (rc == 0) h->running++;
  pthread_mutex_unlock(&h->limit_lock);
  return rc;
}

void oci_limit_give(struct oci_host *h) {
  pthread_mutex_lock(&h->limit_lock);
  h->running--;
  pthread_cond_signal(&h->limit_free);
  pthread_mutex_unlock(&h->limit_lock);
}

void oci_limit_report(struct bk_oci *c, struct oci_host *h, int status) {
  pthread_mutex_lock(&h->limit_lock);
  if (status == 429 || status == 503) {
    h->good = 0;
    if (h->limit > 1) h->limit /= 2;
  } else if (status / 100 == 2 && h->limit < c->o.parallel && ++h->good >= 20) {
    h->good = 0;
    h->limit++;
    pthread_cond_signal(&h->limit_free);
  }
  pthread_mutex_unlock(&h->limit_lock);
}
