/* The child, from clone to execve. It shares the parent's memory while the parent's thread waits:
 * no allocation, no locks, and raw calls where glibc would tell all threads (set*id). */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sandbox_int.h"
#include "sandbox/sandbox_proc.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum { PARENT_FD = 3, PROC_FD };

static int do_chroot(struct plan *p, const struct op *op) {
  if (chroot(op->path) == 0 && chdir("/") == 0) return 0;
  return p->object = op->path, -1;
}

/* A control group namespace made before would show where we were. */
static int do_group(struct plan *p, const struct op *op) {
  (void)op;
  if (write(p->group, "0", 1) != 1) return -1;
  (void)!unshare(CLONE_NEWCGROUP);
  return 0;
}

static int do_hostname(struct plan *p, const struct op *op) {
  (void)op;
  return sethostname(p->spec->hostname, strlen(p->spec->hostname));
}

static int do_netns(struct plan *p, const struct op *op) {
  (void)op;
  return setns(p->spec->netns, CLONE_NEWNET);
}

static int do_loopback(struct plan *p, const struct op *op) {
  (void)p, (void)op;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  struct ifreq ifr;
  memset(&ifr, 0, sizeof ifr);
  memcpy(ifr.ifr_name, "lo", 3);
  int rc = ioctl(fd, SIOCGIFFLAGS, &ifr);
  ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
  if (!rc) rc = ioctl(fd, SIOCSIFFLAGS, &ifr);
  int e = errno;
  close(fd);
  errno = e;
  return rc;
}

/* First of all, so that no descriptor opened later lands on 0 … 2. */
static int do_stdio(struct plan *p, const struct op *op) {
  (void)op;
  for (int i = 0; i < 3; i++) {
    if (dup2(p->spec->fds[i], i) < 0) return -1;
    struct stat st; /* a pipe must be openable through /dev/stdout by the user of the box */
    if (i > 0 && p->spec->uid && !p->single && fstat(i, &st) == 0 && S_ISFIFO(st.st_mode))
      (void)!fchown(i, p->spec->uid, (gid_t)-1);
  }
  /* The child leads a session: job control and ^C work in the box, on a terminal of its own. */
  if (isatty(0)) ioctl(0, TIOCSCTTY, 0);
  return 0;
}

static int do_close(struct plan *p, const struct op *op) {
  (void)op;
  if (dup3(p->parent_fd, PARENT_FD, O_CLOEXEC) < 0 && errno != EINVAL) return -1;
  p->root_fd = p->support_fd = -1;
  unsigned first = PARENT_FD + 1;
  if (p->proc_socket >= 0) {
    if (dup3(p->proc_socket, PROC_FD, O_CLOEXEC) < 0 && errno != EINVAL) return -1;
    first = PROC_FD + 1;
  }
  return (int)syscall(SYS_close_range, first, ~0U, 0U);
}

static int do_limits(struct plan *p, const struct op *op) {
  (void)op;
  for (size_t i = 0; i < p->spec->nlimits; i++) {
    const struct bk_sandbox_limit *l = &p->spec->limits[i];
    struct rlimit limit = {l->soft == UINT64_MAX ? RLIM_INFINITY : l->soft,
                           l->hard == UINT64_MAX ? RLIM_INFINITY : l->hard};
    if (setrlimit((__rlimit_resource_t)l->resource, &limit)) return -1;
  }
  return 0;
}

/* No magic link may lead out (CVE-2024-21626: WORKDIR /proc/self/fd/N). */
static int do_cwd(struct plan *p, const struct op *op) {
  (void)op;
  p->object = p->spec->cwd;
  int fd = sandbox_openat2(AT_FDCWD, p->spec->cwd, O_PATH | O_DIRECTORY, RESOLVE_NO_MAGICLINKS);
  if (fd < 0) return -1;
  int rc = fchdir(fd);
  int e = errno;
  close(fd);
  errno = e;
  if (rc) return -1;
  if (syscall(SYS_getcwd, p->path, sizeof p->path) < 0) return -1;
  if (p->path[0] != '/') return errno = EXDEV, -1; /* "(unreachable)…" */
  umask(022);
  return 0;
}

static int do_bounding(struct plan *p, const struct op *op) {
  int rc = sandbox_caps_bound(p->keep_caps);
  return rc && op->optional && errno == EPERM ? 0 : rc;
}

/* Landlock without rules for files: kernel Documentation/userspace-api/landlock.rst, "IPC scoping"
 * (Linux 6.12). What is not there is left out: namespaces do most of it. */
static int do_scope(struct plan *p, const struct op *op) {
  (void)p, (void)op;
  struct {
    uint64_t files, net, scoped;
  } rules = {0, 0, 3 /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, LANDLOCK_SCOPE_SIGNAL */};
  int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0U);
  if (fd < 0) return 0;
  (void)!syscall(SYS_landlock_restrict_self, fd, 0U);
  close(fd);
  return 0;
}

static int do_seccomp(struct plan *p, const struct op *op) {
  (void)op;
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &p->filter);
}

/* With a single id there is nobody else to become. */
static int do_ids(struct plan *p, const struct op *op) {
  (void)op;
  const struct bk_sandbox_spec *s = p->spec;
  if (p->single) return 0;
  if (syscall(SYS_setgroups, s->ngroups, s->groups)) return p->detail = "setgroups", -1;
  if (syscall(SYS_setresgid, s->gid, s->gid, s->gid)) return p->detail = "setresgid", -1;
  if (syscall(SYS_setresuid, s->uid, s->uid, s->uid)) return p->detail = "setresuid", -1;
  return 0;
}

static int do_caps(struct plan *p, const struct op *op) {
  (void)op;
  return sandbox_caps_set(p->spec->uid && !p->single ? 0 : p->keep_caps);
}

static int do_no_new_privs(struct plan *p, const struct op *op) {
  (void)p, (void)op;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* After the last change of credentials, which resets it. */
static int do_death(struct plan *p, const struct op *op) {
  (void)p, (void)op;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) return -1;
  struct pollfd gone = {.fd = PARENT_FD, .events = POLLIN};
  if (poll(&gone, 1, 0) > 0) return errno = ESRCH, -1; /* died before the line above */
  close(PARENT_FD);
  return 0;
}

static int do_proc(struct plan *p, const struct op *op) {
  (void)op;
  if (p->proc_socket < 0) return 0;
  sandbox_proc_load(PROC_FD);
  close(PROC_FD);
  return 0;
}

/* --- execve ------------------------------------------------------------------------------------ */

enum { MAX_SCRIPTS = 5 };

/* /proc/self/exe is still this program: an image must not get it executed inside by a link or a
 * `#!` line that leads there (CVE-2019-5736). */
static int check_program(struct plan *p, const char *file) {
  char head[256];
  for (int depth = 0; depth < MAX_SCRIPTS; depth++) {
    int fd = sandbox_openat2(AT_FDCWD, file, O_RDONLY | O_NONBLOCK, RESOLVE_NO_MAGICLINKS);
    if (fd < 0) return errno == ELOOP ? (p->detail = "link into /proc", -1) : 0; /* may be 0711 */
    ssize_t n = read(fd, head, sizeof head - 1);
    close(fd);
    if (n < 3 || head[0] != '#' || head[1] != '!') return 0;
    head[n] = '\0';
    char *begin = head + 2;
    while (*begin == ' ' || *begin == '\t') begin++;
    begin[strcspn(begin, " \t\r\n")] = '\0';
    n = (ssize_t)strlen(begin);
    memmove(p->path, begin, (size_t)n + 1);
    file = p->path;
  }
  return 0;
}

static void default_signals(void) {
  static const char zeros[64]; /* SIG_DFL in the kernel's struct on every architecture */
  for (int sig = 1; sig < NSIG; sig++) /* raw: libc keeps two signals to itself */
    syscall(SYS_rt_sigaction, sig, zeros, NULL, 8UL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static int do_exec(struct plan *p, const struct op *op) {
  (void)op;
  int why = ENOENT;
  default_signals();
  for (const char *const *f = p->files; *f; f++) {
    p->object = *f;
    if (check_program(p, *f)) return -1;
    execve(*f, (char *const *)p->spec->argv, (char *const *)p->spec->env);
    int failed = errno, there = sandbox_openat2(AT_FDCWD, *f, O_PATH, 0); /* no call that OP_PROC traps */
    if (there >= 0) close(there);
    errno = failed;
    if (failed == ENOENT && there >= 0) return p->detail = "interpreter", -1;
    if (failed == EACCES) why = EACCES;
    else if (failed != ENOENT && failed != ENOTDIR) return -1;
  }
  p->object = p->spec->argv[0];
  errno = why;
  return -1;
}

/* --- the loop ---------------------------------------------------------------------------------- */

static int (*const steps[OP_COUNT])(struct plan *p, const struct op *op) = {
    [OP_PRIVATE] = sandbox_do_private,
    [OP_OVERLAY] = sandbox_do_overlay,
    [OP_SCRATCH] = sandbox_do_scratch,
    [OP_SUPPORT] = sandbox_do_support,
    [OP_FILE] = sandbox_do_file,
    [OP_EMPTY] = sandbox_do_empty,
    [OP_LAYERS] = sandbox_do_layers,
    [OP_MOUNT] = sandbox_do_mount,
    [OP_BIND] = sandbox_do_bind,
    [OP_NODE] = sandbox_do_node,
    [OP_LINK] = sandbox_do_link,
    [OP_DIR] = sandbox_do_dir,
    [OP_MASK] = sandbox_do_mask,
    [OP_READONLY] = sandbox_do_readonly,
    [OP_GROUP] = do_group,
    [OP_PIVOT] = sandbox_do_pivot,
    [OP_CHROOT] = do_chroot,
    [OP_HOSTNAME] = do_hostname,
    [OP_NETNS] = do_netns,
    [OP_LOOPBACK] = do_loopback,
    [OP_STDIO] = do_stdio,
    [OP_CLOSE] = do_close,
    [OP_LIMITS] = do_limits,
    [OP_CWD] = do_cwd,
    [OP_BOUNDING] = do_bounding,
    [OP_SCOPE] = do_scope,
    [OP_SECCOMP] = do_seccomp,
    [OP_IDS] = do_ids,
    [OP_CAPS] = do_caps,
    [OP_NO_NEW_PRIVS] = do_no_new_privs,
    [OP_DEATH] = do_death,
    [OP_PROC] = do_proc,
    [OP_EXEC] = do_exec,
};

int sandbox_child(void *arg) {
  struct plan *p = arg;
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  umask(0);
  setsid(); /* no terminal to push characters into */
  struct rlimit files = {p->nofile.rlim_max, p->nofile.rlim_max};
  setrlimit(RLIMIT_NOFILE, &files); /* many layers need many descriptors, for a moment */
  for (size_t i = 0; i < p->nops; i++) {
    const struct op *op = &p->ops[i];
    if (op->kind == OP_CLOSE) setrlimit(RLIMIT_NOFILE, &p->nofile);
    p->object = p->detail = NULL;
    if (steps[op->kind](p, op) == 0) continue;
    p->error = errno;
    p->failed = op;
    return 127;
  }
  return 127;
}
