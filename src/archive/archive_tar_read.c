#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/tar.h"
#include "base/mem.h"

struct bk_tar_reader {
  bk_tar_pull *pull;
  void *ctx;
  const char *chunk;
  size_t left;
  uint64_t offset, header; /* of the next byte, of the current header */
  uint64_t data;           /* bytes left of the current entry's data */
  size_t padding;          /* zeros after them */
  bool ended;
  struct bk_buf meta, path, link; /* extended header; strings of the current entry */
  struct bk_buf gnu_path, gnu_link;
  bool has_gnu_path, has_gnu_link; /* pax records win over them */
  /* What the last pax header says about the entry that follows. */
  struct {
    bool path, link, size, uid, gid, mtime;
    int64_t size_v, uid_v, gid_v, mtime_v;
    uint32_t nsec;
  } ext;
  struct bk_arena arena; /* xattrs */
  struct bk_tar_xattr *xattrs;
  size_t n_xattrs;
};

struct bk_tar_reader *bk_tar_reader_new(bk_tar_pull *pull, void *ctx) {
  struct bk_tar_reader *r = bk_calloc(1, sizeof *r);
  r->pull = pull;
  r->ctx = ctx;
  r->meta.max = BK_TAR_PAX_MAX;
  return r;
}

void bk_tar_reader_free(struct bk_tar_reader *r) {
  if (!r) return;
  bk_buf_free(&r->meta);
  bk_buf_free(&r->path);
  bk_buf_free(&r->link);
  bk_buf_free(&r->gnu_path);
  bk_buf_free(&r->gnu_link);
  bk_arena_free(&r->arena);
  free(r->xattrs);
  free(r);
}

uint64_t bk_tar_offset(const struct bk_tar_reader *r) { return r->header; }

static int malformed(const struct bk_tar_reader *r, struct bk_err *err, const char *what) {
  return bk_fail(err, BK_BUILD, "archive.malformed", "tar header at offset %" PRIu64 ": %s",
                 r->header, what);
}

static int unsupported(const struct bk_tar_reader *r, struct bk_err *err, const char *what) {
  return bk_fail(err, BK_BUILD, "archive.unsupported", "tar header at offset %" PRIu64 ": %s",
                 r->header, what);
}

static int truncated(const struct bk_tar_reader *r, struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "archive.truncated", "tar archive ends early at offset %" PRIu64,
                 r->offset);
}

/* --- the stream ------------------------------------------------------------------------------ */

/* At least one byte in r->chunk: 1, 0 at the end, -1. */
static int fill(struct bk_tar_reader *r, struct bk_err *err) {
  while (!r->left) {
    int rc = r->pull(r->ctx, &r->chunk, &r->left, err);
    if (rc <= 0) return rc;
  }
  return 1;
}

static void consume(struct bk_tar_reader *r, size_t n) {
  r->chunk += n;
  r->left -= n;
  r->offset += n;
}

static int skip(struct bk_tar_reader *r, uint64_t n, struct bk_err *err) {
  while (n) {
    int rc = fill(r, err);
    if (rc < 0) return -1;
    if (rc == 0) return truncated(r, err);
    size_t take = n < r->left ? (size_t)n : r->left;
    consume(r, take);
    n -= take;
  }
  return 0;
}

/* The next 512 bytes: 1, 0 at a clean end, -1. */
static int block(struct bk_tar_reader *r, const char **out, struct bk_err *err) {
  int rc = fill(r, err);
  if (rc <= 0) return rc;
  if (r->left < BK_TAR_BLOCK) {
    r->offset += r->left;
    return truncated(r, err);
  }
  *out = r->chunk;
  consume(r, BK_TAR_BLOCK);
  return 1;
}

int bk_tar_data(struct bk_tar_reader *r, const char **p, size_t *n, struct bk_err *err) {
  if (!r->data) return 0;
  int rc = fill(r, err);
  if (rc < 0) return -1;
  if (rc == 0) return truncated(r, err);
  *p = r->chunk;
  *n = r->data < r->left ? (size_t)r->data : r->left;
  consume(r, *n);
  r->data -= *n;
  return 1;
}

/* --- fields ---------------------------------------------------------------------------------- */

static bool checksum_ok(const unsigned char *b) {
  uint64_t want = 0;
  unsigned sum = 0;
  int ssum = 0, i = 148;
  while (i < 156 && b[i] == ' ') i++;
  for (; i < 156 && b[i] >= '0' && b[i] <= '7'; i++) want = want * 8 + (b[i] - '0');
  if (i < 156 && b[i] && b[i] != ' ') return false;
  for (i = 0; i < BK_TAR_BLOCK; i++) {
    unsigned char c = i >= 148 && i < 156 ? ' ' : b[i];
    sum += c;
    ssum += (signed char)c;
  }
  return want == sum || (ssum >= 0 && want == (uint64_t)ssum); /* old tars summed signed chars */
}

bool bk_tar_is_header(const void *p) {
  const unsigned char *b = p;
  bool zero = true;
  for (int i = 0; zero && i < BK_TAR_BLOCK; i++) zero = b[i] == 0;
  return !zero && checksum_ok(b);
}

/* Octal text, or base-256 with the high bit set (GNU). */
static bool number(const char *field, size_t len, int64_t *out) {
  const unsigned char *s = (const unsigned char *)field;
  if (s[0] & 0x80) {
    bool neg = s[0] & 0x40;
    uint64_t v = neg ? ~(uint64_t)0 : 0;
    for (size_t i = 0; i < len; i++) {
      unsigned char c = i ? s[i] : (unsigned char)(neg ? s[0] | 0x80 : s[0] & 0x7f);
      if (v >> 55 != (neg ? 0x1ff : 0)) return false;
      v = v << 8 | c;
    }
    *out = (int64_t)v;
    return true;
  }
  size_t i = 0;
  while (i < len && (s[i] == ' ' || s[i] == '\0')) i++;
  uint64_t v = 0;
  for (; i < len && s[i] >= '0' && s[i] <= '7'; i++) v = v * 8 + (s[i] - '0');
  if (i < len && s[i] != ' ' && s[i] != '\0') return false;
  *out = (int64_t)v;
  return true; /* 12 octal digits at most: no overflow */
}

static bool decimal(const char *s, size_t n, int64_t *out) {
  int64_t v = 0;
  bool neg = n && s[0] == '-';
  size_t i = neg;
  if (i == n) return false;
  for (; i < n; i++) {
    int digit = s[i] - '0';
    if (digit < 0 || digit > 9) return false;
    if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, neg ? -digit : digit, &v))
      return false;
  }
  *out = v;
  return true;
}

/* "-123.456": seconds and nanoseconds, rounded down. */
static bool pax_time(const char *s, size_t n, int64_t *sec, uint32_t *nsec) {
  const char *dot = memchr(s, '.', n);
  size_t whole = dot ? (size_t)(dot - s) : n;
  if (!decimal(s, whole, sec)) return false;
  *nsec = 0;
  if (!dot) return true;
  uint32_t scale = 100000000;
  for (const char *p = dot + 1; p < s + n; p++) {
    if (*p < '0' || *p > '9') return false;
    *nsec += (uint32_t)(*p - '0') * scale;
    scale /= 10;
  }
  if (s[0] == '-' && *nsec) {
    if (*sec == INT64_MIN) return false;
    *sec -= 1;
    *nsec = 1000000000 - *nsec;
  }
  return true;
}

/* --- extended headers ------------------------------------------------------------------------ */

int bk_tar_parse_pax(const char *p, size_t n,
                     int (*record)(void *ctx, const char *key, size_t klen, const char *value,
                                   size_t vlen, struct bk_err *err),
                     void *ctx, struct bk_err *err) {
  while (n) {
    size_t len = 0, i = 0;
    for (; i < n && i < 8 && p[i] >= '0' && p[i] <= '9'; i++) len = len * 10 + (size_t)(p[i] - '0');
    if (i == 0 || i >= n || p[i] != ' ' || len > n || len < i + 3 || p[len - 1] != '\n')
      return bk_fail(err, BK_BUILD, "archive.malformed", "malformed pax record");
    const char *key = p + i + 1, *end = p + len - 1;
    const char *eq = memchr(key, '=', (size_t)(end - key));
    if (!eq || eq == key || memchr(key, '\0', (size_t)(eq - key)))
      return bk_fail(err, BK_BUILD, "archive.malformed", "malformed pax record");
    if (record(ctx, key, (size_t)(eq - key), eq + 1, (size_t)(end - eq - 1), err)) return -1;
    p += len;
    n -= len;
  }
  return 0;
}

static void add_xattr(struct bk_tar_reader *r, const char *name, size_t nlen, const char *value,
                      size_t vlen) {
  size_t i = 0;
  for (; i < r->n_xattrs; i++) /* a repeated record replaces the first */
    if (strlen(r->xattrs[i].name) == nlen && memcmp(r->xattrs[i].name, name, nlen) == 0) break;
  if (i == r->n_xattrs) {
    r->xattrs = bk_reallocarray(r->xattrs, r->n_xattrs + 1, sizeof *r->xattrs);
    r->xattrs[i].name = bk_arena_strndup(&r->arena, name, nlen);
    r->n_xattrs++;
  }
  char *copy = bk_arena_alloc(&r->arena, vlen + 1);
  memcpy(copy, value, vlen);
  r->xattrs[i].value = copy;
  r->xattrs[i].len = vlen;
}

static int pax_record(void *ctx, const char *key, size_t klen, const char *value, size_t vlen,
                      struct bk_err *err) {
  struct bk_tar_reader *r = ctx;
#define IS(lit) (klen == sizeof(lit) - 1 && memcmp(key, lit, klen) == 0)
  bool ok = true;
  if (klen > 13 && memcmp(key, "SCHILY.xattr.", 13) == 0) {
    if (r->n_xattrs >= 1024) return malformed(r, err, "more than 1024 extended attributes");
    add_xattr(r, key + 13, klen - 13, value, vlen);
  } else if (klen >= 11 && memcmp(key, "GNU.sparse.", 11) == 0) {
    return unsupported(r, err, "sparse files are not supported");
  } else if (IS("path") || IS("linkpath")) {
    struct bk_buf *b = key[0] == 'p' ? &r->path : &r->link;
    *(key[0] == 'p' ? &r->ext.path : &r->ext.link) = vlen > 0;
    ok = !memchr(value, '\0', vlen);
    bk_buf_reset(b);
    bk_buf_add(b, value, vlen);
  } else if (IS("size")) {
    r->ext.size = vlen > 0;
    ok = !vlen || decimal(value, vlen, &r->ext.size_v);
  } else if (IS("uid")) {
    r->ext.uid = vlen > 0;
    ok = !vlen || decimal(value, vlen, &r->ext.uid_v);
  } else if (IS("gid")) {
    r->ext.gid = vlen > 0;
    ok = !vlen || decimal(value, vlen, &r->ext.gid_v);
  } else if (IS("mtime")) {
    r->ext.mtime = vlen > 0;
    ok = !vlen || pax_time(value, vlen, &r->ext.mtime_v, &r->ext.nsec);
  }
#undef IS
  return ok ? 0 : malformed(r, err, "bad value in a pax record");
}

/* Data of the current header (size bytes and padding) into r->meta. */
static int read_meta(struct bk_tar_reader *r, int64_t size, struct bk_err *err) {
  if (size < 0 || size > BK_TAR_PAX_MAX)
    return malformed(r, err, "extended header larger than 1 MiB");
  bk_buf_reset(&r->meta);
  for (size_t want = (size_t)size; want;) {
    int rc = fill(r, err);
    if (rc < 0) return -1;
    if (rc == 0) return truncated(r, err);
    size_t n = want < r->left ? want : r->left;
    bk_buf_add(&r->meta, r->chunk, n);
    consume(r, n);
    want -= n;
  }
  return skip(r, bk_tar_padding((uint64_t)size), err);
}

/* Extended header of type c: fills r->ext and the strings it overrides. */
static int extended(struct bk_tar_reader *r, char c, int64_t size, struct bk_err *err) {
  if (read_meta(r, size, err)) return -1;
  const char *p = bk_buf_str(&r->meta);
  if (c == 'x' || c == 'X') {
    r->n_xattrs = 0; /* any number of headers may precede an entry: the last one counts */
    bk_arena_free(&r->arena);
    memset(&r->ext, 0, sizeof r->ext);
    if (bk_tar_parse_pax(p, r->meta.len, pax_record, r, err))
      return bk_err_wrap(err, "tar header at offset %" PRIu64, r->header);
  } else if (c == 'L' || c == 'K') {
    struct bk_buf *b = c == 'L' ? &r->gnu_path : &r->gnu_link;
    *(c == 'L' ? &r->has_gnu_path : &r->has_gnu_link) = true;
    bk_buf_reset(b);
    bk_buf_add(b, p, strnlen(p, r->meta.len));
  }
  return 0; /* 'g': nothing in it concerns a single entry */
}

/* --- headers --------------------------------------------------------------------------------- */

static void copy(struct bk_buf *to, const char *p, size_t n) {
  bk_buf_reset(to);
  bk_buf_add(to, p, n);
}

static void plain_name(struct bk_tar_reader *r, const char *b) {
  bk_buf_reset(&r->path);
  size_t max = memcmp(b + 508, "tar\0", 4) == 0 ? 131 : 155; /* star keeps times behind it */
  size_t n = memcmp(b + 257, "ustar\0", 6) == 0 ? strnlen(b + 345, max) : 0;
  if (n) {
    bk_buf_add(&r->path, b + 345, n);
    bk_buf_addc(&r->path, '/');
  }
  bk_buf_add(&r->path, b, strnlen(b, 100));
}

static int entry_type(struct bk_tar_reader *r, char c, struct bk_tar_entry *e, struct bk_err *err) {
  switch (c) {
    case '\0':
      e->type = r->path.len && r->path.p[r->path.len - 1] == '/' ? BK_TAR_DIR : BK_TAR_FILE;
      return 0;
    case '0': case '7': e->type = BK_TAR_FILE; return 0;
    case '1': case '2': case '3': case '4': case '5': case '6':
      e->type = (enum bk_tar_type)c;
      return 0;
    case 'S': return unsupported(r, err, "sparse files are not supported");
    case 'M': case 'V': return unsupported(r, err, "multi-volume archives are not supported");
    default: break;
  }
  char text[48];
  snprintf(text, sizeof text, "unknown entry type 0x%02x", (unsigned char)c);
  return unsupported(r, err, text);
}

/* An id in [0, 2^32 - 2]; (uid_t)-1 means "unchanged" to chown. */
static bool id_ok(int64_t v) { return v >= 0 && v < UINT32_MAX; }

static int numbers(struct bk_tar_reader *r, const char *b, struct bk_tar_entry *e,
                   struct bk_err *err) {
  int64_t mode, uid, gid, size, mtime, major = 0, minor = 0;
  if (!number(b + 100, 8, &mode) || !number(b + 108, 8, &uid) || !number(b + 116, 8, &gid) ||
      !number(b + 124, 12, &size) || !number(b + 136, 12, &mtime))
    return malformed(r, err, "bad number");
  if (r->ext.uid) uid = r->ext.uid_v;
  if (r->ext.gid) gid = r->ext.gid_v;
  if (r->ext.size) size = r->ext.size_v;
  if (r->ext.mtime) mtime = r->ext.mtime_v;
  bool device = e->type == BK_TAR_CHAR || e->type == BK_TAR_BLOCKDEV;
  if (device && (!number(b + 329, 8, &major) || !number(b + 337, 8, &minor)))
    return malformed(r, err, "bad device number");
  if (mode < 0 || !id_ok(uid) || !id_ok(gid))
    return malformed(r, err, "mode or owner out of range");
  if (size < 0 || size > INT64_MAX - BK_TAR_BLOCK) return malformed(r, err, "size out of range");
  if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
    return malformed(r, err, "device number out of range");
  e->mode = (uint32_t)(mode & 07777);
  e->uid = (uint32_t)uid;
  e->gid = (uint32_t)gid;
  e->size = e->type == BK_TAR_FILE ? size : 0;
  e->mtime = mtime;
  e->mtime_nsec = r->ext.mtime ? r->ext.nsec : 0;
  e->devmajor = (uint32_t)major;
  e->devminor = (uint32_t)minor;
  return 0;
}

static int entry(struct bk_tar_reader *r, const char *b, struct bk_tar_entry *e,
                 struct bk_err *err) {
  if (!r->ext.path) {
    if (r->has_gnu_path) copy(&r->path, r->gnu_path.p, r->gnu_path.len);
    else plain_name(r, b);
  }
  if (!r->ext.link) {
    if (r->has_gnu_link) copy(&r->link, r->gnu_link.p, r->gnu_link.len);
    else copy(&r->link, b + 157, strnlen(b + 157, 100));
  }
  *e = (struct bk_tar_entry){.path = bk_buf_str(&r->path), .link = bk_buf_str(&r->link)};
  if (entry_type(r, b[156], e, err) || numbers(r, b, e, err)) return -1;
  e->xattrs = r->xattrs;
  e->n_xattrs = r->n_xattrs;
  r->data = (uint64_t)e->size;
  r->padding = bk_tar_padding(r->data);
  return 1;
}

int bk_tar_next(struct bk_tar_reader *r, struct bk_tar_entry *e, struct bk_err *err) {
  if (r->ended) return 0;
  if (skip(r, r->data, err) || skip(r, r->padding, err)) return -1;
  r->data = r->padding = 0;
  memset(&r->ext, 0, sizeof r->ext);
  r->has_gnu_path = r->has_gnu_link = false;
  bk_arena_free(&r->arena);
  r->n_xattrs = 0;
  for (bool zero_before = false, extended_before = false;;) {
    const char *b = NULL;
    r->header = r->offset;
    int rc = block(r, &b, err);
    if (rc < 0) return -1;
    if (rc == 0 && extended_before) return truncated(r, err);
    if (rc == 0) break;
    static const char zeros[BK_TAR_BLOCK];
    if (memcmp(b, zeros, BK_TAR_BLOCK) == 0) {
      if (extended_before) return malformed(r, err, "extended header without an entry");
      if (zero_before) break;
      zero_before = true;
      continue;
    }
    if (zero_before || !checksum_ok((const unsigned char *)b))
      return malformed(r, err, "bad checksum: not a tar header");
    char c = b[156];
    if (!strchr("xXgLK", c) || !c) return entry(r, b, e, err);
    int64_t size;
    if (!number(b + 124, 12, &size)) return malformed(r, err, "bad number");
    if (extended(r, c, size, err)) return -1;
    extended_before = extended_before || c != 'g';
  }
  r->ended = true;
  return 0;
}
