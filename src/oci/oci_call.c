/* One authenticated, retried request to a registry. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/mem.h"
#include "oci/oci_int.h"

/* --- errors ---------------------------------------------------------------------------------- */

/* The server's own words, one line, no control characters. */
static void server_words(const struct bk_http_res *res, char *out, size_t size) {
  out[0] = '\0';
  if (!res->body.p || res->body.len == 0) return;
  json_error_t e;
  json_t *doc = json_loadb(res->body.p, res->body.len, 0, &e);
  const json_t *first = json_array_get(json_object_get(doc, "errors"), 0);
  const char *code = oci_json_str(first, "code"), *message = oci_json_str(first, "message");
  const json_t *detail = json_object_get(first, "detail");
  if (!message) message = oci_json_str(doc, "message");
  if (!message) message = oci_json_str(doc, "details"); /* token services */
  if (!message) message = oci_json_str(doc, "error");
  if (code || message)
    snprintf(out, size, "%s%s%s%s%s", code ? code : "", code && message ? ": " : "",
             message ? message : "", json_is_string(detail) ? ": " : "",
             json_is_string(detail) ? json_string_value(detail) : "");
  else
    snprintf(out, size, "%.*s", (int)(res->body.len < 300 ? res->body.len : 300), res->body.p);
  json_decref(doc);
  size_t n = 0;
  for (const char *s = out; *s; s++) { /* runs of blanks and controls become one blank */
    bool blank = (unsigned char)*s <= 0x20 || *s == 0x7f;
    if (!blank || (n && out[n - 1] != ' ')) out[n++] = blank ? ' ' : *s;
  }
  out[n] = '\0';
}

bool oci_has_code(const struct bk_http_res *res, const char *code) {
  json_error_t e;
  json_t *doc = res->body.p ? json_loadb(res->body.p, res->body.len, 0, &e) : NULL, *v;
  size_t i;
  bool found = false;
  json_array_foreach(json_object_get(doc, "errors"), i, v) {
    const char *s = oci_json_str(v, "code");
    if (s && strcmp(s, code) == 0) found = true;
  }
  json_decref(doc);
  return found;
}

/* Docker Hub's pull limit: waiting six hours helps nobody. */
static bool hopeless(const struct bk_http_res *res) {
  return res->status == 429 && res->body.p && strstr(res->body.p, "pull rate limit") &&
         !bk_http_header(res, "retry-after");
}

int oci_status_error(const struct bk_http_res *res, struct bk_err *err, const char *fmt, ...) {
  char what[300], words[400], code[24];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  server_words(res, words, sizeof words);
  snprintf(code, sizeof code, "http.%d", res->status);
  const char *name = code, *text = NULL;
  int cls = BK_INFRA;
  switch (res->status) {
  case 401: name = "oci.unauthorized", text = "not logged in or wrong credentials"; break;
  case 403: name = "oci.denied", text = "access denied"; break;
  case 404: name = "oci.not_found", text = "not found", cls = BK_BUILD; break;
  case 405: name = "oci.unsupported", text = "not supported by the registry"; break;
  case 413:
    name = "oci.too_large", text = "too large for the registry or a proxy in front of it";
    break;
  case 429: name = "oci.rate_limited", text = "too many requests"; break;
  default: break;
  }
  if (text) bk_fail(err, cls, name, "%s: %s (HTTP %d)", what, text, res->status);
  else bk_fail(err, cls, name, "%s: HTTP %d", what, res->status);
  size_t n = strlen(err->msg);
  if (words[0]) snprintf(err->msg + n, sizeof err->msg - n, ": %s", words);
  err->retryable = bk_http_status_retryable(res->status) && !hopeless(res);
  return -1;
}

/* --- waiting --------------------------------------------------------------------------------- */

/* GHCR says it in words: "retry-after: 12.5ms". Milliseconds, or -1. */
static int wait_in_body(const struct bk_http_res *res) {
  const char *p = res->body.p ? strstr(res->body.p, "retry-after: ") : NULL;
  if (!p) return -1;
  char *end;
  double v = strtod(p + 13, &end);
  if (end == p + 13 || !(v >= 0)) return -1;
  if (strncmp(end, "ms", 2) == 0) v /= 1000;
  else if (strncmp(end, "µs", strlen("µs")) == 0) v /= 1e6;
  return v > 300 ? 300000 : (int)ceil(v * 1000);
}

static double chance(void) {
  uint32_t r = 0;
  (void)!getrandom(&r, sizeof r, GRND_NONBLOCK);
  return r / 4294967296.0;
}

int oci_backoff(struct bk_oci *c, int attempt, time_t since, const struct bk_http_res *res,
                const struct bk_oci_op *op, struct bk_err *err) {
  if (attempt >= c->retry.attempts || (op && op->once)) return -1;
  int asked = res ? bk_http_retry_after(res) : -1;
  if (res && asked < 0) asked = wait_in_body(res);
  double s = c->retry.initial * pow(c->retry.multiplier, attempt - 1);
  if (s > c->retry.max) s = c->retry.max;
  s *= chance();
  if (asked >= 0) s = asked / 1000.0 + chance() * 0.25;
  if ((double)(oci_now() - since) + s > c->retry.deadline) return -1;
  struct timespec end;
  clock_gettime(CLOCK_MONOTONIC, &end);
  double until = (double)end.tv_sec + (double)end.tv_nsec / 1e9 + s;
  for (;;) {
    if (oci_cancelled(op)) return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double left = until - (double)t.tv_sec - (double)t.tv_nsec / 1e9;
    if (left <= 0) return 0;
    if (left > 0.1) left = 0.1;
    t = (struct timespec){.tv_nsec = (long)(left * 1e9)};
    nanosleep(&t, NULL);
  }
}

/* --- the call -------------------------------------------------------------------------------- */

static void note_warnings(struct bk_oci *c, const struct oci_host *h,
                          const struct bk_http_res *res) {
  const char *v;
  for (size_t i = 0; i < 8 && (v = bk_http_header_nth(res, "warning", i)); i++) {
    if (strncmp(v, "299 ", 4) != 0 || strlen(v) > 4096) continue;
    const char *open = strchr(v, '"'), *close = open ? strrchr(open + 1, '"') : NULL;
    if (close) oci_warn(c, "%s: %.*s", h->registry, (int)(close - open - 1), open + 1);
  }
}

static char *first_scope(const struct oci_call *call) {
  if (call->scope) return bk_strdup(call->scope);
  if (!call->actions || !call->repository) return NULL;
  if (call->from_repo && strcmp(call->from_repo, call->repository) != 0)
    return bk_asprintf("repository:%s:%s repository:%s:pull", call->repository, call->actions,
                       call->from_repo);
  return bk_asprintf("repository:%s:%s", call->repository, call->actions);
}

char *oci_namespace(const struct bk_oci_op *op) {
  struct bk_buf b = {0};
  bk_buf_adds(&b, "");
  if (op && op->ns) {
    bk_buf_adds(&b, "?ns=");
    oci_url_encode(&b, op->ns);
  }
  return bk_buf_steal(&b);
}

bool oci_is_home(const struct oci_host *h, const char *url) {
  size_t n = strlen(h->base);
  if (strncasecmp(url, h->base, n) == 0 && (url[n] == '/' || url[n] == '?' || !url[n])) return true;
  struct bk_http_url a, b;
  struct bk_err ignored;
  bool same = false;
  if (bk_http_url_parse(&a, NULL, h->base, &ignored) == 0) {
    if (bk_http_url_parse(&b, NULL, url, &ignored) == 0) {
      same = bk_http_same_origin(&a, &b);
      bk_http_url_free(&b);
    }
    bk_http_url_free(&a);
  }
  return same;
}

static int send_once(struct bk_oci *c, const struct oci_call *call, const char *url,
                     const char *authorization, struct bk_http_res *res, struct bk_err *err) {
  struct bk_http_req q = call->body ? *call->body : (struct bk_http_req){0};
  q.method = call->method;
  q.url = url;
  q.headers = call->headers;
  q.authorization = authorization;
  q.max_body = call->max_body ? call->max_body : BK_HTTP_ERROR_BODY;
  q.follow = call->follow;
  q.stall_timeout_s = call->stall_s;
  oci_host_request(c, call->host, call->op, &q);
  return bk_http_perform(c->http, &q, res, err);
}

/* Sends until the registry has accepted or refused our credentials. */
static int authenticated(struct bk_oci *c, const struct oci_call *call, const char *url,
                         struct bk_http_res *res, struct bk_err *err) {
  struct oci_host *h = call->host;
  struct oci_try t = {.scope = first_scope(call), .strict = call->op && call->op->strict};
  bool home = oci_is_home(h, url);
  int rc;
  for (;;) {
    rc = home ? oci_auth_prepare(c, h, call->repository, call->token_life, &t, call->op, err) : 0;
    if (rc == 0) rc = send_once(c, call, url, home ? t.header : NULL, res, err);
    if (rc || !home || (res->status != 401 && res->status != 403)) break;
    rc = oci_auth_challenged(c, h, call->repository, res, &t, call->op, err);
    if (rc <= 0) break;
    bk_http_res_free(res);
  }
  if (rc == 0 && t.anonymous && res->status / 100 == 2)
    oci_warn(c, "%s: the saved credentials were refused; reading anonymously", h->registry);
  oci_try_free(&t);
  return rc;
}

int oci_call(struct bk_oci *c, const struct oci_call *call, struct bk_http_res *res,
             struct bk_err *err) {
  *res = (struct bk_http_res){0};
  if (oci_host_base(c, call->host, call->op, err)) return -1;
  cleanup_free char *url =
      call->url ? bk_strdup(call->url) : bk_asprintf("%s%s", call->host->base, call->path);
  time_t since = oci_now();
  for (int attempt = 1;; attempt++) {
    if (oci_cancelled(call->op)) return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
    int rc = authenticated(c, call, url, res, err);
    if (rc == 0) {
      oci_limit_report(c, call->host, res->status);
      note_warnings(c, call->host, res);
    }
    bool again = rc ? err->retryable : bk_http_status_retryable(res->status) && !hopeless(res);
    if (!again || call->once) return rc;
    struct bk_err kept = rc ? *err : (struct bk_err){0};
    if (oci_backoff(c, attempt, since, rc ? NULL : res, call->op, &kept)) {
      if (rc || strcmp(kept.code, "cancelled") == 0) *err = kept;
      return rc || strcmp(kept.code, "cancelled") == 0 ? -1 : 0;
    }
    bk_http_res_free(res);
  }
}
