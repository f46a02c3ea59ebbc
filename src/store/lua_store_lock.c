/* Waiting for named locks. No worker thread sleeps in flock: enough waiters would take all threads
 * from those who could release. A timer tries again; a release in this process tries at once. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/lua_store.h"

/* A lock, or the wait for one: the userdata is on the waiting coroutine's stack. */
struct lock {
  struct bk_wait wait;
  uv_timer_t *timer; /* set while waiting; heap: libuv closes handles later than we forget them */
  struct lock *next; /* in owner->waiters */
  uint64_t deadline; /* loop milliseconds; 0 = none */
  double timeout;
  unsigned delay;
  int rc;
  struct bk_err err;

  struct bk_store *s;
  struct lua_store *owner; /* alive as long as we are: our user value */
  int fd;
  char *name;              /* what waiters are matched by */
  bool shared, cache;
  enum bk_store_sharing sharing;
  char *ns, *id, *path;
  unsigned mode, uid, gid;
};

#define DELAY_MAX 50

static int attempt(struct lock *l, struct bk_err *err) {
  if (!l->cache) return bk_store_lock(l->s, l->name, l->shared, &l->fd, err);
  free(l->path);
  l->path = NULL;
  return bk_store_cache_mount(l->s, l->ns, l->id, l->sharing, l->mode, l->uid, l->gid, &l->path,
                              &l->fd, err);
}

static int busy(struct lock *l, double timeout, struct bk_err *err) {
  char who[40] = "somebody else";
  if (!l->cache) bk_store_lock_owner(l->s, l->name, who, sizeof who);
  bk_fail(err, BK_INFRA, "store.locked", "'%.200s' is locked by %s (waited %.1f s)",
          l->cache ? l->id : l->name, who, timeout);
  err->retryable = true;
  return -1;
}

/* --- waiting --------------------------------------------------------------------------------- */

static void timer_closed(uv_handle_t *h) { free(h); }

/* Out of the queue and off the loop; harmless when that has happened already. */
static void detach(struct lock *l) {
  if (!l->timer) return;
  uv_close((uv_handle_t *)l->timer, timer_closed);
  l->timer = NULL;
  for (struct lock **p = &l->owner->waiters; *p; p = &(*p)->next)
    if (*p == l) {
      *p = l->next;
      break;
    }
}

static void on_timer(uv_timer_t *timer) {
  struct lock *l = timer->data;
  int got = attempt(l, &l->err);
  if (got == 0 && (!l->deadline || uv_now(&l->wait.loop->uv) < l->deadline)) {
    uv_timer_start(timer, on_timer, l->delay, 0);
    l->delay = l->delay * 2 < DELAY_MAX ? l->delay * 2 : DELAY_MAX;
    return;
  }
  if (got == 0) got = busy(l, l->timeout, &l->err);
  l->rc = got < 0 ? -1 : 0;
  detach(l);
  bk_wake(&l->wait);
}

/* Unlocks; the first waiter for that name tries now instead of at its next tick. */
static void release(struct lock *l) {
  if (l->fd < 0) return;
  bk_store_unlock(l->s, &l->fd);
  for (struct lock *w = l->owner->waiters; w; w = w->next)
    if (strcmp(w->name, l->name) == 0) {
      uv_timer_start(w->timer, on_timer, 0, 0);
      return;
    }
}

static void wait_cancel(struct bk_wait *wait) {
  struct lock *l = (struct lock *)wait;
  detach(l);
  release(l); /* got it, but the task will not come to take it */
}

/* --- the lock object ------------------------------------------------------------------------- */

static int lock_close(lua_State *L) {
  struct lock *l = bk_check(L, 1, STORE_LOCK);
  if (!l->s) return 0;
  detach(l);
  release(l);
  free(l->name);
  free(l->ns);
  free(l->id);
  free(l->path);
  l->name = l->ns = l->id = l->path = NULL;
  bk_store_unref(l->s);
  l->s = NULL;
  return 0;
}

static int lock_index(lua_State *L) {
  struct lock *l = bk_check(L, 1, STORE_LOCK);
  const char *key = luaL_checkstring(L, 2);
  if (strcmp(key, "path") == 0 && l->path) return lua_pushstring(L, l->path), 1;
  if (strcmp(key, "close") == 0) return lua_pushcfunction(L, lock_close), 1;
  return lua_pushnil(L), 1;
}

static struct lock *push_lock(lua_State *L) {
  struct lua_store *owner = bk_lua_store(L);
  struct lock *l = bk_box(L, sizeof *l, STORE_LOCK);
  l->fd = -1;
  l->s = bk_store_ref(owner->s);
  l->owner = owner;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return l;
}

static int waited(lua_State *L, int status, lua_KContext ctx) {
  struct lock *l = (struct lock *)ctx;
  (void)status;
  if (l->rc) return bk_lua_fail(L, &l->err);
  return 1; /* the lock is on the top again */
}

/* The lock is on the top of the stack. */
static int acquire(lua_State *L, struct lock *l, double timeout) {
  int got = attempt(l, &l->err);
  if (got == 1) return 1;
  if (got == 0 && timeout == 0) got = busy(l, 0, &l->err);
  if (got < 0) return bk_lua_fail(L, &l->err);
  struct bk_loop *loop = bk_lua_loop(L);
  l->wait.loop = loop;
  l->wait.cancel = wait_cancel;
  l->timeout = timeout;
  l->delay = 2;
  uv_update_time(&loop->uv);
  if (timeout > 0) l->deadline = uv_now(&loop->uv) + (uint64_t)(timeout * 1000) + 1;
  l->timer = bk_malloc(sizeof *l->timer);
  l->timer->data = l;
  uv_timer_init(&loop->uv, l->timer);
  uv_timer_start(l->timer, on_timer, l->delay, 0);
  struct lock **p = &l->owner->waiters;
  while (*p) p = &(*p)->next;
  *p = l;
  return bk_await(L, &l->wait, waited, (lua_KContext)l);
}

static lua_Number timeout_option(lua_State *L, int idx) {
  lua_Number timeout = bk_opt_num(L, idx, "timeout", -1);
  if (timeout > 1e9) luaL_error(L, "option 'timeout': seconds expected");
  return timeout;
}

/* s:lock(name[, {timeout=, shared=}]) */
static int store_lock(lua_State *L) {
  static const char *const names[] = {"timeout", "shared", NULL};
  bk_lua_store(L);
  const char *name = luaL_checkstring(L, 2);
  bk_opts(L, 3, names);
  lua_Number timeout = timeout_option(L, 3);
  bool shared = bk_opt_bool(L, 3, "shared", false);
  struct lock *l = push_lock(L);
  l->name = bk_strdup(name);
  l->shared = shared;
  return acquire(L, l, timeout);
}

static unsigned id_option(lua_State *L, const char *name, lua_Integer def, lua_Integer max) {
  lua_Integer v = bk_opt_int(L, 2, name, def);
  if (v < 0 || v > max) luaL_error(L, "option '%s': out of range", name);
  return (unsigned)v;
}

/* s:cache_mount{id=, ns=, sharing=, mode=, uid=, gid=, timeout=} -> handle with .path */
static int cache_mount(lua_State *L) {
  static const char *const names[] = {"id", "ns", "sharing", "mode", "uid", "gid", "timeout", NULL};
  static const char *const sharings[] = {"shared", "private", "locked"};
  bk_lua_store(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  bk_opts(L, 2, names);
  const char *id = bk_opt_need_str(L, 2, "id", NULL);
  const char *ns = bk_opt_str(L, 2, "ns", "", NULL);
  const char *sharing = bk_opt_str(L, 2, "sharing", "shared", NULL);
  size_t kind = 0;
  while (kind < 3 && strcmp(sharing, sharings[kind]) != 0) kind++;
  if (kind == 3) return luaL_error(L, "option 'sharing': expected shared, private or locked");
  unsigned mode = id_option(L, "mode", 0755, 07777);
  unsigned uid = id_option(L, "uid", 0, 0xfffffffe), gid = id_option(L, "gid", 0, 0xfffffffe);
  lua_Number timeout = timeout_option(L, 2);
  struct lock *l = push_lock(L);
  l->cache = true;
  l->sharing = (enum bk_store_sharing)kind;
  l->mode = mode;
  l->uid = uid;
  l->gid = gid;
  l->ns = bk_strdup(ns);
  l->id = bk_strdup(id);
  l->name = bk_asprintf("cache mount %s/%s", ns, id);
  return acquire(L, l, timeout);
}

/* s:cache_dir(id) -> directory of the shared instance, without a lock on it. */
static int cache_dir(lua_State *L) {
  struct bk_err err;
  char *path = NULL;
  int fd = -1;
  struct bk_store *s = bk_lua_store(L)->s;
  const char *id = luaL_checkstring(L, 2);
  if (bk_store_cache_mount(s, "", id, BK_STORE_UNLOCKED, 0755, 0, 0, &path, &fd, &err) < 0)
    return bk_lua_fail(L, &err);
  lua_pushlstring(L, path, strlen(path) - strlen("/data"));
  free(path);
  return 1;
}

const luaL_Reg bk_lua_store_locks[] = {
    {"lock", store_lock}, {"cache_mount", cache_mount}, {"cache_dir", cache_dir}, {NULL, NULL}};

void bk_lua_store_lock_class(lua_State *L) {
  bk_class(L, STORE_LOCK, NULL, lock_close);
  luaL_getmetatable(L, STORE_LOCK);
  lua_pushcfunction(L, lock_index);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
