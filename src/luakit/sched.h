/* Shared by async.c (the scheduler) and looplib.c (what Lua sees of it). A task's userdata owns its
 * coroutine; the registry's task table owns the userdata until the task has ended. */
#ifndef BK_LUAKIT_SCHED_H
#define BK_LUAKIT_SCHED_H

#include "luakit/async.h"

#define BK_TASKS_KEY "bakery.tasks" /* registry: lua_State * of a live task -> its userdata */

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

/* The function of every task's coroutine: expects the task's function and arguments. */
int bk_task_main(lua_State *co);
/* The task whose coroutine L is, or NULL. */
struct task *bk_task_current(lua_State *L);
/* One turn of loop and scheduler; false when nothing can ever happen again. Never raises; needs
 * lua_checkstack(L, 20). */
bool bk_sched_turn(lua_State *L, struct bk_loop *loop);

#endif
