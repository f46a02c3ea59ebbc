/* File-system helpers on directory descriptors. Every descriptor is O_CLOEXEC; paths named `rel`
 * are resolved below dirfd and never leave it (openat2 RESOLVE_IN_ROOT | NO_MAGICLINKS). */
#ifndef BK_BASE_FS_H
#define BK_BASE_FS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"

/* openat2 with RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS: symlinks and `..` are followed inside root.
 * Returns the descriptor, or -1 with errno set. */
int bk_open_in_root(int rootfd, const char *rel, int flags, mode_t mode);

/* Whole file into buf (bounded by buf->max, class build `fs.too_large` beyond it). */
int bk_read_file(int dirfd, const char *path, struct bk_buf *out, struct bk_err *err)
    BK_WARN_UNUSED;

/* Writes all bytes, retrying short writes and EINTR; -1 with errno set. */
int bk_write_all(int fd, const void *p, size_t n);
/* pread counterpart: bytes read (short only at end of file) or -1 with errno set. */
ssize_t bk_read_full(int fd, void *p, size_t n);

/* Replaces dirfd/path atomically: temporary name in the same directory, optional fsync, rename.
 * On failure nothing is left behind and the old file is untouched. */
int bk_write_file(int dirfd, const char *path, const void *p, size_t n, mode_t mode, bool sync,
                  struct bk_err *err) BK_WARN_UNUSED;

/* mkdir -p; existing directories are fine. */
int bk_mkdirs(int dirfd, const char *path, mode_t mode, struct bk_err *err) BK_WARN_UNUSED;

/* rm -rf without following symlinks or crossing into mounts it cannot remove; missing is fine.
 * Directories without owner permissions are made writable first. */
int bk_rmtree(int dirfd, const char *path, struct bk_err *err) BK_WARN_UNUSED;

/* The type of a file as Lua modules call it: file, dir, symlink, fifo, char, block or socket. */
const char *bk_type_name(mode_t mode);

/* Sequence number for temporary names, unique in the process and hard to guess outside it. */
void bk_tmpname(char out[static 40], const char *prefix);

#endif
