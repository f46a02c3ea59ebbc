/* bakery.template: environments, compiled templates and rendering for Lua. */
#include <string.h>

#include "template/lua_template.h"

#define ENV "bakery.template.env"
#define TEMPLATE "bakery.template.template"
#define RUN "bakery.template.run"

enum { CACHE_SIZE = 256 }; /* texts that env:render remembers compiled */

struct env_box { struct bk_tpl_env *env; };
struct tpl_box { struct bk_tpl *tpl; };
struct run_box { struct bk_tpl_run *run; };

/* An environment's user value is a table of these; a template's user value is its environment. */
enum { SLOT_FUNCTIONS = 1, SLOT_GLOBALS, SLOT_LOADER, SLOT_CACHE, SLOT_CACHED };

static int env_close(lua_State *L) {
  struct env_box *b = bk_check(L, 1, ENV);
  bk_tpl_env_free(b->env);
  b->env = NULL;
  return 0;
}

static int tpl_close(lua_State *L) {
  struct tpl_box *b = bk_check(L, 1, TEMPLATE);
  bk_tpl_unref(b->tpl);
  b->tpl = NULL;
  return 0;
}

static int run_close(lua_State *L) {
  struct run_box *b = bk_check(L, 1, RUN);
  bk_tpl_run_free(b->run);
  b->run = NULL;
  return 0;
}

static struct bk_tpl_env *check_env(lua_State *L, int idx) {
  struct env_box *b = bk_check(L, idx, ENV);
  if (!b->env) luaL_argerror(L, idx, "the environment is closed");
  return b->env;
}

/* --- results --------------------------------------------------------------------------------- */

static void set_place(lua_State *L, const struct bk_tpl_place *p) {
  lua_pushstring(L, p->name);
  lua_setfield(L, -2, "name");
  lua_pushinteger(L, p->line);
  lua_setfield(L, -2, "line");
  lua_pushinteger(L, p->col);
  lua_setfield(L, -2, "col");
  if (p->what && p->what[0]) {
    lua_pushstring(L, p->what);
    lua_setfield(L, -2, "what");
  }
}

/* nil, error object; the object gets line, col, name, source, hint and stack. */
static int fail(lua_State *L, const struct bk_err *err, const struct bk_tpl_env *env,
                const struct bk_tpl_run *run) {
  struct bk_tpl_place p;
  bk_lua_fail(L, err);
  if (bk_tpl_hint(env)) {
    lua_pushstring(L, bk_tpl_hint(env));
    lua_setfield(L, -2, "hint");
  }
  lua_newtable(L);
  for (size_t i = 0;; i++) {
    bool more = run ? bk_tpl_trace(run, i, &p) : i == 0 && bk_tpl_compile_place(env, &p);
    if (!more) break;
    if (i == 0) {
      lua_pushvalue(L, -2);
      set_place(L, &p);
      if (p.source) {
        lua_pushlstring(L, p.source, p.source_len);
        lua_setfield(L, -2, "source");
      }
      lua_pop(L, 1);
    }
    lua_newtable(L);
    set_place(L, &p);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "stack");
  return 2;
}

/* Renders tpl, or the template called name, in the environment at env_idx. */
static int render(lua_State *L, int env_idx, struct bk_tpl *tpl, const char *name, size_t len,
                  int vars_idx) {
  struct bk_tpl_env *env = ((struct env_box *)lua_touserdata(L, env_idx))->env;
  struct tpl_bridge b = {.L = L};
  struct bk_tpl_host host = bk_tpl_lua_host;
  struct bk_err err = {0};
  if (!lua_isnoneornil(L, vars_idx)) luaL_checktype(L, vars_idx, LUA_TTABLE);
  luaL_checkstack(L, 20, "template");
  lua_getiuservalue(L, env_idx, 1);
  int slots = lua_gettop(L);
  lua_newtable(L);
  b.anchors = lua_gettop(L);
  lua_rawgeti(L, slots, SLOT_FUNCTIONS);
  b.functions = lua_gettop(L);
  lua_rawgeti(L, slots, SLOT_LOADER);
  b.loader = lua_gettop(L);
  luaL_getmetatable(L, "bakery.template.list");
  b.list_mt = lua_gettop(L);
  luaL_getmetatable(L, "bakery.json.array");
  b.array_mt = lua_gettop(L);
  lua_rawgeti(L, slots, SLOT_GLOBALS);
  host.ud = &b;
  struct run_box *box = bk_box(L, sizeof *box, RUN);
  int box_idx = lua_gettop(L);
  struct bk_tpl_run *r = box->run = bk_tpl_run_new(env, &host);
  bk_tv globals = bk_tpl_vars_from_lua(&b, r, box_idx - 1);
  bk_tv vars = bk_tpl_vars_from_lua(&b, r, vars_idx);
  int rc = tpl ? bk_tpl_render(r, tpl, vars, globals, &err)
               : bk_tpl_render_name(r, name, len, vars, globals, &err);
  lua_settop(L, box_idx);
  int n = 1;
  if (rc) {
    n = fail(L, &err, env, r);
  } else {
    size_t size;
    const char *s = bk_tpl_output(r, &size);
    lua_pushlstring(L, s, size);
  }
  bk_tpl_run_free(r);
  box->run = NULL;
  return n;
}

/* --- methods --------------------------------------------------------------------------------- */

static const char *name_option(lua_State *L, int idx) {
  static const char *const names[] = {"name", NULL};
  bk_opts(L, idx, names);
  return bk_opt_str(L, idx, "name", "<template>", NULL);
}

/* Pushes the compiled template, or nil and error. */
static struct bk_tpl *compile(lua_State *L, int env_idx, const char *name, const char *text,
                              size_t len) {
  struct bk_tpl_env *env = check_env(L, env_idx);
  struct bk_err err = {0};
  struct tpl_box *box = bk_box(L, sizeof *box, TEMPLATE);
  lua_pushvalue(L, env_idx);
  lua_setiuservalue(L, -2, 1);
  box->tpl = bk_tpl_compile(env, name, text, len, &err);
  if (!box->tpl) {
    lua_pop(L, 1);
    fail(L, &err, env, NULL);
  }
  return box->tpl;
}

static int env_compile(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 2, &len), *name = name_option(L, 3);
  return compile(L, 1, name, text, len) ? 1 : 2;
}

/* As env:compile, but remembers: pushes the template or nil, error. */
static struct bk_tpl *compile_cached(lua_State *L, const char *name, const char *text, size_t len) {
  lua_getiuservalue(L, 1, 1);
  int slots = lua_gettop(L);
  lua_rawgeti(L, slots, SLOT_CACHE);
  lua_pushfstring(L, "%s\n", name);
  lua_pushvalue(L, 2);
  lua_concat(L, 2);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, slots + 1) != LUA_TNIL) {
    struct tpl_box *box = bk_check(L, -1, TEMPLATE);
    if (box->tpl) return box->tpl;
  }
  lua_pop(L, 1);
  struct bk_tpl *tpl = compile(L, 1, name, text, len);
  if (!tpl) return NULL;
  lua_rawgeti(L, slots, SLOT_CACHED);
  lua_Integer n = lua_tointeger(L, -1) + 1;
  lua_pop(L, 1);
  if (n > CACHE_SIZE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, slots, SLOT_CACHE);
    lua_replace(L, slots + 1);
    n = 1;
  }
  lua_pushinteger(L, n);
  lua_rawseti(L, slots, SLOT_CACHED);
  lua_pushvalue(L, slots + 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, slots + 1);
  return tpl;
}

static int env_render(lua_State *L) {
  size_t len;
  check_env(L, 1);
  const char *text = luaL_checklstring(L, 2, &len), *name = name_option(L, 4);
  struct bk_tpl *tpl = compile_cached(L, name, text, len);
  return tpl ? render(L, 1, tpl, NULL, 0, 3) : 2;
}

static int env_render_file(lua_State *L) {
  size_t len;
  check_env(L, 1);
  const char *name = luaL_checklstring(L, 2, &len);
  return render(L, 1, NULL, name, len, 3);
}

static int tpl_render(lua_State *L) {
  struct tpl_box *b = bk_check(L, 1, TEMPLATE);
  if (!b->tpl) return luaL_argerror(L, 1, "the template is closed");
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, 1);
  check_env(L, 3);
  return render(L, 3, b->tpl, NULL, 0, 2);
}

/* --- template.new ---------------------------------------------------------------------------- */

static void read_limits(lua_State *L, int idx, struct bk_tpl_limits *l) {
  static const char *const names[] = {"depth", "output",  "memory", "steps",
                                      "range", "seconds", NULL};
  if (!bk_opt_get(L, idx, "limits")) {
    lua_pop(L, 1);
    return;
  }
  int t = lua_gettop(L);
  bk_opts(L, t, names);
  lua_Integer v[5];
  for (int i = 0; i < 5; i++) {
    v[i] = bk_opt_int(L, t, names[i], 0);
    if (v[i] < 0) luaL_error(L, "limit '%s' must not be negative", names[i]);
  }
  l->depth = v[0] > 10000 ? 10000 : (uint32_t)v[0];
  l->output = (size_t)v[1];
  l->memory = v[2] && v[2] < 65536 ? 65536 : (size_t)v[2];
  l->steps = (uint64_t)v[3];
  l->range = v[4];
  l->seconds = bk_opt_num(L, t, "seconds", 0);
  lua_pop(L, 1);
}

static bool callable(lua_State *L, int idx) {
  if (lua_isfunction(L, idx)) return true;
  if (luaL_getmetafield(L, idx, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

/* Registers the functions of table `option`; the functions table is at fns. */
static void add_functions(lua_State *L, const char *option, int fns, struct bk_tpl_env *env,
                          void (*add)(struct bk_tpl_env *, const char *, size_t, int64_t)) {
  if (!bk_opt_get(L, 1, option)) {
    lua_pop(L, 1);
    return;
  }
  int t = lua_gettop(L);
  luaL_argcheck(L, lua_istable(L, t), 1, "filters and tests must be tables of functions");
  lua_pushnil(L);
  while (lua_next(L, t)) {
    if (lua_type(L, -2) != LUA_TSTRING || !callable(L, -1))
      luaL_error(L, "option '%s': expected names with functions", option);
    size_t len;
    const char *name = lua_tolstring(L, -2, &len);
    lua_Integer n = (lua_Integer)lua_rawlen(L, fns) + 1;
    lua_rawseti(L, fns, n);
    add(env, name, len, -n);
  }
  lua_pop(L, 1);
}

static int l_new(lua_State *L) {
  static const char *const names[] = {
      "undefined", "keep_trailing_newline", "trim_blocks", "lstrip_blocks", "bakery", "loader",
      "auto_reload", "line_statement_prefix", "line_comment_prefix", "filters", "tests", "globals",
      "limits", NULL,
  };
  struct bk_tpl_options o = {0};
  lua_settop(L, 1);
  bk_opts(L, 1, names);
  const char *undefined = bk_opt_str(L, 1, "undefined", "lenient", NULL);
  o.strict = strcmp(undefined, "strict") == 0;
  if (!o.strict && strcmp(undefined, "lenient") != 0)
    luaL_error(L, "option 'undefined': expected \"strict\" or \"lenient\"");
  o.keep_trailing_newline = bk_opt_bool(L, 1, "keep_trailing_newline", false);
  o.trim_blocks = bk_opt_bool(L, 1, "trim_blocks", false);
  o.lstrip_blocks = bk_opt_bool(L, 1, "lstrip_blocks", false);
  o.bakery = bk_opt_bool(L, 1, "bakery", true);
  o.auto_reload = bk_opt_bool(L, 1, "auto_reload", false);
  o.line_statement = bk_opt_str(L, 1, "line_statement_prefix", NULL, NULL);
  o.line_comment = bk_opt_str(L, 1, "line_comment_prefix", NULL, NULL);
  if ((o.line_statement && !*o.line_statement) || (o.line_comment && !*o.line_comment))
    luaL_error(L, "line statement and comment prefixes must not be empty");
  read_limits(L, 1, &o.limits);
  struct env_box *b = bk_box(L, sizeof *b, ENV);
  b->env = bk_tpl_env_new(&o);
  lua_createtable(L, 5, 0);
  int slots = lua_gettop(L);
  lua_newtable(L);
  add_functions(L, "filters", slots + 1, b->env, bk_tpl_env_filter);
  add_functions(L, "tests", slots + 1, b->env, bk_tpl_env_test);
  lua_rawseti(L, slots, SLOT_FUNCTIONS);
  if (bk_opt_get(L, 1, "globals"))
    luaL_argcheck(L, lua_istable(L, -1), 1, "globals must be a table");
  lua_rawseti(L, slots, SLOT_GLOBALS);
  if (bk_opt_get(L, 1, "loader"))
    luaL_argcheck(L, lua_istable(L, -1) || lua_isfunction(L, -1), 1,
                  "loader must be a function or table");
  lua_rawseti(L, slots, SLOT_LOADER);
  lua_newtable(L);
  lua_rawseti(L, slots, SLOT_CACHE);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

BK_EXPORT int luaopen_bakery_template(lua_State *L);
BK_EXPORT int luaopen_bakery_template(lua_State *L) {
  static const luaL_Reg env_methods[] = {{"render", env_render},
                                         {"render_file", env_render_file},
                                         {"compile", env_compile},
                                         {NULL, NULL}};
  static const luaL_Reg tpl_methods[] = {{"render", tpl_render}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"new", l_new}, {"map", bk_tpl_lua_map}, {"list", bk_tpl_lua_list}, {NULL, NULL}};
  bk_class(L, ENV, env_methods, env_close);
  bk_class(L, TEMPLATE, tpl_methods, tpl_close);
  bk_class(L, RUN, NULL, run_close);
  luaL_newmetatable(L, "bakery.template.list");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  bk_tpl_lua_push_none(L);
  lua_setfield(L, -2, "none");
  return 1;
}
