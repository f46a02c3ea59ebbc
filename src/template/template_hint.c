/* "did you mean …?" for names that do not exist: the nearest known name within a few letters. */
#include <stdio.h>

#include "template/template_run.h"

enum { LONGEST = 48 };

struct near {
  const char *word, *best;
  size_t len, best_len, least;
};

static size_t distance(const char *a, size_t n, const char *b, size_t m) {
  size_t row[LONGEST + 1];
  for (size_t j = 0; j <= m; j++) row[j] = j;
  for (size_t i = 1; i <= n; i++) {
    size_t diag = row[0];
    row[0] = i;
    for (size_t j = 1; j <= m; j++) {
      bool same = ((a[i - 1] ^ b[j - 1]) & ~32) == 0; /* but for the case of letters */
      size_t swap = diag + !same, gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      diag = row[j];
      row[j] = swap < gap ? swap : gap;
    }
  }
  return row[m];
}

static void try_name(struct near *n, const char *s, size_t len) {
  if (len > LONGEST || !len || s[0] == '_') return;
  size_t d = distance(n->word, n->len, s, len);
  if (d >= n->least) return;
  n->least = d;
  n->best = s;
  n->best_len = len;
}

static void try_dict(rt *r, struct near *n, struct tv_dict *d) {
  if (d) bk_tpl_d(r, tv_ptr(TV_DICT, d));
  for (uint32_t i = 0; d && i < d->n; i++)
    if (d->e[i].key.kind == TV_STR) try_name(n, d->e[i].key.u.s, d->e[i].key.len);
}

static void try_table(struct near *n, const struct tpl_fn *t) {
  for (; t->name; t++) try_name(n, t->name, strlen(t->name));
}

static bool start(struct near *n, struct bk_tpl_env *env, const char *s, size_t len) {
  *n = (struct near){.word = s, .len = len, .least = len / 3 + 2};
  env->hint[0] = '\0';
  return len <= LONGEST;
}

static void finish(const struct near *n, struct bk_tpl_env *env) {
  if (n->best)
    snprintf(env->hint, sizeof env->hint, "did you mean '%.*s'?", (int)n->best_len, n->best);
}

void bk_tpl_hint_undefined(rt *r, const struct tv_undef *u) {
  struct near n;
  if (u->key.kind != TV_STR || !start(&n, r->env, u->key.u.s, u->key.len)) return;
  if (u->how == UNDEF_NAME) {
    for (const struct scope *s = r->scope; s; s = s->up) {
      for (uint32_t i = 0; i < s->n; i++) try_name(&n, s->vars[i].name->s, s->vars[i].name->len);
      try_dict(r, &n, s->base);
    }
    try_dict(r, &n, r->globals);
    try_table(&n, bk_tpl_globals);
  } else if (u->how == UNDEF_ATTR) {
    if (u->obj.kind == TV_DICT || u->obj.kind == TV_NS) try_dict(r, &n, u->obj.u.d);
    const struct scope *m = NULL;
    if (u->obj.kind == TV_MODULE) m = ((struct tv_module *)u->obj.u.p)->root;
    for (uint32_t i = 0; m && i < m->n; i++)
      if (m->vars[i].exported) try_name(&n, m->vars[i].name->s, m->vars[i].name->len);
  }
  finish(&n, r->env);
}

void bk_tpl_hint_function(struct bk_tpl_env *env, const char *s, size_t len, bool test) {
  struct near n;
  if (!start(&n, env, s, len)) return;
  bk_map_each(e, test ? &env->tests : &env->filters) try_name(&n, e->key, e->len);
  if (test) {
    try_table(&n, bk_tpl_tests);
  } else {
    for (size_t i = 0; i < bk_tpl_filter_tables(env); i++) try_table(&n, bk_tpl_filter_table(i));
  }
  finish(&n, env);
}

const char *bk_tpl_hint(const struct bk_tpl_env *env) { return env->hint[0] ? env->hint : NULL; }
