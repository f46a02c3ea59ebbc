/* Hash map from byte strings to pointers. Keys are copied into the map, values belong to the
 * caller. Iteration order is insertion order (deletions leave gaps): results are deterministic. */
#ifndef BK_BASE_MAP_H
#define BK_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct bk_map_entry {
  const char *key; /* NUL-terminated copy; NULL when deleted */
  size_t len;
  uint64_t hash;
  void *value;
};

struct bk_map {
  struct bk_map_entry *entries; /* in insertion order */
  size_t count, cap;            /* used slots of entries, deleted ones included */
  size_t live;
  uint32_t *index;
  size_t mask;
  struct bk_arena keys;
};

void *bk_map_get(const struct bk_map *m, const char *key, size_t len); /* NULL when absent */
bool bk_map_has(const struct bk_map *m, const char *key, size_t len);
/* Sets or replaces; returns the previous value or NULL. */
void *bk_map_set(struct bk_map *m, const char *key, size_t len, void *value);
void *bk_map_del(struct bk_map *m, const char *key, size_t len);
void bk_map_free(struct bk_map *m); /* leaves an empty, usable map */

#define bk_map_each(e, m)                                             \
  for (struct bk_map_entry *e = (m)->entries,                         \
                           *e##_end = (m)->count ? e + (m)->count : e; \
       e < e##_end; e++)                                              \
    if (e->key)

#endif
