#include "soci/entries.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ENTRIES_MAX (4u << 20)
#define STRINGS_MAX (512u << 20) /* names and records of a layer */
#define RECORDS_MAX 4096         /* pax records of an entry */

void toc_free(struct toc *t) {
  free(t->list);
  free(t->pax);
  bk_arena_free(&t->strings);
  bk_buf_free(&t->meta);
  *t = (struct toc){0};
}

static int malformed(const struct toc *t, struct bk_err *err, const char *what) {
  return bk_fail(err, BK_BUILD, "soci.malformed", "tar header at offset %" PRIu64 ": %s",
                 t->pos - BK_TAR_BLOCK, what);
}

static int unsupported(const struct toc *t, struct bk_err *err, const char *what) {
  return bk_fail(err, BK_BUILD, "soci.unsupported", "tar entry at offset %" PRIu64 ": %s",
                 t->pos - BK_TAR_BLOCK, what);
}

/* --- fields ---------------------------------------------------------------------------------- */

/* Octal text between blanks and NULs, or base-256 with the high bit set. */
static bool number(const unsigned char *s, size_t len, int64_t *out) {
  uint64_t v = 0;
  if (s[0] & 0x80) {
    unsigned char inv = s[0] & 0x40 ? 0xff : 0;
    for (size_t i = 0; i < len; i++) {
      unsigned char c = s[i] ^ inv;
      if (v >> 56) return false;
      v = v << 8 | (i ? c : c & 0x7f);
    }
    if (v >> 63) return false;
    *out = inv ? (int64_t)~v : (int64_t)v;
    return true;
  }
  while (len && (*s == ' ' || *s == 0)) s++, len--;
  size_t n = 0;
  for (; n < len && s[n] >= '0' && s[n] <= '7'; n++) v = v * 8 + (s[n] - '0');
  for (size_t i = n; i < len && s[i]; i++)
    if (s[i] != ' ') return false;
  *out = (int64_t)v;
  return true;
}

static bool decimal(const char *s, size_t n, int64_t *out) {
  size_t i = n && (s[0] == '-' || s[0] == '+');
  if (i == n) return false;
  int64_t v = 0;
  for (; i < n; i++) {
    int d = s[i] - '0';
    if (d < 0 || d > 9 || __builtin_mul_overflow(v, 10, &v) ||
        __builtin_add_overflow(v, s[0] == '-' ? -d : d, &v))
      return false;
  }
  *out = v;
  return true;
}

/* "-1.5" is half a second before -1; digits after the ninth are dropped. */
static bool pax_time(const char *s, size_t n, struct toc_entry *e) {
  const char *dot = memchr(s, '.', n);
  size_t whole = dot ? (size_t)(dot - s) : n;
  if (!decimal(s, whole, &e->mtime)) return false;
  uint32_t nsec = 0, scale = 100000000;
  for (size_t i = whole + 1; i < n; i++, scale /= 10) {
    if (s[i] < '0' || s[i] > '9') return false;
    nsec += (uint32_t)(s[i] - '0') * scale;
  }
  e->nsec = nsec;
  if (s[0] == '-' && nsec) {
    if (e->mtime == INT64_MIN) return false;
    e->mtime--;
    e->nsec = 1000000000 - nsec;
  }
  return true;
}

size_t toc_time(const struct toc_entry *e, char out[40]) {
  struct tm tm;
  time_t at = (time_t)e->mtime;
  gmtime_r(&at, &tm);
  size_t n = strftime(out, 40, "%m-%dT%H:%M:%S", &tm);
  char fraction[12] = "";
  if (e->nsec) {
    int len = snprintf(fraction, sizeof fraction, ".%09u", (unsigned)e->nsec);
    while (fraction[len - 1] == '0') fraction[--len] = '\0';
  }
  char rest[24];
  memcpy(rest, out, n + 1);
  return (size_t)snprintf(out, 40, "%04d-%s%sZ", tm.tm_year + 1900, rest, fraction);
}

static const char *keep(struct toc *t, const void *s, size_t n) {
  return n ? bk_arena_strndup(&t->strings, s, n) : "";
}

static const char *keep_field(struct toc *t, const unsigned char *s, size_t max, uint32_t *len) {
  *len = (uint32_t)strnlen((const char *)s, max);
  return keep(t, s, *len);
}

/* User and group names repeat from entry to entry. */
static const char *keep_owner(struct toc *t, const unsigned char *s, uint32_t *len, bool group) {
  *len = (uint32_t)strnlen((const char *)s, 32);
  const struct toc_entry *last = t->n ? &t->list[t->n - 1] : NULL;
  const char *old = !last ? NULL : group ? last->gname : last->uname;
  uint32_t old_len = !last ? 0 : group ? last->gname_len : last->uname_len;
  if (old && old_len == *len && memcmp(old, s, *len) == 0) return old;
  return keep(t, s, *len);
}

/* --- extended headers ------------------------------------------------------------------------ */

static int record(void *ctx, const char *key, size_t klen, const char *value, size_t vlen,
                  struct bk_err *err) {
  struct toc *t = ctx;
  if (t->n_pax == RECORDS_MAX) return malformed(t, err, "too many extended records");
  if (klen > 11 && memcmp(key, "GNU.sparse.", 11) == 0)
    return unsupported(t, err, "sparse file");
  size_t at = 0;
  while (at < t->n_pax && (t->pax[at].klen != klen || memcmp(t->pax[at].key, key, klen) != 0)) at++;
  if (at == t->n_pax && at == t->pax_cap) {
    t->pax_cap = t->pax_cap ? 2 * t->pax_cap : 16;
    t->pax = bk_reallocarray(t->pax, t->pax_cap, sizeof *t->pax);
  }
  if (at == t->n_pax) t->n_pax++;
  t->pax[at] = (struct toc_record){.key = keep(t, key, klen),
                                   .value = keep(t, value, vlen),
                                   .klen = (uint32_t)klen,
                                   .vlen = (uint32_t)vlen};
  return 0;
}

static int take_meta(struct toc *t, struct bk_err *err) {
  if (t->meta_type == 'x') {
    t->n_pax = 0;
    t->has_pax = true;
    struct bk_err why;
    if (bk_tar_parse_pax(t->meta.p ? t->meta.p : "", t->meta.len, record, t, &why) == 0) return 0;
    if (strncmp(why.code, "soci.", 5) == 0) {
      *err = why;
      return -1;
    }
    return malformed(t, err, why.msg);
  }
  size_t len = strnlen(bk_buf_str(&t->meta), t->meta.len);
  const char *text = keep(t, t->meta.p, len);
  if (t->meta_type == 'L') t->gnu_name = text, t->gnu_name_len = len;
  else t->gnu_link = text, t->gnu_link_len = len;
  return 0;
}

static bool is(const struct toc_record *r, const char *key) {
  return strlen(key) == r->klen && memcmp(r->key, key, r->klen) == 0;
}

/* One record's effect; empty values have none. */
static bool apply(struct toc_entry *e, const struct toc_record *r) {
  int64_t v = 0;
  if (!r->vlen) return true;
  if (is(r, "path")) e->name = r->value, e->name_len = r->vlen;
  else if (is(r, "linkpath")) e->link = r->value, e->link_len = r->vlen;
  else if (is(r, "uname")) e->uname = r->value, e->uname_len = r->vlen;
  else if (is(r, "gname")) e->gname = r->value, e->gname_len = r->vlen;
  else if (is(r, "mtime")) return pax_time(r->value, r->vlen, e);
  else if (is(r, "size")) return decimal(r->value, r->vlen, &e->size);
  else if (is(r, "uid") && decimal(r->value, r->vlen, &v)) e->uid = (uint32_t)v;
  else if (is(r, "gid") && decimal(r->value, r->vlen, &v)) e->gid = (uint32_t)v;
  else if (is(r, "uid") || is(r, "gid")) return false;
  return true;
}

static int by_key(const void *a, const void *b) {
  const struct toc_record *x = a, *y = b;
  int c = memcmp(x->key, y->key, x->klen < y->klen ? x->klen : y->klen);
  return c ? c : x->klen < y->klen ? -1 : x->klen > y->klen;
}

static int extend(struct toc *t, struct toc_entry *e, struct bk_err *err) {
  for (size_t i = 0; t->has_pax && i < t->n_pax; i++)
    if (!apply(e, &t->pax[i])) return malformed(t, err, "invalid extended record");
  if (t->gnu_name_len) e->name = t->gnu_name, e->name_len = (uint32_t)t->gnu_name_len;
  if (t->gnu_link_len) e->link = t->gnu_link, e->link_len = (uint32_t)t->gnu_link_len;
  if (t->has_pax && t->n_pax) {
    struct toc_record *copy = bk_arena_alloc(&t->strings, t->n_pax * sizeof *copy);
    memcpy(copy, t->pax, t->n_pax * sizeof *copy);
    qsort(copy, t->n_pax, sizeof *copy, by_key);
    e->records = copy;
    e->n_records = (uint32_t)t->n_pax;
  }
  t->has_pax = false;
  t->n_pax = 0;
  t->gnu_name = t->gnu_link = NULL;
  t->gnu_name_len = t->gnu_link_len = 0;
  return 0;
}

/* --- headers --------------------------------------------------------------------------------- */

/* "prefix/name" of ustar and star headers. */
static void full_name(struct toc *t, const unsigned char *b, struct toc_entry *e) {
  size_t max = memcmp(b + 508, "tar", 4) == 0 ? 131 : 155;
  size_t prefix = memcmp(b + 257, "ustar", 6) == 0 ? strnlen((const char *)b + 345, max) : 0;
  if (!prefix) {
    e->name = keep_field(t, b, 100, &e->name_len);
    return;
  }
  char name[260];
  size_t len = strnlen((const char *)b, 100);
  memcpy(name, b + 345, prefix);
  name[prefix] = '/';
  memcpy(name + prefix + 1, b, len);
  e->name_len = (uint32_t)(prefix + 1 + len);
  e->name = keep(t, name, e->name_len);
}

static bool read_fields(struct toc *t, const unsigned char *b, struct toc_entry *e) {
  int64_t uid, gid;
  if (!number(b + 100, 8, &e->mode) || !number(b + 108, 8, &uid) || !number(b + 116, 8, &gid) ||
      !number(b + 124, 12, &e->size) || !number(b + 136, 12, &e->mtime))
    return false;
  e->uid = (uint32_t)uid;
  e->gid = (uint32_t)gid;
  full_name(t, b, e);
  e->link = keep_field(t, b + 157, 100, &e->link_len);
  e->uname = e->gname = "";
  bool magic = memcmp(b + 257, "ustar", 6) == 0 || memcmp(b + 257, "ustar  ", 8) == 0;
  if (!magic) return true;
  e->uname = keep_owner(t, b + 265, &e->uname_len, false);
  e->gname = keep_owner(t, b + 297, &e->gname_len, true);
  return number(b + 329, 8, &e->devmajor) && number(b + 337, 8, &e->devminor);
}

static const char *type_name(const struct toc_entry *e, unsigned char flag) {
  switch (flag) {
  case 0: return e->name_len && e->name[e->name_len - 1] == '/' ? "dir" : "reg";
  case '0': return "reg";
  case '1': return "hardlink";
  case '2': return "symlink";
  case '3': return "char";
  case '4': return "block";
  case '5': return "dir";
  case '6': return "fifo";
  default: return NULL;
  }
}

static int check_entry(const struct toc *t, const struct toc_entry *e, struct bk_err *err) {
  if (e->size < 0) return malformed(t, err, "negative size");
  if (e->mtime < -62167219200 || e->mtime > 253402300799)
    return malformed(t, err, "time outside of the years 0 to 9999");
  if (t->n == ENTRIES_MAX || t->strings.total > STRINGS_MAX)
    return bk_fail(err, BK_BUILD, "soci.too_large", "more files than can be indexed");
  return 0;
}

static void body(struct toc *t, uint64_t size, enum toc_state state) {
  t->left = size;
  t->padding = bk_tar_padding(size);
  t->state = size ? state : TOC_HEADER;
}

static int take_header(struct toc *t, struct bk_err *err) {
  const unsigned char *b = t->block;
  struct toc_entry e = {0};
  if (!bk_tar_is_header(b) || !read_fields(t, b, &e))
    return malformed(t, err, "not a tar header");
  unsigned char flag = b[156];
  if (flag == 'x' || flag == 'L' || flag == 'K') {
    if (e.size < 0 || e.size > BK_TAR_PAX_MAX) return malformed(t, err, "extended header too large");
    t->meta_type = (char)flag;
    bk_buf_reset(&t->meta);
    body(t, (uint64_t)e.size, TOC_META);
    return e.size ? 0 : take_meta(t, err);
  }
  if (extend(t, &e, err)) return -1;
  e.type = type_name(&e, flag);
  if (!e.type) {
    char what[48];
    snprintf(what, sizeof what, "type '%c' cannot be indexed", flag > 32 && flag < 127 ? flag : '?');
    return unsupported(t, err, what);
  }
  if (check_entry(t, &e, err)) return -1;
  if (strcmp(e.type, "reg") != 0) e.size = 0;
  e.offset = (int64_t)t->pos;
  if (t->n == t->cap) {
    t->cap = t->cap ? t->cap + t->cap / 2 : 256;
    t->list = bk_reallocarray(t->list, t->cap, sizeof *t->list);
  }
  t->list[t->n++] = e;
  body(t, (uint64_t)e.size, TOC_DATA);
  return 0;
}

static bool is_zero(const unsigned char *b) {
  return b[0] == 0 && memcmp(b, b + 1, BK_TAR_BLOCK - 1) == 0;
}

static int take_block(struct toc *t, struct bk_err *err) {
  t->have = 0;
  if (t->state == TOC_ZERO) {
    if (!is_zero(t->block)) return malformed(t, err, "data after a zero block");
    t->state = TOC_END;
    t->end = t->pos;
    return 0;
  }
  if (is_zero(t->block)) {
    t->state = TOC_ZERO;
    return 0;
  }
  return take_header(t, err);
}

/* Bytes of data, padding or an extended header are over. */
static int take_end(struct toc *t, struct bk_err *err) {
  enum toc_state was = t->state;
  t->state = TOC_HEADER;
  if (was != TOC_PADDING && t->padding) {
    t->left = t->padding;
    t->state = TOC_PADDING;
  }
  return was == TOC_META ? take_meta(t, err) : 0;
}

int toc_feed(struct toc *t, const char *p, size_t n, struct bk_err *err) {
  while (n && t->state != TOC_END) {
    if (t->state == TOC_HEADER || t->state == TOC_ZERO) {
      size_t part = BK_TAR_BLOCK - t->have < n ? BK_TAR_BLOCK - t->have : n;
      memcpy(t->block + t->have, p, part);
      t->have += part;
      t->pos += part;
      p += part;
      n -= part;
      if (t->have == BK_TAR_BLOCK && take_block(t, err)) return -1;
      continue;
    }
    size_t part = t->left < n ? (size_t)t->left : n;
    if (t->state == TOC_META) bk_buf_add(&t->meta, p, part);
    t->pos += part;
    t->left -= part;
    p += part;
    n -= part;
    if (!t->left && take_end(t, err)) return -1;
  }
  t->pos += n; /* after the end: only counted */
  return 0;
}

int toc_finish(struct toc *t, struct bk_err *err) {
  if (t->state == TOC_END) return 0;
  bool cut = t->have || t->state == TOC_DATA || t->state == TOC_META || t->n_pax || t->has_pax;
  if (cut)
    return bk_fail(err, BK_BUILD, "soci.malformed", "the tar archive ends early at offset %" PRIu64,
                   t->pos);
  t->end = t->pos;
  t->state = TOC_END;
  return 0;
}
