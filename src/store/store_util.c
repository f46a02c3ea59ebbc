/* Names, walks and hashes the other files share. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/mem.h"
#include "digest/digest.h"
#include "store/store_int.h"

bool bk_store_hex_of(const char *digest, char hex[static 65]) {
  if (strncmp(digest, "sha256:", 7) != 0) return false;
  for (size_t i = 0; i < 64; i++) {
    char c = digest[7 + i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    hex[i] = c;
  }
  hex[64] = '\0';
  return digest[71] == '\0';
}

bool bk_store_is_digest(const char *digest) {
  char hex[65];
  return bk_store_hex_of(digest, hex);
}

int bk_store_bad_digest(const char *digest, struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "store.digest", "'%.100s' is not a sha256 digest", digest);
}

void bk_store_hash(const void *p, size_t n, char hex[static 65]) {
  struct bk_digest d;
  bk_digest_init(&d, BK_SHA256);
  bk_digest_update(&d, p, n);
  bk_digest_hex(&d, hex);
}

int bk_store_hash_file(int dirfd, const char *path, char hex[static 65], struct bk_err *err) {
  return bk_digest_file(dirfd, path, BK_SHA256, hex, NULL, err);
}

void bk_store_encode(struct bk_buf *out, const char *name) {
  size_t start = out->len;
  for (const char *p = name; *p; p++) {
    unsigned char c = (unsigned char)*p;
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '_' || c == '-' || (c == '.' && p != name);
    if (plain) bk_buf_addc(out, *p);
    else bk_buf_addf(out, "%%%02X", c);
  }
  if (out->len - start <= 200) return;
  char hex[65];
  bk_store_hash(name, strlen(name), hex);
  out->len = start;
  bk_buf_addf(out, "~%s", hex);
}

int bk_store_list(struct bk_store *s, const char *path,
                  int (*f)(void *ud, const char *name, struct bk_err *err), void *ud,
                  struct bk_err *err) {
  int fd = openat(s->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return 0;
  cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) return bk_fail_errno(err, errno, "read directory '%s/%s'", s->dir, path);
  for (;;) {
    errno = 0;
    struct dirent *e = readdir(d);
    if (!e && errno) return bk_fail_errno(err, errno, "read directory '%s/%s'", s->dir, path);
    if (!e) return 0;
    if (e->d_name[0] == '.') continue;
    int rc = f(ud, e->d_name, err);
    if (rc) return rc;
  }
}

/* --- sizes ----------------------------------------------------------------------------------- */

struct measure {
  struct bk_tree_size *out;
  struct bk_map links; /* inodes with more than one name */
};

static void count(struct measure *m, const struct stat *st) {
  m->out->entries++;
  if (!S_ISREG(st->st_mode)) return;
  if (st->st_nlink > 1) {
    uint64_t id[2] = {st->st_dev, st->st_ino};
    if (bk_map_has(&m->links, (const char *)id, sizeof id)) return;
    bk_map_set(&m->links, (const char *)id, sizeof id, m);
  }
  m->out->bytes += (uint64_t)st->st_size;
}

static int measure_dir(struct measure *m, int dirfd, const char *name, struct bk_err *err) {
  int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) return bk_fail_errno(err, errno, "read directory '%s'", name);
  for (struct dirent *e; (e = readdir(d));) {
    struct stat st;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW)) {
      if (errno == ENOENT) continue; /* somebody else's temporary file */
      return bk_fail_errno(err, errno, "stat '%s'", e->d_name);
    }
    count(m, &st);
    if (S_ISDIR(st.st_mode) && measure_dir(m, fd, e->d_name, err)) return -1;
  }
  return 0;
}

int bk_store_measure(int dirfd, const char *path, struct bk_tree_size *out, struct bk_err *err) {
  struct measure m = {.out = out};
  struct stat st;
  *out = (struct bk_tree_size){0};
  if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW))
    return errno == ENOENT ? 0 : bk_fail_errno(err, errno, "stat '%s'", path);
  int rc = 0;
  if (S_ISDIR(st.st_mode)) rc = measure_dir(&m, dirfd, path, err);
  else count(&m, &st);
  bk_map_free(&m.links);
  return rc;
}
