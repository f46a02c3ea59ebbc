/* Registry client. Strings inside results belong to the result and go with its *_free; arguments are
 * borrowed. Calls block: run them on worker threads; one client serves many threads and shares
 * connections, tokens and limits among them. */
#ifndef BK_OCI_CLIENT_H
#define BK_OCI_CLIENT_H

#include "base/sink.h"
#include "oci/oci.h"

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
  const struct bk_oci_mirror { /* before those of registries.conf */
    const char *prefix, *location;
  } *mirrors;
  size_t nmirrors;
  const char *registries_conf; /* file to read instead of the usual ones; "" = none */
  bool insecure;     /* no certificate checks */
  int retries;       /* attempts after the first; -1 = environment or 4 */
  int parallel;      /* bulk transfers per host at once; 0 = 8 */
  size_t manifest_max; /* bytes; 0 = environment or 4 MiB, never more than 16 MiB */
  int64_t chunk;     /* upload blobs larger than this in PATCH requests of this size; 0 = never */
};
struct bk_oci;
/* Reads the environment: call it on the main thread. */
struct bk_oci *bk_oci_new(const struct bk_oci_opts *o, struct bk_err *err) BK_WARN_UNUSED;
struct bk_oci *bk_oci_hold(struct bk_oci *c);
void bk_oci_drop(struct bk_oci *c);
/* Next warning (server Warning headers, stale credentials, bad settings) not yet taken, or NULL;
 * each text comes once. Caller frees. */
char *bk_oci_warning(struct bk_oci *c);

/* The manifest or index a reference names, verified (registry.md 1.3). */
int bk_oci_manifest_get(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                        const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;
int bk_oci_manifest_head(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                         const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;
/* PUTs bytes under r's digest or, when r has none, its tag; a tag that has them already is left
 * alone. The digest of the bytes goes to *digest (caller frees). A manifest with a subject is made
 * findable (registry.md 1.8). */
int bk_oci_manifest_put(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                        const char *media_type, char **digest, const struct bk_oci_op *op,
                        struct bk_err *err) BK_WARN_UNUSED;

/* Blob to a file that appears complete and verified, or not at all. With op->in_place the file grows as the
 * blob comes: what is in it is good only when this has returned 0, else it is gone. */
int bk_oci_blob_file(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     const char *path, const struct bk_oci_op *op,
                     struct bk_err *err) BK_WARN_UNUSED;
/* Blob into memory; out->max bounds it. */
int bk_oci_blob_data(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     struct bk_buf *out, const struct bk_oci_op *op,
                     struct bk_err *err) BK_WARN_UNUSED;
/* Blob to a sink as it arrives: what the sink got is good only when this has returned 0. */
int bk_oci_blob_stream(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                       struct bk_sink *sink, const struct bk_oci_op *op,
                       struct bk_err *err) BK_WARN_UNUSED;
/* 1 there (size in *size when known), 0 not, -1 error. */
int bk_oci_blob_head(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                     int64_t *size, const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;

enum bk_oci_pushed { BK_OCI_EXISTS, BK_OCI_MOUNTED, BK_OCI_UPLOADED };
struct bk_oci_source { /* a file, or bytes when path is NULL */
  const char *path;
  const void *data;
  size_t len;
  const char *mount_from; /* repository of the same registry that has the blob; "" = any (few
                             registries know that); NULL = do not try */
  int64_t chunk;          /* instead of the client's */
};
int bk_oci_blob_push(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     const struct bk_oci_source *src, enum bk_oci_pushed *how,
                     const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;

/* Brings a blob of from's repository to that of `to`: known, mounted when it is the same registry,
 * there, or streamed without a file in between. The last byte is sent when the digest is right.
 * d->size must be known. */
int bk_oci_blob_copy(struct bk_oci *c, const struct bk_oci_ref *to, const struct bk_oci_ref *from,
                     const struct bk_oci_desc *d, enum bk_oci_pushed *how,
                     const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;
int bk_oci_blob_delete(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                       const struct bk_oci_op *op, struct bk_err *err) BK_WARN_UNUSED;

/* Tags of a repository, or repositories of a registry, in the registry's order. */
struct bk_oci_tags {
  char **names;
  size_t n;
  struct bk_arena text; /* theirs */
};
struct bk_oci_page {
  int size;         /* names per request; 0 = 1000 */
  const char *last; /* only names behind this one; NULL = all */
  size_t max;       /* stop at so many; 0 = no bound of the caller's */
  bool sort;        /* by bytes instead of the registry's order */
};
int bk_oci_tags(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_page *page,
                struct bk_oci_tags *out, const struct bk_oci_op *op,
                struct bk_err *err) BK_WARN_UNUSED;
/* GET /v2/_catalog, which not every registry has. */
int bk_oci_catalog(struct bk_oci *c, const char *registry, const struct bk_oci_page *page,
                   struct bk_oci_tags *out, const struct bk_oci_op *op,
                   struct bk_err *err) BK_WARN_UNUSED;
void bk_oci_tags_free(struct bk_oci_tags *t);

/* Deletes the manifest (r has a digest: all its tags go too) or only the tag. Where the registry
 * cannot delete tags, the tag is first moved to a manifest made for the purpose. */
int bk_oci_delete(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_op *op,
                  struct bk_err *err) BK_WARN_UNUSED;

/* What refers to r's digest, as an index document (registry.md 1.8), only entries of artifact_type
 * unless that is NULL. */
int bk_oci_referrers(struct bk_oci *c, const struct bk_oci_ref *r, const char *artifact_type,
                     struct bk_buf *out, const struct bk_oci_op *op,
                     struct bk_err *err) BK_WARN_UNUSED;

/* Where credentials for a host come from and whose they are, never what they are. */
struct bk_oci_account {
  char *source, *username; /* NULL = none found */
};
int bk_oci_account(struct bk_oci *c, const char *registry, const char *repository,
                   struct bk_oci_account *out, struct bk_err *err) BK_WARN_UNUSED;
void bk_oci_account_free(struct bk_oci_account *a);

/* --- stored credentials (registry.md 1.9) ------------------------------------------------------ */

/* Saves credentials for a registry ("host", or "host/name" in a containers auth file): with the
 * credential helper that the file names for it, else in the file itself. file NULL: REGISTRY_AUTH_FILE,
 * else docker's config.json. The file keeps what else it holds, gets mode 0600, and is replaced at
 * once. *where (caller frees) says where they went. */
int bk_oci_login_save(struct bk_oci *c, const char *file, const struct bk_oci_login *login,
                      char **where, struct bk_err *err) BK_WARN_UNUSED;
/* Removes them again: 1 there were some, 0 none, -1 error. */
int bk_oci_login_erase(struct bk_oci *c, const char *file, const char *key, char **where,
                       struct bk_err *err) BK_WARN_UNUSED;
/* What is saved, never the secrets: a JSON list of {registry, username, source}. */
int bk_oci_login_list(struct bk_oci *c, const char *file, struct bk_buf *out,
                      struct bk_err *err) BK_WARN_UNUSED;

/* Is there a registry, and do our credentials work? */
int bk_oci_ping(struct bk_oci *c, const char *registry, const struct bk_oci_op *op,
                struct bk_err *err) BK_WARN_UNUSED;

#endif
