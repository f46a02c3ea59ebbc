/* The content store: a directory of objects named by digest, published by rename. A struct bk_store
 * is reference counted; strings handed out are the caller's to free. Every call may come from any
 * thread. Layout, crash rules and lock order: src/store/README.md. */
#ifndef BK_STORE_H
#define BK_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define BK_STORE_FORMAT 1
#define BK_STORE_NAME_MAX 1024
#define BK_STORE_RECORD_MAX (1 << 20)

struct bk_store;

struct bk_store_opts {
  bool create;      /* make the directory when it is not there */
  bool durable;     /* fsync what is published */
  double timeout;   /* seconds to wait for a gc in progress */
  const char *mode; /* how ids and xattrs are kept ("root", "rootless-range" …); NULL = any */
};

/* Opens (creates) a store, takes its shared lock and removes what dead processes left in tmp/. */
int bk_store_open(const char *dir, const struct bk_store_opts *opts, struct bk_store **out,
                  struct bk_err *err) BK_WARN_UNUSED;
struct bk_store *bk_store_ref(struct bk_store *s);
void bk_store_unref(struct bk_store *s); /* the last one removes our tmp and releases the lock */
const char *bk_store_dir(const struct bk_store *s);

/* --- temporary space: leased until the store is closed --------------------------------------- */
char *bk_store_tmpdir(struct bk_store *s, struct bk_err *err) BK_WARN_UNUSED;
char *bk_store_tmpfile(struct bk_store *s, struct bk_err *err) BK_WARN_UNUSED; /* empty, 0600 */
/* Removes a path below our own temporary space, at once or only moved out of the way. */
int bk_store_remove_tmp(struct bk_store *s, const char *path, struct bk_err *err) BK_WARN_UNUSED;
/* Removes temporary directories whose owner is gone; *n counts them. */
int bk_store_sweep(struct bk_store *s, unsigned *n, struct bk_err *err) BK_WARN_UNUSED;

/* --- blobs and layers ------------------------------------------------------------------------ */
bool bk_store_is_digest(const char *digest); /* sha256: and 64 lower-case hex digits */
char *bk_store_blob_path(struct bk_store *s, const char *digest);
/* 1 there (*size filled unless NULL), 0 not, -1 error. */
int bk_store_has_blob(struct bk_store *s, const char *digest, uint64_t *size, struct bk_err *err);
int bk_store_put_blob(struct bk_store *s, const void *p, size_t n, char digest[static 72],
                      struct bk_err *err) BK_WARN_UNUSED;
/* Takes over the file at path. With verify its bytes are hashed first (code store.digest). */
int bk_store_add_blob(struct bk_store *s, const char *path, const char *digest, bool verify,
                      struct bk_err *err) BK_WARN_UNUSED;
/* Bytes of a blob into out (bounded by out->max). 1, 0 absent, -1. */
int bk_store_get_blob(struct bk_store *s, const char *digest, struct bk_buf *out,
                      struct bk_err *err) BK_WARN_UNUSED;

/* Directory of the unpacked layer, NULL when it is not there. */
char *bk_store_layer_dir(struct bk_store *s, const char *diff_id);
/* Publishes directory `fs` (inside the store's tmp) as the layer; when the layer is there already
 * `fs` is left alone. *path is the layer's directory. */
int bk_store_publish_layer(struct bk_store *s, const char *fs, const char *diff_id,
                           const char *meta, size_t n, char **path, struct bk_err *err)
    BK_WARN_UNUSED;
int bk_store_layer_meta(struct bk_store *s, const char *diff_id, struct bk_buf *out,
                        struct bk_err *err) BK_WARN_UNUSED; /* 1, 0, -1 */
int bk_store_set_layer_meta(struct bk_store *s, const char *diff_id, const char *meta, size_t n,
                            struct bk_err *err) BK_WARN_UNUSED;

/* --- records: small opaque texts by name ----------------------------------------------------- */
enum bk_store_kind { BK_STORE_KEY, BK_STORE_REF, BK_STORE_REMOTE };
/* 1, 0 absent (or cut off by a crash), -1. A hit renews the record's last-use stamp. */
int bk_store_get(struct bk_store *s, enum bk_store_kind kind, const char *name,
                 struct bk_buf *out, int64_t *stamp, struct bk_err *err) BK_WARN_UNUSED;
int bk_store_put(struct bk_store *s, enum bk_store_kind kind, const char *name, const char *text,
                 size_t n, struct bk_err *err) BK_WARN_UNUSED;
int bk_store_del(struct bk_store *s, enum bk_store_kind kind, const char *name,
                 struct bk_err *err) BK_WARN_UNUSED; /* 1 removed, 0 was not there, -1 */
/* Calls f for every sound record in unspecified order until it returns non-zero, which is handed
 * back. */
int bk_store_each(struct bk_store *s, enum bk_store_kind kind,
                  int (*f)(void *ud, const char *name, const char *text, size_t n, int64_t stamp),
                  void *ud, struct bk_err *err) BK_WARN_UNUSED;

/* --- named locks ----------------------------------------------------------------------------- */
/* One attempt: 1 and *fd (closing it unlocks), 0 somebody else has it, -1. Excludes other processes
 * and other calls in this one alike. */
int bk_store_lock(struct bk_store *s, const char *name, bool shared, int *fd, struct bk_err *err)
    BK_WARN_UNUSED;
void bk_store_unlock(struct bk_store *s, int *fd);
/* Who holds it, for messages: "process 12" or "somebody else". */
void bk_store_lock_owner(struct bk_store *s, const char *name, char *out, size_t size);

enum bk_store_sharing { BK_STORE_SHARED, BK_STORE_PRIVATE, BK_STORE_LOCKED, BK_STORE_UNLOCKED };
/* Instance of a cache directory, made on first use: 1 with *path and *fd (-1 for UNLOCKED), 0 busy,
 * -1. */
int bk_store_cache_mount(struct bk_store *s, const char *ns, const char *id,
                         enum bk_store_sharing sharing, unsigned mode, unsigned uid, unsigned gid,
                         char **path, int *fd, struct bk_err *err) BK_WARN_UNUSED;

/* Other paths; the directories are made. */
char *bk_store_statcache_path(struct bk_store *s, const char *name, struct bk_err *err);
char *bk_store_log_path(struct bk_store *s, const char *id, struct bk_err *err);

/* --- upkeep ---------------------------------------------------------------------------------- */
enum { BK_STORE_AREAS = 9 };
extern const char *const bk_store_area_names[BK_STORE_AREAS];
struct bk_store_usage {
  struct bk_store_area {
    uint64_t count, bytes;
  } area[BK_STORE_AREAS]; /* blobs layers keys refs remote cachemounts tmp log statcache */
  uint64_t bytes;
};
int bk_store_du(struct bk_store *s, struct bk_store_usage *out, struct bk_err *err) BK_WARN_UNUSED;

struct bk_store_gc {
  int64_t max_bytes;         /* < 0: no limit */
  double max_age, ref_age;   /* seconds unused until a key (ref) goes; < 0: never */
  double grace;              /* seconds an object may be without reference */
  bool dry_run;
  int own_refs; /* references to the store that are not somebody else's work */
  const char *const *keep;   /* digests that must stay, with what they name; NULL-terminated */
  struct bk_store_usage removed, kept; /* results */
};
/* Needs the store for itself: code store.busy when another process or task works in it. */
int bk_store_collect(struct bk_store *s, struct bk_store_gc *gc, struct bk_err *err) BK_WARN_UNUSED;

/* Verifies every object; f is told about each problem (`name` = digest or record name). With
 * repair, broken objects are removed. Returns 0, or -1 when it could not look. */
int bk_store_check(struct bk_store *s, bool repair,
                   void (*f)(void *ud, const char *area, const char *name, const char *problem),
                   void *ud, struct bk_err *err) BK_WARN_UNUSED;

/* --- run history (SQLite; opened on first use) ----------------------------------------------- */
int bk_store_record_run(struct bk_store *s, double started, double seconds, const char *name,
                        const char *status, const char *data, size_t n, int64_t *id,
                        struct bk_err *err) BK_WARN_UNUSED;
int bk_store_runs(struct bk_store *s, const char *name, double since, int limit,
                  int (*f)(void *ud, int64_t id, const char *data, size_t n), void *ud,
                  struct bk_err *err) BK_WARN_UNUSED; /* newest first */

#endif
