#include "luakit/async.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LOOP_KEY "bakery.loop"   /* registry: userdata holding struct bk_loop * */
#define TASKS_KEY "bakery.tasks" /* registry: thread -> task userdata, while the task lives */
#define TASK "bakery.loop.task"
#define COUNTER "bakery.loop.counter"
#define EVENT "bakery.loop.event"
#define SLEEPER "bakery.loop.sleep"
#define SIGWAIT "bakery.loop.signal"

enum task_state { TASK_READY, TASK_WAITING, TASK_RUNNING, TASK_DONE, TASK_FAILED };

/* A coroutine run by the scheduler. Its results, or its error, stay on the coroutine's stack. */
struct task {
  struct bk_wait turn; /* queued: resume without waiting for anything */
  lua_State *co;
  enum task_state state;
  int nargs;            /* -1: has begun */
  struct bk_wait *wait; /* what it is suspended on */
  bool cancelled, failed;
  struct bk_waiters waiters;
};

/* One suspended call of bk_waiters_await. */
struct bk_waiter {
  struct bk_wait wait;
  struct bk_waiters *list; /* NULL once taken out */
  struct bk_waiter *next;
};

/* --- the loop -------------------------------------------------------------------------------- */

static int loop_gc(lua_State *L) {
  struct bk_loop **box = lua_touserdata(L, 1);
  if (*box) {
    bk_loop_close(*box);
    free(*box);
    *box = NULL;
  }
  return 0;
}

struct bk_loop *bk_lua_loop(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, LOOP_KEY);
  struct bk_loop **box = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (box) return *box;
  box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, loop_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  struct bk_err err;
  struct bk_loop *loop = bk_calloc(1, sizeof *loop);
  if (bk_loop_init(loop, &err)) {
    free(loop);
    bk_lua_raise(L, &err);
  }
  *box = loop;
  lua_setfield(L, LUA_REGISTRYINDEX, LOOP_KEY);
  lua_newtable(L);
  lua_setfield(L, LUA_REGISTRYINDEX, TASKS_KEY);
  return loop;
}

static struct task *current_task(lua_State *L) {
  struct task *t = NULL;
  if (lua_getfield(L, LUA_REGISTRYINDEX, TASKS_KEY) == LUA_TTABLE) {
    lua_pushthread(L);
    lua_rawget(L, -2);
    t = lua_touserdata(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return t;
}

/* --- scheduler ------------------------------------------------------------------------------- */

void bk_waiters_wake(struct bk_waiters *list) {
  while (list->first) {
    struct bk_waiter *w = list->first;
    list->first = w->next;
    w->list = NULL;
    bk_wake(&w->wait);
  }
}

static void task_end(lua_State *L, struct task *t, enum task_state state) {
  t->state = state;
  bk_waiters_wake(&t->waiters);
  /* The task userdata anchors its thread as user value; the table anchored the task. */
  lua_getfield(L, LUA_REGISTRYINDEX, TASKS_KEY);
  lua_pushthread(t->co);
  lua_xmove(t->co, L, 1);
  lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static int push_cancelled(lua_State *L) {
  struct bk_err err;
  bk_fail(&err, BK_BUILD, "cancelled", "cancelled");
  bk_lua_push_err(L, &err);
  return 1;
}

/* Message handler: remembers the traceback beside the error. */
static int task_failed(lua_State *L) {
  lua_settop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, TASKS_KEY);
  lua_pushthread(L);
  lua_rawget(L, -2);
  if (lua_touserdata(L, -1)) {
    luaL_traceback(L, L, NULL, 1);
    lua_setiuservalue(L, -2, 2);
  }
  lua_settop(L, 1);
  return 1;
}

static int task_returned(lua_State *L, int status, lua_KContext ctx) {
  struct task *t = (struct task *)ctx;
  t->failed = status != LUA_OK && status != LUA_YIELD;
  return t->failed ? 1 : lua_gettop(L) - 1;
}

/* The function of every task's coroutine. Protected, because only errors that are caught unwind a
 * coroutine's stack and run its closers. */
static int task_main(lua_State *L) {
  struct task *t = current_task(L);
  lua_pushcfunction(L, task_failed);
  lua_insert(L, 1);
  int rc = lua_pcallk(L, t->nargs, LUA_MULTRET, 1, (lua_KContext)t, task_returned);
  return task_returned(L, rc, (lua_KContext)t);
}

static void task_resume(lua_State *L, struct task *t) {
  int nres = 0, nargs = t->nargs;
  if (t->state == TASK_READY && t->cancelled && nargs >= 0) { /* cancelled before it began */
    lua_settop(t->co, 0);
    push_cancelled(t->co);
    task_end(L, t, TASK_FAILED);
    return;
  }
  t->wait = NULL;
  t->state = TASK_RUNNING;
  int rc = lua_resume(t->co, L, nargs < 0 ? 0 : nargs + 1, &nres);
  t->nargs = -1;
  if (rc == LUA_YIELD) {
    lua_pop(t->co, nres);
    if (t->wait) {
      t->state = TASK_WAITING;
    } else { /* a bare coroutine.yield(): come back next turn */
      t->state = TASK_READY;
      t->turn.task = t;
      bk_wake(&t->turn);
    }
    return;
  }
  if (rc != LUA_OK) lua_rotate(t->co, 1, 1), lua_settop(t->co, 1); /* out of memory, stack overflow */
  task_end(L, t, rc == LUA_OK && !t->failed ? TASK_DONE : TASK_FAILED);
}

/* One scheduler turn; false when nothing can ever happen again. */
static bool turn(lua_State *L, struct bk_loop *loop) {
  if (!bk_loop_turn(loop)) return false;
  luaL_checkstack(L, 20, "scheduler");
  size_t n = 0; /* only what is ready now: a task that keeps yielding must not starve the loop */
  for (struct bk_wait *w = loop->ready; w; w = w->next) n++;
  for (struct bk_wait *w; n > 0 && (w = bk_loop_pop(loop)); n--) {
    struct task *t = w->task;
    if (!t) continue; /* somebody blocks on it further down the C stack and looks at w->done */
    w->task = NULL;
    if (t->state != TASK_RUNNING) task_resume(L, t);
  }
  return true;
}

static int raise_interrupt(lua_State *L, struct bk_loop *loop) {
  loop->interrupt = NULL;
  lua_getfield(L, LUA_REGISTRYINDEX, "bakery.interrupt");
  return lua_error(L);
}

static int raise_cancelled(lua_State *L, struct task *t, struct bk_wait *w) {
  t->cancelled = false; /* raised once, so that closers may wait again */
  if (!w->done && w->cancel) w->cancel(w);
  push_cancelled(L);
  return lua_error(L);
}

static int after_await(lua_State *L, int status, lua_KContext ctx) {
  struct bk_wait *w = (struct bk_wait *)ctx;
  struct task *t = current_task(L);
  if (t && t->cancelled) return raise_cancelled(L, t, w);
  if (!w->done) return lua_yieldk(L, 0, ctx, after_await); /* resumed by a stranger */
  return ((lua_KFunction)w->k)(L, status, w->ctx);
}

/* In a task: arranges for k to run once w is done, and does not return. Otherwise false. */
static bool suspend(lua_State *L, struct bk_wait *w, lua_KFunction k, lua_KContext ctx) {
  struct task *t = current_task(L);
  if (!t || !lua_isyieldable(L)) return false;
  if (t->cancelled) return raise_cancelled(L, t, w), true;
  w->k = (int (*)(void *, int, intptr_t))k;
  w->ctx = ctx;
  w->task = t;
  t->wait = w;
  return lua_yieldk(L, 0, (lua_KContext)w, after_await), true;
}

/* Turns the loop until w is done; raises on an interrupt. */
static void block(lua_State *L, struct bk_wait *w) {
  struct bk_loop *loop = w->loop;
  while (!w->done) {
    if (loop->interrupt) {
      if (w->cancel) w->cancel(w);
      raise_interrupt(L, loop);
    }
    if (!turn(L, loop)) luaL_error(L, "deadlock: nothing left that could end this wait");
  }
  bk_unwake(w);
}

int bk_await(lua_State *L, struct bk_wait *w, lua_KFunction k, lua_KContext ctx) {
  if (w->done) bk_unwake(w);
  else if (!suspend(L, w, k, ctx)) block(L, w);
  return k(L, LUA_OK, ctx);
}

static void waiter_cancel(struct bk_wait *w) {
  struct bk_waiter *self = (struct bk_waiter *)w;
  if (!self->list) return;
  struct bk_waiter **p = &self->list->first;
  while (*p != self) p = &(*p)->next;
  *p = self->next;
  self->list = NULL;
}

void bk_waiters_wait(lua_State *L, struct bk_waiters *list, lua_KFunction k, lua_KContext ctx) {
  struct bk_waiter *w = lua_newuserdatauv(L, sizeof *w, 0);
  memset(w, 0, sizeof *w);
  w->wait.loop = bk_lua_loop(L);
  w->wait.cancel = waiter_cancel;
  w->list = list;
  struct bk_waiter **end = &list->first;
  while (*end) end = &(*end)->next;
  *end = w;
  if (!suspend(L, &w->wait, k, ctx)) block(L, &w->wait);
}

/* --- tasks ----------------------------------------------------------------------------------- */

static int loop_spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  int nargs = lua_gettop(L) - 1;
  struct bk_loop *loop = bk_lua_loop(L);
  struct task *t = lua_newuserdatauv(L, sizeof *t, 2); /* user values: thread, traceback */
  memset(t, 0, sizeof *t);
  luaL_setmetatable(L, TASK);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, -3, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, TASKS_KEY);
  lua_insert(L, -2);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  lua_insert(L, 1); /* the task below function and arguments */
  luaL_checkstack(co, nargs + 2, "task arguments");
  lua_pushcfunction(co, task_main);
  lua_xmove(L, co, nargs + 1);
  t->co = co;
  t->nargs = nargs;
  t->state = TASK_READY;
  t->turn.loop = loop;
  t->turn.task = t;
  bk_wake(&t->turn);
  return 1;
}

/* true, results… or false, error, traceback of the task in slot 1. */
static int task_results(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  struct task *t = lua_touserdata(L, 1);
  int n = lua_gettop(t->co);
  luaL_checkstack(L, n + 2, "task results");
  luaL_checkstack(t->co, n, "task results");
  lua_pushboolean(L, t->state == TASK_DONE);
  for (int i = 1; i <= n; i++) lua_pushvalue(t->co, i);
  lua_xmove(t->co, L, n);
  if (t->state == TASK_DONE) return n + 1;
  lua_getiuservalue(L, 1, 2);
  return n + 2;
}

static int task_wait(lua_State *L) {
  struct task *t = bk_check(L, 1, TASK);
  if (t->state != TASK_DONE && t->state != TASK_FAILED)
    bk_waiters_wait(L, &t->waiters, task_results, 0);
  return task_results(L, LUA_OK, 0);
}

static int task_cancel(lua_State *L) {
  struct task *t = bk_check(L, 1, TASK);
  if (t->state == TASK_DONE || t->state == TASK_FAILED) return 0;
  t->cancelled = true;
  if (t->state == TASK_WAITING) {
    struct bk_wait *w = t->wait;
    if (w && w->cancel) {
      w->cancel(w);
      w->cancel = NULL;
    }
    if (w) w->task = NULL; /* the operation may still end: it finds nobody */
    t->turn.task = t;
    bk_wake(&t->turn);
  }
  return 0;
}

static int task_status(lua_State *L) {
  static const char *const names[] = {"ready", "waiting", "running", "done", "failed"};
  struct task *t = bk_check(L, 1, TASK);
  lua_pushstring(L, names[t->state]);
  return 1;
}

static int loop_current(lua_State *L) {
  struct task *t = current_task(L);
  if (!t) return lua_pushnil(L), 1;
  lua_getfield(L, LUA_REGISTRYINDEX, TASKS_KEY);
  lua_pushthread(L);
  lua_rawget(L, -2);
  return 1;
}

static int loop_finish(lua_State *L) {
  struct bk_loop *loop = bk_lua_loop(L);
  for (;;) {
    lua_getfield(L, LUA_REGISTRYINDEX, TASKS_KEY);
    lua_pushnil(L);
    bool any = lua_next(L, -2);
    lua_settop(L, 0);
    if (!any) return 0;
    if (loop->interrupt) return raise_interrupt(L, loop);
    if (!turn(L, loop)) return luaL_error(L, "deadlock: tasks wait for each other");
  }
}

/* --- sleep, events, counters ----------------------------------------------------------------- */

struct sleeper {
  struct bk_wait wait;
  uv_timer_t *timer; /* heap: libuv closes handles later than we forget them */
};

static void timer_closed(uv_handle_t *h) { free(h); }

static void sleeper_stop(struct bk_wait *w) {
  struct sleeper *s = (struct sleeper *)w;
  if (s->timer) uv_close((uv_handle_t *)s->timer, timer_closed);
  s->timer = NULL;
}

static void on_timer(uv_timer_t *timer) {
  struct sleeper *s = timer->data;
  sleeper_stop(&s->wait);
  bk_wake(&s->wait);
}

/* Its coroutine died, or the state closes. */
static int sleeper_gc(lua_State *L) {
  sleeper_stop(lua_touserdata(L, 1));
  return 0;
}

static int nothing(lua_State *L, int status, lua_KContext ctx) {
  (void)L, (void)status, (void)ctx;
  return 0;
}

static int loop_sleep(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 1, "seconds expected");
  struct bk_loop *loop = bk_lua_loop(L);
  struct sleeper *s = bk_box(L, sizeof *s, SLEEPER);
  s->wait.loop = loop;
  s->wait.cancel = sleeper_stop;
  s->timer = bk_malloc(sizeof *s->timer);
  s->timer->data = s;
  uv_timer_init(&loop->uv, s->timer);
  uv_update_time(&loop->uv);
  uv_timer_start(s->timer, on_timer, (uint64_t)(seconds * 1000 + 0.5), 0);
  return bk_await(L, &s->wait, nothing, 0);
}

static int loop_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)uv_hrtime() / 1e9);
  return 1;
}

struct event {
  struct bk_waiters waiters;
  bool set;
};

static int loop_event(lua_State *L) {
  bk_lua_loop(L);
  bk_box(L, sizeof(struct event), EVENT);
  return 1;
}

static int event_set(lua_State *L) {
  struct event *e = bk_check(L, 1, EVENT);
  e->set = true;
  bk_waiters_wake(&e->waiters);
  return 0;
}

static int event_clear(lua_State *L) {
  struct event *e = bk_check(L, 1, EVENT);
  e->set = false;
  return 0;
}

static int event_is_set(lua_State *L) {
  struct event *e = bk_check(L, 1, EVENT);
  lua_pushboolean(L, e->set);
  return 1;
}

static int event_wait(lua_State *L) {
  struct event *e = bk_check(L, 1, EVENT);
  if (e->set) return 0;
  bk_waiters_wait(L, &e->waiters, nothing, 0);
  return 0;
}

static int loop_counter(lua_State *L) {
  bk_box(L, sizeof(struct bk_counter), COUNTER);
  return 1;
}

static int counter_get(lua_State *L) {
  struct bk_counter *c = bk_check(L, 1, COUNTER);
  lua_pushinteger(L, (lua_Integer)atomic_load(&c->done));
  lua_pushinteger(L, (lua_Integer)atomic_load(&c->total));
  return 2;
}

static int counter_add(lua_State *L) {
  struct bk_counter *c = bk_check(L, 1, COUNTER);
  atomic_fetch_add(&c->done, (uint64_t)luaL_optinteger(L, 2, 0));
  atomic_fetch_add(&c->total, (uint64_t)luaL_optinteger(L, 3, 0));
  return 0;
}

struct bk_counter *bk_opt_counter(lua_State *L, int idx, const char *name) {
  struct bk_counter *c = NULL;
  if (bk_opt_get(L, idx, name)) c = luaL_testudata(L, -1, COUNTER);
  if (!c && !lua_isnil(L, -1)) luaL_error(L, "option '%s': expected a loop.counter()", name);
  lua_pop(L, 1);
  return c;
}

/* --- jobs ------------------------------------------------------------------------------------ */

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

/* A running job is anchored in the registry, so it is collected only when the state closes: then
 * the worker must let go first. */
static int job_gc(lua_State *L) {
  struct job_box *b = lua_touserdata(L, 1);
  struct bk_job *job = (struct bk_job *)b->job;
  if (b->running) atomic_store(&job->cancel, true);
  while (b->running) uv_run(&job->wait.loop->uv, UV_RUN_ONCE);
  if (b->release) b->release((struct bk_job *)b->job);
  b->release = NULL;
  return 0;
}

void *bk_job_new(lua_State *L, size_t size, void (*release)(struct bk_job *job)) {
  if (luaL_newmetatable(L, JOB)) {
    lua_pushcfunction(L, job_gc);
    lua_setfield(L, -2, "__gc");
  }
  struct job_box *b = lua_newuserdatauv(L, sizeof *b + size, 1);
  memset(b, 0, sizeof *b + size);
  b->release = release;
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
  return b->job;
}

static void job_cancel(struct bk_wait *w) { atomic_store(&((struct bk_job *)w)->cancel, true); }

/* The worker has let go: drop the anchor that kept the userdata alive through a cancelled wait. */
static void job_finished(struct bk_job *job) {
  struct job_box *b = box_of(job);
  b->running = false;
  lua_pushnil(b->main);
  lua_rawsetp(b->main, LUA_REGISTRYINDEX, b);
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

/* --- signals --------------------------------------------------------------------------------- */

static int loop_interrupt(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  lua_setfield(L, LUA_REGISTRYINDEX, "bakery.interrupt");
  bk_lua_loop(L)->interrupt = L;
  return 0;
}

struct sigwait {
  struct bk_wait wait;
  uv_signal_t *handle;
};

static void sigwait_stop(struct bk_wait *w) {
  struct sigwait *s = (struct sigwait *)w;
  if (s->handle) uv_close((uv_handle_t *)s->handle, timer_closed);
  s->handle = NULL;
}

static int sigwait_gc(lua_State *L) {
  sigwait_stop(lua_touserdata(L, 1));
  return 0;
}

static void on_signal(uv_signal_t *h, int signum) {
  (void)signum;
  struct sigwait *s = h->data;
  bk_wake(&s->wait);
}

static int after_signal(lua_State *L, int status, lua_KContext ctx) {
  (void)L, (void)status;
  sigwait_stop((struct bk_wait *)ctx);
  return 0;
}

static int loop_signal(lua_State *L) {
  int signum = (int)luaL_checkinteger(L, 1);
  struct bk_loop *loop = bk_lua_loop(L);
  struct sigwait *s = bk_box(L, sizeof *s, SIGWAIT);
  s->wait.loop = loop;
  s->wait.cancel = sigwait_stop;
  s->handle = bk_malloc(sizeof *s->handle);
  s->handle->data = s;
  uv_signal_init(&loop->uv, s->handle);
  int rc = uv_signal_start(s->handle, on_signal, signum);
  uv_unref((uv_handle_t *)s->handle); /* waiting for a signal alone keeps nothing alive */
  if (rc) {
    sigwait_stop(&s->wait);
    return luaL_error(L, "wait for signal %d: %s", signum, uv_strerror(rc));
  }
  return bk_await(L, &s->wait, after_signal, (lua_KContext)s);
}

BK_EXPORT int luaopen_bakery_loop(lua_State *L) {
  static const luaL_Reg task_methods[] = {
      {"wait", task_wait}, {"cancel", task_cancel}, {"status", task_status}, {NULL, NULL}};
  static const luaL_Reg event_methods[] = {{"set", event_set},
                                           {"clear", event_clear},
                                           {"is_set", event_is_set},
                                           {"wait", event_wait},
                                           {NULL, NULL}};
  static const luaL_Reg counter_methods[] = {{"get", counter_get}, {"add", counter_add}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"spawn", loop_spawn},     {"current", loop_current}, {"sleep", loop_sleep},
      {"now", loop_now},         {"event", loop_event},     {"counter", loop_counter},
      {"finish", loop_finish},   {"signal", loop_signal},   {"interrupt", loop_interrupt},
      {NULL, NULL}};
  bk_class(L, TASK, task_methods, NULL);
  bk_class(L, EVENT, event_methods, NULL);
  bk_class(L, COUNTER, counter_methods, NULL);
  bk_lua_loop(L); /* before anything with a finaliser, so that it is finalised last */
  bk_class(L, SLEEPER, NULL, sleeper_gc);
  bk_class(L, SIGWAIT, NULL, sigwait_gc);
  luaL_newlib(L, functions);
  return 1;
}
