#include "host/alloc.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { STEP = 16, LARGEST = STEP * BK_ALLOC_CLASSES, FIRST_BLOCK = 512 << 10, HUGE = 2 << 20 };

static size_t class_of(size_t size) { return (size - 1) / STEP; }

/* The first block is for commands that do little, the others are huge pages where there are any: one page
 * fault instead of 512. What is left of the old block is too small for the object at hand, and lost. */
static bool new_block(struct bk_alloc *a) {
  size_t size = a->next ? HUGE : FIRST_BLOCK, asked = a->next ? 2 * HUGE : size; /* room to align */
  char *p = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return false;
  if (a->next) {
    p += -(uintptr_t)p % HUGE;
    (void)!madvise(p, HUGE, MADV_HUGEPAGE);
  }
  a->next = p;
  a->end = p + size;
  return true;
}

static void *take(struct bk_alloc *a, size_t class) {
  void *p = a->free[class];
  size_t size = (class + 1) * STEP;
  if (p) {
    memcpy(&a->free[class], p, sizeof p);
    return p;
  }
  if ((size_t)(a->end - a->next) < size && !new_block(a)) return NULL;
  p = a->next;
  a->next += size;
  return p;
}

static void give(struct bk_alloc *a, void *p, size_t class) {
  memcpy(p, &a->free[class], sizeof p);
  a->free[class] = p;
}

void *bk_alloc(void *ud, void *p, size_t old, size_t size) {
  struct bk_alloc *a = ud;
#ifdef __SANITIZE_ADDRESS__ /* it shall see every object, and every leak */
  if (size) return realloc(p, size);
  free(p);
  return NULL;
#endif
  if (!p) return !size ? NULL : size > LARGEST ? malloc(size) : take(a, class_of(size));
  if (!size) {
    if (old > LARGEST) free(p);
    else give(a, p, class_of(old));
    return NULL;
  }
  if (old > LARGEST && size > LARGEST) return realloc(p, size);
  if (old <= LARGEST && size <= LARGEST && class_of(old) == class_of(size)) return p;
  void *q = size > LARGEST ? malloc(size) : take(a, class_of(size));
  if (!q) return size < old ? p : NULL; /* Lua counts on shrinking */
  memcpy(q, p, old < size ? old : size);
  if (old > LARGEST) free(p);
  else give(a, p, class_of(old));
  return q;
}
