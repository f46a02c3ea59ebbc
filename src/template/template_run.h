/* The evaluator's inner interface. Every fallible function raises by longjmp to bk_tpl_render: all
 * memory is in the run (arena and output buffer), so nothing is released on the way and no function
 * here may hold a resource of its own across a call that can raise. */
#ifndef BK_TEMPLATE_RUN_H
#define BK_TEMPLATE_RUN_H

#include <string.h>

#include "template/template_ast.h"

typedef struct bk_tpl_run rt;

/* --- value innards --------------------------------------------------------------------------- */

enum { TVF_SAFE = 1, TVF_GROUP = 2 }; /* flags: string that needs no escaping; groupby's pair */

struct tv_list {
  bk_tv *v;
  uint32_t n, cap;
  bool printing;
  int64_t lazy;
};
struct tv_entry {
  bk_tv key, val; /* key TV_MISSING: deleted */
  uint64_t hash;
};
struct tv_dict {
  struct tv_entry *e;
  uint32_t n, cap, live;
  uint32_t *index, mask; /* only with more than 8 entries */
  bool printing;
  int64_t lazy; /* not 0: to be filled; e has what was asked for one by one */
};
struct tv_undef {
  enum { UNDEF_NAME, UNDEF_ATTR, UNDEF_HINT } how;
  bool lenient; /* whatever the environment says */
  bk_tv obj, key;
  const char *hint;
};
struct tv_range { int64_t start, stop, step, n; };
struct tv_gen { struct tv_list *l; uint32_t at; const char *name; };
struct tv_view { struct tv_dict *d; char kind; /* k, v, i */ };
struct tv_method { bk_tv self; const struct tpl_fn *fn; };
struct tv_macro {
  const struct macro_node *m;
  struct scope *closure;
  struct context *ctx;
  struct bk_tpl *tpl;
  const char *name;
  bool autoescape; /* where it was defined */
};
struct tv_cycler { bk_tv *v; uint32_t n, at; };
struct tv_joiner { bk_tv sep; bool used; };
struct tv_module { struct scope *root; bk_tv text; const char *name; }; /* exported variables */
struct tv_block { struct context *ctx; struct block_stack *stack; struct scope *scope;
    uint32_t level; };

/* Iteration over anything; see bk_tpl_iter. */
struct tv_iter {
  bk_tv seq;
  uint32_t i, live;
  int64_t at;
};
struct tv_loop {
  struct tv_iter it;
  bool exhausted;
  const struct node *node;
  struct scope *outer, *test_scope;
  bk_tv before, current, after; /* TV_MISSING: none */
  struct tv_list *changed;
  int64_t index0, length; /* length -1: not known yet */
  uint32_t depth0;
};

/* --- functions in tables --------------------------------------------------------------------- */

#define TPL_MAX_ARGS 8
/* A filter, test, method or global. Either `fn` with arguments bound to the parameter names (absent
 * optional ones are TV_MISSING), or `raw` with the arguments as they come. */
struct tpl_fn {
  const char *name;
  bk_tv (*fn)(rt *r, bk_tv *a);
  bk_tv (*raw)(rt *r, struct bk_tpl_args *a);
  uint8_t need; /* how many of the parameters are required */
  const char *params[TPL_MAX_ARGS];
};

/* --- scopes and contexts --------------------------------------------------------------------- */

struct var {
  const struct tpl_sym *name;
  bk_tv v;
  bool exported;
};
struct scope {
  struct scope *up;
  struct tv_dict *base; /* variables handed in, on the outermost scope */
  struct var *vars;
  uint32_t n, cap;
  uint32_t *index, mask; /* by symbol, with more than 16 variables */
  struct var room[4];
};
struct block_stack { /* one name's blocks, the most derived template's first */
  const struct tpl_sym *name;
  struct block_def { const struct node *node; struct bk_tpl *tpl; } *v;
  uint32_t n;
};
struct context { /* one template with its parents */
  struct scope *root;
  struct block_stack *blocks;
  uint32_t nblocks;
  struct bk_tpl *parent; /* set by extends, to be rendered next */
  const struct node *extends_at;
};
struct frame { /* for traces: what we are in */
  struct frame *up;
  struct bk_tpl *tpl;
  const struct node *called_at; /* position in up->tpl */
  const char *what, *name;
};

struct bk_tpl_env {
  struct bk_tpl_options opt;
  unsigned refs; /* the owner, templates, runs */
  struct bk_tpl_run *spare; /* memory of the last run, for the next */
  bool closed;
  struct bk_map syms, filters, tests; /* symbols; host functions: number as pointer */
  struct bk_map cache;                /* loaded templates by name */
  struct bk_arena mem;
  struct bk_tpl_place fault;          /* of the last failed compilation */
  char *fault_name, *fault_source;
  char hint[80];
  const struct tpl_sym *s_loop, *s_caller, *s_varargs, *s_kwargs, *s_self, *s_super;
};

struct bk_tpl_run {
  struct bk_tpl_env *env;
  struct bk_tpl_host host;
  struct bk_arena mem;
  struct bk_buf out; /* output; its tail is also where texts are put together */
  jmp_buf jmp;
  struct bk_err *err;
  struct frame *frame;
  const struct node *at;
  struct scope *scope;
  struct context *ctx;
  struct tv_dict *globals;
  bool mute;       /* after extends: text outside blocks is dropped */
  bool autoescape;
  bool running;
  uint32_t depth, traced;
  struct bk_tpl_place *trace;
  uint64_t steps, next_check;
  double deadline;
  char *stack;     /* frame address of bk_tpl_render */
  bool syntax;           /* the error is env->fault, a template that does not compile */
  struct bk_buf source;  /* text of a template being loaded */
  struct bk_map modules;          /* imported without context: struct tv_module */
  struct bk_map loaded;           /* by name, so that one run sees one version */
  struct bk_tpl **held;           /* templates in use */
  uint32_t nheld, capheld;
  struct tpl_regex *regexes;
  uint32_t nregexes;
  struct pcre2_real_match_context_8 *regex_limits;
};

/* --- raising and limits ---------------------------------------------------------------------- */

#define TPL_RUNTIME "template.runtime"
_Noreturn void bk_tpl_raise(rt *r, const char *code, const char *fmt, ...) BK_PRINTF(3, 4);
_Noreturn void bk_tpl_throw(rt *r); /* err is filled, except for the place */
#define bk_tpl_bad(r, ...) bk_tpl_raise(r, TPL_RUNTIME, __VA_ARGS__)
void *bk_tpl_alloc(rt *r, size_t n) __attribute__((returns_nonnull)); /* zeroed */
void bk_tpl_check(rt *r);
/* Counts work against steps and time. */
static inline void bk_tpl_step(rt *r, uint64_t n) {
  r->steps += n;
  if (r->steps >= r->next_check) bk_tpl_check(r);
}
_Noreturn void bk_tpl_too_deep(rt *r);
#define TPL_MAX_STACK ((ptrdiff_t)3 << 20) /* bytes of C stack below bk_tpl_render */
static inline void bk_tpl_guard(rt *r) {
  if (r->stack - (char *)__builtin_frame_address(0) > TPL_MAX_STACK) bk_tpl_too_deep(r);
}
void bk_tpl_size(rt *r, uint64_t bytes); /* refuses a text that would pass the output limit */

/* --- values (template_value.c) --------------------------------------------------------------- */

static inline bk_tv tv_kind(int kind) { return (bk_tv){.kind = (uint8_t)kind}; }
static inline bk_tv tv_ptr(int kind, void *p) { return (bk_tv){.kind = (uint8_t)kind, .u.p = p}; }
static inline bool tv_given(bk_tv v) { return v.kind != TV_MISSING; }
static inline bool tv_num(bk_tv v) { return v.kind >= TV_BOOL && v.kind <= TV_FLOAT; }
static inline bool tv_integral(bk_tv v) { return v.kind == TV_BOOL || v.kind == TV_INT; }
static inline int64_t tv_i64(bk_tv v) { return v.kind == TV_BOOL ? v.u.b : v.u.i; }
static inline bool tv_seq(bk_tv v) { return v.kind == TV_LIST || v.kind == TV_TUPLE; }
static inline bool tv_is(bk_tv v, const char *s) {
  return v.kind == TV_STR && v.len == strlen(s) && memcmp(v.u.s, s, v.len) == 0;
}
/* z equals s[0..n), which may hold NULs. */
static inline bool tpl_same(const char *z, const char *s, size_t n) {
  return strlen(z) == n && memcmp(z, s, n) == 0;
}
static inline bk_tv tv_strz(const char *s) { return bk_tv_text(s, strlen(s)); }
/* v with the safe mark of `like`. */
static inline bk_tv tv_like(bk_tv v, bk_tv like) {
  if (like.kind == TV_STR) v.flags |= like.flags & TVF_SAFE;
  return v;
}

uint64_t bk_tpl_hash_str(const char *s, size_t n);
struct tv_list *bk_tpl_l(rt *r, bk_tv v); /* filled */
struct tv_dict *bk_tpl_d(rt *r, bk_tv v);
bk_tv bk_tpl_list(rt *r, uint32_t cap);
bk_tv bk_tpl_tuple_of(rt *r, const bk_tv *v, uint32_t n);
void bk_tpl_push(rt *r, struct tv_list *l, bk_tv v);
bk_tv bk_tpl_gen(rt *r, bk_tv list, const char *name);
bk_tv *bk_tpl_get(rt *r, struct tv_dict *d, bk_tv key); /* NULL when absent */
/* The entry of a dict that need not have been filled: the host is asked for this one only. */
bk_tv *bk_tpl_entry(rt *r, struct tv_dict *d, const char *s, size_t n, uint64_t hash);
bk_tv *bk_tpl_get_str(struct tv_dict *d, const char *s, size_t n, uint64_t hash);
void bk_tpl_set(rt *r, struct tv_dict *d, bk_tv key, bk_tv v);
bool bk_tpl_del(rt *r, struct tv_dict *d, bk_tv key, bk_tv *old);
void bk_tpl_clear(struct tv_dict *d);

bk_tv bk_tpl_undef_name(rt *r, const struct tpl_sym *name);
bk_tv bk_tpl_undef_attr(rt *r, bk_tv obj, bk_tv key);
bk_tv bk_tpl_undef_hint(rt *r, const char *fmt, ...) BK_PRINTF(2, 3);
_Noreturn void bk_tpl_undefined(rt *r, bk_tv v);
/* An undefined value where it may stand for nothing: raises when strict. */
void bk_tpl_lenient(rt *r, bk_tv v);
const char *bk_tpl_type(bk_tv v); /* Python's name */

bool bk_tpl_truth(rt *r, bk_tv v);
bool bk_tpl_eq(rt *r, bk_tv a, bk_tv b);
int bk_tpl_cmp(rt *r, bk_tv a, bk_tv b, const char *op); /* raises for what has no order */
bool bk_tpl_contains(rt *r, bk_tv in, bk_tv v);
int64_t bk_tpl_len(rt *r, bk_tv v); /* -1: has none */
bool bk_tpl_iterable(bk_tv v);
void bk_tpl_iter(rt *r, struct tv_iter *it, bk_tv v); /* raises when not iterable */
bool bk_tpl_next(rt *r, struct tv_iter *it, bk_tv *v);
struct tv_list *bk_tpl_listed(rt *r, bk_tv v); /* all elements, as a new list */
int64_t bk_tpl_as_int(rt *r, bk_tv v, const char *what); /* bool or int, else raises */
void bk_tpl_sort(rt *r, bk_tv *v, bk_tv *keys, uint32_t n, bool reverse); /* stable */

/* --- text (template_text.c) ------------------------------------------------------------------ */

size_t bk_tpl_begin(rt *r); /* text put to r->out from here … */
bk_tv bk_tpl_end(rt *r, size_t mark); /* … becomes a string and leaves the output */
void bk_tpl_put_more(rt *r, const char *s, size_t n);
static inline void bk_tpl_put(rt *r, const char *s, size_t n) {
  struct bk_buf *b = &r->out;
  if (n >= b->cap - b->len || n > b->max - b->len) {
    bk_tpl_put_more(r, s, n);
    return;
  }
  if (n) memcpy(b->p + b->len, s, n);
  b->len += n;
}
static inline void bk_tpl_puts(rt *r, const char *s) { bk_tpl_put(r, s, strlen(s)); }
void bk_tpl_put_text(rt *r, bk_tv v); /* str(v) */
void bk_tpl_put_repr(rt *r, bk_tv v);
void bk_tpl_put_escaped(rt *r, bk_tv v); /* & < > " ' unless safe */
bk_tv bk_tpl_str(rt *r, bk_tv v);     /* str(v); strings as they are */
bk_tv bk_tpl_escape(rt *r, bk_tv v);
bk_tv bk_tpl_repr(rt *r, bk_tv v);
bk_tv bk_tpl_ascii(rt *r, bk_tv v); /* repr with escapes for all that is not ASCII */
int bk_tpl_float_text(double f, char out[static 40]);
bk_tv bk_tpl_need_str(rt *r, bk_tv v, const char *who);

size_t bk_tpl_u8len(const char *s, const char *end); /* bytes of the character at s */
int32_t bk_tpl_u8get(const char *s, const char *end, size_t *len); /* -1: not UTF-8 */
void bk_tpl_u8put(rt *r, uint32_t c);
size_t bk_tpl_chars(bk_tv s);
bk_tv bk_tpl_sub(bk_tv s, size_t from, size_t to); /* by characters */
size_t bk_tpl_offset(bk_tv s, size_t chars);        /* bytes */
size_t bk_tpl_space(const char *s, const char *end); /* bytes of the white space at s, or 0 */
bk_tv bk_tpl_strip(bk_tv s, bk_tv chars, int sides); /* 1 left, 2 right, 3 both */
enum { CASE_UPPER, CASE_LOWER, CASE_FOLD, CASE_SWAP, CASE_TITLE, CASE_CAPITAL };
bk_tv bk_tpl_case(rt *r, bk_tv s, int how);
bool bk_tpl_class(bk_tv s, const char *cls); /* every character, and at least one */
bool bk_tpl_cp_is(int32_t c, const char *cls);
const char *bk_tpl_find(bk_tv s, size_t from, bk_tv what);

/* Hints for env->hint (template_hint.c). */
void bk_tpl_hint_undefined(rt *r, const struct tv_undef *u);
void bk_tpl_hint_function(struct bk_tpl_env *env, const char *s, size_t len, bool test);

/* --- operators and access (template_ops.c, template_access.c) -------------------------------- */

bk_tv bk_tpl_binary(rt *r, enum tok op, bk_tv a, bk_tv b);
bk_tv bk_tpl_unary(rt *r, enum node_op op, bk_tv a);
bk_tv bk_tpl_attr(rt *r, bk_tv obj, const struct tpl_sym *name);
bk_tv bk_tpl_module_attr(const struct tv_module *m, const struct tpl_sym *name); /* or MISSING */
bk_tv bk_tpl_attr_only(rt *r, bk_tv obj, bk_tv name); /* without looking at items; may be MISSING */
bk_tv bk_tpl_item(rt *r, bk_tv obj, bk_tv key);
bk_tv bk_tpl_slice(rt *r, bk_tv obj, bk_tv lo, bk_tv hi, bk_tv step);
/* "a.b.0" or an integer, as the attribute arguments of map, sort, groupby … */
bk_tv bk_tpl_path(rt *r, bk_tv obj, bk_tv path, bk_tv def);

/* --- functions (template_call.c, tables) ----------------------------------------------------- */

bk_tv bk_tpl_call(rt *r, bk_tv f, struct bk_tpl_args *a);
bk_tv bk_tpl_call_fn(rt *r, const struct tpl_fn *f, struct bk_tpl_args *a);
bk_tv bk_tpl_call_host(rt *r, int64_t fn, struct bk_tpl_args *a, const char *kind,
                       const char *name);
bk_tv bk_tpl_kwarg(struct bk_tpl_args *a, const char *name); /* takes it out; MISSING when absent */
const struct tpl_fn *bk_tpl_find_fn(const struct tpl_fn *table, const char *s, size_t n);
size_t bk_tpl_filter_tables(const struct bk_tpl_env *env); /* how many there are */
const struct tpl_fn *bk_tpl_filter_table(size_t i);
const struct tpl_fn *bk_tpl_find_filter(const struct bk_tpl_env *env, const char *s, size_t n);
const struct tpl_fn *bk_tpl_find_test(const char *s, size_t n);
const struct tpl_fn *bk_tpl_find_method(bk_tv obj, const char *s, size_t n);
bool bk_tpl_any_method(const char *s, size_t n);
bk_tv bk_tpl_global(rt *r, const struct tpl_sym *name); /* MISSING when there is none */
/* By name, for map('upper') and select('odd'): raises when unknown. */
bk_tv bk_tpl_apply_filter(rt *r, bk_tv name, struct bk_tpl_args *a);
bool bk_tpl_apply_test(rt *r, bk_tv name, struct bk_tpl_args *a);
void bk_tpl_merge(rt *r, struct tv_dict *d, bk_tv from, const struct bk_tpl_args *kw); /* dict() */

extern const struct tpl_fn bk_tpl_filters_text[], bk_tpl_filters_seq[], bk_tpl_filters_num[],
    bk_tpl_filters_html[], bk_tpl_filters_pick[], bk_tpl_filters_bakery[], bk_tpl_tests[],
    bk_tpl_globals[], bk_tpl_str_methods[], bk_tpl_list_methods[],
    bk_tpl_tuple_methods[], bk_tpl_dict_methods[], bk_tpl_float_methods[], bk_tpl_int_methods[],
    bk_tpl_cycler_methods[], bk_tpl_loop_methods[];

bk_tv bk_tpl_replace(rt *r, bk_tv s, bk_tv from, bk_tv to, int64_t count); /* count < 0: all */
bk_tv bk_tpl_splitlines(rt *r, bk_tv s, bool keep_ends);
bk_tv bk_tpl_pprint(rt *r, bk_tv *a);
void bk_tpl_wrap_line(rt *r, bk_tv line, size_t width, bool long_words, bool hyphens, bk_tv with);
void bk_tpl_regex_free(rt *r);
/* sep none: at white space; max < 0: no limit. */
bk_tv bk_tpl_split(rt *r, bk_tv s, bk_tv sep, int64_t max);

/* printf-style and str.format (template_format.c). */
bk_tv bk_tpl_percent(rt *r, bk_tv fmt, bk_tv args);
bk_tv bk_tpl_format(rt *r, bk_tv fmt, const struct bk_tpl_args *a, const bk_tv *map);

/* --- evaluation ------------------------------------------------------------------------------ */

enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };
bk_tv bk_tpl_eval(rt *r, const struct node *n);
enum flow bk_tpl_exec(rt *r, const struct nodes *body);
void bk_tpl_print(rt *r, bk_tv v);
enum flow bk_tpl_capture(rt *r, const struct nodes *body, bk_tv *text); /* break drops the text */
bk_tv bk_tpl_eval_filter(rt *r, const struct node *n, bk_tv in);
bk_tv bk_tpl_eval_call(rt *r, const struct node *n, const bk_tv *caller);
void bk_tpl_assign(rt *r, const struct node *target, bk_tv v);

struct scope *bk_tpl_scope(rt *r, struct scope *up);
struct var *bk_tpl_var(const struct scope *s, const struct tpl_sym *name); /* in s alone, or NULL */
static inline void bk_tpl_scope_reset(struct scope *s) {
  s->n = 0;
  if (s->index) memset(s->index, 0, sizeof *s->index * (s->mask + 1));
}
bk_tv bk_tpl_lookup(rt *r, struct scope *s, const struct tpl_sym *name); /* MISSING when absent */
void bk_tpl_define(rt *r, struct scope *s, const struct tpl_sym *name, bk_tv v, bool exported);

bk_tv bk_tpl_loop_attr(rt *r, struct tv_loop *l, const char *s, size_t n);
void bk_tpl_for(rt *r, const struct node *n);
bk_tv bk_tpl_for_text(rt *r, const struct node *n, bk_tv seq, struct scope *outer, uint32_t depth0);

bk_tv bk_tpl_macro_new(rt *r, const struct macro_node *m);
bk_tv bk_tpl_macro_call(rt *r, struct tv_macro *m, struct bk_tpl_args *a);

/* Inheritance and loading (template_inherit.c). */
void bk_tpl_exec_block(rt *r, const struct node *n);
void bk_tpl_exec_extends(rt *r, const struct node *n);
void bk_tpl_exec_include(rt *r, const struct node *n);
void bk_tpl_exec_import(rt *r, const struct node *n);
bk_tv bk_tpl_block_text(rt *r, struct tv_block *b);
bk_tv bk_tpl_block_super(rt *r, struct tv_block *b);
bk_tv bk_tpl_self_block(rt *r, struct context *ctx, const char *s, size_t n);
void bk_tpl_run_template(rt *r, struct bk_tpl *tpl, struct context *ctx);
struct bk_tpl *bk_tpl_load(rt *r, bk_tv name, bool may_miss); /* NULL: there is none */
/* The environment's template of that name if its text is still the same, else compiled anew. */
struct bk_tpl *bk_tpl_cached(struct bk_tpl_env *env, const char *name, const char *text, size_t len,
                             struct bk_err *err);
void bk_tpl_env_unref(struct bk_tpl_env *env);
void bk_tpl_hold(rt *r, struct bk_tpl *tpl); /* keeps it until the run ends */

void bk_tpl_push_frame(rt *r, struct frame *f, struct bk_tpl *tpl, const char *what,
                       const char *name); /* one level deeper, bounded */
void bk_tpl_pop_frame(rt *r, struct frame *f);

#endif
