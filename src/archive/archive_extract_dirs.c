#include "archive/extract_dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/mem.h"

#define MAX_SYMLINKS 40

int bk_dirs_init(struct bk_dirs *d, int rootfd, struct bk_err *err) {
  struct stat st;
  if (bk_fstat(rootfd, &st)) return bk_fail_errno(err, errno, "stat target directory");
  d->levels[0] = (struct bk_level){.fd = rootfd, .setgid = st.st_mode & S_ISGID};
  return 0;
}

static void pop_to(struct bk_dirs *d, unsigned depth) {
  for (; d->depth > depth; d->depth--) {
    close(d->levels[d->depth].fd);
    free(d->levels[d->depth].name);
  }
  d->path.len = d->levels[depth].path_len;
  bk_buf_str(&d->path)[d->path.len] = '\0';
}

void bk_dirs_free(struct bk_dirs *d) {
  pop_to(d, 0);
  bk_buf_free(&d->path);
}

static int push(struct bk_dirs *d, const char *name, int fd, struct bk_err *err) {
  struct stat st;
  if (d->depth == BK_DEPTH_MAX || bk_fstat(fd, &st)) {
    int e = d->depth == BK_DEPTH_MAX ? 0 : errno;
    close(fd);
    if (e) return bk_fail_errno(err, e, "stat directory '%s'", name);
    return bk_fail(err, BK_BUILD, "archive.too_deep", "more than %d directory levels",
                   BK_DEPTH_MAX);
  }
  if (d->path.len) bk_buf_addc(&d->path, '/');
  bk_buf_adds(&d->path, name);
  d->levels[++d->depth] = (struct bk_level){.name = bk_strdup(name),
                                            .fd = fd,
                                            .path_len = d->path.len,
                                            .setgid = st.st_mode & S_ISGID};
  return 0;
}

static int open_dir(const struct bk_dirs *d, const char *name) {
  return openat(d->levels[d->depth].fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* What is left to walk; replaced when a symlink is met. */
struct todo {
  struct bk_buf text;
  size_t at;
  int links;
};

/* Puts the target of the symlink `name` in front of the rest. 1 when it is absolute, 0, -1. */
static int follow(struct bk_dirs *d, const char *name, struct todo *t, struct bk_err *err) {
  char target[4097];
  ssize_t n = bk_readlinkat(d->levels[d->depth].fd, name, target, sizeof target - 1);
  if (n < 0) return bk_fail_errno(err, errno, "read link '%s'", name);
  if (++t->links > MAX_SYMLINKS) return bk_fail_errno(err, ELOOP, "resolve '%s'", name);
  struct bk_buf next = {0};
  bk_buf_add(&next, target, (size_t)n);
  bk_buf_addc(&next, '/');
  bk_buf_add(&next, t->text.p + t->at, t->text.len - t->at);
  bk_buf_free(&t->text);
  t->text = next;
  t->at = 0;
  return n && target[0] == '/';
}

/* Goes down into `name`; may instead replace *t. */
static int descend(struct bk_dirs *d, const char *name, struct todo *t, unsigned flags,
                   struct bk_err *err) {
  int fd = open_dir(d, name);
  if (fd >= 0) return push(d, name, fd, err);
  int e = errno;
  struct stat st;
  if ((e == ENOTDIR || e == ELOOP) && !(flags & BK_DIRS_STRICT) &&
      bk_fstatat(d->levels[d->depth].fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISLNK(st.st_mode)) {
    int absolute = follow(d, name, t, err);
    if (absolute == 1) pop_to(d, 0);
    return absolute < 0 ? -1 : 0;
  }
  bool can_make = (flags & BK_DIRS_CREATE) && d->missing && (e == ENOENT || e == ENOTDIR);
  if (!can_make) return bk_fail_errno(err, e, "open directory '%s'", name);
  if (d->missing(d->ctx, name, e == ENOTDIR, err)) return -1;
  fd = open_dir(d, name);
  if (fd < 0) return bk_fail_errno(err, errno, "open directory '%s'", name);
  return push(d, name, fd, err);
}

int bk_dirs_enter(struct bk_dirs *d, const char *path, size_t n, unsigned flags,
                  struct bk_err *err) {
  struct todo t = {0};
  bk_buf_add(&t.text, path, n);
  bk_buf_str(&t.text);
  unsigned at = 0; /* levels that are known to be on the way; deeper ones are left over */
  int rc = 0;
  while (rc == 0 && t.at < t.text.len) {
    const char *s = t.text.p + t.at;
    size_t len = strcspn(s, "/");
    t.at += len + (s[len] == '/');
    if (len == 0 || (len == 1 && s[0] == '.')) continue;
    if (len == 2 && s[0] == '.' && s[1] == '.') { /* only in a symlink's target */
      if (at) at--;
      continue;
    }
    char name[256];
    if (len > 255) {
      rc = bk_fail_errno(err, ENAMETOOLONG, "'%.60s…'", s);
      break;
    }
    memcpy(name, s, len);
    name[len] = '\0';
    if (at < d->depth && strcmp(d->levels[at + 1].name, name) == 0) {
      at++;
      continue;
    }
    pop_to(d, at);
    rc = descend(d, name, &t, flags, err);
    at = d->depth;
  }
  bk_buf_free(&t.text);
  if (rc == 0) pop_to(d, at);
  return rc;
}
