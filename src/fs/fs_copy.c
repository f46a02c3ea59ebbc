#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

#include "base/fs.h"
#include "fs/fs.h"

static int copy_bytes(int in, int out) {
  for (;;) {
    ssize_t n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
    if (n > 0 || (n < 0 && errno == EINTR)) continue;
    if (n == 0) break; /* the end, or a file of /proc whose size reads as 0 */
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return -1;
    break;
  }
  char block[65536];
  for (;;) {
    ssize_t n = read(in, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return (int)n;
    if (bk_write_all(out, block, (size_t)n)) return -1;
  }
}

/* Writes into a temporary neighbour of `to` and renames it. Returns -1 with errno set. */
static int replace(int in, const char *to, mode_t mode) {
  const char *slash = strrchr(to, '/');
  char name[40];
  bk_tmpname(name, ".tmp-");
  cleanup_free char *tmp = bk_asprintf("%.*s%s", slash ? (int)(slash - to) + 1 : 0, to, name);
  int out = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (out < 0) return -1;
  int rc = copy_bytes(in, out);
  if (rc == 0) rc = fchmod(out, mode);
  int e = errno;
  if (close(out) && rc == 0) rc = -1, e = errno;
  if (rc == 0 && (rc = rename(tmp, to))) e = errno;
  if (rc) unlink(tmp);
  errno = e;
  return rc;
}

int bk_copy_file(const char *from, const char *to, struct bk_err *err) {
  cleanup_close int in = open(from, O_RDONLY | O_CLOEXEC);
  if (in < 0) return bk_fail_errno(err, errno, "open '%s'", from);
  struct stat st, old;
  if (fstat(in, &st)) return bk_fail_errno(err, errno, "stat '%s'", from);
  if (S_ISDIR(st.st_mode)) return bk_fail_errno(err, EISDIR, "copy '%s'", from);
  int rc;
  if (stat(to, &old) == 0 && !S_ISREG(old.st_mode)) {
    cleanup_close int out = open(to, O_WRONLY | O_CLOEXEC);
    rc = out < 0 ? -1 : copy_bytes(in, out);
  } else {
    rc = replace(in, to, st.st_mode & 0777);
  }
  return rc ? bk_fail_errno(err, errno, "copy '%s' to '%s'", from, to) : 0;
}

static const char *tmp_base(bool memory) {
  static const char *const places[] = {"/dev/shm", "/run", "/tmp"};
  for (size_t i = 0; memory && i < BK_ARRAY_LEN(places); i++) {
    struct statfs sf;
    if (statfs(places[i], &sf) == 0 && sf.f_type == TMPFS_MAGIC && access(places[i], W_OK) == 0)
      return places[i];
  }
  const char *base = getenv("TMPDIR");
  return base && *base ? base : "/tmp";
}

int bk_make_tmpdir(const char *prefix, bool memory, struct bk_buf *out, struct bk_err *err) {
  bk_buf_addf(out, "%s/%s-XXXXXX", tmp_base(memory), prefix);
  if (!mkdtemp(bk_buf_str(out))) return bk_fail_errno(err, errno, "create directory '%s'", out->p);
  return 0;
}
