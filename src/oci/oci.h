/* Image references, descriptors and manifest documents. Strings inside results belong to the result
 * and go with its *_free; arguments are borrowed. See client.h for registries, layout.h for layout
 * directories. */
#ifndef BK_OCI_H
#define BK_OCI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* --- references (registry.md 1.1) ------------------------------------------------------------ */

struct bk_oci_ref {
  char *registry;   /* "docker.io", "localhost:5000", "[::1]:5000" */
  char *repository; /* "library/debian" */
  char *tag, *digest; /* NULL when absent; without both the parser sets tag to "latest" */
};
int bk_oci_ref_parse(struct bk_oci_ref *r, const char *text, size_t len,
                     struct bk_err *err) BK_WARN_UNUSED;
char *bk_oci_ref_text(const struct bk_oci_ref *r); /* caller frees */
void bk_oci_ref_free(struct bk_oci_ref *r);
bool bk_oci_is_registry(const char *s);
bool bk_oci_is_repository(const char *s);
bool bk_oci_is_tag(const char *s);
bool bk_oci_is_digest(const char *s); /* sha256 or sha512 with lower-case hex */

struct bk_oci_desc {
  char *media_type, *digest;
  int64_t size; /* -1 unknown */
  char *data;   /* the content in base64, or NULL */
};
void bk_oci_desc_free(struct bk_oci_desc *d);

struct bk_oci_manifest {
  struct bk_buf raw; /* exactly as received; empty after a HEAD */
  struct bk_oci_desc desc;
};
void bk_oci_manifest_free(struct bk_oci_manifest *m);

/* What one call is told besides. */
struct bk_oci_op {
  const atomic_bool *cancel;
  _Atomic uint64_t *done; /* bytes transferred; what is found in place counts too */
  const char *ns;         /* a mirror is asked: the registry that is meant */
  bool once;              /* no retries */
  bool in_place;          /* a blob is written to its file itself, for readers that take it as it comes */
  bool blind;             /* a manifest is pushed without looking whether the tag shows it already */
  bool strict;            /* credentials that are refused are an error, also where none are needed */
};

/* --- documents ------------------------------------------------------------------------------- */

bool bk_oci_is_index_type(const char *media_type);
/* Refuses what registry.md 1.3 refuses: duplicate keys, manifests beside layers, a mediaType other
 * than `media_type` (NULL: any). Fills *type (caller frees) with the document's own media type. */
int bk_oci_manifest_check(const char *raw, size_t len, const char *media_type, char **type,
                          struct bk_err *err) BK_WARN_UNUSED;
/* The index entry that suits "os/arch[/variant]" best. */
int bk_oci_index_select(const char *raw, size_t len, const char *platform, struct bk_oci_desc *out,
                        struct bk_err *err) BK_WARN_UNUSED;

/* "sha256-HEX": the tag that lists a digest's referrers where there is no API; caller frees. */
char *bk_oci_fallback_tag(const char *digest);

#endif
