/* Blobs from files and memory to a registry. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "oci/upload.h"

static int open_source(struct oci_upload *u, const struct bk_oci_source *src, int64_t expected,
                       struct bk_err *err) {
  u->data = src->data;
  u->size = (int64_t)src->len;
  if (src->path) {
    struct stat st;
    u->fd = open(src->path, O_RDONLY | O_CLOEXEC);
    if (u->fd < 0 || fstat(u->fd, &st)) return bk_fail_errno(err, errno, "open '%s'", src->path);
    u->size = st.st_size;
  }
  if (expected < 0 || expected == u->size) return 0;
  return bk_fail(err, BK_USAGE, "oci.size_mismatch",
                 "source has %lld bytes, descriptor says %lld", (long long)u->size,
                 (long long)expected);
}

int oci_blob_push(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                  const struct bk_oci_source *src, enum bk_oci_pushed *how,
                  const struct bk_oci_op *op, struct bk_err *err) {
  struct oci_upload u = {.c = c, .h = oci_host(c, r->registry), .r = r, .digest = d->digest, .op = op,
                         .fd = -1, .chunk = src->chunk ? src->chunk : c->o.chunk};
  int rc = !bk_oci_is_digest(d->digest)
               ? bk_fail(err, BK_USAGE, "oci.digest", "'%.80s' is not a digest", d->digest)
               : open_source(&u, src, d->size, err);
  if (rc == 0) rc = oci_upload_deliver(&u, src->mount_from, how, err);
  if (u.fd >= 0) close(u.fd);
  if (rc && strcmp(err->code, "cancelled") != 0)
    bk_err_wrap(err, "push blob %.19s to %s/%s", d->digest, r->registry, r->repository);
  return rc;
}
