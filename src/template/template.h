/* Jinja 3.1 templates. The caller owns environments, templates and runs, which may be released in
 * any order; a run owns every value and text that one rendering makes and frees them together. One
 * thread at a time per environment. Errors: bk_err codes template.syntax, template.undefined,
 * template.not_found, template.raise, template.runtime, template.limit. */
#ifndef BK_TEMPLATE_H
#define BK_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct bk_tpl_env;
struct bk_tpl;
struct bk_tpl_run;

/* --- values ---------------------------------------------------------------------------------- */

enum bk_tv_kind {
  TV_MISSING, /* no value at all: an argument not given, the end of an iteration */
  TV_UNDEF, TV_NONE, TV_BOOL, TV_INT, TV_FLOAT,
  TV_STR, /* len bytes at u.s, not NUL-terminated */
  TV_LIST, TV_TUPLE, TV_DICT,
  TV_HOST, /* callable of the host: u.i is its number */
  /* Made by templates only: */
  TV_RANGE, TV_VIEW, TV_GEN, TV_NS, TV_FUNC, TV_METHOD, TV_MACRO, TV_LOOP, TV_CYCLER, TV_JOINER,
  TV_MODULE, TV_SELF, TV_BLOCK,
};

/* A value is 16 bytes and is copied freely; what it points to belongs to the run. */
typedef struct bk_tv {
  uint8_t kind, flags;
  uint32_t len;
  union {
    bool b;
    int64_t i;
    double f;
    const char *s;
    struct tv_list *l;
    struct tv_dict *d;
    void *p;
  } u;
} bk_tv;

struct bk_tpl_kw {
  const char *name;
  uint32_t len;
  bk_tv v;
};
struct bk_tpl_args {
  bk_tv *v;
  uint32_t n;
  struct bk_tpl_kw *kw;
  uint32_t nkw;
};

bk_tv bk_tv_none(void);
bk_tv bk_tv_bool(bool b);
bk_tv bk_tv_int(int64_t i);
bk_tv bk_tv_float(double f);
/* The text must outlive the run; bk_tv_copy takes a copy into it. */
bk_tv bk_tv_text(const char *s, size_t n);
bk_tv bk_tv_copy(struct bk_tpl_run *r, const char *s, size_t n);
/* Containers. A `lazy` number other than 0 makes the host fill them on first use. */
bk_tv bk_tv_list(struct bk_tpl_run *r, int64_t lazy);
bk_tv bk_tv_dict(struct bk_tpl_run *r, int64_t lazy);
void bk_tv_push(struct bk_tpl_run *r, bk_tv list, bk_tv v);
void bk_tv_put(struct bk_tpl_run *r, bk_tv dict, bk_tv key, bk_tv v);
/* Elements for the host, after filling: pointer to n values, or the i-th pair of a dict (false at
 * the end). A generator or range counts as a list that is used up by this. */
const bk_tv *bk_tv_items(struct bk_tpl_run *r, bk_tv v, size_t *n);
bool bk_tv_pair(struct bk_tpl_run *r, bk_tv dict, size_t *at, bk_tv *key, bk_tv *v);

/* --- environment ----------------------------------------------------------------------------- */

struct bk_tpl_limits { /* 0 = default */
  uint32_t depth;      /* nested macros, includes, blocks, recursive loops: 200 */
  size_t output;       /* bytes of output, and of any single text: 64 MiB */
  size_t memory;       /* bytes of values made by one run: 512 MiB */
  uint64_t steps;      /* loop iterations and calls: 10 million */
  int64_t range;       /* elements of one range(): 1 million */
  double seconds;      /* wall clock: 60 */
};

struct bk_tpl_options {
  bool strict, keep_trailing_newline, trim_blocks, lstrip_blocks;
  bool bakery;      /* the filters and the global of templates.md 1.3 */
  bool auto_reload; /* ask host.load again in every run, else once per name */
  const char *line_statement, *line_comment; /* prefixes, NULL = off; copied */
  struct bk_tpl_limits limits;
};

struct bk_tpl_env *bk_tpl_env_new(const struct bk_tpl_options *o);
void bk_tpl_env_free(struct bk_tpl_env *env); /* no new compilations after this */
/* Names that templates may use besides the built-in ones; `fn` is handed to host.call. */
void bk_tpl_env_filter(struct bk_tpl_env *env, const char *name, size_t len, int64_t fn);
void bk_tpl_env_test(struct bk_tpl_env *env, const char *name, size_t len, int64_t fn);

/* Template with one reference for the caller; name and text are copied. */
struct bk_tpl *bk_tpl_compile(struct bk_tpl_env *env, const char *name, const char *text,
                              size_t len, struct bk_err *err) BK_WARN_UNUSED;
void bk_tpl_unref(struct bk_tpl *tpl);

/* --- runs ------------------------------------------------------------------------------------ */

struct bk_tpl_host { /* functions may be NULL */
  void *ud;
  /* 1 = found and appended to text, 0 = no such template, -1 = failed. */
  int (*load)(void *ud, const char *name, size_t len, struct bk_buf *text, struct bk_err *err);
  /* One entry of a dict made with this `lazy` number: 1 = found, 0 = there is none, -1 = only fill
   * can tell. */
  int (*get)(void *ud, struct bk_tpl_run *r, int64_t lazy, const char *key, size_t len, bk_tv *out);
  /* Puts the elements of the container made with this `lazy` number into it. */
  int (*fill)(void *ud, struct bk_tpl_run *r, bk_tv container, int64_t lazy, struct bk_err *err);
  int (*call)(void *ud, struct bk_tpl_run *r, int64_t fn, const struct bk_tpl_args *args,
              bk_tv *result, struct bk_err *err);
};

struct bk_tpl_run *bk_tpl_run_new(struct bk_tpl_env *env, const struct bk_tpl_host *host);
void bk_tpl_run_free(struct bk_tpl_run *r);
/* vars and globals are dicts of this run; a run renders once. */
int bk_tpl_render(struct bk_tpl_run *r, struct bk_tpl *tpl, bk_tv vars, bk_tv globals,
                  struct bk_err *err) BK_WARN_UNUSED;
/* As bk_tpl_render for a template that the host loads by name. */
int bk_tpl_render_name(struct bk_tpl_run *r, const char *name, size_t len, bk_tv vars,
                       bk_tv globals, struct bk_err *err) BK_WARN_UNUSED;
const char *bk_tpl_output(struct bk_tpl_run *r, size_t *len);

/* Where the last error of this run or compilation arose, innermost first. Positions count from 1,
 * columns in characters. Level 0 is the error itself; false past the outermost level. */
struct bk_tpl_place {
  const char *name; /* template */
  const char *what; /* "macro 'm'", "include", "import" …: how the level was entered; may be "" */
  int line, col;
  const char *source; /* that line, without its end; NULL when not known */
  uint32_t source_len;
};
bool bk_tpl_trace(const struct bk_tpl_run *r, size_t level, struct bk_tpl_place *out);
bool bk_tpl_compile_place(const struct bk_tpl_env *env, struct bk_tpl_place *out);
/* "did you mean 'x'?" for the last error of the environment, or NULL. */
const char *bk_tpl_hint(const struct bk_tpl_env *env);

#endif
