/* Tokens and syntax tree. Nodes live in the arena of their template and are read-only once parsed;
 * symbols are interned per environment, so names compare by pointer. */
#ifndef BK_TEMPLATE_AST_H
#define BK_TEMPLATE_AST_H

#include <setjmp.h>

#include "base/map.h"
#include "base/mem.h"
#include "template/template.h"

struct tpl_sym {
  const char *s;
  uint32_t len;
  bool method; /* some built-in type has an attribute of this name */
  uint64_t hash;
};

/* --- tokens ---------------------------------------------------------------------------------- */

enum tok {
  T_EOF, T_DATA, T_VAR_BEGIN, T_VAR_END, T_BLOCK_BEGIN, T_BLOCK_END,
  T_NAME, T_STR, T_INT, T_FLOAT,
  T_ADD, T_SUB, T_MUL, T_DIV, T_FLOORDIV, T_MOD, T_POW, T_TILDE,
  T_EQ, T_NE, T_LT, T_LE, T_GT, T_GE,
  T_ASSIGN, T_DOT, T_COLON, T_COMMA, T_SEMI, T_PIPE,
  T_LPAREN, T_RPAREN, T_LBRACKET, T_RBRACKET, T_LBRACE, T_RBRACE,
};

struct token {
  enum tok type;
  uint32_t pos;  /* byte offset in the source */
  const char *s; /* names, strings (unescaped), data */
  uint32_t len;
  int64_t i;
  double f;
};

enum lex_state { LEX_DATA, LEX_VAR, LEX_BLOCK, LEX_LINE, LEX_RAW };

struct lexer {
  const char *src;
  uint32_t len, pos;
  enum lex_state state;
  bool line_start;     /* data begins at the start of a line */
  char balance[256];   /* closing brackets still to come */
  uint32_t depth, open[256]; /* … and where they were opened */
  uint32_t tag_pos;    /* where the current tag was opened */
};

/* --- tree ------------------------------------------------------------------------------------ */

enum node_op {
  N_CONST, N_NAME, N_TUPLE, N_LIST, N_DICT, N_COND, N_AND, N_OR, N_NOT, N_COMPARE, N_CONCAT,
  N_NEG, N_POS, N_BIN, N_ATTR, N_ITEM, N_SLICE, N_CALL, N_FILTER, N_TEST, N_NSREF,
  N_DATA, N_PRINT, N_IF, N_FOR, N_SET, N_SETBLOCK, N_MACRO, N_CALLBLOCK, N_FILTERBLOCK, N_WITH,
  N_BLOCK, N_EXTENDS, N_INCLUDE, N_IMPORT, N_FROM, N_DO, N_BREAK, N_CONTINUE, N_AUTOESCAPE,
};

struct node;
struct nodes {
  struct node **v;
  uint32_t n;
};
struct args { /* of a call, filter or test */
  struct nodes pos;
  const struct tpl_sym **kwname;
  struct nodes kwval;
  struct node *dyn_args, *dyn_kwargs;
};
struct for_node {
  struct node *target, *iter, *test;
  struct nodes body, orelse;
  bool recursive, uses_loop;
};
struct macro_node {
  const struct tpl_sym *name; /* NULL for a call block */
  const struct tpl_sym **params;
  uint32_t nparams;
  struct nodes defaults; /* of the last parameters */
  struct nodes body;
  bool uses_caller, uses_varargs, uses_kwargs, explicit_caller;
};
struct block_node {
  const struct tpl_sym *name;
  struct nodes body;
  bool scoped, required;
};
struct import_node {
  struct node *name;
  const struct tpl_sym *target;                /* import … as */
  const struct tpl_sym **names, **aliases;     /* from … import */
  uint32_t n;
  bool with_context, ignore_missing;
};
struct tpl_fn;

struct node {
  uint8_t op;
  uint8_t sub; /* N_BIN, N_COMPARE: enum tok; N_TEST: negated */
  uint32_t pos;
  union {
    bk_tv val;
    const struct tpl_sym *sym;
    struct nodes list;                                   /* tuple, list, concat; print */
    struct { struct nodes keys, vals; } dict;
    struct { struct node *a, *b, *c; } x;                /* c ? a : b, operators, item, do */
    struct { struct node *a; struct nodes rest; uint8_t *ops; } cmp;
    struct { struct node *a; const struct tpl_sym *name; } attr; /* and N_NSREF (name in a) */
    struct { struct node *a, *lo, *hi, *step; } slice;
    struct { struct node *a; struct args *args; } call;
    struct {
      struct node *a; /* NULL: the text of the enclosing filter or set block */
      const struct tpl_sym *name;
      const struct tpl_fn *fn; /* NULL: host function, or unknown when host is 0 too */
      int64_t host;
      struct args *args;
    } filter; /* and test */
    struct { const char *s; uint32_t len; } data;
    struct { struct nodes conds; struct nodes *bodies; struct nodes orelse; } cond;
    struct for_node *loop;
    struct { struct node *target, *value; struct nodes body; } set; /* value: filter of a block */
    struct macro_node *macro;
    struct { struct macro_node *macro; struct node *call; } callblock;
    struct { struct nodes targets, values, body; } with;
    struct { struct node *expr; struct nodes body; } scope; /* filter block, autoescape */
    struct block_node *block;
    struct import_node *import;
  } u;
};

struct bk_tpl {
  struct bk_tpl_env *env;
  unsigned refs;
  struct bk_arena mem;
  char *name, *src;
  uint32_t len;
  char *given; /* the text as it was handed in, where src differs from it */
  size_t given_len;
  struct nodes body;
  struct node **blocks;
  uint32_t nblocks, capblocks;
};

/* --- lexer and parser ------------------------------------------------------------------------ */

struct scope_mark; /* what names used in the current construct mean to its enclosing ones */

struct parser {
  struct bk_tpl_env *env;
  struct bk_tpl *tpl;
  struct lexer lx;
  struct token cur, ahead;
  bool has_ahead;
  unsigned depth;      /* nesting of expressions and statements */
  unsigned conditional; /* inside an if: unknown filters fail only when they are reached */
  struct node *unknown; /* first unknown filter or test outside of that, so far */
  unsigned nested;     /* inside a for, macro, block …: extends is not allowed */
  unsigned loops;      /* enclosing for loops of the current macro or block */
  struct scope_mark *marks;
  const struct tag *tags; /* open tags, innermost first */
  jmp_buf jmp;
  struct bk_err *err;
};

/* Raises a syntax error at pos. */
_Noreturn void bk_tpl_syntax(struct parser *p, uint32_t pos, const char *fmt, ...) BK_PRINTF(3, 4);
void bk_tpl_lex(struct parser *p, struct token *t);
const char *bk_tpl_tok_text(const struct token *t, char *buf, size_t n); /* "'x'", "end of print" */
const char *bk_tpl_tok_name(enum tok type);

/* Token stream. */
void bk_tpl_advance(struct parser *p);
const struct token *bk_tpl_peek(struct parser *p);
bool bk_tpl_is_name(const struct parser *p, const char *word);
bool bk_tpl_skip_name(struct parser *p, const char *word);
bool bk_tpl_skip(struct parser *p, enum tok type);
void bk_tpl_expect(struct parser *p, enum tok type);
void bk_tpl_expect_name(struct parser *p, const char *word);
const struct tpl_sym *bk_tpl_name(struct parser *p, const char *what);

struct node *bk_tpl_node(struct parser *p, enum node_op op, uint32_t pos);
void bk_tpl_append(struct parser *p, struct nodes *list, struct node *n);
void bk_tpl_used(struct parser *p, const struct tpl_sym *name); /* a name was read */
void bk_tpl_enter(struct parser *p); /* one level deeper, bounded */

/* Expressions. */
struct node *bk_tpl_expr(struct parser *p, bool with_cond);
struct node *bk_tpl_tuple(struct parser *p, bool simple, bool with_cond, const char *end_name,
                          bool parens);
void bk_tpl_check_unknown(struct parser *p); /* raises for p->unknown */
struct node *bk_tpl_filters(struct parser *p, struct node *a, bool start_inline);
struct node *bk_tpl_target(struct parser *p, bool names_only, const char *end_name, bool ns);

/* Parses tpl->src into tpl. */
int bk_tpl_parse(struct bk_tpl *tpl, struct bk_err *err) BK_WARN_UNUSED;
const struct tpl_sym *bk_tpl_intern(struct bk_tpl_env *env, const char *s, size_t len);
/* 1-based line and column (in characters) of a byte offset. */
void bk_tpl_position(const char *src, uint32_t len, uint32_t pos, int *line, int *col);

#endif
