/* Digests of files by what stat says about them, kept in one small file (builder.md 7.3). The cache
 * owns everything; it is never trusted further than an exact match, so a damaged or missing file is
 * an empty cache and losing an update costs only time. */
#ifndef BK_SNAPSHOT_STATCACHE_H
#define BK_SNAPSHOT_STATCACHE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"

struct bk_statcache;

struct bk_file_digest {
  unsigned char content[32]; /* sha256; zero for directories */
  unsigned char xattrs[32];  /* of the kept extended attributes; zero = none */
};

struct bk_statcache *bk_statcache_load(const char *file); /* NULL: a cache that is never saved */
void bk_statcache_free(struct bk_statcache *c);           /* NULL is fine */
bool bk_statcache_get(struct bk_statcache *c, const char *path, const struct stat *st,
                      struct bk_file_digest *out);
/* Remembers it unless the file changed so recently that a later change could look the same: within
 * two clock ticks of the moment the cache was loaded, which comes before any reading. */
void bk_statcache_put(struct bk_statcache *c, const char *path, const struct stat *st,
                      const struct bk_file_digest *digest);
/* Replaces the file when something was added; entries not asked for in the last 20 saves go. */
int bk_statcache_save(struct bk_statcache *c, struct bk_err *err) BK_WARN_UNUSED;

#endif
