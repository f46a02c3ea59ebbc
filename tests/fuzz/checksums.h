/* Gives every 512-byte block of a copy of the input a valid tar checksum, so that mutated headers
 * get past it; the caller frees the copy. */
#ifndef BK_TESTS_FUZZ_CHECKSUMS_H
#define BK_TESTS_FUZZ_CHECKSUMS_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static uint8_t *with_checksums(const uint8_t *data, size_t size) {
  uint8_t *copy = bk_malloc(size ? size : 1);
  if (size) memcpy(copy, data, size);
  for (size_t at = 0; at + 512 <= size; at += 512) {
    unsigned sum = 8 * ' ';
    bool zero = true;
    for (size_t i = 0; i < 512; i++) {
      zero = zero && !copy[at + i];
      if (i < 148 || i >= 156) sum += copy[at + i];
    }
    char text[9];
    snprintf(text, sizeof text, "%06o%c ", sum, '\0');
    if (!zero) memcpy(copy + at + 148, text, 8);
  }
  return copy;
}

#endif
