/* Shared by the bindings of this folder: argument readers, results and the call job. */
#ifndef BK_LUA_OCI_H
#define BK_LUA_OCI_H

#include "luakit/async.h"
#include "luakit/luakit.h"
#include "oci/client.h"
#include "oci/layout.h"

#define OCI_CLIENT "bakery.oci.client"
#define OCI_REF "bakery.oci.ref"
#define OCI_LAYOUT "bakery.oci.layout"

/* One call of a method on a worker thread. What it points to is in the arena or in Lua values that
 * the job's user value anchors. */
struct call {
  struct bk_job job;
  struct bk_oci *c;
  struct bk_oci_layout *layout;
  struct bk_oci_op op;
  int (*work)(struct call *k, struct bk_err *err);
  struct bk_arena strings;
  struct bk_oci_ref ref, from;
  struct bk_oci_page page;
  struct bk_oci_login login; /* strings in the arena */
  int64_t chunk;
  const char *platform, *path, *text, *media_type;
  size_t text_len, max;
  const char *mount_from;
  struct bk_oci_desc want; /* strings in the arena */
  bool link;
  struct bk_sink *sink; /* taken; given back when the work is done */
  /* results */
  struct bk_oci_manifest m, index;
  struct bk_buf data;
  struct bk_oci_tags tags;
  struct bk_oci_account account;
  char *digest;
  enum bk_oci_pushed pushed;
  int found;
  int64_t size;
};

/* A job on top of the stack, with the client or layout at index 1 held. */
struct call *oci_call_new(lua_State *L, int (*work)(struct call *, struct bk_err *));
struct call *oci_layout_call_new(lua_State *L, int (*work)(struct call *, struct bk_err *));
struct bk_oci *oci_check_client(lua_State *L, int idx);

char *oci_copy(struct call *k, const char *s, size_t n);
/* For text that reaches C as a string: raises when it contains a zero byte. */
char *oci_copy_text(lua_State *L, struct call *k, int arg, const char *s, size_t n);
char *oci_opt_text(lua_State *L, struct call *k, int arg, const char *name);
/* A reference, text or the table of oci.ref, into k->ref. False: nil, err are pushed. */
bool oci_take_ref(lua_State *L, struct call *k, int arg);
/* {digest=, size=} or a bare digest into k->want. */
void oci_take_desc(lua_State *L, struct call *k, int arg);
/* progress=loop.counter(). */
void oci_take_progress(lua_State *L, struct call *k, int arg);

void oci_set_text(lua_State *L, const char *name, const char *value); /* field of the top table */
void oci_push_desc(lua_State *L, const struct bk_oci_desc *d);
/* The bytes as field `name`, and read by bakery.json as field `decoded` (NULL: not). */
void oci_set_raw(lua_State *L, const char *name, const char *decoded, struct bk_buf *raw);
int oci_done_true(lua_State *L, struct bk_job *job);
int oci_done_digest(lua_State *L, struct bk_job *job); /* digest, size */
int oci_done_data(lua_State *L, struct bk_job *job);
int oci_done_resolve(lua_State *L, struct bk_job *job);

extern const luaL_Reg oci_client_methods[], oci_layout_methods[];
int oci_client_credentials(lua_State *L);
int oci_client_save_login(lua_State *L), oci_client_erase_login(lua_State *L);
int oci_client_logins(lua_State *L);
extern const luaL_Reg oci_document_functions[];
int oci_layout_open(lua_State *L);
int oci_layout_close(lua_State *L);

#endif
