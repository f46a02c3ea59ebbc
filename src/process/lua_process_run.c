#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "process/lua_process.h"

#define RUN "bakery.process.run"

enum {
  SLOT_OPTS = 1,
  SLOT_RUN, /* the box, to be closed */
  SLOT_ON_LINE,
  SLOT_KEEP, /* nothing of a step stays above */
};

/* How long output is awaited after the program itself has ended: something it left running in the
 * background may hold the pipe for ever. */
#define LINGER 1.0

struct stream {
  struct bk_reader *r;
  struct bk_buf text;
  bool done;
};

struct run {
  struct bk_child *child;
  struct stream streams[2];
  struct bk_waiters waiters;
  uv_timer_t *linger; /* heap: closed later than the box is forgotten */
  bool lingered;
  bool capture, check;
  double timeout;
};

static void linger_closed(uv_handle_t *h) { free(h); }

static void stop_linger(struct run *b) {
  if (b->linger) uv_close((uv_handle_t *)b->linger, linger_closed);
  b->linger = NULL;
}

static void on_linger(uv_timer_t *t) {
  struct run *b = t->data;
  b->lingered = true;
  stop_linger(b);
  bk_waiters_wake(&b->waiters);
}

static void start_linger(struct run *b, struct bk_loop *loop) {
  if (b->linger || b->lingered) return;
  b->linger = bk_malloc(sizeof *b->linger);
  b->linger->data = b;
  uv_timer_init(&loop->uv, b->linger);
  uv_update_time(&loop->uv);
  uv_timer_start(b->linger, on_linger, (uint64_t)(LINGER * 1000), 0);
}

static void child_changed(struct bk_child *c, void *arg) {
  (void)c;
  bk_waiters_wake(&((struct run *)arg)->waiters);
}

static void reader_changed(struct bk_reader *r, void *arg) {
  (void)r;
  bk_waiters_wake(&((struct run *)arg)->waiters);
}

static void release(struct run *b) {
  bk_child_close(b->child);
  b->child = NULL;
  for (int i = 0; i < 2; i++) {
    bk_reader_close(b->streams[i].r);
    b->streams[i].r = NULL;
    bk_buf_free(&b->streams[i].text);
  }
  stop_linger(b);
  bk_waiters_wake(&b->waiters);
}

static int run_gc(lua_State *L) {
  release(bk_check(L, 1, RUN));
  return 0;
}

/* Runs when the call ends in any way. After an error or a cancel it waits for the group to go. */
static int run_close_step(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  struct run *b = lua_touserdata(L, 1);
  while (b->child && !bk_child_gone(b->child)) {
    lua_settop(L, 1);
    bk_waiters_wait(L, &b->waiters, run_close_step, ctx);
  }
  release(b);
  return 0;
}

static int run_close(lua_State *L) {
  struct run *b = bk_check(L, 1, RUN);
  if (b->child) bk_child_terminate(b->child, BK_CHILD_GRACE);
  return run_close_step(L, LUA_OK, 0);
}

/* --- output ------------------------------------------------------------------------------------ */

static int run_step(lua_State *L, int status, lua_KContext ctx);

static void keep(struct run *b, struct stream *s, const char *p, size_t n) {
  if (!b->capture || s->text.overflow) return;
  size_t room = s->text.max - s->text.len; /* the head is kept when there is too much */
  bk_buf_add(&s->text, p, n < room ? n : room);
  if (n > room) s->text.overflow = true;
}

/* Takes what stream i has. With a callback: one line, which is left on the stack top. */
static bool take(lua_State *L, struct run *b, int i, bool lines) {
  struct stream *s = &b->streams[i];
  size_t n, step;
  if (!s->r || s->done) return false;
  const char *p = bk_reader_data(s->r, &n);
  if (lines) {
    ssize_t len = bk_reader_line(s->r, &step);
    if (len < 0) return s->done = bk_reader_end(s->r) >= 0, false;
    lua_pushlstring(L, p, (size_t)len);
    keep(b, s, p, step);
    bk_reader_consume(s->r, step);
    return true;
  }
  while (n > 0) {
    keep(b, s, p, n);
    bk_reader_consume(s->r, n);
    p = bk_reader_data(s->r, &n);
  }
  s->done = bk_reader_end(s->r) >= 0;
  return false;
}

/* Hands every complete line to the callback, which may yield. */
static void deliver(lua_State *L, struct run *b) {
  static const char *const names[] = {"stdout", "stderr"};
  bool lines = !lua_isnil(L, SLOT_ON_LINE);
  for (int i = 0; i < 2; i++)
    while (take(L, b, i, lines)) {
      lua_pushvalue(L, SLOT_ON_LINE);
      lua_insert(L, -2);
      lua_pushstring(L, names[i]);
      lua_callk(L, 2, 0, 0, run_step);
    }
}

/* --- end --------------------------------------------------------------------------------------- */

static void push_result(lua_State *L, struct run *b, int status, double seconds) {
  static const char *const names[] = {"stdout", "stderr"};
  bk_lua_push_status(L, status, seconds);
  for (int i = 0; i < 2 && b->capture; i++) {
    struct stream *s = &b->streams[i];
    if (!s->r && i == 1) continue; /* merged */
    lua_pushlstring(L, bk_buf_str(&s->text), s->text.len);
    lua_setfield(L, -2, names[i]);
    if (s->text.overflow) {
      lua_pushboolean(L, true);
      lua_setfield(L, -2, "truncated");
    }
  }
}

/* The last line that says something, for the error message. */
static void last_line(struct run *b, char *out, size_t size) {
  out[0] = '\0';
  for (int i = 1; i >= 0 && !out[0]; i--) {
    struct bk_buf *t = &b->streams[i].text;
    size_t end = t->len;
    while (end > 0 && strchr(" \t\r\n", t->p[end - 1])) end--;
    size_t begin = end;
    while (begin > 0 && t->p[begin - 1] != '\n') begin--;
    if (end > begin) snprintf(out, size, ": %.*s", (int)(end - begin), t->p + begin);
  }
}

/* nil, err with the result as err.result. */
static int failed(lua_State *L, struct run *b, struct bk_err *err, int status, double seconds) {
  bk_lua_fail(L, err);
  push_result(L, b, status, seconds);
  lua_setfield(L, -2, "result");
  return 2;
}

static const char *program(lua_State *L) {
  lua_getfield(L, SLOT_OPTS, "cmd");
  lua_rawgeti(L, -1, 1);
  const char *name = lua_tostring(L, -1);
  lua_pop(L, 2); /* anchored by the options */
  return name ? name : "?";
}

static int conclude(lua_State *L, struct run *b) {
  int status = 0;
  double seconds = 0;
  struct bk_err err;
  bk_child_exited(b->child, &status, &seconds);
  if (bk_child_timed_out(b->child)) {
    bk_fail(&err, BK_INFRA, "timeout", "'%s' timed out after %g s", program(L), b->timeout);
    return failed(L, b, &err, status, seconds);
  }
  if (b->check && status != 0) {
    char why[400];
    last_line(b, why, sizeof why);
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    bk_lua_push_reason(L, WEXITSTATUS(status), sig);
    bk_fail(&err, BK_BUILD, "process.exit", "'%s' failed: %s%s", program(L), lua_tostring(L, -1), why);
    lua_pop(L, 1);
    return failed(L, b, &err, status, seconds);
  }
  push_result(L, b, status, seconds);
  return 1;
}

static bool finished(struct run *b, struct bk_loop *loop) {
  int status;
  double seconds;
  if (!bk_child_exited(b->child, &status, &seconds)) return false;
  if (bk_child_timed_out(b->child)) return bk_child_gone(b->child);
  bool done = b->lingered;
  if (!done) done = (!b->streams[0].r || b->streams[0].done) && (!b->streams[1].r || b->streams[1].done);
  if (!done) start_linger(b, loop);
  return done;
}

static int run_step(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  struct run *b = lua_touserdata(L, SLOT_RUN);
  for (;;) {
    lua_settop(L, SLOT_KEEP);
    deliver(L, b);
    if (finished(b, bk_lua_loop(L))) return conclude(L, b);
    bk_waiters_wait(L, &b->waiters, run_step, ctx);
  }
}

/* --- start ------------------------------------------------------------------------------------- */

static int start(struct bk_loop *loop, struct run *b, struct bk_spawn_opts *o, bool output,
                 struct bk_err *err) {
  int ends[3] = {-1, -1, -1}, rc = 0;
  if (o->input) rc = (o->s.fds[0] = ends[0] = bk_lua_input_fd(o->input, o->ninput, err)) < 0 ? -1 : 0;
  for (int i = 0; i < 2 && output && !rc; i++) {
    int fds[2];
    if (i == 1 && o->merge) {
      o->s.fds[2] = o->s.fds[1];
      break;
    }
    if (bk_process_pipe(fds)) {
      rc = bk_fail_errno(err, errno, "create a pipe");
      break;
    }
    o->s.fds[i + 1] = ends[i + 1] = fds[1];
    b->streams[i].r = bk_reader_open(loop, fds[0], reader_changed, b, err);
    if (!b->streams[i].r) rc = -1;
  }
  if (!rc && !(b->child = bk_child_open(loop, &o->s, child_changed, b, err))) rc = -1;
  for (int i = 0; i < 3; i++)
    if (ends[i] >= 0) close(ends[i]);
  if (!rc && o->timeout > 0) bk_child_limit(b->child, o->timeout, o->grace);
  return rc;
}

static void define(lua_State *L) {
  if (luaL_newmetatable(L, RUN)) {
    lua_pushcfunction(L, run_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, run_close);
    lua_setfield(L, -2, "__close");
  }
  lua_pop(L, 1);
}

int bk_lua_process_run(lua_State *L) {
  static const char *const names[] = {"cmd",     "cwd",   "env",     "clear_env",  "stdin",
                                      "timeout", "grace", "merge",   "foreground", "check",
                                      "on_line", "capture", "max_output", NULL};
  struct bk_spawn_opts o;
  struct bk_err err;
  luaL_checktype(L, SLOT_OPTS, LUA_TTABLE);
  lua_settop(L, SLOT_OPTS);
  bk_opts(L, SLOT_OPTS, names);
  struct bk_loop *loop = bk_lua_loop(L);
  define(L);
  struct run *b = bk_box(L, sizeof *b, RUN);
  lua_toclose(L, SLOT_RUN);
  if (bk_opt_get(L, SLOT_OPTS, "on_line") && !lua_isfunction(L, -1))
    luaL_error(L, "option 'on_line': expected a function, got %s", luaL_typename(L, -1));
  lua_pushnil(L); /* SLOT_KEEP */
  bk_lua_spawn_opts(L, SLOT_OPTS, &o);
  o.input = bk_opt_str(L, SLOT_OPTS, "stdin", NULL, &o.ninput);
  b->capture = bk_opt_bool(L, SLOT_OPTS, "capture", true) && !o.s.foreground;
  b->check = bk_opt_bool(L, SLOT_OPTS, "check", false);
  b->timeout = o.timeout;
  lua_Integer max = bk_opt_int(L, SLOT_OPTS, "max_output", 64 << 20);
  luaL_argcheck(L, max > 0 && max <= 1 << 30, SLOT_OPTS, "option 'max_output': 1 … 2^30 expected");
  b->streams[0].text.max = b->streams[1].text.max = (size_t)max;
  bool output = !o.s.foreground && (b->capture || !lua_isnil(L, SLOT_ON_LINE));
  if (start(loop, b, &o, output, &err)) return bk_lua_fail(L, &err);
  return run_step(L, LUA_OK, 0);
}
