/* Becoming root of namespaces: user_namespaces(7), subuid(5), newuidmap(1). */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/process.h"
#include "sandbox/sandbox_int.h"

enum { MAX_RANGES = 16 };

static enum bk_sandbox_mode mode_now = BK_SANDBOX_NONE;

enum bk_sandbox_mode bk_sandbox_mode(void) { return mode_now; }

const char *bk_sandbox_mode_name(enum bk_sandbox_mode mode) {
  static const char *const names[] = {"none", "root", "rootless-range", "rootless-single"};
  return names[mode];
}

bool sandbox_in_userns(void) {
  char text[128] = "";
  unsigned long inside, outside, count;
  cleanup_close int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || bk_read_full(fd, text, sizeof text - 1) <= 0) return false;
  return sscanf(text, "%lu %lu %lu", &inside, &outside, &count) != 3 || inside || outside ||
         count != 4294967295UL;
}

/* --- subordinate ids ---------------------------------------------------------------------------- */

/* Digits up to `end`, below 2^32. */
static bool number(const char *p, const char *end, unsigned long *out) {
  unsigned long n = 0;
  if (p == end) return false;
  for (; p < end; p++) {
    if (*p < '0' || *p > '9' || n > 429496729UL) return false;
    n = n * 10 + (unsigned long)(*p - '0');
  }
  *out = n;
  return n <= 4294967295UL;
}

size_t bk_sandbox_subids(const char *text, const char *user, unsigned uid, struct bk_id_range *out,
                         size_t max) {
  size_t found = 0;
  while (*text && found < max) {
    const char *eol = text + strcspn(text, "\n"), *a = memchr(text, ':', (size_t)(eol - text));
    const char *b = a ? memchr(a + 1, ':', (size_t)(eol - a - 1)) : NULL;
    unsigned long owner;
    struct bk_id_range r;
    if (b && number(a + 1, b, &r.first) && number(b + 1, eol, &r.count) && r.count > 0 &&
        r.first + r.count <= 4294967296UL) {
      size_t n = (size_t)(a - text);
      bool mine = user && strlen(user) == n && memcmp(user, text, n) == 0;
      if (!mine) mine = number(text, a, &owner) && owner == uid;
      if (mine) out[found++] = r;
    }
    text = *eol ? eol + 1 : eol;
  }
  return found;
}

static size_t read_subids(const char *file, struct bk_id_range *out) {
  struct bk_buf text = {.max = 1 << 20};
  struct bk_err err;
  size_t n = 0;
  if (bk_read_file(AT_FDCWD, file, &text, &err) == 0) {
    struct passwd *pw = getpwuid(getuid());
    n = bk_sandbox_subids(bk_buf_str(&text), pw ? pw->pw_name : NULL, getuid(), out, MAX_RANGES);
  }
  bk_buf_free(&text);
  return n;
}

/* --- the helper that maps, from outside ---------------------------------------------------------- */

/* newuidmap PID 0 UID 1 1 FIRST COUNT … */
static int run_newidmap(const char *tool, pid_t pid, unsigned id, const struct bk_id_range *r, size_t n) {
  char words[2 + (MAX_RANGES + 1) * 3][16];
  const char *argv[3 + (MAX_RANGES + 1) * 3] = {tool}, *const env[] = {"PATH=/usr/bin:/bin:/usr/sbin:/sbin", NULL};
  size_t k = 0;
  unsigned long next = 1;
  snprintf(words[k++], sizeof words[0], "%d", (int)pid);
  snprintf(words[k++], sizeof words[0], "0");
  snprintf(words[k++], sizeof words[0], "%u", id);
  snprintf(words[k++], sizeof words[0], "1");
  for (size_t i = 0; i < n; i++) {
    snprintf(words[k++], sizeof words[0], "%lu", next);
    snprintf(words[k++], sizeof words[0], "%lu", r[i].first);
    snprintf(words[k++], sizeof words[0], "%lu", r[i].count);
    next += r[i].count;
  }
  for (size_t i = 0; i < k; i++) argv[i + 1] = words[i];
  struct bk_spawn s = {.argv = argv, .env = env, .fds = {-1, -1, -1}};
  struct bk_err err;
  pid_t child;
  int status = -1;
  if (bk_process_start(&s, &child, &err)) return -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return status == 0 ? 0 : -1;
}

/* Writes `text` to /proc/PID/NAME. */
static int write_map(pid_t pid, const char *name, const char *text) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ? -1 : 0;
}

/* Root without CAP_SYS_ADMIN may map every id it has onto itself. */
static int map_identity(pid_t pid, const char *name) {
  char text[4096] = "", out[4096];
  char path[64];
  snprintf(path, sizeof path, "/proc/self/%s", name);
  cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || bk_read_full(fd, text, sizeof text - 1) <= 0) return -1;
  size_t used = 0;
  unsigned long inside, outside, count;
  for (char *line = text; line && sscanf(line, "%lu %lu %lu", &inside, &outside, &count) == 3;) {
    used += (size_t)snprintf(out + used, sizeof out - used, "%lu %lu %lu\n", inside, inside, count);
    if (used >= sizeof out) return -1;
    line = strchr(line, '\n');
    if (line) line++;
  }
  return write_map(pid, name, out);
}

enum reply { REPLY_NONE, REPLY_RANGE, REPLY_SINGLE };

static char map_ids(pid_t pid, uid_t uid, gid_t gid) {
  struct bk_id_range u[MAX_RANGES], g[MAX_RANGES];
  if (uid == 0) return map_identity(pid, "uid_map") || map_identity(pid, "gid_map") ? REPLY_NONE : REPLY_RANGE;
  size_t nu = read_subids("/etc/subuid", u), ng = read_subids("/etc/subgid", g);
  if (nu && ng && run_newidmap("newuidmap", pid, uid, u, nu) == 0 &&
      run_newidmap("newgidmap", pid, gid, g, ng) == 0)
    return REPLY_RANGE;
  char line[64];
  snprintf(line, sizeof line, "0 %u 1\n", uid);
  if (write_map(pid, "uid_map", line) && errno != EPERM) return REPLY_NONE;
  write_map(pid, "setgroups", "deny");
  snprintf(line, sizeof line, "0 %u 1\n", gid);
  return write_map(pid, "gid_map", line) ? REPLY_NONE : REPLY_SINGLE;
}

/* Forks a process that stays in the old user namespace and writes our maps when told to. */
static pid_t fork_mapper(int fds[2]) {
  int down[2], up[2];
  if (bk_process_pipe(down)) return -1;
  if (bk_process_pipe(up)) return close(down[0]), close(down[1]), -1;
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    char go, reply = REPLY_NONE;
    close(down[1]);
    if (read(down[0], &go, 1) == 1) reply = map_ids(parent, geteuid(), getegid());
    _exit(write(up[1], &reply, 1) == 1 ? 0 : 1);
  }
  close(down[0]);
  close(up[1]);
  fds[0] = up[0];
  fds[1] = down[1];
  return pid;
}

static const char *unshare_hint(int why) {
  if (why == EINVAL) return " (enter must come before any thread)";
  if (why == ENOSPC) return " (raise sysctl user.max_user_namespaces)";
  if (why == EPERM)
    return " (allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, "
           "kernel.apparmor_restrict_unprivileged_userns=0)";
  return "";
}

static int enter_userns(struct bk_err *err) {
  int fds[2];
  pid_t mapper = fork_mapper(fds);
  if (mapper < 0) return bk_fail_errno(err, errno, "sandbox: fork");
  int why = unshare(CLONE_NEWUSER | CLONE_NEWNS) ? errno : 0;
  char reply = REPLY_NONE;
  if (!why && (write(fds[1], "", 1) != 1 || read(fds[0], &reply, 1) != 1)) reply = REPLY_NONE;
  close(fds[1]);
  close(fds[0]);
  while (waitpid(mapper, NULL, 0) < 0 && errno == EINTR) {}
  if (why) return bk_fail_errno(err, why, "sandbox: create a user namespace%s", unshare_hint(why));
  if (reply == REPLY_NONE)
    return bk_fail(err, BK_BUILD, "sandbox.setup", "sandbox: cannot map ids into the user namespace");
  if (setresgid(0, 0, 0) || setresuid(0, 0, 0))
    return bk_fail_errno(err, errno, "sandbox: become root of the user namespace");
  mode_now = reply == REPLY_RANGE ? BK_SANDBOX_RANGE : BK_SANDBOX_SINGLE;
  if (mode_now == BK_SANDBOX_RANGE && setgroups(0, NULL))
    return bk_fail_errno(err, errno, "sandbox: drop supplementary groups");
  return 0;
}

int bk_sandbox_enter(enum bk_sandbox_mode *mode, struct bk_err *err) {
  *mode = mode_now;
  if (mode_now != BK_SANDBOX_NONE) return 0;
  bool userns = sandbox_in_userns();
  if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
    mode_now = userns ? BK_SANDBOX_RANGE : BK_SANDBOX_ROOT;
  else if (enter_userns(err))
    return -1;
  /* Mounts of the host still come in, ours do not get out. */
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL)) {
    int e = errno;
    bk_fail_errno(err, e, "sandbox: make mounts private");
    return e == EINVAL ? bk_err_wrap(err, "the root directory is not a mount point (a plain chroot: "
                                          "bind-mount it onto itself before entering it)")
                       : -1;
  }
  *mode = mode_now;
  return 0;
}
