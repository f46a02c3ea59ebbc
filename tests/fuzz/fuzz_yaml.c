/* What parses is written and read again, and edited at places that the input picks: `TEXT` is a
 * document, its bytes also choose the edits. The editor itself checks that only the change happens;
 * here the invariants of positions are checked, and that a failed edit leaves the text alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "yaml/yaml_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

static void positions(const struct bk_yaml_node *n, size_t size) {
  REQUIRE(n->start.offset <= n->end.offset && n->end.offset <= size);
  REQUIRE(n->start.line >= 1 && n->start.col >= 1 && n->end.line >= n->start.line);
  if (n->alias) return;
  for (size_t i = 0; i < n->count; i++) {
    if (n->kind == BK_YAML_SEQ) positions(n->items[i], size);
    else if (!n->pairs[i].merged) positions(n->pairs[i].key, size), positions(n->pairs[i].value, size);
  }
}

/* A writer of values has no tags, and no keys that are not texts. */
static bool is_writable(const struct bk_yaml_node *n) {
  if (n->tag) return false;
  if (n->kind == BK_YAML_SCALAR) return bk_utf8_valid(n->text, n->len) && n->type != BK_YAML_DATE;
  for (size_t i = 0; i < n->count; i++) {
    if (n->kind == BK_YAML_SEQ && !is_writable(n->items[i])) return false;
    if (n->kind == BK_YAML_SEQ) continue;
    const struct bk_yaml_node *key = n->pairs[i].key;
    if (key->type != BK_YAML_STR || !is_writable(key) || !is_writable(n->pairs[i].value)) return false;
  }
  return true;
}

static void write_again(const struct bk_yaml_node *root, uint8_t seed) {
  struct bk_yaml_layout layout = {.indent = 1 + seed % 4, .seq_offset = seed % 3};
  struct bk_buf out = {.max = 1 << 22};
  struct bk_yaml again;
  struct bk_err err;
  bk_yaml_emit(&out, root, 0, &layout);
  bk_buf_addc(&out, '\n');
  if (!out.overflow) {
    REQUIRE(bk_yaml_parse(out.p, out.len, "again", &again, &err) == 0);
    REQUIRE(again.root && bk_yaml_equal(root, again.root));
    bk_yaml_free(&again);
  }
  bk_buf_free(&out);
}

/* A path into the tree, chosen by bytes of the input. */
static size_t choose(const struct bk_yaml_node *n, const uint8_t **p, const uint8_t *end,
                     struct bk_yaml_step path[8]) {
  size_t depth = 0;
  while (depth < 8 && *p < end && n->kind != BK_YAML_SCALAR && n->count && **p % 5) {
    size_t i = *(*p)++ % n->count;
    path[depth] = (struct bk_yaml_step){.index = i + 1};
    if (n->kind == BK_YAML_MAP) {
      path[depth].key = n->pairs[i].key->text;
      path[depth].len = n->pairs[i].key->len;
    }
    n = n->kind == BK_YAML_MAP ? n->pairs[i].value : n->items[i];
    depth++;
  }
  return depth;
}

static void edit_once(struct bk_yaml_edit *e, const uint8_t **p, const uint8_t *end,
                      const struct bk_yaml_node *value) {
  struct bk_yaml_step path[8], at = {.key = "new key", .len = 7};
  struct bk_err err;
  const uint8_t op = *(*p)++;
  size_t n = choose(e->doc.root, p, end, path);
  char *before = bk_strndup(e->text.p, e->text.len);
  size_t len = e->text.len;
  if (op & 4) at = (struct bk_yaml_step){.index = op >> 3};
  int rc = op % 3 == 0   ? bk_yaml_edit_set(e, path, n, value, &err)
           : op % 3 == 1 ? bk_yaml_edit_insert(e, path, n, &at, value, &err)
                         : bk_yaml_edit_remove(e, path, n, &err);
  if (rc) REQUIRE(len == e->text.len && memcmp(before, e->text.p, len) == 0 && err.code[0]);
  if (e->doc.root) positions(e->doc.root, e->text.len);
  free(before);
}

static void edit(const char *text, size_t size) {
  static const char *const values[] = {"plain", "[]", "{a: [x, {b: c}], d: yes}", "'# no'", "~",
                                       "|\n  two\n  lines\n", "- a\n- b: c\n  d: e"};
  const uint8_t *p = (const uint8_t *)text, *end = p + size;
  struct bk_yaml_edit e;
  struct bk_yaml value;
  struct bk_err err;
  if (size == 0 || bk_yaml_edit_open(&e, text, size, "edit", &err)) return;
  for (int i = 0; i < 6 && p + 1 < end && e.doc.root; i++) {
    const char *v = values[*p++ % BK_ARRAY_LEN(values)];
    REQUIRE(bk_yaml_parse(v, strlen(v), "value", &value, &err) == 0);
    edit_once(&e, &p, end, value.root);
    bk_yaml_free(&value);
  }
  bk_yaml_edit_free(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  struct bk_yaml doc;
  struct bk_err err;
  if (bk_yaml_parse(text, size, "fuzz", &doc, &err)) {
    REQUIRE(err.code[0] && strncmp(err.where, "fuzz:", 5) == 0);
    return 0;
  }
  if (doc.root) {
    positions(doc.root, size);
    if (is_writable(doc.root)) write_again(doc.root, size ? data[size / 2] : 0);
  }
  bk_yaml_free(&doc);
  if (size < 20000) edit(text, size);
  return 0;
}
