/* Layers as directories in overlay form; nothing is owned beyond each call. All paths are the
 * caller's, `lowers` is ordered lowest first. The directories named as results must not be used by
 * anybody else during the call. */
#ifndef BK_SNAPSHOT_H
#define BK_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "archive/hash.h"
#include "base/err.h"
#include "snapshot/view.h"

struct bk_chain {
  const char *const *lowers;
  size_t n;
};

struct bk_layer_result {
  char diff_id[BK_DIGEST_TEXT];
  uint64_t entries; /* tar entries */
  uint64_t size;    /* of the uncompressed tar */
};

/* --- apply ----------------------------------------------------------------------------------- */

struct bk_apply_opts {
  const char *blob; /* tar, gzip or zstd */
  const char *dir;  /* created; removed again on failure */
  const char *diff_id; /* expected, or NULL */
  struct bk_chain chain; /* layers below, for the metadata of directories that are not listed */
  bool userxattr;
  bool rootless;     /* device nodes are errors */
  uint64_t grows_to; /* bytes of the blob when somebody is still writing it, else 0 */
  struct bk_limits limits; /* of the uncompressed tar: archive.too_large, limits.entries */
  const atomic_bool *cancel;
  _Atomic uint64_t *progress; /* compressed bytes read */
};
int bk_snapshot_apply(const struct bk_apply_opts *opts, struct bk_layer_result *out,
                      struct bk_err *err) BK_WARN_UNUSED;

/* --- commit ---------------------------------------------------------------------------------- */

struct bk_commit_opts {
  const char *upper;
  struct bk_chain chain;
  const int64_t *epoch; /* later mtimes are set to it; NULL = no clamping */
  const char *const *stubs; /* paths made only to mount something, NULL-ended or NULL */
  const atomic_bool *cancel;
  _Atomic uint64_t *progress;
};
/* Normalises an overlay upper directory in place, so that it is the layer: unchanged copies,
 * whiteouts of nothing, stubs and overlay's own xattrs go, opaque directories become explicit
 * whiteouts, times are clamped. The digest is that of bk_archive_pack over the result. */
int bk_snapshot_commit(const struct bk_commit_opts *opts, struct bk_layer_result *out,
                       struct bk_err *err) BK_WARN_UNUSED;

/* --- export, mkdir --------------------------------------------------------------------------- */

/* Flattens a chain into a new plain directory (created; removed again on failure). nodev: empty files
 * without permissions take the place of devices. */
int bk_snapshot_export(struct bk_chain chain, const char *dir, bool nodev, const atomic_bool *cancel,
                       uint64_t *entries, struct bk_err *err) BK_WARN_UNUSED;

/* Puts one more layer directory on top of a plain tree. */
int bk_snapshot_apply_dir(const char *layer, const char *dir, bool nodev, const atomic_bool *cancel,
                          struct bk_err *err) BK_WARN_UNUSED;

struct bk_mkdir_opts {
  struct bk_chain chain;
  const char *upper; /* existing directory: the layer that is being made */
  const char *path;
  mode_t mode;
  uid_t uid;
  gid_t gid;
  bool userxattr;
  const int64_t *epoch; /* mtime of what is created; NULL = now */
};
/* mkdir -p of path in chain + upper, symlinks resolved inside. *created: how many were missing. */
int bk_snapshot_mkdir(const struct bk_mkdir_opts *opts, unsigned *created,
                      struct bk_err *err) BK_WARN_UNUSED;

/* --- users ----------------------------------------------------------------------------------- */

#define BK_GROUPS_MAX 256

struct bk_user {
  uid_t uid;
  gid_t gid;
  gid_t groups[BK_GROUPS_MAX]; /* supplementary, ascending; gid is one of them */
  size_t n_groups;
  char home[1024]; /* "/" when unknown */
};
/* Resolves USER "u[:g]" against /etc/passwd and /etc/group of the view: names or numbers; "" is
 * root. Errors: snapshot.no_user, snapshot.no_group, fs.too_large (> 10 MiB). */
int bk_snapshot_user(struct bk_view *v, const char *spec, struct bk_user *out,
                     struct bk_err *err) BK_WARN_UNUSED;
/* The ids that COPY --chown "u[:g]" means, and USER for what WORKDIR makes: a name takes its group, a
 * number alone is both, an unknown user is 0:0, an unknown group changes nothing; root needs no
 * /etc/passwd. *unknown points into spec where a name begins that was not found, or is NULL. */
int bk_snapshot_chown_ids(struct bk_view *v, const char *spec, uid_t *uid, gid_t *gid,
                          const char **unknown, struct bk_err *err) BK_WARN_UNUSED;

#endif
