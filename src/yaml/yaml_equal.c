#include <string.h>

#include "yaml/yaml.h"

const struct bk_yaml_pair *bk_yaml_get(const struct bk_yaml_node *map, const char *key,
                                       size_t len) {
  for (size_t i = 0; map->kind == BK_YAML_MAP && i < map->count; i++)
    if (map->pairs[i].key->len == len && memcmp(map->pairs[i].key->text, key, len) == 0)
      return &map->pairs[i];
  return NULL;
}

static bool same_scalar(const struct bk_yaml_node *a, const struct bk_yaml_node *b) {
  if (a->type != b->type) return false;
  switch (a->type) {
    case BK_YAML_INT: return a->as.i == b->as.i;
    case BK_YAML_BOOL: return a->as.b == b->as.b;
    case BK_YAML_NULL: return true;
    case BK_YAML_FLOAT: return memcmp(&a->as.f, &b->as.f, sizeof a->as.f) == 0;
    default: return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
  }
}

bool bk_yaml_equal(const struct bk_yaml_node *a, const struct bk_yaml_node *b) {
  if (a->kind != b->kind) return false;
  if (a->kind == BK_YAML_SCALAR) return same_scalar(a, b);
  if (a->count != b->count) return false;
  for (size_t i = 0; i < a->count; i++) {
    if (a->kind == BK_YAML_SEQ) {
      if (!bk_yaml_equal(a->items[i], b->items[i])) return false;
      continue;
    }
    const struct bk_yaml_node *key = a->pairs[i].key;
    const struct bk_yaml_pair *p = &b->pairs[i]; /* mostly in the same order */
    if (p->key->len != key->len || memcmp(p->key->text, key->text, key->len) != 0)
      p = bk_yaml_get(b, key->text, key->len);
    if (!p || !bk_yaml_equal(a->pairs[i].value, p->value)) return false;
  }
  return true;
}
