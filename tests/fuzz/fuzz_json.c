/* What parses is written out by jansson and read again: both trees must be equal. Strings and
 * numbers also go through our writer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

/* Our literal reads back as the same value. */
static void literal(const json_t *v) {
  struct bk_buf b = {0};
  struct bk_err err;
  json_t *again;
  if (json_is_real(v)) REQUIRE(bk_json_real(&b, json_real_value(v)));
  else REQUIRE(bk_json_quote(&b, json_string_value(v), json_string_length(v), false));
  REQUIRE(bk_json_parse(b.p, b.len, "literal", 0, &again, &err) == 0);
  REQUIRE(json_equal(v, again));
  json_decref(again);
  bk_buf_free(&b);
}

static void visit(json_t *v) {
  const char *key;
  json_t *item;
  size_t i;
  if (json_is_string(v) || json_is_real(v)) literal(v);
  json_object_foreach(v, key, item) visit(item);
  json_array_foreach(v, i, item) visit(item);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  struct bk_err err;
  json_t *v;
  for (int flags = 0; flags <= BK_JSON_UNIQUE; flags++) {
    if (bk_json_parse(text, size, "fuzz", flags, &v, &err)) {
      REQUIRE(v == NULL && err.code[0] && strncmp(err.where, "fuzz:", 5) == 0);
      continue;
    }
    visit(v);
    json_decref(v);
  }
  struct bk_buf b = {0};
  REQUIRE(bk_json_quote(&b, text, size, true));
  REQUIRE(bk_json_parse(b.p, b.len, "quoted", 0, &v, &err) == 0);
  json_decref(v);
  bk_buf_free(&b);
  return 0;
}
