/* bakery.loop: tasks, sleep, events, counters, signals. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "luakit/sched.h"

#define TASK "bakery.loop.task"
#define COUNTER "bakery.loop.counter"
#define EVENT "bakery.loop.event"
#define SLEEPER "bakery.loop.sleep"
#define SIGWAIT "bakery.loop.signal"

/* --- tasks ----------------------------------------------------------------------------------- */

static int loop_spawn(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  int nargs = lua_gettop(L) - 1;
  struct bk_loop *loop = bk_lua_loop(L);
  struct task *t = lua_newuserdatauv(L, sizeof *t, 2); /* user values: thread, traceback */
  memset(t, 0, sizeof *t);
  luaL_setmetatable(L, TASK);
  lua_State *co = lua_newthread(L);
  lua_setiuservalue(L, -2, 1);
  lua_insert(L, 1); /* the task below function and arguments */
  if (!lua_checkstack(co, nargs + 2)) return luaL_error(L, "too many task arguments");
  lua_pushcfunction(co, bk_task_main);
  lua_xmove(L, co, nargs + 1);
  t->co = co;
  t->nargs = nargs;
  t->state = TASK_READY;
  t->turn.loop = loop;
  t->turn.task = t;
  lua_getfield(L, LUA_REGISTRYINDEX, BK_TASKS_KEY);
  lua_pushvalue(L, 1);
  lua_rawsetp(L, 2, co);
  lua_settop(L, 1);
  bk_wake(&t->turn);
  return 1;
}

/* true, results… or false, error, traceback of the task in slot 1. */
static int task_results(lua_State *L, int status, lua_KContext ctx) {
  (void)status, (void)ctx;
  struct task *t = lua_touserdata(L, 1);
  int n = lua_gettop(t->co);
  luaL_checkstack(L, n + 2, "task results");
  if (!lua_checkstack(t->co, n)) return luaL_error(L, "too many task results");
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
  struct task *t = bk_task_current(L);
  if (!t) return lua_pushnil(L), 1;
  lua_getfield(L, LUA_REGISTRYINDEX, BK_TASKS_KEY);
  lua_rawgetp(L, -1, L);
  return 1;
}

static int loop_finish(lua_State *L) {
  struct bk_loop *loop = bk_lua_loop(L);
  for (;;) {
    lua_getfield(L, LUA_REGISTRYINDEX, BK_TASKS_KEY);
    lua_pushnil(L);
    bool any = lua_next(L, -2);
    lua_settop(L, 0);
    if (!any) return 0;
    if (!bk_sched_turn(L, loop)) return luaL_error(L, "deadlock: tasks wait for each other");
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

/* --- signals --------------------------------------------------------------------------------- */

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
  static const luaL_Reg counter_methods[] = {
      {"get", counter_get}, {"add", counter_add}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"spawn", loop_spawn},   {"current", loop_current}, {"sleep", loop_sleep},
      {"now", loop_now},       {"event", loop_event},     {"counter", loop_counter},
      {"finish", loop_finish}, {"signal", loop_signal},   {NULL, NULL}};
  bk_class(L, TASK, task_methods, NULL);
  bk_class(L, EVENT, event_methods, NULL);
  bk_class(L, COUNTER, counter_methods, NULL);
  bk_lua_loop(L); /* before anything with a finaliser, so that it is finalised last */
  bk_class(L, SLEEPER, NULL, sleeper_gc);
  bk_class(L, SIGWAIT, NULL, sigwait_gc);
  luaL_newlib(L, functions);
  return 1;
}
