/* Challenges, scopes and encodings of the registry client. */
#include "oci/oci_int.h"
#include "unit/unit.h"

static void test_challenges(void) {
  struct oci_challenge list[8];
  size_t n = oci_challenges_parse(
      "Bearer realm=\"https://auth.example/token\",service=\"r.example\","
      "scope=\"repository:a/b:pull,push\"",
      list, 0, 8);
  CHECK(n == 1);
  CHECK_STR(list[0].scheme, "bearer");
  CHECK_STR(list[0].realm, "https://auth.example/token");
  CHECK_STR(list[0].service, "r.example");
  CHECK_STR(list[0].scope, "repository:a/b:pull,push");
  CHECK(!list[0].error);
  oci_challenges_free(list, n);

  n = oci_challenges_parse("Negotiate oYGBMH8=, BASIC Realm = \"a, \\\"b\\\"\" , charset=\"UTF-8\", "
                           "bearer realm=https://x/t,Error=insufficient_scope",
                           list, 0, 8);
  CHECK(n == 3);
  CHECK_STR(list[0].scheme, "negotiate");
  CHECK_STR(list[1].scheme, "basic");
  CHECK_STR(list[1].realm, "a, \"b\"");
  CHECK_STR(list[2].realm, "https://x/t");
  CHECK_STR(list[2].error, "insufficient_scope");
  oci_challenges_free(list, n);

  n = oci_challenges_parse("Basic", list, 0, 8); /* several headers add up, within the bound */
  n = oci_challenges_parse("Digest realm=\"d\", Basic", list, n, 2);
  CHECK(n == 2);
  CHECK_STR(list[1].scheme, "digest");
  oci_challenges_free(list, n);

  CHECK(oci_challenges_parse("", list, 0, 8) == 0);
  CHECK(oci_challenges_parse("=,\"", list, 0, 8) == 0);
  n = oci_challenges_parse("Bearer realm=\"open", list, 0, 8);
  CHECK(n == 1 && !list[0].realm);
  oci_challenges_free(list, n);
}

/* Headers and what the first challenge of them is taken for: scheme, realm, service, scope. */
static void test_challenge_forms(void) {
  static const struct {
    const char *header, *scheme, *realm, *service, *scope;
  } rows[] = {
      {"foo bar", "foo", NULL, NULL, NULL},
      {"Basic realm=\"Test Registry\"", "basic", "Test Registry", NULL, NULL},
      {"Basic", "basic", NULL, NULL, NULL},
      {"Basic  ", "basic", NULL, NULL, NULL},
      {"BaSiC ReAlM=\"any case\"", "basic", "any case", NULL, NULL},
      {"Basic realm=unquoted", "basic", "unquoted", NULL, NULL},
      {"Basic realm=/", "basic", "/", NULL, NULL},
      {"Basic realm=\"never closed", "basic", NULL, NULL, NULL},
      {"Basic realm=\"ends in a backslash\\", "basic", NULL, NULL, NULL},
      {"Bearer", "bearer", NULL, NULL, NULL},
      {"Bearer realm = \"https://a/t\"   ,service=r.example, scope  =\"repository:a/b:pull,push\"  ",
       "bearer", "https://a/t", "r.example", "repository:a/b:pull,push"},
      {"Bearer realm=\"https://a/t\",service=\"r\",scope=\"repository:a:pull,push repository:b:pull\"",
       "bearer", "https://a/t", "r", "repository:a:pull,push repository:b:pull"},
      {"Bearer realm=\"https://a/t\",service", "bearer", "https://a/t", NULL, NULL},
      {"Bearer realm=\"https://a/t\",service=", "bearer", "https://a/t", NULL, NULL},
      {"Bearer realm=\"https://a/t\",service= ", "bearer", "https://a/t", NULL, NULL},
      {"Bearer realm=\"https://a/t\",service=\"open", "bearer", "https://a/t", NULL, NULL},
      {"Bearer realm=\"https://a/t\",other=\"\",service=\"r\"", "bearer", "https://a/t", "r", NULL},
      {"Bearer other=fun,realm=\"he\\\"\\l\\lo\"", "bearer", "he\"llo", NULL, NULL},
      {"Bearer realm=\"one\",realm=\"two\"", "bearer", "one", NULL, NULL},
      {"Bearer service=\"SUSE Linux Docker Registry\",scope=\"registry:catalog:*\",realm=\"https://r/auth\"",
       "bearer", "https://r/auth", "SUSE Linux Docker Registry", "registry:catalog:*"},
  };
  for (size_t i = 0; i < BK_ARRAY_LEN(rows); i++) {
    struct oci_challenge list[8];
    size_t n = oci_challenges_parse(rows[i].header, list, 0, 8);
    CHECK(n >= 1);
    CHECK_STR(list[0].scheme, rows[i].scheme);
    const char *const got[] = {list[0].realm, list[0].service, list[0].scope};
    const char *const want[] = {rows[i].realm, rows[i].service, rows[i].scope};
    for (size_t k = 0; k < BK_ARRAY_LEN(got); k++) {
      CHECK(!got[k] == !want[k]);
      if (got[k] && want[k]) CHECK_STR(got[k], want[k]);
    }
    oci_challenges_free(list, n);
  }
}

static void test_scopes(void) {
  CHECK(oci_scope_covers("repository:a:pull,push", "repository:a:pull"));
  CHECK(oci_scope_covers("repository:a:push,pull", "repository:a:pull,push"));
  CHECK(oci_scope_covers("repository:a:*", "repository:a:delete"));
  CHECK(oci_scope_covers("repository:b:pull repository:a:pull", "repository:a:pull"));
  CHECK(oci_scope_covers("repository:a:pull,*,push", "repository:a:delete"));
  CHECK(oci_scope_covers("repository:a:push,pull,push", "repository:a:pull,push"));
  CHECK(oci_scope_covers("registry:catalog:*", "registry:catalog:pull"));
  CHECK(oci_scope_covers("unknown repository:a:pull", "repository:a:pull"));
  CHECK(oci_scope_covers("repository:host:5000/a:pull", "repository:host:5000/a:pull"));
  CHECK(!oci_scope_covers("repository:a:,", "repository:a:pull"));
  CHECK(!oci_scope_covers("repository:a:p*", "repository:a:pull"));
  CHECK(oci_scope_covers("x", ""));
  CHECK(!oci_scope_covers("repository:a:pull", "repository:a:pull,push"));
  CHECK(!oci_scope_covers("repository:ab:pull", "repository:a:pull"));
  CHECK(!oci_scope_covers("repository:a:pull", "repository:a:pull repository:b:pull"));
  CHECK(!oci_scope_covers("", "repository:a:pull"));
  CHECK(!oci_scope_covers("repository:a:pullpush", "repository:a:pull"));
}

static void test_token_age(void) {
  static const struct {
    const char *issued_at;
    time_t age;
  } rows[] = {{"2026-01-02T03:04:05Z", 60},          {"2026-01-02T03:04:05.123456789Z", 60},
              {"2026-01-02T05:04:05+02:00", 60},     {"2026-01-01T21:34:05-05:30", 60},
              {"2026-01-02T03:05:05Z", 0},           {"2026-01-02T03:06:05Z", 0},
              {"2026-01-02T03:00:30Z", 275},         {"2026-01-02T03:00:24Z", 0}, /* nothing would be left */
              {"2025-01-02T03:04:05Z", 0},           {"2026-01-02 03:04:05Z", 0},
              {"2026-01-02T03:04:05", 0},            {"yesterday", 0},
              {"", 0},                               {NULL, 0}};
  for (size_t i = 0; i < BK_ARRAY_LEN(rows); i++)
    CHECK(oci_token_age(rows[i].issued_at, 300, 1767323105) == rows[i].age);
}

static void test_base64(void) {
  static const char *const cases[][2] = {{"", ""},         {"Zg==", "f"},   {"Zm8", "fo"},
                                         {"Zm9v", "foo"},  {"Zm9v\n", "foo"}, {"dTpwOnE=", "u:p:q"}};
  for (size_t i = 0; i < BK_ARRAY_LEN(cases); i++) {
    size_t n = 99;
    char *out = oci_base64(cases[i][0], strlen(cases[i][0]), &n);
    CHECK_STR(out, cases[i][1]);
    CHECK(n == strlen(cases[i][1]));
    free(out);
  }
  CHECK(!oci_base64("A", 1, NULL));
  CHECK(!oci_base64("a b=", 4, NULL));
}

static void test_fallback_tag(void) {
  char *tag = bk_oci_fallback_tag("sha256:abc");
  CHECK_STR(tag, "sha256-abc");
  free(tag);
  char digest[140] = "sha512:";
  memset(digest + 7, 'f', 128);
  tag = bk_oci_fallback_tag(digest); /* 64 characters of the hash */
  CHECK(strlen(tag) == 7 + 64);
  free(tag);
}

static void test_hosts(void) {
  static const char *const loopback[] = {"localhost", "LOCALHOST:5000", "a.localhost", "127.9.9.9",
                                         "[::1]:80", "127.1", "0x7f000001", "localhost."};
  static const char *const private[] = {"10.0.0.1", "172.16.0.1:5000", "192.168.1.1", "169.254.1.1",
                                        "100.64.0.1", "0.0.0.0", "[fe80::1]", "[fd00::1]",
                                        "[::ffff:10.0.0.1]", "[::]"};
  static const char *const public[] = {"ghcr.io", "localhost.example", "8.8.8.8", "172.32.0.1",
                                       "100.128.0.1", "[2001:db8::1]", "notlocalhost"};
  for (size_t i = 0; i < BK_ARRAY_LEN(loopback); i++) {
    CHECK(bk_http_is_loopback(loopback[i]));
    CHECK(bk_http_is_private(loopback[i]));
  }
  for (size_t i = 0; i < BK_ARRAY_LEN(private); i++) {
    CHECK(!bk_http_is_loopback(private[i]));
    CHECK(bk_http_is_private(private[i]));
  }
  for (size_t i = 0; i < BK_ARRAY_LEN(public); i++) CHECK(!bk_http_is_private(public[i]));
}

int main(void) {
  test_challenges();
  test_challenge_forms();
  test_scopes();
  test_token_age();
  test_base64();
  test_fallback_tag();
  test_hosts();
  return UNIT_END();
}
