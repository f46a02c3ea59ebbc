#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "digest/digest.h"
#include "oci/oci.h"

#define NAME_MAX_LEN 255

static bool is_name_char(int c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* ; returns the length matched, 0 for none. */
static size_t match_component(const char *s, size_t n) {
  size_t i = 0, good = 0;
  for (;;) {
    size_t start = i;
    while (i < n && is_name_char(s[i])) i++;
    if (i == start) return good;
    good = i;
    size_t sep = i;
    if (i < n && s[i] == '.') i++;
    else if (i < n && s[i] == '_') i += i + 1 < n && s[i + 1] == '_' ? 2 : 1;
    else while (i < n && s[i] == '-') i++;
    if (i == sep) return good;
  }
}

static bool is_repository(const char *s, size_t n) {
  for (size_t i = 0;;) {
    size_t k = match_component(s + i, n - i);
    if (k == 0) return false;
    i += k;
    if (i == n) return true;
    if (s[i++] != '/') return false;
  }
}

bool bk_oci_is_repository(const char *s) { return is_repository(s, strlen(s)); }

static bool is_tag(const char *s, size_t n) {
  if (n == 0 || n > 128 || !(isalnum((unsigned char)*s) || *s == '_')) return false;
  for (size_t i = 1; i < n; i++)
    if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i])) return false;
  return !memchr(s, '\0', n);
}

bool bk_oci_is_tag(const char *s) { return is_tag(s, strlen(s)); }

bool bk_oci_is_digest(const char *s) { return bk_digest_is_valid(s); }

static bool is_port(const char *s, size_t n) {
  unsigned port = 0;
  if (n == 0 || n > 5) return false;
  for (size_t i = 0; i < n; i++) {
    if (!isdigit((unsigned char)s[i])) return false;
    port = port * 10 + (unsigned)(s[i] - '0');
  }
  return port > 0 && port < 65536;
}

static bool is_registry(const char *s, size_t n) {
  const char *end = s + n, *p = s;
  if (p < end && *p == '[') {
    for (p++; p < end && *p != ']'; p++)
      if (!isxdigit((unsigned char)*p) && *p != ':') return false;
    if (p == end || p - s < 3) return false;
    p++;
  } else {
    bool fresh = true; /* at the start of a label */
    for (; p < end && *p != ':'; p++) {
      if (*p == '.' ? fresh || p[-1] == '-' : !(isalnum((unsigned char)*p) || (*p == '-' && !fresh))) return false;
      fresh = *p == '.';
    }
    if (p == s || fresh || p[-1] == '-') return false;
  }
  return p == end || (*p == ':' && is_port(p + 1, (size_t)(end - p - 1)));
}

bool bk_oci_is_registry(const char *s) { return is_registry(s, strlen(s)); }

/* Docker's rule for telling `host/name` from `name/name`; but `User/app` is a name with a mistake
 * in it, not a host called User. */
static bool looks_like_host(const char *s, size_t n) {
  return (n == 9 && strncasecmp(s, "localhost", 9) == 0) || memchr(s, '.', n) || memchr(s, ':', n);
}

/* 64 hexadecimal digits without a registry are how docker writes the id of an image. */
static bool is_image_id(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!isdigit((unsigned char)s[i]) && (s[i] < 'a' || s[i] > 'f')) return false;
  return n == 64;
}

struct parts {
  const char *text; /* whole reference, for messages */
  size_t len;
};

static int bad(const struct parts *p, struct bk_err *err, const char *at, size_t n,
               const char *what) {
  char shown[160], piece[80];
  snprintf(shown, sizeof shown, "%.*s", (int)(p->len < 150 ? p->len : 150), p->text);
  snprintf(piece, sizeof piece, "%.*s", (int)(n < 72 ? n : 72), at);
  for (char *s = shown; *s; s++)
    if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
  for (char *s = piece; *s; s++)
    if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
  return bk_fail(err, BK_USAGE, "oci.reference", "image reference '%s': %s '%s' at column %zu",
                 shown, what, piece, (size_t)(at - p->text) + 1);
}

static int set_name(struct bk_oci_ref *r, const struct parts *p, const char *name, size_t n,
                    struct bk_err *err) {
  const char *slash = memchr(name, '/', n), *host = "docker.io", *path = name;
  size_t hlen = 9, plen = n;
  if (slash && looks_like_host(name, (size_t)(slash - name))) {
    host = name;
    hlen = (size_t)(slash - name);
    path = slash + 1;
    plen = n - hlen - 1;
    if (!is_registry(host, hlen)) return bad(p, err, host, hlen, "invalid registry");
  }
  if (path == name && is_image_id(name, n))
    return bad(p, err, name, n, "an image's id, not a name:");
  if (plen == 0) return bad(p, err, path, plen, "missing repository name");
  if (!is_repository(path, plen)) {
    for (size_t i = 0; i < plen; i++)
      if (isupper((unsigned char)path[i]))
        return bad(p, err, path, plen, "repository names are lower case:");
    return bad(p, err, path, plen, "invalid repository name");
  }
  if (hlen + 1 + plen > NAME_MAX_LEN)
    return bad(p, err, name, n, "name longer than 255 characters:");
  r->registry = bk_strndup(host, hlen);
  for (char *s = r->registry; *s; s++) *s = (char)tolower((unsigned char)*s);
  if (strcmp(r->registry, "index.docker.io") == 0) {
    free(r->registry);
    r->registry = bk_strdup("docker.io");
  }
  bool official = strcmp(r->registry, "docker.io") == 0 && !memchr(path, '/', plen);
  r->repository = bk_asprintf("%s%.*s", official ? "library/" : "", (int)plen, path);
  return 0;
}

static int parse(struct bk_oci_ref *r, const struct parts *p, struct bk_err *err) {
  const char *text = p->text;
  size_t n = p->len;
  if (n == 0 || n > 4096)
    return bk_fail(err, BK_USAGE, "oci.reference", "image reference is %s",
                   n ? "too long" : "empty");
  const char *at = memchr(text, '@', n);
  if (at) {
    size_t k = n - (size_t)(at - text) - 1;
    r->digest = bk_strndup(at + 1, k);
    if (strlen(r->digest) != k || !bk_digest_is_valid(r->digest))
      return bad(p, err, at + 1, k, "invalid digest");
    n = (size_t)(at - text);
  }
  const char *slash = memrchr(text, '/', n), *last = slash ? slash + 1 : text;
  const char *colon = memchr(last, ':', n - (size_t)(last - text));
  if (colon) {
    size_t k = n - (size_t)(colon - text) - 1;
    if (!is_tag(colon + 1, k)) return bad(p, err, colon + 1, k, "invalid tag");
    r->tag = bk_strndup(colon + 1, k);
    n = (size_t)(colon - text);
  }
  if (!r->tag && !r->digest) r->tag = bk_strdup("latest");
  return set_name(r, p, text, n, err);
}

int bk_oci_ref_parse(struct bk_oci_ref *r, const char *text, size_t len, struct bk_err *err) {
  *r = (struct bk_oci_ref){0};
  struct parts p = {.text = text, .len = len};
  int rc = parse(r, &p, err);
  if (rc) bk_oci_ref_free(r);
  return rc;
}

char *bk_oci_ref_text(const struct bk_oci_ref *r) {
  return bk_asprintf("%s/%s%s%s%s%s", r->registry, r->repository, r->tag ? ":" : "",
                     r->tag ? r->tag : "", r->digest ? "@" : "", r->digest ? r->digest : "");
}

void bk_oci_ref_free(struct bk_oci_ref *r) {
  free(r->registry);
  free(r->repository);
  free(r->tag);
  free(r->digest);
  *r = (struct bk_oci_ref){0};
}

void bk_oci_desc_free(struct bk_oci_desc *d) {
  free(d->media_type);
  free(d->digest);
  free(d->data);
  *d = (struct bk_oci_desc){0};
}

void bk_oci_manifest_free(struct bk_oci_manifest *m) {
  bk_buf_free(&m->raw);
  bk_oci_desc_free(&m->desc);
}
