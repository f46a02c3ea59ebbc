/* Idle easy handles by origin, with their open connections, and what all handles share: name and
 * TLS session caches. Connections are never shared between running handles, because libcurl's
 * connection sharing is not safe across threads. */
#ifndef BK_HTTP_POOL_H
#define BK_HTTP_POOL_H

#include <pthread.h>
#include <time.h>

#include "http/curl_dl.h"
#include "http/http.h"

#define BK_HTTP_IDLE_MAX 32
#define BK_HTTP_TRUST_MAX 8

struct bk_http_idle {
  CURL *easy;
  char *origin;
};

struct bk_http {
  const struct bk_curl *c; /* NULL until the first request */
  pthread_mutex_t lock;
  pthread_mutex_t share_lock[CURL_LOCK_DATA_LAST];
  CURLSH *share;
  struct bk_http_idle idle[BK_HTTP_IDLE_MAX]; /* oldest first */
  size_t nidle;
  /* Environment, as it was when the pool was made. */
  char *http_proxy, *https_proxy, *no_proxy, *ca_file, *ca_dir;
  /* System CAs followed by others, kept for the next connection. */
  struct bk_http_trust {
    char *key, *pem;
    size_t len;
  } trust[BK_HTTP_TRUST_MAX];
  size_t ntrust; /* made so far; the oldest goes */
};

/* A handle without options but with connections to that origin if any are idle; NULL on failure. */
CURL *bk_http_take(struct bk_http *h, const char *origin, struct bk_err *err);
/* Gives it back; `keep` says whether its connections may be used again. */
void bk_http_give(struct bk_http *h, CURL *easy, const char *origin, bool keep);
/* Sets CA options for a request; the blob is copied by libcurl. */
int bk_http_set_ca(struct bk_http *h, CURL *easy, const struct bk_http_req *req,
                   struct bk_err *err);
const char *bk_http_proxy_for(const struct bk_http *h, const struct bk_http_url *u);

#endif
