#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "process/process.h"

enum { HIGH_WATER = 256 * 1024, CHUNK = 64 * 1024 };

/* What readers and writers share: a descriptor watched by the loop. */
struct end {
  struct bk_loop_hook hook;
  uv_poll_t poll;
  int fd;
  bool watching, closing;
  void (*release)(struct end *e);
};

static void end_closed(uv_handle_t *h) {
  struct end *e = h->data;
  if (e->fd >= 0) close(e->fd);
  e->release(e);
}

static void end_close(struct end *e) {
  if (e->closing) return;
  e->closing = true;
  bk_loop_hook_remove(&e->hook);
  uv_poll_stop(&e->poll);
  close(e->fd); /* at once: the other side waits for it */
  e->fd = -1;
  uv_close((uv_handle_t *)&e->poll, end_closed);
}

static void end_hook(struct bk_loop_hook *hook) { end_close((struct end *)hook); }

static int end_open(struct end *e, struct bk_loop *loop, int fd, struct bk_err *err) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC)) {
    int why = errno;
    close(fd);
    return bk_fail_errno(err, why, "watch descriptor %d", fd);
  }
  int rc = uv_poll_init(&loop->uv, &e->poll, fd);
  if (rc) {
    close(fd);
    return bk_fail_errno(err, -rc, "watch descriptor %d", fd);
  }
  e->fd = fd;
  e->poll.data = e;
  e->hook.close = end_hook;
  bk_loop_hook_add(loop, &e->hook);
  return 0;
}

static void end_watch(struct end *e, bool on, int events, uv_poll_cb cb) {
  if (on == e->watching || e->closing) return;
  e->watching = on;
  if (on) uv_poll_start(&e->poll, events, cb);
  else uv_poll_stop(&e->poll);
}

/* --- reader ------------------------------------------------------------------------------------ */

struct bk_reader {
  struct end end;
  bk_reader_fn *changed;
  void *arg;
  struct bk_buf buf;
  size_t pos; /* consumed */
  int ended;  /* -1 open, 0 end of file, errno */
};

static size_t unread(const struct bk_reader *r) { return r->buf.len - r->pos; }

static void on_readable(uv_poll_t *p, int status, int events);

static void reader_watch(struct bk_reader *r) {
  end_watch(&r->end, r->ended < 0 && unread(r) < HIGH_WATER, UV_READABLE, on_readable);
}

static void on_readable(uv_poll_t *p, int status, int events) {
  (void)status, (void)events;
  struct bk_reader *r = p->data;
  ssize_t n = read(r->end.fd, bk_buf_reserve(&r->buf, CHUNK), CHUNK);
  if (n > 0) r->buf.len += (size_t)n;
  else if (n == 0) r->ended = 0;
  else if (errno == EAGAIN || errno == EINTR) return;
  else r->ended = errno;
  reader_watch(r);
  r->changed(r, r->arg);
}

static void reader_release(struct end *e) {
  struct bk_reader *r = (struct bk_reader *)e;
  bk_buf_free(&r->buf);
  free(r);
}

struct bk_reader *bk_reader_open(struct bk_loop *loop, int fd, bk_reader_fn *changed, void *arg,
                                 struct bk_err *err) {
  struct bk_reader *r = bk_calloc(1, sizeof *r);
  r->changed = changed;
  r->arg = arg;
  r->ended = -1;
  r->end.release = reader_release;
  if (end_open(&r->end, loop, fd, err)) {
    free(r);
    return NULL;
  }
  reader_watch(r);
  return r;
}

const char *bk_reader_data(const struct bk_reader *r, size_t *len) {
  *len = unread(r);
  return *len ? r->buf.p + r->pos : "";
}

void bk_reader_consume(struct bk_reader *r, size_t n) {
  r->pos += n;
  if (r->pos == r->buf.len) {
    bk_buf_reset(&r->buf);
    r->pos = 0;
  } else if (r->pos > HIGH_WATER) { /* keeps the moved part below what was consumed, amortised */
    memmove(r->buf.p, r->buf.p + r->pos, unread(r));
    r->buf.len = unread(r);
    r->pos = 0;
  }
  reader_watch(r);
}

ssize_t bk_reader_line(const struct bk_reader *r, size_t *step) {
  size_t n = unread(r), max = n < BK_LINE_MAX ? n : BK_LINE_MAX;
  const char *p = n ? r->buf.p + r->pos : "";
  const char *nl = memchr(p, '\n', max);
  if (nl) {
    *step = (size_t)(nl - p) + 1;
    return (nl > p && nl[-1] == '\r' ? nl - 1 : nl) - p;
  }
  if (n >= BK_LINE_MAX || (n > 0 && r->ended >= 0)) return (ssize_t)(*step = max);
  return -1;
}

int bk_reader_end(const struct bk_reader *r) { return r->ended; }

void bk_reader_close(struct bk_reader *r) {
  if (r) end_close(&r->end);
}

/* --- writer ------------------------------------------------------------------------------------ */

struct bk_writer {
  struct end end;
  bk_writer_fn *changed;
  void *arg;
  struct bk_buf buf;
  size_t pos;
  int error;
};

/* write() that never raises SIGPIPE, whatever the process does about that signal. */
static ssize_t quiet_write(int fd, const void *p, size_t n) {
  sigset_t pipe_only, old, pending;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
  ssize_t rc = write(fd, p, n);
  int why = errno;
  if (rc < 0 && why == EPIPE && !sigismember(&pending, SIGPIPE)) {
    struct timespec zero = {0, 0};
    while (sigtimedwait(&pipe_only, NULL, &zero) < 0 && errno == EINTR) {}
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  errno = why;
  return rc;
}

static void on_writable(uv_poll_t *p, int status, int events);

static void writer_step(struct bk_writer *w) {
  while (w->pos < w->buf.len && !w->error) {
    ssize_t n = quiet_write(w->end.fd, w->buf.p + w->pos, w->buf.len - w->pos);
    if (n >= 0) w->pos += (size_t)n;
    else if (errno == EAGAIN) break;
    else if (errno != EINTR) w->error = errno;
  }
  if (w->pos == w->buf.len || w->error) {
    bk_buf_reset(&w->buf);
    w->pos = 0;
  }
  end_watch(&w->end, w->buf.len > 0, UV_WRITABLE, on_writable);
}

static void on_writable(uv_poll_t *p, int status, int events) {
  (void)status, (void)events;
  struct bk_writer *w = p->data;
  writer_step(w);
  if (w->buf.len == 0) w->changed(w, w->arg);
}

static void writer_release(struct end *e) {
  struct bk_writer *w = (struct bk_writer *)e;
  bk_buf_free(&w->buf);
  free(w);
}

struct bk_writer *bk_writer_open(struct bk_loop *loop, int fd, bk_writer_fn *changed, void *arg,
                                 struct bk_err *err) {
  struct bk_writer *w = bk_calloc(1, sizeof *w);
  w->changed = changed;
  w->arg = arg;
  w->end.release = writer_release;
  if (end_open(&w->end, loop, fd, err)) {
    free(w);
    return NULL;
  }
  return w;
}

void bk_writer_put(struct bk_writer *w, const void *p, size_t n) {
  if (w->error) return;
  bk_buf_add(&w->buf, p, n);
  writer_step(w);
}

size_t bk_writer_pending(const struct bk_writer *w) { return w->buf.len - w->pos; }
int bk_writer_error(const struct bk_writer *w) { return w->error; }

void bk_writer_close(struct bk_writer *w) {
  if (w) end_close(&w->end);
}
