/* What this process can do, and what it becomes to do it: probe, enter, and what belongs to them. */
#include "sandbox/lua_sandbox.h"

#include <string.h>

#include "luakit/luakit.h"
#include "sandbox/sandbox.h"

static void set_string(lua_State *L, const char *name, const char *v) {
  lua_pushstring(L, v);
  lua_setfield(L, -2, name);
}

static void set_bool(lua_State *L, const char *name, bool v) {
  lua_pushboolean(L, v);
  lua_setfield(L, -2, name);
}

/* An extra of an attempt: true, what is wrong, or nothing when it was not tried. */
static void set_extra(lua_State *L, const char *name, int error) {
  if (error < 0) return;
  if (error) lua_pushstring(L, strerror(error));
  else lua_pushboolean(L, true);
  lua_setfield(L, -2, name);
}

static void push_try(lua_State *L, const struct bk_sandbox_try *t) {
  char tier = bk_sandbox_tier(t->mode);
  lua_createtable(L, 0, 8);
  set_string(L, "mode", bk_sandbox_mode_name(t->mode));
  lua_pushlstring(L, &tier, 1);
  lua_setfield(L, -2, "tier");
  set_bool(L, "usable", t->usable);
  if (!t->usable) {
    set_string(L, "why", t->why);
    set_string(L, "fix", t->fix);
  }
  set_extra(L, "overlay", t->overlay);
  set_extra(L, "proc", t->proc);
  set_extra(L, "net", t->net);
}

static int l_enter(lua_State *L) {
  static const char *const names[] = {"isolation", "dir", NULL};
  struct bk_sandbox_choice c;
  struct bk_err err;
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_newtable(L);
    lua_replace(L, 1);
  }
  bk_opts(L, 1, names);
  const char *isolation = bk_opt_str(L, 1, "isolation", NULL, NULL), *dir = bk_opt_str(L, 1, "dir", NULL, NULL);
  if (bk_sandbox_enter(isolation, dir, &c, &err)) return bk_lua_fail(L, &err);
  lua_createtable(L, 0, 6);
  set_string(L, "mode", bk_sandbox_mode_name(c.mode));
  lua_pushlstring(L, &c.tier, 1);
  lua_setfield(L, -2, "tier");
  set_bool(L, "overlay", c.overlay);
  set_bool(L, "userxattr", c.userxattr);
  set_bool(L, "marks", c.marks);
  set_string(L, "ids", c.ids);
  lua_createtable(L, (int)c.ntries, 0);
  for (size_t i = 0; i < c.ntries; i++) {
    push_try(L, &c.tries[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "tries");
  return 1;
}

static int l_subids(lua_State *L) {
  struct bk_id_range r[16];
  size_t n = bk_sandbox_subids(luaL_checkstring(L, 1), luaL_checkstring(L, 2),
                               (unsigned)luaL_checkinteger(L, 3), r, BK_ARRAY_LEN(r));
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, (lua_Integer)r[i].first);
    lua_setfield(L, -2, "first");
    lua_pushinteger(L, (lua_Integer)r[i].count);
    lua_setfield(L, -2, "count");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int l_devices_refused(lua_State *L) {
  lua_pushboolean(L, bk_sandbox_devices_refused(luaL_checkstring(L, 1)));
  return 1;
}

static int l_binfmt(lua_State *L) {
  struct bk_err err;
  size_t n;
  const char *line = luaL_checklstring(L, 1, &n);
  if (bk_sandbox_binfmt(line, n, &err)) return bk_lua_fail(L, &err);
  lua_pushboolean(L, true);
  return 1;
}

static int l_make_dev(lua_State *L) {
  struct bk_err err;
  const char *missing;
  if (bk_sandbox_make_dev(luaL_checkstring(L, 1), &missing, &err)) return bk_lua_fail(L, &err);
  lua_pushboolean(L, true);
  lua_pushstring(L, missing);
  return 2;
}

static int l_netns(lua_State *L) {
  struct bk_err err;
  int fd;
  if (bk_sandbox_netns(&fd, &err)) return bk_lua_fail(L, &err);
  lua_pushinteger(L, fd);
  return 1;
}

static int l_probe(lua_State *L) {
  static const char *const names[] = {"dir", NULL};
  struct bk_sandbox_probe p;
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    lua_newtable(L);
    lua_replace(L, 1);
  }
  bk_opts(L, 1, names);
  bk_sandbox_probe(bk_opt_str(L, 1, "dir", NULL, NULL), &p);
  char tier = bk_sandbox_tier(p.mode);
  lua_createtable(L, 0, 8);
  set_string(L, "mode", bk_sandbox_mode_name(p.mode));
  lua_pushlstring(L, &tier, 1);
  lua_setfield(L, -2, "tier");
  set_bool(L, "newuidmap", p.newuidmap);
  set_bool(L, "pidfd", p.pidfd);
  set_extra(L, "seccomp", p.seccomp);
  set_string(L, "cgroup", p.cgroup);
  lua_pushinteger(L, (lua_Integer)p.subuid_count);
  lua_setfield(L, -2, "subuid_count");
  lua_createtable(L, BK_SANDBOX_MODES, 0);
  for (int m = BK_SANDBOX_ROOT; m < BK_SANDBOX_MODES; m++) {
    push_try(L, &p.tries[m]);
    lua_rawseti(L, -2, m);
  }
  lua_setfield(L, -2, "tries");
  return 1;
}

void bk_lua_sandbox_facts(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"probe", l_probe}, {"enter", l_enter}, {"subids", l_subids}, {"make_dev", l_make_dev}, {"netns", l_netns},
      {"binfmt", l_binfmt}, {"devices_refused", l_devices_refused}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
