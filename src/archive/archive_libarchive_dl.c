#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "archive/libarchive_dl.h"

static struct bk_libarchive table;
static char failure[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool find(void *lib, const char *name, void *field) {
  void *p = dlsym(lib, name);
  if (p) {
    memcpy(field, &p, sizeof p); /* POSIX: dlsym's result may be used as a function pointer */
    return true;
  }
  snprintf(failure, sizeof failure, "libarchive.so.13: symbol %s is missing", name);
  return false;
}

static void load(void) {
  void *lib = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
  if (!lib) {
    const char *why = dlerror();
    snprintf(failure, sizeof failure, "%s", why ? why : "libarchive.so.13 not found");
    return;
  }
#define LOAD(f) \
  if (!find(lib, "archive_" #f, &table.f)) return;
  BK_LIBARCHIVE_FUNCTIONS(LOAD)
#undef LOAD
}

const struct bk_libarchive *bk_libarchive(struct bk_err *err) {
  pthread_once(&once, load);
  if (!failure[0]) return &table;
  bk_fail(err, BK_BUILD, "archive.no_libarchive",
          "compressed archives need libarchive (Debian: libarchive13): %s", failure);
  return NULL;
}
