/* Shared by the binding's files; nothing here outlives its userdata. */
#ifndef BK_LUA_STORE_H
#define BK_LUA_STORE_H

#include "luakit/async.h"
#include "store/store.h"

#define STORE "bakery.store"
#define STORE_LOCK "bakery.store.lock"

struct lock;
struct lua_store {
  struct bk_store *s;   /* NULL once closed */
  struct lock *waiters; /* in the order they came */
};

/* The open store at index 1; raises when it was closed. */
struct lua_store *bk_lua_store(lua_State *L);
/* Push: the value at idx as canonical JSON text / the decoded text or nil. */
const char *bk_lua_store_encode(lua_State *L, int idx, size_t *n);
void bk_lua_store_decode(lua_State *L, const char *text, size_t n);

extern const luaL_Reg bk_lua_store_jobs[], bk_lua_store_locks[];
int bk_lua_store_open(lua_State *L);
void bk_lua_store_lock_class(lua_State *L);

#endif
