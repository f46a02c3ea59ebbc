#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "http/pool.h"

/* One hop of a request. */
struct hop {
  struct bk_http *h;
  const struct bk_http_req *req;
  struct bk_http_res *res;
  struct bk_err *err;
  struct bk_http_url url;
  CURL *easy;
  struct curl_slist *headers;
  char *origin;
  const char *method;
  bool body;    /* this hop sends it */
  int64_t at;   /* bytes of it sent */
  bool failed;  /* a callback has filled *err */
  bool begun;   /* the sink was told */
  bool cut;     /* enough of an error body was read */
  char text[CURL_ERROR_SIZE];
};

#define SET(hop, option, value) ((hop)->h->c->easy_setopt_((hop)->easy, option, value))

static bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool to_sink(const struct hop *p) { return p->req->write && p->res->status / 100 == 2; }

static bool cancelled(const struct hop *p) { return p->req->cancel && atomic_load(p->req->cancel); }

static void drop_headers(struct bk_http_res *res) {
  for (size_t i = 0; i < res->nheaders; i++) {
    free(res->headers[i].name);
    free(res->headers[i].value);
  }
  res->nheaders = 0;
  res->length = -1;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg) {
  struct hop *hop = arg;
  struct bk_http_res *res = hop->res;
  n *= size;
  size_t len = n;
  while (len && (p[len - 1] == '\n' || p[len - 1] == '\r')) len--;
  if (len > 5 && strncmp(p, "HTTP/", 5) == 0) { /* a new response: 1xx ones come first */
    drop_headers(res);
    const char *sp = memchr(p, ' ', len);
    res->status = sp ? atoi(sp + 1) : 0;
    return n;
  }
  const char *colon = memchr(p, ':', len);
  if (!colon || colon == p) return n;
  const char *v = colon + 1, *end = p + len;
  while (v < end && (*v == ' ' || *v == '\t')) v++;
  while (end > v && (end[-1] == ' ' || end[-1] == '\t')) end--;
  struct bk_http_header h = {.name = bk_strndup(p, (size_t)(colon - p)),
                             .value = bk_strndup(v, (size_t)(end - v))};
  for (char *c = h.name; *c; c++)
    if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + 32);
  if (strcmp(h.name, "content-length") == 0) res->length = strtoll(h.value, NULL, 10);
  if ((res->nheaders & (res->nheaders - 1)) == 0)
    res->headers = bk_reallocarray(res->headers, res->nheaders ? res->nheaders * 2 : 1, sizeof h);
  res->headers[res->nheaders++] = h;
  return n;
}

static int begin(struct hop *p) {
  if (p->begun) return 0;
  p->begun = true;
  return p->req->begin ? p->req->begin(p->req->ctx, p->res, p->err) : 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
  struct hop *p = arg;
  n *= size;
  if (cancelled(p)) return 0;
  if (to_sink(p)) {
    if (begin(p) || p->req->write(p->req->ctx, data, n, p->err)) {
      p->failed = true;
      return 0;
    }
    if (p->req->got) atomic_fetch_add(p->req->got, n);
    p->res->received += n;
    return n;
  }
  bool ok = p->res->status / 100 == 2;
  size_t max = p->req->max_body ? p->req->max_body : 16 << 20;
  if (!ok && (p->req->write || max < BK_HTTP_ERROR_BODY)) max = BK_HTTP_ERROR_BODY;
  size_t room = max - p->res->body.len;
  p->res->body.max = max;
  bk_buf_add(&p->res->body, data, n < room ? n : room);
  p->res->received += n;
  if (n > room) {
    p->cut = !ok;
    p->failed = ok;
    if (ok) bk_fail(p->err, BK_INFRA, "http.too_large", "body is larger than %zu bytes", max);
    return 0;
  }
  if (p->req->got) atomic_fetch_add(p->req->got, n);
  return n;
}

static int64_t body_total(const struct bk_http_req *r) {
  return r->body_is_file || r->body_read ? r->body_size : (int64_t)r->body_len;
}

static size_t on_read(char *out, size_t size, size_t n, void *arg) {
  struct hop *p = arg;
  const struct bk_http_req *r = p->req;
  n *= size;
  if (cancelled(p)) return CURL_READFUNC_ABORT;
  int64_t total = body_total(r);
  if ((int64_t)n > total - p->at) n = (size_t)(total - p->at);
  if (n == 0) return 0;
  if (r->body_read) {
    ssize_t k = r->body_read(r->body_ctx, p->at, out, n, p->err);
    if (k <= 0) {
      if (k == 0) bk_fail(p->err, BK_BUILD, "http.body", "request body: the source ended early");
      p->failed = true;
      return CURL_READFUNC_ABORT;
    }
    n = (size_t)k;
  } else if (r->body_is_file) {
    ssize_t k;
    do k = pread(r->body_fd, out, n, r->body_offset + p->at);
    while (k < 0 && errno == EINTR);
    if (k <= 0) {
      if (k < 0) bk_fail_errno(p->err, errno, "read request body");
      else bk_fail(p->err, BK_BUILD, "http.body", "request body: the file became shorter");
      p->failed = true;
      return CURL_READFUNC_ABORT;
    }
    n = (size_t)k;
  } else {
    memcpy(out, (const char *)r->body + p->at, n);
  }
  p->at += (int64_t)n;
  if (r->sent) atomic_fetch_add(r->sent, n);
  return n;
}

static int on_seek(void *arg, curl_off_t offset, int origin) {
  struct hop *p = arg;
  if (origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  if (p->req->body_once && offset != p->at) return CURL_SEEKFUNC_FAIL;
  if (p->req->sent) atomic_fetch_sub(p->req->sent, (uint64_t)(p->at - offset));
  p->at = offset;
  return CURL_SEEKFUNC_OK;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
  (void)a, (void)b, (void)c, (void)d;
  return cancelled(arg);
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a) {
  (void)arg, (void)purpose;
  return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* --- preparing ------------------------------------------------------------------------------- */

static bool looks_secret(const char *header) {
  static const char *const words[] = {"authorization", "cookie", "token", "secret", "key", "auth"};
  size_t n = strcspn(header, ":");
  for (size_t i = 0; i < BK_ARRAY_LEN(words); i++) {
    size_t w = strlen(words[i]);
    for (size_t at = 0; at + w <= n; at++)
      if (strncasecmp(header + at, words[i], w) == 0) return true;
  }
  return false;
}

static int add_header(struct hop *p, const char *text) {
  if (strpbrk(text, "\r\n"))
    return bk_fail(p->err, BK_USAGE, "http.header", "header '%.*s' contains a line break",
                   (int)strcspn(text, ":\r\n"), text);
  struct curl_slist *l = p->h->c->slist_append(p->headers, text);
  if (!l) return bk_fail(p->err, BK_INFRA, "http.library", "out of memory");
  p->headers = l;
  return 0;
}

static int set_headers(struct hop *p, bool at_home) {
  if (add_header(p, "Expect:")) return -1;
  for (const char *const *s = p->req->headers; s && *s; s++) {
    const char *colon = strchr(*s, ':');
    if (!colon) return bk_fail(p->err, BK_USAGE, "http.header", "header without a colon");
    if (!at_home && looks_secret(*s)) continue;
    if (colon[1 + strspn(colon + 1, " ")]) {
      if (add_header(p, *s)) return -1;
    } else { /* libcurl's way to send an empty value */
      cleanup_free char *empty = bk_asprintf("%.*s;", (int)(colon - *s), *s);
      if (add_header(p, empty)) return -1;
    }
  }
  if (p->req->authorization && at_home) {
    cleanup_free char *a = bk_asprintf("Authorization: %s", p->req->authorization);
    if (add_header(p, a)) return -1;
  }
  SET(p, CURLOPT_HTTPHEADER, p->headers);
  return 0;
}

static void set_method(struct hop *p) {
  const struct bk_http_req *r = p->req;
  const char *m = p->method;
  bool has_body = r->body_is_file || r->body_read || r->body_len > 0;
  if (strcmp(m, "HEAD") == 0) {
    SET(p, CURLOPT_NOBODY, 1L);
  } else if (p->body && (has_body || m[0] == 'P')) { /* PUT, POST, PATCH: also Content-Length: 0 */
    SET(p, CURLOPT_UPLOAD, 1L);
    SET(p, CURLOPT_CUSTOMREQUEST, m);
    SET(p, CURLOPT_INFILESIZE_LARGE, (curl_off_t)body_total(r));
    SET(p, CURLOPT_READFUNCTION, on_read);
    SET(p, CURLOPT_READDATA, p);
    SET(p, CURLOPT_SEEKFUNCTION, on_seek);
    SET(p, CURLOPT_SEEKDATA, p);
    SET(p, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
  } else if (strcmp(m, "GET") != 0) {
    SET(p, CURLOPT_CUSTOMREQUEST, m);
  }
}

static int set_options(struct hop *p, bool at_home) {
  const struct bk_http_req *r = p->req;
  SET(p, CURLOPT_NOSIGNAL, 1L);
  SET(p, CURLOPT_ERRORBUFFER, p->text);
  SET(p, CURLOPT_URL, p->url.text);
  SET(p, CURLOPT_PROTOCOLS_STR, p->url.scheme);
  SET(p, CURLOPT_FOLLOWLOCATION, 0L);
  SET(p, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  SET(p, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET(p, CURLOPT_HEADERFUNCTION, on_header);
  SET(p, CURLOPT_HEADERDATA, p);
  SET(p, CURLOPT_WRITEFUNCTION, on_body);
  SET(p, CURLOPT_WRITEDATA, p);
  SET(p, CURLOPT_NOPROGRESS, 0L);
  SET(p, CURLOPT_XFERINFOFUNCTION, on_progress);
  SET(p, CURLOPT_XFERINFODATA, p);
  SET(p, CURLOPT_OPENSOCKETFUNCTION, on_socket);
  SET(p, CURLOPT_BUFFERSIZE, 256L << 10);
  SET(p, CURLOPT_TCP_KEEPALIVE, 1L);
  SET(p, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->connect_timeout_ms ? r->connect_timeout_ms : 30000));
  if (r->timeout_ms) SET(p, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
  SET(p, CURLOPT_LOW_SPEED_LIMIT, 1L);
  SET(p, CURLOPT_LOW_SPEED_TIME, (long)(r->stall_timeout_s ? r->stall_timeout_s : 60));
  SET(p, CURLOPT_PROXY, bk_http_proxy_for(p->h, &p->url));
  if (p->h->no_proxy) SET(p, CURLOPT_NOPROXY, p->h->no_proxy);
  SET(p, CURLOPT_USERAGENT, r->user_agent ? r->user_agent : "bakery/" BK_VERSION);
  if (r->netrc) SET(p, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
  const char *user = r->user && at_home ? r->user : p->url.user;
  if (user) {
    const char *password = user == p->url.user ? p->url.password : r->password;
    SET(p, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    SET(p, CURLOPT_USERNAME, user);
    SET(p, CURLOPT_PASSWORD, password ? password : "");
  }
  if (r->insecure) {
    SET(p, CURLOPT_SSL_VERIFYPEER, 0L);
    SET(p, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (r->cert_file && at_home) SET(p, CURLOPT_SSLCERT, r->cert_file);
  if (r->key_file && at_home) SET(p, CURLOPT_SSLKEY, r->key_file);
  if (bk_http_set_ca(p->h, p->easy, r, p->err)) return -1;
  set_method(p);
  return set_headers(p, at_home);
}

/* --- running --------------------------------------------------------------------------------- */

/* OpenSSL writes with write(2): keep SIGPIPE away from programs that do not ignore it. */
static CURLcode perform_quietly(struct hop *p) {
  sigset_t pipe_set, old;
  sigemptyset(&pipe_set);
  sigaddset(&pipe_set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
  CURLcode rc = p->h->c->easy_perform(p->easy);
  if (p->h->c->thread_stop) p->h->c->thread_stop(); /* our threads may outlive OpenSSL's cleanup */
  if (!sigismember(&old, SIGPIPE)) {
    const struct timespec now = {0};
    while (sigtimedwait(&pipe_set, NULL, &now) >= 0)
      ;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
  }
  return rc;
}

/* The server wants a certificate of ours, or another one: TLS 1.3 tells it behind the handshake. */
static bool wants_certificate(const char *text) {
  return strstr(text, "alert certificate required") || strstr(text, "alert bad certificate") ||
         strstr(text, "alert unknown ca");
}

static int transport_error(struct hop *p, CURLcode rc) {
  if ((rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR || rc == CURLE_SSL_CONNECT_ERROR) &&
      wants_certificate(p->text))
    rc = CURLE_SSL_CERTPROBLEM;
  const char *code = "http.transport";
  bool retry = false;
  switch (rc) {
  case CURLE_COULDNT_RESOLVE_HOST: code = "http.resolve", retry = true; break;
  case CURLE_COULDNT_RESOLVE_PROXY: code = "http.proxy", retry = true; break;
  case CURLE_COULDNT_CONNECT: code = "http.connect", retry = true; break;
  case CURLE_OPERATION_TIMEDOUT: code = "http.timeout", retry = true; break;
  case CURLE_SSL_CONNECT_ERROR:
    code = "http.tls";
    retry = strstr(p->text, "reset") || strstr(p->text, "SYSCALL");
    break;
  case CURLE_PEER_FAILED_VERIFICATION: case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_CERTPROBLEM: case CURLE_SSL_CACERT_BADFILE:
    code = "http.certificate";
    break;
  case CURLE_SSL_CIPHER: code = "http.tls"; break;
  case CURLE_SEND_ERROR: case CURLE_SEND_FAIL_REWIND: code = "http.send", retry = true; break;
  case CURLE_RECV_ERROR: case CURLE_GOT_NOTHING: code = "http.recv", retry = true; break;
  case CURLE_PARTIAL_FILE: code = "http.truncated", retry = true; break;
  case CURLE_HTTP2: case CURLE_HTTP2_STREAM: code = "http.recv", retry = true; break;
  case CURLE_ABORTED_BY_CALLBACK: case CURLE_WRITE_ERROR: case CURLE_READ_ERROR:
    if (cancelled(p)) return bk_fail(p->err, BK_BUILD, "cancelled", "cancelled");
    break;
  default: break;
  }
  const char *text = p->text[0] ? p->text : p->h->c->easy_strerror(rc);
  bk_fail(p->err, BK_INFRA, code, "%s", text);
  p->err->retryable = retry;
  return -1;
}

static int run(struct hop *p, bool at_home) {
  p->res->status = 0;
  p->res->received = 0;
  drop_headers(p->res);
  bk_buf_reset(&p->res->body);
  if (set_options(p, at_home)) return -1;
  CURLcode rc = perform_quietly(p);
  p->res->sent = (uint64_t)p->at;
  if (p->failed) return -1;
  if (rc && !p->cut) return transport_error(p, rc);
  if (to_sink(p) && begin(p)) return -1;
  return 0;
}

/* Context for messages: method and URL without its query. */
static int describe(struct hop *p) {
  if (strcmp(p->err->code, "cancelled") == 0) return -1;
  char shown[200];
  bk_http_redact(shown, sizeof shown, p->url.text);
  return bk_err_wrap(p->err, "%s %s", p->method, shown);
}

static int one_hop(struct hop *p, bool at_home) {
  p->origin = bk_asprintf("%s://%s:%s", p->url.scheme, p->url.host, p->url.port);
  p->easy = bk_http_take(p->h, p->origin, p->err);
  int rc = p->easy ? run(p, at_home) : -1;
  if (p->easy) bk_http_give(p->h, p->easy, p->origin, rc == 0 && !p->cut);
  if (p->headers) p->h->c->slist_free_all(p->headers);
  free(p->origin);
  if (rc) describe(p);
  free(p->res->url);
  p->res->url = bk_strdup(p->url.text);
  return rc;
}

/* Where the response sends us: 1 = go to *next, 0 = stay, -1 = error. */
static int redirect(struct hop *p, struct bk_http_url *next, int *left) {
  const char *location = bk_http_header(p->res, "location");
  if (!is_redirect(p->res->status) || !location || p->req->follow == 0) return 0;
  if ((*left)-- == 0)
    return bk_fail(p->err, BK_INFRA, "http.redirect", "more than %d redirects", p->req->follow);
  if (bk_http_url_parse(next, p->url.text, location, p->err)) {
    p->err->cls = BK_INFRA;
    return bk_err_wrap(p->err, "redirect");
  }
  if (strcmp(p->url.scheme, "https") == 0 && strcmp(next->scheme, "http") == 0) {
    bk_http_url_free(next);
    return bk_fail(p->err, BK_INFRA, "http.redirect", "redirect from https to http refused");
  }
  int status = p->res->status;
  if (strcmp(p->method, "HEAD") != 0 && (status == 303 || (status < 303 && *p->method == 'P'))) {
    p->method = "GET"; /* RFC 9110, 15.4 */
    p->body = false;
  }
  return 1;
}

int bk_http_perform(struct bk_http *h, const struct bk_http_req *req, struct bk_http_res *res,
                    struct bk_err *err) {
  *res = (struct bk_http_res){.length = -1};
  const char *method = req->method ? req->method : "GET";
  if (!*method || method[strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")])
    return bk_fail(err, BK_USAGE, "http.method", "method must be upper-case letters");
  struct bk_http_url home, next;
  if (bk_http_url_parse(&home, NULL, req->url, err)) return -1;
  struct bk_http_url here = home;
  bool body = true;
  int left = req->follow, rc;
  for (;;) {
    struct hop p = {.h = h, .req = req, .res = res, .err = err, .url = here, .method = method,
                    .body = body};
    rc = one_hop(&p, bk_http_same_origin(&home, &here));
    int more = rc ? 0 : redirect(&p, &next, &left);
    if (more < 0) rc = describe(&p);
    if (more <= 0) break;
    method = p.method;
    body = p.body;
    if (here.text != home.text) bk_http_url_free(&here);
    here = next;
  }
  if (here.text != home.text) bk_http_url_free(&here);
  bk_http_url_free(&home);
  return rc;
}
