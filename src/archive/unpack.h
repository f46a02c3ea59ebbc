/* Archives for ADD and the small conversions around them; nothing is owned beyond each call.
 * General archives are read by libarchive, which is opened when it is first needed. */
#ifndef BK_ARCHIVE_UNPACK_H
#define BK_ARCHIVE_UNPACK_H

#include "archive/sink.h"
#include "archive/tar.h"
#include "base/limits.h"

/* What ADD would unpack, by content: "tar", "gzip", "bzip2", "xz", "zstd" (a tar in it each time),
 * NULL for anything else. 0, or -1 when the file cannot be read. */
int bk_archive_sniff(const char *path, const char **kind, struct bk_err *err) BK_WARN_UNUSED;

struct bk_unpack_opts {
  const char *file, *dir; /* dir is created when missing and stays on failure */
  const char *name; /* of the file in errors; NULL: as it is */
  const char *digest;     /* expected digest of the file, or NULL */
  int64_t owner;          /* as in bk_extract_opts */
  bool rootless;
  struct bk_limits limits; /* content and 512 bytes per entry: archive.too_large; limits.entries */
  const atomic_bool *cancel;
};
struct bk_unpack_result {
  uint64_t entries;
};
/* Tar, plain or compressed by gzip, bzip2, xz or zstd. */
int bk_archive_unpack(const struct bk_unpack_opts *opts, struct bk_unpack_result *out,
                      struct bk_err *err) BK_WARN_UNUSED;

/* Calls `visit` for every entry of a tar (plain, gzip, zstd); a non-zero return stops with -1. With
 * `digests`, sha256 is that of a file's content in hex, else NULL. */
typedef int bk_archive_visit(void *ctx, const struct bk_tar_entry *e, const char *sha256);
int bk_archive_list(const char *path, bool digests, bk_archive_visit *visit, void *ctx,
                    const atomic_bool *cancel, struct bk_err *err) BK_WARN_UNUSED;

/* Rewrites src to dst (created or truncated; removed on failure): any codec in, opts->compression
 * out. opts->fd is ignored. */
int bk_archive_convert(const char *src, const char *dst, const struct bk_sink_opts *opts,
                       struct bk_stream_result *in, struct bk_sink_result *out,
                       struct bk_err *err) BK_WARN_UNUSED;

#endif
