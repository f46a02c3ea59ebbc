/* The allocator of the program's Lua state: small objects from size classes, everything else from malloc. */
#ifndef BK_HOST_ALLOC_H
#define BK_HOST_ALLOC_H

#include <stddef.h>

/* lua_Alloc; ud: one struct bk_alloc, zeroed, that lives as long as the state. Memory of small objects is
 * reused, never given back. One thread. */
enum { BK_ALLOC_CLASSES = 128 };
struct bk_alloc {
  void *free[BK_ALLOC_CLASSES];  /* per class: objects that were freed, linked through their first word */
  char *next, *end;  /* what is left of the newest block */
};
void *bk_alloc(void *ud, void *p, size_t old, size_t size);

#endif
