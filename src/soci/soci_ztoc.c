#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "soci/entries.h"
#include "soci/flat.h"
#include "soci/spans.h"

struct bk_soci {
  char *tool, *tmp_dir;
  struct spans spans;
  struct toc toc;
  bool done;
};

static int on_plain(void *ctx, const char *p, size_t n, struct bk_err *err) {
  return toc_feed(ctx, p, n, err);
}

struct bk_soci *bk_soci_new(const struct bk_soci_opts *o) {
  struct bk_soci *s = bk_calloc(1, sizeof *s);
  s->tool = bk_strdup(o->tool);
  s->tmp_dir = o->tmp_dir ? bk_strdup(o->tmp_dir) : NULL;
  s->spans.o = *o;
  s->spans.o.tool = s->tool;
  s->spans.o.tmp_dir = s->tmp_dir;
  s->spans.plain = on_plain;
  s->spans.ctx = &s->toc;
  s->spans.spill = -1;
  s->toc.meta.max = BK_TAR_PAX_MAX;
  return s;
}

void bk_soci_free(struct bk_soci *s) {
  if (!s) return;
  spans_free(&s->spans);
  toc_free(&s->toc);
  free(s->tool);
  free(s->tmp_dir);
  free(s);
}

void bk_soci_restart(struct bk_soci *s) {
  spans_restart(&s->spans);
  toc_free(&s->toc);
  s->toc.meta.max = BK_TAR_PAX_MAX;
  s->done = false;
}

int bk_soci_write(struct bk_soci *s, const void *p, size_t n, struct bk_err *err) {
  if (s->done) return bk_fail(err, BK_USAGE, "soci.done", "the zTOC has been written");
  return spans_feed(&s->spans, p, n, err);
}

/* --- the document ---------------------------------------------------------------------------- */

enum { F_NAME, F_TYPE, F_OFFSET, F_SIZE, F_LINK, F_MODE, F_UID, F_GID, F_UNAME, F_GNAME, F_TIME,
       F_MAJOR, F_MINOR, F_XATTRS };
enum { C_ALGORITHM, C_MAX_SPAN, C_DIGESTS, C_CHECKPOINTS };
enum { Z_VERSION, Z_TOOL, Z_SIZE, Z_TAR_SIZE, Z_TOC, Z_COMPRESSION };

static uint32_t put_records(struct flat *f, const struct toc_entry *e) {
  uint32_t *list = bk_reallocarray(NULL, e->n_records + 1, sizeof *list);
  for (uint32_t i = 0; i < e->n_records; i++) {
    const struct toc_record *r = &e->records[i];
    uint32_t key = flat_string(f, r->key, r->klen), value = flat_string(f, r->value, r->vlen);
    flat_table(f);
    flat_add_ref(f, 0, key);
    flat_add_ref(f, 1, value);
    list[i] = flat_end(f);
  }
  uint32_t at = flat_offsets(f, list, e->n_records);
  free(list);
  return at;
}

static uint32_t put_entry(struct flat *f, const struct toc_entry *e) {
  char time[40];
  size_t time_len = toc_time(e, time);
  uint32_t name = flat_string(f, e->name, e->name_len);
  uint32_t type = flat_string(f, e->type, strlen(e->type));
  uint32_t link = flat_string(f, e->link, e->link_len);
  uint32_t uname = flat_string(f, e->uname, e->uname_len);
  uint32_t gname = flat_string(f, e->gname, e->gname_len);
  uint32_t mtime = flat_string(f, time, time_len);
  uint32_t xattrs = put_records(f, e);
  flat_table(f);
  flat_add_ref(f, F_NAME, name);
  flat_add_ref(f, F_TYPE, type);
  flat_add_i64(f, F_OFFSET, e->offset);
  flat_add_i64(f, F_SIZE, e->size);
  flat_add_ref(f, F_LINK, link);
  flat_add_i64(f, F_MODE, e->mode);
  flat_add_u32(f, F_UID, e->uid);
  flat_add_u32(f, F_GID, e->gid);
  flat_add_ref(f, F_UNAME, uname);
  flat_add_ref(f, F_GNAME, gname);
  flat_add_ref(f, F_TIME, mtime);
  flat_add_i64(f, F_MAJOR, e->devmajor);
  flat_add_i64(f, F_MINOR, e->devminor);
  flat_add_ref(f, F_XATTRS, xattrs);
  return flat_end(f);
}

static uint32_t put_toc(struct flat *f, const struct toc *t) {
  uint32_t *list = bk_reallocarray(NULL, t->n + 1, sizeof *list);
  for (size_t i = t->n; i-- > 0 && !f->overflow;) list[i] = put_entry(f, &t->list[i]);
  uint32_t at = f->overflow ? 0 : flat_offsets(f, list, t->n);
  free(list);
  flat_table(f);
  flat_add_ref(f, 0, at);
  return flat_end(f);
}

static int collect(void *ctx, const void *p, size_t n, struct bk_err *err) {
  (void)err;
  bk_buf_add(ctx, p, n);
  return 0;
}

/* A plain tar's checkpoints are a small document of their own. */
static uint32_t put_plain_points(struct flat *f, const struct spans *s) {
  struct flat own = {0};
  cleanup_buf struct bk_buf text = {0};
  struct bk_err never;
  flat_table(&own);
  flat_add_u32(&own, 0, 2);
  flat_add_i64(&own, 1, s->o.span_size);
  flat_add_i64(&own, 2, s->out);
  flat_finish(&own, flat_end(&own));
  (void)flat_write(&own, collect, &text, &never);
  flat_free(&own);
  flat_prep(f, 4, (uint32_t)text.len);
  flat_put(f, text.p, text.len);
  flat_u32(f, (uint32_t)text.len);
  return f->off;
}

static uint32_t put_compression(struct flat *f, const struct spans *s) {
  uint32_t points = s->o.plain ? put_plain_points(f, s)
                               : flat_external(f, (uint32_t)(SPANS_HEAD + s->n * SPANS_POINT));
  uint32_t *list = bk_reallocarray(NULL, (size_t)s->ndigests, sizeof *list);
  for (int32_t i = 0; i < s->ndigests; i++) {
    char text[72] = "sha256:";
    for (int k = 0; k < 32; k++) snprintf(text + 7 + 2 * k, 3, "%02x", s->digests[i][k]);
    list[i] = flat_string(f, text, 71);
  }
  uint32_t digests = flat_offsets(f, list, (size_t)s->ndigests);
  free(list);
  flat_table(f);
  flat_add_u32(f, C_MAX_SPAN, (uint32_t)(s->n - 1));
  flat_add_ref(f, C_DIGESTS, digests);
  flat_add_ref(f, C_CHECKPOINTS, points);
  flat_add_u8(f, C_ALGORITHM, s->o.plain ? 2 : 1, 1);
  return flat_end(f);
}

static void put_document(struct flat *f, const struct bk_soci *s) {
  uint32_t version = flat_string(f, "0.9", 3);
  uint32_t tool = flat_string(f, s->tool, strlen(s->tool));
  uint32_t toc = put_toc(f, &s->toc);
  uint32_t compression = put_compression(f, &s->spans);
  flat_table(f);
  flat_add_ref(f, Z_VERSION, version);
  flat_add_ref(f, Z_TOOL, tool);
  flat_add_ref(f, Z_TOC, toc);
  flat_add_i64(f, Z_SIZE, s->spans.in);
  flat_add_i64(f, Z_TAR_SIZE, (int64_t)s->toc.end);
  flat_add_ref(f, Z_COMPRESSION, compression);
  flat_finish(f, flat_end(f));
}

/* --- to a file ------------------------------------------------------------------------------- */

struct output {
  int fd;
  const char *path;
  struct bk_digest hash;
  int64_t size;
  const struct spans *spans;
};

static int emit(struct output *o, const void *p, size_t n, struct bk_err *err) {
  if (bk_write_all(o->fd, p, n)) return bk_fail_errno(err, errno, "write '%s'", o->path);
  bk_digest_update(&o->hash, p, n);
  o->size += (int64_t)n;
  return 0;
}

/* The checkpoints' header and what waits in the temporary file. */
static int emit_points(struct output *o, size_t n, struct bk_err *err) {
  unsigned char head[SPANS_HEAD];
  for (int i = 0; i < 4; i++) head[i] = (unsigned char)((uint32_t)o->spans->n >> 8 * i);
  for (int i = 0; i < 8; i++) head[4 + i] = (unsigned char)((uint64_t)o->spans->o.span_size >> 8 * i);
  if (emit(o, head, sizeof head, err)) return -1;
  n -= sizeof head;
  enum { BLOCK = 1 << 17 };
  cleanup_free char *block = bk_malloc(BLOCK);
  if (lseek(o->spans->spill, 0, SEEK_SET) < 0) return bk_fail_errno(err, errno, "read checkpoints");
  while (n) {
    ssize_t got = bk_read_full(o->spans->spill, block, n < BLOCK ? n : BLOCK);
    if (got <= 0) return bk_fail_errno(err, got ? errno : EIO, "read checkpoints");
    if (emit(o, block, (size_t)got, err)) return -1;
    n -= (size_t)got;
  }
  return 0;
}

static int on_output(void *ctx, const void *p, size_t n, struct bk_err *err) {
  return p ? emit(ctx, p, n, err) : emit_points(ctx, n, err);
}

static int end_layer(struct bk_soci *s, struct bk_soci_result *out, struct bk_err *err) {
  if (s->done) return bk_fail(err, BK_USAGE, "soci.done", "the zTOC has been written");
  if (spans_finish(&s->spans, err) || toc_finish(&s->toc, err)) return -1;
  s->done = true;
  memset(out, 0, sizeof *out);
  out->layer_size = s->spans.in;
  out->tar_size = (int64_t)s->toc.end;
  out->spans = s->spans.n;
  out->files = s->toc.n;
  out->no_xattrs = true;
  for (size_t i = 0; i < s->toc.n && out->no_xattrs; i++) {
    const struct toc_entry *e = &s->toc.list[i];
    size_t tail = sizeof BK_WHITEOUT_OPAQUE - 1;
    if (e->name_len >= tail && memcmp(e->name + e->name_len - tail, BK_WHITEOUT_OPAQUE, tail) == 0)
      out->no_xattrs = false;
    for (uint32_t k = 0; k < e->n_records; k++)
      if (e->records[k].klen > 13 && memcmp(e->records[k].key, "SCHILY.xattr.", 13) == 0)
        out->no_xattrs = false;
  }
  return 0;
}

int bk_soci_save(struct bk_soci *s, const char *path, struct bk_soci_result *out,
                 struct bk_err *err) {
  if (end_layer(s, out, err)) return -1;
  struct flat f = {0};
  put_document(&f, s);
  int rc = f.overflow ? bk_fail(err, BK_BUILD, "soci.too_large", "the zTOC would exceed 2 GiB") : 0;
  cleanup_free char *tmp = bk_asprintf("%s.part-%d", path, (int)getpid());
  cleanup_close int fd = rc ? -1 : open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (rc == 0 && fd < 0) rc = bk_fail_errno(err, errno, "create '%s'", path);
  if (rc == 0) {
    struct output o = {.fd = fd, .path = path, .spans = &s->spans};
    bk_digest_init(&o.hash, BK_SHA256);
    rc = flat_write(&f, on_output, &o, err);
    memcpy(out->digest, "sha256:", 7);
    bk_digest_hex(&o.hash, out->digest + 7);
    out->size = o.size;
    if (rc == 0 && rename(tmp, path)) rc = bk_fail_errno(err, errno, "create '%s'", path);
    if (rc) unlink(tmp);
  }
  flat_free(&f);
  return rc;
}

/* --- files ----------------------------------------------------------------------------------- */

/* Next component of a path that is neither empty nor ".": false at the end. */
static bool component(const char **p, size_t *left, const char **at, size_t *n) {
  while (*left) {
    const char *slash = memchr(*p, '/', *left);
    *n = slash ? (size_t)(slash - *p) : *left;
    *at = *p;
    size_t used = *n + (slash != NULL);
    *p += used;
    *left -= used;
    if (*n && !(*n == 1 && **at == '.')) return true;
  }
  return false;
}

static bool same_path(const char *a, size_t na, const char *b, size_t nb) {
  for (;;) {
    const char *x, *y;
    size_t nx, ny;
    bool more = component(&a, &na, &x, &nx);
    if (more != component(&b, &nb, &y, &ny)) return false;
    if (!more) return true;
    if (nx != ny || memcmp(x, y, nx) != 0) return false;
  }
}

bool bk_soci_find(const struct bk_soci *s, const char *path, size_t len, int32_t *first,
                  int32_t *last) {
  for (size_t i = s->toc.n; i-- > 0;) {
    const struct toc_entry *e = &s->toc.list[i];
    if (!same_path(path, len, e->name, e->name_len)) continue;
    *first = spans_of(&s->spans, e->offset);
    *last = spans_of(&s->spans, e->offset + e->size);
    return true;
  }
  return false;
}
