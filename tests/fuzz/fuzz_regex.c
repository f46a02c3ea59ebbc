/* Patterns, subjects and replacements: input is `PATTERN\nREPLACEMENT\nSUBJECT`. Interpreter and
 * machine code must agree, and matches must lie inside the subject. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "regex/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

struct text {
  char *p;
  size_t n;
};

/* An exact copy of the next line, so that a read past either end is seen. */
static struct text line(const uint8_t **data, size_t *size, size_t max) {
  const uint8_t *nl = *size ? memchr(*data, '\n', *size) : NULL;
  size_t n = nl ? (size_t)(nl - *data) : *size, step = nl ? n + 1 : n;
  struct text t = {bk_malloc(n ? n : 1), n < max ? n : max};
  if (t.n) memcpy(t.p, *data, t.n);
  *data += step;
  *size -= step;
  return t;
}

static void all_matches(struct bk_regex *re, struct text s, struct text repl) {
  struct bk_err err;
  size_t from = 0, to = 0;
  bool good = bk_regex_expand(re, NULL, repl.p, repl.n, NULL, &err) == 0;
  struct bk_buf out = {.max = 1 << 20};
  for (int how = 0, i = 0; i < 20; i++) {
    if (bk_regex_search(re, s.p, s.n, to, how, &err) <= 0) break;
    if (!bk_regex_group(re, 0, &from, &to)) break;
    REQUIRE(from <= to && to <= s.n);
    if (good) REQUIRE(bk_regex_expand(re, s.p, repl.p, repl.n, &out, &err) == 0);
    how = BK_REGEX_CHECKED | (from == to ? BK_REGEX_ADVANCE : 0);
  }
  bk_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct text pattern = line(&data, &size, 60), repl = line(&data, &size, 100), s = line(&data, &size, 100);
  struct bk_regex re;
  struct bk_err err;
  if (bk_regex_compile(&re, pattern.p, pattern.n, "", &err) == 0) {
    size_t a = 0, b = 0, c = 0, d = 0;
    int first = bk_regex_search(&re, s.p, s.n, 0, 0, &err), last = 0;
    if (first > 0) bk_regex_group(&re, 0, &a, &b);
    for (int i = 0; i < 9 && first >= 0; i++) last = bk_regex_search(&re, s.p, s.n, 0, 0, &err);
    if (last > 0) bk_regex_group(&re, 0, &c, &d);
    /* Only running into the limit may differ: the two count steps in their own way. */
    if (first >= 0 && last >= 0) REQUIRE(first == last && a == c && b == d);
    all_matches(&re, s, repl);
    bk_regex_free(&re);
  } else {
    REQUIRE(err.code[0] && re.error_offset <= pattern.n);
  }
  free(pattern.p);
  free(repl.p);
  free(s.p);
  return 0;
}
