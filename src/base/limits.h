/* How much may come out of an archive or a directory that somebody else has made. Zero: no limit. */
#ifndef BK_BASE_LIMITS_H
#define BK_BASE_LIMITS_H

#include <stdint.h>

#include "base/err.h"

struct bk_limits {
  uint64_t bytes;   /* of content */
  double ratio;     /* bytes of content per byte of the archive … */
  uint64_t floor;   /* … which counts only above that many bytes of content */
  uint64_t entries; /* files, directories and all else */
};

/* Bytes that may come out of an archive of `packed` bytes; 0 = any number. */
uint64_t bk_limits_bytes(const struct bk_limits *l, uint64_t packed);

/* The n-th entry of `what`: -1 with code limits.entries when it is one too many. */
int bk_limits_entry(const struct bk_limits *l, uint64_t n, const char *what, struct bk_err *err) BK_WARN_UNUSED;

#endif
