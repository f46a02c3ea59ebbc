/* Templates from bytes: the first byte chooses the options, a record separator (0x1e) ends the main
 * template and begins those that include and import find as a, b, c. */
#include <string.h>

#include "template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *parts[4];
static size_t lens[4];

static int load(void *ud, const char *name, size_t len, struct bk_buf *text, struct bk_err *err) {
  (void)ud;
  (void)err;
  if (len != 1 || name[0] < 'a' || name[0] > 'c' || !parts[name[0] - 'a' + 1]) return 0;
  bk_buf_add(text, parts[name[0] - 'a' + 1], lens[name[0] - 'a' + 1]);
  return 1;
}

static int fill(void *ud, struct bk_tpl_run *r, bk_tv c, int64_t lazy, struct bk_err *err) {
  (void)ud;
  (void)err;
  if (c.kind == TV_LIST) {
    for (int i = 0; i < 3; i++) bk_tv_push(r, c, bk_tv_int(i));
    if (lazy < 4) bk_tv_push(r, c, bk_tv_list(r, lazy + 1));
    return 0;
  }
  bk_tv_put(r, c, bk_tv_text("x", 1), bk_tv_float(1.5));
  bk_tv_put(r, c, bk_tv_text("s", 1), bk_tv_text("a b\xc3\xa9", 5));
  bk_tv_put(r, c, bk_tv_text("n", 1), bk_tv_none());
  if (lazy < 4) {
    bk_tv_put(r, c, bk_tv_text("l", 1), bk_tv_list(r, lazy + 1));
    bk_tv_put(r, c, bk_tv_text("d", 1), bk_tv_dict(r, lazy + 1));
  }
  return 0;
}

static void split(const char *p, size_t n) {
  memset(parts, 0, sizeof parts);
  for (int i = 0; i < 4; i++) {
    const char *end = i < 3 && n ? memchr(p, 0x1e, n) : NULL;
    parts[i] = p;
    lens[i] = end ? (size_t)(end - p) : n;
    if (!end) return;
    n -= lens[i] + 1;
    p = end + 1;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct bk_err err = {0};
  uint8_t flags = size ? data[0] : 0;
  struct bk_tpl_options o = {
      .strict = flags & 1, .keep_trailing_newline = flags & 2, .trim_blocks = flags & 4,
      .lstrip_blocks = flags & 8, .bakery = !(flags & 16),
      .line_statement = flags & 32 ? "#" : NULL, .line_comment = flags & 64 ? "##" : NULL,
      .limits = {.depth = 40, .output = 1 << 18, .memory = 8 << 20, .steps = 5000, .range = 5000,
                 .seconds = 2}};
  struct bk_tpl_host host = {.load = load, .fill = fill};
  split((const char *)data + (size ? 1 : 0), size ? size - 1 : 0);
  struct bk_tpl_env *env = bk_tpl_env_new(&o);
  struct bk_tpl *tpl = bk_tpl_compile(env, "fuzz", parts[0], lens[0], &err);
  if (tpl) {
    struct bk_tpl_run *r = bk_tpl_run_new(env, &host);
    size_t n;
    bk_tv vars = bk_tv_dict(r, 1), globals = bk_tv_dict(r, 0);
    if (bk_tpl_render(r, tpl, vars, globals, &err) == 0) bk_tpl_output(r, &n);
    bk_tpl_run_free(r);
  }
  bk_tpl_unref(tpl);
  bk_tpl_env_free(env);
  return 0;
}
