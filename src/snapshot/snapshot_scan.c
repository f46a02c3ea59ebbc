#include "snapshot/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "archive/pack.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/ids.h"
#include "base/mem.h"
#include "snapshot/statcache.h"

#define THREADS 4
#define WORTH_BYTES (4 << 20) /* a second thread pays from here on */
#define WORTH_FILES 500
#define WORTH_DIRS 8 /* in the root: from here on a second thread looks through half of them */

struct item {
  const char *rel;   /* below the root; "" for a file that is the root */
  const char *cache; /* name in the stat cache */
  struct stat st;
  int layer_fd;
  const char *dir, *name; /* to open it by */
  const char *link;       /* symlink's target, or first path of a hard link */
  bool hard, pending;
  struct bk_file_digest digest;
};

struct scan {
  const struct bk_scan_opts *opts;
  struct bk_scan_result *out;
  struct bk_statcache *cache;
  struct bk_arena arena;
  struct bk_buf name; /* for cache_name */
  struct item **items;
  size_t n;
  size_t *first;       /* per root: index of its first item; one more at the end */
  struct bk_map links; /* (layer, dev, ino) of files with several names -> first struct item */
  size_t pending;
  uint64_t pending_bytes;
  struct part *parts; /* what other threads have collected; its items are among ours */
  size_t nparts;
  bool links_later; /* a part cannot tell which name of a file is the first */
  /* Shared by the hashing threads. */
  _Atomic size_t next;
  atomic_bool failed;
  pthread_mutex_t mutex;
  struct bk_err err;
};

/* --- collecting ------------------------------------------------------------------------------ */

static const char *keep(struct scan *s, const char *text) {
  return bk_arena_strndup(&s->arena, text, strlen(text));
}

/* A context has one layer whose place does not matter; layers are told apart by their directory. */
static const char *cache_name(struct scan *s, const struct bk_found *f, const char *dir) {
  const struct bk_selection *sel = &s->opts->sel;
  const char *layer = s->opts->owners ? bk_view_layer_path(sel->view, f->ent->layer) : "";
  const char *parts[] = {layer, "/", dir, *dir ? "/" : "", f->name};
  bk_buf_reset(&s->name);
  for (size_t i = 0; i < BK_ARRAY_LEN(parts); i++) bk_buf_adds(&s->name, parts[i]);
  return bk_arena_strndup(&s->arena, s->name.p, s->name.len);
}

static bool second_link(struct scan *s, struct item *it, int layer) {
  if (!S_ISREG(it->st.st_mode) || it->st.st_nlink < 2) return false;
  uint64_t id[3] = {(uint64_t)layer, it->st.st_dev, it->st.st_ino};
  struct item *first = bk_map_get(&s->links, (const char *)id, sizeof id);
  if (!first) {
    bk_map_set(&s->links, (const char *)id, sizeof id, it);
    return false;
  }
  it->hard = true;
  it->link = first->rel;
  return true;
}

static void add_item(struct scan *s, struct item *it) {
  if ((s->n & (s->n + 1)) == 0)
    s->items = bk_reallocarray(s->items, 2 * s->n + 2, sizeof *s->items);
  s->items[s->n++] = it;
}

static int collect(void *ud, const struct bk_found *f, struct bk_err *err) {
  struct scan *s = ud;
  const struct bk_selection *sel = &s->opts->sel;
  mode_t type = f->ent->st.st_mode & S_IFMT;
  if (type == S_IFDIR && !*f->rel) return 0; /* the root directory itself is not copied */
  struct item *it = bk_arena_alloc(&s->arena, sizeof *it);
  add_item(s, it);
  s->out->entries++;
  it->rel = keep(s, f->rel);
  it->st = f->ent->st;
  if (type != S_IFDIR) s->out->files++;
  if (type == S_IFREG) s->out->bytes += (uint64_t)it->st.st_size;
  if (!s->links_later && second_link(s, it, f->ent->layer)) return 0;
  if (type == S_IFLNK) {
    cleanup_buf struct bk_buf target = {0};
    if (bk_view_readlink(sel->view, f->dir, f->name, f->ent, &target, err)) return -1;
    it->link = keep(s, bk_buf_str(&target));
    return 0;
  }
  if (type != S_IFREG && type != S_IFDIR) return 0;
  it->dir = f->dir ? bk_view_dir_path(f->dir) : "";
  it->name = keep(s, f->name);
  it->layer_fd = bk_view_layer_fd(sel->view, f->ent->layer);
  it->cache = cache_name(s, f, it->dir);
  it->pending = !bk_statcache_get(s->cache, it->cache, &it->st, &it->digest);
  if (it->pending) {
    s->pending++;
    s->pending_bytes += type == S_IFREG ? (uint64_t)it->st.st_size : 0;
  }
  return 0;
}

/* --- collecting with several threads ----------------------------------------------------------- */

/* Another thread's share of a root: with a view and memory of its own, which live as long as the scan. */
struct part {
  struct scan scan;
  struct bk_scan_result counts;
  struct bk_view *view;
  struct bk_roots roots;
  size_t root, index, of;
  pthread_t thread;
  bool started;
  int rc;
  struct bk_err err;
};

static int collect_part(struct part *p) {
  const struct bk_scan_opts *o = p->scan.opts;
  const char *const layer[] = {bk_view_layer_path(o->sel.view, 0)};
  if (bk_view_open(layer, 1, BK_VIEW_PLAIN, &p->view, &p->err)) return -1;
  bk_view_limit(p->view, bk_view_limits(o->sel.view));
  struct bk_selection sel = o->sel;
  sel.view = p->view;
  if (bk_select(&sel, o->sources, o->n, &p->roots, &p->err)) return -1;
  if (p->root >= p->roots.n || !p->roots.v[p->root].ent.dir)
    return bk_fail(&p->err, BK_BUILD, "snapshot.changed", "the sources changed while they were looked at");
  struct bk_scan_opts mine = *o;
  mine.sel = sel;
  p->scan.opts = &mine;
  struct bk_visitor visitor = {.visit = collect, .ud = &p->scan, .part = p->index, .parts = p->of};
  int rc = bk_walk(&sel, &p->roots.v[p->root], &visitor, &p->err);
  p->scan.opts = o;
  return rc;
}

static void *part_thread(void *arg) {
  struct part *p = arg;
  p->rc = collect_part(p);
  return NULL;
}

/* How many threads are to look through a root: it has directories enough, and they are plain ones. */
static size_t worth_parts(struct scan *s, const struct bk_root *root, struct bk_err *err) {
  cpu_set_t cpus;
  size_t max = sched_getaffinity(0, sizeof cpus, &cpus) ? 1 : (size_t)CPU_COUNT(&cpus), dirs = 0;
  if (max < 2 || s->opts->owners || !root->ent.dir || root->hidden_by >= 0) return 1;
  cleanup_view_list struct bk_view_list list = {0};
  if (bk_view_readdir(s->opts->sel.view, root->ent.dir, &list, err)) return 0;
  for (size_t i = 0; i < list.n; i++) dirs += list.items[i].ent.dir != NULL;
  size_t parts = dirs / (WORTH_DIRS / 2);
  if (parts > THREADS) parts = THREADS;
  if (parts > max) parts = max;
  return parts < 2 ? 1 : parts;
}

static void take_part(struct scan *s, struct part *p) {
  for (size_t i = 0; i < p->scan.n; i++) add_item(s, p->scan.items[i]);
  s->out->entries += p->counts.entries;
  s->out->files += p->counts.files;
  s->out->bytes += p->counts.bytes;
  s->pending += p->scan.pending;
  s->pending_bytes += p->scan.pending_bytes;
}

/* Further names of files, now that all items are in order. */
static void find_links(struct scan *s, size_t from) {
  for (size_t i = from; i < s->n; i++) {
    struct item *it = s->items[i];
    if (!second_link(s, it, 0) || !it->pending) continue;
    it->pending = false;
    s->pending--;
    s->pending_bytes -= (uint64_t)it->st.st_size;
  }
}

static int collect_root(struct scan *s, size_t root, struct bk_err *err) {
  size_t from = s->n, of = worth_parts(s, &s->out->roots.v[root], err);
  if (of == 0) return -1;
  struct bk_visitor visitor = {.visit = collect, .ud = s, .parts = of};
  struct part *parts = of > 1 ? bk_calloc(of - 1, sizeof *parts) : NULL;
  for (size_t i = 0; i + 1 < of; i++) {
    struct part *p = &parts[i];
    *p = (struct part){.root = root, .index = i + 1, .of = of};
    p->scan = (struct scan){.opts = s->opts, .out = &p->counts, .cache = s->cache, .links_later = true};
    p->started = pthread_create(&p->thread, NULL, part_thread, p) == 0;
  }
  s->links_later = of > 1;
  int rc = bk_walk(&s->opts->sel, &s->out->roots.v[root], &visitor, err);
  for (size_t i = 0; i + 1 < of; i++) {
    struct part *p = &parts[i];
    if (p->started) pthread_join(p->thread, NULL);
    else if (rc == 0) part_thread(p);
    if (rc == 0 && p->rc) {
      *err = p->err;
      rc = -1;
    }
    if (rc == 0) take_part(s, p);
    if (rc == 0) rc = bk_limits_entry(bk_view_limits(s->opts->sel.view), s->out->entries, "what is copied", err);
  }
  if (rc == 0 && of > 1) find_links(s, from);
  s->links_later = false;
  if (parts) {
    s->parts = bk_reallocarray(s->parts, s->nparts + of - 1, sizeof *s->parts);
    for (size_t i = 0; i + 1 < of; i++) s->parts[s->nparts++] = parts[i];
    free(parts);
  }
  return rc;
}

static void free_parts(struct scan *s) {
  for (size_t i = 0; i < s->nparts; i++) {
    struct part *p = &s->parts[i];
    bk_roots_free(&p->roots);
    bk_view_close(p->view);
    bk_map_free(&p->scan.links);
    bk_arena_free(&p->scan.arena);
    bk_buf_free(&p->scan.name);
    free(p->scan.items);
  }
  free(s->parts);
}

/* --- hashing --------------------------------------------------------------------------------- */

static int hash_xattrs(int fd, unsigned char out[32]) {
  struct bk_xattrs x = {0};
  memset(out, 0, 32);
  if (bk_xattrs_read(fd, &x)) return -1;
  if (x.n) {
    struct bk_digest d;
    unsigned char raw[64];
    bk_digest_init(&d, BK_SHA256);
    for (size_t i = 0; i < x.n; i++) {
      char len[24];
      int n = snprintf(len, sizeof len, "%zu:", x.v[i].len);
      bk_digest_update(&d, x.v[i].name, strlen(x.v[i].name) + 1);
      bk_digest_update(&d, len, (size_t)n);
      bk_digest_update(&d, x.v[i].value, x.v[i].len);
    }
    bk_digest_raw(&d, raw);
    memcpy(out, raw, 32);
  }
  bk_xattrs_free(&x);
  return 0;
}

static int hash_content(struct scan *s, int fd, char *buf, size_t size, unsigned char out[32]) {
  struct bk_digest d;
  unsigned char raw[64];
  bk_digest_init(&d, BK_SHA256);
  for (;;) {
    ssize_t n = read(fd, buf, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 || atomic_load(&s->failed)) {
      bk_digest_free(&d);
      return -1;
    }
    if (n == 0) break;
    bk_digest_update(&d, buf, (size_t)n);
  }
  bk_digest_raw(&d, raw);
  memcpy(out, raw, 32);
  return 0;
}

static bool unchanged(const struct stat *a, const struct stat *b) {
  return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
         a->st_mode == b->st_mode && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
         a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
         a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Reads one file; the digest belongs to it->st exactly, or the call fails. */
static int hash_item(struct scan *s, struct item *it, char *buf, size_t size, struct bk_err *err) {
  bool dir = S_ISDIR(it->st.st_mode);
  for (int attempt = 0; attempt < 3; attempt++) {
    struct stat before, after;
    cleanup_close int fd =
        bk_open_below(it->layer_fd, it->dir, it->name, O_RDONLY | (dir ? O_DIRECTORY : 0));
    if (fd < 0 && (errno == ENOENT || errno == ELOOP || errno == ENOTDIR)) break;
    if (fd < 0 || bk_fstat(fd, &before)) return bk_fail_errno(err, errno, "open '%s'", it->cache);
    if ((before.st_mode & S_IFMT) != (it->st.st_mode & S_IFMT)) break;
    if ((!dir && hash_content(s, fd, buf, size, it->digest.content)) ||
        hash_xattrs(fd, it->digest.xattrs) || bk_fstat(fd, &after))
      return bk_fail_errno(err, errno, "read '%s'", it->cache);
    if (dir || unchanged(&before, &after)) {
      it->st = before;
      return 0;
    }
  }
  return bk_fail(err, BK_BUILD, "snapshot.changed", "'%s' changed while it was read", it->cache);
}

static void *hash_thread(void *arg) {
  struct scan *s = arg;
  size_t size = 1 << 18;
  char *buf = bk_malloc(size);
  const atomic_bool *cancel = s->opts->sel.cancel;
  for (size_t i; !atomic_load(&s->failed) && (i = s->next++) < s->n;) {
    struct bk_err err;
    if (!s->items[i]->pending) continue;
    int rc = cancel && atomic_load(cancel) ? bk_fail(&err, BK_BUILD, "cancelled", "cancelled")
                                           : hash_item(s, s->items[i], buf, size, &err);
    if (rc == 0) continue;
    pthread_mutex_lock(&s->mutex);
    if (!atomic_exchange(&s->failed, true)) s->err = err;
    pthread_mutex_unlock(&s->mutex);
  }
  free(buf);
  return NULL;
}

static int hash_all(struct scan *s, struct bk_err *err) {
  pthread_t threads[THREADS];
  size_t n = 0;
  cpu_set_t cpus;
  size_t max = sched_getaffinity(0, sizeof cpus, &cpus) ? 1 : (size_t)CPU_COUNT(&cpus);
  if (!s->pending) return 0;
  if (max > THREADS) max = THREADS;
  if (s->pending_bytes < WORTH_BYTES && s->pending < WORTH_FILES) max = 1;
  pthread_mutex_init(&s->mutex, NULL);
  while (n + 1 < max && pthread_create(&threads[n], NULL, hash_thread, s) == 0) n++;
  hash_thread(s);
  while (n) pthread_join(threads[--n], NULL);
  pthread_mutex_destroy(&s->mutex);
  if (!atomic_load(&s->failed)) return 0;
  *err = s->err;
  return -1;
}

/* --- the digest ------------------------------------------------------------------------------ */

static void put_u32(struct bk_buf *b, uint32_t v) {
  char le[4] = {(char)v, (char)(v >> 8), (char)(v >> 16), (char)(v >> 24)};
  bk_buf_add(b, le, sizeof le);
}

static void put_u64(struct bk_buf *b, uint64_t v) {
  put_u32(b, (uint32_t)v);
  put_u32(b, (uint32_t)(v >> 32));
}

static void put_text(struct bk_buf *b, const char *text) {
  size_t n = strlen(text);
  put_u32(b, (uint32_t)n);
  bk_buf_add(b, text, n);
}

static char type_letter(const struct item *it) {
  if (it->hard) return 'h';
  switch (it->st.st_mode & S_IFMT) {
    case S_IFREG: return 'f';
    case S_IFDIR: return 'd';
    case S_IFLNK: return 'l';
    case S_IFCHR: return 'c';
    case S_IFBLK: return 'b';
    case S_IFIFO: return 'p';
    default: return 's';
  }
}

static void put_item(struct scan *s, struct bk_buf *b, const struct item *it) {
  char type = type_letter(it);
  bk_buf_addc(b, type);
  put_text(b, it->rel);
  if (type == 'h') {
    put_text(b, it->link);
    return;
  }
  put_u32(b, type == 'l' ? 0777 : it->st.st_mode & 07777);
  put_u32(b, s->opts->owners ? it->st.st_uid : 0);
  put_u32(b, s->opts->owners ? it->st.st_gid : 0);
  if (type == 'f') {
    put_u64(b, (uint64_t)it->st.st_size);
    bk_buf_add(b, it->digest.content, 32);
  }
  if (type == 'f' || type == 'd') bk_buf_add(b, it->digest.xattrs, 32);
  if (type == 'l') put_text(b, it->link);
  if (type == 'c' || type == 'b') put_u64(b, it->st.st_rdev);
}

static void make_digest(struct scan *s) {
  struct bk_digest d;
  struct bk_buf b = {0};
  bk_digest_init(&d, BK_SHA256);
  bk_buf_adds(&b, "bakery-scan 1\n");
  for (size_t r = 0; r < s->out->roots.n; r++) {
    bool dir = s->out->roots.v[r].ent.dir != NULL;
    bk_buf_addc(&b, dir ? 'D' : 'F');
    if (!dir) put_text(&b, s->out->roots.v[r].name);
    for (size_t i = s->first[r]; i < s->first[r + 1]; i++) {
      put_item(s, &b, s->items[i]);
      if (b.len < 65536) continue;
      bk_digest_update(&d, b.p, b.len);
      bk_buf_reset(&b);
    }
    if (dir) bk_buf_addc(&b, 'E');
  }
  bk_digest_update(&d, bk_buf_str(&b), b.len);
  bk_buf_free(&b);
  bk_hash_text(&d, s->out->digest);
}

static void remember(struct scan *s) {
  struct bk_err ignored;
  for (size_t i = 0; i < s->n; i++) {
    struct item *it = s->items[i];
    if (it->pending) bk_statcache_put(s->cache, it->cache, &it->st, &it->digest);
  }
  (void)!bk_statcache_save(s->cache, &ignored); /* only costs time later */
}

static int run(struct scan *s, struct bk_err *err) {
  const struct bk_scan_opts *o = s->opts;
  if (bk_select(&o->sel, o->sources, o->n, &s->out->roots, err)) return -1;
  s->first = bk_calloc(s->out->roots.n + 1, sizeof *s->first);
  for (size_t i = 0; i < s->out->roots.n; i++) {
    s->first[i] = s->n;
    bk_map_free(&s->links);
    if (collect_root(s, i, err)) return -1;
  }
  s->first[s->out->roots.n] = s->n;
  if (hash_all(s, err)) return -1;
  make_digest(s);
  remember(s);
  return 0;
}

int bk_snapshot_scan(const struct bk_scan_opts *opts, struct bk_scan_result *out,
                     struct bk_err *err) {
  struct scan s = {.opts = opts, .out = out};
  *out = (struct bk_scan_result){0};
  s.cache = bk_statcache_load(opts->cache);
  int rc = run(&s, err);
  if (rc) bk_roots_free(&out->roots);
  free_parts(&s);
  bk_statcache_free(s.cache);
  bk_map_free(&s.links);
  bk_arena_free(&s.arena);
  bk_buf_free(&s.name);
  free(s.items);
  free(s.first);
  return rc;
}
