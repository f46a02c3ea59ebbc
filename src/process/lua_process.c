#include "process/lua_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"

#define CHILD "bakery.process.child"
#define READER "bakery.process.reader"

extern char **environ;

/* --- options ----------------------------------------------------------------------------------- */

/* Pushes a list of "K=V": ours (unless `clear`) with the table at `env` laid over it. */
static void push_env(lua_State *L, int env, bool clear) {
  lua_newtable(L);
  lua_Integer n = 0;
  for (char **e = clear ? NULL : environ; e && *e; e++) {
    const char *eq = strchr(*e, '=');
    if (!eq) continue;
    lua_pushlstring(L, *e, (size_t)(eq - *e));
    bool replaced = false;
    if (lua_istable(L, env)) {
      lua_gettable(L, env);
      replaced = !lua_isnil(L, -1);
    }
    lua_pop(L, 1);
    if (replaced) continue;
    lua_pushstring(L, *e);
    lua_rawseti(L, -2, ++n);
  }
  if (!lua_istable(L, env)) return;
  lua_pushnil(L);
  while (lua_next(L, env)) {
    if (lua_type(L, -2) != LUA_TSTRING || strchr(lua_tostring(L, -2), '='))
      luaL_error(L, "option 'env': names are strings without '='");
    if (lua_isstring(L, -1)) {
      size_t len;
      const char *v = luaL_tolstring(L, -1, &len);
      if (strlen(v) != len) luaL_error(L, "option 'env': '%s' has a NUL byte", lua_tostring(L, -3));
      lua_pushfstring(L, "%s=%s", lua_tostring(L, -3), v);
      lua_rawseti(L, -5, ++n);
      lua_pop(L, 1);
    } else if (lua_type(L, -1) != LUA_TBOOLEAN || lua_toboolean(L, -1)) {
      luaL_error(L, "option 'env': '%s' is no string (false removes a variable)", lua_tostring(L, -2));
    }
    lua_pop(L, 1);
  }
}

void bk_lua_spawn_opts(lua_State *L, int idx, struct bk_spawn_opts *o) {
  memset(o, 0, sizeof *o);
  const char **v;
  size_t n = bk_opt_strv(L, idx, "cmd", &v);
  if (n == 0) luaL_error(L, "option 'cmd': expected a list with the program and its arguments");
  for (size_t i = 0; i < n; i++) {
    lua_getfield(L, idx, "cmd");
    if (lua_rawgeti(L, -1, (lua_Integer)i + 1), lua_rawlen(L, -1) != strlen(v[i]))
      luaL_error(L, "option 'cmd': item %d has a NUL byte", (int)i + 1);
    lua_pop(L, 2);
  }
  o->s.argv = v;
  if (bk_opt_get(L, idx, "env") && !lua_istable(L, -1))
    luaL_error(L, "option 'env': expected a table, got %s", luaL_typename(L, -1));
  push_env(L, lua_gettop(L), bk_opt_bool(L, idx, "clear_env", false));
  bk_lua_strv(L, -1, &v);
  lua_rotate(L, -2, 1); /* the vector, then the list of strings it points into */
  lua_newtable(L);
  lua_insert(L, -3);
  lua_rawseti(L, -3, 1);
  lua_rawseti(L, -2, 2);
  lua_remove(L, -2); /* leaves: argv vector, anchors of env */
  o->s.env = v;
  o->s.cwd = bk_opt_str(L, idx, "cwd", NULL, NULL);
  o->s.foreground = bk_opt_bool(L, idx, "foreground", false);
  o->s.fds[0] = o->s.fds[1] = o->s.fds[2] = -1;
  if (o->s.foreground)
    for (int i = 0; i < 3; i++) o->s.fds[i] = i;
  o->timeout = bk_opt_num(L, idx, "timeout", 0);
  o->grace = bk_opt_num(L, idx, "grace", BK_CHILD_GRACE);
  if (!(o->timeout >= 0 && o->timeout < 1e9)) luaL_error(L, "option 'timeout': expected seconds");
  if (!(o->grace >= 0 && o->grace < 1e6)) luaL_error(L, "option 'grace': expected seconds");
  o->merge = bk_opt_bool(L, idx, "merge", false);
}

int bk_lua_input_fd(const char *p, size_t n, struct bk_err *err) {
  cleanup_close int fd = memfd_create("stdin", MFD_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "standard input");
  if (bk_write_all(fd, p, n) || lseek(fd, 0, SEEK_SET) < 0)
    return bk_fail_errno(err, errno, "standard input");
  return bk_steal_fd(&fd);
}

/* --- results ----------------------------------------------------------------------------------- */

/* A signal by name, with or without SIG, or by number. */
static int check_signal(lua_State *L, int idx, int def) {
  if (lua_isnoneornil(L, idx)) return def;
  if (lua_isinteger(L, idx)) {
    lua_Integer n = lua_tointeger(L, idx);
    luaL_argcheck(L, n >= 0 && n < NSIG, idx, "signal number out of range");
    return (int)n;
  }
  const char *name = luaL_checkstring(L, idx);
  int sig = bk_signal_number(name);
  if (sig) return sig;
  return luaL_argerror(L, idx, lua_pushfstring(L, "unknown signal '%s'", name));
}

void bk_lua_push_status(lua_State *L, int status, double seconds) {
  lua_createtable(L, 0, 5);
  if (WIFSIGNALED(status)) {
    lua_pushinteger(L, WTERMSIG(status));
    lua_setfield(L, -2, "signal");
  }
  /* As a shell has it: 128 + n for a signal, so that `code ~= 0` is a failure in every case. */
  lua_pushinteger(L, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
  lua_setfield(L, -2, "code");
  lua_pushnumber(L, seconds);
  lua_setfield(L, -2, "seconds");
}

void bk_lua_push_reason(lua_State *L, int code, int sig) {
  const char *name = bk_signal_name(sig);
  if (name) lua_pushfstring(L, "killed by %s", name);
  else if (sig) lua_pushfstring(L, "killed by signal %d", sig);
  else lua_pushfstring(L, "exit code %d", code);
}

/* process.exit_reason(result) */
static int l_exit_reason(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  int sig = (int)bk_opt_int(L, 1, "signal", 0);
  bk_lua_push_reason(L, (int)bk_opt_int(L, 1, "code", 0), sig);
  return 1;
}

/* --- readers ----------------------------------------------------------------------------------- */

struct reader {
  struct bk_reader *r;
  struct bk_waiters waiters;
};

static void reader_changed(struct bk_reader *r, void *arg) {
  (void)r;
  bk_waiters_wake(&((struct reader *)arg)->waiters);
}

static int reader_close(lua_State *L) {
  struct reader *b = bk_check(L, 1, READER);
  bk_reader_close(b->r);
  b->r = NULL;
  bk_waiters_wake(&b->waiters);
  return 0;
}

static int fail_errno(lua_State *L, int errnum, const char *what) {
  struct bk_err err;
  bk_fail_errno(&err, errnum, "%s", what);
  return bk_lua_fail(L, &err);
}

/* Waits on the reader at stack slot 1 (ctx: whole lines); both public calls end here. */
static int reader_step(lua_State *L, int status, lua_KContext lines) {
  (void)status;
  struct reader *b = lua_touserdata(L, 1);
  for (;;) {
    lua_settop(L, 1);
    if (!b->r) return fail_errno(L, EBADF, "read from a closed reader");
    size_t n, step;
    const char *p = bk_reader_data(b->r, &n);
    ssize_t line = lines ? bk_reader_line(b->r, &step) : n > 0 ? (ssize_t)(step = n) : -1;
    if (line >= 0) {
      lua_pushlstring(L, p, (size_t)line);
      bk_reader_consume(b->r, step);
      return 1;
    }
    int end = bk_reader_end(b->r);
    if (end > 0) return fail_errno(L, end, "read");
    if (end == 0) return lua_pushnil(L), 1;
    bk_waiters_wait(L, &b->waiters, reader_step, lines);
  }
}

static int reader_read(lua_State *L) {
  bk_check(L, 1, READER);
  return reader_step(L, LUA_OK, 0);
}

static int reader_read_line(lua_State *L) {
  bk_check(L, 1, READER);
  return reader_step(L, LUA_OK, 1);
}

/* Pushes a reader over fd, which is taken over; nil, err on failure (returns false). */
static bool push_reader(lua_State *L, int fd) {
  struct bk_err err;
  struct bk_loop *loop = bk_lua_loop(L);
  struct reader *b = bk_box(L, sizeof *b, READER);
  b->r = bk_reader_open(loop, fd, reader_changed, b, &err);
  if (b->r) return true;
  lua_pop(L, 1);
  bk_lua_fail(L, &err);
  return false;
}

/* process.pipe([path]) -> reader, write descriptor */
static int l_pipe(lua_State *L) {
  int fds[2];
  const char *path = luaL_optstring(L, 1, NULL);
  bk_lua_loop(L);
  luaL_checkstack(L, 8, NULL);
  if (path ? bk_process_fifo(path, fds) : bk_process_pipe(fds)) return fail_errno(L, errno, "create a pipe");
  if (!push_reader(L, fds[0])) {
    close(fds[1]);
    return 2;
  }
  lua_pushinteger(L, fds[1]);
  return 2;
}

static int l_close_fd(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  luaL_argcheck(L, fd > 2 && fd < 1 << 24, 1, "descriptor above 2 expected");
  if (close((int)fd)) return fail_errno(L, errno, "close descriptor");
  return lua_pushboolean(L, true), 1;
}

/* --- children ---------------------------------------------------------------------------------- */

struct child {
  struct bk_child *c;
  struct bk_writer *in;
  struct bk_waiters waiters;
};
enum { UV_STDOUT = 1, UV_STDERR, UV_COUNT = UV_STDERR }; /* user values: readers */

static void child_changed(struct bk_child *c, void *arg) {
  (void)c;
  bk_waiters_wake(&((struct child *)arg)->waiters);
}

static void input_changed(struct bk_writer *w, void *arg) {
  (void)w;
  bk_waiters_wake(&((struct child *)arg)->waiters);
}

static void child_release(struct child *b) {
  bk_child_close(b->c);
  bk_writer_close(b->in);
  b->c = NULL;
  b->in = NULL;
  bk_waiters_wake(&b->waiters);
}

static int child_gc(lua_State *L) {
  child_release(bk_check(L, 1, CHILD));
  return 0;
}

/* :close() and <close> return when the process group is gone. */
static int child_close_step(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  struct child *b = lua_touserdata(L, 1);
  while (b->c && !bk_child_gone(b->c)) {
    lua_settop(L, 1);
    bk_waiters_wait(L, &b->waiters, child_close_step, ctx);
  }
  child_release(b);
  return 0;
}

static int child_close(lua_State *L) {
  struct child *b = bk_check(L, 1, CHILD);
  if (b->c) bk_child_terminate(b->c, BK_CHILD_GRACE);
  return child_close_step(L, LUA_OK, 0);
}

static struct child *check_open(lua_State *L) {
  struct child *b = bk_check(L, 1, CHILD);
  if (!b->c) luaL_error(L, "process handle is closed");
  return b;
}

static int child_wait_step(lua_State *L, int st, lua_KContext ctx) {
  (void)st;
  struct child *b = lua_touserdata(L, 1);
  for (;;) {
    int status;
    double seconds;
    lua_settop(L, 1);
    if (!b->c) return fail_errno(L, EBADF, "wait for a closed process handle");
    if (bk_child_exited(b->c, &status, &seconds) &&
        (bk_child_gone(b->c) || !bk_child_timed_out(b->c))) {
      if (bk_child_timed_out(b->c)) {
        struct bk_err err;
        bk_fail(&err, BK_INFRA, "timeout", "timed out after %.1f s", seconds);
        return bk_lua_fail(L, &err);
      }
      bk_lua_push_status(L, status, seconds);
      return 1;
    }
    bk_waiters_wait(L, &b->waiters, child_wait_step, ctx);
  }
}

static int child_wait(lua_State *L) {
  check_open(L);
  return child_wait_step(L, LUA_OK, 0);
}

static int child_kill(lua_State *L) {
  struct child *b = check_open(L);
  if (bk_child_kill(b->c, check_signal(L, 2, SIGTERM))) return fail_errno(L, errno, "kill");
  return lua_pushboolean(L, true), 1;
}

/* The reader of "stdout" (default) or "stderr" as slot 1, for reader_step. */
static void select_stream(lua_State *L) {
  static const char *const names[] = {"stdout", "stderr", NULL};
  bk_check(L, 1, CHILD);
  int which = luaL_checkoption(L, 2, "stdout", names);
  if (lua_getiuservalue(L, 1, UV_STDOUT + which) != LUA_TUSERDATA)
    luaL_error(L, "%s of this process is not piped", names[which]);
  lua_replace(L, 1);
}

static int child_read(lua_State *L) {
  select_stream(L);
  return reader_step(L, LUA_OK, 0);
}

static int child_read_line(lua_State *L) {
  select_stream(L);
  return reader_step(L, LUA_OK, 1);
}

static int child_write_step(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  struct child *b = lua_touserdata(L, 1);
  for (;;) {
    lua_settop(L, 1);
    if (!b->in) return fail_errno(L, EPIPE, "write to closed standard input");
    if (bk_writer_error(b->in)) return fail_errno(L, bk_writer_error(b->in), "write to standard input");
    if (bk_writer_pending(b->in) == 0) return lua_pushboolean(L, true), 1;
    bk_waiters_wait(L, &b->waiters, child_write_step, ctx);
  }
}

static int child_write(lua_State *L) {
  struct child *b = check_open(L);
  size_t n;
  const char *p = luaL_checklstring(L, 2, &n);
  if (b->in) bk_writer_put(b->in, p, n);
  return child_write_step(L, LUA_OK, 0);
}

static int child_close_stdin(lua_State *L) {
  struct child *b = bk_check(L, 1, CHILD);
  bk_writer_close(b->in);
  b->in = NULL;
  bk_waiters_wake(&b->waiters);
  return 0;
}

/* p.pid beside the methods. */
static int child_index(lua_State *L) {
  struct child *b = bk_check(L, 1, CHILD);
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "pid") == 0) {
    if (b->c) lua_pushinteger(L, bk_child_pid(b->c));
    else lua_pushnil(L);
    return 1;
  }
  lua_settop(L, 2);
  lua_gettable(L, lua_upvalueindex(1));
  return 1;
}

/* Makes the pipes of spawn; child ends go to s->fds, ours to the box at the stack top. */
static int open_pipes(lua_State *L, struct child *b, struct bk_spawn_opts *o, int ends[3],
                      struct bk_err *err) {
  int box = lua_gettop(L), fds[2];
  for (int i = 0; i < 3; i++) {
    if (i == 2 && o->merge) {
      o->s.fds[2] = o->s.fds[1];
      return 0;
    }
    if (i == 0 && o->input) {
      o->s.fds[0] = ends[0] = bk_lua_input_fd(o->input, o->ninput, err);
      if (ends[0] < 0) return -1;
      continue;
    }
    if (bk_process_pipe(fds)) return bk_fail_errno(err, errno, "create a pipe");
    o->s.fds[i] = ends[i] = fds[i == 0 ? 0 : 1];
    if (i == 0) {
      b->in = bk_writer_open(bk_lua_loop(L), fds[1], input_changed, b, err);
      if (!b->in) return -1;
    } else {
      lua_getiuservalue(L, box, UV_STDOUT + i - 1);
      struct reader *r = lua_touserdata(L, -1);
      lua_pop(L, 1);
      r->r = bk_reader_open(bk_lua_loop(L), fds[0], reader_changed, r, err);
      if (!r->r) return -1;
    }
  }
  return 0;
}

/* process.spawn{…} -> handle with piped streams */
static int l_spawn(lua_State *L) {
  static const char *const names[] = {"cmd", "cwd", "env", "clear_env", "stdin", "timeout", "grace",
                                      "merge", "foreground", NULL};
  struct bk_spawn_opts o;
  struct bk_err err;
  luaL_checktype(L, 1, LUA_TTABLE);
  bk_opts(L, 1, names);
  bk_lua_spawn_opts(L, 1, &o);
  o.input = bk_opt_str(L, 1, "stdin", NULL, &o.ninput);
  struct bk_loop *loop = bk_lua_loop(L);
  struct child *b = lua_newuserdatauv(L, sizeof *b, UV_COUNT);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, CHILD);
  for (int i = UV_STDOUT; i <= UV_STDERR && !o.s.foreground; i++) {
    if (i == UV_STDERR && o.merge) break;
    bk_box(L, sizeof(struct reader), READER);
    lua_setiuservalue(L, -2, i);
  }
  int ends[3] = {-1, -1, -1};
  int rc = o.s.foreground ? 0 : open_pipes(L, b, &o, ends, &err);
  if (!rc && !(b->c = bk_child_open(loop, &o.s, child_changed, b, &err))) rc = -1;
  for (int i = 0; i < 3; i++)
    if (ends[i] >= 0) close(ends[i]);
  if (rc) {
    child_release(b);
    return bk_lua_fail(L, &err);
  }
  if (o.timeout > 0) bk_child_limit(b->c, o.timeout, o.grace);
  return 1;
}

static void define_child(lua_State *L) {
  static const luaL_Reg methods[] = {{"wait", child_wait},   {"kill", child_kill},
                                     {"read", child_read},   {"read_line", child_read_line},
                                     {"write", child_write}, {"close_stdin", child_close_stdin},
                                     {NULL, NULL}};
  bk_class(L, CHILD, methods, child_close);
  luaL_getmetatable(L, CHILD);
  lua_getfield(L, -1, "__index");
  lua_pushcclosure(L, child_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, child_gc); /* a collector cannot wait */
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}

BK_EXPORT int luaopen_bakery_process(lua_State *L);
BK_EXPORT int luaopen_bakery_process(lua_State *L) {
  static const luaL_Reg reader_methods[] = {
      {"read", reader_read}, {"read_line", reader_read_line}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"run", bk_lua_process_run},
                                       {"spawn", l_spawn},
                                       {"relay", bk_lua_process_relay},
                                       {"pipe", l_pipe},
                                       {"close_fd", l_close_fd},
                                       {"exit_reason", l_exit_reason},
                                       {"pty", bk_lua_pty},
                                       {"pty_relay", bk_lua_pty_relay},
                                       {"ask", bk_lua_ask},
                                       {NULL, NULL}};
  bk_lua_loop(L); /* first, so that it is finalised last */
  bk_class(L, READER, reader_methods, reader_close);
  define_child(L);
  luaL_newlib(L, functions);
  bk_lua_process_facts(L);
  return 1;
}
