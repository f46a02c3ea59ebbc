#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "http/curl_dl.h"
#include "http/http.h"

/* Copies a part out of libcurl's heap; NULL when it is absent. */
static char *part(const struct bk_curl *c, const CURLU *u, CURLUPart what, unsigned flags) {
  char *text = NULL;
  if (c->url_get(u, what, &text, flags) || !text) return NULL;
  char *copy = bk_strdup(text);
  c->free(text);
  return copy;
}

static void lower(char *s) {
  for (; s && *s; s++) *s = (char)tolower((unsigned char)*s);
}

static bool has_control(const char *s) {
  for (; *s; s++)
    if ((unsigned char)*s < 0x20 || *s == 0x7f) return true;
  return false;
}

/* libcurl decodes %XX in hosts: what comes out must still be a name or an address. */
static bool is_host(const char *s) {
  const char *more = *s == '[' ? "[]:.%-_" : ".-_";
  for (; *s; s++)
    if (!isalnum((unsigned char)*s) && (unsigned char)*s < 0x80 && !strchr(more, *s)) return false;
  return true;
}

/* libcurl takes http:/host and decodes %XX in hosts: two spellings of one address would then be two
 * origins. Relative references have no authority to look at. */
static bool plain_authority(const char *text) {
  size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
  if (text[n] == ':') text += n + 1;
  else if (strncmp(text, "//", 2) != 0) return true;
  if (strncmp(text, "//", 2) != 0) return false;
  size_t len = strcspn(text + 2, "/?#");
  const char *at = memrchr(text + 2, '@', len), *host = at ? at + 1 : text + 2;
  return *host == '[' || !memchr(host, '%', (size_t)(text + 2 + len - host));
}

static int bad_url(struct bk_err *err, const char *text, const char *why) {
  char shown[200];
  bk_http_redact(shown, sizeof shown, text);
  return bk_fail(err, BK_USAGE, "http.url", "URL '%s': %s", shown, why);
}

static int fill(const struct bk_curl *c, CURLU *h, struct bk_http_url *u, const char *base,
                const char *text, struct bk_err *err) {
  const unsigned flags = CURLU_URLENCODE | CURLU_ALLOW_SPACE;
  if (has_control(text)) return bad_url(err, text, "control character");
  if (!plain_authority(text)) return bad_url(err, text, "malformed");
  if (base && c->url_set(h, CURLUPART_URL, base, flags)) return bad_url(err, base, "malformed");
  if (c->url_set(h, CURLUPART_URL, text, flags)) return bad_url(err, text, "malformed");
  u->scheme = part(c, h, CURLUPART_SCHEME, 0);
  lower(u->scheme);
  if (!u->scheme || (strcmp(u->scheme, "https") != 0 && strcmp(u->scheme, "http") != 0))
    return bad_url(err, text, "only http and https are supported");
  u->host = part(c, h, CURLUPART_HOST, 0);
  lower(u->host);
  u->port = part(c, h, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  u->path = part(c, h, CURLUPART_PATH, 0);
  u->query = part(c, h, CURLUPART_QUERY, 0);
  u->user = part(c, h, CURLUPART_USER, CURLU_URLDECODE);
  u->password = part(c, h, CURLUPART_PASSWORD, CURLU_URLDECODE);
  if (u->host && !is_host(u->host)) return bad_url(err, text, "malformed host");
  if (!u->host || !*u->host || !u->port || !u->path) return bad_url(err, text, "no host");
  c->url_set(h, CURLUPART_USER, NULL, 0);
  c->url_set(h, CURLUPART_PASSWORD, NULL, 0);
  c->url_set(h, CURLUPART_FRAGMENT, NULL, 0);
  u->text = part(c, h, CURLUPART_URL, 0);
  return u->text ? 0 : bad_url(err, text, "malformed");
}

int bk_http_url_parse(struct bk_http_url *u, const char *base, const char *text,
                      struct bk_err *err) {
  *u = (struct bk_http_url){0};
  const struct bk_curl *c = bk_curl_open(err);
  if (!c) return -1;
  CURLU *h = c->url();
  int rc = h ? fill(c, h, u, base, text, err) : bad_url(err, text, "out of memory");
  c->url_cleanup(h);
  if (rc) bk_http_url_free(u);
  return rc;
}

void bk_http_url_free(struct bk_http_url *u) {
  free(u->text);
  free(u->scheme);
  free(u->host);
  free(u->port);
  free(u->path);
  free(u->query);
  free(u->user);
  free(u->password);
  *u = (struct bk_http_url){0};
}

bool bk_http_same_origin(const struct bk_http_url *a, const struct bk_http_url *b) {
  return strcmp(a->scheme, b->scheme) == 0 && strcmp(a->host, b->host) == 0 &&
         strcmp(a->port, b->port) == 0;
}

/* The host without port and brackets, lower case. */
static void bare_host(char *out, size_t size, const char *host) {
  const char *end = host + strlen(host);
  if (*host == '[') {
    const char *close = strchr(++host, ']');
    if (close) end = close;
  } else {
    const char *colon = strchr(host, ':');
    if (colon && !strchr(colon + 1, ':')) end = colon;
  }
  if (end > host && end[-1] == '.') end--;
  snprintf(out, size, "%.*s", (int)(end - host), host);
  lower(out);
}

/* The IPv4 address in *a (host order) when host is a literal of it, mapped IPv6 included. */
static bool ipv4_literal(const char *host, uint32_t *a) {
  struct in_addr v4;
  struct in6_addr v6;
  if (inet_aton(host, &v4)) return *a = ntohl(v4.s_addr), true;
  if (inet_pton(AF_INET6, host, &v6) != 1 || !IN6_IS_ADDR_V4MAPPED(&v6)) return false;
  memcpy(&v4, v6.s6_addr + 12, 4);
  return *a = ntohl(v4.s_addr), true;
}

bool bk_http_is_loopback(const char *host) {
  char h[260];
  bare_host(h, sizeof h, host);
  size_t n = strlen(h);
  if (strcmp(h, "localhost") == 0 || (n > 10 && strcmp(h + n - 10, ".localhost") == 0)) return true;
  uint32_t a;
  struct in6_addr v6;
  if (ipv4_literal(h, &a)) return a >> 24 == 127;
  return inet_pton(AF_INET6, h, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool bk_http_is_private(const char *host) {
  char h[260];
  bare_host(h, sizeof h, host);
  if (bk_http_is_loopback(host)) return true;
  uint32_t a;
  struct in6_addr v6;
  if (ipv4_literal(h, &a))
    return a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 || a >> 16 == 0xa9fe ||
           a >> 24 == 0 || a >> 22 == 0x191; /* RFC 1918, 3927, 6598 and "this network" */
  if (inet_pton(AF_INET6, h, &v6) != 1) return false;
  return IN6_IS_ADDR_LINKLOCAL(&v6) || IN6_IS_ADDR_UNSPECIFIED(&v6) ||
         (v6.s6_addr[0] & 0xfe) == 0xfc;
}

void bk_http_redact(char *out, size_t size, const char *url) {
  const char *rest = strstr(url, "://");
  size_t scheme = rest ? (size_t)(rest + 3 - url) : 0;
  rest = url + scheme;
  size_t authority = strcspn(rest, "/?#");
  const char *at = memrchr(rest, '@', authority);
  const char *host = at ? at + 1 : rest;
  snprintf(out, size, "%.*s%.*s", (int)scheme, url, (int)strcspn(host, "?#"), host);
  for (char *s = out; *s; s++)
    if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
}
