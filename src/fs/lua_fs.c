/* bakery.fs: files and directories for Lua. Calls block (they are local and short); whatever
 * touches many files or many bytes belongs to snapshot and archive. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "fs/fs.h"
#include "luakit/luakit.h"

#define BUFFER "bakery.fs.buffer" /* struct bk_buf that Lua frees when a call raises */
#define DIR_LIST "bakery.fs.dir"
#define WALK "bakery.fs.walk"
#define GLOB "bakery.fs.glob"

static int fail(lua_State *L, const char *verb, const char *path) {
  struct bk_err err;
  bk_fail_errno(&err, errno, "%s '%s'", verb, path);
  return bk_lua_fail(L, &err);
}

static int done(lua_State *L, int rc, const char *verb, const char *path) {
  if (rc) return fail(L, verb, path);
  lua_pushboolean(L, 1);
  return 1;
}

/* A path argument: no embedded NUL. */
static const char *path_arg(lua_State *L, int idx) {
  size_t n;
  const char *p = luaL_checklstring(L, idx, &n);
  luaL_argcheck(L, strlen(p) == n, idx, "path contains a NUL byte");
  return p;
}

static int buffer_gc(lua_State *L) {
  bk_buf_free(lua_touserdata(L, 1));
  return 0;
}

static int push_buffer(lua_State *L, struct bk_buf *b) {
  lua_pushlstring(L, bk_buf_str(b), b->len);
  bk_buf_free(b);
  return 1;
}

static int fs_read(lua_State *L) {
  const char *path = path_arg(L, 1);
  lua_Integer max = luaL_optinteger(L, 2, 1 << 30);
  luaL_argcheck(L, max > 0, 2, "positive number of bytes expected");
  struct bk_buf *b = bk_box(L, sizeof *b, BUFFER);
  b->max = (size_t)max;
  struct bk_err err;
  if (bk_read_file(AT_FDCWD, path, b, &err)) {
    bk_buf_free(b);
    return bk_lua_fail(L, &err);
  }
  return push_buffer(L, b);
}

static int fs_write(lua_State *L) {
  static const char *const names[] = {"mode", "sync", NULL};
  const char *path = path_arg(L, 1);
  size_t n;
  const char *data = luaL_checklstring(L, 2, &n);
  bk_opts(L, 3, names);
  mode_t mode = (mode_t)bk_opt_int(L, 3, "mode", 0644);
  struct bk_err err;
  if (bk_write_file(AT_FDCWD, path, data, n, mode, bk_opt_bool(L, 3, "sync", false), &err))
    return bk_lua_fail(L, &err);
  lua_pushboolean(L, 1);
  return 1;
}

static int fs_append(lua_State *L) {
  const char *path = path_arg(L, 1);
  size_t n;
  const char *data = luaL_checklstring(L, 2, &n);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return fail(L, "open", path);
  int rc = bk_write_all(fd, data, n), e = errno;
  if (close(fd) && rc == 0) rc = -1, e = errno;
  errno = e;
  return done(L, rc, "append to", path);
}

static int fs_exists(lua_State *L) {
  struct stat st;
  lua_pushboolean(L, lstat(path_arg(L, 1), &st) == 0);
  return 1;
}

static int fs_is_dir(lua_State *L) {
  struct stat st;
  lua_pushboolean(L, stat(path_arg(L, 1), &st) == 0 && S_ISDIR(st.st_mode));
  return 1;
}

static int fs_is_file(lua_State *L) {
  struct stat st;
  lua_pushboolean(L, stat(path_arg(L, 1), &st) == 0 && S_ISREG(st.st_mode));
  return 1;
}

static int fs_is_writable(lua_State *L) {
  lua_pushboolean(L, access(path_arg(L, 1), W_OK) == 0);
  return 1;
}

static void set_int(lua_State *L, const char *name, lua_Integer v) {
  lua_pushinteger(L, v);
  lua_setfield(L, -2, name);
}

static int fs_stat(lua_State *L) {
  const char *path = path_arg(L, 1);
  bool follow = lua_isnoneornil(L, 2) || lua_toboolean(L, 2);
  struct stat st;
  if (fstatat(AT_FDCWD, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW)) return fail(L, "stat", path);
  lua_createtable(L, 0, 12);
  lua_pushstring(L, bk_type_name(st.st_mode));
  lua_setfield(L, -2, "type");
  set_int(L, "size", st.st_size);
  set_int(L, "mode", st.st_mode & 07777);
  set_int(L, "uid", st.st_uid);
  set_int(L, "gid", st.st_gid);
  set_int(L, "mtime", st.st_mtim.tv_sec);
  set_int(L, "mtime_nsec", st.st_mtim.tv_nsec);
  set_int(L, "ino", (lua_Integer)st.st_ino);
  set_int(L, "dev", (lua_Integer)st.st_dev);
  set_int(L, "nlink", (lua_Integer)st.st_nlink);
  return 1;
}

static int dir_gc(lua_State *L) {
  bk_dir_free(lua_touserdata(L, 1));
  return 0;
}

static int fs_list(lua_State *L) {
  const char *path = path_arg(L, 1);
  struct bk_dir *dir = bk_box(L, sizeof *dir, DIR_LIST);
  struct bk_err err;
  if (bk_dir_read(AT_FDCWD, path, dir, &err)) return bk_lua_fail(L, &err);
  lua_createtable(L, (int)dir->count, 0);
  for (size_t i = 0; i < dir->count; i++) {
    lua_pushstring(L, dir->entries[i].name);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  bk_dir_free(dir);
  return 1;
}

static int walk_gc(lua_State *L) {
  bk_walk_free(lua_touserdata(L, 1));
  return 0;
}

/* fs.walk(root, fn): fn(path, type) is asked for each entry; false keeps out of a directory. */
static int fs_walk(lua_State *L) {
  const char *root = path_arg(L, 1);
  bool ask = !lua_isnoneornil(L, 2);
  if (ask) luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  struct bk_walk *w = bk_box(L, sizeof *w, WALK);
  lua_newtable(L);
  struct bk_err err;
  mode_t type;
  int rc = bk_walk_open(w, root, &err) ? -1 : 1;
  for (lua_Integer n = 1; rc > 0 && (rc = bk_walk_next(w, &type, &err)) > 0; n++) {
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, w->path.p, w->path.len);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, bk_type_name(type));
    lua_setfield(L, -2, "type");
    if (ask) {
      lua_pushvalue(L, 2);
      lua_getfield(L, -2, "path");
      lua_getfield(L, -3, "type");
      lua_call(L, 2, 1);
      if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) bk_walk_skip(w);
      lua_pop(L, 1);
    }
    lua_rawseti(L, 4, n);
  }
  bk_walk_free(w);
  return rc < 0 ? bk_lua_fail(L, &err) : 1;
}

static int fs_mkdir(lua_State *L) {
  static const char *const names[] = {"parents", "mode", NULL};
  const char *path = path_arg(L, 1);
  bk_opts(L, 2, names);
  mode_t mode = (mode_t)bk_opt_int(L, 2, "mode", 0755);
  if (!bk_opt_bool(L, 2, "parents", false))
    return done(L, mkdir(path, mode), "create directory", path);
  struct bk_err err;
  if (bk_mkdirs(AT_FDCWD, path, mode, &err)) return bk_lua_fail(L, &err);
  lua_pushboolean(L, 1);
  return 1;
}

static int fs_remove(lua_State *L) {
  static const char *const names[] = {"recursive", NULL};
  const char *path = path_arg(L, 1);
  bk_opts(L, 2, names);
  if (!bk_opt_bool(L, 2, "recursive", false)) return done(L, remove(path), "remove", path);
  struct bk_err err;
  if (bk_rmtree(AT_FDCWD, path, &err)) return bk_lua_fail(L, &err);
  lua_pushboolean(L, 1);
  return 1;
}

static int fs_rename(lua_State *L) {
  const char *from = path_arg(L, 1), *to = path_arg(L, 2);
  return done(L, rename(from, to), "rename", from);
}

static int fs_symlink(lua_State *L) {
  const char *target = path_arg(L, 1), *path = path_arg(L, 2);
  return done(L, symlink(target, path), "create symlink", path);
}

static int fs_link(lua_State *L) {
  const char *from = path_arg(L, 1), *to = path_arg(L, 2);
  return done(L, link(from, to), "link", to);
}

static int fs_readlink(lua_State *L) {
  const char *path = path_arg(L, 1);
  char text[4096];
  ssize_t n = readlink(path, text, sizeof text);
  if (n < 0) return fail(L, "read link", path);
  lua_pushlstring(L, text, (size_t)n);
  return 1;
}

static int fs_realpath(lua_State *L) {
  const char *path = path_arg(L, 1);
  char text[PATH_MAX];
  if (!realpath(path, text)) return fail(L, "resolve", path);
  lua_pushstring(L, text);
  return 1;
}

static int fs_chmod(lua_State *L) {
  const char *path = path_arg(L, 1);
  return done(L, chmod(path, (mode_t)luaL_checkinteger(L, 2)), "change mode of", path);
}

static int fs_utime(lua_State *L) {
  const char *path = path_arg(L, 1);
  lua_Number t = luaL_checknumber(L, 2);
  luaL_argcheck(L, t > -9e15 && t < 9e15, 2, "seconds since 1970 expected");
  time_t whole = (time_t)t;
  if ((lua_Number)whole > t) whole--;
  struct timespec ts = {.tv_sec = whole, .tv_nsec = (long)((t - (lua_Number)whole) * 1e9)};
  struct timespec times[2] = {ts, ts};
  return done(L, utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), "set time of", path);
}

static int fs_copy(lua_State *L) {
  const char *from = path_arg(L, 1), *to = path_arg(L, 2);
  struct bk_err err;
  if (bk_copy_file(from, to, &err)) return bk_lua_fail(L, &err);
  lua_pushboolean(L, 1);
  return 1;
}

static int fs_tmpdir(lua_State *L) {
  static const char *const names[] = {"memory", NULL};
  const char *prefix = lua_isnoneornil(L, 1) ? "bakery" : path_arg(L, 1);
  luaL_argcheck(L, !strchr(prefix, '/'), 1, "prefix without slashes expected");
  bk_opts(L, 2, names);
  bool memory = bk_opt_bool(L, 2, "memory", false);
  struct bk_buf *b = bk_box(L, sizeof *b, BUFFER);
  struct bk_err err;
  if (bk_make_tmpdir(prefix, memory, b, &err)) return bk_lua_fail(L, &err);
  return push_buffer(L, b);
}

static int fs_cwd(lua_State *L) {
  char path[PATH_MAX];
  if (!getcwd(path, sizeof path)) return fail(L, "find", ".");
  lua_pushstring(L, path);
  return 1;
}

static int fs_chdir(lua_State *L) {
  const char *path = path_arg(L, 1);
  return done(L, chdir(path), "change to", path);
}

static int glob_gc(lua_State *L) {
  globfree(lua_touserdata(L, 1));
  memset(lua_touserdata(L, 1), 0, sizeof(glob_t));
  return 0;
}

static int fs_glob(lua_State *L) {
  const char *pattern = path_arg(L, 1);
  glob_t *g = bk_box(L, sizeof *g, GLOB);
  int rc = glob(pattern, 0, NULL, g);
  if (rc && rc != GLOB_NOMATCH) {
    errno = rc == GLOB_NOSPACE ? ENOMEM : EIO;
    return fail(L, "match", pattern);
  }
  size_t n = rc == 0 ? g->gl_pathc : 0;
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_pushstring(L, g->gl_pathv[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* --- paths: text only, no file is looked at -------------------------------------------------- */

static int push_clean(lua_State *L, const char *p) {
  struct bk_buf *b = bk_box(L, sizeof *b, BUFFER);
  bk_fs_clean(b, p);
  return push_buffer(L, b);
}

static int fs_normalize(lua_State *L) { return push_clean(L, path_arg(L, 1)); }

static int fs_join(lua_State *L) {
  int n = lua_gettop(L), first = 1;
  for (int i = 1; i <= n; i++)
    if (*path_arg(L, i) == '/') first = i; /* an absolute part starts over */
  struct bk_buf *text = bk_box(L, sizeof *text, BUFFER);
  for (int i = first; i <= n; i++) {
    const char *part = lua_tostring(L, i);
    if (*part && text->len) bk_buf_addc(text, '/');
    bk_buf_adds(text, part);
  }
  return push_clean(L, bk_buf_str(text));
}

static int fs_dirname(lua_State *L) {
  const char *p = path_arg(L, 1), *slash = strrchr(p, '/');
  if (!slash) lua_pushliteral(L, ".");
  else if (slash == p) lua_pushliteral(L, "/");
  else lua_pushlstring(L, p, (size_t)(slash - p));
  return 1;
}

static int fs_basename(lua_State *L) {
  const char *p = path_arg(L, 1), *slash = strrchr(p, '/');
  lua_pushstring(L, slash ? slash + 1 : p);
  return 1;
}

static int fs_is_absolute(lua_State *L) {
  lua_pushboolean(L, *path_arg(L, 1) == '/');
  return 1;
}

static int fs_relative(lua_State *L) {
  const char *path = path_arg(L, 1), *base = path_arg(L, 2);
  struct bk_buf *b = bk_box(L, sizeof *b, BUFFER);
  struct bk_err err;
  if (bk_fs_relative(b, path, base, &err)) return bk_lua_fail(L, &err);
  return push_buffer(L, b);
}

/* fs.error{ class=, code=, message=, where=, retryable=, … }: an error object like those that
 * native functions return; further fields are kept. */
static int fs_error(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  struct bk_err err;
  bk_fail(&err, BK_BUILD, "error", "unknown error");
  bk_lua_push_err(L, &err);
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 2);
  }
  return 1;
}

BK_EXPORT int luaopen_bakery_fs(lua_State *L);
BK_EXPORT int luaopen_bakery_fs(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"read", fs_read},           {"write", fs_write},         {"append", fs_append},
      {"exists", fs_exists},       {"is_dir", fs_is_dir},       {"is_file", fs_is_file},
      {"is_writable", fs_is_writable}, {"stat", fs_stat},       {"list", fs_list},
      {"walk", fs_walk},           {"mkdir", fs_mkdir},         {"remove", fs_remove},
      {"rename", fs_rename},       {"symlink", fs_symlink},     {"link", fs_link},
      {"readlink", fs_readlink},   {"realpath", fs_realpath},   {"chmod", fs_chmod},
      {"utime", fs_utime},         {"copy", fs_copy},           {"tmpdir", fs_tmpdir},
      {"cwd", fs_cwd},             {"chdir", fs_chdir},         {"glob", fs_glob},
      {"normalize", fs_normalize}, {"join", fs_join},           {"dirname", fs_dirname},
      {"basename", fs_basename},   {"is_absolute", fs_is_absolute}, {"relative", fs_relative},
      {"error", fs_error},         {NULL, NULL}};
  bk_class(L, BUFFER, NULL, buffer_gc);
  bk_class(L, DIR_LIST, NULL, dir_gc);
  bk_class(L, WALK, NULL, walk_gc);
  bk_class(L, GLOB, NULL, glob_gc);
  luaL_newlib(L, functions);
  return 1;
}
