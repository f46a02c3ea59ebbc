/* Content key of what COPY sources select. The result owns its roots. */
#ifndef BK_SNAPSHOT_SCAN_H
#define BK_SNAPSHOT_SCAN_H

#include "archive/hash.h"
#include "snapshot/walk.h"

struct bk_scan_opts {
  struct bk_selection sel;
  const char *const *sources;
  size_t n;
  bool owners;       /* uid and gid count (images, stages); a context's files all become 0:0 */
  const char *cache; /* stat cache file, or NULL */
};

struct bk_scan_result {
  char digest[BK_DIGEST_TEXT];
  uint64_t entries;      /* everything selected; of a directory that is a root what is in it */
  uint64_t files, bytes; /* everything but directories; bytes of regular files */
  struct bk_roots roots;
};

/* The digest is the sha256 of "bakery-scan 1\n" and then, per root in order,
 *   'F' name entry           for anything but a directory (name: as at the destination)
 *   'D' entry* 'E'           for a directory: its contents, sorted by path component
 *   entry = type path mode uid gid, then for
 *     'f' files: size, sha256 of the bytes, sha256 of the extended attributes or 32 zero bytes
 *     'd' directories: the same digest of their extended attributes
 *     'l' symlinks: target;  'c', 'b' devices: rdev;  'p' fifos, 's' sockets: nothing
 *     'h' further links to a file of this root: path of the first (and no mode, uid, gid)
 *   extended attributes = name NUL, length in decimal ':', value; sorted by name
 * with texts as 32-bit length and bytes, mode, uid and gid in 32, size and rdev in 64 bits, all
 * little endian; path is relative to the root. Times, the place of the tree and the order of its
 * directories do not matter. Changing this form changes every COPY key. */
int bk_snapshot_scan(const struct bk_scan_opts *opts, struct bk_scan_result *out,
                     struct bk_err *err) BK_WARN_UNUSED;

#endif
