#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "json/json.h"
#include "sign/box.h"

#define PLAIN_MAX 65536 /* of a private key; a 16384-bit RSA key has 9 KB */

static int key_of(const char *password, size_t len, const unsigned char *salt, size_t salt_len,
                  uint64_t n, unsigned char key[crypto_secretbox_KEYBYTES], struct bk_err *err) {
  if (sodium_init() < 0 ||
      crypto_pwhash_scryptsalsa208sha256_ll((const uint8_t *)password, len, salt, salt_len, n, 8, 1,
                                            key, crypto_secretbox_KEYBYTES))
    return bk_fail(err, BK_INFRA, "sign.memory", "not enough memory to decrypt the key");
  return 0;
}

int box_seal(struct bk_buf *out, const char *password, size_t password_len, const void *plain,
             size_t len, const unsigned char salt[BOX_SALT], const unsigned char nonce[BOX_NONCE],
             struct bk_err *err) {
  unsigned char key[crypto_secretbox_KEYBYTES];
  if (key_of(password, password_len, salt, BOX_SALT, 65536, key, err)) return -1;
  cleanup_free unsigned char *box = bk_malloc(len + crypto_secretbox_MACBYTES);
  crypto_secretbox_easy(box, plain, len, nonce, key);
  sodium_memzero(key, sizeof key);
  bk_buf_adds(out, "{\"kdf\":{\"name\":\"scrypt\",\"params\":{\"N\":65536,\"r\":8,\"p\":1},\"salt\":\"");
  bk_base64(out, salt, BOX_SALT);
  bk_buf_adds(out, "\"},\"cipher\":{\"name\":\"nacl/secretbox\",\"nonce\":\"");
  bk_base64(out, nonce, BOX_NONCE);
  bk_buf_adds(out, "\"},\"ciphertext\":\"");
  bk_base64(out, box, len + crypto_secretbox_MACBYTES);
  bk_buf_adds(out, "\"}");
  return 0;
}

static const char *text_of(const json_t *doc, const char *outer, const char *name) {
  const json_t *o = outer ? json_object_get(doc, outer) : doc;
  return json_string_value(json_object_get(o, name));
}

static bool bytes_of(const json_t *doc, const char *outer, const char *name, struct bk_buf *out) {
  const char *s = text_of(doc, outer, name);
  out->max = PLAIN_MAX;
  return s && bk_unbase64(out, s, strlen(s));
}

static bool is(const char *s, const char *want) { return s && strcmp(s, want) == 0; }

/* The parameters that cosign writes or has written: others could keep us busy for hours. */
static uint64_t cost(const json_t *doc) {
  const json_t *p = json_object_get(json_object_get(doc, "kdf"), "params");
  json_int_t n = json_integer_value(json_object_get(p, "N"));
  bool fine = is(text_of(doc, "kdf", "name"), "scrypt") &&
              is(text_of(doc, "cipher", "name"), "nacl/secretbox") &&
              json_integer_value(json_object_get(p, "r")) == 8 &&
              json_integer_value(json_object_get(p, "p")) == 1;
  return fine && (n == 32768 || n == 65536 || n == 131072) ? (uint64_t)n : 0;
}

static int open_doc(const json_t *doc, const char *password, size_t password_len,
                    struct bk_buf *out, struct bk_err *err) {
  cleanup_buf struct bk_buf salt = {0}, nonce = {0}, box = {0};
  uint64_t n = cost(doc);
  if (!n)
    return bk_fail(err, BK_USAGE, "sign.key", "the key file's encryption is not the one that cosign uses");
  if (!bytes_of(doc, "kdf", "salt", &salt) || !bytes_of(doc, "cipher", "nonce", &nonce) ||
      !bytes_of(doc, NULL, "ciphertext", &box) || nonce.len != BOX_NONCE || !salt.len ||
      box.len < crypto_secretbox_MACBYTES)
    return bk_fail(err, BK_USAGE, "sign.key", "the encrypted key is damaged");
  if (!password)
    return bk_fail(err, BK_USAGE, "sign.password_needed", "the key is encrypted: it needs its password");
  unsigned char key[crypto_secretbox_KEYBYTES];
  if (key_of(password, password_len, (unsigned char *)salt.p, salt.len, n, key, err)) return -1;
  size_t len = box.len - crypto_secretbox_MACBYTES;
  int rc = 0;
  char *plain = bk_buf_reserve(out, len ? len : 1);
  if (!plain || crypto_secretbox_open_easy((unsigned char *)plain, (unsigned char *)box.p, box.len,
                                           (unsigned char *)nonce.p, key))
    rc = bk_fail(err, BK_USAGE, "sign.password", "the password does not open the key");
  else out->len += len;
  sodium_memzero(key, sizeof key);
  return rc;
}

int box_open(const char *text, size_t len, const char *password, size_t password_len,
             struct bk_buf *out, struct bk_err *err) {
  json_t *doc;
  struct bk_err ignored; /* would quote from the file */
  if (bk_json_parse(text, len, "key", BK_JSON_UNIQUE, &doc, &ignored))
    return bk_fail(err, BK_USAGE, "sign.key", "the encrypted key is damaged");
  int rc = open_doc(doc, password, password_len, out, err);
  json_decref(doc);
  return rc;
}
