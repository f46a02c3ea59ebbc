/* Records: one small file each, "bakery 1 <bytes> <name>\n" and then the text. The length tells a
 * whole record from one that a power failure cut off. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/store_int.h"

static const char *const folders[] = {"keys", "refs", "remote"};

/* A name gets its last-use stamp renewed at most this often, in seconds. */
#define STAMP_STEP 3600

static int check_name(const char *name, struct bk_err *err) {
  if (!*name) return bk_fail(err, BK_BUILD, "store.name", "a record needs a name");
  if (strlen(name) > BK_STORE_NAME_MAX || strchr(name, '\n'))
    return bk_fail(err, BK_BUILD, "store.name", "'%.100s': not usable as a record name", name);
  return 0;
}

/* "keys/<2 hex>/<name>", "refs/<name>", "remote/<name>", names encoded. */
static char *record_path(enum bk_store_kind kind, const char *name) {
  struct bk_buf b = {0};
  bk_buf_addf(&b, "%s/", folders[kind]);
  if (kind == BK_STORE_KEY) {
    char hex[65];
    size_t n = strspn(name, "0123456789abcdef");
    if (n < 2) bk_store_hash(name, strlen(name), hex);
    bk_buf_addf(&b, "%.2s/", n < 2 ? hex : name);
  }
  bk_store_encode(&b, name);
  return bk_buf_steal(&b);
}

/* Splits a record file; false when it is cut off or something else. */
static bool parse(const struct bk_buf *file, struct bk_buf *name, struct bk_buf *text) {
  const char *nl = file->len ? memchr(file->p, '\n', file->len) : NULL;
  unsigned long size;
  int at = 0;
  if (!nl || sscanf(file->p, "bakery 1 %lu %n", &size, &at) != 1 || !at || file->p + at > nl)
    return false;
  if (size != file->len - (size_t)(nl + 1 - file->p)) return false;
  if (name) bk_buf_add(name, file->p + at, (size_t)(nl - file->p) - (size_t)at);
  bk_buf_add(text, nl + 1, size);
  return true;
}

int bk_store_read_record(struct bk_store *s, const char *path, struct bk_buf *name,
                         struct bk_buf *text, int64_t *stamp, struct bk_err *err) {
  cleanup_buf struct bk_buf file = {.max = BK_STORE_RECORD_MAX + BK_STORE_NAME_MAX + 64};
  struct stat st;
  if (bk_read_file(s->fd, path, &file, err)) {
    if (strcmp(err->code, "ENOENT") == 0 || strcmp(err->code, "fs.too_large") == 0) return 0;
    return bk_err_wrap(err, "store '%s'", s->dir);
  }
  if (name) bk_buf_reset(name);
  bk_buf_reset(text);
  if (!parse(&file, name, text)) return 0;
  if (stamp) *stamp = fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW) ? 0 : st.st_mtime;
  return 1;
}

int bk_store_get(struct bk_store *s, enum bk_store_kind kind, const char *name,
                 struct bk_buf *out, int64_t *stamp, struct bk_err *err) {
  if (check_name(name, err)) return -1;
  cleanup_free char *path = record_path(kind, name);
  cleanup_buf struct bk_buf found = {0};
  int64_t mtime;
  int rc = bk_store_read_record(s, path, &found, out, &mtime, err);
  if (rc <= 0) return rc;
  if (strcmp(bk_buf_str(&found), name) != 0) return 0;
  /* A remote record's stamp is its age, which callers ask for; the others' is their last use. */
  if (kind != BK_STORE_REMOTE && time(NULL) - mtime > STAMP_STEP)
    (void)!utimensat(s->fd, path, NULL, AT_SYMLINK_NOFOLLOW);
  if (stamp) *stamp = mtime;
  return 1;
}

/* Whether the record is there as it is to be written; its last use is noted then. */
static bool same(struct bk_store *s, const char *path, const struct bk_buf *file) {
  cleanup_buf struct bk_buf old = {.max = file->len + 1};
  struct bk_err ignored;
  struct stat st;
  if (bk_read_file(s->fd, path, &old, &ignored) || old.len != file->len) return false;
  if (memcmp(old.p, file->p, file->len) != 0 || fstatat(s->fd, path, &st, AT_SYMLINK_NOFOLLOW)) return false;
  return time(NULL) - st.st_mtime <= STAMP_STEP || utimensat(s->fd, path, NULL, AT_SYMLINK_NOFOLLOW) == 0;
}

int bk_store_put(struct bk_store *s, enum bk_store_kind kind, const char *name, const char *text,
                 size_t n, struct bk_err *err) {
  if (check_name(name, err)) return -1;
  if (n > BK_STORE_RECORD_MAX)
    return bk_fail(err, BK_BUILD, "store.record", "record '%.100s': %zu bytes are too many", name,
                   n);
  cleanup_free char *path = record_path(kind, name);
  cleanup_buf struct bk_buf file = {0};
  bk_buf_addf(&file, "bakery 1 %zu %s\n", n, name);
  bk_buf_add(&file, text, n);
  if (kind == BK_STORE_REF && same(s, path, &file)) return 0;
  if (kind == BK_STORE_KEY) {
    cleanup_free char *shard = bk_strndup(path, 7);
    if (mkdirat(s->fd, shard, 0700) && errno != EEXIST) {
      bk_fail_errno(err, errno, "create '%s/%s'", s->dir, shard);
      return bk_store_failed(s, err);
    }
  }
  return bk_store_write(s, path, file.p, file.len, err);
}

int bk_store_del(struct bk_store *s, enum bk_store_kind kind, const char *name,
                 struct bk_err *err) {
  if (check_name(name, err)) return -1;
  cleanup_free char *path = record_path(kind, name);
  if (unlinkat(s->fd, path, 0) == 0) return 1;
  if (errno == ENOENT) return 0;
  return bk_fail_errno(err, errno, "remove '%s/%s'", s->dir, path);
}

/* --- all records of a kind ------------------------------------------------------------------- */

struct files {
  struct bk_store *s;
  const char *folder;
  bool shards;
  int (*f)(void *ud, const char *path, struct bk_err *err);
  void *ud;
};

static int each_file(void *ud, const char *name, struct bk_err *err) {
  struct files *w = ud;
  cleanup_free char *path = bk_asprintf("%s/%s", w->folder, name);
  if (!w->shards) return w->f(w->ud, path, err);
  struct files sub = {w->s, path, false, w->f, w->ud};
  return bk_store_list(w->s, path, each_file, &sub, err);
}

int bk_store_record_files(struct bk_store *s, enum bk_store_kind kind,
                          int (*f)(void *ud, const char *path, struct bk_err *err), void *ud,
                          struct bk_err *err) {
  struct files w = {s, folders[kind], kind == BK_STORE_KEY, f, ud};
  return bk_store_list(s, w.folder, each_file, &w, err);
}

struct each {
  struct bk_store *s;
  int (*f)(void *ud, const char *name, const char *text, size_t n, int64_t stamp);
  void *ud;
  struct bk_buf name, text;
};

static int each_record(void *ud, const char *path, struct bk_err *err) {
  struct each *w = ud;
  int64_t stamp;
  int rc = bk_store_read_record(w->s, path, &w->name, &w->text, &stamp, err);
  if (rc <= 0) return rc;
  return w->f(w->ud, bk_buf_str(&w->name), bk_buf_str(&w->text), w->text.len, stamp);
}

int bk_store_each(struct bk_store *s, enum bk_store_kind kind,
                  int (*f)(void *ud, const char *name, const char *text, size_t n, int64_t stamp),
                  void *ud, struct bk_err *err) {
  struct each w = {.s = s, .f = f, .ud = ud};
  int rc = bk_store_record_files(s, kind, each_record, &w, err);
  bk_buf_free(&w.name);
  bk_buf_free(&w.text);
  return rc;
}
