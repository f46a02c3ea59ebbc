#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
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

/* --- questions ------------------------------------------------------------------------------- */

struct question {
  struct bk_job job;
  char *text;
  bool hide, answered;
  struct bk_buf line;
};

static void question_release(struct bk_job *job) {
  struct question *q = (struct question *)job;
  free(q->text);
  if (q->line.p) explicit_bzero(q->line.p, q->line.len);
  bk_buf_free(&q->line);
}

static int question_run(struct bk_job *job, struct bk_err *err) {
  struct question *q = (struct question *)job;
  int rc = bk_tty_ask(STDIN_FILENO, STDERR_FILENO, q->text, q->hide, &q->line, &job->cancel, err);
  q->answered = rc > 0;
  return rc < 0 ? -1 : 0;
}

static int question_done(lua_State *L, struct bk_job *job) {
  struct question *q = (struct question *)job;
  if (q->answered) lua_pushlstring(L, bk_buf_str(&q->line), q->line.len);
  else lua_pushnil(L);
  return 1;
}

/* ask(question[, {hide=}]) -> line or nil */
int bk_lua_ask(lua_State *L) {
  static const char *const names[] = {"hide", NULL};
  const char *text = bk_check_text(L, 1);
  bk_opts(L, 2, names);
  bool hide = bk_opt_bool(L, 2, "hide", false);
  lua_settop(L, 2);
  struct question *q = bk_job_new(L, sizeof *q, question_release);
  q->text = bk_strdup(text);
  q->hide = hide;
  q->job.run = question_run;
  return bk_job_await(L, &q->job, question_done);
}
