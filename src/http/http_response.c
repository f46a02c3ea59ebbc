#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "http/http.h"

const char *bk_http_header_nth(const struct bk_http_res *res, const char *name, size_t nth) {
  for (size_t i = 0; i < res->nheaders; i++)
    if (strcasecmp(res->headers[i].name, name) == 0 && nth-- == 0) return res->headers[i].value;
  return NULL;
}

const char *bk_http_header(const struct bk_http_res *res, const char *name) {
  return bk_http_header_nth(res, name, 0);
}

void bk_http_res_free(struct bk_http_res *res) {
  for (size_t i = 0; i < res->nheaders; i++) {
    free(res->headers[i].name);
    free(res->headers[i].value);
  }
  free(res->headers);
  free(res->url);
  bk_buf_free(&res->body);
  *res = (struct bk_http_res){0};
}

bool bk_http_status_retryable(int status) {
  switch (status) {
  case 408: case 425: case 429: case 499: case 500: case 502: case 503: case 504:
    return true;
  default:
    return status >= 520 && status <= 524;
  }
}

int bk_http_retry_after(const struct bk_http_res *res) {
  const int cap = 300;
  const char *v = bk_http_header(res, "retry-after");
  if (!v) return -1;
  if (isdigit((unsigned char)*v)) {
    char *end;
    double s = strtod(v, &end);
    if (*end) return -1;
    return s > cap ? cap * 1000 : (int)(s * 1000);
  }
  struct tm tm = {0};
  const char *rest = strptime(v, "%a, %d %b %Y %H:%M:%S", &tm);
  if (!rest || strncmp(rest, " GMT", 4) != 0) return -1;
  double s = difftime(timegm(&tm), time(NULL));
  return s <= 0 ? 0 : s > cap ? cap * 1000 : (int)(s * 1000);
}
