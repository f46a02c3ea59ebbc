/* The scheduler: resumes tasks whose waits have ended, blocks everybody else. */
#include "luakit/async.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "luakit/sched.h"

#define LOOP_KEY "bakery.loop" /* registry: userdata holding struct bk_loop * */

/* Waits that cannot yield turn the loop from inside; deeper than this they resume no further tasks,
 * because Lua allows only 200 nested C calls. */
#define MAX_NESTED 12

/* One suspended call of bk_waiters_wait. */
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
  luaL_getsubtable(L, LUA_REGISTRYINDEX, BK_TASKS_KEY);
  lua_pop(L, 1);
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
  return loop;
}

/* --- scheduler ------------------------------------------------------------------------------- */

struct task *bk_task_current(lua_State *L) {
  struct task *t = NULL;
  if (lua_getfield(L, LUA_REGISTRYINDEX, BK_TASKS_KEY) == LUA_TTABLE) {
    lua_rawgetp(L, -1, L);
    t = lua_touserdata(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return t;
}

static void task_end(lua_State *L, struct task *t, enum task_state state) {
  t->state = state;
  bk_waiters_wake(&t->waiters);
  bk_unwake(&t->turn);
  lua_getfield(L, LUA_REGISTRYINDEX, BK_TASKS_KEY);
  lua_pushnil(L);
  lua_rawsetp(L, -2, t->co);
  lua_pop(L, 1);
}

static int push_cancelled(lua_State *L) {
  struct bk_err err;
  bk_fail(&err, BK_BUILD, "cancelled", "cancelled");
  bk_lua_push_err(L, &err);
  return 1;
}

/* Message handler: remembers the traceback beside the error. */
static int task_error(lua_State *L) {
  lua_settop(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, BK_TASKS_KEY);
  if (lua_rawgetp(L, -1, L) == LUA_TUSERDATA) {
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

/* Protected, because only errors that are caught unwind a coroutine's stack and run its closers. */
int bk_task_main(lua_State *co) {
  struct task *t = bk_task_current(co);
  lua_pushcfunction(co, task_error);
  lua_insert(co, 1);
  int rc = lua_pcallk(co, t->nargs, LUA_MULTRET, 1, (lua_KContext)t, task_returned);
  return task_returned(co, rc, (lua_KContext)t);
}

static void task_resume(lua_State *L, struct task *t) {
  int nres = 0, nargs = t->nargs;
  if (t->state == TASK_READY && t->cancelled && nargs >= 0) { /* cancelled before it began */
    lua_settop(t->co, 0);
    lua_pushcfunction(L, push_cancelled);
    lua_pcall(L, 0, 1, 0); /* either way the stack top is an error value */
    lua_xmove(L, t->co, 1);
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
  if (rc != LUA_OK) { /* bk_task_main itself failed: out of memory, stack overflow */
    lua_rotate(t->co, 1, 1);
    lua_settop(t->co, 1);
  }
  task_end(L, t, rc == LUA_OK && !t->failed ? TASK_DONE : TASK_FAILED);
}

bool bk_sched_turn(lua_State *L, struct bk_loop *loop) {
  if (!bk_loop_turn(loop)) return false;
  size_t n = 0; /* only what is ready now: a task that keeps yielding must not starve the loop */
  for (struct bk_wait *w = loop->ready; w; w = w->next) n++;
  for (struct bk_wait *w; n > 0 && (w = bk_loop_pop(loop)); n--) {
    struct task *t = w->task;
    if (!t) continue; /* somebody blocks on it further down the C stack and looks at w->done */
    w->task = NULL;
    if (t->state == TASK_READY || t->state == TASK_WAITING) task_resume(L, t);
  }
  return true;
}

/* --- waiting --------------------------------------------------------------------------------- */

/* Nobody waits for w any more: its memory may go away as soon as the error has been raised. */
static void give_up(struct bk_wait *w) {
  if (!w->done && w->cancel) w->cancel(w);
  bk_unwake(w);
}

static int raise_cancelled(lua_State *L, struct task *t, struct bk_wait *w) {
  t->cancelled = false; /* raised once, so that closers may wait again */
  give_up(w);
  push_cancelled(L);
  return lua_error(L);
}

static int after_await(lua_State *L, int status, lua_KContext ctx) {
  struct bk_wait *w = (struct bk_wait *)ctx;
  struct task *t = bk_task_current(L);
  if (t && t->cancelled) return raise_cancelled(L, t, w);
  if (!w->done) return lua_yieldk(L, 0, ctx, after_await); /* resumed by a stranger */
  return ((lua_KFunction)w->k)(L, status, w->ctx);
}

/* In a task: arranges for k to run once w is done, and does not return. Otherwise false. */
static bool suspend(lua_State *L, struct bk_wait *w, lua_KFunction k, lua_KContext ctx) {
  struct task *t = bk_task_current(L);
  if (!t || !lua_isyieldable(L)) return false;
  if (t->cancelled) return raise_cancelled(L, t, w), true;
  w->k = (int (*)(void *, int, intptr_t))k;
  w->ctx = ctx;
  w->task = t;
  t->wait = w;
  return lua_yieldk(L, 0, (lua_KContext)w, after_await), true;
}

/* One turn for a wait that cannot yield. */
static bool nested_turn(lua_State *L, struct bk_loop *loop, const struct bk_wait *w) {
  if (loop->nested >= MAX_NESTED) return uv_run(&loop->uv, UV_RUN_ONCE) || w->done;
  loop->nested++;
  bool more = bk_sched_turn(L, loop);
  loop->nested--;
  return more;
}

/* Turns the loop until w is done. */
static void block(lua_State *L, struct bk_wait *w) {
  struct bk_loop *loop = w->loop;
  struct task *t = bk_task_current(L);
  const char *why = NULL;
  if (!lua_checkstack(L, 20)) why = "stack overflow";
  while (!w->done && !why) {
    if (t && t->cancelled) raise_cancelled(L, t, w);
    if (!nested_turn(L, loop, w)) why = "deadlock: nothing left that could end this wait";
  }
  if (why) {
    give_up(w);
    luaL_error(L, "%s", why);
  }
  bk_unwake(w);
}

int bk_await(lua_State *L, struct bk_wait *w, lua_KFunction k, lua_KContext ctx) {
  if (w->done) bk_unwake(w);
  else if (!suspend(L, w, k, ctx)) block(L, w);
  return k(L, LUA_OK, ctx);
}

/* --- waiters --------------------------------------------------------------------------------- */

void bk_waiters_wake(struct bk_waiters *list) {
  while (list->first) {
    struct bk_waiter *w = list->first;
    list->first = w->next;
    w->list = NULL;
    bk_wake(&w->wait);
  }
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
  struct bk_loop *loop = bk_lua_loop(L);
  struct bk_waiter *w = lua_newuserdatauv(L, sizeof *w, 0);
  memset(w, 0, sizeof *w);
  w->wait.loop = loop;
  w->wait.cancel = waiter_cancel;
  w->list = list;
  struct bk_waiter **end = &list->first;
  while (*end) end = &(*end)->next;
  *end = w;
  if (!suspend(L, &w->wait, k, ctx)) block(L, &w->wait);
}
