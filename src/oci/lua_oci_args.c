#include <string.h>

#include "base/mem.h"
#include "oci/lua_oci.h"

static int run(struct bk_job *job, struct bk_err *err) {
  struct call *k = (struct call *)job;
  k->op.cancel = &job->cancel;
  int rc = k->work(k, err);
  if (k->sink) atomic_store(&k->sink->busy, false);
  k->sink = NULL;
  return rc;
}

static void release(struct bk_job *job) {
  struct call *k = (struct call *)job;
  if (k->sink) atomic_store(&k->sink->busy, false);
  bk_oci_drop(k->c);
  bk_oci_layout_drop(k->layout);
  if (k->login.password) explicit_bzero((char *)k->login.password, strlen(k->login.password));
  bk_arena_free(&k->strings);
  bk_oci_ref_free(&k->ref);
  bk_oci_ref_free(&k->from);
  bk_oci_manifest_free(&k->m);
  bk_oci_manifest_free(&k->index);
  bk_buf_free(&k->data);
  bk_oci_tags_free(&k->tags);
  bk_oci_account_free(&k->account);
  free(k->digest);
}

struct bk_oci *oci_check_client(lua_State *L, int idx) {
  struct bk_oci **box = bk_check(L, idx, OCI_CLIENT);
  if (!*box) luaL_argerror(L, idx, "client is closed");
  return *box;
}

static struct call *new_job(lua_State *L, int (*work)(struct call *, struct bk_err *)) {
  struct call *k = bk_job_new(L, sizeof *k, release);
  k->job.run = run;
  k->work = work;
  return k;
}

struct call *oci_call_new(lua_State *L, int (*work)(struct call *, struct bk_err *)) {
  struct bk_oci *c = oci_check_client(L, 1);
  struct call *k = new_job(L, work);
  k->c = bk_oci_hold(c);
  return k;
}

struct call *oci_layout_call_new(lua_State *L, int (*work)(struct call *, struct bk_err *)) {
  struct bk_oci_layout **box = bk_check(L, 1, OCI_LAYOUT);
  if (!*box) luaL_argerror(L, 1, "layout is closed");
  struct call *k = new_job(L, work);
  k->layout = bk_oci_layout_hold(*box);
  return k;
}

char *oci_copy(struct call *k, const char *s, size_t n) {
  return s ? bk_arena_strndup(&k->strings, s, n) : NULL;
}

char *oci_copy_text(lua_State *L, struct call *k, int arg, const char *s, size_t n) {
  if (s && strlen(s) != n) luaL_argerror(L, arg, "contains a zero byte");
  return oci_copy(k, s, n);
}

char *oci_opt_text(lua_State *L, struct call *k, int arg, const char *name) {
  const char *s = bk_opt_str(L, arg, name, NULL, NULL);
  return oci_copy(k, s, s ? strlen(s) : 0);
}

static char *field_dup(lua_State *L, int idx, const char *name) {
  lua_getfield(L, idx, name);
  const char *s = lua_tostring(L, -1);
  char *out = s ? bk_strdup(s) : NULL;
  lua_pop(L, 1);
  return out;
}

/* A reference argument: text or the table of oci.ref. False = world failure pushed. */
bool oci_take_ref(lua_State *L, struct call *k, int arg) {
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

void oci_take_desc(lua_State *L, struct call *k, int arg) {
  k->want.size = -1;
  if (lua_type(L, arg) == LUA_TSTRING) { /* a bare digest */
    size_t n;
    const char *s = lua_tolstring(L, arg, &n);
    k->want.digest = oci_copy_text(L, k, arg, s, n);
    return;
  }
  luaL_checktype(L, arg, LUA_TTABLE);
  size_t n;
  const char *s = bk_opt_need_str(L, arg, "digest", &n);
  k->want.digest = oci_copy_text(L, k, arg, s, n);
  k->want.size = bk_opt_int(L, arg, "size", -1);
  k->want.data = oci_opt_text(L, k, arg, "data");
  if (k->want.size < -1) luaL_argerror(L, arg, "negative size");
}

/* progress=loop.counter(): adds the size to its total, the worker adds to done. */
void oci_take_progress(lua_State *L, struct call *k, int arg) {
  struct bk_counter *counter = bk_opt_counter(L, arg, "progress");
  if (!counter) return;
  k->op.done = &counter->done;
  lua_getfield(L, arg, "progress");
  lua_setiuservalue(L, -2, 1);
}

/* --- results --------------------------------------------------------------------------------- */

void oci_set_text(lua_State *L, const char *name, const char *value) {
  if (!value) return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

void oci_push_desc(lua_State *L, const struct bk_oci_desc *d) {
  lua_createtable(L, 0, 6);
  oci_set_text(L, "digest", d->digest);
  oci_set_text(L, "media_type", d->media_type);
  if (d->size >= 0) {
    lua_pushinteger(L, d->size);
    lua_setfield(L, -2, "size");
  }
}

/* raw as field `name`, decoded by bakery.json as field `decoded`. */
void oci_set_raw(lua_State *L, const char *name, const char *decoded, struct bk_buf *raw) {
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

int oci_done_true(lua_State *L, struct bk_job *job) {
  (void)job;
  lua_pushboolean(L, true);
  return 1;
}

int oci_done_data(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_pushlstring(L, bk_buf_str(&k->data), k->data.len);
  return 1;
}

int oci_done_resolve(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  oci_push_desc(L, &k->m.desc);
  oci_set_raw(L, "raw", "manifest", &k->m.raw);
  if (k->index.raw.p) {
    oci_set_raw(L, "index", NULL, &k->index.raw);
    oci_set_text(L, "index_digest", k->index.desc.digest);
    oci_set_text(L, "index_media_type", k->index.desc.media_type);
  }
  return 1;
}

int oci_done_digest(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_pushstring(L, k->digest);
  lua_pushinteger(L, k->size);
  return 2;
}
