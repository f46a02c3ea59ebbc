/* Statements and the template as a whole. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "template/template_run.h"

#define MAX_BLOCKS 4096
#define MAX_PARAMS 1000

struct tag { /* an open block tag, for error messages */
  const struct tag *up;
  const char *name;
  uint32_t pos;
};
struct scope_mark {
  struct scope_mark *up;
  struct for_node *loop; /* exactly one of loop and macro, or none: a block, which hides all */
  struct macro_node *macro;
};

/* --- errors, token stream -------------------------------------------------------------------- */

void bk_tpl_position(const char *src, uint32_t len, uint32_t pos, int *line, int *col) {
  *line = *col = 1;
  if (pos > len) pos = len;
  for (const char *s = src, *end = src + pos; s < end;) {
    if (*s == '\n') ++*line, *col = 1, s++;
    else ++*col, s += bk_tpl_u8len(s, end);
  }
}

void bk_tpl_syntax(struct parser *p, uint32_t pos, const char *fmt, ...) {
  char msg[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  struct bk_tpl_place *f = &p->env->fault;
  bk_tpl_position(p->tpl->src, p->tpl->len, pos, &f->line, &f->col);
  bk_fail(p->err, BK_BUILD, "template.syntax", "%s", msg);
  bk_err_where(p->err, "%s:%d:%d", p->tpl->name, f->line, f->col);
  longjmp(p->jmp, 1);
}

void bk_tpl_advance(struct parser *p) {
  if (p->has_ahead) {
    p->cur = p->ahead;
    p->has_ahead = false;
  } else {
    bk_tpl_lex(p, &p->cur);
  }
}

const struct token *bk_tpl_peek(struct parser *p) {
  if (!p->has_ahead) {
    bk_tpl_lex(p, &p->ahead);
    p->has_ahead = true;
  }
  return &p->ahead;
}

static bool token_is(const struct token *t, const char *word) {
  return t->type == T_NAME && t->len == strlen(word) && memcmp(t->s, word, t->len) == 0;
}

bool bk_tpl_is_name(const struct parser *p, const char *word) { return token_is(&p->cur, word); }

bool bk_tpl_skip_name(struct parser *p, const char *word) {
  if (!bk_tpl_is_name(p, word)) return false;
  bk_tpl_advance(p);
  return true;
}

bool bk_tpl_skip(struct parser *p, enum tok type) {
  if (p->cur.type != type) return false;
  bk_tpl_advance(p);
  return true;
}

void bk_tpl_expect(struct parser *p, enum tok type) {
  char buf[80];
  if (p->cur.type != type)
    bk_tpl_syntax(p, p->cur.pos, "expected %s, got %s", bk_tpl_tok_name(type),
                  bk_tpl_tok_text(&p->cur, buf, sizeof buf));
  bk_tpl_advance(p);
}

void bk_tpl_expect_name(struct parser *p, const char *word) {
  char buf[80];
  if (!bk_tpl_skip_name(p, word))
    bk_tpl_syntax(p, p->cur.pos, "expected '%s', got %s", word,
                  bk_tpl_tok_text(&p->cur, buf, sizeof buf));
}

const struct tpl_sym *bk_tpl_name(struct parser *p, const char *what) {
  char buf[80];
  if (p->cur.type != T_NAME)
    bk_tpl_syntax(p, p->cur.pos, "expected %s, got %s", what,
                  bk_tpl_tok_text(&p->cur, buf, sizeof buf));
  const struct tpl_sym *s = bk_tpl_intern(p->env, p->cur.s, p->cur.len);
  bk_tpl_advance(p);
  return s;
}

/* A loop, caller, varargs or kwargs that is read makes the constructs around provide it. */
void bk_tpl_used(struct parser *p, const struct tpl_sym *name) {
  const struct bk_tpl_env *e = p->env;
  for (struct scope_mark *m = p->marks; m && (m->loop || m->macro); m = m->up) {
    if (m->loop && name == e->s_loop) m->loop->uses_loop = true;
    if (!m->macro) continue;
    if (name == e->s_caller) m->macro->uses_caller = true;
    if (name == e->s_varargs) m->macro->uses_varargs = true;
    if (name == e->s_kwargs) m->macro->uses_kwargs = true;
  }
}

/* --- bodies ---------------------------------------------------------------------------------- */

static bool statement(struct parser *p, struct nodes *out);

static void unexpected_end(struct parser *p, const char *const *ends, bool eof) {
  char want[120] = "", got[80];
  for (size_t i = 0; ends && ends[i]; i++) {
    size_t n = strlen(want);
    snprintf(want + n, sizeof want - n, "%s'%s'", !i ? "" : ends[i + 1] ? ", " : " or ", ends[i]);
  }
  int line = 0, col = 0;
  const struct tag *t = p->tags;
  if (t) bk_tpl_position(p->tpl->src, p->tpl->len, t->pos, &line, &col);
  if (eof)
    bk_tpl_syntax(p, p->cur.pos, "unexpected end of template: expected %s to close '%s' of line %d",
                  want, t ? t->name : "?", line);
  bk_tpl_tok_text(&p->cur, got, sizeof got);
  if (p->cur.type != T_NAME) bk_tpl_syntax(p, p->cur.pos, "expected a tag name, got %s", got);
  if (t && ends)
    bk_tpl_syntax(p, p->cur.pos,
                  "unknown tag %s: expected a statement, or %s to close '%s' of line %d",
                  got, want, t->name, line);
  bk_tpl_syntax(p, p->cur.pos, "unknown tag %s", got);
}

/* Nodes up to a tag whose name is in ends (which becomes the current token), or to the end. */
static void subparse(struct parser *p, const char *const *ends, struct nodes *out) {
  for (;;) {
    struct token t = p->cur;
    if (t.type == T_EOF) {
      if (ends) unexpected_end(p, ends, true);
      return;
    }
    bk_tpl_advance(p);
    if (t.type == T_DATA) {
      struct node *n = bk_tpl_node(p, N_DATA, t.pos);
      n->u.data.s = t.s;
      n->u.data.len = t.len;
      bk_tpl_append(p, out, n);
    } else if (t.type == T_VAR_BEGIN) {
      struct node *n = bk_tpl_node(p, N_PRINT, t.pos);
      n->u.x.a = bk_tpl_tuple(p, false, true, NULL, false);
      bk_tpl_append(p, out, n);
      bk_tpl_check_unknown(p);
      bk_tpl_expect(p, T_VAR_END);
    } else { /* T_BLOCK_BEGIN: text holds nothing else */
      for (size_t i = 0; ends && ends[i]; i++)
        if (bk_tpl_is_name(p, ends[i])) return;
      if (!statement(p, out)) unexpected_end(p, ends, false);
      bk_tpl_check_unknown(p);
      bk_tpl_expect(p, T_BLOCK_END);
    }
  }
}

/* The body of a tag after its head; the end tag's name is the current token. */
static struct nodes body(struct parser *p, const char *const *ends) {
  struct nodes out = {0};
  bk_tpl_enter(p);
  bk_tpl_check_unknown(p);
  bk_tpl_skip(p, T_COLON);
  bk_tpl_expect(p, T_BLOCK_END);
  subparse(p, ends, &out);
  p->depth--;
  return out;
}

static struct nodes whole_body(struct parser *p, const char *end) {
  const char *const ends[] = {end, NULL};
  struct nodes out = body(p, ends);
  bk_tpl_advance(p);
  return out;
}

/* As whole_body inside a construct that hides loops and marks of the outside, or adds its own. */
static struct nodes marked_body(struct parser *p, const char *end, struct scope_mark *m) {
  unsigned loops = p->loops;
  struct scope_mark *up = p->marks;
  m->up = up;
  p->marks = m;
  p->loops = 0;
  p->nested++;
  struct nodes out = whole_body(p, end);
  p->nested--;
  p->loops = loops;
  p->marks = up;
  return out;
}

static struct nodes inner_body(struct parser *p, const char *end) {
  p->nested++;
  struct nodes out = whole_body(p, end);
  p->nested--;
  return out;
}

/* --- statements ------------------------------------------------------------------------------ */

typedef struct node *stmt_fn(struct parser *p, uint32_t pos);

static struct node *parse_for(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_FOR, pos);
  struct for_node *f = n->u.loop = bk_arena_alloc(&p->tpl->mem, sizeof *f);
  p->loops++;
  f->target = bk_tpl_target(p, false, "in", false);
  p->loops--;
  bk_tpl_expect_name(p, "in");
  f->iter = bk_tpl_tuple(p, false, false, "recursive", false);
  if (bk_tpl_skip_name(p, "if")) f->test = bk_tpl_expr(p, true);
  f->recursive = bk_tpl_skip_name(p, "recursive");
  if (f->recursive) f->uses_loop = true;
  struct scope_mark m = {.up = p->marks, .loop = f};
  p->marks = &m;
  p->loops++;
  p->nested++;
  f->body = body(p, (const char *const[]){"endfor", "else", NULL});
  p->loops--;
  p->marks = m.up;
  if (bk_tpl_skip_name(p, "else")) f->orelse = whole_body(p, "endfor");
  else bk_tpl_advance(p);
  p->nested--;
  return n;
}

static struct node *parse_if(struct parser *p, uint32_t pos) {
  static const char *const ends[] = {"elif", "else", "endif", NULL};
  struct node *n = bk_tpl_node(p, N_IF, pos);
  struct nodes *bodies = NULL;
  uint32_t cap = 0;
  p->conditional++;
  do {
    bk_tpl_append(p, &n->u.cond.conds, bk_tpl_tuple(p, false, false, NULL, false));
    uint32_t k = n->u.cond.conds.n;
    if (k > cap) {
      struct nodes *more = bk_arena_alloc(&p->tpl->mem, sizeof *more * k * 2);
      if (cap) memcpy(more, bodies, sizeof *more * (k - 1));
      bodies = more;
      cap = k * 2;
    }
    bodies[k - 1] = body(p, ends);
  } while (bk_tpl_skip_name(p, "elif"));
  if (bk_tpl_skip_name(p, "else")) n->u.cond.orelse = whole_body(p, "endif");
  else bk_tpl_advance(p);
  p->conditional--;
  n->u.cond.bodies = bodies;
  return n;
}

static struct node *parse_set(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_SET, pos);
  n->u.set.target = bk_tpl_target(p, false, NULL, true);
  if (bk_tpl_skip(p, T_ASSIGN)) {
    n->u.set.value = bk_tpl_tuple(p, false, true, NULL, false);
    return n;
  }
  n->op = N_SETBLOCK;
  n->u.set.value = bk_tpl_filters(p, NULL, false);
  n->u.set.body = inner_body(p, "endset");
  return n;
}

static void signature(struct parser *p, struct macro_node *m) {
  bk_tpl_expect(p, T_LPAREN);
  struct nodes names = {0};
  while (p->cur.type != T_RPAREN) {
    if (names.n) bk_tpl_expect(p, T_COMMA);
    struct node *arg = bk_tpl_target(p, true, NULL, false);
    if (names.n == MAX_PARAMS) bk_tpl_syntax(p, arg->pos, "more than %d parameters", MAX_PARAMS);
    for (uint32_t i = 0; i < names.n; i++)
      if (names.v[i]->u.sym == arg->u.sym)
        bk_tpl_syntax(p, arg->pos, "parameter '%s' is named twice", arg->u.sym->s);
    if (bk_tpl_skip(p, T_ASSIGN)) bk_tpl_append(p, &m->defaults, bk_tpl_expr(p, true));
    else if (m->defaults.n) bk_tpl_syntax(p, arg->pos, "parameter without default after one with");
    bk_tpl_append(p, &names, arg);
  }
  bk_tpl_expect(p, T_RPAREN);
  m->nparams = names.n;
  m->params = bk_arena_alloc(&p->tpl->mem, sizeof *m->params * (names.n + 1));
  for (uint32_t i = 0; i < names.n; i++) m->params[i] = names.v[i]->u.sym;
}

/* A parameter takes the place of the special name; `caller` then needs a default. */
static void macro_body(struct parser *p, struct macro_node *m, const char *end, uint32_t pos) {
  struct scope_mark mark = {.macro = m};
  m->uses_caller = m->uses_varargs = m->uses_kwargs = false;
  m->body = marked_body(p, end, &mark);
  for (uint32_t i = 0; i < m->nparams; i++) {
    if (m->params[i] == p->env->s_varargs) m->uses_varargs = false;
    if (m->params[i] == p->env->s_kwargs) m->uses_kwargs = false;
    if (m->params[i] != p->env->s_caller) continue;
    m->explicit_caller = true;
    if (m->uses_caller && i + m->defaults.n < m->nparams)
      bk_tpl_syntax(p, pos, "parameter 'caller' must have a default value");
  }
}

static struct node *parse_macro(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_MACRO, pos);
  struct macro_node *m = n->u.macro = bk_arena_alloc(&p->tpl->mem, sizeof *m);
  m->name = bk_tpl_target(p, true, NULL, false)->u.sym;
  signature(p, m);
  macro_body(p, m, "endmacro", pos);
  return n;
}

static struct node *parse_call(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_CALLBLOCK, pos);
  struct macro_node *m = n->u.callblock.macro = bk_arena_alloc(&p->tpl->mem, sizeof *m);
  if (p->cur.type == T_LPAREN) signature(p, m);
  n->u.callblock.call = bk_tpl_expr(p, true);
  if (n->u.callblock.call->op != N_CALL)
    bk_tpl_syntax(p, n->u.callblock.call->pos, "expected a call, as in {%% call name(…) %%}");
  macro_body(p, m, "endcall", pos);
  return n;
}

static struct node *parse_filter(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_FILTERBLOCK, pos);
  n->u.scope.expr = bk_tpl_filters(p, NULL, true);
  n->u.scope.body = inner_body(p, "endfilter");
  return n;
}

static struct node *parse_with(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_WITH, pos);
  while (p->cur.type != T_BLOCK_END) {
    if (n->u.with.targets.n) bk_tpl_expect(p, T_COMMA);
    bk_tpl_append(p, &n->u.with.targets, bk_tpl_target(p, false, NULL, false));
    bk_tpl_expect(p, T_ASSIGN);
    bk_tpl_append(p, &n->u.with.values, bk_tpl_expr(p, true));
  }
  n->u.with.body = inner_body(p, "endwith");
  return n;
}

static struct node *parse_autoescape(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_AUTOESCAPE, pos);
  n->u.scope.expr = bk_tpl_expr(p, true);
  n->u.scope.body = inner_body(p, "endautoescape");
  return n;
}

static void add_block(struct parser *p, struct node *n) {
  struct bk_tpl *t = p->tpl;
  for (uint32_t i = 0; i < t->nblocks; i++)
    if (t->blocks[i]->u.block->name == n->u.block->name)
      bk_tpl_syntax(p, n->pos, "block '%s' is defined twice", n->u.block->name->s);
  if (t->nblocks == MAX_BLOCKS) bk_tpl_syntax(p, n->pos, "more than %d blocks", MAX_BLOCKS);
  if (t->nblocks == t->capblocks) {
    t->capblocks = t->capblocks ? t->capblocks * 2 : 8;
    struct node **v = bk_arena_alloc(&t->mem, sizeof *v * t->capblocks);
    if (t->nblocks) memcpy(v, t->blocks, sizeof *v * t->nblocks);
    t->blocks = v;
  }
  t->blocks[t->nblocks++] = n;
}

static bool only_space(const struct nodes *list) {
  for (uint32_t i = 0; i < list->n; i++) {
    const struct node *n = list->v[i];
    if (n->op != N_DATA) return false;
    if (bk_tpl_strip(bk_tv_text(n->u.data.s, n->u.data.len), tv_kind(TV_MISSING), 3).len)
      return false;
  }
  return true;
}

static struct node *parse_block(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_BLOCK, pos);
  struct block_node *b = n->u.block = bk_arena_alloc(&p->tpl->mem, sizeof *b);
  b->name = bk_tpl_name(p, "a block name");
  b->scoped = bk_tpl_skip_name(p, "scoped");
  b->required = bk_tpl_skip_name(p, "required");
  if (p->cur.type == T_SUB)
    bk_tpl_syntax(p, p->cur.pos, "block names may not contain hyphens; use an underscore");
  if (b->scoped) bk_tpl_used(p, p->env->s_loop);
  add_block(p, n);
  struct scope_mark mark = {0};
  b->body = marked_body(p, "endblock", &mark);
  if (b->required && !only_space(&b->body))
    bk_tpl_syntax(p, pos, "required blocks may only contain comments or white space");
  bk_tpl_skip_name(p, b->name->s);
  return n;
}

static struct node *parse_extends(struct parser *p, uint32_t pos) {
  if (p->nested) bk_tpl_syntax(p, pos, "'extends' is only allowed at the top level of a template");
  struct node *n = bk_tpl_node(p, N_EXTENDS, pos);
  n->u.x.a = bk_tpl_expr(p, true);
  return n;
}

/* with context / without context; false when neither is there. */
static bool context_clause(struct parser *p, struct import_node *im) {
  bool with = bk_tpl_is_name(p, "with");
  if ((!with && !bk_tpl_is_name(p, "without")) || !token_is(bk_tpl_peek(p), "context"))
    return false;
  bk_tpl_advance(p);
  bk_tpl_advance(p);
  im->with_context = with;
  return true;
}

static struct node *import_base(struct parser *p, enum node_op op, uint32_t pos) {
  struct node *n = bk_tpl_node(p, op, pos);
  n->u.import = bk_arena_alloc(&p->tpl->mem, sizeof *n->u.import);
  n->u.import->name = bk_tpl_expr(p, true);
  return n;
}

static struct node *parse_include(struct parser *p, uint32_t pos) {
  struct node *n = import_base(p, N_INCLUDE, pos);
  n->u.import->with_context = true;
  if (bk_tpl_is_name(p, "ignore") && token_is(bk_tpl_peek(p), "missing")) {
    bk_tpl_advance(p);
    bk_tpl_advance(p);
    n->u.import->ignore_missing = true;
  }
  context_clause(p, n->u.import);
  return n;
}

static struct node *parse_import(struct parser *p, uint32_t pos) {
  struct node *n = import_base(p, N_IMPORT, pos);
  bk_tpl_expect_name(p, "as");
  n->u.import->target = bk_tpl_target(p, true, NULL, false)->u.sym;
  context_clause(p, n->u.import);
  return n;
}

static struct node *parse_from(struct parser *p, uint32_t pos) {
  struct node *n = import_base(p, N_FROM, pos);
  struct import_node *im = n->u.import;
  bk_tpl_expect_name(p, "import");
  struct nodes names = {0}, aliases = {0};
  for (;;) {
    if (names.n) bk_tpl_expect(p, T_COMMA);
    if (p->cur.type == T_NAME && context_clause(p, im)) break;
    struct node *name = bk_tpl_target(p, true, NULL, false);
    if (name->u.sym->s[0] == '_')
      bk_tpl_syntax(p, name->pos, "names that start with an underscore cannot be imported");
    bk_tpl_append(p, &names, name);
    if (bk_tpl_skip_name(p, "as")) name = bk_tpl_target(p, true, NULL, false);
    bk_tpl_append(p, &aliases, name);
    if (context_clause(p, im) || p->cur.type != T_COMMA) break;
  }
  im->n = names.n;
  im->names = bk_arena_alloc(&p->tpl->mem, sizeof *im->names * (names.n + 1));
  im->aliases = bk_arena_alloc(&p->tpl->mem, sizeof *im->names * (names.n + 1));
  for (uint32_t i = 0; i < names.n; i++) {
    im->names[i] = names.v[i]->u.sym;
    im->aliases[i] = aliases.v[i]->u.sym;
  }
  return n;
}

static struct node *parse_do(struct parser *p, uint32_t pos) {
  struct node *n = bk_tpl_node(p, N_DO, pos);
  n->u.x.a = bk_tpl_tuple(p, false, true, NULL, false);
  return n;
}

static struct node *parse_break(struct parser *p, uint32_t pos) {
  if (!p->loops) bk_tpl_syntax(p, pos, "'break' outside of a loop");
  return bk_tpl_node(p, N_BREAK, pos);
}

static struct node *parse_continue(struct parser *p, uint32_t pos) {
  if (!p->loops) bk_tpl_syntax(p, pos, "'continue' outside of a loop");
  return bk_tpl_node(p, N_CONTINUE, pos);
}

static const struct { const char *name; stmt_fn *parse; } statements[] = {
    {"for", parse_for}, {"if", parse_if}, {"set", parse_set}, {"macro", parse_macro},
    {"call", parse_call}, {"filter", parse_filter}, {"with", parse_with},
    {"autoescape", parse_autoescape}, {"block", parse_block}, {"extends", parse_extends},
    {"include", parse_include}, {"import", parse_import}, {"from", parse_from}, {"do", parse_do},
    {"break", parse_break}, {"continue", parse_continue},
};

/* False when the tag is unknown: the caller knows what it was waiting for. */
static bool statement(struct parser *p, struct nodes *out) {
  struct token t = p->cur;
  if (bk_tpl_is_name(p, "print")) {
    bk_tpl_advance(p);
    for (bool first = true; p->cur.type != T_BLOCK_END; first = false) {
      if (!first) bk_tpl_expect(p, T_COMMA);
      struct node *n = bk_tpl_node(p, N_PRINT, t.pos);
      n->u.x.a = bk_tpl_expr(p, true);
      bk_tpl_append(p, out, n);
    }
    return true;
  }
  for (size_t i = 0; i < BK_ARRAY_LEN(statements); i++) {
    if (!bk_tpl_is_name(p, statements[i].name)) continue;
    struct tag tag = {.up = p->tags, .name = statements[i].name, .pos = t.pos};
    p->tags = &tag;
    bk_tpl_advance(p);
    bk_tpl_append(p, out, statements[i].parse(p, t.pos));
    p->tags = tag.up;
    return true;
  }
  return false;
}

int bk_tpl_parse(struct bk_tpl *tpl, struct bk_err *err) {
  struct parser *p = bk_calloc(1, sizeof *p);
  p->env = tpl->env;
  p->tpl = tpl;
  p->err = err;
  p->lx = (struct lexer){.src = tpl->src, .len = tpl->len};
  int rc = -1;
  if (setjmp(p->jmp) == 0) {
    bk_tpl_advance(p);
    subparse(p, NULL, &tpl->body);
    rc = 0;
  }
  free(p);
  return rc;
}
