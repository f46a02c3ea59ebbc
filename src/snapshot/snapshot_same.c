#include "snapshot/same.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "archive/pack.h"
#include "base/fs.h"
#include "base/ids.h"
#include "base/mem.h"

static int open_upper(const struct bk_same *s) {
  return openat(s->upper_fd, s->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static int fail(const struct bk_same *s, struct bk_err *err, const char *what) {
  return bk_fail_errno(err, errno, "%s '%s'", what, s->name);
}

static bool equal_xattrs(const struct bk_xattrs *a, const struct bk_xattrs *b) {
  if (a->n != b->n) return false;
  for (size_t i = 0; i < a->n; i++) {
    const struct bk_tar_xattr *x = &a->v[i], *y = &b->v[i];
    if (x->len != y->len || strcmp(x->name, y->name) != 0) return false;
    if (x->len && memcmp(x->value, y->value, x->len) != 0) return false;
  }
  return true;
}

static int same_xattrs(const struct bk_same *s, int upper, int lower, struct bk_err *err) {
  struct bk_xattrs a, b;
  if (bk_xattrs_read(upper, &a)) return fail(s, err, "read extended attributes of");
  if (bk_xattrs_read(lower, &b)) {
    bk_xattrs_free(&a);
    return fail(s, err, "read extended attributes of");
  }
  bool equal = equal_xattrs(&a, &b);
  bk_xattrs_free(&a);
  bk_xattrs_free(&b);
  return equal;
}

static bool same_stat(const struct stat *a, const struct stat *b) {
  bool device = S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode);
  return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid &&
         (!device || a->st_rdev == b->st_rdev);
}

int bk_same_metadata(const struct bk_same *s, struct bk_err *err) {
  const struct stat *a = s->upper, *b = &s->lower->st;
  if (!same_stat(a, b)) return 0;
  if (!S_ISREG(a->st_mode) && !S_ISDIR(a->st_mode)) return 1;
  cleanup_close int upper = open_upper(s);
  cleanup_close int lower = bk_view_openat(s->view, s->dir, s->name, s->lower, O_RDONLY);
  if (upper < 0 || lower < 0) return fail(s, err, "open");
  return same_xattrs(s, upper, lower, err);
}

static int same_target(const struct bk_same *s, struct bk_err *err) {
  char target[4096];
  ssize_t n = bk_readlinkat(s->upper_fd, s->name, target, sizeof target);
  if (n < 0) return fail(s, err, "read link");
  cleanup_buf struct bk_buf lower = {0};
  if (bk_view_readlink(s->view, s->dir, s->name, s->lower, &lower, err)) return -1;
  return lower.len == (size_t)n && memcmp(lower.p, target, lower.len) == 0;
}

static int same_bytes(const struct bk_same *s, int upper, int lower, struct bk_err *err) {
  enum { CHUNK = 64 << 10 };
  cleanup_free char *p = bk_malloc(2 * CHUNK);
  char *q = p + CHUNK;
  for (;;) {
    ssize_t n = bk_read_full(upper, p, CHUNK), m = bk_read_full(lower, q, CHUNK);
    if (n < 0 || m < 0) return fail(s, err, "read");
    if (n != m || memcmp(p, q, (size_t)n) != 0) return 0;
    if (n < CHUNK) return 1;
  }
}

int bk_same_file(const struct bk_same *s, struct bk_err *err) {
  const struct stat *a = s->upper, *b = &s->lower->st;
  if (!same_stat(a, b) || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
      a->st_mtim.tv_nsec != b->st_mtim.tv_nsec)
    return 0;
  if (S_ISLNK(a->st_mode)) return same_target(s, err);
  if (!S_ISREG(a->st_mode)) return 1;
  if (a->st_size != b->st_size) return 0;
  cleanup_close int upper = open_upper(s);
  cleanup_close int lower = bk_view_openat(s->view, s->dir, s->name, s->lower, O_RDONLY);
  if (upper < 0 || lower < 0) return fail(s, err, "open");
  int rc = same_xattrs(s, upper, lower, err);
  if (rc != 1 || a->st_mtim.tv_nsec) return rc;
  return same_bytes(s, upper, lower, err);
}
