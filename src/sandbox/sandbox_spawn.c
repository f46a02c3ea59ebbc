#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/sandbox_int.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { STACK_SIZE = 256 * 1024, GUARD = 4096 };

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* --- what to execute ---------------------------------------------------------------------------- */

static const char *env_path(const struct bk_sandbox_spec *s) {
  for (const char *const *e = s->env; *e; e++)
    if (strncmp(*e, "PATH=", 5) == 0) return *e + 5;
  return DEFAULT_PATH;
}

/* argv[0] itself when it has a slash, else one candidate per element of the box's PATH. */
static void list_files(struct plan *p) {
  const char *name = p->spec->argv[0], *path = env_path(p->spec);
  size_t n = 2, nname = strlen(name);
  for (const char *c = path; *c; c++) n += *c == ':';
  const char **files = bk_arena_alloc(&p->arena, (n + 1) * sizeof *files);
  p->files = files;
  if (strchr(name, '/')) {
    files[0] = name;
    return;
  }
  for (const char *c = path; *name; c++) {
    size_t len = strcspn(c, ":");
    char *file = bk_arena_alloc(&p->arena, len + nname + 3);
    if (len) {
      memcpy(file, c, len);
      file[len] = '/';
      memcpy(file + len + 1, name, nname);
    } else {
      memcpy(file, name, nname); /* an empty element is the working directory */
    }
    *files++ = file;
    c += len;
    if (!*c) break;
  }
}

/* --- errors ------------------------------------------------------------------------------------- */

static const char *const verbs[OP_COUNT] = {
    [OP_PRIVATE] = "make mounts private",
    [OP_OVERLAY] = "mount overlay",
    [OP_SCRATCH] = "bind root",
    [OP_SUPPORT] = "mount support files",
    [OP_FILE] = "write support file",
    [OP_EMPTY] = "make empty directory",
    [OP_LAYERS] = "mount layers",
    [OP_MOUNT] = "mount",
    [OP_BIND] = "bind",
    [OP_NODE] = "make device",
    [OP_LINK] = "make link",
    [OP_DIR] = "make directory",
    [OP_MASK] = "mask",
    [OP_READONLY] = "make read-only",
    [OP_GROUP] = "join the device group",
    [OP_NETNS] = "join the network namespace",
    [OP_PIVOT] = "change root",
    [OP_CHROOT] = "chroot",
    [OP_HOSTNAME] = "set host name",
    [OP_LOOPBACK] = "bring up loopback",
    [OP_STDIO] = "connect standard streams",
    [OP_CLOSE] = "close descriptors",
    [OP_LIMITS] = "set resource limits",
    [OP_CWD] = "change to working directory",
    [OP_BOUNDING] = "drop capabilities",
    [OP_SCOPE] = "restrict the scope",
    [OP_SECCOMP] = "load seccomp filter",
    [OP_IDS] = "change user",
    [OP_CAPS] = "set capabilities",
    [OP_NO_NEW_PRIVS] = "set no_new_privs",
    [OP_DEATH] = "tie to the builder",
    [OP_PROC] = "answer for /proc",
    [OP_EXEC] = "execute",
};

static int fail_exec(const struct plan *p, struct bk_err *err) {
  const char *name = p->spec->argv[0], *detail = p->detail ? p->detail : "";
  if (p->error == ENOENT && strcmp(detail, "interpreter") == 0)
    return bk_fail(err, BK_BUILD, "sandbox.not_executable",
                   "cannot execute '%s': it is there, but its interpreter (the #! line or the dynamic "
                   "loader) is not in the image", p->object);
  if (p->error == ENOENT && strchr(name, '/'))
    return bk_fail(err, BK_BUILD, "sandbox.not_found", "command not found: there is no '%s' in the image",
                   name);
  if (p->error == ENOENT)
    return bk_fail(err, BK_BUILD, "sandbox.not_found", "command not found: '%s' is not in PATH=%s", name,
                   env_path(p->spec));
  if (p->error == ENOEXEC)
    return bk_fail(err, BK_BUILD, "sandbox.not_executable",
                   "cannot execute '%s': not a program of this machine's architecture, nor a script",
                   p->object);
  if (p->error == ELOOP && *detail)
    return bk_fail(err, BK_BUILD, "sandbox.not_executable", "refused to execute '%s': it leads into /proc",
                   p->object);
  if (p->error == E2BIG)
    return bk_fail(err, BK_BUILD, "sandbox.not_executable",
                   "cannot execute '%s': arguments and environment are too long", p->object);
  bk_fail_errno(err, p->error, "cannot execute '%s'", p->object);
  snprintf(err->code, sizeof err->code, "sandbox.not_executable");
  return -1;
}

static const char *hint(const struct plan *p) {
  const struct op *op = p->failed;
  if (op->kind == OP_OVERLAY && p->error == EINVAL)
    return " (is the store on overlayfs, or on a file system without d_type or xattrs?)";
  if (op->kind == OP_OVERLAY && (p->error == ENODEV || p->error == EPERM))
    return " (the kernel has no overlayfs, or does not allow it here)";
  return "";
}

static int fail_step(const struct plan *p, struct bk_err *err) {
  const struct op *op = p->failed;
  if (op->kind == OP_EXEC) return fail_exec(p, err);
  const char *object = p->object ? p->object : op->path ? op->path : op->source ? op->source : "";
  const char *detail = p->detail ? p->detail : "";
  return bk_fail_errno(err, p->error, "sandbox: %s%s%s%s%s%s%s", verbs[op->kind], *detail ? " (" : "",
                       detail, *detail ? ")" : "", *object ? " '" : "", object, *object ? "'" : "");
}

int sandbox_fail(const struct plan *p, struct bk_err *err) {
  fail_step(p, err);
  size_t n = strlen(err->msg);
  snprintf(err->msg + n, sizeof err->msg - n, "%s", hint(p));
  return -1;
}

/* --- start -------------------------------------------------------------------------------------- */

/* As vfork: returns when the child has executed or ended. */
pid_t sandbox_clone(struct plan *p, unsigned long flags, int *pidfd) {
  char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
                     -1, 0);
  if (stack == MAP_FAILED) return -1;
  mprotect(stack, GUARD, PROT_NONE);
  /* An earlier child left its frames here by execve: they never returned. */
  ASAN_UNPOISON_MEMORY_REGION(stack, STACK_SIZE);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pid_t pid = clone(sandbox_child, stack + STACK_SIZE, (int)flags, p, pidfd);
  int e = errno;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  munmap(stack, STACK_SIZE);
  errno = e;
  return pid;
}

static int run_plan(struct plan *p, struct bk_sandbox_box *box, struct bk_err *err) {
  unsigned long flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD | CLONE_NEWNS | CLONE_NEWPID |
                        CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (p->spec->private_net && !p->spec->netns) flags |= CLONE_NEWNET;
  if (p->group >= 0) flags &= ~(unsigned long)CLONE_NEWCGROUP;
  box->pid = sandbox_clone(p, flags, &box->pidfd);
  if (box->pid < 0 && errno == EINVAL) /* no cgroup namespaces */
    box->pid = sandbox_clone(p, flags & ~(unsigned long)CLONE_NEWCGROUP, &box->pidfd);
  if (box->pid < 0)
    return bk_fail_errno(err, errno, "sandbox: create namespaces%s",
                         errno == ENOSPC ? " (limit in /proc/sys/user)" : "");
  if (!p->failed) return 0;
  while (waitpid(box->pid, NULL, 0) < 0 && errno == EINTR) {}
  close(box->pidfd);
  box->pid = 0; /* both numbers may be somebody else's from now on */
  box->pidfd = -1;
  if (p->failed->kind == OP_GROUP && p->error == ENODEV && p->group_tries++ < 5) {
    close(p->group); /* a builder that ended has just removed it */
    p->group = sandbox_device_group(true);
    p->failed = NULL;
    if (p->group >= 0) return run_plan(p, box, err);
    return bk_fail(err, BK_BUILD, "sandbox.setup", "sandbox: the device group is gone");
  }
  return sandbox_fail(p, err);
}

/* Nothing but the environment could keep a command from the host's disks: nodes may be made only where
 * it does. */
static uint64_t chroot_caps(const char *dir) {
  return bk_sandbox_devices_refused(dir) ? SANDBOX_CAPS_CHROOT : SANDBOX_CAPS_CHROOT & ~(1ULL << 27);
}

/* What cannot be had without namespaces is refused, not left out. */
static int check_chroot(const struct bk_sandbox_spec *s, struct bk_err *err) {
  const char *what = s->nlowers                                ? "layers"
                     : s->nmounts                              ? "mounts"
                     : s->private_net                          ? "a network of its own"
                     : s->security == BK_SECURITY_INSECURE ? "security=insecure"
                                                               : NULL;
  if (!what) return 0;
  return bk_fail(err, BK_USAGE, "sandbox.tier", "tier F (chroot) cannot give a command %s", what);
}

static int prepare(struct plan *p, struct bk_err *err) {
  const struct bk_sandbox_spec *s = p->spec;
  enum bk_sandbox_mode mode = bk_sandbox_mode();
  if (mode == BK_SANDBOX_NONE && geteuid() != 0)
    return bk_fail(err, BK_BUILD, "sandbox.setup", "sandbox: enter() must be called first");
  if (mode == BK_SANDBOX_COPY)
    return bk_fail(err, BK_BUILD, "sandbox.no_run", "commands cannot run in tier G (copy-only)");
  p->chroot = mode == BK_SANDBOX_CHROOT;
  p->single = mode == BK_SANDBOX_SINGLE;
  p->userns = mode > BK_SANDBOX_ROOT || sandbox_in_userns();
  if (p->chroot && check_chroot(s, err)) return -1;
  p->keep_caps = s->security == BK_SECURITY_INSECURE ? SANDBOX_CAPS_ALL
                 : p->chroot                         ? chroot_caps(s->work)
                                                     : SANDBOX_CAPS_DOCKER;
  bool insecure = s->security == BK_SECURITY_INSECURE;
  p->group = insecure || p->userns ? -1 : sandbox_device_group(false);
  p->devices = insecure || p->group >= 0;
  p->root_fd = p->support_fd = -1;
  p->noptions = 4096;
  p->options = bk_arena_alloc(&p->arena, p->noptions + (s->nlowers + 1) * sizeof(int));
  if (s->security != BK_SECURITY_INSECURE && sandbox_seccomp(p->keep_caps, p->single, &p->filter, err))
    return -1;
  getrlimit(RLIMIT_NOFILE, &p->nofile);
  list_files(p);
  sandbox_plan(p);
  p->parent_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  if (p->parent_fd < 0) return bk_fail_errno(err, errno, "sandbox: pidfd_open");
  return 0;
}

int bk_sandbox_start(const struct bk_sandbox_spec *spec, struct bk_sandbox_box *box, struct bk_err *err) {
  struct plan *p = bk_calloc(1, sizeof *p);
  p->spec = spec;
  p->parent_fd = p->group = p->proc_socket = -1;
  int rc = prepare(p, err);
  if (!rc) rc = p->chroot ? sandbox_supervise(p, box, err) : run_plan(p, box, err);
  if (!rc && p->nstubs) {
    box->stubs = bk_malloc(p->nstubs);
    memcpy(box->stubs, p->stubs, p->nstubs);
    box->nstubs = p->nstubs;
  }
  if (p->parent_fd >= 0) close(p->parent_fd);
  if (p->group >= 0) close(p->group);
  bk_arena_free(&p->arena);
  free(p->ops);
  free(p);
  return rc;
}
