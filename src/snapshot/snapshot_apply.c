#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "archive/extract.h"
#include "archive/overlay.h"
#include "archive/stream.h"
#include "base/fs.h"
#include "base/ids.h"
#include "snapshot/snapshot.h"

/* Metadata of a directory that the layer does not list: as the layers below have it. */
static int implied(void *ctx, const char *path, struct stat *st, struct bk_err *err) {
  struct bk_view_ent ent;
  int rc = bk_view_find(ctx, path, 0, NULL, &ent, err);
  if (rc == 1) *st = ent.st;
  return rc == 1 && !S_ISDIR(ent.st.st_mode) ? 0 : rc;
}

/* An opaque root hides all of the layers below, but the kernel merges roots regardless: write it
 * as whiteouts. */
static int expand_root(struct bk_view *v, int fd, bool userxattr, struct bk_err *err) {
  cleanup_view_list struct bk_view_list list = {0};
  if (bk_view_readdir(v, bk_view_root(v), &list, err)) return -1;
  for (size_t i = 0; i < list.n; i++) {
    const char *name = list.items[i].name;
    struct stat st;
    if (bk_fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW)) {
      if (bk_mknodat(fd, name, S_IFCHR, 0)) return bk_fail_errno(err, errno, "whiteout '%s'", name);
    } else if (S_ISDIR(st.st_mode)) {
      cleanup_close int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (sub < 0 || bk_overlay_set_opaque(sub, userxattr))
        return bk_fail_errno(err, errno, "mark '%s' as opaque", name);
    }
  }
  return 0;
}

static int data(void *ctx, const char **p, size_t *n, struct bk_err *err) {
  return bk_tar_data(ctx, p, n, err);
}

static int entries(const struct bk_apply_opts *o, struct bk_tar_reader *tar,
                   struct bk_extractor *x, struct bk_layer_result *out, struct bk_err *err) {
  struct bk_tar_entry e;
  int rc;
  while ((rc = bk_tar_next(tar, &e, err)) == 1) {
    if (bk_limits_entry(&o->limits, ++out->entries, "the layer", err)) return -1;
    if (bk_extract_entry(x, &e, data, tar, err)) return -1;
    if (o->cancel && atomic_load(o->cancel))
      return bk_fail(err, BK_BUILD, "cancelled", "cancelled");
  }
  return rc;
}

static int verify(const struct bk_apply_opts *o, const struct bk_layer_result *out,
                  struct bk_err *err) {
  if (!o->diff_id || strcmp(o->diff_id, out->diff_id) == 0) return 0;
  return bk_fail(err, BK_BUILD, "snapshot.digest_mismatch",
                 "layer content has diff id %s, the image says %s", out->diff_id, o->diff_id);
}

static int apply_into(const struct bk_apply_opts *o, int blob, int dir, struct bk_view *v,
                      struct bk_layer_result *out, struct bk_err *err) {
  struct stat st;
  if (bk_fstat(blob, &st)) return bk_fail_errno(err, errno, "stat layer '%s'", o->blob);
  uint64_t size = o->grows_to ? o->grows_to : (uint64_t)st.st_size;
  struct bk_stream_opts so = {.fd = blob, .grows_to = o->grows_to, .max_size = bk_limits_bytes(&o->limits, size),
                              .cancel = o->cancel, .progress = o->progress};
  cleanup_stream struct bk_stream *stream = NULL;
  if (bk_stream_open(&so, &stream, err)) return -1;
  struct bk_extract_opts xo = {.rootfd = dir, .overlay = true, .userxattr = o->userxattr,
                               .rootless = o->rootless, .owner = -1,
                               .implied = o->chain.n ? implied : NULL, .ctx = v};
  struct bk_extractor *x = bk_extract_new(&xo);
  struct bk_tar_reader *tar = bk_tar_reader_new(bk_stream_next, stream);
  struct bk_stream_result sr;
  int rc = entries(o, tar, x, out, err);
  if (rc == 0) rc = bk_stream_finish(stream, &sr, err);
  if (rc == 0) {
    memcpy(out->diff_id, sr.diff_id, sizeof out->diff_id);
    out->size = sr.size;
    rc = verify(o, out, err);
  }
  if (rc == 0 && bk_extract_root_opaque(x)) rc = expand_root(v, dir, o->userxattr, err);
  if (rc == 0) rc = bk_extract_finish(x, err);
  bk_tar_reader_free(tar);
  bk_extract_free(x);
  return rc;
}

int bk_snapshot_apply(const struct bk_apply_opts *o, struct bk_layer_result *out,
                      struct bk_err *err) {
  memset(out, 0, sizeof *out);
  cleanup_view struct bk_view *v = NULL;
  if (bk_view_open(o->chain.lowers, o->chain.n, 0, &v, err)) return -1;
  cleanup_close int blob = open(o->blob, O_RDONLY | O_CLOEXEC);
  if (blob < 0) return bk_fail_errno(err, errno, "open layer '%s'", o->blob);
  if (mkdir(o->dir, 0755)) return bk_fail_errno(err, errno, "create directory '%s'", o->dir);
  cleanup_close int dir = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) bk_fail_errno(err, errno, "open directory '%s'", o->dir);
  if (dir >= 0 && apply_into(o, blob, dir, v, out, err) == 0) return 0;
  struct bk_err ignored;
  (void)!bk_rmtree(AT_FDCWD, o->dir, &ignored);
  return bk_err_wrap(err, "unpack layer");
}
