/* bakery.fs: files and directories for Lua. Calls block (they are local and short); whatever touches
 * many files or many bytes belongs to snapshot and archive. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/fs.h"
#include "base/mem.h"
#include "luakit/luakit.h"

#ifndef TMPFS_MAGIC
#define TMPFS_MAGIC 0x01021994
#endif

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

static int fs_read(lua_State *L) {
  const char *path = path_arg(L, 1);
  lua_Integer max = luaL_optinteger(L, 2, 1 << 30);
  struct bk_buf b = {.max = max > 0 ? (size_t)max : 1};
  struct bk_err err;
  int rc = bk_read_file(AT_FDCWD, path, &b, &err);
  if (rc == 0) lua_pushlstring(L, bk_buf_str(&b), b.len);
  bk_buf_free(&b);
  return rc ? bk_lua_fail(L, &err) : 1;
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
  close(fd);
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
  lua_pushstring(L, type_name(st.st_mode));
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

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted names of a directory; the caller frees them. Returns -1 with errno set. */
static ssize_t read_names(const char *path, char ***out) {
  DIR *d = opendir(path);
  if (!d) return -1;
  char **names = NULL;
  size_t n = 0, cap = 0;
  for (struct dirent *e; (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (n == cap) names = bk_reallocarray(names, cap = cap ? cap * 2 : 16, sizeof *names);
    names[n++] = bk_strdup(e->d_name);
  }
  closedir(d);
  if (n) qsort(names, n, sizeof *names, by_name);
  *out = names;
  return (ssize_t)n;
}

/* Moves the names into a Lua list. */
static void push_names(lua_State *L, char **names, size_t n) {
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_pushstring(L, names[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
    free(names[i]);
  }
  free(names);
}

static int fs_list(lua_State *L) {
  const char *path = path_arg(L, 1);
  char **names;
  ssize_t n = read_names(path, &names);
  if (n < 0) return fail(L, "read directory", path);
  push_names(L, names, (size_t)n);
  return 1;
}

/* Appends { path=, type= } of everything below base/rel to the list at the stack top. */
static int walk(lua_State *L, const char *base, const char *rel, int depth) {
  if (depth > 200) return errno = ELOOP, -1;
  char *dir = *rel ? bk_asprintf("%s/%s", base, rel) : bk_strdup(base);
  char **names;
  ssize_t n = read_names(dir, &names);
  free(dir);
  if (n < 0) return -1;
  int rc = 0;
  for (ssize_t i = 0; i < n; i++) {
    char *sub = *rel ? bk_asprintf("%s/%s", rel, names[i]) : bk_strdup(names[i]);
    char *full = bk_asprintf("%s/%s", base, sub);
    struct stat st;
    if (rc == 0 && lstat(full, &st) == 0) {
      lua_createtable(L, 0, 2);
      lua_pushstring(L, sub);
      lua_setfield(L, -2, "path");
      lua_pushstring(L, type_name(st.st_mode));
      lua_setfield(L, -2, "type");
      lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
      if (S_ISDIR(st.st_mode)) rc = walk(L, base, sub, depth + 1);
    }
    free(full);
    free(sub);
    free(names[i]);
  }
  free(names);
  return rc;
}

static int fs_walk(lua_State *L) {
  const char *path = path_arg(L, 1);
  luaL_checkstack(L, 10, "walk");
  lua_newtable(L);
  if (walk(L, path, "", 0)) return fail(L, "walk", path);
  return 1;
}

static int fs_mkdir(lua_State *L) {
  static const char *const names[] = {"parents", "mode", NULL};
  const char *path = path_arg(L, 1);
  bk_opts(L, 2, names);
  mode_t mode = (mode_t)bk_opt_int(L, 2, "mode", 0755);
  if (!bk_opt_bool(L, 2, "parents", false)) return done(L, mkdir(path, mode), "create directory", path);
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
  struct timespec ts = {.tv_sec = (time_t)t, .tv_nsec = (long)((t - (lua_Number)(time_t)t) * 1e9)};
  struct timespec times[2] = {ts, ts};
  return done(L, utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), "set time of", path);
}

static int copy_bytes(int in, int out) {
  for (;;) {
    ssize_t n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
    if (n == 0) return 0;
    if (n > 0 || errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return -1;
    break;
  }
  char block[65536];
  for (;;) {
    ssize_t n = read(in, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return (int)n;
    if (bk_write_all(out, block, (size_t)n)) return -1;
  }
}

static int fs_copy(lua_State *L) {
  const char *from = path_arg(L, 1), *to = path_arg(L, 2);
  int in = open(from, O_RDONLY | O_CLOEXEC);
  if (in < 0) return fail(L, "open", from);
  struct stat st;
  int out = fstat(in, &st) ? -1 : open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, st.st_mode & 0777);
  int rc = out < 0 ? -1 : copy_bytes(in, out), e = errno;
  close(in);
  if (out >= 0 && close(out) && rc == 0) rc = -1, e = errno;
  if (rc && out >= 0) unlink(to);
  errno = e;
  return done(L, rc, "copy to", to);
}

/* A fresh private directory; `memory` asks for one that never reaches a disk (secrets). */
static int fs_tmpdir(lua_State *L) {
  static const char *const names[] = {"memory", NULL};
  const char *prefix = luaL_optstring(L, 1, "bakery");
  luaL_argcheck(L, !strchr(prefix, '/'), 1, "prefix without slashes expected");
  bk_opts(L, 2, names);
  const char *base = getenv("TMPDIR");
  if (!base || !*base) base = "/tmp";
  if (bk_opt_bool(L, 2, "memory", false)) {
    static const char *const places[] = {"/dev/shm", "/run", "/tmp"};
    for (size_t i = 0; i < BK_ARRAY_LEN(places); i++) {
      struct statfs sf;
      if (statfs(places[i], &sf) || sf.f_type != TMPFS_MAGIC || access(places[i], W_OK)) continue;
      base = places[i];
      break;
    }
  }
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s-XXXXXX", base, prefix);
  if (!mkdtemp(path)) return fail(L, "create directory", path);
  lua_pushstring(L, path);
  return 1;
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

static int fs_glob(lua_State *L) {
  const char *pattern = path_arg(L, 1);
  glob_t g;
  int rc = glob(pattern, 0, NULL, &g);
  if (rc && rc != GLOB_NOMATCH) return errno = EIO, fail(L, "match", pattern);
  lua_newtable(L);
  for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++) {
    lua_pushstring(L, g.gl_pathv[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  if (rc == 0) globfree(&g);
  return 1;
}

/* --- paths: text only, no file is looked at -------------------------------------------------- */

/* Lexical clean as Go's path.Clean: no doubled slashes, no `.`, `..` folded. */
static void clean(struct bk_buf *out, const char *p) {
  bool rooted = *p == '/';
  if (rooted) bk_buf_addc(out, '/');
  size_t floor = out->len; /* nothing in front of it can be folded away */
  while (*p) {
    size_t n = strcspn(p, "/");
    if (n == 2 && p[0] == '.' && p[1] == '.') {
      if (out->len > floor) {
        while (out->len > floor && out->p[out->len - 1] != '/') out->len--;
        if (out->len > floor) out->len--;
      } else if (!rooted) {
        bk_buf_adds(out, out->len ? "/.." : "..");
        floor = out->len;
      }
    } else if (n && !(n == 1 && *p == '.')) {
      if (out->len > (rooted ? 1u : 0u)) bk_buf_addc(out, '/');
      bk_buf_add(out, p, n);
    }
    p += n;
    while (*p == '/') p++;
  }
  if (out->len == 0) bk_buf_addc(out, '.');
}

static int push_clean(lua_State *L, const char *p) {
  struct bk_buf b = {0};
  clean(&b, p);
  lua_pushlstring(L, b.p, b.len);
  bk_buf_free(&b);
  return 1;
}

static int fs_normalize(lua_State *L) { return push_clean(L, path_arg(L, 1)); }

static int fs_join(lua_State *L) {
  int n = lua_gettop(L);
  luaL_Buffer b;
  int first = 1;
  for (int i = 1; i <= n; i++)
    if (*path_arg(L, i) == '/') first = i; /* an absolute part starts over */
  luaL_buffinit(L, &b);
  for (int i = first; i <= n; i++) {
    if (*lua_tostring(L, i) == '\0') continue;
    if (i > first) luaL_addchar(&b, '/');
    luaL_addstring(&b, lua_tostring(L, i));
  }
  luaL_pushresult(&b);
  return push_clean(L, lua_tostring(L, -1));
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
  push_clean(L, path);
  push_clean(L, base);
  const char *p = lua_tostring(L, -2), *b = lua_tostring(L, -1);
  if ((*p == '/') != (*b == '/')) return lua_pushstring(L, p), 1;
  if (strcmp(b, ".") == 0) b = "";
  size_t common = 0;
  for (size_t i = 0;; i++) {
    bool pe = !p[i] || p[i] == '/', be = !b[i] || b[i] == '/';
    if (pe && be) common = i;
    if (!p[i] || !b[i] || p[i] != b[i]) break;
  }
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  for (const char *rest = b + common; *rest; rest++)
    if (rest[0] == '/' ? rest[1] != '\0' : rest == b) luaL_addstring(&out, "../");
  const char *tail = p + common;
  luaL_addstring(&out, *tail == '/' ? tail + 1 : tail);
  luaL_pushresult(&out);
  return push_clean(L, lua_tostring(L, -1));
}

/* fs.error{ class=, code=, message=, where=, retryable=, … }: an error object like those that native
 * functions return; further fields are kept. */
static int fs_error(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  struct bk_err err;
  bk_fail(&err, BK_BUILD, "error", "%s", "");
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
  luaL_newlib(L, functions);
  return 1;
}
