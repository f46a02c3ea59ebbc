/* Environments, compilation, runs: limits, raising, traces. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "template/template_run.h"

#define MAX_SOURCE ((size_t)32 << 20)
#define MAX_SPARE ((size_t)1 << 20)

/* --- environment ----------------------------------------------------------------------------- */

static void default_limits(struct bk_tpl_limits *l) {
  if (!l->depth) l->depth = 200;
  if (!l->output) l->output = (size_t)64 << 20;
  if (l->output > (size_t)1 << 30) l->output = (size_t)1 << 30;
  if (!l->memory) l->memory = (size_t)512 << 20;
  if (!l->steps) l->steps = 10000000;
  if (!l->range) l->range = 1000000;
  if (l->range > INT32_MAX) l->range = INT32_MAX;
  if (!(l->seconds > 0)) l->seconds = 60;
}

struct bk_tpl_env *bk_tpl_env_new(const struct bk_tpl_options *o) {
  struct bk_tpl_env *e = bk_calloc(1, sizeof *e);
  e->opt = *o;
  e->refs = 1;
  default_limits(&e->opt.limits);
  if (o->line_statement)
    e->opt.line_statement = bk_arena_strndup(&e->mem, o->line_statement, strlen(o->line_statement));
  if (o->line_comment)
    e->opt.line_comment = bk_arena_strndup(&e->mem, o->line_comment, strlen(o->line_comment));
  e->s_loop = bk_tpl_intern(e, "loop", 4);
  e->s_caller = bk_tpl_intern(e, "caller", 6);
  e->s_varargs = bk_tpl_intern(e, "varargs", 7);
  e->s_kwargs = bk_tpl_intern(e, "kwargs", 6);
  e->s_self = bk_tpl_intern(e, "self", 4);
  e->s_super = bk_tpl_intern(e, "super", 5);
  return e;
}

static void free_memory(rt *r) {
  bk_buf_free(&r->out);
  bk_buf_free(&r->source);
  bk_arena_free(&r->mem);
  free(r);
}

void bk_tpl_env_unref(struct bk_tpl_env *e) {
  if (--e->refs) return;
  bk_map_free(&e->cache);
  bk_map_free(&e->syms);
  bk_map_free(&e->filters);
  bk_map_free(&e->tests);
  bk_arena_free(&e->mem);
  free(e->fault_name);
  free(e->fault_source);
  free(e);
}

void bk_tpl_env_free(struct bk_tpl_env *e) {
  if (!e) return;
  bk_map_each(c, &e->cache) bk_tpl_unref(c->value); /* they hold references to e */
  bk_map_free(&e->cache);
  if (e->spare) free_memory(e->spare);
  e->spare = NULL;
  e->closed = true;
  bk_tpl_env_unref(e);
}

void bk_tpl_env_filter(struct bk_tpl_env *e, const char *name, size_t len, int64_t fn) {
  bk_map_set(&e->filters, name, len, (void *)(intptr_t)fn);
}

void bk_tpl_env_test(struct bk_tpl_env *e, const char *name, size_t len, int64_t fn) {
  bk_map_set(&e->tests, name, len, (void *)(intptr_t)fn);
}

const struct tpl_sym *bk_tpl_intern(struct bk_tpl_env *e, const char *s, size_t len) {
  struct tpl_sym *sym = bk_map_get(&e->syms, s, len);
  if (sym) return sym;
  sym = bk_arena_alloc(&e->mem, sizeof *sym);
  sym->s = bk_arena_strndup(&e->mem, s, len);
  sym->len = (uint32_t)len;
  sym->hash = bk_tpl_hash_str(s, len);
  sym->method = bk_tpl_any_method(s, len);
  bk_map_set(&e->syms, s, len, sym);
  return sym;
}

/* --- compilation ----------------------------------------------------------------------------- */

/* CRLF and CR become LF; one newline at the end goes unless it is to be kept. */
static char *normalize(const char *s, size_t len, bool keep, uint32_t *out_len) {
  char *out = bk_malloc(len + 1);
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    if (s[i] == '\r') {
      out[n++] = '\n';
      if (i + 1 < len && s[i + 1] == '\n') i++;
    } else {
      out[n++] = s[i];
    }
  }
  if (!keep && n && out[n - 1] == '\n') n--;
  out[n] = '\0';
  *out_len = (uint32_t)n;
  return out;
}

/* The text of line p->line, at most 400 bytes of it. */
static void source_line(const struct bk_tpl *t, struct bk_tpl_place *p) {
  const char *s = t->src, *end = s + t->len, *nl;
  for (int i = 1; i < p->line && (nl = memchr(s, '\n', (size_t)(end - s))); i++) s = nl + 1;
  nl = memchr(s, '\n', (size_t)(end - s));
  size_t n = (size_t)((nl ? nl : end) - s);
  p->source = s;
  p->source_len = n > 400 ? 400 : (uint32_t)n;
}

struct bk_tpl *bk_tpl_compile(struct bk_tpl_env *env, const char *name, const char *text,
                              size_t len, struct bk_err *err) {
  env->fault = (struct bk_tpl_place){.what = ""};
  env->hint[0] = '\0';
  if (len > MAX_SOURCE) {
    bk_fail(err, BK_BUILD, "template.limit", "template '%s' is larger than %zu bytes", name,
            MAX_SOURCE);
    return NULL;
  }
  struct bk_tpl *t = bk_calloc(1, sizeof *t);
  t->env = env;
  env->refs++;
  t->refs = 1;
  t->name = bk_strdup(name);
  t->given_len = len;
  t->src = normalize(text, len, env->opt.keep_trailing_newline, &t->len);
  if (t->len != len || memcmp(t->src, text, len) != 0) t->given = bk_strndup(text, len);
  if (bk_tpl_parse(t, err)) {
    free(env->fault_name);
    env->fault.name = env->fault_name = bk_strdup(name);
    free(env->fault_source);
    source_line(t, &env->fault);
    env->fault.source = env->fault_source = bk_strndup(env->fault.source, env->fault.source_len);
    bk_tpl_unref(t);
    return NULL;
  }
  return t;
}

void bk_tpl_unref(struct bk_tpl *t) {
  if (!t || --t->refs) return;
  bk_arena_free(&t->mem);
  bk_tpl_env_unref(t->env);
  free(t->name);
  free(t->src);
  free(t->given);
  free(t);
}

struct bk_tpl *bk_tpl_cached(struct bk_tpl_env *env, const char *name, const char *text, size_t len,
                             struct bk_err *err) {
  struct bk_tpl *t = bk_map_get(&env->cache, name, strlen(name));
  bool same = t && t->given_len == len && memcmp(t->given ? t->given : t->src, text, len) == 0;
  if (!same) {
    t = bk_tpl_compile(env, name, text, len, err);
    if (!t) return NULL;
    bk_tpl_unref(bk_map_set(&env->cache, name, strlen(name), t));
  }
  t->refs++;
  return t;
}

bool bk_tpl_compile_place(const struct bk_tpl_env *env, struct bk_tpl_place *out) {
  *out = env->fault;
  return env->fault.line > 0;
}

/* --- raising, limits ------------------------------------------------------------------------- */

void bk_tpl_throw(rt *r) {
  const struct node *at = r->at;
  uint32_t n = 0, i = 0;
  for (struct frame *f = r->frame; f; f = f->up) n++;
  if (r->syntax) n++;
  r->trace = bk_arena_alloc(&r->mem, sizeof *r->trace * (n + 1));
  if (r->syntax) r->trace[i++] = r->env->fault;
  for (struct frame *f = r->frame; f; at = f->called_at, f = f->up) {
    struct bk_tpl_place *p = &r->trace[i++];
    char what[200] = "";
    snprintf(what, sizeof what, f->name ? "%s '%s'" : "%s", f->what, f->name);
    p->what = bk_arena_strndup(&r->mem, what, strlen(what));
    p->name = bk_arena_strndup(&r->mem, f->tpl->name, strlen(f->tpl->name));
    p->line = p->col = 1;
    if (at) bk_tpl_position(f->tpl->src, f->tpl->len, at->pos, &p->line, &p->col);
    source_line(f->tpl, p);
    p->source = bk_arena_strndup(&r->mem, p->source, p->source_len);
  }
  r->traced = i;
  if (i) bk_err_where(r->err, "%s:%d:%d", r->trace[0].name, r->trace[0].line, r->trace[0].col);
  longjmp(r->jmp, 1);
}

void bk_tpl_raise(rt *r, const char *code, const char *fmt, ...) {
  char msg[700];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(msg, sizeof msg, fmt, ap);
  va_end(ap);
  bk_fail(r->err, BK_BUILD, code, "%s", msg);
  bk_tpl_throw(r);
}

void *bk_tpl_alloc(rt *r, size_t n) {
  if (r->mem.total > r->env->opt.limits.memory || n > r->env->opt.limits.memory - r->mem.total)
    bk_tpl_raise(r, "template.limit", "rendering needs more than %zu bytes of memory",
                 r->env->opt.limits.memory);
  return bk_arena_alloc(&r->mem, n);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void bk_tpl_check(rt *r) {
  const struct bk_tpl_limits *l = &r->env->opt.limits;
  if (r->steps > l->steps)
    bk_tpl_raise(r, "template.limit", "rendering takes more than %llu steps",
                 (unsigned long long)l->steps);
  if (r->next_check && now() > r->deadline)
    bk_tpl_raise(r, "template.limit", "rendering takes longer than %g seconds", l->seconds);
  uint64_t next = r->steps + 1024;
  r->next_check = next > l->steps ? l->steps + 1 : next;
}

void bk_tpl_too_deep(rt *r) { bk_tpl_raise(r, "template.limit", "nested too deeply"); }

void bk_tpl_push_frame(rt *r, struct frame *f, struct bk_tpl *tpl, const char *what,
                       const char *name) {
  if (r->depth >= r->env->opt.limits.depth)
    bk_tpl_raise(r, "template.limit",
                 "more than %u nested macros, includes or blocks (endless recursion?)",
                 r->env->opt.limits.depth);
  r->depth++;
  *f = (struct frame){.up = r->frame, .tpl = tpl, .called_at = r->at, .what = what, .name = name};
  r->frame = f;
  r->at = NULL;
}

void bk_tpl_pop_frame(rt *r, struct frame *f) {
  r->depth--;
  r->frame = f->up;
  r->at = f->called_at;
}

/* --- runs ------------------------------------------------------------------------------------ */

struct bk_tpl_run *bk_tpl_run_new(struct bk_tpl_env *env, const struct bk_tpl_host *host) {
  rt *r = env->spare;
  if (r) {
    rt fresh = {.mem = r->mem, .out = r->out, .source = r->source};
    env->spare = NULL;
    *r = fresh;
  } else {
    r = bk_calloc(1, sizeof *r);
  }
  r->env = env;
  env->refs++;
  if (host) r->host = *host;
  r->out.max = env->opt.limits.output;
  r->source.max = MAX_SOURCE + 1;
  bk_buf_reserve(&r->out, env->opt.limits.output < 2048 ? 1 : 2048);
  return r;
}

void bk_tpl_run_free(rt *r) {
  if (!r) return;
  struct bk_tpl_env *env = r->env;
  for (uint32_t i = 0; i < r->nheld; i++) bk_tpl_unref(r->held[i]);
  free(r->held);
  bk_tpl_regex_free(r);
  bk_map_free(&r->modules);
  bk_map_free(&r->loaded);
  if (env->spare || env->closed || r->out.cap > MAX_SPARE || r->source.cap > MAX_SPARE) {
    free_memory(r);
  } else {
    bk_buf_reset(&r->out);
    bk_buf_reset(&r->source);
    bk_arena_reset(&r->mem);
    env->spare = r;
  }
  bk_tpl_env_unref(env);
}

void bk_tpl_hold(rt *r, struct bk_tpl *tpl) {
  if (r->nheld == r->capheld) {
    r->capheld = r->capheld ? r->capheld * 2 : 8;
    r->held = bk_reallocarray(r->held, r->capheld, sizeof *r->held);
  }
  tpl->refs++;
  r->held[r->nheld++] = tpl;
}

static void render(rt *r, struct bk_tpl *tpl, bk_tv vars) {
  struct context *ctx = bk_tpl_alloc(r, sizeof *ctx);
  struct scope *base = bk_tpl_scope(r, NULL);
  struct frame f = {.tpl = tpl, .what = ""};
  base->base = vars.kind == TV_DICT ? vars.u.d : NULL;
  ctx->root = bk_tpl_scope(r, base);
  r->frame = &f;
  bk_tpl_run_template(r, tpl, ctx);
  r->frame = NULL;
  if (r->out.overflow) bk_tpl_size(r, UINT64_MAX);
}

static void start(rt *r, bk_tv globals, struct bk_err *err) {
  r->err = err;
  r->env->hint[0] = '\0';
  r->globals = globals.kind == TV_DICT ? globals.u.d : NULL;
  r->deadline = now() + r->env->opt.limits.seconds;
}

int bk_tpl_render(rt *r, struct bk_tpl *tpl, bk_tv vars, bk_tv globals, struct bk_err *err) {
  start(r, globals, err);
  r->stack = __builtin_frame_address(0);
  bk_tpl_hold(r, tpl);
  if (setjmp(r->jmp)) return -1;
  render(r, tpl, vars);
  return 0;
}

int bk_tpl_render_name(rt *r, const char *name, size_t len, bk_tv vars, bk_tv globals,
                       struct bk_err *err) {
  start(r, globals, err);
  r->stack = __builtin_frame_address(0);
  if (setjmp(r->jmp)) return -1;
  render(r, bk_tpl_load(r, bk_tv_copy(r, name, len), false), vars);
  return 0;
}

const char *bk_tpl_output(rt *r, size_t *len) {
  *len = r->out.len;
  bk_buf_add(&r->out, "", 0); /* ends with a NUL */
  return bk_buf_str(&r->out);
}

bool bk_tpl_trace(const rt *r, size_t level, struct bk_tpl_place *out) {
  if (level >= r->traced) return false;
  *out = r->trace[level];
  return true;
}
