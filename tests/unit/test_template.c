/* The core of src/template without Lua: rendering, host callbacks, traces, limits, lifetimes. */
#include "template/template.h"
#include "unit/unit.h"

#include "base/mem.h"

static int fills;

static int load(void *ud, const char *name, size_t len, struct bk_buf *text, struct bk_err *err) {
  (void)ud;
  if (len == 1 && name[0] == 'm') bk_buf_adds(text, "{% macro f(x) %}<{{ x.y }}>{% endmacro %}");
  else if (len == 3) return bk_fail(err, BK_INFRA, "EIO", "cannot read");
  else return 0;
  return 1;
}

static int fill(void *ud, struct bk_tpl_run *r, bk_tv c, int64_t lazy, struct bk_err *err) {
  (void)ud;
  (void)err;
  fills++;
  if (c.kind == TV_LIST) {
    for (int i = 1; i <= 3; i++) bk_tv_push(r, c, bk_tv_int(i));
  } else {
    bk_tv_put(r, c, bk_tv_text("lazy", 4), bk_tv_int(lazy));
    bk_tv_put(r, c, bk_tv_text("list", 4), bk_tv_list(r, 2));
    bk_tv_put(r, c, bk_tv_text("half", 4), bk_tv_float(0.5));
    bk_tv fn = bk_tv_int(7);
    fn.kind = TV_HOST;
    bk_tv_put(r, c, bk_tv_text("fn", 2), fn);
  }
  return 0;
}

static int call(void *ud, struct bk_tpl_run *r, int64_t fn, const struct bk_tpl_args *a, bk_tv *out,
                struct bk_err *err) {
  (void)ud;
  (void)r;
  if (fn == 9) return bk_fail(err, BK_BUILD, "my.code", "not today");
  *out = bk_tv_int(fn * 100 + a->n * 10 + a->nkw);
  return 0;
}

static const struct bk_tpl_host host = {.load = load, .fill = fill, .call = call};
static struct bk_err err;
static struct bk_tpl_place places[8];
static size_t nplaces;
static char where[256];

/* The output, or "!code: message" (in a static buffer), with the trace in places. */
static const char *render(struct bk_tpl_env *env, const char *text) {
  static char out[1000];
  memset(&err, 0, sizeof err);
  nplaces = 0;
  struct bk_tpl *tpl = bk_tpl_compile(env, "main", text, strlen(text), &err);
  if (!tpl) {
    snprintf(out, sizeof out, "!%s: %s", err.code, err.msg);
    snprintf(where, sizeof where, "%s", err.where);
    return out;
  }
  struct bk_tpl_run *r = bk_tpl_run_new(env, &host);
  int rc = bk_tpl_render(r, tpl, bk_tv_dict(r, 1), bk_tv_dict(r, 0), &err);
  size_t n;
  const char *s = bk_tpl_output(r, &n);
  if (rc) snprintf(out, sizeof out, "!%s: %s", err.code, err.msg);
  else snprintf(out, sizeof out, "%.*s", (int)n, s);
  snprintf(where, sizeof where, "%s", err.where);
  while (nplaces < 8 && bk_tpl_trace(r, nplaces, &places[nplaces])) {
    places[nplaces].source = NULL; /* belongs to the run */
    places[nplaces].what = strncmp(places[nplaces].what, "macro", 5) == 0 ? "macro" : "";
    nplaces++;
  }
  bk_tpl_unref(tpl); /* before the run: it holds its own reference */
  bk_tpl_run_free(r);
  return out;
}

static void test_render(void) {
  struct bk_tpl_options o = {.strict = true, .bakery = true};
  struct bk_tpl_env *env = bk_tpl_env_new(&o);
  CHECK_STR(render(env, "a{{ 1 + 1 }}b"), "a2b");
  fills = 0;
  CHECK_STR(render(env, "{{ lazy }} {{ half }}"), "1 0.5");
  CHECK(fills == 1); /* the list was not touched */
  CHECK_STR(render(env, "{{ list }} {{ list|sum }}"), "[1, 2, 3] 6");
  CHECK_STR(render(env, "{{ fn(1, 2, k=3) }}"), "721");
  CHECK_STR(render(env, "{{ '1.2.3+4'|stripMetadata }}"), "1.2.3");
  CHECK_STR(render(env, "{% if %}"), "!template.syntax: expected an expression, got '%}'");
  CHECK_STR(where, "main:1:7");
  CHECK_STR(render(env, "\n  {{ nope }}"), "!template.undefined: 'nope' is undefined");
  CHECK_STR(where, "main:2:6");
  CHECK(nplaces == 1);
  CHECK_STR(render(env, "{% include 'gone' %}"), "!template.not_found: template 'gone' not found");
  CHECK_STR(render(env, "{% include 'bad' %}"), "!EIO: cannot read");
  CHECK_STR(render(env, "{{ raise('no ' ~ 5) }}"), "!template.raise: no 5");
  bk_tpl_env_free(env);
}

static void test_trace(void) {
  struct bk_tpl_options o = {.strict = true};
  struct bk_tpl_env *env = bk_tpl_env_new(&o);
  bk_tpl_env_filter(env, "own", 3, 8);
  bk_tpl_env_filter(env, "fails", 5, 9);
  CHECK_STR(render(env, "{{ 1|own(2) }}"), "820");
  CHECK_STR(render(env, "{{ 1|fails }}"), "!my.code: filter 'fails': not today");
  CHECK_STR(render(env, "{% import 'm' as m %}\n {{ m.f({}) }}"),
            "!template.undefined: 'dict object' has no attribute 'y'");
  CHECK_STR(where, "m:1:23");
  CHECK(nplaces == 2);
  CHECK_STR(places[0].what, "macro");
  CHECK(places[1].line == 2 && places[1].col == 7);
  CHECK_STR(render(env, "{{ raise('x') }}"), "!template.undefined: 'raise' is undefined");
  CHECK_STR(render(env, "{{ 1|quote }}"), "!template.syntax: there is no filter named 'quote'");
  bk_tpl_env_free(env);
}

static const char *limited(struct bk_tpl_limits limits, const char *text) {
  struct bk_tpl_options o = {.limits = limits};
  struct bk_tpl_env *env = bk_tpl_env_new(&o);
  render(env, text);
  bk_tpl_env_free(env);
  return err.code;
}

static void test_limits(void) {
  static const char limit[] = "template.limit";
  const char *endless = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
  CHECK_STR(limited((struct bk_tpl_limits){0}, endless), limit);
  CHECK_STR(limited((struct bk_tpl_limits){.depth = 10000}, endless), limit);
  CHECK_STR(limited((struct bk_tpl_limits){.output = 10}, "{{ 'x' * 11 }}"), limit);
  CHECK_STR(limited((struct bk_tpl_limits){.output = 10}, "{% for x in list %}12345{% endfor %}"), limit);
  CHECK_STR(limited((struct bk_tpl_limits){.steps = 10}, "{% for i in range(20) %}{% endfor %}"), limit);
  CHECK_STR(limited((struct bk_tpl_limits){.range = 10}, "{{ range(11) }}"), limit);
  CHECK_STR(limited((struct bk_tpl_limits){.memory = 100000}, "{{ 'x' * 100000 }}"), limit);
  CHECK_STR(limited((struct bk_tpl_limits){.seconds = 0.01, .steps = 1u << 30, .range = 1 << 30},
                    "{% for i in range(100000000) %}{% endfor %}"), limit);
  CHECK_STR(limited((struct bk_tpl_limits){0}, "{{ range(10 ** 9) }}"), limit);
  CHECK_STR(limited((struct bk_tpl_limits){0}, "{{ 'x' * 10 ** 12 }}"), limit);
}

static void test_lifetimes(void) {
  struct bk_tpl_options o = {0};
  struct bk_tpl_env *env = bk_tpl_env_new(&o);
  struct bk_tpl *tpl = bk_tpl_compile(env, "t", "{% import 'm' as m %}x", 22, &err);
  struct bk_tpl_run *r = bk_tpl_run_new(env, &host);
  CHECK(tpl && bk_tpl_render(r, tpl, bk_tv_dict(r, 0), bk_tv_dict(r, 0), &err) == 0);
  bk_tpl_env_free(env); /* templates and runs keep what they need */
  bk_tpl_unref(tpl);
  size_t n;
  CHECK_STR(bk_tpl_output(r, &n), "x");
  bk_tpl_run_free(r);
  bk_tpl_env_free(NULL);
  bk_tpl_unref(NULL);
  bk_tpl_run_free(NULL);
}

int main(void) {
  test_render();
  test_trace();
  test_limits();
  test_lifetimes();
  return UNIT_END();
}
