#include "http/curl_dl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>

#include "http/http.h"

static struct bk_curl table;
static char failure[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *const files[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};

static void *map(void *unused) {
  for (size_t i = 0; i < BK_ARRAY_LEN(files) && !unused; i++)
    unused = dlopen(files[i], RTLD_LAZY | RTLD_LOCAL);
  return NULL;
}

static pthread_once_t warm_once = PTHREAD_ONCE_INIT;

static void start_mapping(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, map, NULL) == 0) pthread_detach(thread);
}

void bk_http_warm_up(void) { pthread_once(&warm_once, start_mapping); }

static void load(void) {
  static const struct {
    const char *name;
    size_t at;
  } symbols[] = {
#define SYMBOL(field, name) {name, offsetof(struct bk_curl, field)}
      SYMBOL(global_init, "curl_global_init"),
      SYMBOL(easy_strerror, "curl_easy_strerror"),
      SYMBOL(easy_init, "curl_easy_init"),
      SYMBOL(easy_cleanup, "curl_easy_cleanup"),
      SYMBOL(easy_reset, "curl_easy_reset"),
      SYMBOL(easy_perform, "curl_easy_perform"),
      SYMBOL(easy_setopt_, "curl_easy_setopt"),
      SYMBOL(easy_getinfo_, "curl_easy_getinfo"),
      SYMBOL(slist_append, "curl_slist_append"),
      SYMBOL(slist_free_all, "curl_slist_free_all"),
      SYMBOL(share_init, "curl_share_init"),
      SYMBOL(share_cleanup, "curl_share_cleanup"),
      SYMBOL(share_setopt_, "curl_share_setopt"),
      SYMBOL(url, "curl_url"),
      SYMBOL(url_cleanup, "curl_url_cleanup"),
      SYMBOL(url_set, "curl_url_set"),
      SYMBOL(url_get, "curl_url_get"),
      SYMBOL(free, "curl_free"),
#undef SYMBOL
  };
  void *lib = NULL;
  for (size_t i = 0; i < BK_ARRAY_LEN(files) && !lib; i++)
    lib = dlopen(files[i], RTLD_LAZY | RTLD_LOCAL);
  if (!lib) {
    snprintf(failure, sizeof failure, "open %s: %s", files[0], dlerror());
    return;
  }
  for (size_t i = 0; i < BK_ARRAY_LEN(symbols); i++) {
    void *p = dlsym(lib, symbols[i].name);
    if (!p) {
      snprintf(failure, sizeof failure, "%s: %s is missing", files[0], symbols[i].name);
      return;
    }
    memcpy((char *)&table + symbols[i].at, &p, sizeof p);
  }
  void *stop = dlsym(lib, "OPENSSL_thread_stop"); /* of the libcrypto that libcurl brought */
  memcpy(&table.thread_stop, &stop, sizeof stop);
  CURLcode rc = table.global_init(CURL_GLOBAL_DEFAULT);
  if (rc) snprintf(failure, sizeof failure, "start libcurl: %s", table.easy_strerror(rc));
}

const struct bk_curl *bk_curl_open(struct bk_err *err) {
  pthread_once(&once, load);
  if (!failure[0]) return &table;
  bk_fail(err, BK_BUILD, "http.library", "%s (Debian package: libcurl4)", failure);
  return NULL;
}
