/* Saved credentials, and what needs no client: documents. */
#include <string.h>

#include "base/mem.h"
#include "oci/lua_oci.h"

/* --- credentials ----------------------------------------------------------------------------- */

static int work_save(struct call *k, struct bk_err *err) {
  return bk_oci_login_save(k->c, k->path, &k->login, &k->digest, err);
}

static int done_where(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  if (!k->digest) return lua_pushboolean(L, false), 1;
  lua_pushstring(L, k->digest);
  return 1;
}

/* save_login{host=, username=, password=, identity_token=, file=} -> where */
int oci_client_save_login(lua_State *L) {
  static const char *const names[] = {"host", "username", "password", "identity_token", "file", NULL};
  luaL_checktype(L, 2, LUA_TTABLE);
  bk_opts(L, 2, names);
  lua_settop(L, 2);
  struct call *k = oci_call_new(L, work_save);
  bk_opt_need_str(L, 2, "host", NULL);
  k->login = (struct bk_oci_login){.host = oci_opt_text(L, k, 2, "host"),
                                   .username = oci_opt_text(L, k, 2, "username"),
                                   .password = oci_opt_text(L, k, 2, "password"),
                                   .identity_token = oci_opt_text(L, k, 2, "identity_token")};
  k->path = oci_opt_text(L, k, 2, "file");
  return bk_job_await(L, &k->job, done_where);
}

static int work_erase(struct call *k, struct bk_err *err) {
  return bk_oci_login_erase(k->c, k->path, k->text, &k->digest, err) < 0 ? -1 : 0;
}

static const char *const file_option[] = {"file", NULL};

/* erase_login(host[, {file=}]) -> where or false */
int oci_client_erase_login(lua_State *L) {
  const char *host = bk_check_text(L, 2);
  bk_opts(L, 3, file_option);
  lua_settop(L, 3);
  struct call *k = oci_call_new(L, work_erase);
  k->text = oci_copy(k, host, strlen(host));
  k->path = oci_opt_text(L, k, 3, "file");
  return bk_job_await(L, &k->job, done_where);
}

static int work_logins(struct call *k, struct bk_err *err) {
  return bk_oci_login_list(k->c, k->path, &k->data, err);
}

static int done_logins(lua_State *L, struct bk_job *job) {
  struct call *k = (struct call *)job;
  lua_createtable(L, 0, 2);
  oci_set_raw(L, "raw", "list", &k->data);
  lua_getfield(L, -1, "list");
  return 1;
}

/* logins([{file=}]) -> list of {registry=, username=, source=} */
int oci_client_logins(lua_State *L) {
  bk_opts(L, 2, file_option);
  lua_settop(L, 2);
  struct call *k = oci_call_new(L, work_logins);
  k->path = oci_opt_text(L, k, 2, "file");
  return bk_job_await(L, &k->job, done_logins);
}

/* --- documents ------------------------------------------------------------------------------- */

/* check_manifest(raw[, media_type]) -> media type of the document */
static int check_manifest(lua_State *L) {
  size_t n;
  const char *raw = luaL_checklstring(L, 1, &n), *type = luaL_optstring(L, 2, NULL);
  char *own;
  struct bk_err err;
  if (bk_oci_manifest_check(raw, n, type, &own, &err)) return bk_lua_fail(L, &err);
  lua_pushstring(L, own);
  free(own);
  return 1;
}

/* select_platform(raw_index, platform) -> descriptor of the best entry */
static int select_platform(lua_State *L) {
  size_t n;
  const char *raw = luaL_checklstring(L, 1, &n), *platform = bk_check_text(L, 2);
  struct bk_oci_desc d;
  struct bk_err err;
  if (bk_oci_index_select(raw, n, platform, &d, &err)) return bk_lua_fail(L, &err);
  oci_push_desc(L, &d);
  bk_oci_desc_free(&d);
  return 1;
}

/* is_index(media_type) */
static int is_index(lua_State *L) {
  lua_pushboolean(L, bk_oci_is_index_type(luaL_optstring(L, 1, NULL)));
  return 1;
}

/* fallback_tag(digest): the tag that lists a manifest's referrers where there is no API */
static int fallback_tag(lua_State *L) {
  const char *digest = bk_check_text(L, 1);
  luaL_argcheck(L, bk_oci_is_digest(digest), 1, "digest expected");
  char *tag = bk_oci_fallback_tag(digest);
  lua_pushstring(L, tag);
  free(tag);
  return 1;
}

const luaL_Reg oci_document_functions[] = {{"check_manifest", check_manifest},
                                           {"select_platform", select_platform},
                                           {"is_index", is_index},
                                           {"fallback_tag", fallback_tag},
                                           {NULL, NULL}};
