/* bakery.digest: sha256 and sha512 of strings, streams and files. */
#include <fcntl.h>
#include <string.h>

#include "base/mem.h"
#include "digest/digest.h"
#include "luakit/async.h"

#define STATE "bakery.digest.state"

static enum bk_digest_alg alg_arg(lua_State *L, int idx) {
  static const char *const names[] = {"sha256", "sha512", NULL};
  return luaL_checkoption(L, idx, "sha256", names) ? BK_SHA512 : BK_SHA256;
}

static int one_shot(lua_State *L, enum bk_digest_alg alg) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  char hex[BK_DIGEST_HEX_MAX];
  struct bk_digest d;
  bk_digest_init(&d, alg);
  bk_digest_update(&d, s, n);
  bk_digest_hex(&d, hex);
  lua_pushstring(L, hex);
  return 1;
}

static int l_sha256(lua_State *L) { return one_shot(L, BK_SHA256); }
static int l_sha512(lua_State *L) { return one_shot(L, BK_SHA512); }

static int l_new(lua_State *L) {
  enum bk_digest_alg alg = alg_arg(L, 1);
  struct bk_digest *d = bk_box(L, sizeof *d, STATE);
  bk_digest_init(d, alg);
  return 1;
}

static int state_close(lua_State *L) {
  bk_digest_free(bk_check(L, 1, STATE));
  return 0;
}

static struct bk_digest *check(lua_State *L) {
  struct bk_digest *d = bk_check(L, 1, STATE);
  if (!d->ctx) luaL_error(L, "the digest has been taken");
  return d;
}

static int state_update(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 2, &n);
  bk_digest_update(check(L), s, n);
  lua_settop(L, 1);
  return 1;
}

static int state_hex(lua_State *L) {
  char hex[BK_DIGEST_HEX_MAX];
  bk_digest_hex(check(L), hex);
  lua_pushstring(L, hex);
  return 1;
}

struct file_job {
  struct bk_job job;
  char *path;
  enum bk_digest_alg alg;
  char hex[BK_DIGEST_HEX_MAX];
  uint64_t size;
};

static int file_run(struct bk_job *job, struct bk_err *err) {
  struct file_job *f = (struct file_job *)job;
  return bk_digest_file(AT_FDCWD, f->path, f->alg, f->hex, &f->size, err);
}

static void file_release(struct bk_job *job) { free(((struct file_job *)job)->path); }

static int file_done(lua_State *L, struct bk_job *job) {
  struct file_job *f = (struct file_job *)job;
  lua_pushstring(L, f->hex);
  lua_pushinteger(L, (lua_Integer)f->size);
  return 2;
}

static int l_file(lua_State *L) {
  size_t n;
  const char *path = luaL_checklstring(L, 1, &n);
  luaL_argcheck(L, strlen(path) == n, 1, "path contains a NUL byte");
  enum bk_digest_alg alg = alg_arg(L, 2);
  struct file_job *f = bk_job_new(L, sizeof *f, file_release);
  f->path = bk_strdup(path);
  f->alg = alg;
  f->job.run = file_run;
  return bk_job_await(L, &f->job, file_done);
}

static int l_hmac(lua_State *L) {
  size_t kn, n;
  const char *key = luaL_checklstring(L, 1, &kn), *s = luaL_checklstring(L, 2, &n);
  char hex[BK_DIGEST_HEX_MAX];
  bk_hmac_hex(BK_SHA256, key, kn, s, n, hex);
  lua_pushstring(L, hex);
  return 1;
}

static int l_is_valid(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_pushboolean(L, strlen(s) == n && bk_digest_is_valid(s));
  return 1;
}

BK_EXPORT int luaopen_bakery_digest(lua_State *L);
BK_EXPORT int luaopen_bakery_digest(lua_State *L) {
  static const luaL_Reg methods[] = {{"update", state_update}, {"hex", state_hex}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"sha256", l_sha256},     {"sha512", l_sha512},
                                       {"new", l_new},           {"file", l_file},
                                       {"hmac_sha256", l_hmac},  {"is_valid", l_is_valid},
                                       {NULL, NULL}};
  bk_class(L, STATE, methods, state_close);
  luaL_newlib(L, functions);
  return 1;
}
