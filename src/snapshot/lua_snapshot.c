#include "snapshot/lua_snapshot.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "luakit/async.h"
#include "snapshot/view.h"

#define VIEW "bakery.snapshot.view"

/* --- views in boxes -------------------------------------------------------------------------- */

static int view_close(lua_State *L) {
  struct bk_view **box = lua_touserdata(L, 1);
  bk_view_close(*box);
  *box = NULL;
  return 0;
}

/* Leaves the box (and the list it was made from) on the stack; NULL with err filled. */
static struct bk_view *open_view(lua_State *L, int idx, struct bk_err *err) {
  const char **layers;
  size_t n = bk_opt_strv(L, idx, "lowers", &layers);
  if (!layers) luaL_error(L, "option 'lowers' is required");
  struct bk_view **box = bk_box(L, sizeof *box, VIEW);
  return bk_view_open(layers, n, 0, box, err) ? NULL : *box;
}

/* --- lookup, read ---------------------------------------------------------------------------- */

static const char *type_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "dir";
    case S_IFLNK: return "symlink";
    case S_IFIFO: return "fifo";
    case S_IFCHR: return "char";
    case S_IFBLK: return "block";
    default: return "socket";
  }
}

static void set_int(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static int l_lookup(lua_State *L) {
  static const char *const names[] = {"lowers", "path", "follow", NULL};
  bk_opts(L, 1, names);
  const char *path = bk_opt_need_str(L, 1, "path", NULL);
  bool follow = bk_opt_bool(L, 1, "follow", true);
  lua_settop(L, 1);
  struct bk_err err;
  struct bk_view *v = open_view(L, 1, &err);
  if (!v) return bk_lua_fail(L, &err);
  struct bk_buf canon = {0};
  struct bk_view_ent e;
  int rc = bk_view_find(v, path, follow ? BK_VIEW_FOLLOW : 0, &canon, &e, &err);
  char resolved[4096], *p = bk_buf_str(&canon); /* Lua may raise: no heap memory past this point */
  snprintf(resolved, sizeof resolved, "%s", p);
  bk_buf_free(&canon);
  if (rc < 0) return bk_lua_fail(L, &err);
  if (rc == 0) return 0;
  lua_createtable(L, 0, 10);
  lua_pushstring(L, type_name(e.st.st_mode));
  lua_setfield(L, -2, "type");
  set_int(L, "mode", e.st.st_mode & 07777);
  set_int(L, "uid", e.st.st_uid);
  set_int(L, "gid", e.st.st_gid);
  set_int(L, "size", S_ISDIR(e.st.st_mode) ? 0 : e.st.st_size);
  set_int(L, "mtime", e.st.st_mtim.tv_sec);
  set_int(L, "layer", e.layer + 1);
  lua_pushstring(L, resolved);
  lua_setfield(L, -2, "path");
  if (e.layer >= 0) {
    const char *layer = bk_view_layer_path(v, e.layer);
    lua_pushfstring(L, resolved[0] ? "%s/%s" : "%s", layer, resolved);
    lua_setfield(L, -2, "real");
  }
  return 1;
}

static int l_read(lua_State *L) {
  static const char *const names[] = {"lowers", "path", "max", NULL};
  bk_opts(L, 1, names);
  const char *path = bk_opt_need_str(L, 1, "path", NULL);
  lua_Integer max = bk_opt_int(L, 1, "max", 10 << 20);
  luaL_argcheck(L, max >= 0 && max <= 1 << 30, 1, "option 'max': expected 0 to 1 GiB");
  lua_settop(L, 1);
  struct bk_err err;
  struct bk_view *v = open_view(L, 1, &err);
  if (!v) return bk_lua_fail(L, &err);
  struct bk_buf *text = bk_box(L, sizeof *text, "bakery.snapshot.buffer");
  int rc = bk_view_read(v, path, (size_t)max, text, &err);
  if (rc == 0) bk_fail_errno(&err, ENOENT, "read '%s'", path);
  if (rc <= 0) return bk_lua_fail(L, &err);
  lua_pushlstring(L, bk_buf_str(text), text->len);
  bk_buf_free(text);
  return 1;
}

static int buffer_close(lua_State *L) {
  bk_buf_free(lua_touserdata(L, 1));
  return 0;
}

/* --- module ---------------------------------------------------------------------------------- */

BK_EXPORT int luaopen_bakery_snapshot(lua_State *L);
int luaopen_bakery_snapshot(lua_State *L) {
  static const luaL_Reg functions[] = {{"lookup", l_lookup}, {"read", l_read}, {NULL, NULL}};
  bk_class(L, VIEW, NULL, view_close);
  bk_class(L, "bakery.snapshot.buffer", NULL, buffer_close);
  if (bk_snapshot_copy_classes) bk_snapshot_copy_classes(L);
  luaL_newlib(L, functions);
  if (bk_snapshot_copy_functions) luaL_setfuncs(L, bk_snapshot_copy_functions, 0);
  return 1;
}
