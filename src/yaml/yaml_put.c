/* Writing single values into the text of an editor. */
#include <string.h>

#include "yaml/yaml_splice.h"

/* --- in place of a value -------------------------------------------------------------------- */

/* New text: what stays on the line of the key or dash, and the lines below. */
struct fresh {
  struct bk_buf head, rest;
};

static void fresh_free(struct fresh *f) {
  bk_buf_free(&f->head);
  bk_buf_free(&f->rest);
}

static bool is_line(const struct bk_yaml_node *v) {
  return v->kind == BK_YAML_SCALAR && v->type == BK_YAML_STR && !memchr(v->text, '\n', v->len);
}

/* Strings keep the quotes of the string they replace. */
static enum bk_yaml_style wish_of(const struct bk_yaml_node *old, const struct bk_yaml_node *v) {
  bool quoted = old->kind == BK_YAML_SCALAR && !old->alias && old->type == BK_YAML_STR &&
                (old->style == BK_YAML_SINGLE || old->style == BK_YAML_DOUBLE);
  return quoted && is_line(v) ? old->style : BK_YAML_PLAIN;
}

static void spaces(struct bk_buf *out, int n) {
  while (n-- > 0) bk_buf_addc(out, ' ');
}

/* indent: column of the key or dash, from 0; -1 for the root. */
static void make_fresh(const struct bk_yaml_edit *e, const struct bk_yaml_place *p, int indent,
                       const struct bk_yaml_node *v, struct fresh *f) {
  cleanup_buf struct bk_buf text = {0};
  bool item = p->parent && p->parent->kind == BK_YAML_SEQ;
  const struct bk_yaml_node *old = p->node;
  if (p->parent && p->parent->flow) {
    bk_buf_addc(&text, ' ');
    if (is_line(v)) bk_yaml_emit_text(&text, v, wish_of(old, v), true);
    else bk_yaml_emit_flow(&text, v);
  } else if (wish_of(old, v) != BK_YAML_PLAIN) {
    bk_buf_addc(&text, ' ');
    bk_yaml_emit_text(&text, v, wish_of(old, v), false);
  } else if (item) {
    bk_yaml_emit_after_dash(&text, v, indent, &e->layout);
  } else if (p->parent) {
    bk_yaml_emit_after_key(&text, v, indent, &e->layout);
  } else {
    bk_buf_addc(&text, ' ');
    bk_yaml_emit(&text, v, 0, &e->layout);
  }
  const char *nl = memchr(text.p, '\n', text.len);
  size_t head = nl ? (size_t)(nl - text.p) : text.len;
  bool block = v->kind != BK_YAML_SCALAR && v->count > 0;
  if (old->anchor && !old->alias) bk_buf_addf(&f->head, " &%s", old->anchor);
  if (old->anchor && !old->alias && block && head > 0 && !(p->parent && p->parent->flow)) {
    /* an anchor on the line of the first key would be that key's */
    bk_buf_addc(&f->rest, '\n');
    spaces(&f->rest, item ? indent + 2 : 0);
    bk_buf_add(&f->rest, text.p + 1, head - 1);
  } else {
    bk_buf_add(&f->head, text.p, head);
  }
  bk_buf_add(&f->rest, text.p + head, text.len - head);
}

/* Replaces [from, to) on one line by the head, [below, end) by the lines below. The head's leading
 * blank is left out where one stands already. */
static int cut_value(struct bk_yaml_edit *e, size_t from, size_t to, size_t below, size_t end,
                     const struct fresh *f, const struct bk_yaml_change *c, struct bk_err *err) {
  if (end < below) end = below;
  /* \xbf: the end of a byte order mark */
  bool blank = from == 0 || memchr(" \t\n[{\xbf", e->text.p[from - 1], 6);
  size_t skip = f->head.len && blank ? 1 : 0;
  const char *head = f->head.len ? f->head.p + skip : "", *rest = f->rest.len ? f->rest.p : "";
  struct bk_yaml_cut cuts[] = {{from, to, head, f->head.len - skip},
                               {below, end, rest, f->rest.len}};
  return bk_yaml_apply(e, cuts, 2, c, err);
}

/* point: offset behind the ':' or '-'. */
static int replace_block(struct bk_yaml_edit *e, const struct bk_yaml_node *old, size_t point,
                         const struct fresh *f, const struct bk_yaml_change *c,
                         struct bk_err *err) {
  bool lines = old->kind == BK_YAML_SCALAR || !bk_yaml_same_line(e, point, old->body.offset);
  size_t end = bk_yaml_line_end(e, old->end.offset); /* with a comment on the last line */
  if (!lines) return cut_value(e, old->start.offset, end, end, end, f, c, err);
  size_t from = old->kind == BK_YAML_SCALAR && f->head.len ? old->start.offset : point;
  size_t line = bk_yaml_line_end(e, old->kind == BK_YAML_SCALAR ? old->start.offset : point);
  size_t below = line;
  if (old->kind != BK_YAML_SCALAR && (c->value->kind != BK_YAML_SCALAR || !f->rest.len)) {
    /* comments between the key and the first element stay; a block text would take them in */
    size_t first = bk_yaml_line_start(e, old->body.offset);
    below = bk_yaml_line_end(e, first - 1 > 0 && e->text.p[first - 2] == '\r' ? first - 2 : first - 1);
    if (below < line) below = line;
  }
  return cut_value(e, from, bk_yaml_comment(e, from, line), below, end, f, c, err);
}

static int replace_inline(struct bk_yaml_edit *e, const struct bk_yaml_place *p, size_t point,
                          const struct fresh *f, const struct bk_yaml_change *c,
                          struct bk_err *err) {
  const struct bk_yaml_node *old = p->node;
  size_t from = old->start.offset, to = old->end.offset;
  if (from == to || !f->head.len || !bk_yaml_same_line(e, point, from)) from = point;
  if (to < from) to = from;
  size_t below = p->parent && p->parent->flow ? to : bk_yaml_line_end(e, to);
  return cut_value(e, from, to, below, below, f, c, err);
}

int bk_yaml_put(struct bk_yaml_edit *e, const struct bk_yaml_place *p,
                const struct bk_yaml_change *c, struct bk_err *err) {
  const struct bk_yaml_node *old = p->node;
  size_t point = old->start.offset;
  int indent = 0;
  bool flow = p->parent && p->parent->flow;
  if (p->pair) {
    point = bk_yaml_colon(e, p->pair->key);
    indent = (int)p->pair->key->start.col - 1;
  } else if (p->parent && !flow) {
    point = bk_yaml_dash(e, p->parent, p->index);
    indent = (int)p->parent->body.col - 1;
  }
  if (p->parent && point == 0)
    return bk_yaml_cannot(e, p->pair ? p->pair->key : old, err,
                          "this form of key cannot be edited");
  __attribute__((cleanup(fresh_free))) struct fresh f = {0};
  make_fresh(e, p, indent, c->value, &f);
  bool block = !old->alias && !old->flow &&
               (old->kind != BK_YAML_SCALAR || old->style >= BK_YAML_LITERAL);
  return block ? replace_block(e, old, point, &f, c, err) : replace_inline(e, p, point, &f, c, err);
}

/* --- adding ---------------------------------------------------------------------------------- */

static struct bk_yaml_node *key_node(struct bk_arena *a, const struct bk_yaml_step *s) {
  struct bk_yaml_node *key = bk_arena_alloc(a, sizeof *key);
  key->kind = BK_YAML_SCALAR;
  key->type = BK_YAML_STR;
  key->text = bk_arena_strndup(a, s->key, s->len);
  key->len = s->len;
  return key;
}

struct bk_yaml_node *bk_yaml_wrap(struct bk_arena *a, const struct bk_yaml_step *s,
                                  const struct bk_yaml_node *value) {
  struct bk_yaml_node *n = bk_arena_alloc(a, sizeof *n);
  n->count = 1;
  if (s->key) {
    n->kind = BK_YAML_MAP;
    n->pairs = bk_arena_alloc(a, sizeof *n->pairs);
    n->pairs[0] = (struct bk_yaml_pair){key_node(a, s), (struct bk_yaml_node *)value, false};
  } else {
    n->kind = BK_YAML_SEQ;
    n->items = bk_arena_alloc(a, sizeof *n->items);
    n->items[0] = (struct bk_yaml_node *)value;
  }
  return n;
}

/* The value as an element of the list or map: `key: value`, `- value` or their flow forms. */
static void element(const struct bk_yaml_edit *e, const struct bk_yaml_node *parent,
                    const struct bk_yaml_step *s, const struct bk_yaml_node *v,
                    struct bk_buf *out) {
  struct bk_arena arena = {0};
  int indent = (int)parent->body.col - 1;
  if (s->key) {
    const struct bk_yaml_node *key = key_node(&arena, s);
    if (parent->flow) {
      bk_yaml_emit_text(out, key, BK_YAML_PLAIN, true);
      bk_buf_adds(out, ": ");
    } else {
      bk_yaml_emit_pair(out, key, v, indent, &e->layout);
    }
  } else if (!parent->flow) {
    bk_buf_addc(out, '-');
    bk_yaml_emit_after_dash(out, v, indent, &e->layout);
  }
  if (parent->flow) bk_yaml_emit_flow(out, v);
  bk_arena_free(&arena);
}

/* at: elements before the new one. */
static int add_block(struct bk_yaml_edit *e, const struct bk_yaml_node *parent, size_t at,
                     const struct bk_buf *text, const struct bk_yaml_change *c,
                     struct bk_err *err) {
  cleanup_buf struct bk_buf line = {0};
  bool map = parent->kind == BK_YAML_MAP, first = !map && at == 0;
  bool last = map || at == parent->count;
  if (!first) bk_buf_addc(&line, '\n');
  if (!first) spaces(&line, (int)parent->body.col - 1);
  bk_buf_add(&line, text->p, text->len);
  if (first) bk_buf_addc(&line, '\n');
  if (first) spaces(&line, (int)parent->body.col - 1);
  size_t place = first  ? parent->body.offset
                 : last ? bk_yaml_line_end(e, parent->end.offset)
                        : bk_yaml_line_end(e, parent->items[at - 1]->end.offset);
  struct bk_yaml_cut cut = {place, place, line.p, line.len};
  return bk_yaml_apply(e, &cut, 1, c, err);
}

static int add_flow(struct bk_yaml_edit *e, const struct bk_yaml_node *parent, size_t at,
                    const struct bk_buf *text, const struct bk_yaml_change *c, struct bk_err *err) {
  bool map = parent->kind == BK_YAML_MAP;
  size_t own = 0;
  while (own < parent->count && !(map && parent->pairs[own].merged)) own++;
  if (map) at = own;
  cleanup_buf struct bk_buf out = {0};
  size_t place;
  if (at < own) {
    place = parent->items[at]->start.offset;
    bk_buf_addf(&out, "%s, ", text->p);
  } else if (own == 0) {
    return bk_yaml_cannot(e, parent, err, "cannot add to this map");
  } else {
    const struct bk_yaml_node *last = map ? parent->pairs[own - 1].value : parent->items[own - 1];
    const struct bk_yaml_node *begin = map ? parent->pairs[own - 1].key : last;
    place = last->end.offset;
    bool lines = begin->start.line > parent->start.line &&
                 bk_yaml_leads_line(e, begin->start.offset);
    bk_buf_adds(&out, lines ? ",\n" : ", ");
    if (lines) spaces(&out, (int)begin->start.col - 1);
    bk_buf_adds(&out, text->p);
  }
  struct bk_yaml_cut cut = {place, place, out.p, out.len};
  return bk_yaml_apply(e, &cut, 1, c, err);
}

int bk_yaml_put_new(struct bk_yaml_edit *e, const struct bk_yaml_node *parent,
                    const struct bk_yaml_change *c, struct bk_err *err) {
  const struct bk_yaml_step *s = &c->path[c->n - 1];
  cleanup_buf struct bk_buf text = {0};
  element(e, parent, s, c->value, &text);
  size_t at = s->key ? 0 : s->index - 1;
  return parent->flow ? add_flow(e, parent, at, &text, c, err)
                      : add_block(e, parent, at, &text, c, err);
}
