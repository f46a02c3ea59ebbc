/* YAML 1.2 documents as a tree with positions, on libyaml. A struct bk_yaml owns every node and text
 * until bk_yaml_free. Anchors, aliases and merge keys are resolved; duplicate keys, several documents
 * and bombs are errors. */
#ifndef BK_YAML_H
#define BK_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum bk_yaml_kind { BK_YAML_SCALAR, BK_YAML_SEQ, BK_YAML_MAP };
/* Types of plain scalars by the core schema (YAML 1.2.2, 10.3.2), and dates, which stay text. */
enum bk_yaml_type { BK_YAML_STR, BK_YAML_INT, BK_YAML_FLOAT, BK_YAML_BOOL, BK_YAML_NULL, BK_YAML_DATE };

struct bk_yaml_mark {
  size_t line, col, offset; /* line and col count from 1; offset in bytes from 0 */
};

struct bk_yaml_node;

struct bk_yaml_pair {
  struct bk_yaml_node *key, *value;
  bool merged; /* came in by a merge key */
};

struct bk_yaml_node {
  enum bk_yaml_kind kind;
  struct bk_yaml_mark start, end;
  const char *tag, *anchor; /* explicit ones, or NULL */
  bool flow;                /* [..] or {..} */
  /* scalar */
  const char *style; /* plain single double literal folded */
  const char *text;  /* the content as written, after unquoting */
  size_t len;
  enum bk_yaml_type type;
  union {
    int64_t i;
    double f;
    bool b;
  } as;
  /* seq, map */
  struct bk_yaml_node **items;
  struct bk_yaml_pair *pairs;
  size_t count;
};

struct bk_yaml {
  struct bk_arena arena;
  struct bk_yaml_node *root; /* NULL for an empty document */
};

/* Limits: 64 MiB of text, 100 levels, 1,000,000 nodes with aliases counted as often as they appear. */
int bk_yaml_parse(const char *text, size_t len, const char *name, struct bk_yaml *out,
                  struct bk_err *err) BK_WARN_UNUSED;
void bk_yaml_free(struct bk_yaml *doc);

/* Core-schema type of a plain scalar; fills as. */
enum bk_yaml_type bk_yaml_resolve(const char *s, size_t n, struct bk_yaml_node *node);

#endif
