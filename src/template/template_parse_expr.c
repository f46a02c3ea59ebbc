/* Expressions, by recursive descent with Jinja's precedences (lowest first): inline if, or, and,
 * not, comparisons, + -, ~, * / // %, ** (from the left), unary, postfix, filters and tests. */
#include <stdio.h>

#include "template/template_run.h"

#define MAX_DEPTH 200
#define MAX_NAMES 1000

void bk_tpl_enter(struct parser *p) {
  if (++p->depth > MAX_DEPTH)
    bk_tpl_syntax(p, p->cur.pos, "nested too deeply (more than %d levels)", MAX_DEPTH);
}

struct node *bk_tpl_node(struct parser *p, enum node_op op, uint32_t pos) {
  struct node *n = bk_arena_alloc(&p->tpl->mem, sizeof *n);
  n->op = (uint8_t)op;
  n->pos = pos;
  return n;
}

void bk_tpl_append(struct parser *p, struct nodes *list, struct node *n) {
  if ((list->n & (list->n - 1)) == 0) { /* a power of two: full */
    struct node **v = bk_arena_alloc(&p->tpl->mem, sizeof *v * (list->n ? list->n * 2u : 1));
    if (list->n) memcpy(v, list->v, sizeof *v * list->n);
    list->v = v;
  }
  list->v[list->n++] = n;
}

static struct node *constant(struct parser *p, bk_tv v, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_CONST, pos);
  n->u.val = v;
  return n;
}

static struct node *two(struct parser *p, enum node_op op, uint32_t pos, struct node *a,
                        struct node *b) {
  struct node *n = bk_tpl_node(p, op, pos);
  n->u.x.a = a;
  n->u.x.b = b;
  return n;
}

static struct node *sequence(struct parser *p, enum node_op op, enum tok close) {
  struct node *n = bk_tpl_node(p, op, p->cur.pos);
  bk_tpl_advance(p);
  while (p->cur.type != close) {
    if (n->u.list.n) bk_tpl_expect(p, T_COMMA);
    if (p->cur.type == close) break;
    bk_tpl_append(p, &n->u.list, bk_tpl_expr(p, true));
  }
  bk_tpl_expect(p, close);
  return n;
}

static struct node *dict(struct parser *p) {
  struct node *n = bk_tpl_node(p, N_DICT, p->cur.pos);
  bk_tpl_advance(p);
  while (p->cur.type != T_RBRACE) {
    if (n->u.dict.keys.n) bk_tpl_expect(p, T_COMMA);
    if (p->cur.type == T_RBRACE) break;
    bk_tpl_append(p, &n->u.dict.keys, bk_tpl_expr(p, true));
    bk_tpl_expect(p, T_COLON);
    bk_tpl_append(p, &n->u.dict.vals, bk_tpl_expr(p, true));
  }
  bk_tpl_expect(p, T_RBRACE);
  return n;
}

static struct node *string(struct parser *p) {
  struct token t = p->cur;
  bk_tpl_advance(p);
  if (p->cur.type != T_STR) return constant(p, bk_tv_text(t.s, t.len), t.pos);
  size_t cap = t.len, n = t.len;
  char *s = bk_arena_strndup(&p->tpl->mem, t.s, n);
  for (; p->cur.type == T_STR; bk_tpl_advance(p)) { /* adjacent strings are one */
    if (n + p->cur.len > cap) {
      cap = (n + p->cur.len) * 2;
      char *more = bk_arena_alloc(&p->tpl->mem, cap);
      memcpy(more, s, n);
      s = more;
    }
    memcpy(s + n, p->cur.s, p->cur.len);
    n += p->cur.len;
  }
  return constant(p, bk_tv_text(s, n), t.pos);
}

static struct node *name(struct parser *p) {
  static const struct { const char *word; uint8_t kind; bool v; } words[] = {
      {"true", TV_BOOL, true},   {"True", TV_BOOL, true}, {"false", TV_BOOL, false},
      {"False", TV_BOOL, false}, {"none", TV_NONE, 0},    {"None", TV_NONE, 0}};
  struct node *n = NULL;
  for (size_t i = 0; i < BK_ARRAY_LEN(words) && !n; i++) {
    if (!bk_tpl_is_name(p, words[i].word)) continue;
    n = constant(p, words[i].kind == TV_NONE ? bk_tv_none() : bk_tv_bool(words[i].v), p->cur.pos);
  }
  if (!n) {
    n = bk_tpl_node(p, N_NAME, p->cur.pos);
    n->u.sym = bk_tpl_intern(p->env, p->cur.s, p->cur.len);
    bk_tpl_used(p, n->u.sym);
  }
  bk_tpl_advance(p);
  return n;
}

static struct node *primary(struct parser *p) {
  struct token t = p->cur;
  struct node *n;
  char buf[80];
  switch (t.type) {
    case T_NAME: return name(p);
    case T_STR: return string(p);
    case T_INT:
      bk_tpl_advance(p);
      return constant(p, bk_tv_int(t.i), t.pos);
    case T_FLOAT:
      bk_tpl_advance(p);
      return constant(p, bk_tv_float(t.f), t.pos);
    case T_LPAREN:
      bk_tpl_advance(p);
      n = bk_tpl_tuple(p, false, true, NULL, true);
      bk_tpl_expect(p, T_RPAREN);
      return n;
    case T_LBRACKET: return sequence(p, N_LIST, T_RBRACKET);
    case T_LBRACE: return dict(p);
    default:
      bk_tpl_syntax(p, t.pos, "expected an expression, got %s", bk_tpl_tok_text(&t, buf, 80));
  }
}

struct node *bk_tpl_tuple(struct parser *p, bool simple, bool with_cond, const char *end_name,
                          bool parens) {
  uint32_t pos = p->cur.pos;
  struct nodes list = {0};
  bool is_tuple = false;
  for (;;) {
    if (list.n) bk_tpl_expect(p, T_COMMA);
    enum tok t = p->cur.type;
    if (t == T_VAR_END || t == T_BLOCK_END || t == T_RPAREN) break;
    if (end_name && bk_tpl_is_name(p, end_name)) break;
    bk_tpl_append(p, &list, simple ? primary(p) : bk_tpl_expr(p, with_cond));
    if (p->cur.type != T_COMMA) break;
    is_tuple = true;
  }
  if (!is_tuple && list.n) return list.v[0];
  if (!is_tuple && !parens) {
    char buf[80];
    bk_tpl_syntax(p, p->cur.pos, "expected an expression, got %s",
                  bk_tpl_tok_text(&p->cur, buf, 80));
  }
  struct node *n = bk_tpl_node(p, N_TUPLE, pos);
  n->u.list = list;
  return n;
}

/* --- calls, subscripts, filters, tests -------------------------------------------------------- */

static void keyword(struct parser *p, struct args *a, const struct tpl_sym *key) {
  uint32_t n = a->kwval.n;
  if (n == MAX_NAMES) bk_tpl_syntax(p, p->cur.pos, "more than %d keyword arguments", MAX_NAMES);
  for (uint32_t i = 0; i < n; i++)
    if (a->kwname[i] == key) bk_tpl_syntax(p, p->cur.pos, "argument '%s' is given twice", key->s);
  if ((n & (n - 1)) == 0) {
    const struct tpl_sym **v = bk_arena_alloc(&p->tpl->mem, sizeof *v * (n ? n * 2u : 1));
    if (n) memcpy(v, a->kwname, sizeof *v * n);
    a->kwname = v;
  }
  a->kwname[n] = key;
  bk_tpl_append(p, &a->kwval, bk_tpl_expr(p, true));
}

static struct args *arguments(struct parser *p) {
  struct args *a = bk_arena_alloc(&p->tpl->mem, sizeof *a);
  bk_tpl_expect(p, T_LPAREN);
  for (bool first = true; p->cur.type != T_RPAREN; first = false) {
    if (!first) bk_tpl_expect(p, T_COMMA);
    if (p->cur.type == T_RPAREN) break;
    uint32_t pos = p->cur.pos;
    if (bk_tpl_skip(p, T_MUL)) {
      if (a->dyn_args || a->dyn_kwargs) bk_tpl_syntax(p, pos, "only one *argument list, before **");
      a->dyn_args = bk_tpl_expr(p, true);
    } else if (bk_tpl_skip(p, T_POW)) {
      if (a->dyn_kwargs) bk_tpl_syntax(p, pos, "only one **argument map");
      a->dyn_kwargs = bk_tpl_expr(p, true);
    } else if (p->cur.type == T_NAME && bk_tpl_peek(p)->type == T_ASSIGN) {
      const struct tpl_sym *key = bk_tpl_name(p, "an argument name");
      bk_tpl_advance(p);
      if (a->dyn_kwargs) bk_tpl_syntax(p, pos, "keyword argument after **");
      keyword(p, a, key);
    } else {
      if (a->dyn_args || a->dyn_kwargs || a->kwval.n)
        bk_tpl_syntax(p, pos, "positional argument after keyword or * arguments");
      bk_tpl_append(p, &a->pos, bk_tpl_expr(p, true));
    }
  }
  bk_tpl_expect(p, T_RPAREN);
  return a;
}

static struct node *call(struct parser *p, struct node *callee) {
  struct node *n = bk_tpl_node(p, N_CALL, callee->pos);
  n->u.call.a = callee;
  n->u.call.args = arguments(p);
  return n;
}

static bool slice_end(const struct parser *p) {
  return p->cur.type == T_RBRACKET || p->cur.type == T_COMMA;
}

/* One index or lo:hi:step between brackets. */
static struct node *subscribed(struct parser *p, struct node *obj) {
  uint32_t pos = p->cur.pos;
  struct node *lo = NULL;
  if (p->cur.type != T_COLON) {
    lo = bk_tpl_expr(p, true);
    if (p->cur.type != T_COLON) return lo;
  }
  struct node *n = bk_tpl_node(p, N_SLICE, pos);
  n->u.slice.a = obj;
  n->u.slice.lo = lo;
  bk_tpl_advance(p);
  if (p->cur.type != T_COLON && !slice_end(p)) n->u.slice.hi = bk_tpl_expr(p, true);
  if (bk_tpl_skip(p, T_COLON) && !slice_end(p)) n->u.slice.step = bk_tpl_expr(p, true);
  return n;
}

static struct node *brackets(struct parser *p, struct node *obj) {
  uint32_t pos = p->cur.pos;
  struct nodes list = {0};
  bk_tpl_advance(p);
  while (p->cur.type != T_RBRACKET) {
    if (list.n) bk_tpl_expect(p, T_COMMA);
    if (p->cur.type == T_RBRACKET) break;
    struct node *n = subscribed(p, obj);
    if (list.n && (n->op == N_SLICE || list.v[0]->op == N_SLICE))
      bk_tpl_syntax(p, n->pos, "a slice cannot stand beside other subscripts");
    bk_tpl_append(p, &list, n);
  }
  bk_tpl_expect(p, T_RBRACKET);
  if (list.n == 1 && list.v[0]->op == N_SLICE && list.v[0]->u.slice.a == obj) return list.v[0];
  if (list.n == 1) return two(p, N_ITEM, pos, obj, list.v[0]);
  struct node *t = bk_tpl_node(p, N_TUPLE, pos);
  t->u.list = list;
  return two(p, N_ITEM, pos, obj, t);
}

static struct node *dotted(struct parser *p, struct node *obj) {
  bk_tpl_advance(p);
  struct token t = p->cur;
  char buf[80];
  if (t.type == T_INT) {
    bk_tpl_advance(p);
    return two(p, N_ITEM, t.pos, obj, constant(p, bk_tv_int(t.i), t.pos));
  }
  if (t.type != T_NAME)
    bk_tpl_syntax(p, t.pos, "expected a name or number after '.', got %s",
                  bk_tpl_tok_text(&t, buf, 80));
  struct node *n = bk_tpl_node(p, N_ATTR, t.pos);
  n->u.attr.a = obj;
  n->u.attr.name = bk_tpl_name(p, "a name");
  return n;
}

static struct node *postfix(struct parser *p, struct node *n) {
  for (;;) {
    if (p->cur.type == T_DOT) n = dotted(p, n);
    else if (p->cur.type == T_LBRACKET) n = brackets(p, n);
    else if (p->cur.type == T_LPAREN) n = call(p, n);
    else return n;
  }
}

/* name or name.name: filters and tests of applications may have dots. */
static const struct tpl_sym *dotted_name(struct parser *p, const char *what) {
  const struct tpl_sym *s = bk_tpl_name(p, what);
  while (bk_tpl_skip(p, T_DOT)) {
    const struct tpl_sym *more = bk_tpl_name(p, what);
    uint32_t n = s->len + 1 + more->len;
    char *t = bk_arena_alloc(&p->tpl->mem, n + 1);
    memcpy(t, s->s, s->len);
    t[s->len] = '.';
    memcpy(t + s->len + 1, more->s, more->len);
    s = bk_tpl_intern(p->env, t, n);
  }
  return s;
}

/* Looks the filter or test up; unknown ones are an error unless they may never be reached. */
static void resolve(struct parser *p, struct node *n, bool test) {
  const struct tpl_sym *s = n->u.filter.name;
  struct bk_map *own = test ? &p->env->tests : &p->env->filters;
  n->u.filter.host = (int64_t)(intptr_t)bk_map_get(own, s->s, s->len);
  if (n->u.filter.host) return;
  n->u.filter.fn = test ? bk_tpl_find_test(s->s, s->len) : bk_tpl_find_filter(p->env, s->s, s->len);
  if (!n->u.filter.fn && !p->conditional && !p->unknown) p->unknown = n;
}

void bk_tpl_check_unknown(struct parser *p) {
  const struct node *n = p->unknown;
  if (!n) return;
  const struct tpl_sym *s = n->u.filter.name;
  bool test = n->op == N_TEST;
  bk_tpl_hint_function(p->env, s->s, s->len, test);
  bk_tpl_syntax(p, n->pos, "there is no %s named '%s'", test ? "test" : "filter", s->s);
}

struct node *bk_tpl_filters(struct parser *p, struct node *a, bool start_inline) {
  while (start_inline || p->cur.type == T_PIPE) {
    if (!start_inline) bk_tpl_advance(p);
    start_inline = false;
    struct node *n = bk_tpl_node(p, N_FILTER, p->cur.pos);
    n->u.filter.a = a;
    n->u.filter.name = dotted_name(p, "a filter name");
    if (p->cur.type == T_LPAREN) n->u.filter.args = arguments(p);
    resolve(p, n, false);
    a = n;
  }
  return a;
}

static struct node *test(struct parser *p, struct node *a) {
  bk_tpl_advance(p);
  struct node *n = bk_tpl_node(p, N_TEST, p->cur.pos);
  n->sub = bk_tpl_skip_name(p, "not");
  n->u.filter.a = a;
  n->u.filter.name = dotted_name(p, "a test name");
  enum tok t = p->cur.type;
  if (t == T_LPAREN) {
    n->u.filter.args = arguments(p);
  } else if ((t >= T_NAME && t <= T_FLOAT) || t == T_LBRACKET || t == T_LBRACE) {
    if (bk_tpl_is_name(p, "is")) bk_tpl_syntax(p, p->cur.pos, "tests cannot be chained with 'is'");
    if (!bk_tpl_is_name(p, "else") && !bk_tpl_is_name(p, "or") && !bk_tpl_is_name(p, "and")) {
      n->u.filter.args = bk_arena_alloc(&p->tpl->mem, sizeof(struct args));
      bk_tpl_append(p, &n->u.filter.args->pos, postfix(p, primary(p)));
    }
  }
  resolve(p, n, true);
  return n;
}

static struct node *filter_expr(struct parser *p, struct node *n) {
  for (;;) {
    if (p->cur.type == T_PIPE) n = bk_tpl_filters(p, n, false);
    else if (bk_tpl_is_name(p, "is")) n = test(p, n);
    else if (p->cur.type == T_LPAREN) n = call(p, n);
    else return n;
  }
}

/* --- operators ------------------------------------------------------------------------------- */

static struct node *unary(struct parser *p, bool with_filter) {
  struct node *n;
  uint32_t pos = p->cur.pos;
  bk_tpl_enter(p);
  if (p->cur.type == T_SUB || p->cur.type == T_ADD) {
    enum node_op op = p->cur.type == T_SUB ? N_NEG : N_POS;
    bk_tpl_advance(p);
    struct node *a = unary(p, false);
    if (a->op == N_CONST && op == N_NEG && a->u.val.kind == TV_INT) {
      n = constant(p, bk_tv_int(-a->u.val.u.i), pos);
    } else {
      n = bk_tpl_node(p, op, pos);
      n->u.x.a = a;
    }
  } else {
    n = primary(p);
  }
  n = postfix(p, n);
  if (with_filter) n = filter_expr(p, n);
  p->depth--;
  return n;
}

static struct node *binary(struct parser *p, struct node *left,
                           struct node *(*next)(struct parser *)) {
  struct node *n = bk_tpl_node(p, N_BIN, p->cur.pos);
  n->sub = (uint8_t)p->cur.type;
  bk_tpl_advance(p);
  n->u.x.a = left;
  n->u.x.b = next(p);
  return n;
}

static struct node *unary_filtered(struct parser *p) { return unary(p, true); }

static struct node *power(struct parser *p) {
  struct node *n = unary_filtered(p);
  while (p->cur.type == T_POW) n = binary(p, n, unary_filtered);
  return n;
}

static struct node *product(struct parser *p) {
  struct node *n = power(p);
  while (p->cur.type == T_MUL || p->cur.type == T_DIV || p->cur.type == T_FLOORDIV ||
         p->cur.type == T_MOD)
    n = binary(p, n, power);
  return n;
}

static struct node *concat(struct parser *p) {
  struct node *n = product(p);
  if (p->cur.type != T_TILDE) return n;
  struct node *list = bk_tpl_node(p, N_CONCAT, n->pos);
  bk_tpl_append(p, &list->u.list, n);
  while (bk_tpl_skip(p, T_TILDE)) bk_tpl_append(p, &list->u.list, product(p));
  return list;
}

static struct node *sum(struct parser *p) {
  struct node *n = concat(p);
  while (p->cur.type == T_ADD || p->cur.type == T_SUB) n = binary(p, n, concat);
  return n;
}

/* Comparison operator at the current token, skipped; 0 when there is none. `in` is T_NAME, `not in`
 * T_SEMI. */
static int comparison(struct parser *p) {
  enum tok t = p->cur.type;
  if (t >= T_EQ && t <= T_GE) {
    bk_tpl_advance(p);
    return (int)t;
  }
  if (bk_tpl_skip_name(p, "in")) return T_NAME;
  if (!bk_tpl_is_name(p, "not")) return 0;
  const struct token *next = bk_tpl_peek(p);
  if (next->type != T_NAME || next->len != 2 || memcmp(next->s, "in", 2) != 0) return 0;
  bk_tpl_advance(p);
  bk_tpl_advance(p);
  return T_SEMI;
}

static struct node *compare(struct parser *p) {
  struct node *a = sum(p), *n = NULL;
  for (;;) {
    uint32_t at = p->cur.pos;
    int op = comparison(p);
    if (!op) break;
    if (!n) {
      n = bk_tpl_node(p, N_COMPARE, at);
      n->u.cmp.a = a;
    }
    uint32_t k = n->u.cmp.rest.n;
    if ((k & (k - 1)) == 0) {
      uint8_t *ops = bk_arena_alloc(&p->tpl->mem, k ? k * 2u : 1);
      if (k) memcpy(ops, n->u.cmp.ops, k);
      n->u.cmp.ops = ops;
    }
    n->u.cmp.ops[k] = (uint8_t)op;
    bk_tpl_append(p, &n->u.cmp.rest, sum(p));
  }
  return n ? n : a;
}

static struct node *negation(struct parser *p) {
  uint32_t pos = p->cur.pos;
  if (!bk_tpl_skip_name(p, "not")) return compare(p);
  bk_tpl_enter(p);
  struct node *n = bk_tpl_node(p, N_NOT, pos);
  n->u.x.a = negation(p);
  p->depth--;
  return n;
}

static struct node *conjunction(struct parser *p) {
  struct node *n = negation(p);
  for (uint32_t pos = p->cur.pos; bk_tpl_skip_name(p, "and"); pos = p->cur.pos)
    n = two(p, N_AND, pos, n, negation(p));
  return n;
}

static struct node *disjunction(struct parser *p) {
  struct node *n = conjunction(p);
  for (uint32_t pos = p->cur.pos; bk_tpl_skip_name(p, "or"); pos = p->cur.pos)
    n = two(p, N_OR, pos, n, conjunction(p));
  return n;
}

struct node *bk_tpl_expr(struct parser *p, bool with_cond) {
  struct node *unknown = p->unknown;
  bk_tpl_enter(p);
  struct node *n = disjunction(p);
  if (with_cond && bk_tpl_is_name(p, "if")) p->unknown = unknown; /* n may never be reached */
  for (uint32_t pos = p->cur.pos; with_cond && bk_tpl_skip_name(p, "if"); pos = p->cur.pos) {
    struct node *c = bk_tpl_node(p, N_COND, pos);
    c->u.x.a = n;
    p->conditional++;
    c->u.x.c = disjunction(p);
    if (bk_tpl_skip_name(p, "else")) c->u.x.b = bk_tpl_expr(p, true);
    p->conditional--;
    n = c;
  }
  p->depth--;
  return n;
}

/* --- assignment targets ---------------------------------------------------------------------- */

static void check_target(struct parser *p, const struct node *n) {
  if (n->op == N_TUPLE) {
    for (uint32_t i = 0; i < n->u.list.n; i++) check_target(p, n->u.list.v[i]);
  } else if (n->op != N_NAME) {
    bk_tpl_syntax(p, n->pos, "cannot assign to this: expected a name%s",
                  n->op == N_CONST ? ", not a constant" : "");
  } else if (n->u.sym == p->env->s_loop && p->loops) {
    bk_tpl_syntax(p, n->pos, "cannot assign to the special variable 'loop'");
  }
}

struct node *bk_tpl_target(struct parser *p, bool names_only, const char *end_name, bool ns) {
  struct node *n;
  uint32_t pos = p->cur.pos;
  if (ns && p->cur.type == T_NAME && bk_tpl_peek(p)->type == T_DOT) {
    n = bk_tpl_node(p, N_NSREF, pos);
    n->u.attr.a = bk_tpl_node(p, N_NAME, pos);
    n->u.attr.a->u.sym = bk_tpl_name(p, "a name");
    bk_tpl_advance(p);
    n->u.attr.name = bk_tpl_name(p, "an attribute name");
    return n;
  }
  if (names_only) {
    char buf[80];
    if (p->cur.type != T_NAME)
      bk_tpl_syntax(p, pos, "expected a name, got %s", bk_tpl_tok_text(&p->cur, buf, sizeof buf));
    n = name(p);
  } else {
    n = bk_tpl_tuple(p, true, true, end_name, false);
  }
  check_target(p, n);
  return n;
}
