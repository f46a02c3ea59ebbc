/* Files built into the program by src/tools/embed.c: sorted by name, data not NUL-terminated; modules
 * (lua/, stdlib/) as byte code of the Lua the program is linked with, everything else as text. */
#ifndef BK_HOST_EMBEDDED_H
#define BK_HOST_EMBEDDED_H

#include <stddef.h>

struct bk_embedded {
  const char *name; /* path in the source tree: "lua/app/main.lua" */
  const unsigned char *data;
  size_t size;
};

extern const struct bk_embedded bk_embedded_files[];
extern const size_t bk_embedded_count;

const struct bk_embedded *bk_embedded_find(const char *name);

#endif
