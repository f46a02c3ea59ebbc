#include "loop/loop.h"

int bk_loop_init(struct bk_loop *loop, struct bk_err *err) {
  int rc = uv_loop_init(&loop->uv);
  if (rc) return bk_fail(err, BK_BUILD, uv_err_name(rc), "create event loop: %s", uv_strerror(rc));
  if (bk_pool_init(loop, err)) return uv_loop_close(&loop->uv), -1;
  loop->ready = NULL;
  loop->ready_tail = &loop->ready;
  loop->nested = 0;
  loop->hooks = NULL;
  return 0;
}

static void close_handle(uv_handle_t *h, void *pool) {
  if (!uv_is_closing(h) && h != pool) uv_close(h, NULL);
}

void bk_loop_hook_add(struct bk_loop *loop, struct bk_loop_hook *hook) {
  hook->next = loop->hooks;
  hook->prev = &loop->hooks;
  if (hook->next) hook->next->prev = &hook->next;
  loop->hooks = hook;
}

void bk_loop_hook_remove(struct bk_loop_hook *hook) {
  if (!hook->prev) return;
  *hook->prev = hook->next;
  if (hook->next) hook->next->prev = hook->prev;
  hook->prev = NULL;
}

void bk_loop_close(struct bk_loop *loop) {
  for (struct bk_loop_hook *h; (h = loop->hooks);) {
    bk_loop_hook_remove(h);
    h->close(h);
  }
  uv_walk(&loop->uv, close_handle, &loop->pool.finished);
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  bk_pool_close(loop);
  uv_loop_close(&loop->uv);
}

void bk_wake(struct bk_wait *w) {
  w->done = true;
  if (w->queued) return;
  w->queued = true;
  w->next = NULL;
  *w->loop->ready_tail = w;
  w->loop->ready_tail = &w->next;
}

void bk_unwake(struct bk_wait *w) {
  if (!w->queued) return;
  struct bk_loop *loop = w->loop;
  struct bk_wait **p = &loop->ready;
  while (*p != w) p = &(*p)->next;
  *p = w->next;
  if (!*p) loop->ready_tail = p;
  w->queued = false;
}

struct bk_wait *bk_loop_pop(struct bk_loop *loop) {
  struct bk_wait *w = loop->ready;
  if (!w) return NULL;
  loop->ready = w->next;
  if (!loop->ready) loop->ready_tail = &loop->ready;
  w->queued = false;
  return w;
}

bool bk_loop_turn(struct bk_loop *loop) {
  if (loop->ready) {
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    return true;
  }
  int alive = uv_run(&loop->uv, UV_RUN_ONCE);
  return alive || loop->ready;
}
