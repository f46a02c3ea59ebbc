/* libcurl, opened when the first request is made: linking it would cost every start of the program
 * several milliseconds. The table lives as long as the process. */
#ifndef BK_HTTP_CURL_DL_H
#define BK_HTTP_CURL_DL_H

#include <curl/curl.h>

#include "base/err.h"

struct bk_curl {
  CURLcode (*global_init)(long flags);
  const char *(*easy_strerror)(CURLcode code);
  CURL *(*easy_init)(void);
  void (*easy_cleanup)(CURL *h);
  void (*easy_reset)(CURL *h);
  CURLcode (*easy_perform)(CURL *h);
  CURLcode (*easy_setopt_)(CURL *h, CURLoption option, ...);
  CURLcode (*easy_getinfo_)(CURL *h, CURLINFO info, ...);
  struct curl_slist *(*slist_append)(struct curl_slist *list, const char *s);
  void (*slist_free_all)(struct curl_slist *list);
  CURLSH *(*share_init)(void);
  CURLSHcode (*share_cleanup)(CURLSH *s);
  CURLSHcode (*share_setopt_)(CURLSH *s, CURLSHoption option, ...);
  CURLU *(*url)(void);
  void (*url_cleanup)(CURLU *u);
  CURLUcode (*url_set)(CURLU *u, CURLUPart part, const char *text, unsigned flags);
  CURLUcode (*url_get)(const CURLU *u, CURLUPart part, char **text, unsigned flags);
  void (*free)(void *p);
  void (*thread_stop)(void); /* OpenSSL's; NULL with another TLS library */
};

/* The table, or NULL with *err filled when the library is not there. Thread-safe. */
const struct bk_curl *bk_curl_open(struct bk_err *err) BK_WARN_UNUSED;

#endif
