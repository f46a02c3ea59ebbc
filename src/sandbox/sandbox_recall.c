/* The mode that worked last time in a store, so that a start need not try it again. It counts for the
 * same boot, namespaces, ids, capabilities, filter and label of this process, the same directory, and
 * for an hour: settings of the machine can change. Modes that failed are always tried again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "sandbox/sandbox_int.h"

enum { TRUSTED_SECONDS = 3600 };

static const char file[] = "tier";

static bool add_file(struct bk_buf *out, const char *path) {
  struct bk_err ignored;
  return bk_read_file(AT_FDCWD, path, out, &ignored) == 0;
}

/* The lines of /proc/self/status that decide what the kernel lets us do. */
static bool add_status(struct bk_buf *out) {
  static const char *const keys[] = {"Uid:", "Gid:", "Groups:", "CapPrm:",
                                     "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp"};
  cleanup_buf struct bk_buf text = {0};
  if (!add_file(&text, "/proc/self/status")) return false;
  for (const char *line = bk_buf_str(&text), *end; (end = strchr(line, '\n')); line = end + 1)
    for (size_t i = 0; i < BK_ARRAY_LEN(keys); i++)
      if (strncmp(line, keys[i], strlen(keys[i])) == 0) bk_buf_add(out, line, (size_t)(end - line) + 1);
  return true;
}

/* Who we are and where, as text that ends in a newline; false: it cannot be told. */
static bool describe(const char *dir, struct bk_buf *out) {
  static const char *const named[] = {"/proc/self/ns/user", "/proc/self/ns/mnt", "/proc/self/ns/pid", NULL};
  bk_buf_adds(out, BK_VERSION "\n");
  if (!add_file(out, "/proc/sys/kernel/random/boot_id") || !add_status(out)) return false;
  (void)!add_file(out, "/proc/self/attr/current"); /* EINVAL without a security module */
  for (const char *const *path = named;; path++) {
    struct stat st;
    if (stat(*path ? *path : dir, &st)) return false;
    bk_buf_addf(out, "%llu:%llu\n", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    if (!*path) return true;
  }
}

bool sandbox_recall(const char *dir, struct bk_sandbox_try *t) {
  cleanup_buf struct bk_buf now = {0};
  struct stat st;
  cleanup_close int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  cleanup_close int fd = dirfd < 0 ? -1 : openat(dirfd, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) || st.st_uid != geteuid() || !S_ISREG(st.st_mode)) return false;
  time_t age = time(NULL) - st.st_mtime;
  if (age < 0 || age > TRUSTED_SECONDS || !describe(dir, &now)) return false;
  cleanup_free char *old = bk_malloc(now.len + 32);
  ssize_t n = bk_read_full(fd, old, now.len + 31);
  if (n <= (ssize_t)now.len || memcmp(old, bk_buf_str(&now), now.len) != 0) return false;
  old[n] = 0;
  int mode, overlay, end = 0;
  const char *result = old + now.len;
  if (sscanf(result, "%d %d%n", &mode, &overlay, &end) != 2 || strcmp(result + end, "\n") != 0) return false;
  if (mode != (int)t->mode) return false;
  *t = (struct bk_sandbox_try){.mode = t->mode, .usable = true, .overlay = overlay, .proc = -1, .net = -1};
  return true;
}

void sandbox_remember(const char *dir, const struct bk_sandbox_try *t) {
  cleanup_buf struct bk_buf text = {0};
  cleanup_close int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dirfd < 0 || !describe(dir, &text)) return;
  bk_buf_addf(&text, "%d %d\n", (int)t->mode, t->overlay);
  /* In place: what a killed process leaves of it matches nothing. */
  cleanup_close int fd = openat(dirfd, file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd >= 0) (void)!bk_write_all(fd, bk_buf_str(&text), text.len);
}

void sandbox_forget(const char *dir) {
  cleanup_close int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dirfd >= 0) unlinkat(dirfd, file, 0);
}
