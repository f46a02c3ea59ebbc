#include "json/json.h"
#include "unit/unit.h"

static const char *real(double v) {
  static char text[40];
  struct bk_buf b = {0};
  if (!bk_json_real(&b, v)) bk_buf_adds(&b, "none");
  snprintf(text, sizeof text, "%s", bk_buf_str(&b));
  bk_buf_free(&b);
  return text;
}

static void test_numbers(void) {
  CHECK_STR(real(0), "0.0");
  CHECK_STR(real(-0.0), "-0.0");
  CHECK_STR(real(100), "100.0");
  CHECK_STR(real(0.1 + 0.2), "0.30000000000000004");
  CHECK_STR(real(1e15), "1000000000000000.0");
  CHECK_STR(real(9007199254740993.0), "9007199254740992.0");
  CHECK_STR(real(1e16), "1e+16");
  CHECK_STR(real(1.5e300), "1.5e+300");
  CHECK_STR(real(0.00012), "0.00012");
  CHECK_STR(real(0.000012), "1.2e-05");
  CHECK_STR(real(5e-324), "5e-324");
  CHECK_STR(real(1.0 / 0.0), "none");
  CHECK_STR(real(0.0 / 0.0), "none");
}

static void test_quote(void) {
  struct bk_buf b = {0};
  CHECK(bk_json_quote(&b, "a\"\0\x1f\xc3\xbc", 6, false));
  CHECK_STR(bk_buf_str(&b), "\"a\\\"\\u0000\\u001f\xc3\xbc\"");
  bk_buf_reset(&b);
  CHECK(!bk_json_quote(&b, "a\xc3", 2, false));
  bk_buf_reset(&b);
  CHECK(bk_json_quote(&b, "\xe2\x82 \xff", 4, true));
  CHECK_STR(bk_buf_str(&b), "\"\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\"");
  bk_buf_free(&b);
}

static void test_parse(void) {
  struct bk_err err;
  json_t *v;
  CHECK(bk_json_parse("{\"a\":[1]}", 9, "x", 0, &v, &err) == 0);
  CHECK(json_integer_value(json_array_get(json_object_get(v, "a"), 0)) == 1);
  json_decref(v);
  CHECK(bk_json_parse("{\"a\":1,\"a\":2}", 13, "x", BK_JSON_UNIQUE, &v, &err) == -1);
  CHECK(v == NULL);
  CHECK_STR(err.code, "json.syntax");
  CHECK_STR(err.where, "x:1:8");
}

int main(void) {
  test_numbers();
  test_quote();
  test_parse();
  return UNIT_END();
}
