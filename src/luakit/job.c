/* Jobs seen from Lua: a userdata that stays alive until its worker thread has let go. */
#include <stddef.h>
#include <string.h>

#include "luakit/async.h"

#define JOB "bakery.loop.job"

struct job_box {
  void (*release)(struct bk_job *job);
  int (*done)(lua_State *L, struct bk_job *job);
  lua_State *main;
  bool running;
  _Alignas(8) char job[]; /* userdata memory has no more */
};

static struct job_box *box_of(struct bk_job *job) {
  return (struct job_box *)((char *)job - offsetof(struct job_box, job));
}

static void let_go(struct job_box *b) {
  void (*fn)(struct bk_job *job) = b->release;
  b->release = NULL;
  if (fn) fn((struct bk_job *)b->job);
}

/* A running job is anchored in the registry, so it is collected only when the state closes: then
 * the worker must let go first. */
static int job_gc(lua_State *L) {
  struct job_box *b = lua_touserdata(L, 1);
  struct bk_job *job = (struct bk_job *)b->job;
  if (b->running) atomic_store(&job->cancel, true);
  while (b->running) uv_run(&job->wait.loop->uv, UV_RUN_ONCE);
  let_go(b);
  return 0;
}

void *bk_job_new(lua_State *L, size_t size, void (*release)(struct bk_job *job)) {
  bk_lua_loop(L); /* finalisers run in reverse order: the loop's must be the older one */
  if (luaL_getmetatable(L, JOB) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, job_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, JOB);
  }
  struct job_box *b = lua_newuserdatauv(L, sizeof *b + size, 1);
  memset(b, 0, sizeof *b + size);
  b->release = release;
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
  return b->job;
}

/* What nobody will take is released at once, not when collected: it may be a running process. */
static void job_cancel(struct bk_wait *w) {
  struct bk_job *job = (struct bk_job *)w;
  atomic_store(&job->cancel, true);
  if (!box_of(job)->running) let_go(box_of(job));
}

/* The worker has let go: drop the anchor that kept the userdata alive through a cancelled wait. */
static void job_finished(struct bk_job *job) {
  struct job_box *b = box_of(job);
  b->running = false;
  lua_pushnil(b->main);
  lua_rawsetp(b->main, LUA_REGISTRYINDEX, b);
  if (atomic_load(&job->cancel)) let_go(b);
}

static int job_done(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  struct bk_job *job = (struct bk_job *)ctx;
  if (job->rc) return bk_lua_fail(L, &job->err);
  return box_of(job)->done(L, job);
}

int bk_job_await(lua_State *L, struct bk_job *job, int (*done)(lua_State *L, struct bk_job *job)) {
  struct job_box *b = box_of(job);
  struct bk_err err;
  b->done = done;
  if (lua_touserdata(L, -1) != b) return luaL_error(L, "bk_job_await: the job must be on the top");
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  b->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  job->finished = job_finished;
  job->wait.cancel = job_cancel;
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, b);
  if (bk_job_start(bk_lua_loop(L), job, &err)) {
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, b);
    return bk_lua_fail(L, &err);
  }
  b->running = true;
  return bk_await(L, &job->wait, job_done, (lua_KContext)job);
}
