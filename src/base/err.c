#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int fail_v(struct bk_err *err, int cls, const char *code, const char *fmt, va_list ap) {
  err->cls = cls;
  err->retryable = false;
  err->where[0] = '\0';
  snprintf(err->code, sizeof err->code, "%s", code);
  vsnprintf(err->msg, sizeof err->msg, fmt, ap);
  return -1;
}

int bk_fail(struct bk_err *err, int cls, const char *code, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fail_v(err, cls, code, fmt, ap);
  va_end(ap);
  return -1;
}

static bool is_infra(int e) {
  return e == ENOSPC || e == EDQUOT || e == ECONNREFUSED || e == ECONNRESET || e == ETIMEDOUT ||
         e == ENETUNREACH || e == EHOSTUNREACH;
}

int bk_fail_errno(struct bk_err *err, int errnum, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fail_v(err, is_infra(errnum) ? BK_INFRA : BK_BUILD, bk_errno_name(errnum), fmt, ap);
  va_end(ap);
  size_t n = strlen(err->msg);
  char text[128];
  snprintf(err->msg + n, sizeof err->msg - n, ": %s", strerror_r(errnum, text, sizeof text));
  return -1;
}

int bk_err_wrap(struct bk_err *err, const char *fmt, ...) {
  char old[sizeof err->msg];
  memcpy(old, err->msg, sizeof old);
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(err->msg, sizeof err->msg, fmt, ap);
  va_end(ap);
  size_t n = strlen(err->msg);
  snprintf(err->msg + n, sizeof err->msg - n, ": %s", old);
  return -1;
}

int bk_err_where(struct bk_err *err, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(err->where, sizeof err->where, fmt, ap);
  va_end(ap);
  return -1;
}

const char *bk_errno_name(int errnum) {
  const char *name = strerrorname_np(errnum);
  if (name) return name;
  static _Thread_local char text[16];
  snprintf(text, sizeof text, "E%d", errnum);
  return text;
}

const char *bk_class_name(int cls) {
  static const char *const names[] = {"build", "build", "usage", "gate",  "test",
                                      "partial", "infra", "drift", "empty", "denied"};
  return cls > 0 && cls < (int)BK_ARRAY_LEN(names) ? names[cls] : "build";
}
