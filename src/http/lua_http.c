#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "http/http.h"
#include "luakit/async.h"
#include "luakit/luakit.h"

#define POOL "bakery.http.pool"

struct request {
  struct bk_job job;
  struct bk_http *http;
  struct bk_http_req req;
  struct bk_http_res res;
  struct bk_arena strings; /* everything req points to */
  char *body_file, *out_file, *tmp;
  int in, out;
  uint64_t max_file, written;
};

/* --- worker ---------------------------------------------------------------------------------- */

static int begin(void *ctx, const struct bk_http_res *res, struct bk_err *err) {
  (void)res;
  struct request *r = ctx;
  char name[40];
  const char *slash = strrchr(r->out_file, '/');
  bk_tmpname(name, ".tmp-");
  r->tmp = bk_asprintf("%.*s%s", slash ? (int)(slash - r->out_file + 1) : 0, r->out_file, name);
  r->out = open(r->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  return r->out < 0 ? bk_fail_errno(err, errno, "create '%s'", r->tmp) : 0;
}

static int write_out(void *ctx, const void *p, size_t n, struct bk_err *err) {
  struct request *r = ctx;
  r->written += n;
  if (r->max_file && r->written > r->max_file)
    return bk_fail(err, BK_INFRA, "http.too_large", "the answer is longer than %llu bytes",
                   (unsigned long long)r->max_file);
  return bk_write_all(r->out, p, n) ? bk_fail_errno(err, errno, "write '%s'", r->out_file) : 0;
}

static int open_body(struct request *r, struct bk_err *err) {
  if (!r->body_file) return 0;
  struct stat st;
  r->in = open(r->body_file, O_RDONLY | O_CLOEXEC);
  if (r->in < 0 || fstat(r->in, &st))
    return bk_fail_errno(err, errno, "open '%s'", r->body_file);
  r->req.body_is_file = true;
  r->req.body_fd = r->in;
  r->req.body_size = st.st_size;
  return 0;
}

static int run(struct bk_job *job, struct bk_err *err) {
  struct request *r = (struct request *)job;
  r->req.cancel = &job->cancel;
  if (r->out_file) {
    r->req.begin = begin;
    r->req.write = write_out;
    r->req.ctx = r;
  }
  if (open_body(r, err) || bk_http_perform(r->http, &r->req, &r->res, err)) return -1;
  if (r->out < 0) return 0;
  int fd = bk_steal_fd(&r->out);
  if (close(fd) || rename(r->tmp, r->out_file))
    return bk_fail_errno(err, errno, "write '%s'", r->out_file);
  free(bk_steal_ptr(&r->tmp));
  return 0;
}

static void release(struct bk_job *job) {
  struct request *r = (struct request *)job;
  if (r->in >= 0) close(r->in);
  if (r->out >= 0) close(r->out);
  if (r->tmp) unlink(r->tmp);
  free(r->tmp);
  bk_http_res_free(&r->res);
  bk_arena_free(&r->strings);
}

/* --- binding --------------------------------------------------------------------------------- */

static void push_headers(lua_State *L, const struct bk_http_res *res) {
  lua_createtable(L, 0, (int)res->nheaders);
  lua_createtable(L, 0, (int)res->nheaders);
  for (size_t i = 0; i < res->nheaders; i++) {
    const struct bk_http_header *h = &res->headers[i];
    if (lua_getfield(L, -1, h->name) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_newtable(L);
      lua_pushvalue(L, -1);
      lua_setfield(L, -3, h->name);
      lua_pushstring(L, h->value);
      lua_setfield(L, -4, h->name);
    }
    lua_pushstring(L, h->value);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
  }
}

static int done(lua_State *L, struct bk_job *job) {
  struct request *r = (struct request *)job;
  lua_createtable(L, 0, 7);
  lua_pushinteger(L, r->res.status);
  lua_setfield(L, -2, "status");
  lua_pushstring(L, r->res.url);
  lua_setfield(L, -2, "url");
  lua_pushlstring(L, bk_buf_str(&r->res.body), r->res.body.len);
  lua_setfield(L, -2, "body");
  lua_pushinteger(L, (lua_Integer)r->res.received);
  lua_setfield(L, -2, "size");
  lua_pushboolean(L, r->res.status / 100 == 2);
  lua_setfield(L, -2, "ok");
  lua_pushboolean(L, bk_http_status_retryable(r->res.status));
  lua_setfield(L, -2, "retryable");
  int wait = bk_http_retry_after(&r->res);
  if (wait >= 0) {
    lua_pushnumber(L, wait / 1000.0);
    lua_setfield(L, -2, "retry_after");
  }
  push_headers(L, &r->res);
  lua_setfield(L, -3, "headers_all");
  lua_setfield(L, -2, "headers");
  return 1;
}

static char *copy(struct request *r, const char *s, size_t n) {
  return s ? bk_arena_strndup(&r->strings, s, n) : NULL;
}

static char *text_opt(lua_State *L, struct request *r, const char *name) {
  const char *s = bk_opt_str(L, 1, name, NULL, NULL);
  return copy(r, s, s ? strlen(s) : 0);
}

static void read_headers(lua_State *L, struct request *r) {
  if (!bk_opt_get(L, 1, "headers")) {
    lua_pop(L, 1);
    return;
  }
  if (!lua_istable(L, -1))
    luaL_error(L, "option 'headers': expected a table, got %s", luaL_typename(L, -1));
  size_t n = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) n++;
  const char **v = bk_arena_alloc(&r->strings, (n + 1) * sizeof *v);
  size_t i = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
      luaL_error(L, "option 'headers': expected names and string values");
    lua_pushvalue(L, -1);
    const char *line = lua_pushfstring(L, "%s: %s", lua_tostring(L, -3), lua_tostring(L, -1));
    v[i++] = copy(r, line, strlen(line));
    lua_pop(L, 2);
  }
  r->req.headers = v;
  lua_pop(L, 1);
}

static int milliseconds(lua_State *L, const char *name, double def) {
  lua_Number s = bk_opt_num(L, 1, name, def);
  if (!(s >= 0 && s <= 86400)) luaL_error(L, "option '%s': expected 0 to 86400 seconds", name);
  return (int)(s * 1000 + 0.5);
}

static void read_options(lua_State *L, struct request *r) {
  struct bk_http_req *q = &r->req;
  bk_opt_need_str(L, 1, "url", NULL);
  q->url = text_opt(L, r, "url");
  q->method = text_opt(L, r, "method");
  q->user = text_opt(L, r, "user");
  q->password = text_opt(L, r, "password");
  q->ca_file = text_opt(L, r, "ca_file");
  q->cert_file = text_opt(L, r, "cert_file");
  q->key_file = text_opt(L, r, "key_file");
  q->user_agent = text_opt(L, r, "user_agent");
  r->out_file = text_opt(L, r, "out_file");
  r->body_file = text_opt(L, r, "body_file");
  size_t n = 0;
  const char *body = bk_opt_str(L, 1, "body", NULL, &n);
  if (body && r->body_file) luaL_error(L, "options 'body' and 'body_file' exclude each other");
  q->body = copy(r, body, n);
  q->body_len = body ? n : 0;
  lua_Integer max = bk_opt_int(L, 1, "max_body", 16 << 20);
  if (max < 1) luaL_error(L, "option 'max_body': expected a positive number of bytes");
  q->max_body = (size_t)max;
  max = bk_opt_int(L, 1, "max_file", 0);
  if (max < 0) luaL_error(L, "option 'max_file': expected a number of bytes");
  r->max_file = (uint64_t)max;
  lua_Integer follow = bk_opt_int(L, 1, "follow", 5);
  if (follow < 0 || follow > 50) luaL_error(L, "option 'follow': expected 0 to 50");
  q->follow = (int)follow;
  q->timeout_ms = milliseconds(L, "timeout", 0);
  q->connect_timeout_ms = milliseconds(L, "connect_timeout", 30);
  q->stall_timeout_s = (milliseconds(L, "stall_timeout", 60) + 999) / 1000;
  q->insecure = bk_opt_bool(L, 1, "insecure", false);
  q->netrc = bk_opt_bool(L, 1, "netrc", false);
  read_headers(L, r);
}

static int http_request(lua_State *L) {
  static const char *const names[] = {
      "method", "url", "headers", "body", "body_file", "out_file", "max_body", "max_file", "timeout",
      "connect_timeout", "stall_timeout", "follow", "ca_file", "cert_file", "key_file", "insecure",
      "user", "password", "netrc", "progress", "user_agent", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  bk_opts(L, 1, names);
  lua_settop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, POOL);
  struct bk_http **pool = lua_touserdata(L, -1);
  struct request *r = bk_job_new(L, sizeof *r, release);
  r->in = r->out = -1;
  r->http = *pool;
  r->job.run = run;
  read_options(L, r);
  struct bk_counter *counter = bk_opt_counter(L, 1, "progress");
  if (counter) r->req.got = r->req.sent = &counter->done;
  /* The options keep the counter alive, the pool userdata the connections. */
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, 2);
  lua_setiuservalue(L, -2, 1);
  return bk_job_await(L, &r->job, done);
}

/* get(url[, opts]), post(url, body[, opts]): opts copied, then filled in. */
static int with_method(lua_State *L, const char *method, int opts) {
  luaL_checkstring(L, 1);
  lua_settop(L, opts);
  if (!lua_isnil(L, opts)) luaL_checktype(L, opts, LUA_TTABLE);
  lua_newtable(L);
  if (lua_istable(L, opts))
    for (lua_pushnil(L); lua_next(L, opts);) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, opts + 1);
    }
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "url");
  lua_pushstring(L, method);
  lua_setfield(L, -2, "method");
  if (opts == 3 && !lua_isnil(L, 2)) {
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "body");
  }
  lua_replace(L, 1);
  lua_settop(L, 1);
  return http_request(L);
}

static int http_get(lua_State *L) { return with_method(L, "GET", 2); }
static int http_post(lua_State *L) { return with_method(L, "POST", 3); }

static int http_redact(lua_State *L) {
  char out[2048];
  bk_http_redact(out, sizeof out, luaL_checkstring(L, 1));
  lua_pushstring(L, out);
  return 1;
}

static int http_is_retryable(lua_State *L) {
  lua_pushboolean(L, bk_http_status_retryable((int)luaL_checkinteger(L, 1)));
  return 1;
}

static int http_warm_up(lua_State *L) {
  (void)L;
  bk_http_warm_up();
  return 0;
}

static int pool_gc(lua_State *L) {
  struct bk_http **pool = lua_touserdata(L, 1);
  bk_http_free(*pool);
  *pool = NULL;
  return 0;
}

BK_EXPORT int luaopen_bakery_http(lua_State *L);

BK_EXPORT int luaopen_bakery_http(lua_State *L) {
  static const luaL_Reg functions[] = {{"request", http_request},
                                       {"get", http_get},
                                       {"post", http_post},
                                       {"redact", http_redact},
                                       {"is_retryable", http_is_retryable},
                                       {"warm_up", http_warm_up},
                                       {NULL, NULL}};
  bk_lua_loop(L);
  if (lua_getfield(L, LUA_REGISTRYINDEX, POOL) == LUA_TNIL) {
    struct bk_http **pool = lua_newuserdatauv(L, sizeof *pool, 0);
    *pool = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, pool_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    *pool = bk_http_new();
    lua_setfield(L, LUA_REGISTRYINDEX, POOL);
  }
  luaL_newlib(L, functions);
  return 1;
}
