/* Flatbuffers written from their end to their beginning, byte for byte as the Go library does
 * (google/flatbuffers, go/builder.go: order, padding and shared vtables). Private to this module.
 * A struct flat owns its chunks until flat_free; offsets count from the end of the buffer. */
#ifndef BK_SOCI_FLAT_H
#define BK_SOCI_FLAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define FLAT_SLOTS 14

struct flat_chunk;
struct flat_vtable;
struct flat {
  struct flat_chunk *head; /* newest first, which is the order of the finished file */
  uint32_t off;            /* bytes so far */
  uint32_t minalign;
  bool overflow; /* beyond 2 GiB - 1: everything written since is dropped */
  struct flat_vtable *vtables;
  size_t nvtables, cap;
  uint32_t start, slot[FLAT_SLOTS]; /* the open table */
};

void flat_free(struct flat *f);
void flat_prep(struct flat *f, uint32_t size, uint32_t extra);
void flat_put(struct flat *f, const void *p, size_t n);
void flat_u32(struct flat *f, uint32_t v);
uint32_t flat_string(struct flat *f, const char *s, size_t n);
/* n bytes that are not here: flat_write asks for them. */
uint32_t flat_external(struct flat *f, uint32_t n);
uint32_t flat_offsets(struct flat *f, const uint32_t *list, size_t n); /* vector of references */

void flat_table(struct flat *f);
void flat_add_ref(struct flat *f, int slot, uint32_t ref);
void flat_add_i64(struct flat *f, int slot, int64_t v);
void flat_add_u32(struct flat *f, int slot, uint32_t v);
void flat_add_u8(struct flat *f, int slot, uint8_t v, uint8_t def);
uint32_t flat_end(struct flat *f);
void flat_finish(struct flat *f, uint32_t root);

/* Hands out the finished bytes in order; p is NULL for the external ones. */
typedef int flat_out(void *ctx, const void *p, size_t n, struct bk_err *err);
int flat_write(const struct flat *f, flat_out *out, void *ctx, struct bk_err *err);

#endif
