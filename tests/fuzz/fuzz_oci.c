/* What registries and users hand to the client: the first byte says what the rest is. r reference,
 * c WWW-Authenticate, s two scope lists, m manifest, a credentials file, b base64, l Link header,
 * t registries.conf, n page of tags. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "oci/oci_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

static void reference(const char *text, size_t n) {
  struct bk_oci_ref r, again;
  struct bk_err err;
  if (bk_oci_ref_parse(&r, text, n, &err)) {
    REQUIRE(strncmp(err.code, "oci.", 4) == 0 && !r.registry);
    return;
  }
  REQUIRE(bk_oci_is_registry(r.registry) && bk_oci_is_repository(r.repository));
  REQUIRE(r.tag || r.digest);
  char *canonical = bk_oci_ref_text(&r); /* reads back as itself */
  REQUIRE(bk_oci_ref_parse(&again, canonical, strlen(canonical), &err) == 0);
  char *same = bk_oci_ref_text(&again);
  REQUIRE(strcmp(canonical, same) == 0);
  free(canonical);
  free(same);
  bk_oci_ref_free(&r);
  bk_oci_ref_free(&again);
}

static void challenge(const char *text) {
  struct oci_challenge list[4];
  size_t n = oci_challenges_parse(text, list, 0, 4);
  n = oci_challenges_parse(text, list, n, 4);
  REQUIRE(n <= 4);
  for (size_t i = 0; i < n; i++) REQUIRE(list[i].scheme[0]);
  oci_challenges_free(list, n);
}

static void manifest(const char *text, size_t n) {
  struct bk_err err;
  struct bk_oci_desc d;
  char *type = NULL;
  if (bk_oci_manifest_check(text, n, NULL, &type, &err) == 0) REQUIRE(type);
  free(type);
  if (bk_oci_index_select(text, n, "linux/arm/v7", &d, &err) == 0)
    REQUIRE(bk_oci_is_digest(d.digest) && d.size >= 0);
  bk_oci_desc_free(&d);
  struct bk_buf view = {.p = (char *)text, .len = n};
  free(oci_subject(&view));
}

static void credentials(const char *text, size_t n) {
  struct oci_cred c = {0};
  struct bk_err err;
  char *helper;
  int rc = oci_cred_from_json(text, n, "ghcr.io", "org/app", &c, &helper, &err);
  REQUIRE(rc <= 0 || !oci_cred_empty(&c));
  json_error_t e;
  json_t *doc = json_loadb(text, n, 0, &e), *v;
  const char *key;
  json_object_foreach(json_object_get(doc, "auths"), key, v) {
    size_t fit = oci_cred_key_fits(key, "ghcr.io", "org/app");
    REQUIRE(fit <= sizeof "org/app");
    REQUIRE(oci_cred_key_fits(key, "ghcr.io", NULL) <= 1);
  }
  json_decref(doc);
  free(helper);
  oci_cred_clear(&c);
}

static void scopes(char *text) {
  char *nl = strchr(text, '\n');
  if (nl) *nl = '\0';
  (void)oci_scope_covers(text, nl ? nl + 1 : text);
  if (strspn(text, "abc:, ") == strlen(text)) (void)oci_scope_covers(text, text);
}

static void base64(const char *text, size_t n) {
  size_t k, again;
  char *plain = oci_base64(text, n, &k);
  struct bk_buf b = {0};
  bk_base64(&b, plain ? plain : text, plain ? k : n);
  char *same = oci_base64(bk_buf_str(&b), b.len, &again); /* what we write we read */
  REQUIRE(same && again == (plain ? k : n) && memcmp(same, plain ? plain : text, again) == 0);
  free(same);
  free(plain);
  bk_buf_reset(&b);
  oci_url_encode(&b, text);
  REQUIRE(strspn(bk_buf_str(&b), "%-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == b.len);
  bk_buf_free(&b);
}

static void next_link(const char *text) {
  struct bk_http_header h = {.name = (char *)"link", .value = (char *)text};
  struct bk_http_res res = {.headers = &h, .nheaders = 1, .url = (char *)"https://r.example/v2/a"};
  struct oci_host host = {.base = (char *)"https://r.example"};
  char *url = oci_next_link(&host, &res);
  REQUIRE(!url || strncmp(url, "https://r.example", 17) == 0);
  free(url);
}

static void config(const char *text, size_t n) {
  struct oci_rules rules = {0};
  struct bk_arena arena = {0};
  struct bk_err err;
  if (oci_rules_parse(&rules, &arena, text, n, "f", &err) == 0) {
    const struct oci_rule *r = oci_rule_for(&rules, "docker.io/library/debian:12");
    REQUIRE(!r || r->prefix);
  }
  oci_rules_free(&rules);
  bk_arena_free(&arena);
}

/* The quick reading takes and refuses what the parser does. */
static void names(const char *text, size_t n) {
  struct bk_oci_tags quick = {0}, parsed = {0};
  struct bk_err err;
  int rc = oci_names(text, n, "tags", &quick, &err);
  REQUIRE(rc == oci_names_parsed(text, n, "tags", &parsed, &err));
  REQUIRE(rc || quick.n == parsed.n);
  for (size_t i = 0; rc == 0 && i < quick.n; i++)
    REQUIRE(strcmp(quick.names[i], parsed.names[i]) == 0);
  bk_oci_tags_free(&quick);
  bk_oci_tags_free(&parsed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  char *text = bk_strndup((const char *)data + 1, size - 1);
  size_t n = size - 1;
  switch (data[0]) {
  case 'r': reference(text, n); break;
  case 'c': challenge(text); break;
  case 'm': manifest(text, n); break;
  case 'a': credentials(text, n); break;
  case 's': scopes(text); break;
  case 'l': next_link(text); break;
  case 't': config(text, n); break;
  case 'n': names(text, n); break;
  case 'b': base64(text, n); break;
  default: break;
  }
  free(text);
  return 0;
}
