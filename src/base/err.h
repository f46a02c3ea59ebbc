/* Errors as values: every fallible core function returns 0 or -1 and fills *err (never NULL).
 * The struct owns nothing, so it needs no release. `code` is a stable machine string (ENOENT,
 * http.404, yaml.syntax), `cls` the exit-code class of `bakery help exit-codes`. */
#ifndef BK_BASE_ERR_H
#define BK_BASE_ERR_H

#include <stdbool.h>

#include "base/cleanup.h"

enum bk_class {
  BK_BUILD = 1,
  BK_USAGE = 2,
  BK_GATE = 3,
  BK_TEST = 4,
  BK_PARTIAL = 5,
  BK_INFRA = 6,
  BK_DRIFT = 7,
  BK_EMPTY = 8,
  BK_DENIED = 9,
};

struct bk_err {
  int cls;
  bool retryable;
  char code[40];
  char where[256]; /* file:line:col, URL without query, or path; may be empty */
  char msg[768];
};

/* Fills *err and returns -1, so that callers can `return bk_fail(…)`. */
int bk_fail(struct bk_err *err, int cls, const char *code, const char *fmt, ...) BK_PRINTF(4, 5);

/* As bk_fail with code = errno's name and ": strerror" appended. ENOSPC, EDQUOT and network errnos
 * are class infra, the rest class build. */
int bk_fail_errno(struct bk_err *err, int errnum, const char *fmt, ...) BK_PRINTF(3, 4);

/* Puts "text: " in front of the message; returns -1. */
int bk_err_wrap(struct bk_err *err, const char *fmt, ...) BK_PRINTF(2, 3);

/* Sets `where` (truncated); returns -1. */
int bk_err_where(struct bk_err *err, const char *fmt, ...) BK_PRINTF(2, 3);

/* "ENOENT" for 2 …; "E<number>" for an unknown one (in a static buffer per thread). */
const char *bk_errno_name(int errnum);

/* "build", "usage" …; "build" for anything unknown. */
const char *bk_class_name(int cls);

#endif
