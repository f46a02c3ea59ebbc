#include <stddef.h>
#include <stdlib.h>

#include "loop/loop.h"
#include "unit/unit.h"

struct work {
  struct bk_job job;
  int in, out;
  bool finished;
};

static int square(struct bk_job *job, struct bk_err *err) {
  struct work *w = (struct work *)job;
  if (w->in < 0) return bk_fail(err, BK_BUILD, "negative", "%d is negative", w->in);
  w->out = w->in * w->in;
  return 0;
}

static void finished(struct bk_job *job) { ((struct work *)job)->finished = true; }

static void test_jobs(void) {
  struct bk_loop loop;
  struct bk_err err;
  struct work work[20] = {0};
  CHECK(bk_loop_init(&loop, &err) == 0);
  for (int i = 0; i < 20; i++) {
    work[i].in = i - 1;
    work[i].job.run = square;
    work[i].job.finished = finished;
    CHECK(bk_job_start(&loop, &work[i].job, &err) == 0);
  }
  int woken = 0;
  while (bk_loop_turn(&loop))
    for (struct bk_wait *w; (w = bk_loop_pop(&loop)); woken++) CHECK(w->done);
  CHECK(woken == 20);
  for (int i = 0; i < 20; i++) CHECK(work[i].finished && (i == 0 || work[i].out == (i - 1) * (i - 1)));
  CHECK(work[0].job.rc == -1 && work[1].job.rc == 0);
  CHECK_STR(work[0].job.err.msg, "-1 is negative");
  bk_loop_close(&loop);
}

static int wait_for_cancel(struct bk_job *job, struct bk_err *err) {
  while (!atomic_load(&job->cancel)) uv_sleep(1);
  return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
}

/* A cancelled job wakes nobody, but is not forgotten. */
static void test_cancel(void) {
  struct bk_loop loop;
  struct bk_err err;
  struct work w = {.job = {.run = wait_for_cancel, .finished = finished}};
  CHECK(bk_loop_init(&loop, &err) == 0);
  CHECK(bk_job_start(&loop, &w.job, &err) == 0);
  atomic_store(&w.job.cancel, true);
  while (bk_loop_turn(&loop)) CHECK(!loop.ready);
  CHECK(w.finished && w.job.rc == -1);
  bk_loop_close(&loop);
}

static void test_queue(void) {
  struct bk_loop loop;
  struct bk_err err;
  CHECK(bk_loop_init(&loop, &err) == 0);
  struct bk_wait w[4] = {{.loop = &loop}, {.loop = &loop}, {.loop = &loop}, {.loop = &loop}};
  for (int i = 0; i < 4; i++) {
    bk_wake(&w[i]);
    bk_wake(&w[i]); /* harmless */
  }
  bk_unwake(&w[3]);
  bk_unwake(&w[0]);
  bk_unwake(&w[0]);
  bk_wake(&w[0]);
  CHECK(bk_loop_pop(&loop) == &w[1] && bk_loop_pop(&loop) == &w[2]);
  CHECK(bk_loop_pop(&loop) == &w[0] && bk_loop_pop(&loop) == NULL);
  CHECK(!bk_loop_turn(&loop));
  bk_loop_close(&loop);
}

struct hooked {
  struct bk_loop_hook hook;
  uv_timer_t timer;
  int closed;
};

static void close_hooked(struct bk_loop_hook *hook) {
  struct hooked *h = (struct hooked *)hook;
  h->closed++;
  bk_loop_hook_remove(hook); /* harmless: it has been taken out already */
  uv_close((uv_handle_t *)&h->timer, NULL);
}

static void tick(uv_timer_t *t) { (void)t; }

static void test_hooks(void) {
  struct bk_loop loop;
  struct bk_err err;
  CHECK(bk_loop_init(&loop, &err) == 0);
  struct hooked h[3] = {0};
  for (int i = 0; i < 3; i++) {
    h[i].hook.close = close_hooked;
    uv_timer_init(&loop.uv, &h[i].timer);
    uv_timer_start(&h[i].timer, tick, 60000, 60000);
    bk_loop_hook_add(&loop, &h[i].hook);
  }
  bk_loop_hook_remove(&h[1].hook);
  bk_loop_close(&loop); /* closes the timer whose hook is gone, too */
  CHECK(h[0].closed == 1 && h[1].closed == 0 && h[2].closed == 1);
}

int main(void) {
  test_jobs();
  test_cancel();
  test_queue();
  test_hooks();
  return UNIT_END();
}
