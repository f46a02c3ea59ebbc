#include <unistd.h>

#include "process/lua_process.h"
#include "process/process.h"

struct relay {
  struct bk_job job;
  int master;
};

static void relay_release(struct bk_job *job) {
  struct relay *r = (struct relay *)job;
  if (r->master >= 0) close(r->master);
}

static int relay_run(struct bk_job *job, struct bk_err *err) {
  return bk_pty_relay(((struct relay *)job)->master, STDIN_FILENO, STDOUT_FILENO, &job->cancel, err);
}

static int relay_done(lua_State *L, struct bk_job *job) {
  (void)job;
  lua_pushboolean(L, true);
  return 1;
}

int bk_lua_pty(lua_State *L) {
  struct bk_err err;
  int fds[2];
  if (bk_pty_open(fds, &err)) return bk_lua_fail(L, &err);
  lua_pushinteger(L, fds[0]);
  lua_pushinteger(L, fds[1]);
  return 2;
}

int bk_lua_pty_relay(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  luaL_argcheck(L, fd >= 0 && fd < 1 << 24, 1, "not a descriptor");
  lua_settop(L, 1);
  struct relay *r = bk_job_new(L, sizeof *r, relay_release);
  r->master = (int)fd;
  r->job.run = relay_run;
  return bk_job_await(L, &r->job, relay_done);
}
