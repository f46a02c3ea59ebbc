/* URLs: parse, redaction, private addresses. Input is `BASE\nURL` or one URL. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = bk_strndup((const char *)data, size), shown[300];
  char *nl = strchr(text, '\n');
  if (nl) *nl = '\0';
  struct bk_http_url u, again;
  struct bk_err err;
  bk_http_redact(shown, sizeof shown, text);
  REQUIRE(strlen(shown) <= strlen(text));
  if (bk_http_url_parse(&u, nl ? text : NULL, nl ? nl + 1 : text, &err) == 0) {
    REQUIRE(strncmp(u.text, "http", 4) == 0 && *u.host && *u.port && *u.path == '/');
    REQUIRE(!strpbrk(u.text, "\r\n"));
    (void)bk_http_is_private(u.host);
    if (bk_http_is_loopback(u.host)) REQUIRE(bk_http_is_private(u.host));
    REQUIRE(bk_http_url_parse(&again, NULL, u.text, &err) == 0);
    REQUIRE(bk_http_same_origin(&u, &again) && !again.user);
    bk_http_url_free(&again);
    bk_http_url_free(&u);
  }
  free(text);
  return 0;
}
