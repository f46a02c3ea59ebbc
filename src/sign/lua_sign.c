/* bakery.sign: keys, signatures, base64. */
#include <string.h>

#include <openssl/crypto.h>

#include "base/base64.h"
#include "base/mem.h"
#include "luakit/async.h"
#include "sign/sign.h"

#define KEY "bakery.sign.key"
#define TEXT "bakery.sign.text"

BK_EXPORT int luaopen_bakery_sign(lua_State *L);

static int key_close(lua_State *L) {
  struct bk_sign_key **box = bk_check(L, 1, KEY);
  bk_sign_key_free(*box);
  *box = NULL;
  return 0;
}

static struct bk_sign_key *check(lua_State *L) {
  struct bk_sign_key **box = bk_check(L, 1, KEY);
  if (!*box) luaL_argerror(L, 1, "the key is closed");
  return *box;
}

/* A buffer that goes with the call, whatever raises. */
static int text_close(lua_State *L) {
  struct bk_buf *b = bk_check(L, 1, TEXT);
  if (b->p) OPENSSL_cleanse(b->p, b->cap);
  bk_buf_free(b);
  return 0;
}

static struct bk_buf *new_text(lua_State *L) { return bk_box(L, sizeof(struct bk_buf), TEXT); }

static int push_text(lua_State *L, const struct bk_buf *b) {
  lua_pushlstring(L, b->p ? b->p : "", b->len);
  return 1;
}

/* --- jobs that derive a key from a password -------------------------------------------------- */

struct work {
  struct bk_job job;
  char *pem, *password;
  size_t pem_len, password_len;
  struct bk_sign_key *key;    /* the result of reading */
  const struct bk_sign_key *own; /* what is written; anchored by the job */
  struct bk_buf out;
};

static void release(struct bk_job *job) {
  struct work *w = (struct work *)job;
  if (w->password) OPENSSL_cleanse(w->password, w->password_len);
  if (w->pem) OPENSSL_cleanse(w->pem, w->pem_len);
  free(w->password);
  free(w->pem);
  bk_sign_key_free(w->key);
  bk_buf_free(&w->out);
}

static char *copy(const char *s, size_t n) {
  char *p = bk_malloc(n + 1);
  memcpy(p, s, n);
  p[n] = '\0';
  return p;
}

static int run_read(struct bk_job *job, struct bk_err *err) {
  struct work *w = (struct work *)job;
  int rc = bk_sign_key_read(w->pem, w->pem_len, w->password, w->password_len, &w->key, err);
  OPENSSL_thread_stop(); /* libuv's threads end unnoticed: leave nothing in them */
  return rc;
}

static int done_read(lua_State *L, struct bk_job *job) {
  struct work *w = (struct work *)job;
  struct bk_sign_key **box = bk_box(L, sizeof *box, KEY);
  *box = w->key;
  w->key = NULL;
  return 1;
}

/* read_key(pem[, password]) -> key */
static int sign_read_key(lua_State *L) {
  size_t n, pn = 0;
  const char *pem = luaL_checklstring(L, 1, &n), *password = luaL_optlstring(L, 2, NULL, &pn);
  lua_settop(L, 2);
  struct work *w = bk_job_new(L, sizeof *w, release);
  w->pem = copy(pem, n);
  w->pem_len = n;
  w->password = password ? copy(password, pn) : NULL;
  w->password_len = pn;
  w->job.run = run_read;
  return bk_job_await(L, &w->job, done_read);
}

static int run_write(struct bk_job *job, struct bk_err *err) {
  struct work *w = (struct work *)job;
  int rc = bk_sign_private_pem(w->own, w->password, w->password_len, &w->out, err);
  OPENSSL_thread_stop();
  return rc;
}

static int done_write(lua_State *L, struct bk_job *job) {
  return push_text(L, &((struct work *)job)->out);
}

/* key:private_pem(password) -> text */
static int key_private_pem(lua_State *L) {
  size_t n;
  const struct bk_sign_key *key = check(L);
  const char *password = luaL_checklstring(L, 2, &n);
  lua_settop(L, 2);
  struct work *w = bk_job_new(L, sizeof *w, release);
  w->password = copy(password, n);
  w->password_len = n;
  w->own = key;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  w->job.run = run_write;
  return bk_job_await(L, &w->job, done_write);
}

/* --- the rest is quick ----------------------------------------------------------------------- */

static int sign_generate(lua_State *L) {
  struct bk_err err;
  struct bk_sign_key **box = bk_box(L, sizeof *box, KEY);
  return bk_sign_generate(box, &err) ? bk_lua_fail(L, &err) : 1;
}

static int key_public_pem(lua_State *L) {
  struct bk_err err;
  const struct bk_sign_key *key = check(L);
  struct bk_buf *out = new_text(L);
  return bk_sign_public_pem(key, out, &err) ? bk_lua_fail(L, &err) : push_text(L, out);
}

static int key_id(lua_State *L) {
  unsigned char id[32];
  struct bk_err err;
  if (bk_sign_key_id(check(L), id, &err)) return bk_lua_fail(L, &err);
  lua_pushlstring(L, (char *)id, sizeof id);
  return 1;
}

static int key_type(lua_State *L) {
  lua_pushstring(L, bk_sign_key_type(check(L)));
  return 1;
}

static int key_is_private(lua_State *L) {
  lua_pushboolean(L, bk_sign_key_private(check(L)));
  return 1;
}

static int key_sign(lua_State *L) {
  size_t n;
  struct bk_err err;
  const struct bk_sign_key *key = check(L);
  const char *text = luaL_checklstring(L, 2, &n);
  struct bk_buf *out = new_text(L);
  return bk_sign_make(key, text, n, out, &err) ? bk_lua_fail(L, &err) : push_text(L, out);
}

static int key_verify(lua_State *L) {
  size_t n, sn;
  const struct bk_sign_key *key = check(L);
  const char *text = luaL_checklstring(L, 2, &n), *sig = luaL_checklstring(L, 3, &sn);
  lua_pushboolean(L, bk_sign_check(key, text, n, sig, sn));
  return 1;
}

static int sign_base64(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  struct bk_buf *out = new_text(L);
  bk_base64(out, text, n);
  return push_text(L, out);
}

static int sign_unbase64(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  struct bk_buf *out = new_text(L);
  if (!bk_unbase64(out, text, n)) return lua_pushnil(L), 1;
  return push_text(L, out);
}

/* ask(prompt) -> line */
static int sign_ask(lua_State *L) {
  struct bk_err err;
  const char *prompt = bk_check_text(L, 1);
  struct bk_buf *out = new_text(L);
  return bk_sign_ask(prompt, out, &err) ? bk_lua_fail(L, &err) : push_text(L, out);
}

int luaopen_bakery_sign(lua_State *L) {
  static const luaL_Reg methods[] = {{"public_pem", key_public_pem},
                                     {"private_pem", key_private_pem},
                                     {"id", key_id},
                                     {"type", key_type},
                                     {"is_private", key_is_private},
                                     {"sign", key_sign},
                                     {"verify", key_verify},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {{"generate", sign_generate}, {"read_key", sign_read_key},
                                       {"base64", sign_base64},     {"unbase64", sign_unbase64},
                                       {"ask", sign_ask},           {NULL, NULL}};
  bk_lua_loop(L);
  bk_class(L, KEY, methods, key_close);
  bk_class(L, TEXT, NULL, text_close);
  luaL_newlib(L, functions);
  return 1;
}
