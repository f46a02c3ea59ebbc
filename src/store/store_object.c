/* Blobs and layers: immutable once they have their name. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/store_int.h"

/* --- blobs ----------------------------------------------------------------------------------- */

char *bk_store_blob_path(struct bk_store *s, const char *digest) {
  char hex[65];
  return bk_store_hex_of(digest, hex) ? bk_asprintf("%s/blobs/sha256/%s", s->dir, hex) : NULL;
}

static void blob_rel(char out[static 80], const char *hex) {
  snprintf(out, 80, "blobs/sha256/%s", hex);
}

int bk_store_has_blob(struct bk_store *s, const char *digest, uint64_t *size, struct bk_err *err) {
  char hex[65], rel[80];
  struct stat st;
  if (!bk_store_hex_of(digest, hex)) return bk_store_bad_digest(digest, err);
  blob_rel(rel, hex);
  if (fstatat(s->fd, rel, &st, AT_SYMLINK_NOFOLLOW)) {
    if (errno == ENOENT) return 0;
    return bk_fail_errno(err, errno, "stat '%s/%s'", s->dir, rel);
  }
  if (size) *size = (uint64_t)st.st_size;
  return S_ISREG(st.st_mode);
}

int bk_store_put_blob(struct bk_store *s, const void *p, size_t n, char digest[static 72],
                      struct bk_err *err) {
  char hex[65], rel[80];
  bk_store_hash(p, n, hex);
  snprintf(digest, 72, "sha256:%s", hex);
  blob_rel(rel, hex);
  uint64_t size;
  int rc = bk_store_has_blob(s, digest, &size, err);
  if (rc < 0 || (rc && size == n)) return rc < 0 ? -1 : 0;
  return bk_store_write(s, rel, p, n, err);
}

static int copy_bytes(int from, int to) {
  for (;;) {
    ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
    if (n == 0) return 0;
    if (n < 0) break;
  }
  if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return -1;
  cleanup_free char *buf = bk_malloc(1 << 18);
  for (;;) {
    ssize_t n = bk_read_full(from, buf, 1 << 18);
    if (n <= 0) return n < 0 ? -1 : 0;
    if (bk_write_all(to, buf, (size_t)n)) return -1;
  }
}

/* The file is on another file system: bring it into the session first. */
static int import(struct bk_store *s, const char *path, char **tmp, struct bk_err *err) {
  *tmp = bk_store_tmpname(s, "i", err);
  if (!*tmp) return -1;
  cleanup_close int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return bk_fail_errno(err, errno, "open '%s'", path);
  cleanup_close int to = openat(s->fd, *tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (to < 0 || copy_bytes(from, to)) {
    bk_fail_errno(err, errno, "copy '%s' into the store", path);
    (void)!unlinkat(s->fd, *tmp, 0);
    return bk_store_failed(s, err);
  }
  return 0;
}

static int verify_file(const char *path, const char *hex, struct bk_err *err) {
  char got[65];
  if (bk_store_hash_file(AT_FDCWD, path, got, err)) return -1;
  if (strcmp(got, hex) == 0) return 0;
  return bk_fail(err, BK_INFRA, "store.digest", "'%s' has digest sha256:%s, expected sha256:%s",
                 path, got, hex);
}

static int sync_file(const char *path, struct bk_err *err) {
  cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fsync(fd)) return bk_fail_errno(err, errno, "sync '%s'", path);
  return 0;
}

int bk_store_add_blob(struct bk_store *s, const char *path, const char *digest, bool verify,
                      struct bk_err *err) {
  char hex[65], rel[80];
  struct stat st;
  uint64_t have;
  if (!bk_store_hex_of(digest, hex)) return bk_store_bad_digest(digest, err);
  if (lstat(path, &st)) return bk_fail_errno(err, errno, "stat '%s'", path);
  if (!S_ISREG(st.st_mode))
    return bk_fail(err, BK_BUILD, "store.path", "'%s' is not a regular file", path);
  int rc = bk_store_has_blob(s, digest, &have, err);
  if (rc < 0) return -1;
  if (rc && have == (uint64_t)st.st_size) {
    (void)!unlink(path);
    return 0;
  }
  if (verify && verify_file(path, hex, err)) return -1;
  if (s->durable && sync_file(path, err)) return -1;
  blob_rel(rel, hex);
  /* The file's times become the stamp that gc goes by. */
  (void)!utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
  if (renameat(AT_FDCWD, path, s->fd, rel) == 0) return 0;
  if (errno != EXDEV) return bk_fail_errno(err, errno, "publish blob %s", digest);
  char *tmp = NULL;
  rc = import(s, path, &tmp, err);
  if (rc == 0 && renameat(s->fd, tmp, s->fd, rel))
    rc = bk_fail_errno(err, errno, "publish blob %s", digest);
  if (rc == 0) (void)!unlink(path);
  free(tmp);
  return rc;
}

int bk_store_get_blob(struct bk_store *s, const char *digest, struct bk_buf *out,
                      struct bk_err *err) {
  char rel[80], hex[65];
  int rc = bk_store_has_blob(s, digest, NULL, err);
  if (rc <= 0) return rc;
  (void)bk_store_hex_of(digest, hex);
  blob_rel(rel, hex);
  if (bk_read_file(s->fd, rel, out, err)) {
    if (strcmp(err->code, "ENOENT") == 0) return 0;
    return bk_err_wrap(err, "blob %s", digest);
  }
  return 1;
}

/* --- layers ---------------------------------------------------------------------------------- */

bool bk_store_layer_size(struct bk_store *s, const char *hex, struct bk_tree_size *out) {
  char rel[80];
  struct bk_err err;
  cleanup_buf struct bk_buf text = {.max = 128};
  snprintf(rel, sizeof rel, "layers/%s/size", hex);
  if (bk_read_file(s->fd, rel, &text, &err)) return false;
  unsigned long long entries, bytes;
  char tail = 0;
  if (sscanf(bk_buf_str(&text), "%llu %llu%c", &entries, &bytes, &tail) != 3 || tail != '\n')
    return false;
  *out = (struct bk_tree_size){entries, bytes};
  return true;
}

char *bk_store_layer_dir(struct bk_store *s, const char *diff_id) {
  char hex[65], rel[80];
  struct stat st;
  if (!bk_store_hex_of(diff_id, hex)) return NULL;
  snprintf(rel, sizeof rel, "layers/%s/fs", hex);
  if (fstatat(s->fd, rel, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode)) return NULL;
  return bk_asprintf("%s/%s", s->dir, rel);
}

static int write_new(struct bk_store *s, const char *path, const void *p, size_t n,
                     struct bk_err *err) {
  cleanup_close int fd = openat(s->fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 || bk_write_all(fd, p, n))
    return bk_fail_errno(err, errno, "write '%s/%s'", s->dir, path);
  return 0;
}

/* tmp/…/ becomes a complete layer directory around `fs`; *moved tells whether fs is in it. */
static int assemble(struct bk_store *s, const char *tmp, const char *fs, const char *meta, size_t n,
                    bool *moved, struct bk_err *err) {
  cleanup_free char *to = bk_asprintf("%s/fs", tmp), *size = bk_asprintf("%s/size", tmp),
                    *json = bk_asprintf("%s/meta.json", tmp);
  struct bk_tree_size tree;
  char text[64];
  if (bk_store_measure(AT_FDCWD, fs, &tree, err)) return -1;
  int len = snprintf(text, sizeof text, "%llu %llu\n", (unsigned long long)tree.entries,
                     (unsigned long long)tree.bytes);
  if (mkdirat(s->fd, tmp, 0700)) return bk_fail_errno(err, errno, "create '%s/%s'", s->dir, tmp);
  if (write_new(s, size, text, (size_t)len, err) || write_new(s, json, meta, n, err)) return -1;
  if (renameat(AT_FDCWD, fs, s->fd, to)) return bk_fail_errno(err, errno, "move '%s'", fs);
  *moved = true;
  if (s->durable && syncfs(s->fd)) return bk_fail_errno(err, errno, "sync '%s'", s->dir);
  return 0;
}

int bk_store_publish_layer(struct bk_store *s, const char *fs, const char *diff_id,
                           const char *meta, size_t n, char **path, struct bk_err *err) {
  char hex[65], rel[80];
  struct stat st;
  *path = NULL;
  if (!bk_store_hex_of(diff_id, hex)) return bk_store_bad_digest(diff_id, err);
  if (lstat(fs, &st)) return bk_fail_errno(err, errno, "stat '%s'", fs);
  if (!S_ISDIR(st.st_mode)) return bk_fail_errno(err, ENOTDIR, "publish layer '%s'", fs);
  if ((*path = bk_store_layer_dir(s, diff_id))) return 0;
  cleanup_free char *tmp = bk_store_tmpname(s, "l", err);
  if (!tmp) return -1;
  bool moved = false;
  snprintf(rel, sizeof rel, "layers/%s", hex);
  int rc = assemble(s, tmp, fs, meta, n, &moved, err);
  if (rc == 0 && renameat2(s->fd, tmp, s->fd, rel, RENAME_NOREPLACE)) {
    /* Somebody was faster; or a wreck without fs is in the way. */
    int e = errno;
    if ((*path = bk_store_layer_dir(s, diff_id))) rc = 1;
    else if (e != EEXIST || bk_store_discard(s, rel, err) || renameat(s->fd, tmp, s->fd, rel))
      rc = bk_fail_errno(err, e, "publish layer %s", diff_id);
  }
  if (rc == 0) {
    *path = bk_asprintf("%s/%s/fs", s->dir, rel);
    return 0;
  }
  struct bk_err ignored;
  if (moved) { /* the caller's directory goes back to where it was */
    cleanup_free char *inside = bk_asprintf("%s/fs", tmp);
    (void)!renameat(s->fd, inside, AT_FDCWD, fs);
  }
  (void)!bk_rmtree(s->fd, tmp, &ignored);
  return rc > 0 ? 0 : bk_store_failed(s, err);
}

int bk_store_layer_meta(struct bk_store *s, const char *diff_id, struct bk_buf *out,
                        struct bk_err *err) {
  char hex[65], rel[96];
  if (!bk_store_hex_of(diff_id, hex)) return bk_store_bad_digest(diff_id, err);
  snprintf(rel, sizeof rel, "layers/%s/meta.json", hex);
  if (bk_read_file(s->fd, rel, out, err) == 0) return 1;
  return strcmp(err->code, "ENOENT") == 0 ? 0 : -1;
}

int bk_store_set_layer_meta(struct bk_store *s, const char *diff_id, const char *meta, size_t n,
                            struct bk_err *err) {
  char hex[65], rel[96];
  if (!bk_store_hex_of(diff_id, hex)) return bk_store_bad_digest(diff_id, err);
  cleanup_free char *dir = bk_store_layer_dir(s, diff_id);
  if (!dir)
    return bk_fail(err, BK_BUILD, "store.missing_layer", "layer %s is not in the store", diff_id);
  snprintf(rel, sizeof rel, "layers/%s/meta.json", hex);
  return bk_store_write(s, rel, meta, n, err);
}
