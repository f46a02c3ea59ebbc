/* OCI image layout directories (image-spec, image-layout.md). A struct bk_oci_layout is shared by
 * reference count and holds the directory open; calls are safe from several threads and processes:
 * blobs appear by rename, index.json is replaced under a lock. */
#ifndef BK_OCI_LAYOUT_H
#define BK_OCI_LAYOUT_H

#include "oci/oci.h"

struct bk_oci_layout;

/* Opens a layout; with `create` makes the directory and its files when they are missing. */
int bk_oci_layout_open(struct bk_oci_layout **out, const char *dir, bool create,
                       struct bk_err *err) BK_WARN_UNUSED;
struct bk_oci_layout *bk_oci_layout_hold(struct bk_oci_layout *l);
void bk_oci_layout_drop(struct bk_oci_layout *l);

/* "DIR/blobs/sha256/HEX", caller frees; NULL with *err filled for what is no digest. */
char *bk_oci_layout_path(struct bk_oci_layout *l, const char *digest, struct bk_err *err);
bool bk_oci_layout_has(struct bk_oci_layout *l, const char *digest);

/* Stores bytes; *digest (caller frees) is their sha256 unless `want` names another. */
int bk_oci_layout_put_data(struct bk_oci_layout *l, const void *p, size_t n, const char *want,
                           char **digest, struct bk_err *err) BK_WARN_UNUSED;
/* Stores a file: copied and verified against `want` (may be NULL), or hard-linked where that works
 * when `link` is set, trusting `want`. */
int bk_oci_layout_put_file(struct bk_oci_layout *l, const char *path, const char *want, bool link,
                           char **digest, int64_t *size, const struct bk_oci_op *op,
                           struct bk_err *err) BK_WARN_UNUSED;
/* A blob's bytes, verified; out->max bounds it. */
int bk_oci_layout_get(struct bk_oci_layout *l, const char *digest, struct bk_buf *out,
                      struct bk_err *err) BK_WARN_UNUSED;

int bk_oci_layout_index(struct bk_oci_layout *l, struct bk_buf *out,
                        struct bk_err *err) BK_WARN_UNUSED;
/* Adds a descriptor (JSON text) under a name (NULL: none). An entry that had the name loses it. */
int bk_oci_layout_add(struct bk_oci_layout *l, const char *desc, size_t len, const char *name,
                      struct bk_err *err) BK_WARN_UNUSED;
/* Removes a name's entry. 1 = it was there, 0 = not. */
int bk_oci_layout_remove(struct bk_oci_layout *l, const char *name,
                         struct bk_err *err) BK_WARN_UNUSED;
/* The manifest that a name or digest stands for; NULL = the only one. With a platform, indexes are
 * followed and *index gets the last one. */
int bk_oci_layout_resolve(struct bk_oci_layout *l, const char *name, const char *platform,
                          struct bk_oci_manifest *m, struct bk_oci_manifest *index,
                          struct bk_err *err) BK_WARN_UNUSED;

#endif
