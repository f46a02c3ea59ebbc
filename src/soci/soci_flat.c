#include "soci/flat.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define CHUNK (256u << 10)
#define MOST 0x7fffffffu /* offsets are signed 32 bits for readers */

struct flat_chunk { /* filled from its end; bytes == NULL: external */
  struct flat_chunk *next;
  uint32_t len;
  char *bytes;
};

struct flat_vtable {
  uint32_t off;
  uint16_t rel[FLAT_SLOTS], n;
};

void flat_free(struct flat *f) {
  for (struct flat_chunk *c = f->head, *next; c; c = next) {
    next = c->next;
    free(c->bytes);
    free(c);
  }
  free(f->vtables);
  *f = (struct flat){0};
}

static bool room(struct flat *f, size_t n) {
  if (n > MOST - f->off) f->overflow = true;
  return !f->overflow;
}

static struct flat_chunk *chunk(struct flat *f, char *bytes, uint32_t len) {
  struct flat_chunk *c = bk_malloc(sizeof *c);
  *c = (struct flat_chunk){.next = f->head, .bytes = bytes, .len = len};
  f->head = c;
  return c;
}

void flat_put(struct flat *f, const void *p, size_t n) {
  if (!room(f, n)) return;
  f->off += (uint32_t)n;
  while (n) {
    struct flat_chunk *c = f->head;
    if (!c || !c->bytes || c->len == CHUNK) c = chunk(f, bk_malloc(CHUNK), 0);
    size_t part = n < CHUNK - c->len ? n : CHUNK - c->len;
    c->len += (uint32_t)part;
    n -= part;
    memcpy(c->bytes + CHUNK - c->len, (const char *)p + n, part);
  }
}

void flat_prep(struct flat *f, uint32_t size, uint32_t extra) {
  static const char zeros[8];
  if (size > f->minalign) f->minalign = size;
  flat_put(f, zeros, (size_t)(-(f->off + extra) & (size - 1)));
}

static void put_le(struct flat *f, uint64_t v, size_t n) {
  unsigned char b[8];
  for (size_t i = 0; i < n; i++) b[i] = (unsigned char)(v >> 8 * i);
  flat_put(f, b, n);
}

void flat_u32(struct flat *f, uint32_t v) { put_le(f, v, 4); }

uint32_t flat_string(struct flat *f, const char *s, size_t n) {
  if (!room(f, n + 16)) return 0;
  flat_prep(f, 4, (uint32_t)n + 1);
  flat_put(f, "", 1);
  flat_put(f, s, n);
  flat_u32(f, (uint32_t)n);
  return f->off;
}

uint32_t flat_external(struct flat *f, uint32_t n) {
  if (!room(f, (size_t)n + 16)) return 0;
  flat_prep(f, 4, n);
  chunk(f, NULL, n);
  f->off += n;
  flat_u32(f, n);
  return f->off;
}

static void put_ref(struct flat *f, uint32_t to) {
  flat_prep(f, 4, 0);
  flat_u32(f, f->off - to + 4);
}

uint32_t flat_offsets(struct flat *f, const uint32_t *list, size_t n) {
  if (!room(f, 4 * n + 16)) return 0;
  flat_prep(f, 4, (uint32_t)(4 * n));
  for (size_t i = n; i-- > 0;) put_ref(f, list[i]);
  flat_u32(f, (uint32_t)n);
  return f->off;
}

/* --- tables ---------------------------------------------------------------------------------- */

void flat_table(struct flat *f) {
  memset(f->slot, 0, sizeof f->slot);
  f->start = f->off;
}

void flat_add_ref(struct flat *f, int slot, uint32_t ref) {
  if (!ref) return;
  put_ref(f, ref);
  f->slot[slot] = f->off;
}

void flat_add_i64(struct flat *f, int slot, int64_t v) {
  if (!v) return;
  flat_prep(f, 8, 0);
  put_le(f, (uint64_t)v, 8);
  f->slot[slot] = f->off;
}

void flat_add_u32(struct flat *f, int slot, uint32_t v) {
  if (!v) return;
  flat_prep(f, 4, 0);
  flat_u32(f, v);
  f->slot[slot] = f->off;
}

void flat_add_u8(struct flat *f, int slot, uint8_t v, uint8_t def) {
  if (v == def) return;
  flat_prep(f, 1, 0);
  flat_put(f, &v, 1);
  f->slot[slot] = f->off;
}

/* The byte that is `at` bytes from the end, in a chunk of our own. */
static char *byte_at(struct flat *f, uint32_t at) {
  uint32_t off = f->off;
  for (struct flat_chunk *c = f->head; c; off -= c->len, c = c->next)
    if (at > off - c->len) return c->bytes + CHUNK - c->len + (off - at);
  abort();
}

static uint32_t vtable(struct flat *f, uint32_t obj) {
  struct flat_vtable v = {.n = FLAT_SLOTS};
  while (v.n && !f->slot[v.n - 1]) v.n--;
  for (int i = 0; i < v.n; i++) v.rel[i] = f->slot[i] ? (uint16_t)(obj - f->slot[i]) : 0;
  for (size_t i = f->nvtables; i-- > 0;)
    if (f->vtables[i].n == v.n && memcmp(f->vtables[i].rel, v.rel, sizeof v.rel) == 0)
      return f->vtables[i].off;
  for (int i = v.n; i-- > 0;) {
    flat_prep(f, 2, 0);
    put_le(f, v.rel[i], 2);
  }
  flat_prep(f, 2, 0);
  put_le(f, obj - f->start, 2);
  put_le(f, 2u * (v.n + 2u), 2);
  v.off = f->off;
  if (f->nvtables == f->cap) {
    f->cap = f->cap ? 2 * f->cap : 16;
    f->vtables = bk_reallocarray(f->vtables, f->cap, sizeof *f->vtables);
  }
  f->vtables[f->nvtables++] = v;
  return v.off;
}

uint32_t flat_end(struct flat *f) {
  if (!room(f, 64)) return 0;
  flat_prep(f, 4, 0);
  flat_u32(f, 0);
  uint32_t obj = f->off, v = vtable(f, obj) - obj;
  for (uint32_t i = 0; i < 4; i++) *byte_at(f, obj - i) = (char)(v >> 8 * i);
  return obj;
}

void flat_finish(struct flat *f, uint32_t root) {
  if (!room(f, 16)) return;
  flat_prep(f, f->minalign, 4);
  put_ref(f, root);
}

int flat_write(const struct flat *f, flat_out *out, void *ctx, struct bk_err *err) {
  for (const struct flat_chunk *c = f->head; c; c = c->next)
    if (c->len && out(ctx, c->bytes ? c->bytes + CHUNK - c->len : NULL, c->len, err)) return -1;
  return 0;
}
