/* Named locks and cache directories: flock on files of locks/ and cachemounts/. Each attempt opens
 * the file anew, and flock belongs to the open file, so calls of one process exclude each other. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/store_int.h"

static char *lock_path(const char *name) {
  struct bk_buf b = {0};
  bk_buf_adds(&b, "locks/n-");
  bk_store_encode(&b, name);
  return bk_buf_steal(&b);
}

static int lock_file(struct bk_store *s, const char *path, bool shared, int *fd,
                     struct bk_err *err) {
  struct stat st;
  cleanup_close int f = openat(s->fd, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (f < 0) {
    bk_fail_errno(err, errno, "create lock '%s/%s'", s->dir, path);
    return bk_store_failed(s, err);
  }
  int got = bk_store_flock(f, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB, path, err);
  if (got <= 0) return got;
  if (fstat(f, &st) || st.st_nlink == 0) return 0; /* gc removed it meanwhile: try again */
  atomic_fetch_add(&s->held, 1);
  *fd = bk_steal_fd(&f);
  return 1;
}

int bk_store_lock(struct bk_store *s, const char *name, bool shared, int *fd, struct bk_err *err) {
  if (!*name || strlen(name) > BK_STORE_NAME_MAX)
    return bk_fail(err, BK_BUILD, "store.name", "'%.100s': not usable as a lock name", name);
  cleanup_free char *path = lock_path(name);
  int got = lock_file(s, path, shared, fd, err);
  if (got == 1 && !shared) {
    /* For the message of those who wait. Overwritten in place: truncating would make ext4 write the
     * block out when the file is closed. */
    char text[16];
    int n = snprintf(text, sizeof text, "%-10d\n", (int)getpid());
    (void)!pwrite(*fd, text, (size_t)n, 0);
  }
  return got;
}

void bk_store_unlock(struct bk_store *s, int *fd) {
  if (*fd < 0) return;
  flock(*fd, LOCK_UN); /* a forked child may still hold the descriptor for a moment */
  close(*fd);
  *fd = -1;
  atomic_fetch_sub(&s->held, 1);
}

void bk_store_lock_owner(struct bk_store *s, const char *name, char *out, size_t size) {
  cleanup_free char *path = lock_path(name);
  cleanup_buf struct bk_buf text = {.max = 64};
  struct bk_err err;
  int pid = 0;
  if (bk_read_file(s->fd, path, &text, &err) == 0) (void)!sscanf(bk_buf_str(&text), "%d", &pid);
  if (pid == (int)getpid()) snprintf(out, size, "another task");
  else if (pid > 0) snprintf(out, size, "process %d", pid);
  else snprintf(out, size, "somebody else");
}

/* --- cache directories ----------------------------------------------------------------------- */

static int make_instance(struct bk_store *s, const char *dir, unsigned mode, unsigned uid,
                         unsigned gid, struct bk_err *err) {
  if (bk_mkdirs(s->fd, dir, 0700, err)) return bk_store_failed(s, err);
  cleanup_free char *data = bk_asprintf("%s/data", dir);
  if (mkdirat(s->fd, data, 0700) == 0) {
    if (fchownat(s->fd, data, uid, gid, AT_SYMLINK_NOFOLLOW) || fchmodat(s->fd, data, mode, 0))
      return bk_fail_errno(err, errno, "set owner and mode of '%s/%s'", s->dir, data);
  } else if (errno != EEXIST) {
    bk_fail_errno(err, errno, "create '%s/%s'", s->dir, data);
    return bk_store_failed(s, err);
  }
  (void)!utimensat(s->fd, dir, NULL, 0); /* last use, for gc */
  return 0;
}

int bk_store_cache_mount(struct bk_store *s, const char *ns, const char *id,
                         enum bk_store_sharing sharing, unsigned mode, unsigned uid, unsigned gid,
                         char **path, int *fd, struct bk_err *err) {
  cleanup_buf struct bk_buf base = {0};
  bk_buf_adds(&base, "cachemounts/");
  bk_store_encode(&base, *ns ? ns : "default");
  bk_buf_addc(&base, '/');
  bk_store_encode(&base, *id ? id : "default");
  for (unsigned i = 0; i < 10000; i++) {
    cleanup_free char *dir = bk_asprintf("%s/%u", base.p, i);
    cleanup_free char *lock = bk_asprintf("%s/lock", dir);
    if (make_instance(s, dir, mode, uid, gid, err)) return -1;
    *fd = -1;
    int got = 1;
    if (sharing != BK_STORE_UNLOCKED)
      got = lock_file(s, lock, sharing == BK_STORE_SHARED, fd, err);
    if (got == 1) *path = bk_asprintf("%s/%s/data", s->dir, dir);
    if (got || sharing != BK_STORE_PRIVATE) return got;
  }
  return bk_fail(err, BK_INFRA, "store.busy", "cache mount '%s': too many instances", id);
}

/* --- paths ----------------------------------------------------------------------------------- */

static char *path_in(struct bk_store *s, const char *folder, const char *name, const char *suffix,
                     struct bk_err *err) {
  if (bk_mkdirs(s->fd, folder, 0700, err)) {
    bk_store_failed(s, err);
    return NULL;
  }
  struct bk_buf b = {0};
  bk_buf_addf(&b, "%s/%s/", s->dir, folder);
  bk_store_encode(&b, name);
  bk_buf_adds(&b, suffix);
  return bk_buf_steal(&b);
}

char *bk_store_statcache_path(struct bk_store *s, const char *name, struct bk_err *err) {
  return path_in(s, "statcache", name, "", err);
}

char *bk_store_log_path(struct bk_store *s, const char *id, struct bk_err *err) {
  return path_in(s, "log", id, ".jsonl", err);
}
