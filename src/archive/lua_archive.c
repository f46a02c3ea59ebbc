#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/pack.h"
#include "archive/unpack.h"
#include "archive/writer.h"
#include "base/mem.h"
#include "luakit/async.h"

#define WRITER "bakery.archive.tar_writer"

static void set_str(lua_State *L, const char *name, const char *value) {
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

static void set_int(lua_State *L, const char *name, lua_Integer value) {
  lua_pushinteger(L, value);
  lua_setfield(L, -2, name);
}

static char *dup_opt(lua_State *L, const char *name) {
  const char *s = bk_opt_str(L, 1, name, NULL, NULL);
  return s ? bk_strdup(s) : NULL;
}

/* The counter in option `progress` of table 1, anchored in the job userdata on the top. */
static _Atomic uint64_t *progress(lua_State *L) {
  struct bk_counter *c = bk_opt_counter(L, 1, "progress");
  if (!c) return NULL;
  lua_getfield(L, 1, "progress");
  lua_setiuservalue(L, -2, 1);
  return &c->done;
}

static void sink_opts(lua_State *L, struct bk_sink_opts *o, const char *def) {
  const char *name = bk_opt_str(L, 1, "compression", def, NULL);
  int c = bk_compression_parse(name);
  if (c < 0) luaL_error(L, "option 'compression': expected none, gzip or zstd, got '%s'", name);
  lua_Integer level = bk_opt_int(L, 1, "level", 0), threads = bk_opt_int(L, 1, "threads", 0);
  o->fd = -1;
  o->compression = (enum bk_compression)c;
  if (level < 0 || level > 100 || !bk_compression_level_ok(o->compression, (int)level))
    luaL_error(L, "option 'level': %I is not a level of %s", (LUAI_UACINT)level, name);
  if (threads < 0 || threads > 1024) luaL_error(L, "option 'threads': expected 0 to 1024");
  o->level = (int)level;
  o->threads = (unsigned)threads;
}

/* --- pack ------------------------------------------------------------------------------------ */

struct pack_job {
  struct bk_job job;
  char *dir, *file;
  struct bk_pack_opts opts;
  struct bk_pack_result result;
};

static void pack_release(struct bk_job *job) {
  struct pack_job *j = (struct pack_job *)job;
  free(j->dir);
  free(j->file);
}

static int pack_run(struct bk_job *job, struct bk_err *err) {
  struct pack_job *j = (struct pack_job *)job;
  cleanup_close int fd = -1;
  if (j->file) {
    fd = open(j->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return bk_fail_errno(err, errno, "create '%s'", j->file);
  }
  j->opts.dir = j->dir;
  j->opts.sink.fd = fd;
  j->opts.sink.cancel = &job->cancel;
  int rc = bk_archive_pack(&j->opts, &j->result, err);
  if (rc && j->file) unlink(j->file);
  return rc;
}

static int pack_done(lua_State *L, struct bk_job *job) {
  struct pack_job *j = (struct pack_job *)job;
  lua_createtable(L, 0, 5);
  set_str(L, "diff_id", j->result.sink.diff_id);
  set_str(L, "digest", j->result.sink.digest);
  set_int(L, "size", (lua_Integer)j->result.sink.output_size);
  set_int(L, "tar_size", (lua_Integer)j->result.sink.size);
  set_int(L, "entries", (lua_Integer)j->result.entries);
  return 1;
}

static int l_pack(lua_State *L) {
  static const char *const names[] = {"dir",     "file",     "compression", "level",
                                      "threads", "progress", NULL};
  bk_opts(L, 1, names);
  bk_opt_need_str(L, 1, "dir", NULL);
  lua_settop(L, 1);
  struct pack_job *j = bk_job_new(L, sizeof *j, pack_release);
  j->job.run = pack_run;
  j->dir = dup_opt(L, "dir");
  j->file = dup_opt(L, "file");
  sink_opts(L, &j->opts.sink, "none");
  j->opts.sink.progress = progress(L);
  return bk_job_await(L, &j->job, pack_done);
}

/* --- unpack, sniff --------------------------------------------------------------------------- */

struct unpack_job {
  struct bk_job job;
  char *file, *dir, *digest;
  bool rootless;
  struct bk_limits limits;
  int64_t owner;
  const char *kind; /* of sniff */
  struct bk_unpack_result result;
};

static void unpack_release(struct bk_job *job) {
  struct unpack_job *j = (struct unpack_job *)job;
  free(j->file);
  free(j->dir);
  free(j->digest);
}

static int unpack_run(struct bk_job *job, struct bk_err *err) {
  struct unpack_job *j = (struct unpack_job *)job;
  struct bk_unpack_opts o = {.file = j->file, .dir = j->dir, .digest = j->digest,
                             .owner = j->owner, .rootless = j->rootless, .limits = j->limits,
                             .cancel = &job->cancel};
  return bk_archive_unpack(&o, &j->result, err);
}

static int unpack_done(lua_State *L, struct bk_job *job) {
  lua_createtable(L, 0, 1);
  set_int(L, "entries", (lua_Integer)((struct unpack_job *)job)->result.entries);
  return 1;
}

static int l_unpack(lua_State *L) {
  static const char *const names[] = {"file", "dir", "digest", "uid", "gid", "rootless", "limits", NULL};
  bk_opts(L, 1, names);
  bk_opt_need_str(L, 1, "file", NULL);
  bk_opt_need_str(L, 1, "dir", NULL);
  struct bk_limits limits;
  bk_opt_limits(L, 1, "limits", &limits);
  lua_Integer uid = bk_opt_int(L, 1, "uid", -1), gid = bk_opt_int(L, 1, "gid", uid);
  if (uid < -1 || uid >= UINT32_MAX || gid < -1 || gid >= UINT32_MAX)
    return luaL_error(L, "options 'uid' and 'gid': expected ids");
  lua_settop(L, 1);
  struct unpack_job *j = bk_job_new(L, sizeof *j, unpack_release);
  j->job.run = unpack_run;
  j->file = dup_opt(L, "file");
  j->dir = dup_opt(L, "dir");
  j->digest = dup_opt(L, "digest");
  j->rootless = bk_opt_bool(L, 1, "rootless", false);
  j->limits = limits;
  j->owner = uid < 0 ? -1 : (int64_t)((uint64_t)uid << 32 | (uint64_t)(gid < 0 ? uid : gid));
  return bk_job_await(L, &j->job, unpack_done);
}

static int sniff_run(struct bk_job *job, struct bk_err *err) {
  struct unpack_job *j = (struct unpack_job *)job;
  return bk_archive_sniff(j->file, &j->kind, err);
}

static int sniff_done(lua_State *L, struct bk_job *job) {
  lua_pushstring(L, ((struct unpack_job *)job)->kind);
  return 1;
}

static int l_sniff(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  struct unpack_job *j = bk_job_new(L, sizeof *j, unpack_release);
  j->job.run = sniff_run;
  j->file = bk_strdup(path);
  return bk_job_await(L, &j->job, sniff_done);
}

/* --- list ------------------------------------------------------------------------------------ */

struct list_job {
  struct bk_job job;
  char *path;
  bool digests;
  struct bk_arena arena;
  struct bk_tar_entry *entries;
  const char **sha256; /* beside entries */
  size_t n, cap;
};

static void list_release(struct bk_job *job) {
  struct list_job *j = (struct list_job *)job;
  free(j->path);
  free(j->entries);
  free(j->sha256);
  bk_arena_free(&j->arena);
}

static char *keep(struct list_job *j, const char *s) {
  return bk_arena_strndup(&j->arena, s, strlen(s));
}

static int list_visit(void *ctx, const struct bk_tar_entry *e, const char *sha256) {
  struct list_job *j = ctx;
  if (j->n == j->cap) {
    j->cap = j->cap ? j->cap * 2 : 256;
    j->entries = bk_reallocarray(j->entries, j->cap, sizeof *j->entries);
    j->sha256 = bk_reallocarray(j->sha256, j->cap, sizeof *j->sha256);
  }
  j->sha256[j->n] = sha256 ? keep(j, sha256) : NULL;
  struct bk_tar_entry *to = &j->entries[j->n++];
  *to = *e;
  to->path = keep(j, e->path);
  to->link = keep(j, e->link);
  struct bk_tar_xattr *x = bk_arena_alloc(&j->arena, (e->n_xattrs + 1) * sizeof *x);
  for (size_t i = 0; i < e->n_xattrs; i++) {
    x[i].name = keep(j, e->xattrs[i].name);
    x[i].value = bk_arena_strndup(&j->arena, e->xattrs[i].value, e->xattrs[i].len);
    x[i].len = e->xattrs[i].len;
  }
  to->xattrs = x;
  return atomic_load(&j->job.cancel);
}

static int list_run(struct bk_job *job, struct bk_err *err) {
  struct list_job *j = (struct list_job *)job;
  return bk_archive_list(j->path, j->digests, list_visit, j, &job->cancel, err);
}

static const char *type_name(enum bk_tar_type type) {
  switch (type) {
    case BK_TAR_FILE: return "file";
    case BK_TAR_HARDLINK: return "hardlink";
    case BK_TAR_SYMLINK: return "symlink";
    case BK_TAR_CHAR: return "char";
    case BK_TAR_BLOCKDEV: return "block";
    case BK_TAR_DIR: return "dir";
    default: return "fifo";
  }
}

static void push_entry(lua_State *L, const struct bk_tar_entry *e) {
  lua_createtable(L, 0, 10);
  set_str(L, "path", e->path);
  set_str(L, "type", type_name(e->type));
  set_int(L, "mode", e->mode);
  set_int(L, "uid", e->uid);
  set_int(L, "gid", e->gid);
  set_int(L, "size", e->size);
  set_int(L, "mtime", e->mtime);
  if (e->mtime_nsec) set_int(L, "mtime_nsec", e->mtime_nsec);
  if (*e->link) set_str(L, "link", e->link);
  if (e->type == BK_TAR_CHAR || e->type == BK_TAR_BLOCKDEV) {
    set_int(L, "major", e->devmajor);
    set_int(L, "minor", e->devminor);
  }
  if (!e->n_xattrs) return;
  lua_createtable(L, 0, (int)e->n_xattrs);
  for (size_t i = 0; i < e->n_xattrs; i++) {
    lua_pushlstring(L, e->xattrs[i].value, e->xattrs[i].len);
    lua_setfield(L, -2, e->xattrs[i].name);
  }
  lua_setfield(L, -2, "xattrs");
}

static int list_done(lua_State *L, struct bk_job *job) {
  struct list_job *j = (struct list_job *)job;
  lua_createtable(L, (int)j->n, 0);
  for (size_t i = 0; i < j->n; i++) {
    push_entry(L, &j->entries[i]);
    if (j->sha256[i]) {
      lua_pushfstring(L, "sha256:%s", j->sha256[i]);
      lua_setfield(L, -2, "digest");
    }
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int l_list(lua_State *L) {
  static const char *const names[] = {"digests", NULL};
  const char *path = luaL_checkstring(L, 1);
  bk_opts(L, 2, names);
  bool digests = bk_opt_bool(L, 2, "digests", false);
  lua_settop(L, 1);
  struct list_job *j = bk_job_new(L, sizeof *j, list_release);
  j->digests = digests;
  j->job.run = list_run;
  j->path = bk_strdup(path);
  return bk_job_await(L, &j->job, list_done);
}

/* --- compress, decompress -------------------------------------------------------------------- */

struct convert_job {
  struct bk_job job;
  char *src, *dst;
  struct bk_sink_opts opts;
  struct bk_stream_result in;
  struct bk_sink_result out;
};

static void convert_release(struct bk_job *job) {
  struct convert_job *j = (struct convert_job *)job;
  free(j->src);
  free(j->dst);
}

static int convert_run(struct bk_job *job, struct bk_err *err) {
  struct convert_job *j = (struct convert_job *)job;
  j->opts.cancel = &job->cancel;
  return bk_archive_convert(j->src, j->dst, &j->opts, &j->in, &j->out, err);
}

static int convert_done(lua_State *L, struct bk_job *job) {
  struct convert_job *j = (struct convert_job *)job;
  lua_createtable(L, 0, 6);
  set_str(L, "diff_id", j->out.diff_id);
  set_str(L, "digest", j->out.digest);
  set_int(L, "size", (lua_Integer)j->out.output_size);
  set_int(L, "tar_size", (lua_Integer)j->out.size);
  set_str(L, "src_digest", j->in.digest);
  set_str(L, "src_compression", bk_compression_name(j->in.compression));
  return 1;
}

static int convert(lua_State *L, const char *const names[], const char *compression) {
  bk_opts(L, 1, names);
  bk_opt_need_str(L, 1, "src", NULL);
  bk_opt_need_str(L, 1, "dst", NULL);
  lua_settop(L, 1);
  struct convert_job *j = bk_job_new(L, sizeof *j, convert_release);
  j->job.run = convert_run;
  j->src = dup_opt(L, "src");
  j->dst = dup_opt(L, "dst");
  sink_opts(L, &j->opts, compression);
  j->opts.progress = progress(L);
  return bk_job_await(L, &j->job, convert_done);
}

static int l_compress(lua_State *L) {
  static const char *const names[] = {"src",   "dst",     "compression",
                                      "level", "threads", "progress", NULL};
  return convert(L, names, "gzip");
}

static int l_decompress(lua_State *L) {
  static const char *const names[] = {"src", "dst", "progress", NULL};
  return convert(L, names, "none");
}

/* --- tar_writer ------------------------------------------------------------------------------ */

struct writer_box {
  struct bk_tar_writer *w;
  atomic_bool busy; /* a job works with it; cleared by the worker thread */
};

struct writer_job {
  struct bk_job job;
  struct writer_box *box; /* anchored as user value */
  char *path, *link, *file, *data;
  struct bk_tar_entry entry;
  struct bk_sink_result result;
};

static int writer_close(lua_State *L) {
  struct writer_box *box = bk_check(L, 1, WRITER);
  if (box->busy) return 0; /* a cancelled task left its job behind, which anchors the box: later */
  bk_tar_writer_close(box->w);
  box->w = NULL;
  return 0;
}

static int l_tar_writer(lua_State *L) {
  const char *path = lua_isinteger(L, 1) ? NULL : luaL_checkstring(L, 1);
  struct bk_err err;
  struct writer_box *box = bk_box(L, sizeof *box, WRITER);
  int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)
                : fcntl((int)lua_tointeger(L, 1), F_DUPFD_CLOEXEC, 3);
  if (fd < 0) {
    bk_fail_errno(&err, errno, "create '%s'", path ? path : "archive");
    return bk_lua_fail(L, &err);
  }
  if (bk_tar_writer_open(fd, &box->w, &err)) return bk_lua_fail(L, &err);
  return 1;
}

static void writer_release(struct bk_job *job) {
  struct writer_job *j = (struct writer_job *)job;
  free(j->path);
  free(j->link);
  free(j->file);
  free(j->data);
}

/* A job on the writer at index 1, on the top of the stack; the writer is busy until it ends. */
static struct writer_job *writer_job(lua_State *L) {
  struct writer_box *box = bk_check(L, 1, WRITER);
  if (!box->w) luaL_error(L, "tar writer is closed");
  if (box->busy) luaL_error(L, "tar writer: another entry is being added");
  struct writer_job *j = bk_job_new(L, sizeof *j, writer_release);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  j->box = box;
  return j;
}

static int add_entry(struct writer_job *j, struct bk_err *err) {
  cleanup_close int fd = -1;
  if (j->file) {
    struct stat st;
    fd = open(j->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) return bk_fail_errno(err, errno, "open '%s'", j->file);
    j->entry.size = st.st_size;
  }
  return bk_tar_writer_add(j->box->w, &j->entry, j->data, fd, err);
}

static int add_run(struct bk_job *job, struct bk_err *err) {
  struct writer_job *j = (struct writer_job *)job;
  int rc = add_entry(j, err);
  j->box->busy = false;
  return rc;
}

static int add_done(lua_State *L, struct bk_job *job) {
  (void)job;
  lua_pushboolean(L, true);
  return 1;
}

static enum bk_tar_type parse_type(lua_State *L, const char *name) {
  static const enum bk_tar_type types[] = {BK_TAR_FILE, BK_TAR_DIR, BK_TAR_SYMLINK,
                                           BK_TAR_HARDLINK};
  for (size_t i = 0; i < BK_ARRAY_LEN(types); i++)
    if (strcmp(name, type_name(types[i])) == 0) return types[i];
  return (enum bk_tar_type)luaL_error(L, "option 'type': expected file, dir, symlink or hardlink");
}

static lua_Integer ranged(lua_State *L, const char *name, lua_Integer def, lua_Integer max) {
  lua_Integer v = bk_opt_int(L, 2, name, def);
  if (v < 0 || v > max) luaL_error(L, "option '%s': out of range", name);
  return v;
}

static int w_add(lua_State *L) {
  static const char *const names[] = {"path",  "type", "mode", "uid",  "gid",
                                      "mtime", "data", "file", "link", NULL};
  bk_check(L, 1, WRITER);
  bk_opts(L, 2, names);
  lua_settop(L, 2);
  struct bk_tar_entry e = {.link = ""};
  size_t len = 0;
  const char *path = bk_opt_need_str(L, 2, "path", NULL);
  const char *data = bk_opt_str(L, 2, "data", NULL, &len);
  const char *file = bk_opt_str(L, 2, "file", NULL, NULL);
  const char *link = bk_opt_str(L, 2, "link", NULL, NULL);
  e.type = parse_type(L, bk_opt_str(L, 2, "type", "file", NULL));
  e.mode = (uint32_t)ranged(L, "mode", e.type == BK_TAR_DIR ? 0755 : 0644, 07777);
  e.uid = (uint32_t)ranged(L, "uid", 0, UINT32_MAX - 1);
  e.gid = (uint32_t)ranged(L, "gid", 0, UINT32_MAX - 1);
  e.mtime = bk_opt_int(L, 2, "mtime", 0);
  bool is_link = e.type == BK_TAR_SYMLINK || e.type == BK_TAR_HARDLINK;
  if ((data || file) && e.type != BK_TAR_FILE) return luaL_error(L, "only a file has data");
  if (data && file) return luaL_error(L, "options 'data' and 'file' exclude each other");
  if (is_link != (link != NULL)) return luaL_error(L, "option 'link' goes with types of links");
  struct writer_job *j = writer_job(L);
  j->job.run = add_run;
  j->path = bk_strdup(path);
  j->link = link ? bk_strdup(link) : NULL;
  j->file = file ? bk_strdup(file) : NULL;
  if (data) {
    j->data = bk_malloc(len);
    memcpy(j->data, data, len);
    e.size = (int64_t)len;
  }
  e.path = j->path;
  if (link) e.link = j->link;
  j->entry = e;
  j->box->busy = true;
  return bk_job_await(L, &j->job, add_done);
}

static int finish_run(struct bk_job *job, struct bk_err *err) {
  struct writer_job *j = (struct writer_job *)job;
  int rc = bk_tar_writer_finish(j->box->w, &j->result, err);
  j->box->busy = false;
  return rc;
}

static int finish_done(lua_State *L, struct bk_job *job) {
  struct writer_job *j = (struct writer_job *)job;
  bk_tar_writer_close(j->box->w);
  j->box->w = NULL;
  lua_createtable(L, 0, 2);
  set_str(L, "digest", j->result.digest);
  set_int(L, "size", (lua_Integer)j->result.size);
  return 1;
}

static int w_finish(lua_State *L) {
  lua_settop(L, 1);
  struct writer_job *j = writer_job(L);
  j->job.run = finish_run;
  j->box->busy = true;
  return bk_job_await(L, &j->job, finish_done);
}

/* --- module ---------------------------------------------------------------------------------- */

BK_EXPORT int luaopen_bakery_archive(lua_State *L);
int luaopen_bakery_archive(lua_State *L) {
  static const luaL_Reg methods[] = {{"add", w_add}, {"finish", w_finish}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"pack", l_pack},         {"unpack", l_unpack},         {"sniff", l_sniff},
      {"list", l_list},         {"compress", l_compress},     {"decompress", l_decompress},
      {"tar_writer", l_tar_writer}, {"record_ids", bk_lua_record_ids}, {NULL, NULL}};
  bk_class(L, WRITER, methods, writer_close);
  luaL_newlib(L, functions);
  return 1;
}
