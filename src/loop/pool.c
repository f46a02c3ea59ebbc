/* The threads of a loop: most commands need one or two of them, and none needs them at its start. */
#include <stddef.h>

#include "loop/loop.h"

static struct bk_job *pop(struct bk_job **list, struct bk_job ***tail) {
  struct bk_job *job = *list;
  if (job && !(*list = job->next)) *tail = list;
  return job;
}

static void push(struct bk_job ***tail, struct bk_job *job) {
  job->next = NULL;
  **tail = job;
  *tail = &job->next;
}

static void run(struct bk_job *job) {
  job->rc = atomic_load(&job->cancel) ? bk_fail(&job->err, BK_BUILD, "cancelled", "cancelled")
                                      : job->run(job, &job->err);
}

static void worker(void *arg) {
  struct bk_pool *pool = arg;
  uv_mutex_lock(&pool->lock);
  for (;;) {
    struct bk_job *job = pop(&pool->queue, &pool->queue_tail);
    if (job) {
      pool->queued--;
      uv_mutex_unlock(&pool->lock);
      run(job);
      uv_mutex_lock(&pool->lock);
      push(&pool->done_tail, job);
      uv_async_send(&pool->finished);
    } else if (pool->stop) {
      break;
    } else {
      pool->idle++;
      uv_cond_wait(&pool->work, &pool->lock);
      pool->idle--;
    }
  }
  uv_mutex_unlock(&pool->lock);
}

/* Loop thread: hands back what is done. */
static void on_finished(uv_async_t *handle) {
  struct bk_pool *pool = (struct bk_pool *)((char *)handle - offsetof(struct bk_pool, finished));
  for (;;) {
    uv_mutex_lock(&pool->lock);
    struct bk_job *job = pop(&pool->done, &pool->done_tail);
    uv_mutex_unlock(&pool->lock);
    if (!job) return;
    if (--pool->pending == 0) uv_unref((uv_handle_t *)handle);
    job->wait.done = true;
    /* A cancelled wait has nobody left to wake, and `finished` may free the job. */
    if (!atomic_load(&job->cancel)) bk_wake(&job->wait);
    if (job->finished) job->finished(job);
  }
}

int bk_pool_init(struct bk_loop *loop, struct bk_err *err) {
  struct bk_pool *pool = &loop->pool;
  *pool = (struct bk_pool){0};
  pool->queue_tail = &pool->queue;
  pool->done_tail = &pool->done;
  int rc = uv_mutex_init(&pool->lock);
  if (rc == 0 && (rc = uv_cond_init(&pool->work))) uv_mutex_destroy(&pool->lock);
  if (rc == 0 && (rc = uv_async_init(&loop->uv, &pool->finished, on_finished))) {
    uv_cond_destroy(&pool->work);
    uv_mutex_destroy(&pool->lock);
  }
  if (rc) return bk_fail(err, BK_BUILD, uv_err_name(rc), "create event loop: %s", uv_strerror(rc));
  uv_unref((uv_handle_t *)&pool->finished);
  return 0;
}

void bk_pool_close(struct bk_loop *loop) {
  struct bk_pool *pool = &loop->pool;
  uv_mutex_lock(&pool->lock);
  pool->stop = true;
  uv_cond_broadcast(&pool->work);
  uv_mutex_unlock(&pool->lock);
  for (unsigned i = 0; i < pool->nthreads; i++) uv_thread_join(&pool->threads[i]);
  uv_close((uv_handle_t *)&pool->finished, NULL);
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  uv_cond_destroy(&pool->work);
  uv_mutex_destroy(&pool->lock);
}

int bk_job_start(struct bk_loop *loop, struct bk_job *job, struct bk_err *err) {
  struct bk_pool *pool = &loop->pool;
  job->wait.loop = loop;
  int rc = 0;
  uv_mutex_lock(&pool->lock);
  if (pool->queued >= pool->idle && pool->nthreads < BK_POOL_THREADS) {
    rc = uv_thread_create(&pool->threads[pool->nthreads], worker, pool);
    if (rc == 0) pool->nthreads++;
  }
  if (pool->nthreads) { /* one that could not be made: the others come to it */
    push(&pool->queue_tail, job);
    pool->queued++;
    uv_cond_signal(&pool->work);
  }
  uv_mutex_unlock(&pool->lock);
  if (!pool->nthreads) return bk_fail(err, BK_BUILD, uv_err_name(rc), "start worker: %s", uv_strerror(rc));
  if (pool->pending++ == 0) uv_ref((uv_handle_t *)&pool->finished);
  return 0;
}
