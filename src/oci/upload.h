/* One blob's upload sessions, shared by push and copy; not part of the public interface. A struct
 * oci_upload borrows everything but its location, which oci_upload_close releases. */
#ifndef BK_OCI_UPLOAD_H
#define BK_OCI_UPLOAD_H

#include "oci/oci_int.h"

struct oci_upload {
  struct bk_oci *c;
  struct oci_host *h;
  const struct bk_oci_ref *r;
  const char *digest;
  const struct bk_oci_op *op;
  int64_t size;
  /* The bytes: a file, memory, or a stream that `start` begins anew for every attempt. */
  int fd; /* -1: not a file */
  const void *data;
  int (*start)(void *ctx, struct bk_err *err);
  ssize_t (*read)(void *ctx, int64_t at, void *p, size_t n, struct bk_err *err);
  void (*stop)(void *ctx); /* after every attempt */
  void *ctx;

  int64_t chunk;     /* PATCH pieces of this size; 0 = one PUT */
  int64_t chunk_min; /* as the registry asked */
  char *location;    /* of the open session */
  bool absent;       /* the registry has said that it lacks the blob */
  int64_t counted;   /* bytes of this attempt in op->done */
};

void oci_upload_count(const struct oci_upload *u, int64_t n);
/* 1 mounted, 0 go on (perhaps with an open session), -1 error. */
int oci_upload_mount(struct oci_upload *u, const char *from, struct bk_err *err);
/* Known, mount, HEAD, upload: registry.md 1.5. */
int oci_upload_deliver(struct oci_upload *u, const char *mount_from, enum bk_oci_pushed *how,
                       struct bk_err *err);
/* Deletes an open session. */
void oci_upload_close(struct oci_upload *u);

#endif
