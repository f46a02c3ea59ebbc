/* Facts about this process, and the names of signals. */
#include "process/lua_process.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

extern char **environ;

static const struct {
  const char *name;
  int number;
} signals[] = {{"SIGHUP", SIGHUP},   {"SIGINT", SIGINT},   {"SIGQUIT", SIGQUIT}, {"SIGILL", SIGILL},
               {"SIGTRAP", SIGTRAP}, {"SIGABRT", SIGABRT}, {"SIGBUS", SIGBUS},   {"SIGFPE", SIGFPE},
               {"SIGKILL", SIGKILL}, {"SIGUSR1", SIGUSR1}, {"SIGSEGV", SIGSEGV}, {"SIGUSR2", SIGUSR2},
               {"SIGPIPE", SIGPIPE}, {"SIGALRM", SIGALRM}, {"SIGTERM", SIGTERM}, {"SIGCHLD", SIGCHLD},
               {"SIGCONT", SIGCONT}, {"SIGSTOP", SIGSTOP}, {"SIGTSTP", SIGTSTP}, {"SIGTTIN", SIGTTIN},
               {"SIGTTOU", SIGTTOU}, {"SIGXCPU", SIGXCPU}, {"SIGXFSZ", SIGXFSZ}, {"SIGWINCH", SIGWINCH},
               {"SIGSYS", SIGSYS}};

const char *bk_signal_name(int sig) {
  for (size_t i = 0; i < BK_ARRAY_LEN(signals); i++)
    if (signals[i].number == sig) return signals[i].name;
  return NULL;
}

int bk_signal_number(const char *name) {
  for (size_t i = 0; i < BK_ARRAY_LEN(signals); i++)
    if (strcmp(name, signals[i].name) == 0 || strcmp(name, signals[i].name + 3) == 0)
      return signals[i].number;
  return 0;
}

static int l_which(lua_State *L) {
  char *path = bk_process_which(luaL_checkstring(L, 1), getenv("PATH"), NULL);
  if (path) lua_pushstring(L, path);
  else lua_pushnil(L);
  free(path);
  return 1;
}

static int l_isatty(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

static int l_winsize(lua_State *L) {
  struct winsize w = {0};
  for (int fd = 2; fd >= 0; fd--)
    if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) {
      lua_pushinteger(L, w.ws_col);
      lua_pushinteger(L, w.ws_row);
      return 2;
    }
  return lua_pushnil(L), 1;
}

static int l_pid(lua_State *L) { return lua_pushinteger(L, getpid()), 1; }
static int l_uid(lua_State *L) { return lua_pushinteger(L, geteuid()), 1; }
static int l_gid(lua_State *L) { return lua_pushinteger(L, getegid()), 1; }

static int l_getenv_all(lua_State *L) {
  lua_newtable(L);
  for (char **e = environ; e && *e; e++) {
    const char *eq = strchr(*e, '=');
    if (!eq) continue;
    lua_pushlstring(L, *e, (size_t)(eq - *e));
    lua_pushstring(L, eq + 1);
    lua_rawset(L, -3);
  }
  return 1;
}

static int l_setenv(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  luaL_argcheck(L, *name && !strchr(name, '='), 1, "variable name expected");
  if (lua_isnoneornil(L, 2)) unsetenv(name);
  else setenv(name, luaL_checkstring(L, 2), 1);
  return 0;
}

static int l_hostname(lua_State *L) {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  lua_pushstring(L, name);
  return 1;
}

static int l_cpus(lua_State *L) {
  cpu_set_t set;
  long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                       : sysconf(_SC_NPROCESSORS_ONLN);
  lua_pushinteger(L, n > 0 ? n : 1);
  return 1;
}

static int l_max_rss(lua_State *L) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  lua_pushinteger(L, (lua_Integer)u.ru_maxrss * 1024);
  return 1;
}

/* Machine name of the kernel (uname -m), which is not the one of a 32-bit personality. */
static int l_machine(lua_State *L) {
  struct utsname u;
  lua_pushstring(L, uname(&u) ? "unknown" : u.machine);
  return 1;
}

void bk_lua_process_facts(lua_State *L) {
  static const luaL_Reg functions[] = {{"which", l_which},
                                       {"isatty", l_isatty},
                                       {"winsize", l_winsize},
                                       {"pid", l_pid},
                                       {"uid", l_uid},
                                       {"gid", l_gid},
                                       {"getenv_all", l_getenv_all},
                                       {"setenv", l_setenv},
                                       {"machine", l_machine},
                                       {"hostname", l_hostname},
                                       {"cpus", l_cpus},
                                       {"max_rss", l_max_rss},
                                       {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  lua_createtable(L, 0, (int)BK_ARRAY_LEN(signals));
  for (size_t i = 0; i < BK_ARRAY_LEN(signals); i++) {
    lua_pushinteger(L, signals[i].number);
    lua_setfield(L, -2, signals[i].name + 3);
  }
  lua_setfield(L, -2, "signals");
}
