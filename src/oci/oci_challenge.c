/* WWW-Authenticate (RFC 9110, 11.6.1) and Docker scopes. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "oci/oci_int.h"

static bool is_token_char(int c) {
  return isalnum(c) || (c && c < 0x80 && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip(const char *p) {
  while (*p == ' ' || *p == '\t' || *p == ',') p++;
  return p;
}

static const char *blanks(const char *p) {
  while (*p == ' ' || *p == '\t') p++;
  return p;
}

static size_t token_len(const char *p) {
  size_t n = 0;
  while (is_token_char((unsigned char)p[n])) n++;
  return n;
}

/* A token or quoted string into *out; NULL when there is none. */
static const char *value(const char *p, struct bk_buf *out) {
  if (*p != '"') {
    size_t n = token_len(p);
    while (p[n] && !strchr(" \t,\"", p[n])) n++; /* unquoted URLs are seen */
    bk_buf_add(out, p, n);
    return n ? p + n : NULL;
  }
  for (p++; *p && *p != '"'; p++) {
    if (*p == '\\' && p[1]) p++;
    bk_buf_addc(out, *p);
  }
  return *p ? p + 1 : NULL;
}

static void keep(struct oci_challenge *c, const char *name, size_t n, struct bk_buf *v) {
  char **at = n == 5 && strncasecmp(name, "realm", 5) == 0     ? &c->realm
              : n == 7 && strncasecmp(name, "service", 7) == 0 ? &c->service
              : n == 5 && strncasecmp(name, "scope", 5) == 0   ? &c->scope
              : n == 5 && strncasecmp(name, "error", 5) == 0   ? &c->error
                                                               : NULL;
  if (at && !*at) *at = bk_buf_steal(v);
}

/* The parameters that follow a scheme, up to the next scheme. */
static const char *params(const char *p, struct oci_challenge *c) {
  for (;;) {
    p = skip(p);
    size_t n = token_len(p);
    const char *eq = blanks(p + n);
    if (n == 0 || *eq != '=') return p;
    struct bk_buf v = {.max = 16384};
    const char *end = value(blanks(eq + 1), &v);
    if (end && !v.overflow) keep(c, p, n, &v);
    bk_buf_free(&v);
    if (!end) return p + strlen(p);
    p = end;
  }
}

/* Past what Negotiate and others send instead of parameters. */
static const char *skip_token68(const char *p) {
  size_t n = token_len(p);
  while (p[n] == '/') n += 1 + token_len(p + n + 1);
  while (n && p[n] == '=') n++;
  const char *end = blanks(p + n);
  return n && (*end == ',' || !*end) ? end : p;
}

size_t oci_challenges_parse(const char *text, struct oci_challenge *list, size_t n, size_t max) {
  const char *p = skip(text);
  while (*p && n < max) {
    size_t len = token_len(p);
    if (len == 0) return n; /* no grammar we know: what was read so far counts */
    struct oci_challenge *c = &list[n++];
    *c = (struct oci_challenge){0};
    for (size_t i = 0; i < len && i + 1 < sizeof c->scheme; i++)
      c->scheme[i] = (char)tolower((unsigned char)p[i]);
    p += len;
    p = skip(params(skip_token68(blanks(p)), c));
  }
  return n;
}

void oci_challenges_free(struct oci_challenge *list, size_t n) {
  for (size_t i = 0; i < n; i++) {
    free(list[i].realm);
    free(list[i].service);
    free(list[i].scope);
    free(list[i].error);
  }
}

/* Is every comma-separated action of `want` in `have`? */
static bool actions_cover(const char *have, size_t nh, const char *want, size_t nw) {
  for (size_t i = 0; i < nh; i++) /* "*", alone or in a list */
    if (have[i] == '*' && (i == 0 || have[i - 1] == ',') && (i + 1 == nh || have[i + 1] == ','))
      return true;
  for (size_t i = 0; i < nw;) {
    const char *w = want + i, *comma = memchr(w, ',', nw - i);
    size_t k = comma ? (size_t)(comma - w) : nw - i;
    bool found = false;
    for (size_t j = 0; j < nh && !found;) {
      const char *h = have + j, *c = memchr(h, ',', nh - j);
      size_t m = c ? (size_t)(c - h) : nh - j;
      found = m == k && memcmp(h, w, k) == 0;
      j += m + 1;
    }
    if (!found) return false;
    i += k + 1;
  }
  return true;
}

static bool one_covered(const char *have, const char *want, size_t n) {
  const char *cut = memrchr(want, ':', n);
  size_t name = cut ? (size_t)(cut - want) : n;
  for (const char *p = have + strspn(have, " "); *p; p += strspn(p, " ")) {
    size_t k = strcspn(p, " ");
    const char *pc = memrchr(p, ':', k);
    size_t pn = pc ? (size_t)(pc - p) : k;
    if (pn == name && memcmp(p, want, name) == 0) {
      if (!cut || !pc) return !cut && !pc;
      if (actions_cover(pc + 1, k - pn - 1, cut + 1, n - name - 1)) return true;
    }
    p += k;
  }
  return false;
}

bool oci_scope_covers(const char *have, const char *want) {
  for (const char *p = want + strspn(want, " "); *p; p += strspn(p, " ")) {
    size_t n = strcspn(p, " ");
    if (!one_covered(have, p, n)) return false;
    p += n;
  }
  return true;
}
