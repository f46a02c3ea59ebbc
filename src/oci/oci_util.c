#include <stdio.h>
#include <string.h>

#include "base/base64.h"
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

char *oci_base64(const char *text, size_t len, size_t *out_len) {
  while (len && strchr("=\n\r", text[len - 1])) len--;
  cleanup_buf struct bk_buf b = {0};
  bk_buf_reserve(&b, len / 4 * 3 + 4); /* at once: growing would leave copies of secrets behind */
  if (!bk_unbase64(&b, text, len)) return NULL;
  if (out_len) *out_len = b.len;
  return bk_buf_steal(&b);
}

void oci_url_encode(struct bk_buf *b, const char *s) {
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  for (; *s; s++)
    if (strchr(plain, *s)) bk_buf_addc(b, *s);
    else bk_buf_addf(b, "%%%02X", (unsigned char)*s);
}
