#include "yaml/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/map.h"

enum { MAX_DEPTH = 100, MAX_NODES = 1000000, MAX_TEXT = 64 << 20 };

struct reader {
  yaml_parser_t parser;
  yaml_event_t event;
  bool have_event;
  const char *name, *text;
  size_t len;
  struct bk_yaml *doc;
  struct bk_map anchors; /* name -> struct anchored * */
  size_t nodes;
  struct bk_err *err;
};

struct anchored {
  struct bk_yaml_node *node;
  size_t weight; /* nodes below it, aliases expanded */
  bool open;     /* still being read: an alias to it would be a cycle */
};

/* libyaml counts marks in characters: fix_offsets makes bytes of them at the end. */
static struct bk_yaml_mark mark_of(const yaml_mark_t *m) {
  struct bk_yaml_mark out = {.line = m->line + 1, .col = m->column + 1, .offset = m->index};
  return out;
}

static int fail_at(struct reader *r, size_t line, size_t col, const char *code, const char *message) {
  bk_fail(r->err, BK_USAGE, code, "%s", message);
  return bk_err_where(r->err, "%s:%zu:%zu", r->name, line, col);
}

static int fail_node(struct reader *r, const yaml_mark_t *m, const char *code, const char *message) {
  return fail_at(r, m->line + 1, m->column + 1, code, message);
}

static int next(struct reader *r) {
  if (r->have_event) yaml_event_delete(&r->event);
  r->have_event = false;
  if (yaml_parser_parse(&r->parser, &r->event)) {
    r->have_event = true;
    return 0;
  }
  const yaml_parser_t *p = &r->parser;
  const yaml_mark_t *m = p->error == YAML_READER_ERROR ? &p->mark : &p->problem_mark;
  if (p->error == YAML_MEMORY_ERROR) return fail_node(r, &p->mark, "yaml.memory", "out of memory");
  char text[300];
  snprintf(text, sizeof text, "%s%s%s", p->problem ? p->problem : "bad YAML",
           p->context ? " " : "", p->context ? p->context : "");
  return fail_node(r, m, "yaml.syntax", text);
}

static int count(struct reader *r, size_t n, const yaml_mark_t *m) {
  if (n > MAX_NODES || r->nodes > MAX_NODES - n)
    return fail_node(r, m, "yaml.too_large", "more than 1000000 nodes (with aliases expanded)");
  r->nodes += n;
  return 0;
}

static const char *keep(struct reader *r, const yaml_char_t *s) {
  return s ? bk_arena_strndup(&r->doc->arena, (const char *)s, strlen((const char *)s)) : NULL;
}

static int read_node(struct reader *r, int depth, struct bk_yaml_node **out);

static const char *const styles[] = {"plain", "plain", "single", "double", "literal", "folded"};

static void read_scalar(struct reader *r, struct bk_yaml_node *n) {
  const yaml_event_t *e = &r->event;
  n->kind = BK_YAML_SCALAR;
  n->len = e->data.scalar.length;
  n->text = bk_arena_strndup(&r->doc->arena, (const char *)e->data.scalar.value, n->len);
  unsigned style = (unsigned)e->data.scalar.style;
  n->style = styles[style < BK_ARRAY_LEN(styles) ? style : 0];
  n->tag = keep(r, e->data.scalar.tag);
  bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  if (n->tag && strcmp(n->tag, YAML_STR_TAG) == 0) n->type = BK_YAML_STR;
  else if (plain || (n->tag && strncmp(n->tag, "tag:yaml.org,2002:", 18) == 0))
    n->type = bk_yaml_resolve(n->text, n->len, n);
  else n->type = BK_YAML_STR;
}

static void push_item(struct bk_yaml_node ***items, size_t *n, size_t *cap, struct bk_yaml_node *item) {
  if (*n == *cap) *items = bk_reallocarray(*items, *cap = *cap ? *cap * 2 : 8, sizeof **items);
  (*items)[(*n)++] = item;
}

/* Items until the end event; the list moves into the arena. */
static int read_items(struct reader *r, int depth, yaml_event_type_t end, struct bk_yaml_node *n) {
  struct bk_yaml_node **items = NULL;
  size_t count_ = 0, cap = 0;
  for (;;) {
    if (next(r)) goto fail;
    if (r->event.type == end) break;
    struct bk_yaml_node *item;
    if (read_node(r, depth + 1, &item)) goto fail;
    push_item(&items, &count_, &cap, item);
  }
  n->count = count_;
  n->items = bk_arena_alloc(&r->doc->arena, (count_ + 1) * sizeof *items);
  if (count_) memcpy(n->items, items, count_ * sizeof *items);
  free(items);
  return 0;
fail:
  free(items);
  return -1;
}

static bool is_merge(const struct bk_yaml_node *key) {
  return key->kind == BK_YAML_SCALAR && strcmp(key->style, "plain") == 0 && strcmp(key->text, "<<") == 0;
}

static int dup_key(struct reader *r, const struct bk_yaml_node *key, const struct bk_yaml_node *first) {
  char text[200];
  snprintf(text, sizeof text, "duplicate key '%.80s' (first at line %zu)", key->text, first->start.line);
  return fail_at(r, key->start.line, key->start.col, "yaml.duplicate_key", text);
}

/* Adds what a merge source has and the map lacks. */
static int merge_from(struct reader *r, struct bk_yaml_node *n, struct bk_map *seen,
                      const struct bk_yaml_node *key, const struct bk_yaml_node *from) {
  if (from->kind == BK_YAML_SEQ) {
    for (size_t i = 0; i < from->count; i++) {
      if (from->items[i]->kind != BK_YAML_MAP) break;
      if (merge_from(r, n, seen, key, from->items[i])) return -1;
      if (i + 1 == from->count) return 0;
    }
    if (from->count == 0) return 0;
  }
  if (from->kind != BK_YAML_MAP)
    return fail_at(r, key->start.line, key->start.col, "yaml.merge", "'<<' needs a mapping or a list of mappings");
  struct bk_yaml_pair *grown = bk_arena_alloc(&r->doc->arena, (n->count + from->count + 1) * sizeof *grown);
  if (n->count) memcpy(grown, n->pairs, n->count * sizeof *grown);
  for (size_t i = 0; i < from->count; i++) {
    const struct bk_yaml_pair *p = &from->pairs[i];
    if (p->key->kind != BK_YAML_SCALAR || bk_map_has(seen, p->key->text, p->key->len)) continue;
    bk_map_set(seen, p->key->text, p->key->len, p->key);
    grown[n->count++] = (struct bk_yaml_pair){p->key, p->value, true};
  }
  n->pairs = grown;
  return 0;
}

static int read_map(struct reader *r, int depth, struct bk_yaml_node *n) {
  if (read_items(r, depth, YAML_MAPPING_END_EVENT, n)) return -1;
  size_t pairs = n->count / 2;
  struct bk_yaml_node **items = n->items;
  n->items = NULL;
  n->pairs = bk_arena_alloc(&r->doc->arena, (pairs + 1) * sizeof *n->pairs);
  n->count = 0;
  struct bk_map seen = {0};
  int rc = 0;
  for (size_t i = 0; i < pairs && rc == 0; i++) {
    struct bk_yaml_node *key = items[2 * i];
    if (is_merge(key)) continue;
    if (key->kind != BK_YAML_SCALAR) {
      rc = fail_at(r, key->start.line, key->start.col, "yaml.key", "expected a plain key, found a list or mapping");
      break;
    }
    struct bk_yaml_node *first = bk_map_set(&seen, key->text, key->len, key);
    if (first) rc = dup_key(r, key, first);
    n->pairs[n->count++] = (struct bk_yaml_pair){key, items[2 * i + 1], false};
  }
  for (size_t i = 0; i < pairs && rc == 0; i++)
    if (is_merge(items[2 * i])) rc = merge_from(r, n, &seen, items[2 * i], items[2 * i + 1]);
  bk_map_free(&seen);
  return rc;
}

static int read_alias(struct reader *r, struct bk_yaml_node **out) {
  const char *name = (const char *)r->event.data.alias.anchor;
  struct anchored *a = bk_map_get(&r->anchors, name, strlen(name));
  char text[160];
  if (!a) {
    snprintf(text, sizeof text, "unknown anchor '%.80s'", name);
    return fail_node(r, &r->event.start_mark, "yaml.alias", text);
  }
  if (a->open) {
    snprintf(text, sizeof text, "anchor '%.80s' contains itself", name);
    return fail_node(r, &r->event.start_mark, "yaml.alias", text);
  }
  *out = a->node;
  return count(r, a->weight, &r->event.start_mark);
}

static int read_node(struct reader *r, int depth, struct bk_yaml_node **out) {
  const yaml_event_t *e = &r->event;
  if (e->type == YAML_ALIAS_EVENT) return read_alias(r, out);
  if (depth > MAX_DEPTH) return fail_node(r, &e->start_mark, "yaml.too_deep", "nested deeper than 100 levels");
  if (count(r, 1, &e->start_mark)) return -1;
  struct bk_yaml_node *n = bk_arena_alloc(&r->doc->arena, sizeof *n);
  *out = n;
  n->start = mark_of(&e->start_mark);
  n->end = mark_of(&e->end_mark);
  struct anchored *a = NULL;
  const yaml_char_t *anchor = e->type == YAML_SCALAR_EVENT         ? e->data.scalar.anchor
                              : e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor
                                                                     : e->data.mapping_start.anchor;
  size_t before = r->nodes;
  if (anchor) {
    n->anchor = keep(r, anchor);
    a = bk_arena_alloc(&r->doc->arena, sizeof *a);
    *a = (struct anchored){.node = n, .open = true};
    bk_map_set(&r->anchors, n->anchor, strlen(n->anchor), a);
  }
  int rc = 0;
  if (e->type == YAML_SCALAR_EVENT) {
    read_scalar(r, n);
  } else if (e->type == YAML_SEQUENCE_START_EVENT) {
    n->kind = BK_YAML_SEQ;
    n->tag = keep(r, e->data.sequence_start.tag);
    n->flow = e->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
    rc = read_items(r, depth, YAML_SEQUENCE_END_EVENT, n);
  } else {
    n->kind = BK_YAML_MAP;
    n->tag = keep(r, e->data.mapping_start.tag);
    n->flow = e->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
    rc = read_map(r, depth, n);
  }
  if (rc) return -1;
  if (n->kind != BK_YAML_SCALAR) n->end = mark_of(&r->event.end_mark);
  if (a) {
    a->open = false;
    a->weight = r->nodes - before + 1;
  }
  return 0;
}

/* Bytes that `chars` characters take at the start of text. */
static size_t byte_offset(const char *text, size_t len, size_t chars) {
  size_t i = 0;
  for (; i < len && chars; chars--) {
    i++;
    while (i < len && ((unsigned char)text[i] & 0xc0) == 0x80) i++;
  }
  return i;
}

struct drift {
  const size_t *table; /* byte offset of every 64th character */
  const char *text;
  size_t len;
};

static size_t lookup(const struct drift *d, size_t chars) {
  size_t base = d->table[chars / 64];
  return base + byte_offset(d->text + base, d->len - base, chars % 64);
}

static void to_bytes(const struct drift *d, struct bk_yaml_node *n) {
  if (n->end.line & ((size_t)1 << 62)) return; /* an alias: done already */
  n->end.line |= (size_t)1 << 62;
  n->start.offset = lookup(d, n->start.offset);
  n->end.offset = lookup(d, n->end.offset);
  for (size_t i = 0; i < n->count; i++) {
    if (n->kind == BK_YAML_SEQ) to_bytes(d, n->items[i]);
    else to_bytes(d, n->pairs[i].key), to_bytes(d, n->pairs[i].value);
  }
}

static void clear_flags(struct bk_yaml_node *n) {
  if (!(n->end.line & ((size_t)1 << 62))) return;
  n->end.line &= ~((size_t)1 << 62);
  for (size_t i = 0; i < n->count; i++) {
    if (n->kind == BK_YAML_SEQ) clear_flags(n->items[i]);
    else clear_flags(n->pairs[i].key), clear_flags(n->pairs[i].value);
  }
}

static void fix_offsets(const struct reader *r) {
  bool ascii = true;
  for (size_t i = 0; i < r->len && ascii; i++) ascii = !((unsigned char)r->text[i] & 0x80);
  if (ascii || !r->doc->root) return;
  size_t skip = r->len >= 3 && memcmp(r->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* the BOM is not counted */
  size_t *table = bk_calloc(r->len / 64 + 2, sizeof *table), chars = 0, i = skip;
  table[0] = skip;
  while (i < r->len) {
    i++;
    while (i < r->len && ((unsigned char)r->text[i] & 0xc0) == 0x80) i++;
    if (++chars % 64 == 0) table[chars / 64] = i;
  }
  struct drift d = {.table = table, .text = r->text, .len = r->len};
  to_bytes(&d, r->doc->root);
  clear_flags(r->doc->root);
  free(table);
}

static int read_document(struct reader *r) {
  if (next(r) || next(r)) return -1; /* stream start, document start or stream end */
  if (r->event.type == YAML_STREAM_END_EVENT) return 0;
  if (next(r) || read_node(r, 0, &r->doc->root)) return -1;
  if (next(r) || next(r)) return -1; /* document end, then the end of the stream */
  if (r->event.type != YAML_STREAM_END_EVENT)
    return fail_node(r, &r->event.start_mark, "yaml.documents", "expected one document, found another");
  fix_offsets(r);
  return 0;
}

int bk_yaml_parse(const char *text, size_t len, const char *name, struct bk_yaml *out,
                  struct bk_err *err) {
  struct reader r = {.name = name, .text = text, .len = len, .doc = out, .err = err};
  *out = (struct bk_yaml){0};
  if (len > MAX_TEXT) return fail_at(&r, 1, 1, "yaml.too_large", "more than 64 MiB");
  if (!yaml_parser_initialize(&r.parser)) return fail_at(&r, 1, 1, "yaml.memory", "out of memory");
  yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
  yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
  int rc = read_document(&r);
  if (r.have_event) yaml_event_delete(&r.event);
  yaml_parser_delete(&r.parser);
  bk_map_free(&r.anchors);
  if (rc) bk_yaml_free(out);
  return rc;
}

void bk_yaml_free(struct bk_yaml *doc) {
  bk_arena_free(&doc->arena);
  doc->root = NULL;
}
