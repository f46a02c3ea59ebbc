/* The editor's lower half: places in the text, and replacing parts of it under the promise that
 * nothing but the intended change happens. Owns nothing. */
#ifndef BK_YAML_SPLICE_H
#define BK_YAML_SPLICE_H

#include "yaml/yaml_edit.h"

/* What a splice is to achieve. The last step of the path names the value that is set, added or
 * removed; for an added item it is its number afterwards. */
struct bk_yaml_change {
  enum { BK_YAML_SET, BK_YAML_ADD, BK_YAML_REMOVE } op;
  const struct bk_yaml_step *path;
  size_t n;
  const struct bk_yaml_node *value;
};

struct bk_yaml_cut {
  size_t from, to; /* bytes of the text */
  const char *text;
  size_t len;
};

/* Makes the cuts (in order, not overlapping), reads the result and takes it over when it differs
 * from the old text by the change and nothing else. */
int bk_yaml_apply(struct bk_yaml_edit *e, const struct bk_yaml_cut *cuts, size_t n,
                  const struct bk_yaml_change *change, struct bk_err *err) BK_WARN_UNUSED;

/* Appends "images[2].name". */
void bk_yaml_path_text(struct bk_buf *out, const struct bk_yaml_step *path, size_t n);

/* Fails with yaml.edit at a node. */
int bk_yaml_cannot(const struct bk_yaml_edit *e, const struct bk_yaml_node *at,
                   struct bk_err *err, const char *why);

/* --- places ---------------------------------------------------------------------------------- */

/* The line break (or end of text) that ends the line of an offset; the first byte of its line. */
size_t bk_yaml_line_end(const struct bk_yaml_edit *e, size_t at);
size_t bk_yaml_line_start(const struct bk_yaml_edit *e, size_t at);
/* Behind the line break that ends the line. */
size_t bk_yaml_next_line(const struct bk_yaml_edit *e, size_t at);
/* Only blanks stand before the offset on its line. */
bool bk_yaml_leads_line(const struct bk_yaml_edit *e, size_t at);
bool bk_yaml_same_line(const struct bk_yaml_edit *e, size_t from, size_t to);
/* The blanks before a comment between two offsets of a line, or `to`. */
size_t bk_yaml_comment(const struct bk_yaml_edit *e, size_t from, size_t to);
/* Offset behind the ':' of a pair, or behind the '-' of an item (from 0); 0 when the text has
 * another form. */
size_t bk_yaml_colon(const struct bk_yaml_edit *e, const struct bk_yaml_node *key);
size_t bk_yaml_dash(const struct bk_yaml_edit *e, const struct bk_yaml_node *seq, size_t i);

/* --- putting values there (yaml_put.c) -------------------------------------------------------- */

struct bk_yaml_place {
  const struct bk_yaml_node *parent, *node; /* parent NULL: the root */
  const struct bk_yaml_pair *pair;          /* of the node in a map */
  size_t index;                             /* of the node in a list, from 0 */
};

/* A map or list in the arena that holds only the value. */
struct bk_yaml_node *bk_yaml_wrap(struct bk_arena *a, const struct bk_yaml_step *s,
                                  const struct bk_yaml_node *value);
/* Writes c->value where the node at p stands. */
int bk_yaml_put(struct bk_yaml_edit *e, const struct bk_yaml_place *p,
                const struct bk_yaml_change *c, struct bk_err *err) BK_WARN_UNUSED;
/* Writes c->value as a new element of a list or map that has elements already. */
int bk_yaml_put_new(struct bk_yaml_edit *e, const struct bk_yaml_node *parent,
                    const struct bk_yaml_change *c, struct bk_err *err) BK_WARN_UNUSED;

#endif
