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

/* The threads that run jobs: made when a job finds none idle, joined when the loop is closed. */
enum { BK_POOL_THREADS = 16 };
struct bk_pool {
  uv_mutex_t lock;
  uv_cond_t work;                       /* something in `queue`, or `stop` */
  struct bk_job *queue, **queue_tail;   /* to be run */
  struct bk_job *done, **done_tail;     /* run, to be handed to the loop */
  uv_async_t finished;                  /* keeps the loop alive while jobs are under way */
  uv_thread_t threads[BK_POOL_THREADS];
  unsigned nthreads, idle, queued, pending; /* pending: loop thread only */
  bool stop;
};

struct bk_loop {
  uv_loop_t uv;
  struct bk_pool pool;
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
  struct bk_job *next;
  int (*run)(struct bk_job *job, struct bk_err *err); /* worker thread; 0 or -1 */
  void (*finished)(struct bk_job *job);               /* loop thread, after run; may be NULL */
  atomic_bool cancel;                                 /* run should look at it now and then */
  int rc;
  struct bk_err err;
};
/* Jobs are begun in order, up to BK_POOL_THREADS at once; one that waits for another one of the same
 * loop could wait for ever. */
int bk_job_start(struct bk_loop *loop, struct bk_job *job, struct bk_err *err) BK_WARN_UNUSED;

/* For bk_loop_init and bk_loop_close; closing waits for the threads, with no job under way. */
int bk_pool_init(struct bk_loop *loop, struct bk_err *err) BK_WARN_UNUSED;
void bk_pool_close(struct bk_loop *loop);

/* Progress that worker threads add to and Lua reads. */
struct bk_counter {
  _Atomic uint64_t done, total;
};

#endif
