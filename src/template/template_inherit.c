/* Templates that use other templates: include, import, extends, blocks. */
#include "template/template_run.h"

/* --- loading --------------------------------------------------------------------------------- */

static struct bk_tpl *load_one(rt *r, bk_tv name) {
  if (name.kind == TV_UNDEF) bk_tpl_undefined(r, name);
  if (name.kind != TV_STR)
    bk_tpl_bad(r, "template name must be a string, not '%s'", bk_tpl_type(name));
  struct bk_tpl *tpl = bk_map_get(&r->loaded, name.u.s, name.len);
  if (!tpl && !r->env->opt.auto_reload) {
    tpl = bk_map_get(&r->env->cache, name.u.s, name.len);
    if (tpl) bk_tpl_hold(r, tpl);
    if (tpl) bk_map_set(&r->loaded, name.u.s, name.len, tpl);
  }
  if (tpl || !r->host.load) return tpl;
  struct bk_buf *text = &r->source;
  bk_buf_reset(text);
  int rc = r->host.load(r->host.ud, name.u.s, name.len, text, r->err);
  if (rc < 0) bk_tpl_throw(r);
  if (rc == 0) return NULL;
  const char *label = bk_tv_copy(r, name.u.s, name.len).u.s; /* ends with a NUL */
  tpl = bk_tpl_cached(r->env, label, bk_buf_str(text), text->len, r->err);
  if (!tpl) {
    r->syntax = true;
    bk_tpl_throw(r);
  }
  bk_tpl_hold(r, tpl);
  bk_tpl_unref(tpl);
  bk_map_set(&r->loaded, name.u.s, name.len, tpl);
  return tpl;
}

/* Template of a name, or the first that exists of a list of names; NULL when may_miss. */
struct bk_tpl *bk_tpl_load(rt *r, bk_tv name, bool may_miss) {
  struct bk_tpl *tpl = NULL;
  if (!tv_seq(name)) {
    tpl = load_one(r, name);
    if (tpl || may_miss) return tpl;
    bk_tpl_raise(r, "template.not_found", "template '%.*s' not found",
                 (int)(name.len > 200 ? 200 : name.len), name.u.s);
  }
  struct tv_list *l = bk_tpl_l(r, name);
  for (uint32_t i = 0; i < l->n && !tpl; i++) tpl = load_one(r, l->v[i]);
  if (tpl || may_miss) return tpl;
  bk_tv names = bk_tpl_repr(r, name);
  bk_tpl_raise(r, "template.not_found", "none of the templates exists: %.*s",
               (int)(names.len > 300 ? 300 : names.len), names.u.s);
}

/* --- contexts and blocks --------------------------------------------------------------------- */

static struct block_stack *find_stack(struct context *ctx, const char *s, size_t n) {
  for (uint32_t i = 0; i < ctx->nblocks; i++)
    if (ctx->blocks[i].name->len == n && memcmp(ctx->blocks[i].name->s, s, n) == 0)
      return &ctx->blocks[i];
  return NULL;
}

static void add_blocks(rt *r, struct context *ctx, struct bk_tpl *tpl) {
  size_t most = (size_t)ctx->nblocks + tpl->nblocks + 1;
  struct block_stack *all = bk_tpl_alloc(r, sizeof *all * most);
  if (ctx->nblocks) memcpy(all, ctx->blocks, sizeof *all * ctx->nblocks);
  ctx->blocks = all;
  for (uint32_t i = 0; i < tpl->nblocks; i++) {
    const struct tpl_sym *name = tpl->blocks[i]->u.block->name;
    struct block_stack *s = find_stack(ctx, name->s, name->len);
    if (!s) {
      s = &all[ctx->nblocks++];
      s->name = name;
    }
    struct block_def *v = bk_tpl_alloc(r, sizeof *v * ((size_t)s->n + 1));
    if (s->n) memcpy(v, s->v, sizeof *v * s->n);
    v[s->n++] = (struct block_def){.node = tpl->blocks[i], .tpl = tpl};
    s->v = v;
  }
}

/* Level `level` of a block; prints straight to the output. */
static void print_block(rt *r, struct context *ctx, struct block_stack *st, uint32_t level,
                        struct scope *outer) {
  const struct block_def *def = &st->v[level];
  struct scope *scope = r->scope;
  struct context *before = r->ctx;
  bool mute = r->mute, autoescape = r->autoescape;
  struct tv_block *super = bk_tpl_alloc(r, sizeof *super);
  *super = (struct tv_block){.ctx = ctx, .stack = st, .scope = outer, .level = level};
  struct frame f;
  bk_tpl_push_frame(r, &f, def->tpl, "block", st->name->s);
  r->ctx = ctx;
  r->scope = bk_tpl_scope(r, outer);
  r->mute = r->autoescape = false;
  bk_tpl_define(r, r->scope, r->env->s_super, bk_tpl_block_super(r, super), false);
  bk_tpl_exec(r, &def->node->u.block->body);
  r->ctx = before;
  r->scope = scope;
  r->mute = mute;
  r->autoescape = autoescape;
  bk_tpl_pop_frame(r, &f);
}

void bk_tpl_exec_block(rt *r, const struct node *n) {
  const struct block_node *b = n->u.block;
  struct context *ctx = r->ctx;
  if (r->scope == ctx->root && ctx->parent) return;
  r->at = n;
  struct block_stack *st = find_stack(ctx, b->name->s, b->name->len);
  if (!st) bk_tpl_bad(r, "block '%s' is not part of this template", b->name->s);
  if (b->required && st->n <= 1) bk_tpl_bad(r, "required block '%s' not found", b->name->s);
  print_block(r, ctx, st, 0, b->scoped ? r->scope : ctx->root);
}

bk_tv bk_tpl_block_text(rt *r, struct tv_block *b) {
  size_t mark = bk_tpl_begin(r);
  print_block(r, b->ctx, b->stack, b->level, b->scope);
  bk_tv v = bk_tpl_end(r, mark);
  if (r->autoescape) v.flags |= TVF_SAFE;
  return v;
}

bk_tv bk_tpl_block_super(rt *r, struct tv_block *b) {
  if (b->level + 1 >= b->stack->n)
    return bk_tpl_undef_hint(r, "there is no parent block called '%s'", b->stack->name->s);
  struct tv_block *up = bk_tpl_alloc(r, sizeof *up);
  *up = *b;
  up->level++;
  return tv_ptr(TV_BLOCK, up);
}

bk_tv bk_tpl_self_block(rt *r, struct context *ctx, const char *s, size_t n) {
  struct block_stack *st = find_stack(ctx, s, n);
  if (!st) return tv_kind(TV_MISSING);
  struct tv_block *b = bk_tpl_alloc(r, sizeof *b);
  *b = (struct tv_block){.ctx = ctx, .stack = st, .scope = ctx->root};
  return tv_ptr(TV_BLOCK, b);
}

void bk_tpl_exec_extends(rt *r, const struct node *n) {
  if (r->ctx->parent) bk_tpl_bad(r, "extended multiple times");
  bk_tv name = bk_tpl_eval(r, n->u.x.a);
  r->at = n;
  struct bk_tpl *tpl = bk_tpl_load(r, name, false);
  add_blocks(r, r->ctx, tpl);
  r->ctx->parent = tpl;
  r->ctx->extends_at = n;
  r->mute = true;
}

static void run_root(rt *r, struct bk_tpl *tpl, struct context *ctx) {
  ctx->parent = NULL;
  r->mute = false;
  bk_tpl_exec(r, &tpl->body);
  if (!ctx->parent) return;
  struct frame f;
  r->at = ctx->extends_at;
  bk_tpl_push_frame(r, &f, ctx->parent, "parent template", NULL);
  run_root(r, ctx->parent, ctx);
  bk_tpl_pop_frame(r, &f);
}

void bk_tpl_run_template(rt *r, struct bk_tpl *tpl, struct context *ctx) {
  struct context *before = r->ctx;
  struct scope *scope = r->scope;
  bool mute = r->mute, autoescape = r->autoescape;
  r->ctx = ctx;
  r->scope = ctx->root;
  r->autoescape = false;
  add_blocks(r, ctx, tpl);
  run_root(r, tpl, ctx);
  r->ctx = before;
  r->scope = scope;
  r->mute = mute;
  r->autoescape = autoescape;
}

/* --- include, import ------------------------------------------------------------------------- */

/* Everything visible from s as it is now, in one scope. */
static struct scope *flatten(rt *r, struct scope *s) {
  struct scope *flat = bk_tpl_scope(r, NULL);
  for (; s; s = s->up) {
    for (uint32_t i = 0; i < s->n; i++) {
      const struct var *v = &s->vars[i];
      if (!bk_tpl_var(flat, v->name)) bk_tpl_define(r, flat, v->name, v->v, false);
    }
    if (s->base) flat->base = s->base;
  }
  return flat;
}

static struct tv_module *make_module(rt *r, struct bk_tpl *tpl, struct scope *vars,
                                     const char *what) {
  struct context *ctx = bk_tpl_alloc(r, sizeof *ctx);
  struct tv_module *m = bk_tpl_alloc(r, sizeof *m);
  struct frame f;
  ctx->root = bk_tpl_scope(r, vars);
  bk_tpl_push_frame(r, &f, tpl, what, NULL);
  size_t mark = bk_tpl_begin(r);
  bk_tpl_run_template(r, tpl, ctx);
  m->text = bk_tpl_end(r, mark);
  bk_tpl_pop_frame(r, &f);
  m->name = tpl->name;
  m->root = ctx->root;
  return m;
}

/* Without context a template is run once, however often it is imported. */
static struct tv_module *module(rt *r, struct bk_tpl *tpl, bool with_context, const char *what) {
  if (with_context) return make_module(r, tpl, flatten(r, r->scope), what);
  struct tv_module *m = bk_map_get(&r->modules, (const char *)&tpl, sizeof tpl);
  if (m) return m;
  m = make_module(r, tpl, NULL, what);
  bk_map_set(&r->modules, (const char *)&tpl, sizeof tpl, m);
  return m;
}

void bk_tpl_exec_include(rt *r, const struct node *n) {
  const struct import_node *im = n->u.import;
  bk_tv name = bk_tpl_eval(r, im->name);
  r->at = n;
  struct bk_tpl *tpl = bk_tpl_load(r, name, im->ignore_missing);
  if (!tpl) return;
  if (!im->with_context) {
    bk_tpl_put_text(r, module(r, tpl, false, "include")->text);
    return;
  }
  struct context *ctx = bk_tpl_alloc(r, sizeof *ctx);
  struct frame f;
  ctx->root = bk_tpl_scope(r, r->scope);
  bk_tpl_push_frame(r, &f, tpl, "include", NULL);
  bk_tpl_run_template(r, tpl, ctx);
  bk_tpl_pop_frame(r, &f);
}

void bk_tpl_exec_import(rt *r, const struct node *n) {
  const struct import_node *im = n->u.import;
  bk_tv name = bk_tpl_eval(r, im->name);
  r->at = n;
  struct tv_module *m = module(r, bk_tpl_load(r, name, false), im->with_context, "import");
  if (n->op == N_IMPORT) {
    bk_tpl_define(r, r->scope, im->target, tv_ptr(TV_MODULE, m), false);
    return;
  }
  for (uint32_t i = 0; i < im->n; i++) {
    const struct tpl_sym *s = im->names[i];
    bk_tv v = bk_tpl_module_attr(m, s);
    if (!tv_given(v)) {
      int line, col;
      const struct bk_tpl *here = r->frame->tpl;
      bk_tpl_position(here->src, here->len, n->pos, &line, &col);
      v = bk_tpl_undef_hint(r,
                            "the template '%s' (imported on line %d in '%s') does not export the "
                            "requested name '%s'", m->name, line, here->name, s->s);
    }
    bk_tpl_define(r, r->scope, im->aliases[i], v, false);
  }
}
