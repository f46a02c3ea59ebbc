#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "process/process.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum { SWEEP_MS = 20, POLL_MS = 10 }; /* looking for group leftovers; for an exit without pidfds */

struct bk_child {
  struct bk_loop_hook hook;
  struct bk_loop *loop;
  bk_child_fn *changed;
  void *arg;
  uv_poll_t poll;
  uv_timer_t timer;
  int handles; /* of libuv, still to be closed */
  int pidfd;
  pid_t pid, group;
  bool owned, exited, gone, killing, killed, timed_out, closing;
  int status;
  uint64_t started, ended;    /* ns */
  uint64_t limit, kill_at;    /* ns, 0 = none */
  double grace;
  int kill_sig; /* what ends it for certain */
};

static uint64_t now_ns(void) { return uv_hrtime(); }

static void free_if_done(struct bk_child *c) {
  if (c->owned || !c->closing || c->handles > 0) return;
  if (c->pidfd >= 0) close(c->pidfd);
  free(c);
}

static void on_closed(uv_handle_t *h) {
  struct bk_child *c = h->data;
  c->handles--;
  free_if_done(c);
}

/* Nothing more will happen to the process: give the libuv handles back. */
static void shut(struct bk_child *c) {
  if (c->closing) return;
  c->closing = true;
  bk_loop_hook_remove(&c->hook);
  if (c->pidfd >= 0) uv_close((uv_handle_t *)&c->poll, on_closed);
  uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void finish(struct bk_child *c) {
  c->gone = true;
  shut(c);
}

static void tell(struct bk_child *c) {
  if (c->owned) c->changed(c, c->arg);
}

static void on_timer(uv_timer_t *t);

/* Sets the timer to the next moment at which something is due. */
static void arm(struct bk_child *c) {
  if (c->closing) return;
  uint64_t now = now_ns(), due = UINT64_MAX;
  if (!c->exited && c->pidfd < 0) due = now + POLL_MS * 1000000ULL;
  if (c->exited && c->killing) due = now + SWEEP_MS * 1000000ULL;
  if (!c->exited && !c->killing && c->limit && c->limit < due) due = c->limit;
  if (c->killing && !c->killed && c->kill_at < due) due = c->kill_at;
  if (due == UINT64_MAX) {
    uv_timer_stop(&c->timer);
    return;
  }
  uv_update_time(&c->loop->uv);
  uv_timer_start(&c->timer, on_timer, due > now ? (due - now + 999999) / 1000000 : 0, 0);
}

static void reap(struct bk_child *c) {
  int status;
  pid_t rc;
  do rc = waitpid(c->pid, &status, WNOHANG);
  while (rc < 0 && errno == EINTR);
  if (rc == 0) return;
  c->status = rc == c->pid ? status : 0x7f00; /* reaped behind our back: no way to know */
  c->exited = true;
  c->ended = now_ns();
  if (c->pidfd >= 0) uv_poll_stop(&c->poll);
  if (!c->killing) finish(c);
}

/* Whether /proc/NAME is a process of the group that is more than a zombie. */
static bool is_member(const char *name, pid_t group) {
  char path[64], text[512];
  int pgrp;
  char state;
  snprintf(path, sizeof path, "/proc/%.20s/stat", name);
  cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : bk_read_full(fd, text, sizeof text - 1);
  if (n <= 0) return false;
  text[n] = '\0';
  const char *p = strrchr(text, ')'); /* the name before it may hold anything */
  return p && sscanf(p + 1, " %c %*d %d", &state, &pgrp) == 2 && pgrp == group && state != 'Z' && state != 'X';
}

/* Orphans are reaped by whoever is init, at its leisure: until then kill() still finds them. The
 * group's number stays taken while it has members, so asking for it is safe at this pace. */
static bool group_lives(pid_t group) {
  if (group == 0 || (kill(-group, 0) && errno == ESRCH)) return false;
  cleanup_dir DIR *dir = opendir("/proc");
  if (!dir) return true;
  for (struct dirent *e; (e = readdir(dir));)
    if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && is_member(e->d_name, group)) return true;
  return false;
}

static void sweep(struct bk_child *c) {
  if (!c->exited || !c->killing || c->gone) return;
  if (c->killed || !group_lives(c->group)) finish(c);
}

static void kill_group(struct bk_child *c) {
  c->killed = true;
  bk_child_kill(c, c->kill_sig);
}

static void step(struct bk_child *c) {
  bool was_exited = c->exited, was_gone = c->gone;
  uint64_t now = now_ns();
  if (!c->exited) reap(c);
  if (!c->exited && !c->killing && c->limit && now >= c->limit) {
    c->timed_out = true;
    bk_child_terminate(c, c->grace);
  }
  if (c->killing && !c->killed && now >= c->kill_at) kill_group(c);
  sweep(c);
  arm(c);
  if (c->exited != was_exited || c->gone != was_gone) tell(c);
}

static void on_timer(uv_timer_t *t) { step(t->data); }

static void on_exit_event(uv_poll_t *p, int status, int events) {
  (void)status, (void)events;
  step(p->data);
}

static void on_loop_close(struct bk_loop_hook *hook) {
  struct bk_child *c = (struct bk_child *)hook;
  if (!c->gone && (!c->exited || c->killing)) bk_child_kill(c, c->kill_sig);
  shut(c);
  c->owned = false; /* the owner is finalised already, or never will look again */
}

static struct bk_child *watch(struct bk_loop *loop, pid_t pid, pid_t group, int pidfd,
                              uint64_t started, bk_child_fn *changed, void *arg) {
  struct bk_child *c = bk_calloc(1, sizeof *c);
  *c = (struct bk_child){.loop = loop, .changed = changed, .arg = arg, .pid = pid, .owned = true,
                         .group = group, .started = started, .pidfd = pidfd,
                         .kill_sig = SIGKILL};
  c->hook.close = on_loop_close;
  bk_loop_hook_add(loop, &c->hook);
  uv_timer_init(&loop->uv, &c->timer);
  c->timer.data = c;
  c->handles = 1;
  if (c->pidfd >= 0 && uv_poll_init(&loop->uv, &c->poll, c->pidfd)) {
    close(c->pidfd);
    c->pidfd = -1;
  }
  if (c->pidfd >= 0) {
    c->poll.data = c;
    c->handles++;
    uv_poll_start(&c->poll, UV_READABLE, on_exit_event);
  }
  arm(c);
  return c;
}

struct bk_child *bk_child_open(struct bk_loop *loop, const struct bk_spawn *s, bk_child_fn *changed,
                               void *arg, struct bk_err *err) {
  uint64_t started = now_ns();
  pid_t pid;
  if (bk_process_start(s, &pid, err)) return NULL;
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  return watch(loop, pid, s->foreground ? 0 : pid, pidfd, started, changed, arg);
}

struct bk_child *bk_child_adopt(struct bk_loop *loop, pid_t pid, int pidfd, bk_child_fn *changed,
                                void *arg) {
  return watch(loop, pid, 0, pidfd, now_ns(), changed, arg);
}

void bk_child_set_kill(struct bk_child *c, int sig) { c->kill_sig = sig; }

pid_t bk_child_pid(const struct bk_child *c) { return c->pid; }

bool bk_child_exited(const struct bk_child *c, int *status, double *seconds) {
  if (!c->exited) return false;
  *status = c->status;
  *seconds = (double)(c->ended - c->started) / 1e9;
  return true;
}

bool bk_child_gone(const struct bk_child *c) { return c->gone; }
bool bk_child_timed_out(const struct bk_child *c) { return c->timed_out; }

int bk_child_kill(struct bk_child *c, int sig) {
  if (c->gone || (c->exited && c->group == 0)) {
    errno = ESRCH;
    return -1;
  }
  if (c->group && kill(-c->group, sig) == 0) return 0;
  if (c->exited) return -1;
  return kill(c->pid, sig); /* not yet reaped, so the number is still its own */
}

void bk_child_terminate(struct bk_child *c, double grace) {
  if (c->gone || c->killing) return;
  c->killing = true;
  c->kill_at = now_ns() + (uint64_t)(grace * 1e9);
  if (grace > 0) {
    bk_child_kill(c, SIGTERM);
    bk_child_kill(c, SIGCONT); /* a stopped process would not see it */
  } else {
    kill_group(c);
  }
  arm(c);
}

void bk_child_limit(struct bk_child *c, double seconds, double grace) {
  c->limit = now_ns() + (uint64_t)(seconds * 1e9);
  c->grace = grace;
  arm(c);
}

void bk_child_close(struct bk_child *c) {
  if (!c) return;
  bk_child_terminate(c, BK_CHILD_GRACE);
  c->owned = false;
  free_if_done(c);
}
