/* YAML 1.2 documents as trees with positions (on libyaml), and a writer; the editor is in
 * yaml_edit.h. A struct bk_yaml owns every node and text of its tree until bk_yaml_free. */
#ifndef BK_YAML_H
#define BK_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum bk_yaml_kind { BK_YAML_SCALAR, BK_YAML_SEQ, BK_YAML_MAP };
/* Types of plain scalars by the core schema (YAML 1.2.2, 10.3.2), and dates, which stay text. */
enum bk_yaml_type {
  BK_YAML_STR,
  BK_YAML_INT,
  BK_YAML_FLOAT,
  BK_YAML_BOOL,
  BK_YAML_NULL,
  BK_YAML_DATE
};
enum bk_yaml_style {
  BK_YAML_PLAIN,
  BK_YAML_SINGLE,
  BK_YAML_DOUBLE,
  BK_YAML_LITERAL,
  BK_YAML_FOLDED
};

struct bk_yaml_mark {
  size_t line, col, offset; /* line and col (characters) count from 1; offset in bytes from 0 */
};

struct bk_yaml_pair {
  struct bk_yaml_node *key, *value; /* the key is a scalar */
  bool merged;                      /* came in by a merge key */
};

/* Lists and maps end where their last item ends, comments and blank lines behind it excluded. An
 * alias has its own position and name, and the content of what it stands for. */
struct bk_yaml_node {
  enum bk_yaml_kind kind;
  struct bk_yaml_mark start, end; /* tag and anchor included */
  struct bk_yaml_mark body;       /* block list: first dash; block map: first key */
  const char *tag, *anchor, *alias; /* or NULL */
  bool flow;                        /* [..] or {..} */
  /* scalar */
  enum bk_yaml_style style;
  enum bk_yaml_type type;
  const char *text; /* content after unquoting, NUL-terminated */
  size_t len;
  union {
    int64_t i;
    double f;
    bool b;
  } as;
  /* list: items; map: pairs in order of appearance, merged ones last */
  struct bk_yaml_node **items;
  struct bk_yaml_pair *pairs;
  size_t count;
  struct bk_yaml_pair merge; /* map: the pair `<<: …` itself, key NULL without */
};

struct bk_yaml {
  struct bk_arena arena;
  struct bk_yaml_node *root; /* NULL for an empty document */
};

/* Levels of lists and maps, aliases expanded. */
enum { BK_YAML_DEPTH = 100 };

/* Limits: 64 MiB of text, 100 levels, 1,000,000 nodes, aliases counted as often as they appear.
 * Codes: yaml.syntax, yaml.duplicate_key, yaml.documents, yaml.alias, yaml.merge, yaml.key,
 * yaml.tag, yaml.too_large, yaml.too_deep; err->where "name:line:col" (a name over 200 bytes is
 * cut). */
int bk_yaml_parse(const char *text, size_t len, const char *name, struct bk_yaml *out,
                  struct bk_err *err) BK_WARN_UNUSED;
void bk_yaml_free(struct bk_yaml *doc);

/* Core-schema type of a plain scalar; fills as. */
enum bk_yaml_type bk_yaml_resolve(const char *s, size_t n, struct bk_yaml_node *node);

/* Same kinds, types and content; maps in any order. */
bool bk_yaml_equal(const struct bk_yaml_node *a, const struct bk_yaml_node *b);
/* The pair of a key, or NULL. */
const struct bk_yaml_pair *bk_yaml_get(const struct bk_yaml_node *map, const char *key, size_t len);

/* --- writing: only kind, type, text, items and pairs of the nodes matter --------------------- */

struct bk_yaml_layout {
  int indent;     /* of a map in a map, 1 … 16 */
  int seq_offset; /* of the dashes of a list in a map, 0 … 16 */
};

/* Appends the value as block text without newline at the end, for a place whose lines begin at
 * column `indent`; the first line is not indented. Strings are quoted when any YAML 1.1 or 1.2
 * reader could take them for something else. */
void bk_yaml_emit(struct bk_buf *out, const struct bk_yaml_node *value, int indent,
                  const struct bk_yaml_layout *layout);
/* The value on one line. */
void bk_yaml_emit_flow(struct bk_buf *out, const struct bk_yaml_node *value);
/* A key or value text on one line in the wished style as far as it can say the text. */
void bk_yaml_emit_text(struct bk_buf *out, const struct bk_yaml_node *text, enum bk_yaml_style wish,
                       bool in_flow);
/* key: value, as a line of a block map at `indent`. */
void bk_yaml_emit_pair(struct bk_buf *out, const struct bk_yaml_node *key,
                       const struct bk_yaml_node *value, int indent,
                       const struct bk_yaml_layout *layout);
/* What follows `key:` or `-`: a blank and the value, or a line break and a block. */
void bk_yaml_emit_after_key(struct bk_buf *out, const struct bk_yaml_node *value, int indent,
                            const struct bk_yaml_layout *layout);
void bk_yaml_emit_after_dash(struct bk_buf *out, const struct bk_yaml_node *value, int indent,
                             const struct bk_yaml_layout *layout);

#endif
