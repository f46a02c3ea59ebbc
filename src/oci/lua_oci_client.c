#include <string.h>

#include "base/mem.h"
#include "oci/lua_oci.h"

/* --- manifests ------------------------------------------------------------------------------- */

static int work_manifest(struct call *k, struct bk_err *err) {
  return bk_oci_manifest_get(k->c, &k->ref, &k->m, &k->op, err);
}

static int done_manifest(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  oci_push_desc(L, &k->m.desc);
  if (k->m.raw.p) oci_set_raw(L, "raw", NULL, &k->m.raw);
  return 1;
}

static int client_manifest(lua_State *L) {
  struct call *k = oci_call_new(L, work_manifest);
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_manifest);
}

static int work_head(struct call *k, struct bk_err *err) {
  return bk_oci_manifest_head(k->c, &k->ref, &k->m, &k->op, err);
}

static int client_head(lua_State *L) {
  struct call *k = oci_call_new(L, work_head);
  if (!oci_take_ref(L, k, 2)) return 2;
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

static int client_resolve(lua_State *L) {
  static const char *const names[] = {"platform", NULL};
  bk_opts(L, 3, names);
  lua_settop(L, 3);
  struct call *k = oci_call_new(L, work_resolve);
  k->platform = oci_opt_text(L, k, 3, "platform");
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, oci_done_resolve);
}

static int work_put(struct call *k, struct bk_err *err) {
  return bk_oci_manifest_put(k->c, &k->ref, k->text, k->text_len, k->media_type, &k->digest,
                             &k->op, err);
}

static int done_put(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_createtable(L, 0, 3);
  oci_set_text(L, "digest", k->digest);
  oci_set_text(L, "media_type", k->media_type);
  lua_pushinteger(L, (lua_Integer)k->text_len);
  lua_setfield(L, -2, "size");
  return 1;
}

/* push_manifest(repo, tag|digest|nil, raw, media_type[, {look=}]) */
static int client_push_manifest(lua_State *L) {
  static const char *const names[] = {"look", NULL};
  size_t rn = 0, n, tn;
  const char *reference = luaL_optlstring(L, 3, NULL, &rn);
  const char *raw = luaL_checklstring(L, 4, &n), *type = luaL_checklstring(L, 5, &tn);
  luaL_argcheck(L, !strpbrk(type, "\r\n") && strlen(type) == tn, 5, "invalid media type");
  luaL_argcheck(L, !reference || (strlen(reference) == rn && (bk_oci_is_tag(reference) ||
                                                              bk_oci_is_digest(reference))),
                3, "tag or digest expected");
  bk_opts(L, 6, names);
  lua_settop(L, 6);
  struct call *k = oci_call_new(L, work_put);
  k->op.blind = !bk_opt_bool(L, 6, "look", true);
  if (!oci_take_ref(L, k, 2)) return 2;
  k->text = oci_copy(k, raw, n);
  k->text_len = n;
  k->media_type = oci_copy(k, type, tn);
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

/* blob(repo, desc, out_file[, {progress=, in_place=}]) -> true */
static int client_blob(lua_State *L) {
  static const char *const names[] = {"progress", "in_place", NULL};
  size_t n;
  const char *path = luaL_checklstring(L, 4, &n);
  bk_opts(L, 5, names);
  lua_settop(L, 5);
  struct call *k = oci_call_new(L, work_blob);
  oci_take_desc(L, k, 3);
  k->path = oci_copy_text(L, k, 4, path, n);
  oci_take_progress(L, k, 5);
  k->op.in_place = bk_opt_bool(L, 5, "in_place", false);
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, oci_done_true);
}

static int work_blob_data(struct call *k, struct bk_err *err) {
  k->data.max = k->max;
  return bk_oci_blob_data(k->c, &k->ref, &k->want, &k->data, &k->op, err);
}

/* blob_data(repo, desc[, {max=16 MiB}]) -> string */
static int client_blob_data(lua_State *L) {
  static const char *const names[] = {"max", NULL};
  bk_opts(L, 4, names);
  lua_Integer max = bk_opt_int(L, 4, "max", 16 << 20);
  luaL_argcheck(L, max > 0, 4, "max must be positive");
  lua_settop(L, 4);
  struct call *k = oci_call_new(L, work_blob_data);
  oci_take_desc(L, k, 3);
  k->max = (size_t)max;
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, oci_done_data);
}

static int work_stream(struct call *k, struct bk_err *err) {
  return bk_oci_blob_stream(k->c, &k->ref, &k->want, k->sink, &k->op, err);
}

/* stream(repo, desc, sink[, {progress=}]) -> true */
static int client_stream(lua_State *L) {
  static const char *const names[] = {"progress", NULL};
  bk_opts(L, 5, names);
  lua_settop(L, 5);
  struct call *k = oci_call_new(L, work_stream);
  oci_take_desc(L, k, 3);
  oci_take_progress(L, k, 5);
  if (!oci_take_ref(L, k, 2)) return 2;
  lua_createtable(L, 2, 0); /* anchors: a cancelled task does not stop the worker at once */
  lua_getiuservalue(L, -2, 1);
  lua_rawseti(L, -2, 1);
  lua_pushvalue(L, 4);
  lua_rawseti(L, -2, 2);
  lua_setiuservalue(L, -2, 1);
  k->sink = bk_sink_take(L, 4);
  return bk_job_await(L, &k->job, oci_done_true);
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
  struct call *k = oci_call_new(L, work_has_blob);
  oci_take_desc(L, k, 3);
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_has_blob);
}

static int work_push_blob(struct call *k, struct bk_err *err) {
  struct bk_oci_source src = {
      .path = k->path, .data = k->text, .len = k->text_len, .mount_from = k->mount_from,
      .chunk = k->chunk};
  return bk_oci_blob_push(k->c, &k->ref, &k->want, &src, &k->pushed, &k->op, err);
}

static int done_push_blob(lua_State *L, struct bk_job *job) {
  static const char *const names[] = {"exists", "mounted", "uploaded"};
  lua_pushstring(L, names[((struct call *)job)->pushed]);
  return 1;
}

/* The repository part of "repository" or "registry/repository"; NULL on another registry. */
static const char *same_registry(const char *from, const char *registry) {
  size_t n = strlen(registry);
  if (strncmp(from, registry, n) == 0 && from[n] == '/') from += n + 1;
  size_t first = strcspn(from, "/");
  if (from[first] && strpbrk(from, ".:") && strpbrk(from, ".:") < from + first) return NULL;
  return bk_oci_is_repository(from) ? from : NULL;
}

/* push_blob(repo, desc, {file=|data=, mount_from=, chunk_size=, progress=}) */
static int client_push_blob(lua_State *L) {
  static const char *const names[] = {"file", "data", "mount_from", "chunk_size", "progress", NULL};
  luaL_checktype(L, 4, LUA_TTABLE);
  bk_opts(L, 4, names);
  lua_settop(L, 4);
  struct call *k = oci_call_new(L, work_push_blob);
  size_t n = 0;
  const char *data = bk_opt_str(L, 4, "data", NULL, &n);
  oci_take_desc(L, k, 3);
  k->path = oci_opt_text(L, k, 4, "file");
  if (!k->path == !data) luaL_error(L, "push_blob: give either 'file' or 'data'");
  k->text = oci_copy(k, data, n);
  k->text_len = data ? n : 0;
  oci_take_progress(L, k, 4);
  if (!oci_take_ref(L, k, 2)) return 2;
  k->mount_from = oci_opt_text(L, k, 4, "mount_from");
  k->chunk = bk_opt_int(L, 4, "chunk_size", 0);
  luaL_argcheck(L, k->chunk >= 0, 4, "chunk_size must not be negative");
  if (k->mount_from && *k->mount_from) k->mount_from = same_registry(k->mount_from, k->ref.registry);
  return bk_job_await(L, &k->job, done_push_blob);
}

static int work_copy_blob(struct call *k, struct bk_err *err) {
  return bk_oci_blob_copy(k->c, &k->ref, &k->from, &k->want, &k->pushed, &k->op, err);
}

/* copy_blob(to_repo, from_repo, desc[, {progress=}]) */
static int client_copy_blob(lua_State *L) {
  static const char *const names[] = {"progress", NULL};
  bk_opts(L, 5, names);
  lua_settop(L, 5);
  struct call *k = oci_call_new(L, work_copy_blob);
  oci_take_desc(L, k, 4);
  oci_take_progress(L, k, 5);
  if (!oci_take_ref(L, k, 3)) return 2;
  k->from = k->ref;
  k->ref = (struct bk_oci_ref){0};
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_push_blob);
}

static int work_delete_blob(struct call *k, struct bk_err *err) {
  return bk_oci_blob_delete(k->c, &k->ref, k->want.digest, &k->op, err);
}

/* delete_blob(repo, digest or desc) */
static int client_delete_blob(lua_State *L) {
  lua_settop(L, 3);
  struct call *k = oci_call_new(L, work_delete_blob);
  oci_take_desc(L, k, 3);
  luaL_argcheck(L, bk_oci_is_digest(k->want.digest), 3, "digest expected");
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, oci_done_true);
}

static int work_ping(struct call *k, struct bk_err *err) {
  return bk_oci_ping(k->c, k->text, &k->op, err);
}

/* ping(host[, {strict=}]) */
static int client_ping(lua_State *L) {
  static const char *const names[] = {"strict", NULL};
  size_t n;
  const char *host = luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, bk_oci_is_registry(host), 2, "registry host expected");
  bk_opts(L, 3, names);
  lua_settop(L, 3);
  struct call *k = oci_call_new(L, work_ping);
  k->op.strict = bk_opt_bool(L, 3, "strict", false);
  k->text = oci_copy(k, host, n);
  return bk_job_await(L, &k->job, oci_done_true);
}

/* --- tags, deletion, referrers --------------------------------------------------------------- */

static int work_tags(struct call *k, struct bk_err *err) {
  return k->text ? bk_oci_catalog(k->c, k->text, &k->page, &k->tags, &k->op, err)
                 : bk_oci_tags(k->c, &k->ref, &k->page, &k->tags, &k->op, err);
}

static int done_tags(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_createtable(L, (int)k->tags.n, 0);
  for (size_t i = 0; i < k->tags.n; i++) {
    lua_pushstring(L, k->tags.names[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static void take_page(lua_State *L, struct call *k) {
  lua_Integer size = bk_opt_int(L, 3, "page_size", 0), max = bk_opt_int(L, 3, "max", 0);
  luaL_argcheck(L, size >= 0 && size <= 100000, 3, "page_size: 1 to 100000 expected");
  luaL_argcheck(L, max >= 0, 3, "max must not be negative");
  k->page = (struct bk_oci_page){
      .size = (int)size, .last = oci_opt_text(L, k, 3, "last"), .max = (size_t)max,
      .sort = bk_opt_bool(L, 3, "sort", false)};
}

static const char *const page_names[] = {"last", "max", "page_size", "sort", NULL};

/* tags(repo[, {last=, max=, page_size=}]) -> list */
static int client_tags(lua_State *L) {
  bk_opts(L, 3, page_names);
  lua_settop(L, 3);
  struct call *k = oci_call_new(L, work_tags);
  take_page(L, k);
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_tags);
}

/* catalog(host[, {last=, max=, page_size=}]) -> list */
static int client_catalog(lua_State *L) {
  size_t n;
  const char *host = luaL_checklstring(L, 2, &n);
  luaL_argcheck(L, strlen(host) == n && bk_oci_is_registry(host), 2, "registry host expected");
  bk_opts(L, 3, page_names);
  lua_settop(L, 3);
  struct call *k = oci_call_new(L, work_tags);
  take_page(L, k);
  k->text = oci_copy(k, host, n);
  return bk_job_await(L, &k->job, done_tags);
}

static int work_delete(struct call *k, struct bk_err *err) {
  return bk_oci_delete(k->c, &k->ref, &k->op, err);
}

static int client_delete(lua_State *L) {
  struct call *k = oci_call_new(L, work_delete);
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, oci_done_true);
}

static int work_referrers(struct call *k, struct bk_err *err) {
  return bk_oci_referrers(k->c, &k->ref, k->media_type, &k->data, &k->op, err);
}

static int done_referrers(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_createtable(L, 0, 2);
  oci_set_raw(L, "raw", "index", &k->data);
  lua_getfield(L, -1, "index");
  lua_getfield(L, -1, "manifests");
  return 1;
}

/* referrers(ref[, {artifact_type=}]) -> list of descriptors */
static int client_referrers(lua_State *L) {
  static const char *const names[] = {"artifact_type", NULL};
  bk_opts(L, 3, names);
  lua_settop(L, 3);
  struct call *k = oci_call_new(L, work_referrers);
  k->media_type = oci_opt_text(L, k, 3, "artifact_type");
  if (!oci_take_ref(L, k, 2)) return 2;
  return bk_job_await(L, &k->job, done_referrers);
}

static int work_credentials(struct call *k, struct bk_err *err) {
  return bk_oci_account(k->c, k->text, k->path, &k->account, err);
}

static int done_credentials(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  if (!k->account.source) return lua_pushnil(L), 1;
  lua_createtable(L, 0, 2);
  oci_set_text(L, "source", k->account.source);
  oci_set_text(L, "username", k->account.username);
  return 1;
}

/* credentials(host or "host/repository") -> {source=, username=} or nil */
int oci_client_credentials(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 2, &n);
  size_t host = strcspn(text, "/");
  struct call *k = oci_call_new(L, work_credentials);
  k->text = oci_copy_text(L, k, 2, text, n);
  ((char *)k->text)[host] = '\0';
  k->path = host < n ? k->text + host + 1 : NULL;
  luaL_argcheck(L, bk_oci_is_registry(k->text), 2, "registry host expected");
  return bk_job_await(L, &k->job, done_credentials);
}

/* Warnings gathered since the last call: server messages, stale credentials, bad settings. */
static int client_warnings(lua_State *L) {
  struct bk_oci *c = oci_check_client(L, 1);
  lua_newtable(L);
  lua_Integer n = 0;
  for (char *w; (w = bk_oci_warning(c));) {
    lua_pushstring(L, w);
    free(w);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

const luaL_Reg oci_client_methods[] = {
    {"resolve", client_resolve},
    {"manifest", client_manifest},
    {"head", client_head},
    {"blob", client_blob},
    {"blob_data", client_blob_data},
    {"stream", client_stream},
    {"has_blob", client_has_blob},
    {"push_blob", client_push_blob},
    {"copy_blob", client_copy_blob},
    {"delete_blob", client_delete_blob},
    {"push_manifest", client_push_manifest},
    {"tags", client_tags},
    {"catalog", client_catalog},
    {"delete", client_delete},
    {"referrers", client_referrers},
    {"credentials", oci_client_credentials},
    {"save_login", oci_client_save_login},
    {"erase_login", oci_client_erase_login},
    {"logins", oci_client_logins},
    {"ping", client_ping},
    {"warnings", client_warnings},
    {NULL, NULL}};
