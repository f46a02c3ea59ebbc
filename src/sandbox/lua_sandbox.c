#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "luakit/async.h"
#include "process/process.h"
#include "sandbox/lua_sandbox.h"

#define BOX "bakery.sandbox.box"

/* --- spec ---------------------------------------------------------------------------------------- */

/* A box being started. Everything the worker reads is copied into the arena. */
struct start {
  struct bk_job job;
  struct bk_arena arena;
  struct bk_sandbox_spec spec;
  struct bk_sandbox_box box; /* pid 0: none to be taken over or killed */
  unsigned long long ooms;
};

static void close_fds(struct start *s) {
  for (int i = 0; i < 3; i++)
    if (s->spec.fds[i] >= 0) close(s->spec.fds[i]);
  for (int i = 0; i < 3; i++) s->spec.fds[i] = -1;
}

/* A supervisor (tier F) must live to end the others. */
static int kill_signal(void) { return bk_sandbox_mode() == BK_SANDBOX_CHROOT ? SIGTERM : SIGKILL; }

static void start_release(struct bk_job *job) {
  struct start *s = (struct start *)job;
  if (s->box.pid > 0) { /* nobody took it */
    kill(s->box.pid, kill_signal());
    while (waitpid(s->box.pid, NULL, 0) < 0 && errno == EINTR) {}
    close(s->box.pidfd);
  }
  free(s->box.stubs);
  close_fds(s);
  bk_arena_free(&s->arena);
}

static const char *copy(struct start *s, const char *text) {
  return text ? bk_arena_strndup(&s->arena, text, strlen(text)) : NULL;
}

/* Option `name` as a copied list; *n its length. */
static const char *const *copy_list(lua_State *L, struct start *s, int idx, const char *name, size_t *n) {
  const char **v;
  *n = bk_opt_strv(L, idx, name, &v);
  const char **out = bk_arena_alloc(&s->arena, (*n + 1) * sizeof *out);
  for (size_t i = 0; i < *n; i++) out[i] = copy(s, v[i]);
  lua_pop(L, 1);
  return out;
}

static const char *absolute(lua_State *L, const char *what, const char *path) {
  if (path[0] != '/') luaL_error(L, "%s: expected an absolute path, got '%s'", what, path);
  return path;
}

static unsigned id(lua_State *L, int idx, const char *name) {
  lua_Integer v = bk_opt_int(L, idx, name, 0);
  if (v < 0 || v >= 4294967295LL) luaL_error(L, "option '%s': not an id: %I", name, v);
  return (unsigned)v;
}

static void read_mount(lua_State *L, struct start *s, int idx, struct bk_sandbox_mount *m) {
  static const char *const names[] = {"type", "target", "source", "subpath", "data", "ro",
                                      "size", "mode",   "uid",    "gid",     "lowers", NULL};
  luaL_checktype(L, idx, LUA_TTABLE);
  bk_opts(L, idx, names);
  const char *type = bk_opt_need_str(L, idx, "type", NULL);
  m->target = copy(s, absolute(L, "mount target", bk_opt_need_str(L, idx, "target", NULL)));
  m->source = copy(s, bk_opt_str(L, idx, "source", NULL, NULL));
  m->subpath = copy(s, bk_opt_str(L, idx, "subpath", NULL, NULL));
  m->ro = bk_opt_bool(L, idx, "ro", false);
  m->uid = id(L, idx, "uid");
  m->gid = id(L, idx, "gid");
  lua_Integer size = bk_opt_int(L, idx, "size", 0);
  lua_Integer mode = bk_opt_int(L, idx, "mode", strcmp(type, "tmpfs") == 0 ? 01777 : 0400);
  if (size < 0 || mode < 0 || mode > 07777) luaL_error(L, "mount '%s': bad size or mode", m->target);
  m->size = (uint64_t)size;
  m->mode = (unsigned)mode;
  if (strcmp(type, "tmpfs") == 0) {
    m->type = BK_MOUNT_TMPFS;
    return;
  }
  size_t n;
  const char *data = bk_opt_str(L, idx, "data", NULL, &n);
  if (strcmp(type, "secret") == 0 && data) {
    m->type = BK_MOUNT_SECRET;
    m->data = bk_arena_strndup(&s->arena, data, n);
    m->ndata = n;
    return;
  }
  if (strcmp(type, "layers") == 0) {
    m->type = BK_MOUNT_LAYERS;
    m->lowers = copy_list(L, s, idx, "lowers", &m->nlowers);
    if (!m->nlowers) luaL_error(L, "mount '%s': type layers needs lowers", m->target);
    return;
  }
  if (strcmp(type, "bind") != 0 && strcmp(type, "cache") != 0 && strcmp(type, "secret") != 0)
    luaL_error(L, "mount '%s': unknown type '%s' (bind, cache, layers, tmpfs, secret)", m->target, type);
  if (!m->source) luaL_error(L, "mount '%s': type %s needs a source", m->target, type);
  m->type = BK_MOUNT_BIND;
  m->ro = m->ro || strcmp(type, "secret") == 0;
}

static void read_mounts(lua_State *L, struct start *s) {
  if (bk_opt_get(L, 1, "mounts")) {
    luaL_checktype(L, -1, LUA_TTABLE);
    size_t n = lua_rawlen(L, -1);
    struct bk_sandbox_mount *m = bk_arena_alloc(&s->arena, (n + 1) * sizeof *m);
    for (size_t i = 0; i < n; i++) {
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      read_mount(L, s, lua_gettop(L), &m[i]);
      lua_pop(L, 1);
    }
    s->spec.mounts = m;
    s->spec.nmounts = n;
  }
  lua_pop(L, 1);
}

static void read_groups(lua_State *L, struct start *s) {
  if (bk_opt_get(L, 1, "groups")) {
    luaL_checktype(L, -1, LUA_TTABLE);
    size_t n = lua_rawlen(L, -1);
    luaL_argcheck(L, n <= 65536, 1, "too many groups");
    gid_t *g = bk_arena_alloc(&s->arena, (n + 1) * sizeof *g);
    for (size_t i = 0; i < n; i++) {
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      lua_Integer v = luaL_checkinteger(L, -1);
      luaL_argcheck(L, v >= 0 && v < 4294967295LL, 1, "option 'groups': ids expected");
      g[i] = (gid_t)v;
      lua_pop(L, 1);
    }
    s->spec.groups = g;
    s->spec.ngroups = n;
  }
  lua_pop(L, 1);
}

/* The text of /etc/hosts: local names, ours, and `add_hosts` ("name:address", or "name=address"). */
static void read_hosts(lua_State *L, struct start *s) {
  struct bk_buf b = {.max = 1 << 20};
  size_t n;
  const char *const *extra = copy_list(L, s, 1, "add_hosts", &n);
  for (size_t i = 0; i < n; i++)
    if (!strpbrk(extra[i], ":=") || strpbrk(extra[i], "\r\n \t"))
      luaL_error(L, "option 'add_hosts': expected 'name:address', got '%s'", extra[i]);
  const char *own = s->spec.hostname;
  bk_buf_addf(&b, "127.0.0.1\tlocalhost%s%s\n::1\tlocalhost ip6-localhost ip6-loopback\n", own ? " " : "",
              own ? own : "");
  for (size_t i = 0; i < n; i++) {
    size_t cut = strcspn(extra[i], ":=");
    bk_buf_addf(&b, "%s\t%.*s\n", extra[i] + cut + 1, (int)cut, extra[i]);
  }
  s->spec.hosts = copy(s, bk_buf_str(&b));
  bk_buf_free(&b);
}

/* Option resolv_conf: a file, false for the image's own, nil for the host's. systemd's stub listens
 * on the host's loopback only, so a box without it gets the list behind the stub. */
static int read_resolv(lua_State *L, struct start *s, struct bk_err *err) {
  const char *path = "/etc/resolv.conf", *behind = "/run/systemd/resolve/resolv.conf";
  bool given = bk_opt_get(L, 1, "resolv_conf");
  if (given && lua_isboolean(L, -1) && !lua_toboolean(L, -1)) return lua_pop(L, 1), 0;
  if (given) path = luaL_checkstring(L, -1);
  else if (s->spec.private_net && access(behind, R_OK) == 0) path = behind;
  struct bk_buf b = {.max = 1 << 20};
  int rc = bk_read_file(AT_FDCWD, path, &b, err);
  if (!rc) s->spec.resolv = copy(s, bk_buf_str(&b));
  bk_buf_free(&b);
  lua_pop(L, 1);
  return given ? rc : 0;
}

static uint64_t limit(lua_State *L, int idx, const char *name) {
  lua_Integer n = bk_opt_int(L, idx, name, -1);
  return n < 0 ? UINT64_MAX : (uint64_t)n;
}

/* Option limits: a list of { resource=, soft=, hard= }, -1 for none. */
static void read_limits(lua_State *L, struct start *s) {
  static const char *const names[] = {"resource", "soft", "hard", NULL};
  if (!bk_opt_get(L, 1, "limits")) return (void)lua_pop(L, 1);
  luaL_checktype(L, -1, LUA_TTABLE);
  int list = lua_gettop(L);
  size_t n = lua_rawlen(L, list);
  struct bk_sandbox_limit *out = bk_arena_alloc(&s->arena, (n + 1) * sizeof *out);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, list, (lua_Integer)i + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    bk_opts(L, -1, names);
    int at = lua_gettop(L);
    lua_Integer resource = bk_opt_int(L, at, "resource", -1);
    if (resource < 0 || resource >= RLIM_NLIMITS) luaL_error(L, "option 'limits': no such resource");
    out[i] = (struct bk_sandbox_limit){(int)resource, limit(L, at, "soft"), limit(L, at, "hard")};
    lua_pop(L, 1);
  }
  s->spec.limits = out;
  s->spec.nlimits = n;
  lua_pop(L, 1);
}

/* Copies above 2, closed with the job; the caller may close his own as soon as spawn has returned. */
static int read_fds(lua_State *L, struct start *s, struct bk_err *err) {
  static const char *const names[] = {"stdin", "stdout", "stderr"};
  for (int i = 0; i < 3; i++) {
    lua_Integer fd = bk_opt_int(L, 1, names[i], -1);
    if (fd < -1 || fd > 1 << 24) luaL_error(L, "option '%s': not a descriptor", names[i]);
    int own = fd < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : (int)fd;
    s->spec.fds[i] = own < 0 ? -1 : fcntl(own, F_DUPFD_CLOEXEC, 3);
    int why = errno;
    if (fd < 0 && own >= 0) close(own);
    if (s->spec.fds[i] < 0) return bk_fail_errno(err, why, "%s of the sandbox", names[i]);
  }
  return 0;
}

static void read_spec(lua_State *L, struct start *s) {
  static const char *const nets[] = {"host", "none", NULL};
  static const char *const levels[] = {"default", "strict", "insecure", NULL};
  struct bk_sandbox_spec *p = &s->spec;
  size_t n;
  p->lowers = copy_list(L, s, 1, "lowers", &p->nlowers);
  p->upper = copy(s, absolute(L, "option 'upper'", bk_opt_need_str(L, 1, "upper", NULL)));
  p->work = copy(s, absolute(L, "option 'work'", bk_opt_need_str(L, 1, "work", NULL)));
  for (size_t i = 0; i < p->nlowers; i++) absolute(L, "option 'lowers'", p->lowers[i]);
  p->argv = copy_list(L, s, 1, "argv", &n);
  if (n == 0) luaL_error(L, "option 'argv': expected a list with the program and its arguments");
  p->env = copy_list(L, s, 1, "env", &n);
  p->cwd = copy(s, absolute(L, "option 'cwd'", bk_opt_str(L, 1, "cwd", "/", NULL)));
  p->hostname = copy(s, bk_opt_str(L, 1, "hostname", "buildkitsandbox", NULL));
  if (strlen(p->hostname) > 64) luaL_error(L, "option 'hostname': longer than 64 characters");
  p->uid = id(L, 1, "uid");
  p->gid = id(L, 1, "gid");
  read_groups(L, s);
  bk_opt_get(L, 1, "network");
  p->private_net = luaL_checkoption(L, -1, "host", nets) == 1;
  lua_Integer netns = bk_opt_int(L, 1, "netns", 0);
  luaL_argcheck(L, netns >= 0 && netns <= INT32_MAX && (!netns || p->private_net), 1,
                "option 'netns': a descriptor, with network = \"none\"");
  p->netns = (int)netns;
  bk_opt_get(L, 1, "security");
  p->security = (enum bk_sandbox_security)luaL_checkoption(L, -1, "default", levels);
  lua_pop(L, 2);
  p->userxattr = bk_opt_bool(L, 1, "userxattr", false);
  p->proc = bk_opt_bool(L, 1, "proc", false);
  lua_Integer shm = bk_opt_int(L, 1, "shm_size", 0);
  luaL_argcheck(L, shm >= 0, 1, "option 'shm_size': bytes expected");
  p->shm_size = (uint64_t)shm;
  read_mounts(L, s);
  read_hosts(L, s);
  read_limits(L, s);
}

/* --- running ------------------------------------------------------------------------------------- */

struct box {
  struct bk_child *child;
  struct bk_waiters waiters;
  unsigned long long ooms;
  bool killed; /* by us: not the kernel's doing */
};
enum { UV_STUBS = 1 };

/* How many processes the kernel has killed for want of memory, anywhere. */
static unsigned long long oom_kills(void) {
  struct bk_buf b = {.max = 1 << 20};
  struct bk_err err;
  unsigned long long n = 0;
  if (bk_read_file(AT_FDCWD, "/proc/vmstat", &b, &err) == 0) {
    const char *line = strstr(bk_buf_str(&b), "\noom_kill ");
    if (line) sscanf(line, " oom_kill %llu", &n);
  }
  bk_buf_free(&b);
  return n;
}

static void box_changed(struct bk_child *c, void *arg) {
  (void)c;
  bk_waiters_wake(&((struct box *)arg)->waiters);
}

static int start_run(struct bk_job *job, struct bk_err *err) {
  struct start *s = (struct start *)job;
  s->ooms = oom_kills();
  int rc = bk_sandbox_start(&s->spec, &s->box, err);
  close_fds(s); /* not when collected: readers wait for the last writer to close */
  return rc;
}

static int start_done(lua_State *L, struct bk_job *job) {
  struct start *s = (struct start *)job;
  struct box *b = lua_newuserdatauv(L, sizeof *b, UV_STUBS);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, BOX);
  lua_newtable(L);
  lua_Integer n = 0;
  for (size_t i = 0; i < s->box.nstubs; i += strlen(s->box.stubs + i) + 1) {
    lua_pushstring(L, s->box.stubs + i);
    lua_rawseti(L, -2, ++n);
  }
  lua_setiuservalue(L, -2, UV_STUBS);
  b->ooms = s->ooms;
  b->child = bk_child_adopt(bk_lua_loop(L), s->box.pid, s->box.pidfd, box_changed, b);
  bk_child_set_kill(b->child, kill_signal());
  s->box.pid = 0;
  return 1;
}

static int l_spawn(lua_State *L) {
  static const char *const names[] = {
      "lowers",  "upper",    "work",   "argv",    "env",     "cwd",       "uid",        "gid",
      "groups",  "hostname", "mounts", "network", "netns", "stdin",   "stdout",    "stderr",     "userxattr",
      "security", "shm_size", "add_hosts", "resolv_conf", "limits", "proc", NULL};
  struct bk_err err;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  bk_opts(L, 1, names);
  struct start *s = bk_job_new(L, sizeof *s, start_release);
  for (int i = 0; i < 3; i++) s->spec.fds[i] = -1;
  read_spec(L, s);
  lua_settop(L, 2);
  if (read_resolv(L, s, &err) || read_fds(L, s, &err)) return bk_lua_fail(L, &err);
  s->job.run = start_run;
  lua_settop(L, 2);
  return bk_job_await(L, &s->job, start_done);
}

static int box_gc(lua_State *L) {
  struct box *b = bk_check(L, 1, BOX);
  if (b->child) bk_child_terminate(b->child, 0);
  bk_child_close(b->child);
  b->child = NULL;
  bk_waiters_wake(&b->waiters);
  return 0;
}

/* :close() and <close> kill every process of the box and return when they are gone. */
static int box_close_step(lua_State *L, int status, lua_KContext ctx) {
  (void)status;
  struct box *b = lua_touserdata(L, 1);
  while (b->child && !bk_child_gone(b->child)) {
    lua_settop(L, 1);
    bk_waiters_wait(L, &b->waiters, box_close_step, ctx);
  }
  bk_child_close(b->child);
  b->child = NULL;
  bk_waiters_wake(&b->waiters);
  return 0;
}

static int box_close(lua_State *L) {
  struct box *b = bk_check(L, 1, BOX);
  if (b->child && !bk_child_gone(b->child)) {
    b->killed = true;
    bk_child_terminate(b->child, 0);
  }
  return box_close_step(L, LUA_OK, 0);
}

static int box_wait_step(lua_State *L, int st, lua_KContext ctx) {
  (void)st;
  struct box *b = lua_touserdata(L, 1);
  int status;
  double seconds;
  for (;;) {
    lua_settop(L, 1);
    if (!b->child) {
      struct bk_err err;
      bk_fail(&err, BK_BUILD, "EBADF", "wait for a closed sandbox");
      return bk_lua_fail(L, &err);
    }
    if (bk_child_exited(b->child, &status, &seconds)) break;
    bk_waiters_wait(L, &b->waiters, box_wait_step, ctx);
  }
  int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0, code = sig ? 128 + sig : WEXITSTATUS(status);
  lua_createtable(L, 0, 5);
  lua_pushinteger(L, code);
  lua_setfield(L, -2, "code");
  if (sig) {
    lua_pushinteger(L, sig);
    lua_setfield(L, -2, "signal");
  }
  lua_pushnumber(L, seconds);
  lua_setfield(L, -2, "seconds");
  lua_pushboolean(L, !b->killed && code == 128 + SIGKILL && oom_kills() > b->ooms);
  lua_setfield(L, -2, "oom");
  lua_getiuservalue(L, 1, UV_STUBS);
  lua_setfield(L, -2, "stubs");
  return 1;
}

static int box_wait(lua_State *L) {
  bk_check(L, 1, BOX);
  return box_wait_step(L, LUA_OK, 0);
}

static int box_kill(lua_State *L) {
  struct box *b = bk_check(L, 1, BOX);
  lua_Integer sig = luaL_optinteger(L, 2, SIGKILL);
  luaL_argcheck(L, sig > 0 && sig < NSIG, 2, "signal number expected");
  if (!b->child || bk_child_gone(b->child)) return lua_pushboolean(L, false), 1;
  b->killed = true;
  if (sig == SIGKILL) sig = kill_signal();
  lua_pushboolean(L, bk_child_kill(b->child, (int)sig) == 0);
  return 1;
}

static int box_pid(lua_State *L) {
  struct box *b = bk_check(L, 1, BOX);
  if (b->child) lua_pushinteger(L, bk_child_pid(b->child));
  else lua_pushnil(L);
  return 1;
}

BK_EXPORT int luaopen_bakery_sandbox(lua_State *L);
BK_EXPORT int luaopen_bakery_sandbox(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"wait", box_wait}, {"kill", box_kill}, {"pid", box_pid}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"spawn", l_spawn}, {NULL, NULL}};
  bk_lua_loop(L); /* first, so that it is finalised last */
  bk_class(L, BOX, methods, box_close);
  luaL_getmetatable(L, BOX);
  lua_pushcfunction(L, box_gc); /* a collector cannot wait */
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  bk_lua_sandbox_facts(L);
  return 1;
}
