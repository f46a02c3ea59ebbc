/* Changes values in a YAML text by splicing: comments, quotes, blank lines and everything else that
 * a change does not have to touch stay byte for byte. A struct bk_yaml_edit owns its text and tree
 * until bk_yaml_edit_free. Every change is read back before it counts: the text parses, holds the
 * new value, and nothing else has changed; otherwise the call fails and the text is as before. */
#ifndef BK_YAML_EDIT_H
#define BK_YAML_EDIT_H

#include "yaml/yaml.h"

struct bk_yaml_edit {
  char *name; /* for errors */
  struct bk_buf text;
  struct bk_yaml doc; /* of text */
  struct bk_yaml_layout layout;
};

/* A step of a path: a key, or with key NULL the number of an item, from 1. */
struct bk_yaml_step {
  const char *key;
  size_t len, index;
};

int bk_yaml_edit_open(struct bk_yaml_edit *e, const char *text, size_t len, const char *name,
                      struct bk_err *err) BK_WARN_UNUSED;
void bk_yaml_edit_free(struct bk_yaml_edit *e); /* idempotent */

/* The node at a path, or NULL. */
const struct bk_yaml_node *bk_yaml_edit_get(const struct bk_yaml_edit *e,
                                            const struct bk_yaml_step *path, size_t n);

/* Sets a value; missing maps on the way are made, item count + 1 is appended. Where map meets map
 * or list meets list, only what differs is changed. Codes: yaml.path (there is no such place),
 * yaml.alias (the place belongs to an anchor elsewhere), yaml.edit (the text has a form that cannot
 * be edited). */
int bk_yaml_edit_set(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                     const struct bk_yaml_node *value, struct bk_err *err) BK_WARN_UNUSED;
/* Adds to the list or map at a path: before item at->index (0 = at the end), or the new key at->key
 * at the end (yaml.exists when it is there). */
int bk_yaml_edit_insert(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                        const struct bk_yaml_step *at, const struct bk_yaml_node *value,
                        struct bk_err *err) BK_WARN_UNUSED;
/* Removes a key or item with its lines; comments above it stay. */
int bk_yaml_edit_remove(struct bk_yaml_edit *e, const struct bk_yaml_step *path, size_t n,
                        struct bk_err *err) BK_WARN_UNUSED;

#endif
