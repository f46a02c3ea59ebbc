/* Sizes, verification, and what to do after a reboot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/store_int.h"

const char *const bk_store_area_names[BK_STORE_AREAS] = {
    "blobs", "layers", "keys", "refs", "remote", "cachemounts", "tmp", "log", "statcache"};

enum { BLOBS, LAYERS, KEYS, REFS, REMOTE, CACHES, TMP, LOGS, STATS };

/* --- du -------------------------------------------------------------------------------------- */

struct du {
  struct bk_store *s;
  struct bk_store_area *area;
  const char *folder;
  bool layers;
};

static int du_entry(void *ud, const char *name, struct bk_err *err) {
  struct du *w = ud;
  struct bk_tree_size size;
  if (!w->layers || !bk_store_layer_size(w->s, name, &size)) {
    cleanup_free char *path = bk_asprintf("%s/%s", w->folder, name);
    if (bk_store_measure(w->s->fd, path, &size, err)) return -1;
  }
  w->area->count++;
  w->area->bytes += size.bytes;
  return 0;
}

static int du_record(void *ud, const char *path, struct bk_err *err) {
  struct du *w = ud;
  struct stat st;
  (void)err;
  if (fstatat(w->s->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    w->area->count++;
    w->area->bytes += (uint64_t)st.st_size;
  }
  return 0;
}

int bk_store_du(struct bk_store *s, struct bk_store_usage *out, struct bk_err *err) {
  static const char *const folders[BK_STORE_AREAS] = {
      "blobs/sha256", "layers", NULL, NULL, NULL, "cachemounts", "tmp", "log", "statcache"};
  *out = (struct bk_store_usage){0};
  for (int i = 0; i < BK_STORE_AREAS; i++) {
    struct du w = {s, &out->area[i], folders[i], i == LAYERS};
    int rc = folders[i] ? bk_store_list(s, folders[i], du_entry, &w, err)
                        : bk_store_record_files(s, BK_STORE_KEY + (i - KEYS), du_record, &w, err);
    if (rc) return -1;
    out->bytes += out->area[i].bytes;
  }
  return 0;
}

/* --- verification ---------------------------------------------------------------------------- */

struct check {
  struct bk_store *s;
  bool repair;
  int64_t since; /* only objects changed after this moment */
  int64_t newest;
  void (*f)(void *ud, const char *area, const char *name, const char *problem);
  void *ud;
};

static int problem(struct check *w, const char *area, const char *name, const char *path,
                   const char *text, struct bk_err *err) {
  if (w->f) w->f(w->ud, area, name, text);
  return w->repair ? bk_store_discard(w->s, path, err) : 0;
}

/* Whether path changed at all since; notes the newest change. Gone files count as unchanged. */
static bool changed_since(struct check *w, const char *path) {
  struct stat st;
  if (fstatat(w->s->fd, path, &st, AT_SYMLINK_NOFOLLOW)) return false;
  if (st.st_ctime > w->newest) w->newest = st.st_ctime;
  return st.st_ctime >= w->since;
}

static int check_blob(void *ud, const char *name, struct bk_err *err) {
  struct check *w = ud;
  char hex[65], got[65];
  cleanup_free char *path = bk_asprintf("blobs/sha256/%s", name);
  cleanup_free char *digest = bk_asprintf("sha256:%s", name);
  if (!changed_since(w, path)) return 0;
  if (!bk_store_hex_of(digest, hex))
    return problem(w, "blobs", name, path, "the name is not a digest", err);
  struct stat st;
  if (fstatat(w->s->fd, path, &st, AT_SYMLINK_NOFOLLOW)) return 0;
  if (!S_ISREG(st.st_mode)) return problem(w, "blobs", digest, path, "not a regular file", err);
  if (bk_store_hash_file(w->s->fd, path, got, err)) {
    if (strcmp(err->code, "EIO") != 0) return -1;
    return problem(w, "blobs", digest, path, "cannot be read (EIO)", err);
  }
  if (strcmp(got, hex) == 0) return 0;
  cleanup_free char *text = bk_asprintf("its bytes have digest sha256:%s", got);
  return problem(w, "blobs", digest, path, text, err);
}

static int check_layer(void *ud, const char *name, struct bk_err *err) {
  struct check *w = ud;
  char hex[65];
  struct stat st;
  struct bk_tree_size noted, found;
  cleanup_free char *path = bk_asprintf("layers/%s", name);
  cleanup_free char *fs = bk_asprintf("layers/%s/fs", name);
  cleanup_free char *digest = bk_asprintf("sha256:%s", name);
  if (!changed_since(w, path)) return 0;
  if (!bk_store_hex_of(digest, hex))
    return problem(w, "layers", name, path, "the name is not a digest", err);
  if (fstatat(w->s->fd, fs, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode))
    return problem(w, "layers", digest, path, "the directory fs is missing", err);
  if (!bk_store_layer_size(w->s, name, &noted))
    return problem(w, "layers", digest, path, "the file size is missing or cut off", err);
  if (bk_store_measure(w->s->fd, fs, &found, err)) return -1;
  if (noted.entries == found.entries && noted.bytes == found.bytes) return 0;
  cleanup_free char *text = bk_asprintf(
      "has %llu entries and %llu bytes, was published with %llu and %llu",
      (unsigned long long)found.entries, (unsigned long long)found.bytes,
      (unsigned long long)noted.entries, (unsigned long long)noted.bytes);
  return problem(w, "layers", digest, path, text, err);
}

static int check_record(void *ud, const char *path, struct bk_err *err) {
  struct check *w = ud;
  cleanup_buf struct bk_buf text = {0};
  if (!changed_since(w, path)) return 0;
  int rc = bk_store_read_record(w->s, path, NULL, &text, NULL, err);
  if (rc) return rc < 0 ? -1 : 0;
  cleanup_free char *area = bk_strndup(path, strcspn(path, "/"));
  return problem(w, area, path, path, "cut off or not a record", err);
}

static int check_all(struct check *w, struct bk_err *err) {
  if (bk_store_list(w->s, "blobs/sha256", check_blob, w, err) ||
      bk_store_list(w->s, "layers", check_layer, w, err))
    return -1;
  for (int kind = BK_STORE_KEY; kind <= BK_STORE_REMOTE; kind++)
    if (bk_store_record_files(w->s, kind, check_record, w, err)) return -1;
  return 0;
}

static int check_tmp(void *ud, const char *name, struct bk_err *err) {
  struct check *w = ud;
  cleanup_free char *lock = bk_asprintf("tmp/%s/lock", name);
  (void)err;
  if (faccessat(w->s->fd, lock, F_OK, AT_SYMLINK_NOFOLLOW) && w->f)
    w->f(w->ud, "tmp", name, "left by a dead process and cannot be removed");
  return 0;
}

int bk_store_check(struct bk_store *s, bool repair,
                   void (*f)(void *ud, const char *area, const char *name, const char *problem),
                   void *ud, struct bk_err *err) {
  struct check w = {.s = s, .repair = repair, .since = INT64_MIN, .f = f, .ud = ud};
  struct bk_err ignored;
  unsigned swept;
  if (check_all(&w, err)) return -1;
  (void)!bk_store_sweep(s, &swept, &ignored);
  return bk_store_list(s, "tmp", check_tmp, &w, err);
}

/* --- after a reboot -------------------------------------------------------------------------- */

/* Seconds after which the kernel has written everything back (dirty_expire_centisecs is 30 s, the
 * flusher wakes every 5 s), with room to spare. */
#define WRITEBACK 120

/* Nothing is fsynced while building, so a power failure may have emptied or cut what was renamed
 * just before it. Only the last minutes of the earlier boot can be affected: blobs of that time are
 * hashed, layers counted, records parsed; what is broken goes. */
int bk_store_recover_boot(struct bk_store *s, struct bk_err *err) {
  struct check w = {.s = s, .repair = true, .since = INT64_MAX, .newest = INT64_MIN};
  if (check_all(&w, err)) return -1;
  if (w.newest == INT64_MIN) return 0;
  w.since = w.newest - WRITEBACK;
  return check_all(&w, err);
}
