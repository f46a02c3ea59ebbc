/* libarchive, opened when first used so that the program starts without it; the table lives as long
 * as the process. */
#ifndef BK_ARCHIVE_LIBARCHIVE_DL_H
#define BK_ARCHIVE_LIBARCHIVE_DL_H

#include <archive.h>
#include <archive_entry.h>

#include "base/err.h"

/* Every function used, once: field and symbol are generated from this list. */
#define BK_LIBARCHIVE_FUNCTIONS(X)                                                              \
  X(read_new) X(read_free) X(read_support_filter_gzip) X(read_support_filter_bzip2)             \
  X(read_support_filter_xz) X(read_support_filter_zstd) X(read_support_format_tar)              \
  X(read_open_fd) X(read_next_header) X(read_data_block) X(error_string) X(entry_pathname)      \
  X(entry_hardlink) X(entry_symlink) X(entry_filetype) X(entry_perm) X(entry_uid) X(entry_gid)  \
  X(entry_size) X(entry_mtime) X(entry_mtime_nsec) X(entry_rdevmajor) X(entry_rdevminor)        \
  X(entry_xattr_reset) X(entry_xattr_next)

struct bk_libarchive {
#define FIELD(f) __typeof__(&archive_##f) f;
  BK_LIBARCHIVE_FUNCTIONS(FIELD)
#undef FIELD
};

/* NULL with err (archive.no_libarchive) when the library is not there. */
const struct bk_libarchive *bk_libarchive(struct bk_err *err);

#endif
