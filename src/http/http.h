/* HTTP requests over libcurl. The caller owns requests (borrowed during the call) and releases
 * results with bk_http_res_free. Calls block: run them on a worker thread. A struct bk_http keeps
 * idle connections and may be used by many threads at once. */
#ifndef BK_HTTP_H
#define BK_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

struct bk_http;

/* Takes proxies and CA locations from the environment: call it on the main thread. */
struct bk_http *bk_http_new(void);
void bk_http_free(struct bk_http *h); /* no request may be running */

struct bk_http_header {
  char *name; /* lower case */
  char *value;
};

struct bk_http_res {
  int status;
  char *url; /* after redirects, user part removed */
  struct bk_http_header *headers;
  size_t nheaders;
  /* The body when there is no sink or the status is not 2xx. With a sink, or where max_body says
   * so, the body of another status is cut at BK_HTTP_ERROR_BODY bytes. */
  struct bk_buf body;
  int64_t length;   /* Content-Length, -1 unknown */
  uint64_t received; /* bytes handed to the sink or stored */
  uint64_t sent;     /* bytes of the request's body read, last hop */
};

#define BK_HTTP_ERROR_BODY 65536

struct bk_http_req {
  const char *method; /* NULL = GET */
  const char *url;
  const char *const *headers; /* "Name: value", NULL-ended; those that look like credentials are
                                 dropped when a redirect leaves the origin */
  const char *authorization;  /* value of the header; never leaves the origin of url */
  const char *user, *password; /* Basic, never leaves the origin of url */

  /* One of: bytes, or body_size bytes of a file from body_offset on (pread: the descriptor may be
   * shared). */
  const void *body;
  size_t body_len;
  bool body_is_file;
  int body_fd;
  int64_t body_offset, body_size;
  /* Or body_size bytes that are made while they are sent: up to n of them from `at` on, how many or
   * -1 with *err. An `at` that was given out before means the body is wanted again; a source that
   * cannot do that fails (retryable, so that the caller starts over). */
  ssize_t (*body_read)(void *ctx, int64_t at, void *p, size_t n, struct bk_err *err);
  void *body_ctx;
  bool body_once; /* libcurl must not quietly send it again when a kept connection turns out dead:
                     the server may have a part already */

  /* Sink for a 2xx body. begin (may be NULL) sees status and headers before the first byte. */
  int (*begin)(void *ctx, const struct bk_http_res *res, struct bk_err *err);
  int (*write)(void *ctx, const void *p, size_t n, struct bk_err *err);
  void *ctx;

  size_t max_body;     /* bound of res.body for 2xx; 0 = 16 MiB */
  int follow;          /* redirects followed; 0 = none */
  int timeout_ms;      /* whole request; 0 = none */
  int connect_timeout_ms; /* 0 = 30 s */
  int stall_timeout_s; /* gives up after so long without a byte; 0 = 60 s */

  const char *user_agent;
  const char *ca_file, *ca_pem;     /* PEM file and text, trusted beside the system's */
  const char *cert_file, *key_file; /* client certificate, for the origin of url only */
  bool insecure;
  bool netrc; /* look in ~/.netrc for each host */

  const atomic_bool *cancel; /* looked at about once a second and on every piece of data */
  _Atomic uint64_t *sent, *got; /* progress, may be NULL; taken back when a body is rewound */
};

/* Has the HTTP library mapped by a thread of its own, so that the first request finds it there.
 * Nothing of it is run, and the end of the process waits for the mapping: it may come at any time. */
void bk_http_warm_up(void);

/* Any HTTP status is success here; failures are transport, TLS, limits and cancellation, with codes
 * http.connect, http.resolve, http.timeout, http.tls, http.certificate, http.recv, http.send,
 * http.truncated, http.too_large, http.redirect, http.url, http.proxy, cancelled. Messages name the
 * URL without its query. After a failure *res still holds what had arrived, and must be released too. */
int bk_http_perform(struct bk_http *h, const struct bk_http_req *req, struct bk_http_res *res,
                    struct bk_err *err) BK_WARN_UNUSED;

/* First value of a header (any case), or NULL; `nth` counts from 0. */
const char *bk_http_header(const struct bk_http_res *res, const char *name);
const char *bk_http_header_nth(const struct bk_http_res *res, const char *name, size_t nth);
void bk_http_res_free(struct bk_http_res *res);

/* 408, 425, 429, 499, 500, 502-504, 520-524: worth another try. */
bool bk_http_status_retryable(int status);
/* Milliseconds asked for by Retry-After (seconds or date), at most 5 minutes; -1 when absent. */
int bk_http_retry_after(const struct bk_http_res *res);

/* --- URLs ------------------------------------------------------------------------------------ */

struct bk_http_url {
  char *text;                  /* normalised, without user part and fragment */
  char *scheme, *host, *port;  /* lower case; IPv6 hosts in brackets; port always set */
  char *path, *query;          /* path at least "/"; query NULL when absent */
  char *user, *password;       /* decoded; NULL when absent */
};
/* Resolves `text` against `base` (NULL: text must be absolute). Only http and https. */
int bk_http_url_parse(struct bk_http_url *u, const char *base, const char *text,
                      struct bk_err *err) BK_WARN_UNUSED;
void bk_http_url_free(struct bk_http_url *u);
bool bk_http_same_origin(const struct bk_http_url *a, const struct bk_http_url *b);
/* localhost, *.localhost, 127/8, [::1]; host may carry brackets and a port. */
bool bk_http_is_loopback(const char *host);
/* Loopback, or an address literal of a private, link-local or unspecified range. */
bool bk_http_is_private(const char *host);
/* For messages: no user part, no query, no fragment. */
void bk_http_redact(char *out, size_t size, const char *url);

#endif
