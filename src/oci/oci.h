/* Container registries and image layouts. Strings inside results belong to the result and go with
 * its *_free; arguments are borrowed. Calls on a client block: run them on worker threads; one
 * client serves many threads and shares connections, tokens and limits among them. */
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
};
void bk_oci_desc_free(struct bk_oci_desc *d);

/* --- client ---------------------------------------------------------------------------------- */

struct bk_oci_login { /* explicit credentials; host NULL = every host */
  const char *host, *username, *password, *identity_token, *registry_token;
};
struct bk_oci_opts {
  const struct bk_oci_login *logins;
  size_t nlogins;
  bool anonymous;                /* look for no credentials at all */
  const char *auth_file;         /* before all other files */
  const char *const *plain_http; /* hosts spoken to without TLS, NULL-ended */
  const char *ca_file, *user_agent;
  bool insecure;     /* no certificate checks */
  int retries;       /* attempts after the first; -1 = environment or 4 */
  int parallel;      /* bulk transfers per host at once; 0 = 8 */
};
struct bk_oci;
/* Reads the environment: call it on the main thread. */
struct bk_oci *bk_oci_new(const struct bk_oci_opts *o, struct bk_err *err) BK_WARN_UNUSED;
struct bk_oci *bk_oci_hold(struct bk_oci *c);
void bk_oci_drop(struct bk_oci *c);
/* Next warning (server Warning headers, stale credentials, bad settings) not yet taken, or NULL;
 * each text comes once. Caller frees. */
char *bk_oci_warning(struct bk_oci *c);

/* What one call is told besides: both may be NULL. */
struct bk_oci_op {
  const atomic_bool *cancel;
  _Atomic uint64_t *done; /* bytes transferred; what is found in place counts too */
};

struct bk_oci_manifest {
  struct bk_buf raw; /* exactly as received; empty after a HEAD */
  struct bk_oci_desc desc;
};
void bk_oci_manifest_free(struct bk_oci_manifest *m);

/* The manifest or index a reference names, verified (registry.md 1.3). */
int bk_oci_manifest_get(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                        const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;
int bk_oci_manifest_head(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                         const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;
/* PUTs bytes under r's digest or, when r has none, its tag. The digest of the bytes goes to
 * *digest (caller frees). A manifest with a subject is made findable (registry.md 1.8). */
int bk_oci_manifest_put(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                        const char *media_type, char **digest, const struct bk_oci_op *op,
                        struct bk_err *err) BK_WARN_UNUSED;

/* Blob to a file that appears complete and verified, or not at all. */
int bk_oci_blob_file(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     const char *path, const struct bk_oci_op *op,
                     struct bk_err *err) BK_WARN_UNUSED;
/* Blob into memory; out->max bounds it. */
int bk_oci_blob_data(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     struct bk_buf *out, const struct bk_oci_op *op,
                     struct bk_err *err) BK_WARN_UNUSED;
/* 1 there (size in *size when known), 0 not, -1 error. */
int bk_oci_blob_head(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                     int64_t *size, const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;

enum bk_oci_pushed { BK_OCI_EXISTS, BK_OCI_MOUNTED, BK_OCI_UPLOADED };
struct bk_oci_source { /* a file, or bytes when path is NULL */
  const char *path;
  const void *data;
  size_t len;
  const char *mount_from; /* repository of the same registry that has the blob, or NULL */
};
int bk_oci_blob_push(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     const struct bk_oci_source *src, enum bk_oci_pushed *how,
                     const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;

/* Is there a registry, and do our credentials work? */
int bk_oci_ping(struct bk_oci *c, const char *registry, const struct bk_oci_op *op,
                struct bk_err *err) BK_WARN_UNUSED;

/* --- documents ------------------------------------------------------------------------------- */

bool bk_oci_is_index_type(const char *media_type);
/* Refuses what registry.md 1.3 refuses: duplicate keys, manifests beside layers, a mediaType other
 * than `media_type` (NULL: any). Fills *type (caller frees) with the document's own media type. */
int bk_oci_manifest_check(const char *raw, size_t len, const char *media_type, char **type,
                          struct bk_err *err) BK_WARN_UNUSED;
/* The index entry that suits "os/arch[/variant]" best. */
int bk_oci_index_select(const char *raw, size_t len, const char *platform, struct bk_oci_desc *out,
                        struct bk_err *err) BK_WARN_UNUSED;

#endif
