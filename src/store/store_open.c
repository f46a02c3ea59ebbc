#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/store_int.h"

static const char *const dirs[] = {"blobs",       "blobs/sha256", "layers", "tmp",
                                   "keys",        "refs",         "remote", "locks",
                                   "cachemounts", "log",          "statcache"};
static const char *const files[] = {"version", "config", "boot", "runs.db", "runs.db-wal",
                                    "runs.db-shm", "tier"};

int bk_store_failed(struct bk_store *s, struct bk_err *err) {
  struct statvfs vfs;
  if (strcmp(err->code, "ENOSPC") != 0 && strcmp(err->code, "EDQUOT") != 0) return -1;
  if (fstatvfs(s->fd, &vfs)) return -1;
  double free_mb = (double)vfs.f_bavail * (double)vfs.f_frsize / 1e6;
  double all_mb = (double)vfs.f_blocks * (double)vfs.f_frsize / 1e6;
  size_t n = strlen(err->msg);
  snprintf(err->msg + n, sizeof err->msg - n, " (store '%.200s': %.1f of %.1f MB free)", s->dir,
           free_mb, all_mb);
  return -1;
}

const char *bk_store_dir(const struct bk_store *s) { return s->dir; }

/* --- the shared lock ------------------------------------------------------------------------- */

int bk_store_flock(int fd, int op, const char *what, struct bk_err *err) {
  int rc;
  do rc = flock(fd, op);
  while (rc && errno == EINTR);
  if (rc == 0) return 1;
  if (errno == EWOULDBLOCK) return 0;
  return bk_fail_errno(err, errno, "lock %s", what);
}

static double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int take_shared(struct bk_store *s, double timeout, struct bk_err *err) {
  s->lockfd = openat(s->fd, "locks/store", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (s->lockfd < 0) return bk_fail_errno(err, errno, "open store '%s': create lock", s->dir);
  double end = now_seconds() + timeout;
  for (;;) {
    int got = bk_store_flock(s->lockfd, LOCK_SH | LOCK_NB, "the store", err);
    if (got < 0) return -1;
    if (got) return 0;
    if (now_seconds() >= end) break;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  bk_fail(err, BK_INFRA, "store.busy",
          "open store '%s': garbage collection by another process has held it for %.0f s", s->dir,
          timeout);
  err->retryable = true;
  return -1;
}

/* --- format ---------------------------------------------------------------------------------- */

/* Whether the directory holds only what an interrupted creation leaves behind. */
static int is_ours_or_empty(struct bk_store *s, bool *ours, struct bk_err *err) {
  int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) return bk_fail_errno(err, errno, "read directory '%s'", s->dir);
  *ours = true;
  for (struct dirent *e; *ours && (e = readdir(d));) {
    bool known = e->d_name[0] == '.';
    for (size_t i = 0; !known && i < BK_ARRAY_LEN(dirs); i++)
      known = strcmp(e->d_name, dirs[i]) == 0;
    for (size_t i = 0; !known && i < BK_ARRAY_LEN(files); i++)
      known = strcmp(e->d_name, files[i]) == 0;
    *ours = known || strcmp(e->d_name, "lost+found") == 0;
  }
  return 0;
}

static int read_small(struct bk_store *s, const char *name, struct bk_buf *out,
                      struct bk_err *err) {
  out->max = 4096;
  if (faccessat(s->fd, name, F_OK, 0)) {
    if (errno == ENOENT) return 0;
    return bk_fail_errno(err, errno, "open '%s/%s'", s->dir, name);
  }
  return bk_read_file(s->fd, name, out, err) ? -1 : 1;
}

static int check_version(struct bk_store *s, bool *fresh, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  unsigned format = 0;
  char tail = 0;
  *fresh = false;
  int rc = read_small(s, "version", &text, err);
  if (rc < 0) return -1;
  if (rc && text.len) {
    if (sscanf(text.p, "bakery-store %u%c", &format, &tail) != 2 || tail != '\n' || format == 0)
      return bk_fail(err, BK_BUILD, "store.foreign", "open store '%s': 'version' is not readable",
                     s->dir);
    if (format > BK_STORE_FORMAT)
      return bk_fail(err, BK_USAGE, "store.version",
                     "open store '%s': it has format %u, this program knows up to %d: use a newer "
                     "bakery or another store directory",
                     s->dir, format, BK_STORE_FORMAT);
    return 0;
  }
  bool ours = true;
  if (is_ours_or_empty(s, &ours, err)) return -1;
  if (!ours)
    return bk_fail(err, BK_USAGE, "store.foreign",
                   "open store '%s': the directory holds other files and no store", s->dir);
  *fresh = true;
  return 0;
}

/* The id map a store was made with cannot change: its files carry owners and xattrs of that map. */
static int check_mode(struct bk_store *s, const char *mode, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  if (!mode) return 0;
  int rc = read_small(s, "config", &text, err);
  if (rc < 0) return -1;
  char have[64] = "";
  if (rc && sscanf(bk_buf_str(&text), "mode %63s", have) == 1) {
    if (strcmp(have, mode) == 0) return 0;
    return bk_fail(err, BK_USAGE, "store.mode",
                   "open store '%s': it was made for %s and cannot be used for %s: choose another "
                   "store directory",
                   s->dir, have, mode);
  }
  bk_buf_reset(&text);
  bk_buf_addf(&text, "mode %s\n", mode);
  return bk_write_file(s->fd, "config", text.p, text.len, 0600, false, err);
}

static int create_layout(struct bk_store *s, struct bk_err *err) {
  for (size_t i = 0; i < BK_ARRAY_LEN(dirs); i++)
    if (mkdirat(s->fd, dirs[i], 0700) && errno != EEXIST)
      return bk_fail_errno(err, errno, "create '%s/%s'", s->dir, dirs[i]);
  cleanup_buf struct bk_buf text = {0};
  bk_buf_addf(&text, "bakery-store %d\n", BK_STORE_FORMAT);
  return bk_write_file(s->fd, "version", text.p, text.len, 0600, false, err);
}

/* --- identity -------------------------------------------------------------------------------- */

static void boot_id(char out[static 40]) {
  cleanup_buf struct bk_buf text = {.max = 64};
  struct bk_err err;
  size_t n = 0;
  if (bk_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &text, &err) == 0)
    for (const char *p = text.p; *p && n < 39; p++)
      if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')) out[n++] = *p;
  if (n < 8) n = (size_t)snprintf(out, 40, "00000000");
  out[n] = '\0';
}

/* Field 22 of /proc/self/stat: ticks since boot when we started. */
static unsigned long long start_time(void) {
  cleanup_buf struct bk_buf text = {.max = 4096};
  struct bk_err err;
  if (bk_read_file(AT_FDCWD, "/proc/self/stat", &text, &err)) return 0;
  const char *p = strrchr(bk_buf_str(&text), ')');
  for (int field = 2; p && field < 22; field++) {
    p = strchr(p + 1, ' ');
  }
  return p ? strtoull(p, NULL, 10) : 0;
}

static int check_boot(struct bk_store *s, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  boot_id(s->boot);
  int rc = read_small(s, "boot", &text, err);
  if (rc < 0) return -1;
  if (rc && strncmp(bk_buf_str(&text), s->boot, strlen(s->boot)) == 0) return 0;
  cleanup_close int lock = openat(s->fd, "locks/boot", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0) return bk_fail_errno(err, errno, "create '%s/locks/boot'", s->dir);
  if (bk_store_flock(lock, LOCK_EX, "the store", err) < 0) return -1;
  bk_buf_reset(&text);
  if (rc && (rc = read_small(s, "boot", &text, err)) < 0) return -1;
  if (rc && strncmp(bk_buf_str(&text), s->boot, strlen(s->boot)) == 0) return 0;
  if (rc && bk_store_recover_boot(s, err)) return -1;
  bk_buf_reset(&text);
  bk_buf_addf(&text, "%s\n", s->boot);
  return bk_write_file(s->fd, "boot", text.p, text.len, 0600, false, err);
}

/* --- open and close -------------------------------------------------------------------------- */

static int open_dir(struct bk_store *s, const char *dir, bool create, struct bk_err *err) {
  if (create && bk_mkdirs(AT_FDCWD, dir, 0700, err))
    return bk_err_wrap(err, "create store '%s'", dir);
  s->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (s->fd < 0) {
    int e = errno;
    bk_fail_errno(err, e, "open store '%s'", dir);
    return -1;
  }
  s->dir = realpath(dir, NULL);
  if (!s->dir) return bk_fail_errno(err, errno, "open store '%s'", dir);
  return 0;
}

static int open_store(struct bk_store *s, const char *dir, const struct bk_store_opts *opts,
                      struct bk_err *err) {
  bool fresh;
  unsigned swept;
  struct bk_err ignored;
  if (open_dir(s, dir, opts->create, err) || check_version(s, &fresh, err)) return -1;
  if (fresh && !opts->create)
    return bk_fail(err, BK_BUILD, "ENOENT", "open store '%s': there is no store", dir);
  if (fresh && create_layout(s, err)) return bk_store_failed(s, err);
  if (take_shared(s, opts->timeout, err)) return -1;
  if (check_mode(s, opts->mode, err) || check_boot(s, err)) return bk_store_failed(s, err);
  (void)!bk_store_sweep(s, &swept, &ignored); /* what cannot go now, check() reports */
  return 0;
}

int bk_store_open(const char *dir, const struct bk_store_opts *opts, struct bk_store **out,
                  struct bk_err *err) {
  struct bk_store *s = bk_calloc(1, sizeof *s);
  *out = NULL;
  s->fd = s->lockfd = s->sessionfd = -1;
  s->durable = opts->durable;
  atomic_store(&s->refs, 1);
  pthread_mutex_init(&s->mutex, NULL);
  if (open_store(s, dir, opts, err)) {
    bk_store_unref(s);
    return -1;
  }
  *out = s;
  return 0;
}

struct bk_store *bk_store_ref(struct bk_store *s) {
  atomic_fetch_add(&s->refs, 1);
  return s;
}

/* Unlocks first: a forked child may still hold the descriptor for a moment. */
static void release_lock(int fd) {
  if (fd < 0) return;
  flock(fd, LOCK_UN);
  close(fd);
}

void bk_store_unref(struct bk_store *s) {
  struct bk_err ignored;
  if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return;
  bk_store_close_db(s);
  if (s->session) (void)!bk_rmtree(s->fd, s->session, &ignored);
  release_lock(s->sessionfd);
  release_lock(s->lockfd);
  if (s->fd >= 0) close(s->fd);
  pthread_mutex_destroy(&s->mutex);
  free(s->session);
  free(s->dir);
  free(s);
}

/* --- sessions -------------------------------------------------------------------------------- */

/* locks/tmp, held for as long as it takes to make or take over a session directory. */
static int lock_tmp(struct bk_store *s, struct bk_err *err) {
  int fd = openat(s->fd, "locks/tmp", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return bk_fail_errno(err, errno, "create '%s/locks/tmp'", s->dir);
  if (bk_store_flock(fd, LOCK_EX, "temporary space", err) < 0) {
    close(fd);
    return -1;
  }
  return fd;
}

/* Lets ext2/3/4 spread the trees that are made in a directory over its block groups (FS_TOPDIR_FL,
 * `chattr +T`). Without it they all go into the store's own group, where inodes that were freed in
 * the last minutes are searched one by one for every new file: ten times slower behind a large
 * removal. A hint: file systems without it say no, and that is fine. */
static void spread_subdirs(int dirfd, const char *path) {
  cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int flags = 0;
  if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
    flags |= FS_TOPDIR_FL;
    (void)!ioctl(fd, FS_IOC_SETFLAGS, &flags);
  }
}

/* Caller holds the mutex and locks/tmp, so that nobody sees the directory without its lock. */
static int make_session(struct bk_store *s, struct bk_err *err) {
  uint32_t r = 0;
  (void)!getrandom(&r, sizeof r, GRND_NONBLOCK);
  cleanup_free char *path =
      bk_asprintf("tmp/%.8s-%d-%llu-%08x", s->boot, (int)getpid(), start_time(), r);
  cleanup_free char *lock = bk_asprintf("%s/lock", path);
  if (mkdirat(s->fd, path, 0700)) return bk_fail_errno(err, errno, "create '%s/%s'", s->dir, path);
  spread_subdirs(s->fd, path);
  cleanup_close int fd = openat(s->fd, lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB)) {
    int e = errno;
    (void)!unlinkat(s->fd, lock, 0);
    (void)!unlinkat(s->fd, path, AT_REMOVEDIR);
    return bk_fail_errno(err, e, "create '%s/%s'", s->dir, lock);
  }
  s->session = bk_steal_ptr(&path);
  s->sessionfd = bk_steal_fd(&fd);
  return 0;
}

static int need_session(struct bk_store *s, struct bk_err *err) {
  int rc = 0;
  pthread_mutex_lock(&s->mutex);
  if (!s->session) {
    cleanup_close int lock = lock_tmp(s, err);
    rc = lock < 0 ? -1 : make_session(s, err);
  }
  pthread_mutex_unlock(&s->mutex);
  return rc ? bk_store_failed(s, err) : 0;
}

char *bk_store_tmpname(struct bk_store *s, const char *tag, struct bk_err *err) {
  if (need_session(s, err)) return NULL;
  return bk_asprintf("%s/%s%u", s->session, tag, atomic_fetch_add(&s->seq, 1));
}

char *bk_store_tmpdir(struct bk_store *s, struct bk_err *err) {
  cleanup_free char *path = bk_store_tmpname(s, "d", err);
  if (!path) return NULL;
  if (mkdirat(s->fd, path, 0700)) {
    bk_fail_errno(err, errno, "create '%s/%s'", s->dir, path);
    bk_store_failed(s, err);
    return NULL;
  }
  return bk_asprintf("%s/%s", s->dir, path);
}

char *bk_store_tmpfile(struct bk_store *s, struct bk_err *err) {
  cleanup_free char *path = bk_store_tmpname(s, "f", err);
  if (!path) return NULL;
  cleanup_close int fd = openat(s->fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    bk_fail_errno(err, errno, "create '%s/%s'", s->dir, path);
    bk_store_failed(s, err);
    return NULL;
  }
  return bk_asprintf("%s/%s", s->dir, path);
}

/* The part of an absolute path below the store, when it lies in our session; else NULL. */
static const char *in_session(struct bk_store *s, const char *path) {
  pthread_mutex_lock(&s->mutex);
  size_t n = strlen(s->dir), m = s->session ? strlen(s->session) : 0;
  bool ours = m && strncmp(path, s->dir, n) == 0 && path[n] == '/' &&
              strncmp(path + n + 1, s->session, m) == 0 && path[n + 1 + m] == '/';
  pthread_mutex_unlock(&s->mutex);
  if (!ours || !path[n + m + 2] || strcmp(path + n + 1 + m, "/lock") == 0) return NULL;
  for (const char *p = path + n + 1 + m; (p = strstr(p, "/..")); p += 3)
    if (p[3] == '/' || p[3] == '\0') return NULL;
  return path + n + 1;
}

int bk_store_remove_tmp(struct bk_store *s, const char *path, struct bk_err *err) {
  const char *rel = in_session(s, path);
  if (!rel)
    return bk_fail(err, BK_BUILD, "store.path", "remove '%s': not in this store's temporary space",
                   path);
  return bk_rmtree(s->fd, rel, err);
}

int bk_store_write(struct bk_store *s, const char *to, const void *p, size_t n,
                   struct bk_err *err) {
  cleanup_free char *tmp = bk_store_tmpname(s, "w", err);
  if (!tmp) return -1;
  cleanup_close int fd = openat(s->fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    bk_fail_errno(err, errno, "write '%s/%s'", s->dir, to);
    return bk_store_failed(s, err);
  }
  if (bk_write_all(fd, p, n) || (s->durable && fsync(fd)) || renameat(s->fd, tmp, s->fd, to)) {
    int e = errno;
    unlinkat(s->fd, tmp, 0);
    bk_fail_errno(err, e, "write '%s/%s'", s->dir, to);
    return bk_store_failed(s, err);
  }
  return 0;
}

int bk_store_discard(struct bk_store *s, const char *path, struct bk_err *err) {
  cleanup_free char *tmp = bk_store_tmpname(s, "trash", err);
  if (!tmp) return -1;
  if (renameat(s->fd, path, s->fd, tmp)) {
    if (errno == ENOENT) return 0;
    return bk_fail_errno(err, errno, "remove '%s/%s'", s->dir, path);
  }
  return bk_rmtree(s->fd, tmp, err);
}

/* --- sweeping -------------------------------------------------------------------------------- */

struct sweep {
  struct bk_store *s;
  unsigned found, taken;
  char *trash[64]; /* the rest waits for the next time */
};

/* "tmp/" is 4 bytes; the mutex is held. */
static bool is_own(const struct bk_store *s, const char *name) {
  return s->session && strcmp(name, s->session + 4) == 0;
}

static int count_foreign(void *ud, const char *name, struct bk_err *err) {
  struct sweep *w = ud;
  (void)err;
  pthread_mutex_lock(&w->s->mutex);
  if (!is_own(w->s, name)) w->found++;
  pthread_mutex_unlock(&w->s->mutex);
  return 0;
}

/* Dead when nobody holds the lock inside. The boot id, pid and start time in the name are for
 * people: another pid namespace may share the store. */
static int take_dead(void *ud, const char *name, struct bk_err *err) {
  struct sweep *w = ud;
  struct bk_store *s = w->s;
  if (w->taken == BK_ARRAY_LEN(w->trash)) return 0;
  if (is_own(s, name)) return 0;
  cleanup_free char *lock = bk_asprintf("tmp/%s/lock", name);
  cleanup_close int fd = openat(s->fd, lock, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno != ENOENT && errno != ENOTDIR) return 0;
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) return 0;
  if (!s->session && make_session(s, err)) return -1;
  cleanup_free char *from = bk_asprintf("tmp/%s", name);
  cleanup_free char *to = bk_asprintf("%s/trash%u", s->session, atomic_fetch_add(&s->seq, 1));
  if (renameat(s->fd, from, s->fd, to) == 0) w->trash[w->taken++] = bk_steal_ptr(&to);
  return 0;
}

int bk_store_sweep(struct bk_store *s, unsigned *n, struct bk_err *err) {
  struct sweep w = {.s = s};
  int rc = 0;
  *n = 0;
  if (bk_store_list(s, "tmp", count_foreign, &w, err)) return -1;
  if (!w.found) return 0;
  pthread_mutex_lock(&s->mutex);
  {
    cleanup_close int lock = lock_tmp(s, err);
    if (lock < 0 || bk_store_list(s, "tmp", take_dead, &w, err)) rc = -1;
  }
  pthread_mutex_unlock(&s->mutex);
  for (unsigned i = 0; i < w.taken; i++) {
    bk_store_rescue(s, w.trash[i]);
    if (bk_rmtree(s->fd, w.trash[i], err)) rc = -1;
    else ++*n;
    free(w.trash[i]);
  }
  return rc;
}
