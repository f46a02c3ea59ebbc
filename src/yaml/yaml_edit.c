#include "yaml/yaml_edit.h"

#include <stdlib.h>
#include <string.h>

#include "yaml/yaml_splice.h"

/* --- opening --------------------------------------------------------------------------------- */

/* The first map in a map and the first list in a map say how the text is laid out. */
static void find_layout(const struct bk_yaml_node *n, struct bk_yaml_layout *l, bool *map,
                        bool *seq) {
  if (n->kind == BK_YAML_SCALAR || n->flow || n->alias) return;
  for (size_t i = 0; i < n->count && !(*map && *seq); i++) {
    const struct bk_yaml_pair *p = n->kind == BK_YAML_MAP ? &n->pairs[i] : NULL;
    const struct bk_yaml_node *v = p ? p->value : n->items[i];
    if (p && p->merged) return;
    bool block = v->kind != BK_YAML_SCALAR && !v->flow && !v->alias;
    size_t from = p ? p->key->start.col : 0;
    if (p && block && v->body.line > p->key->start.line && v->body.col >= from) {
      bool is_seq = v->kind == BK_YAML_SEQ;
      int by = (int)(v->body.col - from > 16 ? 16 : v->body.col - from);
      if (is_seq && !*seq) l->seq_offset = by, *seq = true;
      if (!is_seq && !*map && by > 0) l->indent = by, *map = true;
    }
    find_layout(v, l, map, seq);
  }
}

int bk_yaml_edit_open(struct bk_yaml_edit *e, const char *text, size_t len, const char *name,
                      struct bk_err *err) {
  *e = (struct bk_yaml_edit){.layout = {.indent = 2, .seq_offset = 2}};
  if (bk_yaml_parse(text, len, name, &e->doc, err)) return -1;
  e->name = bk_strdup(name);
  bk_buf_add(&e->text, text, len);
  bool map = false, seq = false;
  if (e->doc.root) find_layout(e->doc.root, &e->layout, &map, &seq);
  return 0;
}

void bk_yaml_edit_free(struct bk_yaml_edit *e) {
  free(e->name);
  bk_buf_free(&e->text);
  bk_yaml_free(&e->doc);
  *e = (struct bk_yaml_edit){0};
}

/* --- finding --------------------------------------------------------------------------------- */

static bool find_step(const struct bk_yaml_node *parent, const struct bk_yaml_step *s,
                      struct bk_yaml_place *out) {
  *out = (struct bk_yaml_place){.parent = parent};
  if (parent->kind == BK_YAML_MAP && s->key) {
    out->pair = bk_yaml_get(parent, s->key, s->len);
    out->node = out->pair ? out->pair->value : NULL;
  } else if (parent->kind == BK_YAML_SEQ && !s->key && s->index >= 1 && s->index <= parent->count) {
    out->index = s->index - 1;
    out->node = parent->items[out->index];
  }
  return out->node != NULL;
}

/* Follows the path as far as it goes; returns the number of steps taken. */
static size_t follow(const struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                     struct bk_yaml_place *out) {
  *out = (struct bk_yaml_place){.node = e->doc.root};
  size_t i = 0;
  for (; i < n && out->node; i++) {
    struct bk_yaml_place next;
    if (!find_step(out->node, &path[i], &next)) break;
    *out = next;
  }
  return i;
}

const struct bk_yaml_node *bk_yaml_edit_get(const struct bk_yaml_edit *e,
                                            const struct bk_yaml_step *path, size_t n) {
  struct bk_yaml_place p;
  return follow(e, path, n, &p) == n ? p.node : NULL;
}

/* Everything before the last step must be written here: not behind an alias, not merged in. */
static int check_own(const struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                     struct bk_err *err) {
  const struct bk_yaml_node *at = e->doc.root;
  for (size_t i = 0; i < n && at; i++) {
    struct bk_yaml_place p;
    const char *name = at->alias;
    bool merged = !name && find_step(at, &path[i], &p) && p.pair && p.pair->merged && i + 1 < n;
    if (name || merged) {
      cleanup_buf struct bk_buf text = {0};
      bk_yaml_path_text(&text, path, name ? i : i + 1);
      bk_fail(err, BK_USAGE, "yaml.alias", "'%.200s' is %s%.60s: change it there",
              bk_buf_str(&text), name ? "an alias of &" : "merged in by '<<'", name ? name : "");
      return bk_err_where(err, "%.200s:%zu:%zu", e->name, at->start.line, at->start.col);
    }
    if (!find_step(at, &path[i], &p)) return 0;
    at = p.node;
  }
  return 0;
}

static int no_place(const struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                    struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  bk_yaml_path_text(&text, path, n);
  bk_fail(err, BK_USAGE, "yaml.path", "there is no '%.200s'", bk_buf_str(&text));
  return bk_err_where(err, "%.200s", e->name);
}

static bool is_empty(const struct bk_yaml_node *n) {
  if (!n) return true;
  return n->kind == BK_YAML_SCALAR ? n->type == BK_YAML_NULL : n->count == 0 && !n->merge.key;
}

/* --- adding ---------------------------------------------------------------------------------- */

static int set_empty(struct bk_yaml_edit *e, const struct bk_yaml_place *p,
                     const struct bk_yaml_change *c, struct bk_err *err) {
  if (p->node && (p->parent || p->node->end.offset > p->node->start.offset))
    return bk_yaml_put(e, p, c, err);
  cleanup_buf struct bk_buf out = {0}; /* an empty document, perhaps with comments */
  if (e->text.len && e->text.p[e->text.len - 1] != '\n') bk_buf_addc(&out, '\n');
  bk_yaml_emit(&out, c->value, 0, &e->layout);
  struct bk_yaml_cut cut = {e->text.len, e->text.len, out.p, out.len};
  return bk_yaml_apply(e, &cut, 1, c, err);
}

/* Adds the element that the last step of the path names to the container the rest leads to. */
static int add(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
               const struct bk_yaml_node *value, struct bk_err *err) {
  struct bk_yaml_place p;
  const struct bk_yaml_step *s = &path[n - 1];
  if (follow(e, path, n - 1, &p) < n - 1) return no_place(e, path, n - 1, err);
  if (is_empty(p.node)) {
    if (!s->key && s->index != 1) return no_place(e, path, n, err);
    struct bk_arena arena = {0};
    struct bk_yaml_change c = {BK_YAML_SET, path, n - 1, bk_yaml_wrap(&arena, s, value)};
    int rc = set_empty(e, &p, &c, err);
    bk_arena_free(&arena);
    return rc;
  }
  const struct bk_yaml_node *parent = p.node;
  bool in = s->index >= 1 && s->index <= parent->count + 1;
  bool fits = s->key ? parent->kind == BK_YAML_MAP : parent->kind == BK_YAML_SEQ && in;
  if (!fits) return no_place(e, path, n, err);
  struct bk_yaml_change c = {BK_YAML_ADD, path, n, value};
  return bk_yaml_put_new(e, parent, &c, err);
}

int bk_yaml_edit_insert(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                        const struct bk_yaml_step *at, const struct bk_yaml_node *value,
                        struct bk_err *err) {
  struct bk_yaml_step *full = bk_reallocarray(NULL, n + 1, sizeof *full);
  if (n) memcpy(full, path, n * sizeof *full);
  full[n] = *at;
  struct bk_yaml_place p;
  int rc = check_own(e, full, n + 1, err);
  if (rc == 0 && follow(e, path, n, &p) < n) rc = no_place(e, path, n, err);
  if (rc == 0 && !at->key && at->index == 0)
    full[n].index = p.node && p.node->kind == BK_YAML_SEQ ? p.node->count + 1 : 1;
  struct bk_yaml_place there;
  if (rc == 0 && at->key && p.node && find_step(p.node, at, &there) && !there.pair->merged) {
    cleanup_buf struct bk_buf text = {0};
    bk_yaml_path_text(&text, full, n + 1);
    bk_fail(err, BK_USAGE, "yaml.exists", "'%.200s' is there already", bk_buf_str(&text));
    const struct bk_yaml_mark *m = &there.pair->key->start;
    rc = bk_err_where(err, "%.200s:%zu:%zu", e->name, m->line, m->col);
  }
  if (rc == 0) rc = add(e, full, n + 1, value, err);
  free(full);
  return rc;
}

/* --- setting --------------------------------------------------------------------------------- */

struct steps {
  struct bk_yaml_step *p;
  size_t n, cap;
};

static void push(struct steps *s, struct bk_yaml_step step) {
  if (s->n == s->cap)
    s->p = bk_reallocarray(s->p, s->cap = s->cap ? s->cap * 2 : 16, sizeof *s->p);
  s->p[s->n++] = step;
}

static int set_value(struct bk_yaml_edit *e, struct steps *path, const struct bk_yaml_node *value,
                     struct bk_err *err);
static int remove_value(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                        struct bk_err *err);

/* Whole trees meet: remove what is gone, then set the rest one by one. The tree of e is new after
 * each change, so everything is looked up again. */
static int set_map(struct bk_yaml_edit *e, struct steps *path, const struct bk_yaml_node *value,
                   struct bk_err *err) {
  int rc = 0;
  for (bool again = true; again && rc == 0;) {
    const struct bk_yaml_node *old = bk_yaml_edit_get(e, path->p, path->n);
    again = false;
    for (size_t i = 0; !again && i < old->count; i++) {
      const struct bk_yaml_node *key = old->pairs[i].key;
      if (bk_yaml_get(value, key->text, key->len)) continue;
      push(path, (struct bk_yaml_step){.key = key->text, .len = key->len});
      rc = remove_value(e, path->p, path->n, err);
      path->n--;
      again = true;
    }
  }
  for (size_t i = 0; i < value->count && rc == 0; i++) {
    const struct bk_yaml_node *key = value->pairs[i].key;
    push(path, (struct bk_yaml_step){.key = key->text, .len = key->len});
    rc = set_value(e, path, value->pairs[i].value, err);
    path->n--;
  }
  return rc;
}

/* Equal items at both ends stay; between them items are set, then removed or added. */
static int set_seq(struct bk_yaml_edit *e, struct steps *path, const struct bk_yaml_node *value,
                   struct bk_err *err) {
  const struct bk_yaml_node *old = bk_yaml_edit_get(e, path->p, path->n);
  size_t n = old->count, m = value->count, head = 0, tail = 0;
  while (head < n && head < m && bk_yaml_equal(old->items[head], value->items[head])) head++;
  while (tail < n - head && tail < m - head &&
         bk_yaml_equal(old->items[n - 1 - tail], value->items[m - 1 - tail]))
    tail++;
  int rc = 0;
  for (; n > m && n - tail > head && rc == 0; n--) { /* too many: those behind the common head go */
    push(path, (struct bk_yaml_step){.index = n - tail});
    rc = remove_value(e, path->p, path->n, err);
    path->n--;
  }
  for (size_t i = head; i < m - tail && rc == 0; i++) {
    push(path, (struct bk_yaml_step){.index = i + 1});
    if (i < n - tail) rc = set_value(e, path, value->items[i], err);
    else rc = add(e, path->p, path->n, value->items[i], err);
    path->n--;
  }
  return rc;
}

static bool has_merged_only(const struct bk_yaml_node *old, const struct bk_yaml_node *value) {
  for (size_t i = 0; i < old->count; i++) {
    const struct bk_yaml_pair *p = &old->pairs[i];
    if (p->merged && !bk_yaml_get(value, p->key->text, p->key->len)) return true;
  }
  return false;
}

static int set_value(struct bk_yaml_edit *e, struct steps *path, const struct bk_yaml_node *value,
                     struct bk_err *err) {
  struct bk_yaml_place p;
  size_t have = follow(e, path->p, path->n, &p);
  if (have < path->n || (p.pair && p.pair->merged)) {
    if (have == path->n) have--; /* a merged value gets a local one */
    struct bk_arena arena = {0};
    for (size_t i = path->n - 1; i > have; i--) value = bk_yaml_wrap(&arena, &path->p[i], value);
    int rc = add(e, path->p, have + 1, value, err);
    bk_arena_free(&arena);
    return rc;
  }
  if (p.node && bk_yaml_equal(p.node, value)) return 0;
  const struct bk_yaml_node *old = p.node;
  bool both = old && old->kind == value->kind && !old->alias && old->count && value->count;
  if (both && value->kind == BK_YAML_MAP && !has_merged_only(old, value))
    return set_map(e, path, value, err);
  if (both && value->kind == BK_YAML_SEQ) return set_seq(e, path, value, err);
  struct bk_yaml_change c = {BK_YAML_SET, path->p, path->n, value};
  return is_empty(p.node) ? set_empty(e, &p, &c, err) : bk_yaml_put(e, &p, &c, err);
}

int bk_yaml_edit_set(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                     const struct bk_yaml_node *value, struct bk_err *err) {
  if (check_own(e, path, n, err)) return -1;
  struct steps steps = {0};
  struct bk_arena keys = {0}; /* the caller's may be those of the tree, which is replaced */
  for (size_t i = 0; i < n; i++) {
    push(&steps, path[i]);
    if (path[i].key) steps.p[i].key = bk_arena_strndup(&keys, path[i].key, path[i].len);
  }
  struct bk_buf before = {0};
  if (e->text.len) bk_buf_add(&before, e->text.p, e->text.len);
  int rc = set_value(e, &steps, value, err);
  struct bk_err unused;
  if (rc) { /* some of it may have happened */
    bk_yaml_free(&e->doc);
    bk_buf_free(&e->text);
    e->text = before;
    before = (struct bk_buf){0};
    if (bk_yaml_parse(bk_buf_str(&e->text), e->text.len, e->name, &e->doc, &unused)) abort();
  }
  bk_buf_free(&before);
  bk_arena_free(&keys);
  free(steps.p);
  return rc;
}

/* --- removing -------------------------------------------------------------------------------- */

struct span {
  size_t from, to; /* of the element without what is around it */
};

/* The element at i (the merge key counts as the element behind the last one). */
static bool span_of(const struct bk_yaml_edit *e, const struct bk_yaml_node *parent, size_t i,
                    struct span *out) {
  if (parent->kind == BK_YAML_MAP) {
    bool own = i < parent->count && !parent->pairs[i].merged;
    const struct bk_yaml_pair *p = own ? &parent->pairs[i] : &parent->merge;
    if (!p->key) return false;
    *out = (struct span){p->key->start.offset, p->value->end.offset};
    if (out->to < p->key->end.offset) out->to = p->key->end.offset;
    return true;
  }
  if (i >= parent->count) return false;
  *out = (struct span){parent->items[i]->start.offset, parent->items[i]->end.offset};
  if (parent->flow) return true;
  size_t dash = bk_yaml_dash(e, parent, i);
  out->from = dash - 1;
  if (out->to < dash) out->to = dash;
  return dash > 0;
}

/* Spans of the elements before and after one, in order of the text. */
static void neighbours(const struct bk_yaml_edit *e, const struct bk_yaml_node *parent,
                       struct span it, struct span *before, struct span *after) {
  *before = *after = (struct span){0};
  struct span s;
  for (size_t i = 0; i <= parent->count; i++) {
    if (!span_of(e, parent, i, &s)) continue;
    if (s.from < it.from && (!before->to || s.from > before->from)) *before = s;
    if (s.from > it.from && (!after->to || s.from < after->from)) *after = s;
  }
}

static int remove_value(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                        struct bk_err *err) {
  struct bk_yaml_place p;
  if (n == 0 || follow(e, path, n, &p) < n) return no_place(e, path, n, err);
  struct span it, before, after;
  size_t i = p.pair ? (size_t)(p.pair - p.parent->pairs) : p.index;
  if (!span_of(e, p.parent, i, &it))
    return bk_yaml_cannot(e, p.node, err, "this form of item cannot be removed");
  neighbours(e, p.parent, it, &before, &after);
  if (!before.to && !after.to) { /* the last one: an empty list or map is left */
    struct bk_yaml_node none = {.kind = p.parent->kind};
    struct bk_yaml_change c = {BK_YAML_SET, path, n - 1, &none};
    follow(e, path, n - 1, &p);
    return bk_yaml_put(e, &p, &c, err);
  }
  struct bk_yaml_change c = {BK_YAML_REMOVE, path, n, NULL};
  struct bk_yaml_cut cut = {it.from, after.from, "", 0};
  if (p.parent->flow) {
    if (!after.to) cut = (struct bk_yaml_cut){before.to, it.to, "", 0};
  } else if (bk_yaml_leads_line(e, it.from)) {
    cut.from = bk_yaml_line_start(e, it.from);
    cut.to = bk_yaml_next_line(e, it.to);
  }
  return bk_yaml_apply(e, &cut, 1, &c, err);
}

int bk_yaml_edit_remove(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                        struct bk_err *err) {
  if (check_own(e, path, n, err)) return -1;
  struct bk_yaml_place p;
  if (n && follow(e, path, n, &p) == n && p.pair && p.pair->merged)
    return bk_yaml_cannot(e, p.pair->key, err, "this key is merged in by '<<': remove it there");
  return remove_value(e, path, n, err);
}
