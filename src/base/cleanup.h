/* Scope-bound release for the pure C cores. Never use these around Lua API calls:
 * a Lua error longjmps past them (see src/luakit/README.md). */
#ifndef BK_BASE_CLEANUP_H
#define BK_BASE_CLEANUP_H

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

static inline void bk_cleanup_freep(void *p) { free(*(void **)p); }
static inline void bk_cleanup_closep(const int *fd) { if (*fd >= 0) close(*fd); }
static inline void bk_cleanup_closedirp(DIR **d) { if (*d) closedir(*d); }

#define cleanup_free __attribute__((cleanup(bk_cleanup_freep)))
#define cleanup_close __attribute__((cleanup(bk_cleanup_closep)))
#define cleanup_dir __attribute__((cleanup(bk_cleanup_closedirp)))

static inline int bk_steal_fd(int *fd) { int f = *fd; *fd = -1; return f; }
static inline void *bk_steal_ptr_(void **p) { void *q = *p; *p = NULL; return q; }
#define bk_steal_ptr(pp) ((__typeof__(*(pp)))bk_steal_ptr_((void **)(pp)))

#define BK_WARN_UNUSED __attribute__((warn_unused_result))
#define BK_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define BK_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
