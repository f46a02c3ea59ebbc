/* Lua calls that look blocking. In a task (loop.spawn) they yield to the scheduler; anywhere else
 * (main chunk, a user's own coroutine, plain lua5.4) they turn the loop until they are done.
 * The loop and the tasks live in the registry, so that separately loaded modules share them. */
#ifndef BK_LUAKIT_ASYNC_H
#define BK_LUAKIT_ASYNC_H

#include "loop/loop.h"
#include "luakit/luakit.h"

/* The state's loop, created on first use. */
struct bk_loop *bk_lua_loop(lua_State *L);

/* `return bk_await(L, w, k, ctx)`: suspends until bk_wake(w), then k(L, LUA_YIELD or LUA_OK, ctx)
 * runs with the stack as it was. w->loop must be set. The memory of w must be a userdata below on
 * this stack, or anchored otherwise until it is done or its cancel hook has detached it.
 * Raises instead of calling k when the task was cancelled meanwhile. */
int bk_await(lua_State *L, struct bk_wait *w, lua_KFunction k, lua_KContext ctx);

/* Calls suspended until something happens to an object that outlives them (it must be on their
 * stack). */
struct bk_waiters {
  struct bk_waiter *first;
};
/* Waits for bk_waiters_wake. In a task this does not return: k runs later, with one more value on
 * the stack. Anywhere else it returns when woken. Either way look at the object again: loop. */
void bk_waiters_wait(lua_State *L, struct bk_waiters *list, lua_KFunction k, lua_KContext ctx);
void bk_waiters_wake(struct bk_waiters *list);

/* Pushes a zeroed userdata of `size` bytes that starts with a struct bk_job. `release` (may be
 * NULL) frees what the job holds: called once, on the loop thread, after the work has ended and Lua
 * has let go. Fill in run and the fields, then `return bk_job_await(L, job, done)`. */
void *bk_job_new(lua_State *L, size_t size, void (*release)(struct bk_job *job));
/* Starts the job and suspends; on success `done(L, job)` pushes the results and returns their
 * number, on failure the Lua call returns nil, err. */
int bk_job_await(lua_State *L, struct bk_job *job, int (*done)(lua_State *L, struct bk_job *job));

/* The struct bk_counter of a loop.counter() in option `name`, or NULL. */
struct bk_counter *bk_opt_counter(lua_State *L, int idx, const char *name);

int luaopen_bakery_loop(lua_State *L);

#endif
