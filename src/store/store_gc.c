/* Garbage collection. Every "sha256:…" that a record, a layer's meta.json or a small JSON blob
 * mentions is a reference; that is conservative and needs to know no document's shape. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/mem.h"
#include "store/store_int.h"

#define PINNED INT64_MAX
#define JSON_MAX (4 << 20)        /* larger blobs are layers, not documents */
#define FILE_AGE (30 * 24 * 3600) /* logs and stat caches */

enum { BLOBS, LAYERS, KEYS, REFS, REMOTE, CACHES, TMP, LOGS, STATS };

struct object {
  int area;
  char *path; /* owned */
  const char *hex;
  uint64_t bytes;
  int64_t stamp, score; /* own last change; last use by whoever refers to it */
  bool seen, gone;
  struct object *twin; /* the layer of the same digest as a blob */
};

struct record {
  int area;
  char *path;
  int64_t stamp;
  char (*hex)[65]; /* what it mentions */
  size_t n;
  bool gone;
};

struct gc {
  struct bk_store *s;
  struct bk_store_gc *opt;
  int64_t now;
  struct bk_map by_hex; /* hex -> struct object */
  struct object **objects;
  size_t n_objects;
  struct record *records;
  size_t n_records;
  int area; /* what is being listed */
  const char *folder;
};

static int64_t age(const struct gc *g, int64_t stamp) { return g->now - stamp; }

/* --- reading --------------------------------------------------------------------------------- */

static struct object *add_object(struct gc *g, int area, char *path, uint64_t bytes,
                                 int64_t stamp) {
  struct object *o = bk_calloc(1, sizeof *o);
  *o = (struct object){.area = area, .path = path, .bytes = bytes, .stamp = stamp, .score = stamp};
  if ((g->n_objects & (g->n_objects + 1)) == 0)
    g->objects = bk_reallocarray(g->objects, 2 * g->n_objects + 2, sizeof *g->objects);
  g->objects[g->n_objects++] = o;
  return o;
}

static int read_object(void *ud, const char *name, struct bk_err *err) {
  struct gc *g = ud;
  struct stat st;
  struct bk_tree_size size;
  cleanup_free char *path = bk_asprintf("%s/%s", g->folder, name);
  if (fstatat(g->s->fd, path, &st, AT_SYMLINK_NOFOLLOW)) return 0;
  if (g->area == BLOBS) size.bytes = (uint64_t)st.st_size;
  else if (g->area != LAYERS || !bk_store_layer_size(g->s, name, &size))
    if (bk_store_measure(g->s->fd, path, &size, err)) return -1;
  struct object *o = add_object(g, g->area, bk_steal_ptr(&path), size.bytes, st.st_mtime);
  if (g->area > LAYERS || strlen(name) != 64) return 0;
  o->hex = strrchr(o->path, '/') + 1;
  o->twin = bk_map_set(&g->by_hex, name, 64, o);
  return 0;
}

static int read_cache_level(void *ud, const char *name, struct bk_err *err) {
  struct gc *g = ud;
  const char *above = g->folder;
  cleanup_free char *path = bk_asprintf("%s/%s", above, name);
  g->folder = path;
  int depth = 0;
  for (const char *p = path; *p; p++) depth += *p == '/';
  int rc = bk_store_list(g->s, path, depth == 1 ? read_cache_level : read_object, g, err);
  g->folder = above;
  return rc;
}

static size_t find_digests(const char *text, size_t n, char (**out)[65]) {
  size_t found = 0, cap = 0;
  const char *end = text + n;
  *out = NULL;
  for (const char *p = text; (p = memmem(p, (size_t)(end - p), "sha256:", 7)); p += 7) {
    char digest[72], hex[65];
    if (end - p < 71) break;
    memcpy(digest, p, 71);
    digest[71] = '\0';
    if (!bk_store_hex_of(digest, hex)) continue;
    if (found == cap) *out = bk_reallocarray(*out, cap = cap ? 2 * cap : 8, sizeof **out);
    memcpy((*out)[found++], hex, 65);
  }
  return found;
}

static int read_record(void *ud, const char *path, struct bk_err *err) {
  struct gc *g = ud;
  cleanup_buf struct bk_buf text = {0};
  struct record r = {.area = g->area, .path = NULL};
  int rc = bk_store_read_record(g->s, path, NULL, &text, &r.stamp, err);
  if (rc < 0) return -1;
  if (rc == 0) r.gone = true; /* unsound */
  else r.n = find_digests(bk_buf_str(&text), text.len, &r.hex);
  r.path = bk_strdup(path);
  if ((g->n_records & (g->n_records + 1)) == 0)
    g->records = bk_reallocarray(g->records, 2 * g->n_records + 2, sizeof *g->records);
  g->records[g->n_records++] = r;
  return 0;
}

static int read_all(struct gc *g, struct bk_err *err) {
  static const struct {
    int area;
    const char *folder;
    int (*f)(void *ud, const char *name, struct bk_err *err);
  } places[] = {{BLOBS, "blobs/sha256", read_object},
                {LAYERS, "layers", read_object},
                {CACHES, "cachemounts", read_cache_level},
                {LOGS, "log", read_object},
                {STATS, "statcache", read_object}};
  for (size_t i = 0; i < BK_ARRAY_LEN(places); i++) {
    g->area = places[i].area;
    g->folder = places[i].folder;
    if (bk_store_list(g->s, g->folder, places[i].f, g, err)) return -1;
  }
  for (int kind = BK_STORE_KEY; kind <= BK_STORE_REMOTE; kind++) {
    g->area = KEYS + kind;
    if (bk_store_record_files(g->s, kind, read_record, g, err)) return -1;
  }
  return 0;
}

/* --- marking --------------------------------------------------------------------------------- */

/* Text of an object in which digests count; empty for everything else. */
static int object_text(struct gc *g, const struct object *o, struct bk_buf *out,
                       struct bk_err *err) {
  if (o->area == BLOBS && o->bytes > JSON_MAX) return 0;
  cleanup_free char *path = bk_asprintf(o->area == BLOBS ? "%s" : "%s/meta.json", o->path);
  if (bk_read_file(g->s->fd, path, out, err) && strcmp(err->code, "ENOENT") != 0) return -1;
  if (o->area == BLOBS && bk_buf_str(out)[0] != '{') bk_buf_reset(out);
  return 0;
}

/* Marks everything reachable from hex; the caller goes from the highest score to the lowest, so the
 * first visit decides. An explicit stack: documents of hostile images may form long chains. */
static int mark(struct gc *g, const char *hex, int64_t score, struct bk_err *err) {
  char (*stack)[65] = bk_malloc(sizeof *stack);
  size_t n = 1, cap = 1;
  int rc = 0;
  memcpy(stack[0], hex, 65);
  while (n && rc == 0) {
    struct object *o = bk_map_get(&g->by_hex, stack[--n], 64);
    for (; o && rc == 0; o = o->twin) {
      if (o->seen) continue;
      o->seen = true;
      if (score > o->score) o->score = score;
      cleanup_buf struct bk_buf text = {0};
      if ((rc = object_text(g, o, &text, err))) break;
      char (*more)[65];
      size_t m = find_digests(bk_buf_str(&text), text.len, &more);
      if (n + m > cap) stack = bk_reallocarray(stack, cap = 2 * (n + m), sizeof *stack);
      if (m) memcpy(stack + n, more, m * sizeof *more);
      n += m;
      free(more);
    }
  }
  free(stack);
  return rc;
}

static int by_stamp_desc(const void *a, const void *b) {
  const struct record *x = a, *y = b;
  bool rx = x->area == REFS, ry = y->area == REFS;
  if (rx != ry) return ry - rx;
  if (x->stamp != y->stamp) return x->stamp < y->stamp ? 1 : -1;
  return strcmp(x->path, y->path);
}

static int mark_all(struct gc *g, struct bk_err *err) {
  char hex[65];
  for (const char *const *k = g->opt->keep; k && *k; k++)
    if (bk_store_hex_of(*k, hex) && mark(g, hex, PINNED, err)) return -1;
  if (g->n_records) qsort(g->records, g->n_records, sizeof *g->records, by_stamp_desc);
  for (size_t i = 0; i < g->n_records; i++) {
    struct record *r = &g->records[i];
    double limit = r->area == REFS ? g->opt->ref_age : g->opt->max_age;
    if (limit >= 0 && (double)age(g, r->stamp) >= limit) r->gone = true;
    if (r->gone) continue;
    for (size_t j = 0; j < r->n; j++)
      if (mark(g, r->hex[j], r->area == REFS ? PINNED : r->stamp, err)) return -1;
  }
  return 0;
}

/* --- choosing -------------------------------------------------------------------------------- */

static bool is_garbage(const struct gc *g, const struct object *o) {
  if (o->area == LOGS || o->area == STATS) return age(g, o->stamp) > FILE_AGE;
  if (o->area == CACHES)
    return g->opt->max_age >= 0 && (double)age(g, o->stamp) >= g->opt->max_age;
  return !o->seen && (double)age(g, o->stamp) >= g->opt->grace;
}

static int by_score(const void *a, const void *b) {
  const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
  if (x->score != y->score) return x->score < y->score ? -1 : 1;
  if (x->area != y->area) return x->area < y->area ? 1 : -1; /* directories before blobs */
  return strcmp(x->path, y->path);
}

static void choose(struct gc *g) {
  uint64_t total = 0;
  for (size_t i = 0; i < g->n_objects; i++) {
    g->objects[i]->gone = is_garbage(g, g->objects[i]);
    if (!g->objects[i]->gone) total += g->objects[i]->bytes;
  }
  if (g->n_objects) qsort(g->objects, g->n_objects, sizeof *g->objects, by_score);
  for (size_t i = 0; i < g->n_objects && g->opt->max_bytes >= 0; i++) {
    struct object *o = g->objects[i];
    if (total <= (uint64_t)g->opt->max_bytes || o->score == PINNED) break;
    if (o->gone) continue;
    o->gone = true;
    total -= o->bytes;
  }
  /* A key whose result is gone is worth nothing; refs pin what they name. */
  for (size_t i = 0; i < g->n_records; i++) {
    struct record *r = &g->records[i];
    for (size_t j = 0; j < r->n && r->area != REFS; j++)
      for (struct object *o = bk_map_get(&g->by_hex, r->hex[j], 64); o; o = o->twin)
        r->gone |= o->gone;
  }
}

/* --- removing -------------------------------------------------------------------------------- */

static void tally(struct bk_store_usage *u, int area, uint64_t bytes) {
  u->area[area].count++;
  u->area[area].bytes += bytes;
  u->bytes += bytes;
}

/* Records first: a crash in between leaves objects without a record, never the other way round. */
static int remove_chosen(struct gc *g, struct bk_err *err) {
  struct bk_store_gc *opt = g->opt;
  for (size_t i = 0; i < g->n_records; i++) {
    struct record *r = &g->records[i];
    struct stat st;
    if (fstatat(g->s->fd, r->path, &st, AT_SYMLINK_NOFOLLOW)) continue;
    tally(r->gone ? &opt->removed : &opt->kept, r->area, (uint64_t)st.st_size);
    if (r->gone && !opt->dry_run && unlinkat(g->s->fd, r->path, 0) && errno != ENOENT)
      return bk_fail_errno(err, errno, "remove '%s/%s'", g->s->dir, r->path);
  }
  for (size_t i = 0; i < g->n_objects; i++) {
    struct object *o = g->objects[i];
    if (o->gone && !opt->dry_run && bk_store_discard(g->s, o->path, err))
      return bk_err_wrap(err, "collect garbage");
    tally(o->gone ? &opt->removed : &opt->kept, o->area, o->bytes);
  }
  return 0;
}

static int remove_lock(void *ud, const char *name, struct bk_err *err) {
  struct gc *g = ud;
  (void)err;
  if (strncmp(name, "n-", 2) != 0) return 0;
  cleanup_free char *path = bk_asprintf("locks/%s", name);
  (void)!unlinkat(g->s->fd, path, 0); /* nobody can hold one: the store is ours alone */
  return 0;
}

static void gc_free(struct gc *g) {
  for (size_t i = 0; i < g->n_objects; i++) {
    free(g->objects[i]->path);
    free(g->objects[i]);
  }
  for (size_t i = 0; i < g->n_records; i++) {
    free(g->records[i].path);
    free(g->records[i].hex);
  }
  free(g->objects);
  free(g->records);
  bk_map_free(&g->by_hex);
}

static int collect(struct bk_store *s, struct bk_store_gc *opt, struct bk_err *err) {
  struct gc g = {.s = s, .opt = opt, .now = time(NULL)};
  unsigned swept = 0;
  struct bk_err ignored;
  int rc = -1;
  if (!opt->dry_run) (void)!bk_store_sweep(s, &swept, &ignored);
  if (read_all(&g, err) == 0 && mark_all(&g, err) == 0) {
    choose(&g);
    rc = remove_chosen(&g, err);
    if (rc == 0 && !opt->dry_run) rc = bk_store_list(s, "locks", remove_lock, &g, err);
  }
  opt->removed.area[TMP].count += swept;
  gc_free(&g);
  return rc;
}

/* The shared lock is turned into an exclusive one and back. flock(2) does not do that atomically,
 * which is fine: we hold nothing of the store at that moment. */
int bk_store_collect(struct bk_store *s, struct bk_store_gc *opt, struct bk_err *err) {
  opt->removed = opt->kept = (struct bk_store_usage){0};
  bool used = atomic_load(&s->held) || atomic_load(&s->refs) > opt->own_refs;
  int got = used ? 0 : bk_store_flock(s->lockfd, LOCK_EX | LOCK_NB, "the store", err);
  int rc = got < 0 ? -1 : 0;
  struct bk_err back;
  if (got == 0) {
    bk_fail(err, BK_INFRA, "store.busy",
            "collect garbage in '%s': a build is using the store; try again when it has ended",
            s->dir);
    err->retryable = true;
    rc = -1;
  }
  if (got == 1) rc = collect(s, opt, err);
  if (bk_store_flock(s->lockfd, LOCK_SH, "the store", &back) < 0 && rc == 0) {
    *err = back;
    rc = -1;
  }
  return rc;
}
