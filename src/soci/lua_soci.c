/* bakery.soci: zTOCs of layers that pass by, and what is in a zTOC. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "digest/digest.h"
#include "luakit/async.h"
#include "soci/soci.h"

#define BUILDER "bakery.soci.builder"

BK_EXPORT int luaopen_bakery_soci(lua_State *L);

struct builder {
  struct bk_sink sink; /* first: see luakit.h */
  struct bk_soci *s;
};

static int sink_write(struct bk_sink *sink, const void *p, size_t n, struct bk_err *err) {
  return bk_soci_write(((struct builder *)sink)->s, p, n, err);
}

static int sink_restart(struct bk_sink *sink, struct bk_err *err) {
  (void)err;
  bk_soci_restart(((struct builder *)sink)->s);
  return 0;
}

/* builder{span_size=, tool=, compression=, tmp=} */
static int soci_builder(lua_State *L) {
  static const char *const names[] = {"span_size", "tool", "compression", "tmp", NULL};
  bk_opts(L, 1, names);
  lua_settop(L, 1);
  const char *compression = bk_opt_str(L, 1, "compression", "gzip", NULL);
  struct bk_soci_opts o = {.tool = bk_opt_str(L, 1, "tool", "bakery " BK_VERSION, NULL),
                           .tmp_dir = bk_opt_str(L, 1, "tmp", NULL, NULL),
                           .span_size = bk_opt_int(L, 1, "span_size", 4194304),
                           .plain = strcmp(compression, "none") == 0};
  if (!o.plain && strcmp(compression, "gzip") != 0)
    luaL_error(L, "option 'compression': expected gzip or none");
  if (o.span_size < 512 || o.span_size > (1 << 30))
    luaL_error(L, "option 'span_size': expected 512 to 1073741824 bytes");
  struct builder *b = bk_box(L, sizeof *b, BUILDER);
  b->sink.write = sink_write;
  b->sink.restart = sink_restart;
  b->s = bk_soci_new(&o);
  return 1;
}

/* A builder that a worker still feeds (its task was cancelled) goes when it is collected. */
static int builder_close(lua_State *L) {
  struct builder *b = bk_check(L, 1, BUILDER);
  if (atomic_load(&b->sink.busy)) return 0;
  bk_soci_free(b->s);
  b->s = NULL;
  return 0;
}

static struct builder *check(lua_State *L) {
  struct builder *b = bk_check(L, 1, BUILDER);
  if (!b->s) luaL_error(L, "the builder is closed");
  return b;
}

/* --- jobs ------------------------------------------------------------------------------------ */

struct work {
  struct bk_job job;
  struct builder *b; /* taken until the work is done; anchored by the job */
  char *path, *digest;
  struct bk_counter *counter;
  struct bk_soci_result result;
};

static void let_go(struct work *w) {
  if (w->b) atomic_store(&w->b->sink.busy, false);
  w->b = NULL;
}

static void release(struct bk_job *job) {
  struct work *w = (struct work *)job;
  let_go(w);
  free(w->path);
  free(w->digest);
}

static int feed_file(struct work *w, struct bk_err *err) {
  cleanup_close int fd = open(w->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open '%s'", w->path);
  enum { BLOCK = 1 << 18 };
  cleanup_free char *block = bk_malloc(BLOCK);
  bool sha512 = w->digest && strncmp(w->digest, "sha512:", 7) == 0;
  struct bk_digest d;
  bk_digest_init(&d, sha512 ? BK_SHA512 : BK_SHA256);
  int rc = 0;
  bk_soci_restart(w->b->s);
  while (rc == 0) {
    ssize_t n = read(fd, block, BLOCK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) rc = bk_fail_errno(err, errno, "read '%s'", w->path);
    if (n <= 0) break;
    if (atomic_load(&w->job.cancel)) rc = bk_fail(err, BK_BUILD, "cancelled", "cancelled");
    if (w->digest) bk_digest_update(&d, block, (size_t)n);
    if (rc == 0) rc = bk_soci_write(w->b->s, block, (size_t)n, err);
    if (w->counter) atomic_fetch_add(&w->counter->done, (uint64_t)n);
  }
  char got[8 + BK_DIGEST_HEX_MAX];
  memcpy(got, sha512 ? "sha512:" : "sha256:", 7);
  bk_digest_hex(&d, got + 7);
  if (rc == 0 && w->digest && strcmp(got, w->digest) != 0)
    rc = bk_fail(err, BK_BUILD, "soci.digest_mismatch", "'%s' has digest %s, not %s", w->path, got,
                 w->digest);
  return rc;
}

static int run_file(struct bk_job *job, struct bk_err *err) {
  struct work *w = (struct work *)job;
  int rc = feed_file(w, err);
  let_go(w);
  return rc;
}

static int done_true(lua_State *L, struct bk_job *job) {
  (void)job;
  lua_pushboolean(L, 1);
  return 1;
}

/* A job that has the builder at index 1 and its path at index 2. */
static struct work *new_work(lua_State *L, const char *path) {
  check(L);
  struct work *w = bk_job_new(L, sizeof *w, release);
  w->path = bk_strdup(path);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return w;
}

/* file(path[, {digest=, progress=}]) -> true */
static int builder_file(lua_State *L) {
  static const char *const names[] = {"digest", "progress", NULL};
  const char *path = bk_check_text(L, 2);
  bk_opts(L, 3, names);
  lua_settop(L, 3);
  const char *digest = bk_opt_str(L, 3, "digest", NULL, NULL);
  if (digest && !bk_digest_is_valid(digest)) luaL_error(L, "option 'digest': not a digest");
  struct work *w = new_work(L, path);
  w->digest = digest ? bk_strdup(digest) : NULL;
  w->counter = bk_opt_counter(L, 3, "progress");
  if (w->counter) { /* beside the builder */
    lua_createtable(L, 2, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_getfield(L, 3, "progress");
    lua_rawseti(L, -2, 2);
    lua_setiuservalue(L, -2, 1);
  }
  w->job.run = run_file;
  w->b = (struct builder *)bk_sink_take(L, 1);
  return bk_job_await(L, &w->job, done_true);
}

static int run_save(struct bk_job *job, struct bk_err *err) {
  struct work *w = (struct work *)job;
  int rc = bk_soci_save(w->b->s, w->path, &w->result, err);
  let_go(w);
  return rc;
}

static void set_int(lua_State *L, const char *name, int64_t v) {
  lua_pushinteger(L, v);
  lua_setfield(L, -2, name);
}

static int done_save(lua_State *L, struct bk_job *job) {
  const struct bk_soci_result *r = &((struct work *)job)->result;
  lua_createtable(L, 0, 7);
  lua_pushstring(L, r->digest);
  lua_setfield(L, -2, "digest");
  set_int(L, "size", r->size);
  set_int(L, "layer_size", r->layer_size);
  set_int(L, "tar_size", r->tar_size);
  set_int(L, "spans", r->spans);
  set_int(L, "files", (int64_t)r->files);
  lua_pushboolean(L, r->no_xattrs);
  lua_setfield(L, -2, "no_xattrs");
  return 1;
}

/* save(path) -> {digest=, size=, layer_size=, tar_size=, spans=, files=, no_xattrs=} */
static int builder_save(lua_State *L) {
  const char *path = bk_check_text(L, 2);
  lua_settop(L, 2);
  struct work *w = new_work(L, path);
  w->job.run = run_save;
  w->b = (struct builder *)bk_sink_take(L, 1);
  return bk_job_await(L, &w->job, done_save);
}

/* spans(path) -> first, last or nil */
static int builder_spans(lua_State *L) {
  struct builder *b = check(L);
  size_t n;
  const char *path = luaL_checklstring(L, 2, &n);
  int32_t first, last;
  if (atomic_load(&b->sink.busy)) luaL_error(L, "the builder is in use");
  if (!bk_soci_find(b->s, path, n, &first, &last)) return lua_pushnil(L), 1;
  lua_pushinteger(L, first);
  lua_pushinteger(L, last);
  return 2;
}

/* --- reading --------------------------------------------------------------------------------- */

static void set_text(lua_State *L, const char *name, struct bk_soci_text t) {
  lua_pushlstring(L, t.p ? t.p : "", t.len);
  lua_setfield(L, -2, name);
}

static void push_files(lua_State *L, const struct bk_soci_ztoc *z) {
  lua_createtable(L, (int)z->n_files, 0);
  for (size_t i = 0; i < z->n_files; i++) {
    struct bk_soci_file f;
    bk_soci_file_at(z, i, &f);
    lua_createtable(L, 0, 9);
    set_text(L, "name", f.name);
    set_text(L, "type", f.type);
    set_text(L, "link", f.link);
    set_text(L, "mtime", f.mtime);
    set_int(L, "offset", f.offset);
    set_int(L, "size", f.size);
    set_int(L, "mode", f.mode);
    set_int(L, "uid", f.uid);
    set_int(L, "gid", f.gid);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_spans(lua_State *L, const struct bk_soci_ztoc *z) {
  lua_createtable(L, z->max_span_id + 1, 0);
  for (int32_t i = 0; i <= z->max_span_id; i++) {
    int64_t in = 0, out = 0;
    lua_createtable(L, 0, 3);
    set_text(L, "digest", bk_soci_digest_at(z, (size_t)i));
    if (!z->plain) {
      bk_soci_point(z, i, &in, &out);
      set_int(L, "in", in);
      set_int(L, "out", out);
    }
    lua_rawseti(L, -2, i + 1);
  }
}

/* read(text) -> {version=, tool=, compression=, layer_size=, tar_size=, files=, spans=} */
static int soci_read(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  struct bk_soci_ztoc z;
  struct bk_err err;
  if (bk_soci_read(text, n, &z, &err)) return bk_lua_fail(L, &err);
  lua_createtable(L, 0, 7);
  set_text(L, "version", z.version);
  set_text(L, "tool", z.tool);
  lua_pushstring(L, z.plain ? "none" : "gzip");
  lua_setfield(L, -2, "compression");
  set_int(L, "layer_size", z.layer_size);
  set_int(L, "tar_size", z.tar_size);
  push_files(L, &z);
  lua_setfield(L, -2, "files");
  push_spans(L, &z);
  lua_setfield(L, -2, "spans");
  return 1;
}

int luaopen_bakery_soci(lua_State *L) {
  static const luaL_Reg methods[] = {{"file", builder_file},
                                     {"save", builder_save},
                                     {"spans", builder_spans},
                                     {NULL, NULL}};
  static const luaL_Reg functions[] = {{"builder", soci_builder}, {"read", soci_read}, {NULL, NULL}};
  bk_lua_loop(L);
  bk_class(L, BUILDER, methods, builder_close);
  bk_sink_class(L, BUILDER);
  luaL_newlib(L, functions);
  return 1;
}
