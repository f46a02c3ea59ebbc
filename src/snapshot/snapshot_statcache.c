#include "snapshot/statcache.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/mem.h"

#define MAGIC "bkstat1\n"
#define MAX_AGE 20
#define TICK_NS 10000000 /* the coarsest clock file systems stamp with: 100 Hz */

/* As it stands in the file, in the machine's byte order, followed by the path. */
struct entry {
  uint64_t dev, ino, size;
  int64_t mtime, ctime; /* nanoseconds */
  uint32_t mode;
  uint16_t age, path_len;
  struct bk_file_digest digest;
};

struct bk_statcache {
  char *file;
  struct bk_buf bytes;   /* the file; entries are copied out of it */
  struct bk_map entries; /* path -> struct entry in the arena */
  struct bk_arena arena;
  int64_t start;
  bool dirty;
};

static int64_t ns(const struct timespec *t) { return t->tv_sec * 1000000000 + t->tv_nsec; }

static void parse(struct bk_statcache *c) {
  const char *p = c->bytes.p, *end = p + c->bytes.len;
  if (c->bytes.len < 8 || memcmp(p, MAGIC, 8) != 0) return;
  for (p += 8; (size_t)(end - p) >= sizeof(struct entry);) {
    struct entry *e = bk_arena_alloc(&c->arena, sizeof *e);
    memcpy(e, p, sizeof *e);
    p += sizeof *e;
    if ((size_t)(end - p) < e->path_len) return;
    bk_map_set(&c->entries, p, e->path_len, e);
    p += e->path_len;
  }
}

struct bk_statcache *bk_statcache_load(const char *file) {
  struct bk_statcache *c = bk_calloc(1, sizeof *c);
  struct timespec now;
  struct bk_err ignored;
  clock_gettime(CLOCK_REALTIME, &now);
  c->start = ns(&now);
  if (!file) return c;
  c->file = bk_strdup(file);
  if (bk_read_file(AT_FDCWD, file, &c->bytes, &ignored) == 0 && c->bytes.len) parse(c);
  bk_buf_free(&c->bytes);
  return c;
}

void bk_statcache_free(struct bk_statcache *c) {
  if (!c) return;
  bk_map_free(&c->entries);
  bk_arena_free(&c->arena);
  free(c->file);
  free(c);
}

static bool same(const struct entry *e, const struct stat *st) {
  return e->dev == st->st_dev && e->ino == st->st_ino && e->size == (uint64_t)st->st_size &&
         e->mtime == ns(&st->st_mtim) && e->ctime == ns(&st->st_ctim) && e->mode == st->st_mode;
}

bool bk_statcache_get(struct bk_statcache *c, const char *path, const struct stat *st,
                      struct bk_file_digest *out) {
  struct entry *e = bk_map_get(&c->entries, path, strlen(path));
  if (!e || !same(e, st)) return false;
  e->age = 0;
  *out = e->digest;
  return true;
}

void bk_statcache_put(struct bk_statcache *c, const char *path, const struct stat *st,
                      const struct bk_file_digest *digest) {
  size_t len = strlen(path);
  int64_t mtime = ns(&st->st_mtim), ctime = ns(&st->st_ctim);
  int64_t newest = mtime > ctime ? mtime : ctime;
  if (!c->file || len > UINT16_MAX || newest >= c->start - 2 * TICK_NS) return;
  struct entry *e = bk_arena_alloc(&c->arena, sizeof *e);
  *e = (struct entry){.dev = st->st_dev,
                      .ino = st->st_ino,
                      .size = (uint64_t)st->st_size,
                      .mtime = mtime,
                      .ctime = ctime,
                      .mode = st->st_mode,
                      .path_len = (uint16_t)len,
                      .digest = *digest};
  bk_map_set(&c->entries, path, len, e);
  c->dirty = true;
}

int bk_statcache_save(struct bk_statcache *c, struct bk_err *err) {
  if (!c->file || !c->dirty) return 0;
  cleanup_buf struct bk_buf out = {0};
  bk_buf_adds(&out, MAGIC);
  bk_map_each(item, &c->entries) {
    struct entry e = *(struct entry *)item->value;
    if (e.age++ >= MAX_AGE) continue;
    bk_buf_add(&out, &e, sizeof e);
    bk_buf_add(&out, item->key, item->len);
  }
  return bk_write_file(AT_FDCWD, c->file, out.p, out.len, 0600, false, err);
}
