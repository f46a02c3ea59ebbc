#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/tar.h"
#include "base/mem.h"

/* Offsets and lengths of the ustar header (POSIX.1-2008 pax, "ustar Interchange Format"). */
enum {
  NAME = 0, NAME_LEN = 100,
  MODE = 100, UID = 108, GID = 116, ID_LEN = 8,
  SIZE = 124, MTIME = 136, NUM_LEN = 12,
  CHECKSUM = 148,
  TYPE = 156,
  LINK = 157, LINK_LEN = 100,
  MAGIC = 257,
  DEVMAJOR = 329, DEVMINOR = 337,
  PREFIX = 345, PREFIX_LEN = 155,
};

static bool is_ascii(const char *s) {
  for (; *s; s++)
    if ((unsigned char)*s >= 0x80) return false;
  return true;
}

static bool fits_octal(int64_t x, size_t len) {
  return x >= 0 && (uint64_t)x < (uint64_t)1 << ((len - 1) * 3);
}

/* Zero-padded octal and NUL; a number that does not fit becomes zero (a pax record has it). */
static void put_octal(char *field, size_t len, int64_t x) {
  char text[32];
  if (!fits_octal(x, len)) x = 0;
  snprintf(text, sizeof text, "%0*" PRIo64, (int)len - 1, (uint64_t)x);
  memcpy(field, text, len);
}

static void put_string(char *field, size_t len, const char *s) {
  size_t n = strlen(s);
  memcpy(field, s, n < len ? n : len);
  /* Readers that only see the v7 name must not take a cut file name for a directory. */
  if (n > len && field[len - 1] == '/')
    for (size_t i = len; i-- > 0 && field[i] == '/';) field[i] = '\0';
}

static void put_checksum(char *block) {
  unsigned sum = 0;
  memset(block + CHECKSUM, ' ', 8);
  for (int i = 0; i < BK_TAR_BLOCK; i++) sum += (unsigned char)block[i];
  put_octal(block + CHECKSUM, 7, sum);
}

/* Copy without the bytes above 0x7f, as Go's toASCII leaves out every rune that is not ASCII. */
static char *to_ascii(const char *s) {
  char *out = bk_malloc(strlen(s) + 1), *p = out;
  for (; *s; s++)
    if ((unsigned char)*s < 0x80) *p++ = *s;
  *p = '\0';
  return out;
}

/* Length of the part of a long name that goes into the prefix field, or 0. */
static size_t split_name(const char *name) {
  size_t full = strlen(name), len = full;
  if (full <= NAME_LEN || !is_ascii(name)) return 0;
  if (len > PREFIX_LEN + 1) len = PREFIX_LEN + 1;
  else if (name[len - 1] == '/') len--;
  while (len && name[len - 1] != '/') len--;
  if (len <= 1) return 0;
  size_t prefix = len - 1, suffix = full - len;
  return suffix == 0 || suffix > NAME_LEN || prefix > PREFIX_LEN ? 0 : prefix;
}

/* --- pax records ----------------------------------------------------------------------------- */

struct record {
  char *key;
  const void *value;
  size_t len;
  char number[24];
};

struct records {
  struct record *v;
  size_t n;
};

static void records_free(struct records *r) {
  for (size_t i = 0; i < r->n; i++) free(r->v[i].key);
  free(r->v);
}

static struct record *record_add(struct records *r, const char *prefix, const char *key) {
  r->v = bk_reallocarray(r->v, r->n + 1, sizeof *r->v);
  struct record *rec = &r->v[r->n++];
  *rec = (struct record){.key = bk_asprintf("%s%s", prefix, key)};
  return rec;
}

static void record_string(struct records *r, const char *key, const char *value) {
  struct record *rec = record_add(r, "", key);
  rec->value = value;
  rec->len = strlen(value);
}

static void record_number(struct records *r, const char *key, int64_t value, size_t field) {
  if (fits_octal(value, field)) return;
  struct record *rec = record_add(r, "", key);
  snprintf(rec->number, sizeof rec->number, "%" PRId64, value);
}

static int by_key(const void *a, const void *b) {
  return strcmp(((const struct record *)a)->key, ((const struct record *)b)->key);
}

/* "LEN KEY=VALUE\n" where LEN counts the whole record, itself included. */
static void record_put(struct bk_buf *out, const struct record *rec) {
  const void *value = rec->value ? rec->value : rec->number;
  size_t len = rec->value ? rec->len : strlen(rec->number);
  size_t body = strlen(rec->key) + len + 3, size = body + 1;
  for (;;) {
    size_t digits = (size_t)snprintf(NULL, 0, "%zu", size);
    if (body + digits == size) break;
    size = body + digits;
  }
  bk_buf_addf(out, "%zu %s=", size, rec->key);
  bk_buf_add(out, value, len);
  bk_buf_addc(out, '\n');
}

static int collect(struct records *r, const struct bk_tar_entry *e, const char *name,
                   struct bk_err *err) {
  size_t n = strlen(name);
  bool only_pax = e->n_xattrs > 0;
  bool long_name = n > NAME_LEN || !is_ascii(name);
  bool long_link = strlen(e->link) > LINK_LEN || !is_ascii(e->link);
  for (size_t i = 0; i < e->n_xattrs; i++) {
    const struct bk_tar_xattr *x = &e->xattrs[i];
    if (!*x->name || strchr(x->name, '='))
      return bk_fail(err, BK_BUILD, "archive.bad_name",
                     "'%s': extended attribute '%s' has no tar form", e->path, x->name);
    struct record *rec = record_add(r, "SCHILY.xattr.", x->name);
    rec->value = x->value;
    rec->len = x->len;
  }
  if (long_link) record_string(r, "linkpath", e->link);
  record_number(r, "uid", e->uid, ID_LEN);
  record_number(r, "gid", e->gid, ID_LEN);
  record_number(r, "size", e->size, NUM_LEN);
  record_number(r, "mtime", e->mtime, NUM_LEN);
  only_pax = only_pax || r->n > 0;
  if (long_name && (only_pax || !split_name(name))) record_string(r, "path", name);
  return 0;
}

/* --- header blocks --------------------------------------------------------------------------- */

/* dir/PaxHeaders.0/base, cut to the name field. */
static void pax_name(char *field, const char *name) {
  const char *slash = strrchr(name, '/');
  int dir = slash ? (int)(slash - name) : 0;
  const char *base = slash ? slash + 1 : name;
  cleanup_free char *full = bk_asprintf("%.*s%sPaxHeaders.0%s%s", dir, name, dir ? "/" : "",
                                        *base ? "/" : "", base);
  cleanup_free char *ascii = to_ascii(full);
  size_t n = strlen(ascii);
  if (n > NAME_LEN) n = NAME_LEN;
  while (n && ascii[n - 1] == '/') n--;
  memcpy(field, ascii, n);
}

static int put_pax(struct bk_buf *out, struct records *r, const char *name, struct bk_err *err) {
  cleanup_buf struct bk_buf data = {0};
  qsort(r->v, r->n, sizeof *r->v, by_key);
  for (size_t i = 0; i < r->n; i++) record_put(&data, &r->v[i]);
  if (data.len > BK_TAR_PAX_MAX)
    return bk_fail(err, BK_BUILD, "archive.too_large",
                   "'%s': extended attributes of %zu bytes do not fit in a tar header", name,
                   data.len);
  char block[BK_TAR_BLOCK] = {0};
  pax_name(block + NAME, name);
  put_octal(block + MODE, ID_LEN, 0);
  put_octal(block + UID, ID_LEN, 0);
  put_octal(block + GID, ID_LEN, 0);
  put_octal(block + SIZE, NUM_LEN, (int64_t)data.len);
  put_octal(block + MTIME, NUM_LEN, 0);
  block[TYPE] = 'x';
  memcpy(block + MAGIC, "ustar\00000", 8);
  put_checksum(block);
  bk_buf_add(out, block, sizeof block);
  bk_buf_add(out, data.p, data.len);
  static const char zeros[BK_TAR_BLOCK];
  bk_buf_add(out, zeros, bk_tar_padding(data.len));
  return 0;
}

int bk_tar_put_header(struct bk_buf *out, const struct bk_tar_entry *e, struct bk_err *err) {
  cleanup_free char *name = bk_asprintf("%s%s", e->path, e->type == BK_TAR_DIR ? "/" : "");
  __attribute__((cleanup(records_free))) struct records pax = {0};
  if (collect(&pax, e, name, err)) return -1;
  size_t prefix = 0;
  cleanup_free char *ascii_name = NULL, *ascii_link = to_ascii(e->link);
  if (pax.n) {
    if (put_pax(out, &pax, name, err)) return -1;
    ascii_name = to_ascii(name);
  } else {
    prefix = split_name(name);
    ascii_name = bk_strdup(prefix ? name + prefix + 1 : name);
  }
  char block[BK_TAR_BLOCK] = {0};
  put_string(block + NAME, NAME_LEN, ascii_name);
  put_octal(block + MODE, ID_LEN, e->mode & 07777);
  put_octal(block + UID, ID_LEN, e->uid);
  put_octal(block + GID, ID_LEN, e->gid);
  put_octal(block + SIZE, NUM_LEN, e->size);
  put_octal(block + MTIME, NUM_LEN, e->mtime);
  block[TYPE] = (char)e->type;
  put_string(block + LINK, LINK_LEN, ascii_link);
  memcpy(block + MAGIC, "ustar\00000", 8);
  put_octal(block + DEVMAJOR, ID_LEN, e->devmajor);
  put_octal(block + DEVMINOR, ID_LEN, e->devminor);
  if (prefix) memcpy(block + PREFIX, name, prefix);
  put_checksum(block);
  bk_buf_add(out, block, sizeof block);
  if (out->overflow)
    return bk_fail(err, BK_BUILD, "archive.too_large", "'%s': header too large", e->path);
  return 0;
}
