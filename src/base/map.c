#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static uint64_t mix(uint64_t a, uint64_t b) {
  unsigned __int128 m = (unsigned __int128)a * b;
  return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t seed;

/* Before main, so that threads need not agree on it. */
__attribute__((constructor)) static void make_seed(void) {
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) seed = (uintptr_t)&seed;
}

/* Multiply-mix over eight bytes at a time, keyed so that nobody can prepare keys that collide. */
static uint64_t hash_bytes(const char *s, size_t n) {
  uint64_t h = seed ^ n, w;
  for (; n >= 8; s += 8, n -= 8) {
    memcpy(&w, s, 8);
    h = mix(h ^ w, 0x9e3779b97f4a7c15u ^ (seed << 1));
  }
  w = 0;
  memcpy(&w, s, n);
  return mix(h ^ w, 0xd6e8feb86659fd93u ^ seed);
}

static uint32_t *find(const struct bk_map *m, const char *key, size_t len, uint64_t h) {
  if (!m->index) return NULL;
  for (size_t i = h & m->mask;; i = (i + 1) & m->mask) {
    uint32_t at = m->index[i];
    if (at == 0) return NULL;
    const struct bk_map_entry *e = &m->entries[at - 1];
    if (e->key && e->hash == h && e->len == len && memcmp(e->key, key, len) == 0)
      return &m->index[i];
  }
}

static void rehash(struct bk_map *m) {
  size_t live = 0;
  for (size_t i = 0; i < m->count; i++)
    if (m->entries[i].key) m->entries[live++] = m->entries[i];
  m->count = live;
  size_t size = 16;
  while (size < live * 4) size *= 2;
  free(m->index);
  m->index = bk_calloc(size, sizeof *m->index);
  m->mask = size - 1;
  for (size_t i = 0; i < live; i++) {
    size_t at = m->entries[i].hash & m->mask;
    while (m->index[at]) at = (at + 1) & m->mask;
    m->index[at] = (uint32_t)i + 1;
  }
}

void *bk_map_get(const struct bk_map *m, const char *key, size_t len) {
  uint32_t *slot = find(m, key, len, hash_bytes(key, len));
  return slot ? m->entries[*slot - 1].value : NULL;
}

bool bk_map_has(const struct bk_map *m, const char *key, size_t len) {
  return find(m, key, len, hash_bytes(key, len)) != NULL;
}

void *bk_map_set(struct bk_map *m, const char *key, size_t len, void *value) {
  uint64_t h = hash_bytes(key, len);
  uint32_t *slot = find(m, key, len, h);
  if (slot) {
    void *old = m->entries[*slot - 1].value;
    m->entries[*slot - 1].value = value;
    return old;
  }
  if (m->count == m->cap) {
    m->cap = m->cap ? m->cap * 2 : 8;
    m->entries = bk_reallocarray(m->entries, m->cap, sizeof *m->entries);
  }
  if (!m->index || m->count * 2 > m->mask) rehash(m);
  m->entries[m->count++] = (struct bk_map_entry){
      .key = bk_arena_strndup(&m->keys, key, len), .len = len, .hash = h, .value = value};
  m->live++;
  size_t at = h & m->mask;
  while (m->index[at]) at = (at + 1) & m->mask;
  m->index[at] = (uint32_t)m->count;
  return NULL;
}

void *bk_map_del(struct bk_map *m, const char *key, size_t len) {
  uint32_t *slot = find(m, key, len, hash_bytes(key, len));
  if (!slot) return NULL;
  struct bk_map_entry *e = &m->entries[*slot - 1];
  void *old = e->value;
  e->key = NULL; /* the index keeps pointing here: a tombstone until the next rehash */
  e->value = NULL;
  m->live--;
  return old;
}

void bk_map_free(struct bk_map *m) {
  free(m->entries);
  free(m->index);
  bk_arena_free(&m->keys);
  *m = (struct bk_map){0};
}
