/* for loops and the `loop` variable. Elements and the test of `for … if …` are looked at one by
 * one as the loop goes on; loop.last and loop.nextitem look one ahead, loop.length at
 * all of them. */
#include "template/template_run.h"

static bool fetch(rt *r, struct tv_loop *l, bk_tv *v) {
  const struct for_node *f = l->node->u.loop;
  while (!l->exhausted) {
    if (!bk_tpl_next(r, &l->it, v)) break;
    if (!l->test_scope) return true;
    bk_tpl_step(r, 1);
    struct scope *scope = r->scope;
    r->scope = l->test_scope;
    bk_tpl_scope_reset(l->test_scope);
    bk_tpl_assign(r, f->target, *v);
    bk_tv c = bk_tpl_eval(r, f->test);
    r->at = f->test;
    bool keep = bk_tpl_truth(r, c);
    r->scope = scope;
    if (keep) return true;
  }
  l->exhausted = true;
  return false;
}

static bool peek(rt *r, struct tv_loop *l) {
  if (!tv_given(l->after) && !fetch(r, l, &l->after)) l->after = tv_kind(TV_MISSING);
  return tv_given(l->after);
}

static bool advance(rt *r, struct tv_loop *l) {
  bk_tv v = l->after;
  if (tv_given(v)) l->after = tv_kind(TV_MISSING);
  else if (!fetch(r, l, &v)) return false;
  l->index0++;
  l->before = l->current;
  l->current = v;
  return true;
}

static int64_t length(rt *r, struct tv_loop *l) {
  if (l->length >= 0) return l->length;
  int64_t n = l->node->u.loop->test ? -1 : bk_tpl_len(r, l->it.seq);
  if (n < 0) { /* not known: the rest is taken out and iterated over later */
    bk_tv rest = bk_tpl_list(r, 0), v;
    while (fetch(r, l, &v)) bk_tpl_push(r, rest.u.l, v);
    n = rest.u.l->n + l->index0 + 1 + (tv_given(l->after) ? 1 : 0);
    bk_tpl_iter(r, &l->it, rest);
    l->test_scope = NULL;
    l->exhausted = false;
  }
  return l->length = n;
}

bk_tv bk_tpl_loop_attr(rt *r, struct tv_loop *l, const char *s, size_t n) {
  bk_tv name = bk_tv_text(s, n);
  if (tv_is(name, "index")) return bk_tv_int(l->index0 + 1);
  if (tv_is(name, "index0")) return bk_tv_int(l->index0);
  if (tv_is(name, "first")) return bk_tv_bool(l->index0 == 0);
  if (tv_is(name, "last")) return bk_tv_bool(!peek(r, l));
  if (tv_is(name, "length")) return bk_tv_int(length(r, l));
  if (tv_is(name, "revindex")) return bk_tv_int(length(r, l) - l->index0);
  if (tv_is(name, "revindex0")) return bk_tv_int(length(r, l) - l->index0 - 1);
  if (tv_is(name, "depth")) return bk_tv_int((int64_t)l->depth0 + 1);
  if (tv_is(name, "depth0")) return bk_tv_int(l->depth0);
  if (tv_is(name, "previtem"))
    return l->index0 ? l->before : bk_tpl_undef_hint(r, "there is no previous item");
  if (tv_is(name, "nextitem"))
    return peek(r, l) ? l->after : bk_tpl_undef_hint(r, "there is no next item");
  return tv_kind(TV_MISSING);
}

static bk_tv m_cycle(rt *r, struct bk_tpl_args *a) {
  const struct tv_loop *l = a->v[0].u.p;
  if (a->n < 2) bk_tpl_bad(r, "loop.cycle(): no items for cycling given");
  return a->v[1 + l->index0 % (a->n - 1)];
}

static bk_tv m_changed(rt *r, struct bk_tpl_args *a) {
  struct tv_loop *l = a->v[0].u.p;
  bk_tv now = bk_tpl_tuple_of(r, a->v + 1, a->n - 1);
  bool same = l->changed && bk_tpl_eq(r, tv_ptr(TV_TUPLE, l->changed), now);
  l->changed = now.u.l;
  return bk_tv_bool(!same);
}

const struct tpl_fn bk_tpl_loop_methods[] = {
    {.name = "cycle", .raw = m_cycle}, {.name = "changed", .raw = m_changed}, {.name = NULL}};

/* The loop over seq; outer is the scope around the for statement. */
static void run(rt *r, const struct node *n, bk_tv seq, struct scope *outer, uint32_t depth0) {
  const struct for_node *f = n->u.loop;
  struct tv_loop *l = bk_tpl_alloc(r, sizeof *l);
  struct scope *before = r->scope, *inner = bk_tpl_scope(r, outer);
  *l = (struct tv_loop){.node = n, .outer = outer, .index0 = -1, .length = -1, .depth0 = depth0};
  bk_tpl_iter(r, &l->it, seq);
  if (f->test) l->test_scope = bk_tpl_scope(r, outer);
  bool ran = false;
  r->scope = inner;
  while (advance(r, l)) {
    bk_tpl_step(r, 1);
    bk_tpl_scope_reset(inner);
    bk_tpl_assign(r, f->target, l->current);
    if (f->uses_loop) bk_tpl_define(r, inner, r->env->s_loop, tv_ptr(TV_LOOP, l), false);
    enum flow flow = bk_tpl_exec(r, &f->body);
    if (flow == FLOW_NEXT) ran = true; /* as in Jinja, a first round cut short does not count */
    if (flow == FLOW_BREAK) break;
  }
  if (!ran && f->orelse.n) {
    r->scope = bk_tpl_scope(r, outer);
    bk_tpl_exec(r, &f->orelse);
  }
  r->scope = before;
}

bk_tv bk_tpl_for_text(rt *r, const struct node *n, bk_tv seq, struct scope *outer,
                      uint32_t depth0) {
  size_t mark = bk_tpl_begin(r);
  struct frame f;
  bk_tpl_push_frame(r, &f, r->frame->tpl, "recursive loop", NULL);
  r->at = n->u.loop->iter;
  run(r, n, seq, outer, depth0);
  bk_tpl_pop_frame(r, &f);
  bk_tv v = bk_tpl_end(r, mark);
  if (r->autoescape) v.flags |= TVF_SAFE;
  return v;
}

void bk_tpl_for(rt *r, const struct node *n) {
  bk_tv seq = bk_tpl_eval(r, n->u.loop->iter);
  r->at = n->u.loop->iter;
  if (!n->u.loop->recursive) run(r, n, seq, r->scope, 0);
  else bk_tpl_print(r, bk_tpl_for_text(r, n, seq, r->scope, 0));
}
