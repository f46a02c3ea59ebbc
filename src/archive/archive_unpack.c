#include "archive/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "archive/decoder.h"
#include "archive/extract.h"
#include "archive/libarchive_dl.h"
#include "base/fs.h"
#include "base/ids.h"
#include "base/mem.h"

/* --- libarchive as a source of entries ------------------------------------------------------- */

struct source {
  const struct bk_libarchive *lib;
  struct archive *a;
  locale_t utf8, before; /* pax names are UTF-8; libarchive converts to the thread's locale */
  struct archive_entry *entry;
  struct bk_tar_xattr *xattrs;
  int64_t pos, size;   /* within the current file */
  const void *pending; /* block that comes after a hole */
  size_t pending_len;
  uint64_t total, max; /* bytes so far, and how many there may be (0: any) */
};

static int count(struct source *s, uint64_t n, struct bk_err *err) {
  s->total += n;
  if (!s->max || s->total <= s->max) return 0;
  return bk_fail(err, BK_BUILD, "archive.too_large", "archive is larger than %llu bytes when unpacked",
                 (unsigned long long)s->max);
}

static void source_close(struct source *s) {
  if (s->a) s->lib->read_free(s->a);
  if (s->before) uselocale(s->before);
  if (s->utf8) freelocale(s->utf8);
  free(s->xattrs);
}

static int source_fail(struct source *s, struct bk_err *err, const char *what) {
  const char *why = s->lib->error_string(s->a);
  return bk_fail(err, BK_BUILD, "archive.malformed", "%s: %s", what, why ? why : "unknown error");
}

static int source_open(struct source *s, int fd, struct bk_err *err) {
  if (!(s->lib = bk_libarchive(err))) return -1;
  s->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  if (s->utf8) s->before = uselocale(s->utf8);
  s->a = s->lib->read_new();
  if (!s->a) return bk_fail(err, BK_BUILD, "ENOMEM", "open archive");
  s->lib->read_support_filter_gzip(s->a);
  s->lib->read_support_filter_bzip2(s->a);
  s->lib->read_support_filter_xz(s->a);
  s->lib->read_support_filter_zstd(s->a);
  s->lib->read_support_format_tar(s->a);
  if (s->lib->read_open_fd(s->a, fd, 256 << 10) != ARCHIVE_OK)
    return source_fail(s, err, "open archive");
  return 0;
}

static void read_xattrs(struct source *s, struct bk_tar_entry *e) {
  size_t n = (size_t)s->lib->entry_xattr_reset(s->entry);
  if (!n) return;
  s->xattrs = bk_reallocarray(s->xattrs, n, sizeof *s->xattrs);
  for (size_t i = 0; i < n; i++) {
    struct bk_tar_xattr *x = &s->xattrs[e->n_xattrs];
    if (s->lib->entry_xattr_next(s->entry, &x->name, &x->value, &x->len) != ARCHIVE_OK) break;
    e->n_xattrs++;
  }
  e->xattrs = s->xattrs;
}

static int entry_type(mode_t type) {
  switch (type) {
    case AE_IFREG: return BK_TAR_FILE;
    case AE_IFDIR: return BK_TAR_DIR;
    case AE_IFLNK: return BK_TAR_SYMLINK;
    case AE_IFCHR: return BK_TAR_CHAR;
    case AE_IFBLK: return BK_TAR_BLOCKDEV;
    case AE_IFIFO: return BK_TAR_FIFO;
    default: return 0;
  }
}

/* 1, 0 at the end, -1. */
static int source_next(struct source *s, struct bk_tar_entry *e, struct bk_err *err) {
  int rc = s->lib->read_next_header(s->a, &s->entry);
  if (rc == ARCHIVE_EOF) return 0;
  if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) return source_fail(s, err, "read archive");
  const char *path = s->lib->entry_pathname(s->entry), *hard = s->lib->entry_hardlink(s->entry);
  const char *link = hard ? hard : s->lib->entry_symlink(s->entry);
  if (!path) return source_fail(s, err, "entry without a readable name");
  *e = (struct bk_tar_entry){.path = path, .link = link ? link : ""};
  int type = hard ? BK_TAR_HARDLINK : entry_type(s->lib->entry_filetype(s->entry));
  if (!type) return bk_fail(err, BK_BUILD, "archive.unsupported", "'%.200s': unknown type", path);
  int64_t uid = s->lib->entry_uid(s->entry), gid = s->lib->entry_gid(s->entry);
  if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
    return bk_fail(err, BK_BUILD, "archive.malformed", "'%.200s': owner out of range", path);
  e->type = (enum bk_tar_type)type;
  e->mode = s->lib->entry_perm(s->entry) & 07777;
  e->uid = (uint32_t)uid;
  e->gid = (uint32_t)gid;
  e->mtime = s->lib->entry_mtime(s->entry);
  e->mtime_nsec = (uint32_t)s->lib->entry_mtime_nsec(s->entry);
  e->devmajor = (uint32_t)s->lib->entry_rdevmajor(s->entry);
  e->devminor = (uint32_t)s->lib->entry_rdevminor(s->entry);
  e->size = type == BK_TAR_FILE ? s->lib->entry_size(s->entry) : 0;
  read_xattrs(s, e);
  s->pos = 0;
  s->size = e->size;
  s->pending = NULL;
  return 1;
}

/* bk_extract_data: sparse files come as blocks with offsets, the gaps are holes. */
static int source_data(void *ctx, const char **p, size_t *n, struct bk_err *err) {
  struct source *s = ctx;
  if (!s->pending && s->pos < s->size) {
    int64_t offset = 0;
    int rc = s->lib->read_data_block(s->a, &s->pending, &s->pending_len, &offset);
    if (rc == ARCHIVE_EOF) {
      s->pending = NULL;
      offset = s->size;
    } else if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
      return source_fail(s, err, "read archive");
    }
    if (offset < s->pos) return source_fail(s, err, "blocks out of order");
    if (offset > s->pos) {
      *p = NULL;
      *n = (size_t)(offset - s->pos);
      s->pos = offset;
      return 1;
    }
  }
  if (!s->pending) return 0;
  if (count(s, s->pending_len, err)) return -1;
  *p = s->pending;
  *n = s->pending_len;
  s->pos += (int64_t)*n;
  s->pending = NULL;
  return 1;
}

/* --- sniff ----------------------------------------------------------------------------------- */

static const char *magic_kind(const unsigned char *b, size_t n) {
  switch (bk_compression_sniff(b, n)) {
    case BK_COMPRESSION_GZIP: return "gzip";
    case BK_COMPRESSION_ZSTD: return "zstd";
    default: break;
  }
  if (n >= 3 && memcmp(b, "BZh", 3) == 0) return "bzip2";
  if (n >= 6 && memcmp(b, "\xfd" "7zXZ\0", 6) == 0) return "xz";
  return n >= BK_TAR_BLOCK && bk_tar_is_header(b) ? "tar" : NULL;
}

/* Whether what can be decompressed begins with a header: then it is a damaged archive and no mere file. */
static bool begins_as_tar(int fd, enum bk_compression compression) {
  size_t size = 256 << 10;
  uint8_t block[BK_TAR_BLOCK];
  struct bk_err ignored;
  if (compression == BK_COMPRESSION_NONE || lseek(fd, 0, SEEK_SET)) return false;
  cleanup_free uint8_t *in = bk_malloc(size);
  ssize_t n = bk_read_full(fd, in, size);
  struct bk_decoder d = {.codec = bk_codec_for(compression, true),
                         .in = in,
                         .in_left = n < 0 ? 0 : (size_t)n,
                         .out = block,
                         .out_left = sizeof block};
  if (d.codec->init(&d, &ignored) == 0) (void)!bk_decoder_run(&d, &ignored);
  d.codec->end(&d);
  return !d.out_left && bk_tar_is_header(block);
}

int bk_archive_sniff(const char *path, const char **kind, struct bk_err *err) {
  *kind = NULL;
  cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", path);
  unsigned char block[BK_TAR_BLOCK];
  ssize_t n = bk_read_full(fd, block, sizeof block);
  if (n < 0) return bk_fail_errno(err, errno, "read '%s'", path);
  const char *found = magic_kind(block, (size_t)n);
  if (!found || strcmp(found, "tar") == 0) {
    *kind = found;
    return 0;
  }
  if (lseek(fd, 0, SEEK_SET)) return bk_fail_errno(err, errno, "read '%s'", path);
  struct source s = {0};
  struct bk_tar_entry e;
  struct bk_err why;
  int rc = source_open(&s, fd, &why);
  if (rc == 0 && source_next(&s, &e, &why) == 1) *kind = found;
  bool lib = s.lib != NULL;
  source_close(&s);
  if (!lib) {
    *err = why;
    return -1;
  }
  if (!*kind && begins_as_tar(fd, bk_compression_sniff(block, (size_t)n))) *kind = found;
  return 0;
}

/* --- unpack ---------------------------------------------------------------------------------- */

static int check_digest(const char *file, const char *want, struct bk_err *err) {
  char hex[BK_DIGEST_HEX_MAX];
  bool sha512 = strncmp(want, "sha512:", 7) == 0;
  if (!bk_digest_is_valid(want))
    return bk_fail(err, BK_USAGE, "archive.bad_digest", "'%.100s' is not a digest", want);
  if (bk_digest_file(AT_FDCWD, file, sha512 ? BK_SHA512 : BK_SHA256, hex, NULL, err)) return -1;
  if (strcmp(hex, want + 7) == 0) return 0;
  return bk_fail(err, BK_BUILD, "archive.digest_mismatch", "'%s' has digest %s:%s, expected %s",
                 file, sha512 ? "sha512" : "sha256", hex, want);
}

static const char *name_of(const struct bk_unpack_opts *o) { return o->name ? o->name : o->file; }

static int unpack_into(const struct bk_unpack_opts *o, int fd, int dir,
                       struct bk_unpack_result *out, struct bk_err *err) {
  struct bk_extract_opts xo = {.rootfd = dir, .rootless = o->rootless, .owner = o->owner};
  struct stat st;
  if (bk_fstat(fd, &st)) return bk_fail_errno(err, errno, "stat '%s'", name_of(o));
  struct source s = {.max = bk_limits_bytes(&o->limits, (uint64_t)st.st_size)};
  struct bk_extractor *x = bk_extract_new(&xo);
  struct bk_tar_entry e;
  int rc = source_open(&s, fd, err);
  while (rc == 0 && (rc = source_next(&s, &e, err)) == 1) {
    rc = count(&s, 512, err);
    if (rc == 0) rc = bk_extract_entry(x, &e, source_data, &s, err);
    if (rc == 0) rc = bk_limits_entry(&o->limits, ++out->entries, "the archive", err);
    if (rc == 0 && o->cancel && atomic_load(o->cancel))
      rc = bk_fail(err, BK_BUILD, "cancelled", "cancelled");
    if (rc) break;
  }
  if (rc == 0) rc = bk_extract_finish(x, err);
  bk_extract_free(x);
  source_close(&s);
  return rc;
}

int bk_archive_unpack(const struct bk_unpack_opts *o, struct bk_unpack_result *out,
                      struct bk_err *err) {
  memset(out, 0, sizeof *out);
  if (o->digest && check_digest(o->file, o->digest, err)) return -1;
  cleanup_close int fd = open(o->file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", name_of(o));
  if (mkdir(o->dir, 0755) && errno != EEXIST)
    return bk_fail_errno(err, errno, "create directory '%s'", o->dir);
  cleanup_close int dir = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return bk_fail_errno(err, errno, "open directory '%s'", o->dir);
  if (unpack_into(o, fd, dir, out, err)) return bk_err_wrap(err, "unpack '%s'", name_of(o));
  return 0;
}

/* --- list, convert --------------------------------------------------------------------------- */

/* Hex digest of the current entry's content. */
static int content_digest(struct bk_tar_reader *r, char *hex, struct bk_err *err) {
  struct bk_digest d;
  bk_digest_init(&d, BK_SHA256);
  const char *p;
  size_t n;
  int rc;
  while ((rc = bk_tar_data(r, &p, &n, err)) == 1) bk_digest_update(&d, p, n);
  bk_digest_hex(&d, hex);
  return rc;
}

int bk_archive_list(const char *path, bool digests, bk_archive_visit *visit, void *ctx,
                    const atomic_bool *cancel, struct bk_err *err) {
  cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", path);
  struct bk_stream_opts so = {.fd = fd, .cancel = cancel};
  cleanup_stream struct bk_stream *stream = NULL;
  if (bk_stream_open(&so, &stream, err)) return bk_err_wrap(err, "read '%s'", path);
  struct bk_tar_reader *r = bk_tar_reader_new(bk_stream_next, stream);
  struct bk_tar_entry e;
  struct bk_stream_result ignored;
  int rc;
  while ((rc = bk_tar_next(r, &e, err)) == 1) {
    char hex[BK_DIGEST_HEX_MAX];
    bool hashed = digests && e.type == BK_TAR_FILE;
    struct bk_tar_entry kept = e;
    if (hashed && (rc = content_digest(r, hex, err))) break;
    if (visit(ctx, &kept, hashed ? hex : NULL)) {
      rc = bk_fail(err, BK_BUILD, "cancelled", "stopped");
      break;
    }
  }
  if (rc == 0) rc = bk_stream_finish(stream, &ignored, err);
  bk_tar_reader_free(r);
  return rc ? bk_err_wrap(err, "read '%s'", path) : 0;
}

static int pump(struct bk_stream *from, struct bk_sink *to, struct bk_stream_result *in,
                struct bk_sink_result *out, struct bk_err *err) {
  const char *p;
  size_t n;
  int rc;
  while ((rc = bk_stream_next(from, &p, &n, err)) == 1)
    if (bk_sink_write(to, p, n, err)) return -1;
  if (rc || bk_stream_finish(from, in, err)) return -1;
  return bk_sink_finish(to, out, err);
}

int bk_archive_convert(const char *src, const char *dst, const struct bk_sink_opts *opts,
                       struct bk_stream_result *in, struct bk_sink_result *out,
                       struct bk_err *err) {
  cleanup_close int fd = open(src, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", src);
  struct bk_stream_opts so = {.fd = fd, .hash_input = true, .cancel = opts->cancel};
  cleanup_stream struct bk_stream *stream = NULL;
  if (bk_stream_open(&so, &stream, err)) return bk_err_wrap(err, "read '%s'", src);
  struct bk_sink_opts ko = *opts;
  cleanup_close int to = open(dst, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (to < 0) return bk_fail_errno(err, errno, "create '%s'", dst);
  ko.fd = to;
  cleanup_sink struct bk_sink *sink = NULL;
  if (bk_sink_open(&ko, &sink, err) == 0 && pump(stream, sink, in, out, err) == 0) return 0;
  unlink(dst);
  return bk_err_wrap(err, "convert '%s' to '%s'", src, dst);
}
