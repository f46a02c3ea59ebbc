#include <string.h>

#include "base/mem.h"
#include "luakit/async.h"
#include "luakit/luakit.h"
#include "oci/oci.h"

#define CLIENT "bakery.oci.client"
#define REF "bakery.oci.ref"

BK_EXPORT int luaopen_bakery_oci(lua_State *L);

/* --- references ------------------------------------------------------------------------------ */

static void set_text(lua_State *L, const char *name, const char *value) {
  if (!value) return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void push_ref(lua_State *L, const struct bk_oci_ref *r) {
  lua_createtable(L, 0, 5);
  set_text(L, "registry", r->registry);
  set_text(L, "repository", r->repository);
  set_text(L, "tag", r->tag);
  set_text(L, "digest", r->digest);
  lua_pushfstring(L, "%s/%s", r->registry, r->repository);
  lua_setfield(L, -2, "name");
  luaL_setmetatable(L, REF);
}

static int ref_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_Buffer b;
  lua_getfield(L, 1, "registry");
  lua_getfield(L, 1, "repository");
  lua_getfield(L, 1, "tag");
  lua_getfield(L, 1, "digest");
  luaL_buffinit(L, &b);
  static const char *const before[] = {"", "/", ":", "@"};
  for (int i = 0; i < 4; i++) {
    const char *s = lua_tostring(L, 2 + i);
    if (!s) continue;
    luaL_addstring(&b, before[i]);
    luaL_addstring(&b, s);
  }
  luaL_pushresult(&b);
  return 1;
}

static int ref_eq(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_pushboolean(L, lua_rawequal(L, -1, -2));
  return 1;
}

static int oci_ref(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  struct bk_oci_ref r;
  struct bk_err err;
  if (bk_oci_ref_parse(&r, text, n, &err)) return bk_lua_fail(L, &err);
  push_ref(L, &r); /* out of memory here would leak the parts: accepted */
  bk_oci_ref_free(&r);
  return 1;
}

/* --- jobs ------------------------------------------------------------------------------------ */

struct call {
  struct bk_job job;
  struct bk_oci *c;
  struct bk_oci_op op;
  int (*work)(struct call *k, struct bk_err *err);
  struct bk_arena strings;
  struct bk_oci_ref ref;
  const char *platform, *path, *text, *media_type;
  size_t text_len, max;
  const char *mount_from;
  struct bk_oci_desc want; /* strings in the arena */
  /* results */
  struct bk_oci_manifest m, index;
  struct bk_buf data;
  char *digest;
  enum bk_oci_pushed pushed;
  int found;
  int64_t size;
};

static int run(struct bk_job *job, struct bk_err *err) {
  struct call *k = (struct call *)job;
  k->op.cancel = &job->cancel;
  return k->work(k, err);
}

static void release(struct bk_job *job) {
  struct call *k = (struct call *)job;
  bk_oci_drop(k->c);
  bk_arena_free(&k->strings);
  bk_oci_ref_free(&k->ref);
  bk_oci_manifest_free(&k->m);
  bk_oci_manifest_free(&k->index);
  bk_buf_free(&k->data);
  free(k->digest);
}

static struct bk_oci **client_at(lua_State *L, int idx) {
  struct bk_oci **box = bk_check(L, idx, CLIENT);
  if (!*box) luaL_argerror(L, idx, "client is closed");
  return box;
}

/* Job on top of the stack; user value 1 keeps what it borrows from Lua alive. */
static struct call *new_call(lua_State *L, int (*work)(struct call *, struct bk_err *)) {
  struct bk_oci *c = *client_at(L, 1);
  struct call *k = bk_job_new(L, sizeof *k, release);
  k->job.run = run;
  k->work = work;
  k->c = bk_oci_hold(c);
  return k;
}

static char *copy(struct call *k, const char *s, size_t n) {
  return s ? bk_arena_strndup(&k->strings, s, n) : NULL;
}

static char *copy_text(lua_State *L, struct call *k, int arg, const char *s, size_t n) {
  if (s && strlen(s) != n) luaL_argerror(L, arg, "contains a NUL byte");
  return copy(k, s, n);
}

static char *opt_text(lua_State *L, struct call *k, int arg, const char *name) {
  size_t n = 0;
  const char *s = bk_opt_str(L, arg, name, NULL, &n);
  return copy_text(L, k, arg, s, n);
}

static char *field_dup(lua_State *L, int idx, const char *name) {
  lua_getfield(L, idx, name);
  const char *s = lua_tostring(L, -1);
  char *out = s ? bk_strdup(s) : NULL;
  lua_pop(L, 1);
  return out;
}

/* A reference argument: text or the table of oci.ref. False = world failure pushed. */
static bool take_ref(lua_State *L, struct call *k, int arg) {
  struct bk_err err;
  if (lua_istable(L, arg)) {
    k->ref = (struct bk_oci_ref){.registry = field_dup(L, arg, "registry"),
                                 .repository = field_dup(L, arg, "repository"),
                                 .tag = field_dup(L, arg, "tag"),
                                 .digest = field_dup(L, arg, "digest")};
    if (!k->ref.tag && !k->ref.digest) k->ref.tag = bk_strdup("latest");
    struct bk_oci_ref *r = &k->ref;
    if (r->registry && bk_oci_is_registry(r->registry) && r->repository &&
        bk_oci_is_repository(r->repository) && (!r->tag || bk_oci_is_tag(r->tag)) &&
        (!r->digest || bk_oci_is_digest(r->digest)))
      return true;
    luaL_argerror(L, arg, "not a valid reference table (see oci.ref)");
  }
  size_t n;
  const char *text = luaL_checklstring(L, arg, &n);
  if (bk_oci_ref_parse(&k->ref, text, n, &err) == 0) return true;
  bk_lua_fail(L, &err);
  return false;
}

static void take_desc(lua_State *L, struct call *k, int arg) {
  k->want.size = -1;
  if (lua_type(L, arg) == LUA_TSTRING) { /* a bare digest */
    size_t n;
    const char *s = lua_tolstring(L, arg, &n);
    k->want.digest = copy_text(L, k, arg, s, n);
    return;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  size_t n;
  const char *s = bk_opt_need_str(L, arg, "digest", &n);
  k->want.digest = copy_text(L, k, arg, s, n);
  k->want.size = bk_opt_int(L, arg, "size", -1);
  if (k->want.size < -1) luaL_argerror(L, arg, "negative size");
}

/* progress=loop.counter(): adds the size to its total, the worker adds to done. */
static void take_progress(lua_State *L, struct call *k, int arg) {
  struct bk_counter *counter = bk_opt_counter(L, arg, "progress");
  if (!counter) return;
  k->op.done = &counter->done;
  lua_getfield(L, arg, "progress");
  lua_setiuservalue(L, -2, 1);
}

/* --- results --------------------------------------------------------------------------------- */

static void push_desc(lua_State *L, const struct bk_oci_desc *d) {
  lua_createtable(L, 0, 6);
  set_text(L, "digest", d->digest);
  set_text(L, "media_type", d->media_type);
  if (d->size >= 0) {
    lua_pushinteger(L, d->size);
    lua_setfield(L, -2, "size");
  }
}

/* raw as field `name`, decoded by bakery.json as field `decoded`. */
static void set_raw(lua_State *L, const char *name, const char *decoded, struct bk_buf *raw) {
  lua_pushlstring(L, bk_buf_str(raw), raw->len);
  if (decoded) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "bakery.json");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "decode");
    lua_pushvalue(L, -3);
    lua_call(L, 1, 1);
    lua_setfield(L, -4, decoded);
    lua_pop(L, 1);
  }
  lua_setfield(L, -2, name);
}

static int done_true(lua_State *L, struct bk_job *job) {
  (void)job;
  lua_pushboolean(L, true);
  return 1;
}

/* --- manifests ------------------------------------------------------------------------------- */

static int work_manifest(struct call *k, struct bk_err *err) {
  return bk_oci_manifest_get(k->c, &k->ref, &k->m, &k->op, err);
}

static int done_manifest(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  push_desc(L, &k->m.desc);
  if (k->m.raw.p) set_raw(L, "raw", NULL, &k->m.raw);
  return 1;
}

static int client_manifest(lua_State *L) {
  struct call *k = new_call(L, work_manifest);
  if (!take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_manifest);
}

static int work_head(struct call *k, struct bk_err *err) {
  return bk_oci_manifest_head(k->c, &k->ref, &k->m, &k->op, err);
}

static int client_head(lua_State *L) {
  struct call *k = new_call(L, work_head);
  if (!take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_manifest);
}

/* Follows an index (twice: they may nest) to the manifest of a platform. */
static int work_resolve(struct call *k, struct bk_err *err) {
  if (bk_oci_manifest_get(k->c, &k->ref, &k->m, &k->op, err)) return -1;
  for (int depth = 0; k->platform && bk_oci_is_index_type(k->m.desc.media_type); depth++) {
    if (depth == 3) return bk_fail(err, BK_INFRA, "oci.manifest", "indexes nested too deep");
    struct bk_oci_desc child;
    struct bk_oci_ref at = k->ref;
    if (bk_oci_index_select(k->m.raw.p, k->m.raw.len, k->platform, &child, err)) {
      cleanup_free char *name = bk_oci_ref_text(&k->ref);
      return bk_err_wrap(err, "%s", name);
    }
    bk_oci_manifest_free(&k->index);
    k->index = k->m;
    k->m = (struct bk_oci_manifest){0};
    at.digest = child.digest;
    int rc = bk_oci_manifest_get(k->c, &at, &k->m, &k->op, err);
    bk_oci_desc_free(&child);
    if (rc) return -1;
  }
  return 0;
}

static int done_resolve(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  push_desc(L, &k->m.desc);
  set_raw(L, "raw", "manifest", &k->m.raw);
  if (k->index.raw.p) {
    set_raw(L, "index", NULL, &k->index.raw);
    set_text(L, "index_digest", k->index.desc.digest);
    set_text(L, "index_media_type", k->index.desc.media_type);
  }
  return 1;
}

static int client_resolve(lua_State *L) {
  static const char *const names[] = {"platform", NULL};
  bk_opts(L, 3, names);
  lua_settop(L, 3);
  struct call *k = new_call(L, work_resolve);
  k->platform = opt_text(L, k, 3, "platform");
  if (!take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_resolve);
}

static int work_put(struct call *k, struct bk_err *err) {
  return bk_oci_manifest_put(k->c, &k->ref, k->text, k->text_len, k->media_type, &k->digest,
                             &k->op, err);
}

static int done_put(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_createtable(L, 0, 3);
  set_text(L, "digest", k->digest);
  set_text(L, "media_type", k->media_type);
  lua_pushinteger(L, (lua_Integer)k->text_len);
  lua_setfield(L, -2, "size");
  return 1;
}

/* push_manifest(repo, tag|digest|nil, raw, media_type) */
static int client_push_manifest(lua_State *L) {
  size_t rn = 0, n, tn;
  const char *reference = luaL_optlstring(L, 3, NULL, &rn);
  const char *raw = luaL_checklstring(L, 4, &n), *type = luaL_checklstring(L, 5, &tn);
  luaL_argcheck(L, !strpbrk(type, "\r\n") && strlen(type) == tn, 5, "invalid media type");
  luaL_argcheck(L, !reference || (strlen(reference) == rn && (bk_oci_is_tag(reference) ||
                                                              bk_oci_is_digest(reference))),
                3, "tag or digest expected");
  lua_settop(L, 5);
  struct call *k = new_call(L, work_put);
  if (!take_ref(L, k, 2)) return 2;
  k->text = copy(k, raw, n);
  k->text_len = n;
  k->media_type = copy(k, type, tn);
  if (reference) {
    bool digest = strchr(reference, ':') != NULL;
    free(k->ref.tag);
    free(k->ref.digest);
    k->ref.tag = digest ? NULL : bk_strdup(reference);
    k->ref.digest = digest ? bk_strdup(reference) : NULL;
  }
  return bk_job_await(L, &k->job, done_put);
}

/* --- blobs ----------------------------------------------------------------------------------- */

static int work_blob(struct call *k, struct bk_err *err) {
  return bk_oci_blob_file(k->c, &k->ref, &k->want, k->path, &k->op, err);
}

/* blob(repo, desc, out_file[, {progress=}]) -> true */
static int client_blob(lua_State *L) {
  static const char *const names[] = {"progress", NULL};
  size_t n;
  const char *path = luaL_checklstring(L, 4, &n);
  bk_opts(L, 5, names);
  lua_settop(L, 5);
  struct call *k = new_call(L, work_blob);
  take_desc(L, k, 3);
  k->path = copy_text(L, k, 4, path, n);
  take_progress(L, k, 5);
  if (!take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_true);
}

static int work_blob_data(struct call *k, struct bk_err *err) {
  k->data.max = k->max;
  return bk_oci_blob_data(k->c, &k->ref, &k->want, &k->data, &k->op, err);
}

static int done_blob_data(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_pushlstring(L, bk_buf_str(&k->data), k->data.len);
  return 1;
}

/* blob_data(repo, desc[, {max=16 MiB}]) -> string */
static int client_blob_data(lua_State *L) {
  static const char *const names[] = {"max", NULL};
  bk_opts(L, 4, names);
  lua_Integer max = bk_opt_int(L, 4, "max", 16 << 20);
  luaL_argcheck(L, max > 0, 4, "max must be positive");
  lua_settop(L, 4);
  struct call *k = new_call(L, work_blob_data);
  take_desc(L, k, 3);
  k->max = (size_t)max;
  if (!take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_blob_data);
}

static int work_has_blob(struct call *k, struct bk_err *err) {
  if (!bk_oci_is_digest(k->want.digest))
    return bk_fail(err, BK_USAGE, "oci.digest", "'%.80s' is not a digest", k->want.digest);
  k->found = bk_oci_blob_head(k->c, &k->ref, k->want.digest, &k->size, &k->op, err);
  return k->found < 0 ? -1 : 0;
}

static int done_has_blob(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_pushboolean(L, k->found);
  if (!k->found || k->size < 0) return 1;
  lua_pushinteger(L, k->size);
  return 2;
}

static int client_has_blob(lua_State *L) {
  lua_settop(L, 3);
  struct call *k = new_call(L, work_has_blob);
  take_desc(L, k, 3);
  if (!take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_has_blob);
}

static int work_push_blob(struct call *k, struct bk_err *err) {
  struct bk_oci_source src = {
      .path = k->path, .data = k->text, .len = k->text_len, .mount_from = k->mount_from};
  return bk_oci_blob_push(k->c, &k->ref, &k->want, &src, &k->pushed, &k->op, err);
}

static int done_push_blob(lua_State *L, struct bk_job *job) {
  static const char *const names[] = {"exists", "mounted", "uploaded"};
  lua_pushstring(L, names[((struct call *)job)->pushed]);
  return 1;
}

/* push_blob(repo, desc, {file=|data=, mount_from=, progress=}) */
static int client_push_blob(lua_State *L) {
  static const char *const names[] = {"file", "data", "mount_from", "progress", NULL};
  luaL_checktype(L, 4, LUA_TTABLE);
  bk_opts(L, 4, names);
  lua_settop(L, 4);
  struct call *k = new_call(L, work_push_blob);
  size_t n = 0;
  const char *data = bk_opt_str(L, 4, "data", NULL, &n);
  take_desc(L, k, 3);
  k->path = opt_text(L, k, 4, "file");
  if (!k->path == !data) luaL_error(L, "push_blob: give either 'file' or 'data'");
  k->text = copy(k, data, n);
  k->text_len = data ? n : 0;
  take_progress(L, k, 4);
  if (!take_ref(L, k, 2)) return 2;
  const char *from = bk_opt_str(L, 4, "mount_from", NULL, &n);
  if (from) { /* only within one registry */
    struct bk_oci_ref f;
    struct bk_err err;
    if (bk_oci_ref_parse(&f, from, n, &err)) return bk_lua_fail(L, &err);
    if (strcmp(f.registry, k->ref.registry) == 0)
      k->mount_from = copy(k, f.repository, strlen(f.repository));
    bk_oci_ref_free(&f);
  }
  return bk_job_await(L, &k->job, done_push_blob);
}

static int work_ping(struct call *k, struct bk_err *err) {
  return bk_oci_ping(k->c, k->text, &k->op, err);
}

static int client_ping(lua_State *L) {
  size_t n;
  const char *host = luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, bk_oci_is_registry(host), 2, "registry host expected");
  struct call *k = new_call(L, work_ping);
  k->text = copy(k, host, n);
  return bk_job_await(L, &k->job, done_true);
}

/* --- client ---------------------------------------------------------------------------------- */

static int client_close(lua_State *L) {
  struct bk_oci **box = bk_check(L, 1, CLIENT);
  bk_oci_drop(*box);
  *box = NULL;
  return 0;
}

/* Warnings gathered since the last call: server messages, stale credentials, bad settings. */
static int client_warnings(lua_State *L) {
  struct bk_oci *c = *client_at(L, 1);
  lua_newtable(L);
  lua_Integer n = 0;
  for (char *w; (w = bk_oci_warning(c));) {
    lua_pushstring(L, w);
    free(w);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static void login_fields(lua_State *L, int idx, struct bk_oci_login *l) {
  static const char *const names[] = {"host", "username", "password", "identity_token",
                                      "registry_token", NULL};
  bk_opts(L, idx, names);
  l->host = bk_opt_str(L, idx, "host", l->host, NULL);
  l->username = bk_opt_str(L, idx, "username", NULL, NULL);
  l->password = bk_opt_str(L, idx, "password", NULL, NULL);
  l->identity_token = bk_opt_str(L, idx, "identity_token", NULL, NULL);
  l->registry_token = bk_opt_str(L, idx, "registry_token", NULL, NULL);
}

/* auth = false | {username=, password=, host=…} | {["ghcr.io"]={…}, …}; leaves a userdata. */
static void take_auth(lua_State *L, struct bk_oci_opts *o) {
  bool given = bk_opt_get(L, 1, "auth");
  int at = lua_gettop(L);
  if (!given) return;
  if (lua_isboolean(L, at)) {
    o->anonymous = !lua_toboolean(L, at);
    return;
  }
  luaL_checktype(L, at, LUA_TTABLE);
  size_t n = 1;
  bool per_host = false;
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    n++;
    if (lua_istable(L, -1)) per_host = true;
  }
  struct bk_oci_login *list = lua_newuserdatauv(L, n * sizeof *list, 0);
  memset(list, 0, n * sizeof *list);
  o->logins = list;
  if (!per_host) {
    login_fields(L, at, &list[o->nlogins++]);
    return;
  }
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || !lua_istable(L, -1))
      luaL_error(L, "option 'auth': expected host names with tables of credentials");
    list[o->nlogins].host = lua_tostring(L, -2);
    login_fields(L, lua_gettop(L), &list[o->nlogins++]);
  }
}

static int oci_client(lua_State *L) {
  static const char *const names[] = {"auth",     "auth_file", "plain_http", "ca_file", "insecure",
                                      "user_agent", "retries", "parallel",   NULL};
  bk_opts(L, 1, names);
  lua_settop(L, 1);
  struct bk_oci_opts o = {.auth_file = bk_opt_str(L, 1, "auth_file", NULL, NULL),
                          .ca_file = bk_opt_str(L, 1, "ca_file", NULL, NULL),
                          .user_agent = bk_opt_str(L, 1, "user_agent", NULL, NULL),
                          .insecure = bk_opt_bool(L, 1, "insecure", false),
                          .retries = (int)bk_opt_int(L, 1, "retries", -1),
                          .parallel = (int)bk_opt_int(L, 1, "parallel", 0)};
  const char **plain;
  bk_opt_strv(L, 1, "plain_http", &plain);
  o.plain_http = plain;
  take_auth(L, &o);
  struct bk_oci **box = bk_box(L, sizeof *box, CLIENT);
  struct bk_err err;
  *box = bk_oci_new(&o, &err);
  return *box ? 1 : bk_lua_fail(L, &err);
}

static int oci_is_digest(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_pushboolean(L, strlen(s) == n && bk_oci_is_digest(s));
  return 1;
}

BK_EXPORT int luaopen_bakery_oci(lua_State *L) {
  static const luaL_Reg methods[] = {{"resolve", client_resolve},
                                     {"manifest", client_manifest},
                                     {"head", client_head},
                                     {"blob", client_blob},
                                     {"blob_data", client_blob_data},
                                     {"has_blob", client_has_blob},
                                     {"push_blob", client_push_blob},
                                     {"push_manifest", client_push_manifest},
                                     {"ping", client_ping},
                                     {"warnings", client_warnings},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"ref", oci_ref}, {"client", oci_client}, {"is_digest", oci_is_digest}, {NULL, NULL}};
  static const luaL_Reg ref_meta[] = {{"__tostring", ref_tostring}, {"__eq", ref_eq}, {NULL, NULL}};
  bk_lua_loop(L); /* before any job: it is closed after them */
  bk_class(L, CLIENT, methods, client_close);
  if (luaL_newmetatable(L, REF)) luaL_setfuncs(L, ref_meta, 0);
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
