/* zTOCs from elsewhere: every offset is checked before it is followed. */
#include <string.h>

#include "digest/digest.h"
#include "soci/soci.h"
#include "soci/spans.h"

struct doc {
  const unsigned char *p;
  size_t len;
};

static uint64_t le(const struct doc *d, size_t at, size_t n) {
  uint64_t v = 0;
  if (n > d->len || at > d->len - n) return 0;
  for (size_t i = n; i-- > 0;) v = v << 8 | d->p[at + i];
  return v;
}

/* Position of a field of `width` bytes, 0 when it is absent or outside of the document. */
static size_t field(const struct doc *d, size_t table, size_t slot, size_t width) {
  if (!table) return 0;
  int64_t v = (int64_t)table - (int32_t)le(d, table, 4);
  if (v < 0 || (uint64_t)v + 4 > d->len) return 0;
  size_t vtable = (size_t)v, size = le(d, vtable, 2);
  if (4 + 2 * slot + 2 > size || vtable + size > d->len) return 0;
  size_t rel = le(d, vtable + 4 + 2 * slot, 2);
  return rel && table + rel + width <= d->len ? table + rel : 0;
}

/* Where the reference at `at` leads, 0 when nowhere; four bytes are there. */
static size_t follow(const struct doc *d, size_t at) {
  uint64_t to = at + le(d, at, 4);
  return to + 4 <= d->len ? (size_t)to : 0;
}

static size_t ref(const struct doc *d, size_t table, size_t slot) {
  size_t at = field(d, table, slot, 4);
  return at ? follow(d, at) : 0;
}

static struct bk_soci_text text(const struct doc *d, size_t table, size_t slot) {
  size_t at = ref(d, table, slot), n = at ? le(d, at, 4) : 0;
  if (!at || n > d->len - at - 4) return (struct bk_soci_text){NULL, 0};
  return (struct bk_soci_text){(const char *)d->p + at + 4, n};
}

static int64_t num(const struct doc *d, size_t table, size_t slot, size_t width) {
  size_t at = field(d, table, slot, width);
  return at ? (int64_t)le(d, at, width) : 0;
}

/* A vector of references; its count goes to *n. */
static size_t vector(const struct doc *d, size_t table, size_t slot, size_t *n) {
  size_t at = ref(d, table, slot);
  *n = at ? le(d, at, 4) : 0;
  if (!at || *n > (d->len - at - 4) / 4) return 0;
  return at + 4;
}

static int invalid(struct bk_err *err, const char *what) {
  return bk_fail(err, BK_BUILD, "soci.ztoc", "not a valid zTOC: %s", what);
}

/* --- checkpoints ----------------------------------------------------------------------------- */

static int64_t le64(const char *p) {
  struct doc d = {(const unsigned char *)p, 8};
  return (int64_t)le(&d, 0, 8);
}

void bk_soci_point(const struct bk_soci_ztoc *z, int32_t i, int64_t *in, int64_t *out) {
  int32_t left_out = z->max_span_id + 1 - z->points;
  *in = 10;
  *out = 0;
  if (i < left_out) return;
  const char *p = z->checkpoints.p + SPANS_HEAD + (size_t)(i - left_out) * SPANS_POINT;
  *in = le64(p);
  *out = le64(p + 8);
}

static int check_points(struct bk_soci_ztoc *z, struct bk_err *err) {
  if (z->plain) return z->checkpoints.p ? 0 : invalid(err, "no checkpoints");
  size_t len = z->checkpoints.len;
  if (!z->checkpoints.p || len < SPANS_HEAD || (len - SPANS_HEAD) % SPANS_POINT)
    return invalid(err, "checkpoints of an odd size");
  struct doc d = {(const unsigned char *)z->checkpoints.p, len};
  int32_t count = (int32_t)le(&d, 0, 4);
  z->points = (int32_t)((len - SPANS_HEAD) / SPANS_POINT);
  if (count != z->max_span_id + 1 || count - z->points < 0 || count - z->points > 1)
    return invalid(err, "the number of checkpoints is wrong");
  int64_t in = 0, out = 0;
  for (int32_t i = 0; i < count; i++) {
    int64_t next_in, next_out;
    bk_soci_point(z, i, &next_in, &next_out);
    if (next_in < in || next_out < out || next_in > z->layer_size)
      return invalid(err, "checkpoints out of order");
    in = next_in;
    out = next_out;
  }
  return 0;
}

/* --- the document ---------------------------------------------------------------------------- */

enum { NAME, TYPE, OFFSET, SIZE, LINK, MODE, UID, GID, UNAME, GNAME, TIME };

void bk_soci_file_at(const struct bk_soci_ztoc *z, size_t i, struct bk_soci_file *out) {
  struct doc d = {(const unsigned char *)z->p, z->len};
  size_t table = follow(&d, z->files_at + 4 * i);
  *out = (struct bk_soci_file){.name = text(&d, table, NAME),
                               .type = text(&d, table, TYPE),
                               .link = text(&d, table, LINK),
                               .mtime = text(&d, table, TIME),
                               .offset = num(&d, table, OFFSET, 8),
                               .size = num(&d, table, SIZE, 8),
                               .mode = num(&d, table, MODE, 8),
                               .uid = (uint32_t)num(&d, table, UID, 4),
                               .gid = (uint32_t)num(&d, table, GID, 4)};
}

struct bk_soci_text bk_soci_digest_at(const struct bk_soci_ztoc *z, size_t i) {
  struct doc d = {(const unsigned char *)z->p, z->len};
  size_t at = follow(&d, z->digests_at + 4 * i), n = at ? le(&d, at, 4) : 0;
  if (!at || n > d.len - at - 4) return (struct bk_soci_text){NULL, 0};
  return (struct bk_soci_text){z->p + at + 4, n};
}

static int check_lists(const struct bk_soci_ztoc *z, struct bk_err *err) {
  for (size_t i = 0; i < z->n_files; i++) {
    struct bk_soci_file f;
    bk_soci_file_at(z, i, &f);
    if (!f.name.p || !f.type.p) return invalid(err, "a file without name or type");
    if (f.offset < 0 || f.size < 0 || f.offset > z->tar_size || f.size > z->tar_size - f.offset)
      return invalid(err, "a file outside of the layer");
  }
  if (z->max_span_id < 0 || z->n_digests != (size_t)z->max_span_id + 1)
    return invalid(err, "the number of span digests is wrong");
  for (size_t i = 0; i < z->n_digests; i++) {
    struct bk_soci_text t = bk_soci_digest_at(z, i);
    char copy[72];
    if (t.len != sizeof copy - 1) return invalid(err, "a span digest is wrong");
    memcpy(copy, t.p, t.len);
    copy[t.len] = '\0';
    if (!bk_digest_is_valid(copy)) return invalid(err, "a span digest is wrong");
  }
  return 0;
}

int bk_soci_read(const void *p, size_t len, struct bk_soci_ztoc *out, struct bk_err *err) {
  struct doc d = {p, len};
  if (len < 8 || len > 0x7fffffff) return invalid(err, "no zTOC has this size");
  size_t root = follow(&d, 0);
  size_t toc = ref(&d, root, 4), info = ref(&d, root, 5);
  if (!root || !toc || !info) return invalid(err, "a table is missing");
  *out = (struct bk_soci_ztoc){.version = text(&d, root, 0),
                               .tool = text(&d, root, 1),
                               .layer_size = num(&d, root, 2, 8),
                               .tar_size = num(&d, root, 3, 8),
                               .checkpoints = text(&d, info, 3),
                               .max_span_id = (int32_t)num(&d, info, 1, 4),
                               .p = p,
                               .len = len};
  size_t algorithm = field(&d, info, 0, 1);
  if (algorithm && d.p[algorithm] != 1 && d.p[algorithm] != 2)
    return invalid(err, "unknown compression");
  out->plain = algorithm && d.p[algorithm] == 2;
  out->files_at = vector(&d, toc, 0, &out->n_files);
  out->digests_at = vector(&d, info, 2, &out->n_digests);
  if (!out->version.p || !out->digests_at || (out->n_files && !out->files_at))
    return invalid(err, "a field is missing");
  if (out->layer_size < 0 || out->tar_size < 0) return invalid(err, "negative sizes");
  if (check_lists(out, err)) return -1;
  return check_points(out, err);
}
