#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "http/pool.h"

static char *env(const char *lower, const char *upper) {
  const char *v = getenv(lower);
  if ((!v || !*v) && upper) v = getenv(upper);
  return v && *v ? bk_strdup(v) : NULL;
}

struct bk_http *bk_http_new(void) {
  struct bk_http *h = bk_calloc(1, sizeof *h);
  pthread_mutex_init(&h->lock, NULL);
  for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++) pthread_mutex_init(&h->share_lock[i], NULL);
  /* A CGI program's HTTP_PROXY comes from the client's Proxy header: lower case only there. */
  h->http_proxy = env("http_proxy", getenv("REQUEST_METHOD") ? NULL : "HTTP_PROXY");
  h->https_proxy = env("https_proxy", "HTTPS_PROXY");
  if (!h->http_proxy) h->http_proxy = env("all_proxy", "ALL_PROXY");
  if (!h->https_proxy) h->https_proxy = env("all_proxy", "ALL_PROXY");
  h->no_proxy = env("no_proxy", "NO_PROXY");
  h->ca_file = env("SSL_CERT_FILE", NULL);
  h->ca_dir = env("SSL_CERT_DIR", NULL);
  return h;
}

void bk_http_free(struct bk_http *h) {
  if (!h) return;
  for (size_t i = 0; i < h->nidle; i++) {
    h->c->easy_cleanup(h->idle[i].easy);
    free(h->idle[i].origin);
  }
  if (h->share) h->c->share_cleanup(h->share);
  pthread_mutex_destroy(&h->lock);
  for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++) pthread_mutex_destroy(&h->share_lock[i]);
  free(h->http_proxy);
  free(h->https_proxy);
  free(h->no_proxy);
  free(h->ca_file);
  free(h->ca_dir);
  for (size_t i = 0; i < BK_HTTP_TRUST_MAX; i++) {
    free(h->trust[i].key);
    free(h->trust[i].pem);
  }
  free(h);
}

static void share_lock(CURL *easy, curl_lock_data data, curl_lock_access access, void *arg) {
  (void)easy, (void)access;
  pthread_mutex_lock(&((struct bk_http *)arg)->share_lock[data]);
}

static void share_unlock(CURL *easy, curl_lock_data data, void *arg) {
  (void)easy;
  pthread_mutex_unlock(&((struct bk_http *)arg)->share_lock[data]);
}

static int start(struct bk_http *h, struct bk_err *err) { /* under h->lock */
  if (h->c) return 0;
  const struct bk_curl *c = bk_curl_open(err);
  if (!c) return -1;
  h->c = c;
  h->share = c->share_init();
  if (!h->share) return 0;
  c->share_setopt_(h->share, CURLSHOPT_LOCKFUNC, share_lock);
  c->share_setopt_(h->share, CURLSHOPT_UNLOCKFUNC, share_unlock);
  c->share_setopt_(h->share, CURLSHOPT_USERDATA, h);
  c->share_setopt_(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  c->share_setopt_(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  return 0;
}

/* Takes the idle handle at `at` out of the list. */
static CURL *remove_idle(struct bk_http *h, size_t at) {
  CURL *easy = h->idle[at].easy;
  free(h->idle[at].origin);
  memmove(h->idle + at, h->idle + at + 1, (--h->nidle - at) * sizeof *h->idle);
  return easy;
}

CURL *bk_http_take(struct bk_http *h, const char *origin, struct bk_err *err) {
  pthread_mutex_lock(&h->lock);
  CURL *easy = NULL;
  int rc = start(h, err);
  for (size_t i = h->nidle; rc == 0 && i-- > 0 && !easy;)
    if (strcmp(h->idle[i].origin, origin) == 0) easy = remove_idle(h, i);
  pthread_mutex_unlock(&h->lock);
  if (rc) return NULL;
  if (!easy) easy = h->c->easy_init();
  if (!easy) {
    bk_fail(err, BK_INFRA, "http.library", "libcurl: cannot create a handle");
    return NULL;
  }
  if (h->share) h->c->easy_setopt_(easy, CURLOPT_SHARE, h->share);
  return easy;
}

void bk_http_give(struct bk_http *h, CURL *easy, const char *origin, bool keep) {
  CURL *drop = NULL;
  if (keep) {
    h->c->easy_reset(easy); /* connections and session caches stay */
    pthread_mutex_lock(&h->lock);
    if (h->nidle == BK_HTTP_IDLE_MAX) drop = remove_idle(h, 0);
    h->idle[h->nidle++] = (struct bk_http_idle){.easy = easy, .origin = bk_strdup(origin)};
    pthread_mutex_unlock(&h->lock);
  } else {
    drop = easy;
  }
  if (drop) h->c->easy_cleanup(drop);
}

static void system_cas(const struct bk_http *h, struct bk_buf *pem) {
  static const char *const bundles[] = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};
  struct bk_err ignored;
  if (h->ca_file) {
    (void)!bk_read_file(-100, h->ca_file, pem, &ignored);
    return;
  }
  for (size_t i = 0; i < BK_ARRAY_LEN(bundles) && pem->len == 0; i++)
    (void)!bk_read_file(-100, bundles[i], pem, &ignored);
}

/* The bundle for this file and text, from the cache or made now; under h->lock. */
static const struct bk_http_trust *trust(struct bk_http *h, const char *file, const char *text,
                                         struct bk_err *err) {
  cleanup_free char *key = bk_asprintf("%s\n%s", file ? file : "", text ? text : "");
  for (size_t i = 0; i < BK_HTTP_TRUST_MAX; i++)
    if (h->trust[i].key && strcmp(h->trust[i].key, key) == 0) return &h->trust[i];
  struct bk_buf pem = {.max = 16 << 20};
  system_cas(h, &pem);
  bk_buf_addc(&pem, '\n');
  if (text) bk_buf_adds(&pem, text);
  bk_buf_addc(&pem, '\n');
  if (file && bk_read_file(-100, file, &pem, err)) {
    bk_buf_free(&pem);
    bk_err_wrap(err, "CA file");
    return NULL;
  }
  struct bk_http_trust *t = &h->trust[h->ntrust++ % BK_HTTP_TRUST_MAX];
  free(t->key);
  free(t->pem);
  t->len = pem.len;
  t->pem = bk_buf_steal(&pem);
  t->key = bk_steal_ptr(&key);
  return t;
}

int bk_http_set_ca(struct bk_http *h, CURL *easy, const struct bk_http_req *req,
                   struct bk_err *err) {
  if (!req->ca_file && !req->ca_pem) {
    if (h->ca_file) h->c->easy_setopt_(easy, CURLOPT_CAINFO, h->ca_file);
    if (h->ca_dir) h->c->easy_setopt_(easy, CURLOPT_CAPATH, h->ca_dir);
    return 0;
  }
  pthread_mutex_lock(&h->lock);
  const struct bk_http_trust *t = trust(h, req->ca_file, req->ca_pem, err);
  if (t) {
    struct curl_blob blob = {.data = t->pem, .len = t->len, .flags = CURL_BLOB_COPY};
    h->c->easy_setopt_(easy, CURLOPT_CAINFO_BLOB, &blob);
  }
  pthread_mutex_unlock(&h->lock);
  return t ? 0 : -1;
}

const char *bk_http_proxy_for(const struct bk_http *h, const struct bk_http_url *u) {
  const char *p = strcmp(u->scheme, "https") == 0 ? h->https_proxy : h->http_proxy;
  return p && !bk_http_is_loopback(u->host) ? p : ""; /* "" also keeps libcurl from looking */
}
