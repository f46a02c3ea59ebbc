/* Tiny harness for C unit tests: CHECK counts, UNIT_END prints "N passed, N failed". */
#ifndef BK_TESTS_UNIT_H
#define BK_TESTS_UNIT_H

#include <stdio.h>
#include <string.h>

static int unit_passed, unit_failed;

#define CHECK(cond)                                                             \
  do {                                                                          \
    if (cond) unit_passed++;                                                    \
    else unit_failed++, fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond); \
  } while (0)

#define CHECK_STR(got, want)                                                    \
  do {                                                                          \
    const char *g_ = (got), *w_ = (want);                                       \
    if (g_ && strcmp(g_, w_) == 0) unit_passed++;                               \
    else unit_failed++, fprintf(stderr, "%s:%d: %s: got \"%s\", want \"%s\"\n", __FILE__,  \
                                __LINE__, #got, g_ ? g_ : "(null)", w_);        \
  } while (0)

#define UNIT_END()                                                              \
  (printf("%d passed, %d failed\n", unit_passed, unit_failed), unit_failed != 0)

#endif
