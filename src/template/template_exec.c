/* Statements. */
#include "template/template_run.h"

void bk_tpl_print(rt *r, bk_tv v) {
  if (r->autoescape) bk_tpl_put_escaped(r, v);
  else bk_tpl_put_text(r, v);
}

enum flow bk_tpl_capture(rt *r, const struct nodes *body, bk_tv *text) {
  size_t mark = bk_tpl_begin(r);
  enum flow f = bk_tpl_exec(r, body);
  *text = bk_tpl_end(r, mark);
  if (r->autoescape) text->flags |= TVF_SAFE;
  return f;
}

static enum flow exec_if(rt *r, const struct node *n) {
  for (uint32_t i = 0; i < n->u.cond.conds.n; i++) {
    bk_tv c = bk_tpl_eval(r, n->u.cond.conds.v[i]);
    r->at = n->u.cond.conds.v[i];
    if (bk_tpl_truth(r, c)) return bk_tpl_exec(r, &n->u.cond.bodies[i]);
  }
  return bk_tpl_exec(r, &n->u.cond.orelse);
}

static enum flow exec_with(rt *r, const struct node *n) {
  struct scope *outer = r->scope, *inner = bk_tpl_scope(r, outer);
  for (uint32_t i = 0; i < n->u.with.targets.n; i++) {
    bk_tv v = bk_tpl_eval(r, n->u.with.values.v[i]); /* sees the outside only */
    r->scope = inner;
    bk_tpl_assign(r, n->u.with.targets.v[i], v);
    r->scope = outer;
  }
  r->scope = inner;
  enum flow f = bk_tpl_exec(r, &n->u.with.body);
  r->scope = outer;
  return f;
}

static enum flow exec_set_block(rt *r, const struct node *n) {
  struct scope *outer = r->scope;
  bool mute = r->mute;
  bk_tv text;
  r->scope = bk_tpl_scope(r, outer);
  r->mute = false;
  enum flow f = bk_tpl_capture(r, &n->u.set.body, &text);
  if (f == FLOW_NEXT && n->u.set.value) text = bk_tpl_eval_filter(r, n->u.set.value, text);
  r->scope = outer;
  r->mute = mute;
  if (f == FLOW_NEXT) bk_tpl_assign(r, n->u.set.target, text);
  return f;
}

static enum flow exec_filter_block(rt *r, const struct node *n) {
  struct scope *outer = r->scope;
  bk_tv text;
  r->scope = bk_tpl_scope(r, outer);
  enum flow f = bk_tpl_capture(r, &n->u.scope.body, &text);
  if (f == FLOW_NEXT) {
    text = bk_tpl_eval_filter(r, n->u.scope.expr, text);
    r->at = n;
    bk_tpl_print(r, text);
  }
  r->scope = outer;
  return f;
}

static enum flow exec_autoescape(rt *r, const struct node *n) {
  struct scope *outer = r->scope;
  bool before = r->autoescape;
  bk_tv v = bk_tpl_eval(r, n->u.scope.expr);
  r->at = n;
  r->autoescape = bk_tpl_truth(r, v);
  r->scope = bk_tpl_scope(r, outer);
  enum flow f = bk_tpl_exec(r, &n->u.scope.body);
  r->scope = outer;
  r->autoescape = before;
  return f;
}

static void exec_call_block(rt *r, const struct node *n) {
  bk_tv caller = bk_tpl_macro_new(r, n->u.callblock.macro);
  bk_tv v = bk_tpl_eval_call(r, n->u.callblock.call, &caller);
  r->at = n;
  bk_tpl_print(r, v);
}

static void exec_macro(rt *r, const struct node *n) {
  const struct tpl_sym *name = n->u.macro->name;
  bool top = r->ctx && r->scope == r->ctx->root;
  bk_tpl_define(r, r->scope, name, bk_tpl_macro_new(r, n->u.macro), top && name->s[0] != '_');
}

static enum flow exec_one(rt *r, const struct node *n) {
  bk_tv v;
  switch (n->op) {
    case N_IF: return exec_if(r, n);
    case N_FOR: bk_tpl_for(r, n); break;
    case N_SET:
      v = bk_tpl_eval(r, n->u.set.value);
      r->at = n;
      bk_tpl_assign(r, n->u.set.target, v);
      break;
    case N_SETBLOCK: return exec_set_block(r, n);
    case N_MACRO: exec_macro(r, n); break;
    case N_CALLBLOCK: exec_call_block(r, n); break;
    case N_FILTERBLOCK: return exec_filter_block(r, n);
    case N_WITH: return exec_with(r, n);
    case N_BLOCK: bk_tpl_exec_block(r, n); break;
    case N_EXTENDS: bk_tpl_exec_extends(r, n); break;
    case N_INCLUDE: bk_tpl_exec_include(r, n); break;
    case N_IMPORT:
    case N_FROM: bk_tpl_exec_import(r, n); break;
    case N_DO: bk_tpl_eval(r, n->u.x.a); break;
    case N_BREAK: return FLOW_BREAK;
    case N_CONTINUE: return FLOW_CONTINUE;
    case N_AUTOESCAPE: return exec_autoescape(r, n);
    default: break;
  }
  return FLOW_NEXT;
}

enum flow bk_tpl_exec(rt *r, const struct nodes *body) {
  bk_tpl_guard(r);
  for (uint32_t i = 0; i < body->n; i++) {
    const struct node *n = body->v[i];
    if (n->op == N_DATA) {
      if (r->mute) continue;
      r->at = n;
      bk_tpl_put(r, n->u.data.s, n->u.data.len);
    } else if (n->op == N_PRINT) {
      if (r->mute) continue;
      bk_tv v = bk_tpl_eval(r, n->u.x.a);
      r->at = n->u.x.a;
      bk_tpl_print(r, v);
    } else {
      enum flow f = exec_one(r, n);
      if (f != FLOW_NEXT) return f;
    }
  }
  return FLOW_NEXT;
}
