#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "archive/overlay.h"
#include "archive/pack.h"
#include "base/ids.h"
#include "base/mem.h"

bool bk_xattr_is_kept(const char *name) {
  if (strcmp(name, "security.capability") == 0) return true;
  return strncmp(name, "user.", 5) == 0 && strncmp(name, "user.bakery.", 12) != 0 && !bk_overlay_is_private(name) &&
         strncmp(name, "user.containers.", 16) != 0;
}

static int by_xattr_name(const void *a, const void *b) {
  return strcmp(((const struct bk_tar_xattr *)a)->name, ((const struct bk_tar_xattr *)b)->name);
}

static ssize_t list_names(int fd, struct bk_buf *names) {
  for (;;) {
    ssize_t n = flistxattr(fd, NULL, 0);
    if (n <= 0) return n < 0 && (errno == ENOTSUP || errno == EBADF) ? 0 : n;
    char *p = bk_buf_reserve(names, (size_t)n);
    n = p ? flistxattr(fd, p, (size_t)n) : -1;
    if (n >= 0) names->len = (size_t)n;
    if (n >= 0 || errno != ERANGE) return n;
  }
}

static int read_value(int fd, const char *name, struct bk_buf *values, size_t *len) {
  for (;;) {
    ssize_t n = fgetxattr(fd, name, NULL, 0);
    if (n < 0) return -1;
    char *p = bk_buf_reserve(values, (size_t)n + 1);
    if (!p) return errno = E2BIG, -1;
    n = fgetxattr(fd, name, p, (size_t)n + 1);
    if (n < 0 && errno == ERANGE) continue;
    if (n < 0) return -1;
    values->len += (size_t)n;
    *len = (size_t)n;
    return 0;
  }
}

int bk_xattrs_read(int fd, struct bk_xattrs *x) {
  *x = (struct bk_xattrs){0};
  ssize_t total = list_names(fd, &x->names);
  if (total <= 0) return (int)total;
  for (const char *s = x->names.p; s < x->names.p + total; s += strlen(s) + 1) {
    const char *shown = bk_ids_xattr_out(s);
    if (!shown && !bk_xattr_is_kept(s)) continue;
    size_t len;
    if (read_value(fd, s, &x->values, &len)) {
      if (errno == ENODATA) continue;
      int e = errno;
      bk_xattrs_free(x);
      errno = e;
      return -1;
    }
    x->v = bk_reallocarray(x->v, x->n + 1, sizeof *x->v);
    x->v[x->n++] = (struct bk_tar_xattr){.name = shown ? shown : s, .len = len};
  }
  const char *p = x->values.p; /* only now: the buffer moved while it grew */
  for (size_t i = 0; i < x->n; p += x->v[i++].len) x->v[i].value = p;
  if (x->n > 1) qsort(x->v, x->n, sizeof *x->v, by_xattr_name);
  return 0;
}

void bk_xattrs_free(struct bk_xattrs *x) {
  free(x->v);
  bk_buf_free(&x->names);
  bk_buf_free(&x->values);
  *x = (struct bk_xattrs){0};
}

int bk_xattr_set(int fd, const char *name, const void *value, size_t len) {
  const char *ours = bk_ids_xattr_in(name);
  return fsetxattr(fd, ours ? ours : name, value, len, 0);
}

int bk_xattrs_copy(int from, int to) {
  struct bk_xattrs x;
  if (bk_xattrs_read(from, &x)) return -1;
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < x.n; i++)
    if (bk_xattr_set(to, x.v[i].name, x.v[i].value, x.v[i].len) && errno != ENOTSUP) rc = -1;
  int e = errno;
  bk_xattrs_free(&x);
  errno = e;
  return rc;
}
