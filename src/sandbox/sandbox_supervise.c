/* Tier F has no pid namespace that would take a command's processes along. So the command is the
 * child of a process of ours that adopts its orphans (PR_SET_CHILD_SUBREAPER) and kills all of them
 * when the command ends, when it is told to (TERM) and when the builder dies. It is a fork of a
 * program with threads: system calls only. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/process.h"
#include "sandbox/sandbox_int.h"
#include "sandbox/sandbox_proc.h"

/* How the start went, through the pipe. */
struct outcome {
  int failed; /* index of the step, or -1 */
  int error;
  char object[512], detail[64];
};

struct entry { /* getdents64(2) */
  uint64_t ino;
  int64_t off;
  unsigned short len;
  unsigned char type;
  char name[];
};

/* Parent of process `name` in the directory /proc, 0 when unknown. */
static pid_t parent_of(int proc, const char *name) {
  char path[32], text[512];
  snprintf(path, sizeof path, "%.16s/stat", name);
  int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return 0;
  text[n] = '\0';
  const char *p = strrchr(text, ')'); /* ") S PPID …" */
  return p && strlen(p) > 4 ? (pid_t)strtol(p + 4, NULL, 10) : 0;
}

/* KILL to each of our children; false without a /proc to find them in. */
static bool kill_children(void) {
  _Alignas(struct entry) char buf[8192];
  int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  pid_t me = getpid();
  bool any = false;
  for (long n; proc >= 0 && (n = syscall(SYS_getdents64, proc, buf, sizeof buf)) > 0;)
    for (long at = 0; at < n;) {
      const struct entry *e = (const struct entry *)(const void *)(buf + at);
      at += e->len;
      if (e->name[0] < '1' || e->name[0] > '9') continue;
      any = true;
      if (parent_of(proc, e->name) == me) kill((pid_t)strtol(e->name, NULL, 10), SIGKILL);
    }
  if (proc >= 0) close(proc);
  return any;
}

/* Until nothing is left: what a killed process had started becomes our child. */
static void end_all(pid_t command, int *status, bool *known) {
  for (;;) {
    int s;
    pid_t pid = waitpid(-1, &s, WNOHANG);
    if (pid < 0 && errno == ECHILD) return;
    if (pid > 0) {
      if (pid == command && !*known) *status = s, *known = true;
      continue;
    }
    if (!kill_children()) kill(-command, SIGKILL);
    if (!*known) kill(command, SIGKILL);
    struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
  }
}

static void leave(int status) {
  if (WIFSIGNALED(status)) { /* end as the command did */
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, WTERMSIG(status));
    signal(WTERMSIG(status), SIG_DFL);
    kill(getpid(), WTERMSIG(status));
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    _exit(128 + WTERMSIG(status));
  }
  _exit(WEXITSTATUS(status));
}

static void wake(int sig) { (void)sig; }

/* What a killed process asked is gone, but the kernel may make us wait for the next one's question: not long. */
static void wake_often(void) {
  struct sigaction act = {.sa_handler = wake};
  const struct itimerval often = {{0, 50000}, {0, 50000}};
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  sigaction(SIGALRM, &act, NULL);
  setitimer(ITIMER_REAL, &often, NULL);
  sigprocmask(SIG_UNBLOCK, &alarm, NULL);
}

/* Until the command has ended or we are told to: answers for /proc meanwhile. */
static void wait_for(pid_t command, const struct sandbox_proc *proc) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  struct pollfd on[2] = {{.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN},
                         {.fd = proc->listener, .events = POLLIN}};
  int status = 0;
  bool known = false, told = false;
  if (proc->listener >= 0) wake_often();
  while (!known && !told) {
    struct signalfd_siginfo info;
    on[0].revents = on[1].revents = 0;
    if (poll(on, 2, 1000) < 0 && errno != EINTR) break;
    if (on[1].revents & POLLIN) sandbox_proc_serve(proc);
    else if (on[1].revents) on[1].fd = -1;
    if (!(on[0].revents & POLLIN) && on[1].revents) continue;
    while (read(on[0].fd, &info, sizeof info) == sizeof info) told |= info.ssi_signo == SIGTERM;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      if ((known = pid == command)) break;
  }
  end_all(command, &status, &known);
  leave(known ? status : SIGKILL);
}

static void fill(struct outcome *o, const struct plan *p) {
  o->failed = (int)(p->failed - p->ops);
  o->error = p->error;
  snprintf(o->object, sizeof o->object, "%s", p->object ? p->object : "");
  snprintf(o->detail, sizeof o->detail, "%s", p->detail ? p->detail : "");
}

/* The path of a directory as the kernel sees it. */
static bool kernel_name(const char *dir, char *to, size_t size) {
  char name[40];
  int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t n = fd < 0 ? -1 : readlink(name, to, size - 1);
  if (fd >= 0) close(fd);
  to[n > 0 ? n : 0] = '\0';
  return n > 0;
}

static void supervise(struct plan *p, int out, pid_t builder) {
  struct outcome o = {.failed = -1};
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  signal(SIGCHLD, SIG_DFL);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* what runs below has our user id */
  prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  setsid();
  if (getppid() != builder) _exit(127);
  p->parent_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  int pidfd = -1, sockets[2] = {-1, -1};
  static char root[4096];
  struct sandbox_proc proc = {.listener = -1, .root = root, .builder = builder};
  if (p->spec->proc && kernel_name(p->spec->upper, root, sizeof root) &&
      socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0)
    p->proc_socket = sockets[1];
  pid_t pid = sandbox_clone(p, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &pidfd);
  if (pid < 0) p->failed = p->ops, p->error = errno;
  if (p->failed) fill(&o, p);
  if (write(out, &o, sizeof o) != sizeof o || p->failed) _exit(127);
  if (sockets[1] >= 0) {
    close(sockets[1]);
    proc.listener = sandbox_proc_receive(sockets[0]);
  }
  for (int i = 0; i < 3; i++) close(p->spec->fds[i]); /* their other ends wait for the last writer */
  close(out);
  if (proc.listener > 0) proc.listener = dup3(proc.listener, 0, O_CLOEXEC);
  syscall(SYS_close_range, proc.listener < 0 ? 0U : 1U, ~0U, 0U);
  wait_for(pid, &proc);
}

int sandbox_supervise(struct plan *p, struct bk_sandbox_box *box, struct bk_err *err) {
  int fds[2];
  if (bk_process_pipe(fds)) return bk_fail_errno(err, errno, "sandbox: pipe");
  pid_t builder = getpid(), pid = fork();
  if (pid == 0) {
    close(fds[0]);
    supervise(p, fds[1], builder);
  }
  int why = errno;
  close(fds[1]);
  struct outcome o = {.failed = -1};
  ssize_t n = pid < 0 ? 0 : bk_read_full(fds[0], &o, sizeof o);
  close(fds[0]);
  if (pid < 0) return bk_fail_errno(err, why, "sandbox: fork");
  box->pid = pid;
  box->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (n == sizeof o && o.failed < 0) return 0;
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
  if (box->pidfd >= 0) close(box->pidfd);
  box->pid = 0;
  box->pidfd = -1;
  if (n != sizeof o) return bk_fail(err, BK_BUILD, "sandbox.setup", "sandbox: the supervisor died");
  p->failed = &p->ops[o.failed];
  p->error = o.error;
  p->object = bk_arena_strndup(&p->arena, o.object, strlen(o.object));
  p->detail = bk_arena_strndup(&p->arena, o.detail, strlen(o.detail));
  return sandbox_fail(p, err);
}
