/* embed OUT.c FILE… : writes the files as C arrays, sorted by name; leaves OUT.c alone when nothing
 * changed, so that make does not rebuild what depends on it. The program's own modules (lua/, stdlib/)
 * are compiled, with their line numbers: loading them is much cheaper than parsing them. What users
 * read and copy (recipes, resolvers, templates) stays text. */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_chunk(lua_State *L, const void *p, size_t n, void *out) {
  (void)L;
  bk_buf_add(out, p, n);
  return 0;
}

/* Replaces the text of a module by its byte code; false and a message when it does not compile. */
static bool compile(lua_State *L, const char *name, struct bk_buf *data) {
  bool ok = luaL_loadbufferx(L, bk_buf_str(data), data->len, lua_pushfstring(L, "@%s", name), "t") == LUA_OK;
  if (ok) {
    bk_buf_reset(data);
    lua_dump(L, add_chunk, data, 0);
  } else fprintf(stderr, "embed: %s\n", lua_tostring(L, -1));
  lua_settop(L, 0);
  return ok;
}

static bool is_module(const char *name) {
  size_t n = strlen(name);
  return (strncmp(name, "lua/", 4) == 0 || strncmp(name, "stdlib/", 7) == 0) && n > 4 &&
         strcmp(name + n - 4, ".lua") == 0;
}

int main(int argc, char **argv) {
  if (argc < 2) return fprintf(stderr, "usage: embed OUT.c FILE...\n"), 2;
  char **names = argv + 2;
  int n = argc - 2;
  qsort(names, (size_t)n, sizeof *names, by_name);
  struct bk_buf out = {0}, table = {0}, data = {0}, old = {0};
  struct bk_err err;
  lua_State *L = luaL_newstate();
  if (!L) return fprintf(stderr, "embed: out of memory\n"), 1;
  bk_buf_adds(&out, "/* made by src/tools/embed.c */\n#include \"host/embedded.h\"\n");
  for (int i = 0; i < n; i++) {
    bk_buf_reset(&data);
    if (bk_read_file(-100 /* AT_FDCWD */, names[i], &data, &err))
      return fprintf(stderr, "embed: %s\n", err.msg), 1;
    if (is_module(names[i]) && !compile(L, names[i], &data)) return 1;
    bk_buf_addf(&out, "static const unsigned char f%d[] = {", i);
    for (size_t k = 0; k < data.len; k++)
      bk_buf_addf(&out, k % 24 ? "%d," : "\n%d,", (unsigned char)data.p[k]);
    bk_buf_adds(&out, data.len ? "};\n" : "0};\n");
    bk_buf_addf(&table, "  {\"%s\", f%d, %zu},\n", names[i], i, data.len);
  }
  bk_buf_adds(&out, "const struct bk_embedded bk_embedded_files[] = {\n");
  bk_buf_add(&out, bk_buf_str(&table), table.len);
  lua_close(L);
  bk_buf_addf(&out, "  {0}};\nconst size_t bk_embedded_count = %d;\n", n);
  if (bk_read_file(-100, argv[1], &old, &err) == 0 && old.len == out.len &&
      memcmp(old.p, out.p, out.len) == 0)
    return 0;
  if (bk_write_file(-100, argv[1], out.p, out.len, 0644, false, &err))
    return fprintf(stderr, "embed: %s\n", err.msg), 1;
  return 0;
}
