#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "json/json.h"
#include "oci/oci_int.h"

static enum bk_digest_alg alg_of(const char *digest) {
  return digest && strncmp(digest, "sha512:", 7) == 0 ? BK_SHA512 : BK_SHA256;
}

void oci_hash_start(struct oci_hash *h, const char *digest) {
  h->alg = alg_of(digest);
  bk_digest_init(&h->d, h->alg);
}

char *oci_hash_end(struct oci_hash *h) {
  char hex[BK_DIGEST_HEX_MAX];
  bk_digest_hex(&h->d, hex);
  return bk_asprintf("%s:%s", h->alg == BK_SHA512 ? "sha512" : "sha256", hex);
}

char *oci_digest_of(const char *like, const void *p, size_t n) {
  struct oci_hash h;
  oci_hash_start(&h, like);
  bk_digest_update(&h.d, p, n);
  return oci_hash_end(&h);
}

json_t *oci_json(const char *text, size_t len, const char *what, struct bk_err *err) {
  json_t *doc = NULL;
  if (bk_json_parse(text, len, what, BK_JSON_UNIQUE, &doc, err) == 0) return doc;
  char where[sizeof err->where];
  memcpy(where, err->where, sizeof where); /* "what:line:column": part of the message here */
  err->where[0] = '\0';
  err->cls = BK_INFRA;
  snprintf(err->code, sizeof err->code, "oci.json");
  bk_err_wrap(err, "%s", where[0] ? where : what);
  return NULL;
}

json_t *oci_json_secret(const char *text, size_t len, const char *what, struct bk_err *err) {
  json_t *doc = oci_json(text, len, what, err);
  if (doc) return doc;
  /* The parser's message quotes the text: keep only "what:line:column". */
  size_t n = strlen(what);
  n += strspn(err->msg + n, ":0123456789");
  char place[200];
  snprintf(place, sizeof place, "%.*s", (int)n, err->msg);
  bk_fail(err, BK_INFRA, "oci.json", "%s not JSON", place);
  return NULL;
}

const char *oci_json_str(const json_t *obj, const char *key) {
  return json_string_value(json_object_get(obj, key));
}

static int sextet(int c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  return c == '/' || c == '_' ? 63 : -1;
}

char *oci_base64(const char *text, size_t len, size_t *out_len) {
  while (len && (text[len - 1] == '=' || text[len - 1] == '\n' || text[len - 1] == '\r')) len--;
  if (len % 4 == 1) return NULL;
  char *out = bk_malloc(len / 4 * 3 + 4);
  size_t n = 0;
  unsigned acc = 0, bits = 0;
  for (size_t i = 0; i < len; i++) {
    int v = sextet((unsigned char)text[i]);
    if (v < 0) {
      free(out);
      return NULL;
    }
    acc = (acc << 6 | (unsigned)v) & 0xffffff;
    bits += 6;
    if (bits >= 8) out[n++] = (char)(acc >> (bits -= 8) & 0xff);
  }
  out[n] = '\0';
  if (out_len) *out_len = n;
  return out;
}

void oci_base64_encode(struct bk_buf *b, const void *p, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *s = p;
  for (size_t i = 0; i < n; i += 3) {
    unsigned v = (unsigned)s[i] << 16;
    if (i + 1 < n) v |= (unsigned)s[i + 1] << 8;
    if (i + 2 < n) v |= s[i + 2];
    bk_buf_addc(b, digits[v >> 18]);
    bk_buf_addc(b, digits[v >> 12 & 63]);
    bk_buf_addc(b, i + 1 < n ? digits[v >> 6 & 63] : '=');
    bk_buf_addc(b, i + 2 < n ? digits[v & 63] : '=');
  }
}

void oci_url_encode(struct bk_buf *b, const char *s) {
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  for (; *s; s++)
    if (strchr(plain, *s)) bk_buf_addc(b, *s);
    else bk_buf_addf(b, "%%%02X", (unsigned char)*s);
}
