#include "yaml/yaml_splice.h"

#include <string.h>

/* --- places ---------------------------------------------------------------------------------- */

size_t bk_yaml_line_end(const struct bk_yaml_edit *e, size_t at) {
  const char *nl = at < e->text.len ? memchr(e->text.p + at, '\n', e->text.len - at) : NULL;
  size_t end = nl ? (size_t)(nl - e->text.p) : e->text.len;
  return nl && end > at && e->text.p[end - 1] == '\r' ? end - 1 : end;
}

size_t bk_yaml_next_line(const struct bk_yaml_edit *e, size_t at) {
  const char *nl = at < e->text.len ? memchr(e->text.p + at, '\n', e->text.len - at) : NULL;
  return nl ? (size_t)(nl - e->text.p) + 1 : e->text.len;
}

size_t bk_yaml_line_start(const struct bk_yaml_edit *e, size_t at) {
  while (at > 0 && e->text.p[at - 1] != '\n') at--;
  return at;
}

bool bk_yaml_leads_line(const struct bk_yaml_edit *e, size_t at) {
  while (at > 0 && e->text.p[at - 1] == ' ') at--;
  return at == 0 || e->text.p[at - 1] == '\n';
}

bool bk_yaml_same_line(const struct bk_yaml_edit *e, size_t from, size_t to) {
  return from >= to || !memchr(e->text.p + from, '\n', to - from);
}

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

size_t bk_yaml_comment(const struct bk_yaml_edit *e, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    if (e->text.p[i] != '#' || i == 0 || !is_blank(e->text.p[i - 1])) continue;
    while (i > from && is_blank(e->text.p[i - 1])) i--;
    return i;
  }
  return to;
}

size_t bk_yaml_colon(const struct bk_yaml_edit *e, const struct bk_yaml_node *key) {
  size_t i = key->end.offset;
  while (i < e->text.len && is_blank(e->text.p[i])) i++;
  return i < e->text.len && e->text.p[i] == ':' ? i + 1 : 0;
}

size_t bk_yaml_dash(const struct bk_yaml_edit *e, const struct bk_yaml_node *seq, size_t i) {
  const char *p = e->text.p;
  size_t at = i == 0 ? seq->body.offset : seq->items[i - 1]->end.offset;
  while (i > 0 && at < e->text.len && memchr(" \t\r\n#", p[at], 5))
    at = p[at] == '#' ? bk_yaml_line_end(e, at) : at + 1;
  return at < e->text.len && p[at] == '-' ? at + 1 : 0;
}

/* --- nothing but the change ------------------------------------------------------------------ */

static size_t own_count(const struct bk_yaml_node *map) {
  size_t n = 0;
  while (n < map->count && !map->pairs[n].merged) n++;
  return n;
}

static bool same_name(const char *a, const char *b) {
  return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_text(const struct bk_yaml_node *a, const struct bk_yaml_node *b) {
  return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* The same as written: aliases by name, merge keys as such. */
static bool same(const struct bk_yaml_node *a, const struct bk_yaml_node *b) {
  if (a->alias || b->alias) return same_name(a->alias, b->alias);
  if (a->kind != b->kind || a->flow != b->flow) return false;
  if (!same_name(a->anchor, b->anchor) || !same_name(a->tag, b->tag)) return false;
  if (a->kind == BK_YAML_SCALAR)
    return a->type == b->type && a->style == b->style && same_text(a, b);
  size_t n = a->kind == BK_YAML_MAP ? own_count(a) : a->count;
  if (n != (b->kind == BK_YAML_MAP ? own_count(b) : b->count)) return false;
  for (size_t i = 0; i < n; i++) {
    if (a->kind == BK_YAML_SEQ && !same(a->items[i], b->items[i])) return false;
    if (a->kind == BK_YAML_MAP && (!same(a->pairs[i].key, b->pairs[i].key) ||
                                   !same(a->pairs[i].value, b->pairs[i].value)))
      return false;
  }
  if (!a->merge.key || !b->merge.key) return !a->merge.key == !b->merge.key;
  return same(a->merge.value, b->merge.value);
}

static bool is_step(const struct bk_yaml_step *s, const struct bk_yaml_node *key, size_t index) {
  if (!s->key) return s->index == index + 1;
  return key && key->len == s->len && memcmp(key->text, s->key, s->len) == 0;
}

static bool kept(const struct bk_yaml_node *old, const struct bk_yaml_node *new,
                 const struct bk_yaml_change *c, size_t depth);

static const struct bk_yaml_node *child(const struct bk_yaml_node *n, size_t i) {
  return n->kind == BK_YAML_MAP ? n->pairs[i].value : n->items[i];
}

/* Children in step; at the end of the path one more on one side. */
static bool kept_children(const struct bk_yaml_node *old, const struct bk_yaml_node *new,
                          const struct bk_yaml_change *c, size_t depth) {
  bool map = old->kind == BK_YAML_MAP, last = depth + 1 == c->n;
  size_t n = map ? own_count(old) : old->count, m = map ? own_count(new) : new->count, i = 0, j = 0;
  const struct bk_yaml_step *step = &c->path[depth];
  bool found = false;
  while (i < n || j < m) {
    const struct bk_yaml_node *a = map && i < n ? old->pairs[i].key : NULL;
    const struct bk_yaml_node *b = map && j < m ? new->pairs[j].key : NULL;
    if (last && !found && c->op == BK_YAML_REMOVE && i < n && is_step(step, a, i)) {
      found = true;
      i++;
    } else if (last && !found && c->op == BK_YAML_ADD && j < m && is_step(step, b, j)) {
      if (!bk_yaml_equal(child(new, j), c->value)) return false;
      found = true;
      j++;
    } else if (i == n || j == m || (map && !same(a, b))) {
      return false;
    } else if (is_step(step, a, i) && !(last && c->op != BK_YAML_SET)) {
      if (!kept(child(old, i), child(new, j), c, depth + 1)) return false;
      found = true;
      i++, j++;
    } else if (!same(child(old, i++), child(new, j++))) {
      return false;
    }
  }
  return found;
}

static bool kept(const struct bk_yaml_node *old, const struct bk_yaml_node *new,
                 const struct bk_yaml_change *c, size_t depth) {
  if (depth == c->n) return bk_yaml_equal(new, c->value);
  if (old->kind != new->kind || old->kind == BK_YAML_SCALAR) return false;
  if (old->alias || new->alias || old->flow != new->flow) return false;
  if (!same_name(old->anchor, new->anchor) || !same_name(old->tag, new->tag)) return false;
  if (!old->merge.key != !new->merge.key) return false;
  if (old->merge.key && !same(old->merge.value, new->merge.value)) return false;
  return kept_children(old, new, c, depth);
}

/* --- cutting --------------------------------------------------------------------------------- */

static void add_text(struct bk_buf *out, const char *s, size_t n, bool crlf) {
  for (size_t i = 0; i < n; i++) {
    if (crlf && s[i] == '\n') bk_buf_addc(out, '\r');
    bk_buf_addc(out, s[i]);
  }
}

static void cut_text(const struct bk_buf *text, const struct bk_yaml_cut *cuts, size_t n,
                     struct bk_buf *out) {
  const char *nl = text->len ? memchr(text->p, '\n', text->len) : NULL;
  bool crlf = nl && nl > text->p && nl[-1] == '\r';
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    if (text->len) bk_buf_add(out, text->p + at, cuts[i].from - at);
    add_text(out, cuts[i].text, cuts[i].len, crlf);
    at = cuts[i].to;
  }
  if (text->len) bk_buf_add(out, text->p + at, text->len - at);
  if (out->len && out->p[out->len - 1] != '\n') bk_buf_adds(out, crlf ? "\r\n" : "\n");
}

int bk_yaml_apply(struct bk_yaml_edit *e, const struct bk_yaml_cut *cuts, size_t n,
                  const struct bk_yaml_change *c, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0}, path = {0};
  cut_text(&e->text, cuts, n, &text);
  struct bk_yaml doc;
  bk_yaml_path_text(&path, c->path, c->n);
  if (bk_yaml_parse(bk_buf_str(&text), text.len, e->name, &doc, err))
    return bk_err_wrap(err, "cannot change '%.200s'%s", bk_buf_str(&path),
                       strcmp(err->code, "yaml.alias") ? "" : ", whose anchor is used elsewhere");
  const struct bk_yaml_node *old = e->doc.root;
  if (!doc.root || (c->n && !old) || !kept(old, doc.root, c, 0)) {
    bk_yaml_free(&doc);
    bk_fail(err, BK_USAGE, "yaml.edit",
            "cannot change '%.200s': the text around it has a form that is not supported",
            bk_buf_str(&path));
    return bk_err_where(err, "%.200s", e->name);
  }
  bk_yaml_free(&e->doc);
  bk_buf_free(&e->text);
  e->doc = doc;
  e->text = text;
  text = (struct bk_buf){0};
  return 0;
}

void bk_yaml_path_text(struct bk_buf *out, const struct bk_yaml_step *path, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int len = (int)(path[i].len < 100 ? path[i].len : 100);
    if (!path[i].key) bk_buf_addf(out, "[%zu]", path[i].index);
    else bk_buf_addf(out, "%s%.*s", i ? "." : "", len, path[i].key);
  }
}

int bk_yaml_cannot(const struct bk_yaml_edit *e, const struct bk_yaml_node *at, struct bk_err *err,
                   const char *why) {
  bk_fail(err, BK_USAGE, "yaml.edit", "%s", why);
  return bk_err_where(err, "%.200s:%zu:%zu", e->name, at->start.line, at->start.col);
}
