/* One libuv loop and its queue of finished waits, owned by one thread; bk_job_* is the only way
 * across. Callbacks of libuv never run Lua: they call bk_wake, and luakit/async.c resumes the
 * coroutine afterwards, outside uv_run. */
#ifndef BK_LOOP_H
#define BK_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct bk_wait;

/* Something to be torn down with the loop (a child still running, an open pipe). Embedded. */
struct bk_loop_hook {
  struct bk_loop_hook *next, **prev; /* prev NULL: not registered */
  void (*close)(struct bk_loop_hook *hook); /* called once, already removed; may uv_close handles */
};

struct bk_loop {
  uv_loop_t uv;
  struct bk_wait *ready, **ready_tail;
  struct bk_loop_hook *hooks;
  unsigned nested; /* scheduler turns on the C stack */
};

int bk_loop_init(struct bk_loop *loop, struct bk_err *err) BK_WARN_UNUSED;
/* Runs the hooks, closes every handle still open and waits for the worker threads. */
void bk_loop_close(struct bk_loop *loop);
void bk_loop_hook_add(struct bk_loop *loop, struct bk_loop_hook *hook);
void bk_loop_hook_remove(struct bk_loop_hook *hook); /* harmless when not registered */

/* Something a coroutine waits for, embedded in the operation's own struct. */
struct bk_wait {
  struct bk_loop *loop;
  struct bk_wait *next; /* ready queue */
  bool done, queued;
  /* Asked to give up early (task cancelled): stop the operation; may be NULL. */
  void (*cancel)(struct bk_wait *w);
  /* For luakit/async.c. */
  void *task;
  int (*k)(void *L, int status, intptr_t ctx);
  intptr_t ctx;
};

/* Marks w done and queues its coroutine; loop thread only; calling it again is harmless. */
void bk_wake(struct bk_wait *w);
/* Takes w out of the ready queue: needed before its memory goes away. */
void bk_unwake(struct bk_wait *w);
/* Next finished wait, or NULL. */
struct bk_wait *bk_loop_pop(struct bk_loop *loop);
/* Lets libuv work: blocks for the next event unless something is ready. False when nothing is
 * ready and nothing can ever become so. */
bool bk_loop_turn(struct bk_loop *loop);

/* A function run on a worker thread. Embed it first in a larger struct. */
struct bk_job {
  struct bk_wait wait;
  uv_work_t work;
  int (*run)(struct bk_job *job, struct bk_err *err); /* worker thread; 0 or -1 */
  void (*finished)(struct bk_job *job);               /* loop thread, after run; may be NULL */
  atomic_bool cancel;                                 /* run should look at it now and then */
  int rc;
  struct bk_err err;
};
int bk_job_start(struct bk_loop *loop, struct bk_job *job, struct bk_err *err) BK_WARN_UNUSED;

/* Progress that worker threads add to and Lua reads. */
struct bk_counter {
  _Atomic uint64_t done, total;
};

#endif
