#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/map.h"
#include "yaml/yaml.h"
#include "yaml/yaml_problem.h"

enum { MAX_NODES = 1000000, MAX_TEXT = 64 << 20 };

struct reader {
  yaml_parser_t parser;
  yaml_event_t event;
  bool have_event;
  const char *name, *text;
  size_t len;
  size_t chars, bytes; /* the same place of the text, see mark_of */
  struct bk_yaml *doc;
  struct bk_map anchors; /* name -> struct anchored * */
  size_t nodes;
  struct bk_err *err;
};

struct anchored {
  struct bk_yaml_node *node;
  size_t weight; /* nodes below it, aliases expanded */
  int height;    /* levels below it */
  bool open;     /* still being read: an alias to it would be a cycle */
};

static bool is_tail(char c) { return ((unsigned char)c & 0xc0) == 0x80; }

/* libyaml counts characters. Marks come nearly in order, so walking from the last one is cheap. */
static struct bk_yaml_mark mark_of(struct reader *r, const yaml_mark_t *m) {
  while (r->chars < m->index && r->bytes < r->len) {
    r->chars++;
    r->bytes++;
    while (r->bytes < r->len && is_tail(r->text[r->bytes])) r->bytes++;
  }
  while (r->chars > m->index && r->bytes > 0) {
    r->chars--;
    r->bytes--;
    while (r->bytes > 0 && is_tail(r->text[r->bytes])) r->bytes--;
  }
  return (struct bk_yaml_mark){.line = m->line + 1, .col = m->column + 1, .offset = r->bytes};
}

static int fail_at(struct reader *r, size_t line, size_t col, const char *code,
                   const char *message) {
  bk_fail(r->err, BK_USAGE, code, "%s", message);
  return bk_err_where(r->err, "%.200s:%zu:%zu", r->name, line, col);
}

static int fail_mark(struct reader *r, const yaml_mark_t *m, const char *code,
                     const char *message) {
  return fail_at(r, m->line + 1, m->column + 1, code, message);
}

static int fail_node(struct reader *r, const struct bk_yaml_node *n, const char *code,
                     const char *message) {
  return fail_at(r, n->start.line, n->start.col, code, message);
}

static int next(struct reader *r) {
  if (r->have_event) yaml_event_delete(&r->event);
  r->have_event = false;
  if (yaml_parser_parse(&r->parser, &r->event)) {
    r->have_event = true;
    return 0;
  }
  struct bk_yaml_problem p;
  bk_yaml_explain(&r->parser, r->text, r->len, &p);
  return fail_at(r, p.line, p.col, "yaml.syntax", p.message);
}

static int count(struct reader *r, size_t n, const yaml_mark_t *m) {
  if (n > MAX_NODES || r->nodes > MAX_NODES - n)
    return fail_mark(r, m, "yaml.too_large", "more than 1000000 nodes (with aliases expanded)");
  r->nodes += n;
  return 0;
}

static const char *keep(struct reader *r, const yaml_char_t *s) {
  return s ? bk_arena_strndup(&r->doc->arena, (const char *)s, strlen((const char *)s)) : NULL;
}

/* --- scalars --------------------------------------------------------------------------------- */

/* Explicit core tags must fit; other tags leave the text as it is. */
static int apply_tag(struct reader *r, struct bk_yaml_node *n) {
  static const struct {
    const char *tag;
    enum bk_yaml_type type;
  } core[] = {{YAML_INT_TAG, BK_YAML_INT},   {YAML_FLOAT_TAG, BK_YAML_FLOAT},
              {YAML_BOOL_TAG, BK_YAML_BOOL}, {YAML_NULL_TAG, BK_YAML_NULL},
              {YAML_TIMESTAMP_TAG, BK_YAML_DATE}};
  n->type = BK_YAML_STR;
  for (size_t i = 0; i < BK_ARRAY_LEN(core); i++) {
    if (strcmp(n->tag, core[i].tag) != 0) continue;
    n->type = bk_yaml_resolve(n->text, n->len, n);
    if (n->type == core[i].type) return 0;
    if (n->type == BK_YAML_INT && core[i].type == BK_YAML_FLOAT) {
      n->as.f = (double)n->as.i;
      n->type = BK_YAML_FLOAT;
      return 0;
    }
    char text[200];
    const char *name = strrchr(n->tag, ':') + 1;
    snprintf(text, sizeof text, "'%.80s' is not of the type !!%s", n->text, name);
    return fail_node(r, n, "yaml.tag", text);
  }
  return 0;
}

/* The end of a block scalar without the blank lines and the line break that libyaml includes; blank
 * lines that are content ("+") stay. */
static void trim_block(struct reader *r, struct bk_yaml_node *n) {
  const char *from = r->text + n->start.offset, *p = r->text + n->end.offset;
  const char *nl = memchr(from, '\n', (size_t)(p - from));
  bool all = nl && memchr(from, '+', (size_t)(nl - from)); /* the header line says so */
  size_t lines = 0;
  while (p > from && (p[-1] == ' ' || p[-1] == '\t')) p--;
  while (p > from && strchr(" \t\r\n", p[-1])) {
    if (p[-1] == '\n' && ++lines > 1 && all) break;
    p--;
    if (all && lines == 1 && p[0] == '\r') break;
  }
  size_t cut = (size_t)(r->text + n->end.offset - p);
  for (const char *q = p; q < r->text + n->end.offset; q++) n->end.line -= *q == '\n';
  n->end.offset -= cut;
  n->end.col = 1;
  for (const char *q = p; q > r->text && q[-1] != '\n'; q--) n->end.col += !is_tail(q[-1]);
}

static int read_scalar(struct reader *r, struct bk_yaml_node *n) {
  static const enum bk_yaml_style styles[] = {BK_YAML_PLAIN,  BK_YAML_PLAIN,   BK_YAML_SINGLE,
                                              BK_YAML_DOUBLE, BK_YAML_LITERAL, BK_YAML_FOLDED};
  const yaml_event_t *e = &r->event;
  n->kind = BK_YAML_SCALAR;
  n->len = e->data.scalar.length;
  n->text = bk_arena_strndup(&r->doc->arena, (const char *)e->data.scalar.value, n->len);
  unsigned style = (unsigned)e->data.scalar.style;
  n->style = styles[style < BK_ARRAY_LEN(styles) ? style : 0];
  n->tag = keep(r, e->data.scalar.tag);
  if (n->style == BK_YAML_LITERAL || n->style == BK_YAML_FOLDED) trim_block(r, n);
  if (n->tag) return apply_tag(r, n);
  n->type = n->style == BK_YAML_PLAIN ? bk_yaml_resolve(n->text, n->len, n) : BK_YAML_STR;
  return 0;
}

/* --- collections ----------------------------------------------------------------------------- */

static int read_node(struct reader *r, int depth, struct bk_yaml_node **out, int *height);

struct items {
  struct bk_yaml_node **p;
  size_t n, cap;
};

/* Items until the end event; *height grows to the deepest of them. */
static int read_items(struct reader *r, int depth, yaml_event_type_t end, struct items *items,
                      int *height) {
  for (;;) {
    if (next(r)) return -1;
    if (r->event.type == end) return 0;
    struct bk_yaml_node *item;
    int h = 0;
    if (read_node(r, depth + 1, &item, &h)) return -1;
    if (h + 1 > *height) *height = h + 1;
    if (items->n == items->cap) {
      items->cap = items->cap ? items->cap * 2 : 8;
      items->p = bk_reallocarray(items->p, items->cap, sizeof *items->p);
    }
    items->p[items->n++] = item;
  }
}

static bool is_merge(const struct bk_yaml_node *key) {
  return key->kind == BK_YAML_SCALAR && key->style == BK_YAML_PLAIN && !key->tag && !key->alias &&
         strcmp(key->text, "<<") == 0;
}

static int duplicate(struct reader *r, const struct bk_yaml_node *key,
                     const struct bk_yaml_node *first) {
  char text[200];
  snprintf(text, sizeof text, "duplicate key '%.80s' (first at %zu:%zu)", key->text,
           first->start.line, first->start.col);
  return fail_node(r, key, "yaml.duplicate_key", text);
}

struct pairs {
  struct bk_yaml_pair *p;
  size_t n, cap;
  struct bk_map seen; /* key -> its node */
};

static void add_pair(struct pairs *list, struct bk_yaml_node *key, struct bk_yaml_node *value,
                     bool merged) {
  if (list->n == list->cap) {
    list->cap = list->cap ? list->cap * 2 : 8;
    list->p = bk_reallocarray(list->p, list->cap, sizeof *list->p);
  }
  list->p[list->n++] = (struct bk_yaml_pair){key, value, merged};
}

/* Adds what a merge source has and the map lacks: of several sources the first counts. */
static int merge_from(struct reader *r, struct pairs *list, const struct bk_yaml_node *key,
                      const struct bk_yaml_node *from, bool nested) {
  if (from->kind == BK_YAML_SEQ && !nested) {
    for (size_t i = 0; i < from->count; i++)
      if (merge_from(r, list, key, from->items[i], true)) return -1;
    return 0;
  }
  if (from->kind != BK_YAML_MAP)
    return fail_node(r, key, "yaml.merge", "expected a map or a list of maps behind '<<'");
  for (size_t i = 0; i < from->count; i++) {
    const struct bk_yaml_pair *p = &from->pairs[i];
    if (bk_map_has(&list->seen, p->key->text, p->key->len)) continue;
    bk_map_set(&list->seen, p->key->text, p->key->len, p->key);
    add_pair(list, p->key, p->value, true);
  }
  return 0;
}

static int make_pairs(struct reader *r, const struct items *items, struct bk_yaml_pair *merge,
                      struct pairs *list) {
  for (size_t i = 0; i + 1 < items->n; i += 2) {
    struct bk_yaml_node *key = items->p[i];
    if (is_merge(key)) {
      if (merge->key) return duplicate(r, key, merge->key);
      *merge = (struct bk_yaml_pair){key, items->p[i + 1], false};
      continue;
    }
    if (key->kind != BK_YAML_SCALAR)
      return fail_node(r, key, "yaml.key", "expected a text as key, found a list or map");
    const struct bk_yaml_node *first = bk_map_set(&list->seen, key->text, key->len, key);
    if (first) return duplicate(r, key, first);
    add_pair(list, key, items->p[i + 1], false);
  }
  return merge->key ? merge_from(r, list, merge->key, merge->value, false) : 0;
}

static void *move(struct reader *r, const void *p, size_t n, size_t size) {
  void *copy = bk_arena_alloc(&r->doc->arena, n ? n * size : 1);
  if (n) memcpy(copy, p, n * size);
  return copy;
}

static int read_collection(struct reader *r, int depth, struct bk_yaml_node *n, int *height) {
  bool map = r->event.type == YAML_MAPPING_START_EVENT;
  n->kind = map ? BK_YAML_MAP : BK_YAML_SEQ;
  n->tag = keep(r, map ? r->event.data.mapping_start.tag : r->event.data.sequence_start.tag);
  n->flow = map ? r->event.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
                : r->event.data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
  n->body = n->end;
  if (!map && !n->flow && n->body.offset > 0 && r->text[n->body.offset - 1] == '-')
    n->body.offset--, n->body.col--; /* a list at its key's column: the mark is behind the dash */
  struct items items = {0};
  struct pairs pairs = {0};
  yaml_event_type_t end = map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
  int rc = read_items(r, depth, end, &items, height);
  if (rc == 0 && map) rc = make_pairs(r, &items, &n->merge, &pairs);
  if (rc == 0) {
    n->count = map ? pairs.n : items.n;
    if (map) n->pairs = move(r, pairs.p, pairs.n, sizeof *pairs.p);
    else n->items = move(r, items.p, items.n, sizeof *items.p);
    if (n->flow) n->end = mark_of(r, &r->event.end_mark);
    else if (items.n) n->end = items.p[items.n - 1]->end;
  }
  free(items.p);
  free(pairs.p);
  bk_map_free(&pairs.seen);
  return rc;
}

/* --- nodes ----------------------------------------------------------------------------------- */

static int read_alias(struct reader *r, int depth, struct bk_yaml_node **out, int *height) {
  const yaml_event_t *e = &r->event;
  const char *name = (const char *)e->data.alias.anchor;
  const struct anchored *a = bk_map_get(&r->anchors, name, strlen(name));
  char text[160];
  if (!a || a->open) {
    if (a) snprintf(text, sizeof text, "anchor '%.80s' contains itself", name);
    else snprintf(text, sizeof text, "unknown anchor '%.80s'", name);
    return fail_mark(r, &e->start_mark, "yaml.alias", text);
  }
  if (depth + a->height > BK_YAML_DEPTH)
    return fail_mark(r, &e->start_mark, "yaml.too_deep", "nested deeper than 100 levels");
  struct bk_yaml_node *n = bk_arena_alloc(&r->doc->arena, sizeof *n);
  *n = *a->node;
  n->start = mark_of(r, &e->start_mark);
  n->end = mark_of(r, &e->end_mark);
  n->anchor = NULL;
  n->alias = a->node->anchor;
  *out = n;
  *height = a->height;
  return count(r, a->weight, &e->start_mark);
}

static struct anchored *set_anchor(struct reader *r, struct bk_yaml_node *n) {
  const yaml_event_t *e = &r->event;
  const yaml_char_t *name = e->type == YAML_SCALAR_EVENT           ? e->data.scalar.anchor
                            : e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor
                                                                   : e->data.mapping_start.anchor;
  if (!name) return NULL;
  n->anchor = keep(r, name);
  struct anchored *a = bk_arena_alloc(&r->doc->arena, sizeof *a);
  *a = (struct anchored){.node = n, .open = true};
  bk_map_set(&r->anchors, n->anchor, strlen(n->anchor), a);
  return a;
}

static int read_node(struct reader *r, int depth, struct bk_yaml_node **out, int *height) {
  const yaml_event_t *e = &r->event;
  if (e->type == YAML_ALIAS_EVENT) return read_alias(r, depth, out, height);
  bool scalar = e->type == YAML_SCALAR_EVENT;
  if (!scalar && depth >= BK_YAML_DEPTH)
    return fail_mark(r, &e->start_mark, "yaml.too_deep", "nested deeper than 100 levels");
  size_t before = r->nodes;
  if (count(r, 1, &e->start_mark)) return -1;
  struct bk_yaml_node *n = bk_arena_alloc(&r->doc->arena, sizeof *n);
  *out = n;
  n->start = mark_of(r, &e->start_mark);
  n->end = mark_of(r, &e->end_mark);
  struct anchored *a = set_anchor(r, n);
  if (scalar ? read_scalar(r, n) : read_collection(r, depth, n, height)) return -1;
  if (a) {
    a->open = false;
    a->height = *height;
    a->weight = r->nodes - before;
  }
  return 0;
}

static int read_document(struct reader *r) {
  int height = 0;
  if (next(r) || next(r)) return -1; /* stream start, document start or stream end */
  if (r->event.type == YAML_STREAM_END_EVENT) return 0;
  if (next(r) || read_node(r, 0, &r->doc->root, &height)) return -1;
  if (next(r) || next(r)) return -1; /* document end, then the end of the stream */
  if (r->event.type != YAML_STREAM_END_EVENT)
    return fail_mark(r, &r->event.start_mark, "yaml.documents",
                     "expected one document, found another");
  return 0;
}

int bk_yaml_parse(const char *text, size_t len, const char *name, struct bk_yaml *out,
                  struct bk_err *err) {
  struct reader r = {.name = name, .text = text, .len = len, .doc = out, .err = err};
  *out = (struct bk_yaml){0};
  if (len > MAX_TEXT) return fail_at(&r, 1, 1, "yaml.too_large", "larger than 64 MiB");
  if (!yaml_parser_initialize(&r.parser)) return fail_at(&r, 1, 1, "yaml.memory", "out of memory");
  size_t bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
  r.bytes = bom; /* libyaml does not see it */
  yaml_parser_set_input_string(&r.parser, (const unsigned char *)text + bom, len - bom);
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

