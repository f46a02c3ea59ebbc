/* Shared by the binding files of this module: option tables to struct bk_spawn, results, signals. */
#ifndef BK_LUA_PROCESS_H
#define BK_LUA_PROCESS_H

#include "luakit/async.h"
#include "process/process.h"

/* The fields of an option table that both run and spawn take. Strings are anchored by values that
 * bk_lua_spawn_spec leaves on the stack. */
struct bk_spawn_opts {
  struct bk_spawn s;
  const char *input; /* option stdin */
  size_t ninput;
  double timeout, grace; /* seconds; timeout 0 = none */
  bool merge;
};

/* Reads table idx; pushes two anchors. */
void bk_lua_spawn_opts(lua_State *L, int idx, struct bk_spawn_opts *o);
/* Read-only descriptor with the bytes, positioned at its start: no pipe, so no deadlock and no
 * trace in a file system. */
int bk_lua_input_fd(const char *p, size_t n, struct bk_err *err);
/* Pushes { code=, signal=, seconds= }. */
void bk_lua_push_status(lua_State *L, int status, double seconds);
/* Pushes "exit code 3" or "killed by SIGKILL". */
void bk_lua_push_reason(lua_State *L, int code, int sig);
const char *bk_signal_name(int sig); /* "SIGTERM"; NULL when unknown */
int bk_signal_number(const char *name);   /* of "SIGTERM" or "TERM"; 0 when unknown */

int bk_lua_process_run(lua_State *L); /* process.run */
int bk_lua_process_relay(lua_State *L); /* process.relay */
int bk_lua_pty(lua_State *L);
int bk_lua_pty_relay(lua_State *L);
int bk_lua_ask(lua_State *L);
/* Adds the functions about this process, and `signals`, to the module at the top of the stack. */
void bk_lua_process_facts(lua_State *L);

#endif
