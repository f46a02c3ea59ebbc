/* Allocation that cannot fail for the caller: running out of memory ends the process with a message
 * (the kernel overcommits; a build tool has nothing sensible left to do). Sizes that come from
 * hostile input must be bounded by the caller before they get here. */
#ifndef BK_BASE_MEM_H
#define BK_BASE_MEM_H

#include <stddef.h>

void *bk_malloc(size_t n) __attribute__((malloc, returns_nonnull));
void *bk_calloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *bk_realloc(void *p, size_t n) __attribute__((returns_nonnull));
/* Overflow-checked p[n] of `size` bytes each. */
void *bk_reallocarray(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *bk_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *bk_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *bk_asprintf(const char *fmt, ...)
    __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/* Memory that lives as long as the arena: many small pieces, one release. */
struct bk_arena {
  struct bk_arena_block *head;
  size_t used, total; /* bytes in the head block; bytes handed out overall */
};
/* Zeroed, aligned to 16. */
void *bk_arena_alloc(struct bk_arena *a, size_t n) __attribute__((returns_nonnull));
char *bk_arena_strndup(struct bk_arena *a, const char *s, size_t n)
    __attribute__((returns_nonnull));
void bk_arena_free(struct bk_arena *a); /* leaves an empty, usable arena */
void bk_arena_reset(struct bk_arena *a); /* empty as well, but keeps one block for what comes */

#endif
