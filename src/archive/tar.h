/* Tar entries, headers and reading; strings in an entry belong to whoever filled it in (the
 * reader's live until bk_tar_next). Written headers are byte for byte those of Go's archive/tar
 * with Format = PAX, which containerd and BuildKit use: ustar, with a pax extended header
 * (POSIX.1-2008 pax, "pax Extended Header") only where ustar cannot hold a value. */
#ifndef BK_ARCHIVE_TAR_H
#define BK_ARCHIVE_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define BK_TAR_BLOCK 512
#define BK_TAR_PAX_MAX (1u << 20) /* largest extended header read or written, as in Go */
#define BK_WHITEOUT_PREFIX ".wh."
#define BK_WHITEOUT_OPAQUE ".wh..wh..opq"

enum bk_tar_type {
  BK_TAR_FILE = '0',
  BK_TAR_HARDLINK = '1',
  BK_TAR_SYMLINK = '2',
  BK_TAR_CHAR = '3',
  BK_TAR_BLOCKDEV = '4',
  BK_TAR_DIR = '5',
  BK_TAR_FIFO = '6',
};

struct bk_tar_xattr {
  const char *name;
  const void *value;
  size_t len;
};

struct bk_tar_entry {
  const char *path; /* no trailing slash for directories; the reader keeps the rest as it is */
  const char *link; /* target of a symlink or hard link, else "" */
  enum bk_tar_type type;
  uint32_t mode, uid, gid; /* mode: permission, suid, sgid and sticky bits */
  uint32_t devmajor, devminor;
  int64_t size; /* of a file's data; 0 for every other type */
  int64_t mtime;
  uint32_t mtime_nsec; /* read only: written headers have whole seconds */
  const struct bk_tar_xattr *xattrs;
  size_t n_xattrs;
};

/* Appends the header blocks of e. */
int bk_tar_put_header(struct bk_buf *out, const struct bk_tar_entry *e,
                      struct bk_err *err) BK_WARN_UNUSED;
/* Zero bytes that follow `size` bytes of data. */
static inline size_t bk_tar_padding(uint64_t size) {
  return (size_t)((BK_TAR_BLOCK - size % BK_TAR_BLOCK) % BK_TAR_BLOCK);
}

/* --- reading --------------------------------------------------------------------------------- */

/* Gives the next piece of the uncompressed stream, valid until the next call: 1, 0 at its end, -1.
 * Every piece but the last is a multiple of 512 bytes long. */
typedef int bk_tar_pull(void *ctx, const char **p, size_t *n, struct bk_err *err);

struct bk_tar_reader;
struct bk_tar_reader *bk_tar_reader_new(bk_tar_pull *pull, void *ctx);
void bk_tar_reader_free(struct bk_tar_reader *r); /* NULL is fine */

/* Next entry (the rest of the current one's data is skipped): 1, 0 at the end of the archive, -1.
 * Understands v7, ustar, pax and GNU long names, base-256 numbers; global pax headers are ignored;
 * sparse files, multi-volume and other entry types are errors (archive.unsupported). */
int bk_tar_next(struct bk_tar_reader *r, struct bk_tar_entry *e,
                struct bk_err *err) BK_WARN_UNUSED;
/* Next piece of the current entry's data: 1, 0 at its end, -1 (also when the input ends early). */
int bk_tar_data(struct bk_tar_reader *r, const char **p, size_t *n,
                struct bk_err *err) BK_WARN_UNUSED;
uint64_t bk_tar_offset(const struct bk_tar_reader *r); /* of the current header, for messages */

/* Whether 512 bytes are a valid tar header (checksum), as the detection of ADD needs it. */
bool bk_tar_is_header(const void *block);

/* Parses "LEN KEY=VALUE\n" records and calls `record` for each; -1 with err on malformed text. */
int bk_tar_parse_pax(const char *p, size_t n,
                     int (*record)(void *ctx, const char *key, size_t klen, const char *value,
                                   size_t vlen, struct bk_err *err),
                     void *ctx, struct bk_err *err) BK_WARN_UNUSED;

#endif
