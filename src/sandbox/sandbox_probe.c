/* Each thing is tried in a child that then disappears, mounts and all (builder.md 6.6). */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/process.h"
#include "sandbox/sandbox_int.h"

enum test { TEST_USERNS, TEST_MOUNTNS, TEST_OVERLAY, TEST_PROC, TEST_NET, TEST_SECCOMP, TEST_COUNT };

static int write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  close(fd);
  return n < 0 ? -1 : 0;
}

static int try_userns(unsigned uid, unsigned gid) {
  char line[64];
  if (unshare(CLONE_NEWUSER)) return -1;
  snprintf(line, sizeof line, "0 %u 1\n", uid);
  if (write_text("/proc/self/uid_map", line)) return -1;
  write_text("/proc/self/setgroups", "deny");
  snprintf(line, sizeof line, "0 %u 1\n", gid);
  return write_text("/proc/self/gid_map", line);
}

/* Mounts an overlay whose directories lie in a tmpfs and marks a file deleted in it. */
static int try_overlay(bool userxattr) {
  if (mount("tmpfs", "/tmp", "tmpfs", 0, "size=1m")) return -1;
  if (mkdir("/tmp/l", 0755) || mkdir("/tmp/u", 0755) || mkdir("/tmp/w", 0755) || mkdir("/tmp/m", 0755) ||
      mkdir("/tmp/l/d", 0755))
    return -1;
  char options[160];
  snprintf(options, sizeof options, "lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w%s",
           userxattr ? ",userxattr" : "");
  if (mount("overlay", "/tmp/m", "overlay", 0, options)) return -1;
  return rmdir("/tmp/m/d");
}

static int try_proc(void) {
  if (unshare(CLONE_NEWPID)) return -1;
  pid_t pid = fork();
  if (pid == 0) _exit(mount("proc", "/proc", "proc", 0, NULL) ? errno : 0);
  int status = 0;
  waitpid(pid, &status, 0);
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
  return errno ? -1 : 0;
}

static int try_seccomp(void) {
  struct sock_filter ok[] = {BPF_STMT(BPF_RET | BPF_K, 0x7fff0000U)};
  struct sock_fprog prog = {1, ok};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
  return (int)syscall(SYS_seccomp, 1, 0, &prog);
}

static int attempt(enum test test, bool root, unsigned uid, unsigned gid) {
  if (test == TEST_USERNS) return try_userns(uid, gid);
  if (test == TEST_SECCOMP) return try_seccomp();
  if (!root && try_userns(uid, gid)) return -1;
  if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return -1;
  if (test == TEST_OVERLAY) return try_overlay(!root);
  if (test == TEST_PROC) return try_proc();
  if (test == TEST_NET) return unshare(CLONE_NEWNET);
  return 0;
}

/* errno of the attempt, 0 when it works. */
static int run_test(enum test test, bool root) {
  unsigned uid = geteuid(), gid = getegid();
  pid_t pid = fork();
  if (pid < 0) return errno;
  if (pid == 0) _exit(attempt(test, root, uid, gid) ? errno & 127 : 0);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static bool has_admin(void) {
  struct bk_buf b = {.max = 1 << 16};
  struct bk_err err;
  bool yes = false;
  if (bk_read_file(AT_FDCWD, "/proc/self/status", &b, &err) == 0) {
    const char *line = strstr(bk_buf_str(&b), "\nCapEff:");
    if (line) yes = strtoull(line + 8, NULL, 16) >> 21 & 1; /* CAP_SYS_ADMIN */
  }
  bk_buf_free(&b);
  return yes;
}

static const char *cgroup_kind(void) {
  bool v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
  if (v2) return "v2";
  if (access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0) return "hybrid";
  return access("/sys/fs/cgroup/memory", F_OK) == 0 ? "v1" : "none";
}

static unsigned long count_subids(void) {
  struct bk_buf b = {.max = 1 << 20};
  struct bk_err err;
  struct bk_id_range r[16];
  unsigned long n = 0;
  if (bk_read_file(AT_FDCWD, "/etc/subuid", &b, &err) == 0) {
    size_t found = bk_sandbox_subids(bk_buf_str(&b), getenv("USER"), getuid(), r, BK_ARRAY_LEN(r));
    for (size_t i = 0; i < found; i++) n += r[i].count;
  }
  bk_buf_free(&b);
  return n;
}

static void because(struct bk_sandbox_probe *out, const char *name, int why, const char *fix) {
  if (!why || out->nreasons == BK_ARRAY_LEN(out->reasons)) return;
  snprintf(out->reasons[out->nreasons++], sizeof out->reasons[0], "%s: %s%s%s", name, strerror(why),
           *fix ? "; " : "", fix);
}

static char tier(const struct bk_sandbox_probe *p, bool admin) {
  if (admin) return p->overlay ? (sandbox_in_userns() ? 'B' : 'A') : p->root ? 'F' : 'G';
  if (p->userns && p->overlay_userxattr) return p->root ? 'C' : p->newuidmap && p->subuid_count ? 'D' : 'E';
  return p->root ? 'F' : 'G';
}

void bk_sandbox_probe(struct bk_sandbox_probe *out) {
  memset(out, 0, sizeof *out);
  bool admin = has_admin();
  int why[TEST_COUNT];
  out->root = geteuid() == 0 && bk_sandbox_mode() <= BK_SANDBOX_ROOT;
  for (int t = 0; t < TEST_COUNT; t++) why[t] = run_test((enum test)t, admin);
  out->userns = !why[TEST_USERNS];
  out->overlay = admin && !why[TEST_OVERLAY];
  out->overlay_userxattr = admin ? out->userns : !why[TEST_OVERLAY];
  out->proc = !why[TEST_PROC];
  out->net = !why[TEST_NET];
  out->seccomp = !why[TEST_SECCOMP];
  int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  out->pidfd = pidfd >= 0;
  if (pidfd >= 0) close(pidfd);
  char *tool = bk_process_which("newuidmap", "/usr/bin:/bin:/usr/sbin:/sbin", NULL);
  out->newuidmap = tool != NULL;
  free(tool);
  out->subuid_count = count_subids();
  out->cgroup = cgroup_kind();
  because(out, "userns", why[TEST_USERNS], "sysctl user.max_user_namespaces, "
          "kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0");
  because(out, "mount", why[TEST_MOUNTNS], "needs CAP_SYS_ADMIN or user namespaces");
  because(out, "overlay", why[TEST_OVERLAY], "needs overlayfs (rootless: Linux 5.11)");
  because(out, "proc", why[TEST_PROC], "an outer container hides parts of /proc: RUN sees its processes");
  because(out, "net", why[TEST_NET], "RUN --network=none does not work");
  because(out, "seccomp", why[TEST_SECCOMP], "needs CONFIG_SECCOMP_FILTER");
  out->tier = tier(out, admin);
}
