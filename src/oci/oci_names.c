/* The names in a page of tags/list or _catalog. */
#include <string.h>

#include "base/mem.h"
#include "oci/oci_int.h"

struct text {
  const char *p, *end;
};

static bool at_end(struct text *t) {
  while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\r' || *t->p == '\t')) t->p++;
  return t->p == t->end;
}

static bool next_is(struct text *t, char c) {
  if (at_end(t) || *t->p != c) return false;
  t->p++;
  return true;
}

/* A string of plain ASCII: its first byte and its length. */
static const char *plain_string(struct text *t, size_t *n) {
  if (!next_is(t, '"')) return NULL;
  const char *s = t->p;
  while (t->p < t->end && *t->p >= ' ' && *t->p < 0x7f && *t->p != '"' && *t->p != '\\') t->p++;
  *n = (size_t)(t->p - s);
  return t->p < t->end && *t->p++ == '"' ? s : NULL;
}

static void add_name(struct bk_oci_tags *t, const char *s, size_t n) {
  if (t->n == 0 || (t->n >= 64 && (t->n & (t->n - 1)) == 0))
    t->names = bk_reallocarray(t->names, t->n ? t->n * 2 : 64, sizeof *t->names);
  t->names[t->n++] = bk_arena_strndup(&t->text, s, n);
}

static bool plain_list(struct text *text, struct bk_oci_tags *t) {
  if (!next_is(text, '[')) return false;
  if (next_is(text, ']')) return true;
  do {
    size_t n;
    const char *s = plain_string(text, &n);
    if (!s) return false;
    add_name(t, s, n);
  } while (next_is(text, ','));
  return next_is(text, ']');
}

/* The page as nearly all registries write it, an object of a name and the list, without escapes: no
 * tree is needed for that. False: it is something else, and what was added counts for nothing. */
static bool plain_page(const char *body, size_t len, const char *field, struct bk_oci_tags *t) {
  struct text text = {.p = body, .end = body + len};
  bool list = false, name = false;
  if (!next_is(&text, '{')) return false;
  do {
    size_t n, ignored;
    const char *key = plain_string(&text, &n);
    if (!key || !next_is(&text, ':')) return false;
    bool *seen = n == strlen(field) && memcmp(key, field, n) == 0 ? &list : &name;
    if (*seen || !(seen == &list ? plain_list(&text, t) : !!plain_string(&text, &ignored))) return false;
    *seen = true;
  } while (next_is(&text, ','));
  return list && next_is(&text, '}') && at_end(&text);
}

int oci_names_parsed(const char *body, size_t len, const char *field, struct bk_oci_tags *t,
                     struct bk_err *err) {
  json_t *doc = oci_json(body, len, "list", err), *v;
  if (!doc) return -1;
  const json_t *list = json_object_get(doc, field);
  size_t i;
  json_array_foreach(list, i, v)
    if (json_is_string(v)) add_name(t, json_string_value(v), json_string_length(v));
  int rc = 0;
  if (list && !json_is_array(list) && !json_is_null(list))
    rc = bk_fail(err, BK_INFRA, "oci.json", "'%s' is not a list", field);
  json_decref(doc);
  return rc;
}

int oci_names(const char *body, size_t len, const char *field, struct bk_oci_tags *t,
              struct bk_err *err) {
  size_t before = t->n;
  if (plain_page(body, len, field, t)) return 0;
  t->n = before;
  return oci_names_parsed(body, len, field, t, err);
}
