#include "base/limits.h"

uint64_t bk_limits_bytes(const struct bk_limits *l, uint64_t packed) {
  double by_ratio = l->ratio * (double)packed;
  if (!(l->ratio > 0) || (l->bytes && by_ratio >= (double)l->bytes) || by_ratio >= 0x1p63) return l->bytes;
  uint64_t most = (uint64_t)by_ratio;
  if (most < l->floor) most = l->floor;
  return l->bytes && most > l->bytes ? l->bytes : most;
}

int bk_limits_entry(const struct bk_limits *l, uint64_t n, const char *what, struct bk_err *err) {
  if (!l->entries || n <= l->entries) return 0;
  return bk_fail(err, BK_BUILD, "limits.entries", "%s has more than %llu entries", what,
                 (unsigned long long)l->entries);
}
