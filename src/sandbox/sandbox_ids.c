/* Becoming root of namespaces: user_namespaces(7), subuid(5), newuidmap(1). */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/process.h"
#include "sandbox/sandbox_int.h"

enum { MAX_RANGES = 16 };

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

unsigned long sandbox_count_subids(void) {
  struct bk_id_range r[MAX_RANGES];
  unsigned long total[2] = {0, 0};
  for (int k = 0; k < 2; k++)
    for (size_t i = 0, n = read_subids(k ? "/etc/subgid" : "/etc/subuid", r); i < n; i++)
      total[k] += r[i].count;
  return total[0] < total[1] ? total[0] : total[1];
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

static bool map_single(pid_t pid, uid_t uid, gid_t gid) {
  char line[64];
  snprintf(line, sizeof line, "0 %u 1\n", uid);
  if (write_map(pid, "uid_map", line)) return false;
  write_map(pid, "setgroups", "deny");
  snprintf(line, sizeof line, "0 %u 1\n", gid);
  return write_map(pid, "gid_map", line) == 0;
}

bool sandbox_map_ids(enum bk_sandbox_mode mode, pid_t pid, uid_t uid, gid_t gid) {
  if (mode == BK_SANDBOX_USERNS)
    return map_identity(pid, "uid_map") == 0 && map_identity(pid, "gid_map") == 0;
  if (mode == BK_SANDBOX_SINGLE) return map_single(pid, uid, gid);
  struct bk_id_range u[MAX_RANGES], g[MAX_RANGES];
  size_t nu = read_subids("/etc/subuid", u), ng = read_subids("/etc/subgid", g);
  return nu && ng && run_newidmap("newuidmap", pid, uid, u, nu) == 0 &&
         run_newidmap("newgidmap", pid, gid, g, ng) == 0;
}
