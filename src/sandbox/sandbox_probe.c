/* Each thing is tried in a child that then disappears (builder.md 6.6). */
#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/process.h"
#include "sandbox/sandbox_int.h"

/* errno of loading a filter, 0 when it works. */
static int try_seccomp(void) {
  struct sock_filter ok[] = {BPF_STMT(BPF_RET | BPF_K, 0x7fff0000U)};
  struct sock_fprog prog = {1, ok};
  pid_t pid = fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) _exit(errno & 127);
    _exit(syscall(SYS_seccomp, 1, 0, &prog) ? errno & 127 : 0);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static const char *cgroup_kind(void) {
  if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) return "v2";
  if (access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0) return "hybrid";
  return access("/sys/fs/cgroup/memory", F_OK) == 0 ? "v1" : "none";
}

void bk_sandbox_probe(const char *dir, struct bk_sandbox_probe *out) {
  memset(out, 0, sizeof *out);
  for (int m = BK_SANDBOX_ROOT; m < BK_SANDBOX_MODES; m++)
    bk_sandbox_attempt((enum bk_sandbox_mode)m, dir, true, &out->tries[m]);
  static const enum bk_sandbox_mode order[] = {BK_SANDBOX_ROOT, BK_SANDBOX_USERNS, BK_SANDBOX_RANGE,
                                               BK_SANDBOX_CHROOT, BK_SANDBOX_SINGLE, BK_SANDBOX_COPY};
  for (size_t i = 0; i < BK_ARRAY_LEN(order) && !out->mode; i++)
    if (out->tries[order[i]].usable) out->mode = order[i];
  out->seccomp = try_seccomp();
  int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  out->pidfd = pidfd >= 0;
  if (pidfd >= 0) close(pidfd);
  char *tool = bk_process_which("newuidmap", "/usr/bin:/bin:/usr/sbin:/sbin", NULL);
  out->newuidmap = tool != NULL;
  free(tool);
  out->subuid_count = sandbox_count_subids();
  out->cgroup = cgroup_kind();
}
