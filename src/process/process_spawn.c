#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "process/process.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

int bk_process_pipe(int fds[2]) { return pipe2(fds, O_CLOEXEC); }

int bk_process_fifo(const char *path, int fds[2]) {
  if (mkfifo(path, 0666) || chmod(path, 0666)) return -1;
  fds[0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fds[0] < 0) return -1;
  fds[1] = open(path, O_WRONLY | O_CLOEXEC); /* there is a reader: does not wait */
  if (fds[1] >= 0) return 0;
  int e = errno;
  close(fds[0]);
  errno = e;
  return -1;
}

/* --- finding ----------------------------------------------------------------------------------- */

static int check_executable(const char *file) {
  struct stat st;
  if (stat(file, &st)) return errno == ENOTDIR ? ENOENT : errno;
  if (S_ISDIR(st.st_mode)) return EACCES;
  return faccessat(AT_FDCWD, file, X_OK, AT_EACCESS) ? errno : 0;
}

static char *join(const char *cwd, const char *dir, size_t ndir, const char *name) {
  if (ndir == 0) { /* an empty PATH element is the current directory */
    dir = ".";
    ndir = 1;
  }
  if (cwd && dir[0] != '/') return bk_asprintf("%s/%.*s/%s", cwd, (int)ndir, dir, name);
  return bk_asprintf("%.*s/%s", (int)ndir, dir, name);
}

char *bk_process_which(const char *name, const char *path, const char *cwd) {
  int why = ENOENT;
  if (strchr(name, '/')) {
    char *file = name[0] == '/' || !cwd ? bk_strdup(name) : bk_asprintf("%s/%s", cwd, name);
    why = check_executable(file);
    if (!why) return file;
    free(file);
    errno = why;
    return NULL;
  }
  if (!path) path = "/usr/local/bin:/usr/bin:/bin";
  for (const char *p = path; *name; p++) {
    size_t n = strcspn(p, ":");
    char *file = join(cwd, p, n, name);
    int rc = check_executable(file);
    if (!rc) return file;
    free(file);
    if (rc == EACCES) why = EACCES;
    p += n;
    if (!*p) break;
  }
  errno = why;
  return NULL;
}

/* --- starting ---------------------------------------------------------------------------------- */

struct plan {
  const char *file;
  const struct bk_spawn *s;
  int fds[3];
  pid_t parent;
  volatile int failed;       /* errno, set by the child: vfork shares our memory */
  const char *volatile step; /* what failed, and on what */
  const char *volatile object;
};

static void default_signals(void) {
  static const char zeros[64]; /* SIG_DFL in the kernel's struct on every architecture */
  for (int sig = 1; sig < NSIG; sig++) {
    struct sigaction sa;
    if (sigaction(sig, NULL, &sa)) { /* libc keeps two to itself, and leaves them ignored in places */
      syscall(SYS_rt_sigaction, sig, zeros, NULL, 8UL);
      continue;
    }
    if (sa.sa_handler == SIG_DFL || (sa.sa_handler == SIG_IGN && sig != SIGPIPE)) continue;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = SIG_DFL;
    sigaction(sig, &sa, NULL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Runs in the vfork child: system calls only, no memory of ours is changed but *p. */
static _Noreturn void child(struct plan *p) {
  p->step = "start";
  p->object = p->s->argv[0];
  if (!p->s->foreground) setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != p->parent) _exit(127); /* the parent died before the line above */
  default_signals();
  for (int i = 0; i < 3; i++)
    if (dup2(p->fds[i], i) < 0) goto fail;
  syscall(SYS_close_range, 3U, ~0U, 0U); /* else: ours are all close-on-exec */
  p->step = "change to";
  p->object = p->s->cwd;
  if (p->s->cwd && chdir(p->s->cwd)) goto fail;
  p->step = "execute";
  p->object = p->s->argv[0];
  execve(p->file, (char *const *)p->s->argv, (char *const *)p->s->env);
fail:
  p->failed = errno;
  _exit(127);
}

static pid_t start(struct plan *p) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
  pid_t pid = vfork();
  if (pid == 0) child(p);
  int e = errno;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  errno = e;
  return pid;
}

static const char *env_path(const char *const *env) {
  for (; *env; env++)
    if (strncmp(*env, "PATH=", 5) == 0) return *env + 5;
  return NULL;
}

static int start_at(struct plan *p, pid_t *pid, struct bk_err *err) {
  const char *name = p->s->argv[0];
  *pid = start(p);
  if (*pid < 0) return bk_fail_errno(err, errno, "start '%s'", name);
  if (!p->failed) return 0;
  while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR) {}
  *pid = -1;
  return bk_fail_errno(err, p->failed, "%s '%s'", p->step, p->object);
}

int bk_process_start(const struct bk_spawn *s, pid_t *pid, struct bk_err *err) {
  const char *name = s->argv[0];
  cleanup_free char *file = bk_process_which(name, env_path(s->env), s->cwd);
  if (!file) {
    int why = errno;
    struct stat st;
    if (s->cwd && stat(s->cwd, &st)) return bk_fail_errno(err, errno, "change to '%s'", s->cwd);
    if (why == ENOENT && !strchr(name, '/'))
      return bk_fail(err, BK_BUILD, "ENOENT", "command not found: '%s' is not in PATH", name);
    return bk_fail_errno(err, why, "execute '%s'", name);
  }
  struct plan p = {.file = file, .s = s, .parent = getpid()};
  int own[3] = {-1, -1, -1}, rc = 0; /* copies above 2, so that no dup2 overwrites a source */
  for (int i = 0; i < 3 && !rc; i++) {
    int fd = s->fds[i];
    if (fd < 0) fd = own[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fd < 3) {
      int high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
      if (own[i] >= 0) close(own[i]);
      fd = own[i] = high;
    }
    p.fds[i] = fd;
    if (fd < 0) rc = bk_fail_errno(err, errno, "start '%s': standard streams", name);
  }
  if (!rc) rc = start_at(&p, pid, err);
  for (int i = 0; i < 3; i++)
    if (own[i] >= 0) close(own[i]);
  return rc;
}
