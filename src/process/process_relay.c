#include "process/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

enum { MAX_LINKS = 32, BUFFER = 16384 };

/* One way of a connection: what was read and not written yet. */
struct flow {
  char data[BUFFER];
  size_t at, end;
  bool eof;
};

struct link {
  int fds[2];          /* client, server; -1: unused */
  struct flow flow[2]; /* flow[i] was read from fds[i] */
};

struct bk_relay {
  pthread_t thread;
  int dir, to_dir; /* of the two sockets: their paths may be longer than an address */
  char *name, *to_name;
  int listener, stop;
  struct link *links[MAX_LINKS];
};

/* /proc/self/fd/N/name: the socket `name` in the directory. */
static int address(int dir, const char *name, struct sockaddr_un *out) {
  *out = (struct sockaddr_un){.sun_family = AF_UNIX};
  int n = snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s", dir, name);
  if (n > 0 && (size_t)n < sizeof out->sun_path) return 0;
  errno = ENAMETOOLONG;
  return -1;
}

static int split(const char *path, int *dir, char **name) {
  const char *slash = strrchr(path, '/');
  cleanup_free char *parent =
      slash ? bk_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : bk_strdup(".");
  *dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
  *name = bk_strdup(slash ? slash + 1 : path);
  return *dir < 0 ? -1 : 0;
}

/* --- connections ------------------------------------------------------------------------------- */

static void drop(struct link *l) {
  for (int i = 0; i < 2; i++)
    if (l->fds[i] >= 0) close(l->fds[i]);
  free(l);
}

static void take(struct bk_relay *r) {
  struct sockaddr_un to;
  size_t i = 0;
  cleanup_close int client = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (i < MAX_LINKS && r->links[i]) i++;
  if (client < 0 || i == MAX_LINKS || address(r->to_dir, r->to_name, &to)) return;
  cleanup_close int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0 || connect(server, (struct sockaddr *)&to, sizeof to)) return;
  if (fcntl(server, F_SETFL, O_NONBLOCK)) return;
  struct link *l = bk_calloc(1, sizeof *l);
  l->fds[0] = bk_steal_fd(&client);
  l->fds[1] = bk_steal_fd(&server);
  r->links[i] = l;
}

/* Moves what can be moved from fds[i] to the other side; false when the connection is over. */
static bool move(struct link *l, int i) {
  struct flow *f = &l->flow[i];
  if (f->at == f->end && !f->eof) {
    ssize_t n = recv(l->fds[i], f->data, BUFFER, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    f->at = 0;
    f->end = (size_t)n;
    if (n == 0) {
      f->eof = true;
      shutdown(l->fds[!i], SHUT_WR);
    }
  }
  if (f->at < f->end) {
    ssize_t n = send(l->fds[!i], f->data + f->at, f->end - f->at, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    f->at += (size_t)n;
  }
  return !(l->flow[0].eof && l->flow[1].eof);
}

static short wanted(const struct link *l, int i) {
  const struct flow *in = &l->flow[i], *out = &l->flow[!i];
  return (short)((in->at == in->end && !in->eof ? POLLIN : 0) | (out->at < out->end ? POLLOUT : 0));
}

/* The side is closed and all it said is delivered: nothing more can happen. */
static bool gone(const struct link *l, int i, short events) {
  const struct flow *f = &l->flow[i];
  return (events & POLLERR) || ((events & POLLHUP) && f->eof && f->at == f->end);
}

static void *run(void *arg) {
  struct bk_relay *r = arg;
  struct pollfd fds[2 + 2 * MAX_LINKS];
  for (;;) {
    size_t n = 2;
    fds[0] = (struct pollfd){.fd = r->stop, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = r->listener, .events = POLLIN};
    for (size_t k = 0; k < MAX_LINKS; k++)
      for (int i = 0; i < 2 && r->links[k]; i++)
        fds[n++] = (struct pollfd){.fd = r->links[k]->fds[i], .events = wanted(r->links[k], i)};
    if (poll(fds, n, -1) < 0 && errno != EINTR) break;
    if (fds[0].revents) break;
    for (size_t k = 0, at = 2; k < MAX_LINKS; k++) {
      struct link *l = r->links[k];
      if (!l) continue;
      short a = fds[at].revents, b = fds[at + 1].revents;
      at += 2;
      if (!(a | b)) continue;
      bool dead = gone(l, 0, a) || gone(l, 1, b);
      if (!dead && move(l, 0) && move(l, 1)) continue;
      drop(l);
      r->links[k] = NULL;
    }
    if (fds[1].revents & POLLIN) take(r);
  }
  return NULL;
}

/* --- open and close ---------------------------------------------------------------------------- */

static int listen_at(struct bk_relay *r, const struct bk_relay_opts *o, struct bk_err *err) {
  struct sockaddr_un own;
  if (split(o->listen, &r->dir, &r->name) || address(r->dir, r->name, &own))
    return bk_fail_errno(err, errno, "listen at '%s'", o->listen);
  if (split(o->connect, &r->to_dir, &r->to_name))
    return bk_fail_errno(err, errno, "connect to '%s'", o->connect);
  r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  r->stop = eventfd(0, EFD_CLOEXEC);
  if (r->listener < 0 || r->stop < 0 || bind(r->listener, (struct sockaddr *)&own, sizeof own))
    return bk_fail_errno(err, errno, "listen at '%s'", o->listen);
  if ((o->uid != geteuid() || o->gid != getegid()) &&
      fchownat(r->dir, r->name, o->uid, o->gid, AT_SYMLINK_NOFOLLOW))
    return bk_fail_errno(err, errno, "set owner of '%s'", o->listen);
  if (fchmodat(r->dir, r->name, o->mode, 0) || listen(r->listener, MAX_LINKS))
    return bk_fail_errno(err, errno, "listen at '%s'", o->listen);
  return 0;
}

static void release(struct bk_relay *r) {
  for (size_t k = 0; k < MAX_LINKS; k++)
    if (r->links[k]) drop(r->links[k]);
  if (r->listener >= 0) {
    close(r->listener);
    unlinkat(r->dir, r->name, 0);
  }
  if (r->stop >= 0) close(r->stop);
  if (r->dir >= 0) close(r->dir);
  if (r->to_dir >= 0) close(r->to_dir);
  free(r->name);
  free(r->to_name);
  free(r);
}

int bk_relay_open(const struct bk_relay_opts *opts, struct bk_relay **out, struct bk_err *err) {
  struct bk_relay *r = bk_calloc(1, sizeof *r);
  r->dir = r->to_dir = r->listener = r->stop = -1;
  sigset_t all, old;
  int rc = listen_at(r, opts, err);
  if (rc == 0) { /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int why = pthread_create(&r->thread, NULL, run, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (why) rc = bk_fail_errno(err, why, "relay thread");
  }
  if (rc) return release(r), -1;
  *out = r;
  return 0;
}

void bk_relay_close(struct bk_relay *r) {
  uint64_t one = 1;
  if (!r) return;
  while (write(r->stop, &one, sizeof one) < 0 && errno == EINTR) {}
  pthread_join(r->thread, NULL);
  release(r);
}
