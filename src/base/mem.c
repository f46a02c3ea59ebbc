#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *checked(void *p, size_t n) {
  if (p || n == 0) return p ? p : checked(malloc(1), 1);
  static const char text[] = "bakery: out of memory\n";
  (void)!write(2, text, sizeof text - 1);
  abort();
}

void *bk_malloc(size_t n) { return checked(malloc(n), n); }
void *bk_calloc(size_t n, size_t size) { return checked(calloc(n ? n : 1, size ? size : 1), 1); }
void *bk_realloc(void *p, size_t n) { return checked(realloc(p, n ? n : 1), 1); }

void *bk_reallocarray(void *p, size_t n, size_t size) {
  return checked(reallocarray(p, n ? n : 1, size ? size : 1), 1);
}

char *bk_strdup(const char *s) { return checked(strdup(s), 1); }

char *bk_strndup(const char *s, size_t n) {
  char *p = bk_malloc(n + 1);
  memcpy(p, s, n);
  p[n] = '\0';
  return p;
}

char *bk_asprintf(const char *fmt, ...) {
  char *p = NULL;
  va_list ap;
  va_start(ap, fmt);
  if (vasprintf(&p, fmt, ap) < 0) p = NULL;
  va_end(ap);
  return checked(p, 1);
}

struct bk_arena_block {
  struct bk_arena_block *next;
  size_t size;
  _Alignas(16) char data[];
};

void *bk_arena_alloc(struct bk_arena *a, size_t n) {
  if (n > SIZE_MAX / 2) checked(NULL, n);
  n = (n + 15) & ~(size_t)15;
  if (!a->head || a->head->size - a->used < n) {
    size_t size = n > 16384 ? n : 16384;
    struct bk_arena_block *b = bk_malloc(sizeof *b + size);
    b->next = a->head;
    b->size = size;
    a->head = b;
    a->used = 0;
  }
  void *p = a->head->data + a->used;
  a->used += n;
  a->total += n;
  return memset(p, 0, n);
}

char *bk_arena_strndup(struct bk_arena *a, const char *s, size_t n) {
  char *p = bk_arena_alloc(a, n + 1);
  memcpy(p, s, n);
  return p;
}

void bk_arena_reset(struct bk_arena *a) {
  while (a->head && a->head->next) {
    struct bk_arena_block *next = a->head->next;
    free(a->head);
    a->head = next;
  }
  a->used = a->total = 0;
}

void bk_arena_free(struct bk_arena *a) {
  while (a->head) {
    struct bk_arena_block *next = a->head->next;
    free(a->head);
    a->head = next;
  }
  a->used = a->total = 0;
}
