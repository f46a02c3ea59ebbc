/* zTOCs of image layers (SOCI, github.com/awslabs/soci-snapshotter): where the files of a compressed
 * tar are and how to inflate from the middle. A struct bk_soci belongs to its maker until
 * bk_soci_free; one thread at a time may use it. The layer passes by once, in pieces; memory does
 * not grow with it (checkpoints wait in a temporary file), only with the number of its files. */
#ifndef BK_SOCI_H
#define BK_SOCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct bk_soci_opts {
  const char *tool;    /* build tool identifier; becomes part of the bytes */
  int64_t span_size;   /* uncompressed bytes between two checkpoints, at least 512 */
  bool plain;          /* the layer is a tar without compression, else gzip */
  const char *tmp_dir; /* for the checkpoints; NULL = TMPDIR or /tmp */
};

struct bk_soci_result {
  char digest[72]; /* of the zTOC, "sha256:…" */
  int64_t size, layer_size, tar_size;
  int32_t spans;
  size_t files;
  bool no_xattrs; /* no extended attributes and no opaque directories: lookups can be left out */
};

struct bk_soci;
struct bk_soci *bk_soci_new(const struct bk_soci_opts *o);
void bk_soci_free(struct bk_soci *s); /* NULL is fine */
/* The next bytes of the layer. Class build: soci.malformed, soci.unsupported (an entry or form that
 * SOCI does not know), soci.too_large. */
int bk_soci_write(struct bk_soci *s, const void *p, size_t n, struct bk_err *err) BK_WARN_UNUSED;
void bk_soci_restart(struct bk_soci *s);
/* Writes the zTOC to a file that appears complete or not at all. The layer must have ended. */
int bk_soci_save(struct bk_soci *s, const char *path, struct bk_soci_result *out,
                 struct bk_err *err) BK_WARN_UNUSED;
/* First and last span of a file (paths are compared cleaned, the last entry of a name counts);
 * false when the layer has none of that name. */
bool bk_soci_find(const struct bk_soci *s, const char *path, size_t len, int32_t *first,
                  int32_t *last);

/* --- reading --------------------------------------------------------------------------------- */

/* Strings are not terminated and point into the document. */
struct bk_soci_text {
  const char *p;
  size_t len;
};
struct bk_soci_file {
  struct bk_soci_text name, type, link, mtime;
  int64_t offset, size, mode;
  uint32_t uid, gid;
};
struct bk_soci_ztoc {
  struct bk_soci_text version, tool, checkpoints;
  int64_t layer_size, tar_size;
  int32_t max_span_id;
  bool plain;
  size_t n_files, n_digests;
  const char *p; /* the document and where its vectors are, for the two below */
  size_t len, files_at, digests_at;
  int32_t points; /* checkpoints of a gzip layer; the first may be left out (version 1) */
};
/* Reads and checks a whole zTOC; nothing is copied, `out` lives as long as p. */
int bk_soci_read(const void *p, size_t len, struct bk_soci_ztoc *out,
                 struct bk_err *err) BK_WARN_UNUSED;
void bk_soci_file_at(const struct bk_soci_ztoc *z, size_t i, struct bk_soci_file *out);
struct bk_soci_text bk_soci_digest_at(const struct bk_soci_ztoc *z, size_t i);
/* A gzip zTOC's checkpoint: compressed and uncompressed offset. */
void bk_soci_point(const struct bk_soci_ztoc *z, int32_t i, int64_t *in, int64_t *out);

#endif
