#include "soci/spans.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"

#define RING (4u * SPANS_WINDOW)
#define EMPTY_POINTS_MAX 1024 /* checkpoints in front of the first byte: only hostile streams */

void spans_restart(struct spans *s) {
  if (s->open) inflateEnd(&s->z);
  if (s->hash.ctx) bk_digest_free(&s->hash);
  if (s->spill >= 0) close(s->spill);
  s->open = s->between = false;
  s->spill = -1;
  s->empty_points = 0;
  s->in = s->out = s->last = 0;
  s->n = s->ndigests = 0;
}

void spans_free(struct spans *s) {
  spans_restart(s);
  free(s->ring);
  free(s->outs);
  free(s->digests);
}

/* --- checkpoints ----------------------------------------------------------------------------- */

/* A file without a name. */
static int open_spill(struct spans *s, struct bk_err *err) {
  const char *dir = s->o.tmp_dir ? s->o.tmp_dir : getenv("TMPDIR");
  if (!dir || !*dir) dir = "/tmp";
  s->spill = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (s->spill < 0) {
    cleanup_free char *name = bk_asprintf("%s/soci-XXXXXX", dir);
    s->spill = mkostemp(name, O_CLOEXEC);
    if (s->spill < 0) return bk_fail_errno(err, errno, "create a temporary file in '%s'", dir);
    unlink(name);
  }
  return 0;
}

static void le64(unsigned char *p, int64_t v) {
  for (int i = 0; i < 8; i++) p[i] = (unsigned char)((uint64_t)v >> 8 * i);
}

/* One more span begins: room for its numbers. */
static int begin_span(struct spans *s, int64_t out, struct bk_err *err) {
  int32_t most = s->o.plain ? 1 << 22 : (int32_t)(0x7ff00000 / SPANS_POINT);
  if (s->n >= most)
    return bk_fail(err, BK_BUILD, "soci.too_large", "more than %d spans: choose a larger span size",
                   (int)most);
  if (s->n == s->cap) {
    s->cap = s->cap ? 2 * s->cap : 64;
    s->outs = bk_reallocarray(s->outs, (size_t)s->cap, sizeof *s->outs);
    s->digests = bk_reallocarray(s->digests, (size_t)s->cap, sizeof *s->digests);
  }
  s->outs[s->n++] = out;
  return 0;
}

static void end_span(struct spans *s) {
  if (!s->hash.ctx) return;
  unsigned char raw[64];
  bk_digest_raw(&s->hash, raw);
  memcpy(s->digests[s->ndigests++], raw, 32);
}

static void hash(struct spans *s, const void *p, size_t n) {
  if (s->hash.ctx) bk_digest_update(&s->hash, p, n);
}

static int add_point(struct spans *s, int bits, unsigned char before, struct bk_err *err) {
  if (s->out == 0 && ++s->empty_points > EMPTY_POINTS_MAX)
    return bk_fail(err, BK_BUILD, "soci.malformed", "the gzip stream begins with empty blocks only");
  if (s->spill < 0 && open_spill(s, err)) return -1;
  unsigned char head[17];
  le64(head, s->in);
  le64(head + 8, s->out);
  head[16] = (unsigned char)bits;
  size_t at = (size_t)(s->z.next_out - (unsigned char *)s->ring); /* the ring's oldest byte */
  size_t first = at < SPANS_WINDOW ? SPANS_WINDOW - at : 0;
  if (bk_write_all(s->spill, head, sizeof head) ||
      (first && bk_write_all(s->spill, s->ring + RING - first, first)) ||
      bk_write_all(s->spill, s->ring + at - (SPANS_WINDOW - first), SPANS_WINDOW - first))
    return bk_fail_errno(err, errno, "write a temporary file");
  end_span(s);
  if (begin_span(s, s->out, err)) return -1;
  bk_digest_init(&s->hash, BK_SHA256);
  if (bits) hash(s, &before, 1);
  s->last = s->out;
  return 0;
}

/* --- gzip ------------------------------------------------------------------------------------ */

static int inflate_error(struct spans *s, int rc, struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "soci.malformed", "gzip stream at offset %lld: %s",
                 (long long)s->in, s->z.msg ? s->z.msg : zError(rc));
}

/* The next member, or the first one. */
static int begin_member(struct spans *s, unsigned char first, struct bk_err *err) {
  if (first != 0x1f) return bk_fail(err, BK_BUILD, "soci.malformed", "not a gzip stream");
  int rc = s->open ? inflateReset2(&s->z, 47) : inflateInit2(&s->z, 47);
  if (rc != Z_OK) return inflate_error(s, rc, err);
  if (!s->open) {
    if (!s->ring) s->ring = bk_malloc(RING);
    memset(s->ring, 0, RING);
    s->z.next_out = (unsigned char *)s->ring;
    s->z.avail_out = RING;
  }
  s->open = true;
  s->between = false;
  return 0;
}

static int step(struct spans *s, int *rc, struct bk_err *err) {
  if (!s->z.avail_out) {
    s->z.next_out = (unsigned char *)s->ring;
    s->z.avail_out = RING;
  }
  const char *made = (char *)s->z.next_out;
  uInt in = s->z.avail_in, out = s->z.avail_out;
  *rc = inflate(&s->z, Z_BLOCK);
  s->in += in - s->z.avail_in;
  s->out += out - s->z.avail_out;
  if (*rc != Z_OK && *rc != Z_STREAM_END && *rc != Z_BUF_ERROR) return inflate_error(s, *rc, err);
  return out > s->z.avail_out ? s->plain(s->ctx, made, out - s->z.avail_out, err) : 0;
}

static int feed_gzip(struct spans *s, const char *p, size_t n, struct bk_err *err) {
  const char *hashed = p; /* the running span's hash has what is before */
  s->z.next_in = (unsigned char *)p;
  s->z.avail_in = (uInt)n;
  while (s->z.avail_in) {
    int rc;
    if ((!s->open || s->between) && begin_member(s, *s->z.next_in, err)) return -1;
    if (step(s, &rc, err)) return -1;
    if (rc == Z_STREAM_END) {
      s->between = true;
      continue;
    }
    int type = s->z.data_type;
    if (!(type & 128) || (type & 64) || !(s->out == 0 || s->out - s->last > s->o.span_size))
      continue;
    const char *here = (char *)s->z.next_in;
    hash(s, hashed, (size_t)(here - hashed));
    hashed = here;
    if (add_point(s, type & 7, here > p ? (unsigned char)here[-1] : s->previous, err)) return -1;
  }
  hash(s, hashed, (size_t)(p + n - hashed));
  s->previous = (unsigned char)p[n - 1];
  return 0;
}

/* --- plain tars ------------------------------------------------------------------------------ */

static int feed_plain(struct spans *s, const char *p, size_t n, struct bk_err *err) {
  if (s->plain(s->ctx, p, n, err)) return -1;
  while (n) {
    int64_t within = s->out % s->o.span_size;
    if (within == 0) {
      end_span(s);
      if (begin_span(s, s->out, err)) return -1;
      bk_digest_init(&s->hash, BK_SHA256);
    }
    size_t part = (int64_t)n < s->o.span_size - within ? n : (size_t)(s->o.span_size - within);
    hash(s, p, part);
    s->in = s->out += (int64_t)part;
    p += part;
    n -= part;
  }
  return 0;
}

int spans_feed(struct spans *s, const char *p, size_t n, struct bk_err *err) {
  while (n) {
    size_t part = n < (1u << 30) ? n : 1u << 30;
    if (s->o.plain ? feed_plain(s, p, part, err) : feed_gzip(s, p, part, err)) return -1;
    p += part;
    n -= part;
  }
  return 0;
}

int spans_finish(struct spans *s, struct bk_err *err) {
  if (!s->n || (!s->o.plain && !s->between))
    return bk_fail(err, BK_BUILD, "soci.malformed", "the layer ends early at offset %lld",
                   (long long)s->in);
  end_span(s);
  return 0;
}

int32_t spans_of(const struct spans *s, int64_t offset) {
  if (s->o.plain) {
    int64_t i = offset / s->o.span_size;
    return i < s->n ? (int32_t)i : s->n - 1;
  }
  int32_t lo = 0, hi = s->n - 1; /* the last span that begins at or before offset */
  while (lo < hi) {
    int32_t mid = lo + (hi - lo + 1) / 2;
    if (s->outs[mid] <= offset) lo = mid;
    else hi = mid - 1;
  }
  return lo;
}
