/* Shared by the oci_*.c files only. Objects belong to the client unless said otherwise. */
#ifndef BK_OCI_INT_H
#define BK_OCI_INT_H

#include <jansson.h>
#include <pthread.h>
#include <time.h>

#include "base/fs.h"
#include "base/map.h"
#include "digest/digest.h"
#include "http/http.h"
#include "oci/client.h"

/* --- credentials ----------------------------------------------------------------------------- */

struct oci_cred { /* owns its strings; all NULL = anonymous */
  char *username, *password, *identity_token, *registry_token;
  char *source; /* for messages: "~/.docker/config.json", "credential helper 'x'" */
  bool helped;  /* by a credential helper: short-lived, asked again when old or refused */
  time_t at;
};
void oci_cred_clear(struct oci_cred *c);
bool oci_cred_empty(const struct oci_cred *c);

/* The environment as it was when the client was made. */
struct oci_env {
  char *registries_conf, *home, *xdg_runtime, *xdg_config, *docker_config, *auth_file, *docker_auth_config;
  char *host, *username, *password, *token; /* BAKERY_REGISTRY_* */
};
/* registry.md 1.9: first source that knows something wins; nothing found is not an error. */
int oci_cred_find(struct bk_oci *c, const char *registry, const char *repository,
                  struct oci_cred *out, struct bk_err *err);
/* One auth file's text. 1 found, 0 not, -1 error. */
int oci_cred_from_json(const char *text, size_t len, const char *registry, const char *repository,
                       struct oci_cred *out, char **helper, struct bk_err *err);
#define OCI_HUB_URL "https://index.docker.io/v1/" /* how docker calls docker.io */
bool oci_is_hub(const char *host);
/* How well a key of `auths` fits: length of the matching repository part + 1, 0 for not at all. */
size_t oci_cred_key_fits(const char *key, const char *registry, const char *repository);
/* The helper that a credentials document names for a registry, or NULL. */
const char *oci_cred_helper_for(const json_t *doc, const char *registry, const char *repository);
/* One action of docker-credential-SUFFIX: 1 done (*answer has its output), 0 it knows no such
 * credentials, -1 error. */
int oci_helper_run(const char *suffix, const char *action, const char *request,
                   struct bk_buf *answer, const atomic_bool *cancel, struct bk_err *err);
/* docker-credential-SUFFIX get. 1 found, 0 not there, -1 error. */
int oci_cred_helper(const char *suffix, const char *registry, struct oci_cred *out,
                    const atomic_bool *cancel, struct bk_err *err);

/* --- registries.conf ------------------------------------------------------------------------- */

enum oci_use { OCI_USE_ALL, OCI_USE_DIGEST, OCI_USE_TAG };

struct oci_mirror {
  const char *location;
  bool insecure;
  enum oci_use use;
};

/* One [[registry]]: what to do with names that begin with prefix. Strings are the client's. */
struct oci_rule {
  const char *prefix, *location; /* location NULL = as prefix */
  bool insecure, blocked, by_digest;
  struct oci_mirror *mirrors;
  size_t nmirrors;
};

struct oci_rules {
  struct oci_rule *list;
  size_t n;
  const char **helpers; /* credential-helpers; none = OCI_AUTH_FILES alone */
  size_t nhelpers;
};
#define OCI_AUTH_FILES "containers-auth.json" /* not a helper: the files */

/* Reads one file's text; a rule replaces an earlier one with its prefix. `arena` keeps strings. */
int oci_rules_parse(struct oci_rules *rules, struct bk_arena *arena, const char *text, size_t len,
                    const char *name, struct bk_err *err);
/* The usual files, or the one that the options or the environment name. */
int oci_rules_load(struct bk_oci *c, struct bk_err *err);
void oci_rules_free(struct oci_rules *rules);
/* The rule with the longest prefix of "host/name:tag@digest", or NULL. */
const struct oci_rule *oci_rule_for(const struct oci_rules *rules, const char *name);
/* Length of the name's beginning that a rule's prefix stands for, 0 for none. */
size_t oci_prefix_fits(const char *prefix, const char *name);
bool oci_rules_insecure(const struct oci_rules *rules, const char *registry);

/* Where to look for a reference: mirrors in order, then its own place. */
#define OCI_ROUTE_MAX 9
struct oci_route {
  struct bk_oci_ref at[OCI_ROUTE_MAX];
  size_t n;
  bool owned; /* at[] are ours; else at[0] is the caller's */
};
enum oci_purpose { OCI_WRITE, OCI_READ, OCI_READ_BLOB };
int oci_route_make(struct bk_oci *c, const struct bk_oci_ref *r, enum oci_purpose purpose,
                   struct oci_route *route, struct bk_err *err);
void oci_route_free(struct oci_route *route);

/* --- hosts and tokens ------------------------------------------------------------------------ */

enum oci_auth { OCI_AUTH_UNKNOWN, OCI_AUTH_NONE, OCI_AUTH_BASIC, OCI_AUTH_BEARER };

struct oci_token {
  struct oci_token *next;
  char *account, *scopes; /* space-separated */
  char *text;
  time_t got, expires; /* monotonic seconds */
};

/* What is known of one registry. */
struct oci_host {
  char *registry;
  pthread_mutex_t lock; /* guards all below but the limiter; held while a token is fetched */
  char *base;           /* "https://host:port", NULL until known */
  char *ca_pem, *cert_file, *key_file; /* of certs.d; constant once base is known */
  enum oci_auth auth;
  char *realm, *service;
  char *realm_of; /* the repository that they were last told for, "" none */
  struct oci_token *tokens;
  bool insecure; /* no certificate checks */
  atomic_bool no_chunks; /* PATCH does not work here */
  struct bk_map creds;   /* repository -> struct oci_cred * */
  struct bk_map present; /* "repository@digest" of blobs -> enum oci_known */
  struct bk_map fresh;   /* "repository:tag" and "repository@digest" manifests pushed by us */
  struct bk_map referrers; /* repository -> (void *)1 API, (void *)2 fallback tag */
  struct bk_map listed; /* "repository:tag" of a fallback tag -> json_t *, entries we have put there */

  pthread_mutex_t limit_lock;
  pthread_cond_t limit_free;
  int limit, running, good; /* additive increase, multiplicative decrease */
};

struct oci_retry {
  int attempts; /* in all */
  double initial, max, multiplier, deadline;
};

struct bk_oci {
  atomic_int refs;
  struct bk_http *http;
  struct bk_arena strings; /* options */
  struct bk_oci_opts o;
  struct oci_env env;
  struct oci_retry retry;
  struct oci_rules rules;
  pthread_mutex_t lock; /* hosts, warnings */
  struct bk_map hosts;
  struct bk_map warned; /* texts given out or queued */
  char *warnings[32];   /* queue */
  size_t nwarnings;
};

struct oci_host *oci_host(struct bk_oci *c, const char *registry);
/* Decides between https and http on first use. */
int oci_host_base(struct bk_oci *c, struct oci_host *h, const struct bk_oci_op *op,
                  struct bk_err *err);
/* Fills in ca_pem, cert_file and key_file. */
int oci_certs_load(struct bk_oci *c, struct oci_host *h, struct bk_err *err);
/* TLS settings and the like, the same for every request that serves this registry. */
void oci_host_request(const struct bk_oci *c, const struct oci_host *h, const struct bk_oci_op *op,
                      struct bk_http_req *q);
void oci_warn(struct bk_oci *c, const char *fmt, ...) BK_PRINTF(2, 3);
/* Slots for bulk transfers; take waits, and fails only when cancelled. */
int oci_limit_take(struct bk_oci *c, struct oci_host *h, const struct bk_oci_op *op,
                   struct bk_err *err);
void oci_limit_give(struct oci_host *h);
/* status of a finished request: 429 and 503 halve the limit, 20 good ones raise it by one. */
void oci_limit_report(struct bk_oci *c, struct oci_host *h, int status);

void oci_host_free(struct oci_host *h);
time_t oci_now(void); /* monotonic seconds */

/* --- authentication -------------------------------------------------------------------------- */

struct oci_challenge {
  char scheme[16]; /* lower case */
  char *realm, *service, *scope, *error;
};
/* Appends the challenges of one WWW-Authenticate value to a list of at most `max`; returns the new
 * count. Unknown schemes are listed too. */
size_t oci_challenges_parse(const char *value, struct oci_challenge *list, size_t n, size_t max);
void oci_challenges_free(struct oci_challenge *list, size_t n);
/* Does the space-separated scope list `have` grant all of `want`? */
bool oci_scope_covers(const char *have, const char *want);

/* Age of a token by its issued_at (RFC 3339, or NULL); 0 when that cannot be, as by another clock. */
time_t oci_token_age(const char *issued_at, time_t life, time_t now);

/* State of one call's attempts to authenticate. */
struct oci_try {
  char *header; /* Authorization value sent, NULL none */
  char *scope;  /* scopes asked for, space-separated, most needed first */
  int rounds;
  bool anonymous; /* saved credentials were refused */
  bool strict;    /* then that is the answer, also for reading */
};
/* Fills t->header from what is known of the host; no challenge has been seen yet if it stays NULL.
 * `need` = seconds the token should still live. */
int oci_auth_prepare(struct bk_oci *c, struct oci_host *h, const char *repository, int need,
                     struct oci_try *t, const struct bk_oci_op *op, struct bk_err *err);
/* Learns from a 401 (or 403): 1 = try again, 0 = that is the answer, -1 error. */
int oci_auth_challenged(struct bk_oci *c, struct oci_host *h, const char *repository,
                        const struct bk_http_res *res, struct oci_try *t,
                        const struct bk_oci_op *op, struct bk_err *err);
void oci_try_free(struct oci_try *t);

/* --- calls ----------------------------------------------------------------------------------- */

struct oci_call {
  struct oci_host *host;
  const char *repository;
  const char *method;
  const char *path; /* below the base, or NULL with an absolute url: */
  const char *url;
  const char *actions;   /* "pull", "pull,push", "delete"; NULL = no scope */
  const char *from_repo; /* also needs pull there */
  const char *scope;     /* instead of that made of repository and actions */
  const char *headers[8];
  const struct bk_http_req *body; /* body_* and sink members are taken from here */
  size_t max_body;
  int stall_s, follow;
  int token_life; /* seconds the token should last */
  bool once;      /* no retries here: the caller has its own */
  const struct bk_oci_op *op;
};
/* 0 with any HTTP status (after retries); transport failures are -1. *res needs releasing always. */
int oci_call(struct bk_oci *c, const struct oci_call *call, struct bk_http_res *res,
             struct bk_err *err);
/* Turns a status into an error: "pull docker.io/library/x:1: not found (server's words)". */
int oci_status_error(const struct bk_http_res *res, struct bk_err *err, const char *fmt, ...)
    BK_PRINTF(3, 4);
bool oci_has_code(const struct bk_http_res *res, const char *code);
/* Waits before attempt number `attempt` (1 = first retry): Retry-After or exponential with jitter.
 * Fails when cancelled or when the attempts or the deadline are used up; keeps *err then. */
int oci_backoff(struct bk_oci *c, int attempt, time_t since, const struct bk_http_res *res,
                const struct bk_oci_op *op, struct bk_err *err);
bool oci_cancelled(const struct bk_oci_op *op);
/* "?ns=REGISTRY" when a mirror is asked, which may stand for several registries; else "". Caller frees. */
char *oci_namespace(const struct bk_oci_op *op);
/* Is url on the registry's own origin? Credentials go nowhere else. The base must be known. */
bool oci_is_home(const struct oci_host *h, const char *url);
/* Absolute URL of the rel="next" link, on the same origin; NULL = none. Caller frees. */
char *oci_next_link(const struct oci_host *h, const struct bk_http_res *res);
/* Appends what is in the list `field` of a page. */
int oci_names(const char *body, size_t len, const char *field, struct bk_oci_tags *t,
              struct bk_err *err);
/* The same by a whole JSON parser, which the other leaves what is unusual to. */
int oci_names_parsed(const char *body, size_t len, const char *field, struct bk_oci_tags *t,
                     struct bk_err *err);

/* --- referrers ------------------------------------------------------------------------------- */

enum oci_known { OCI_UNKNOWN, OCI_PRESENT, OCI_LOST };
/* What is known of a blob: pushed or seen, or lost although the registry had said that it has it, so that
 * a mount is not believed again. `now` (unless OCI_UNKNOWN) replaces that. */
enum oci_known oci_blob_known(struct oci_host *h, const char *repository, const char *digest,
                              enum oci_known now);
/* Manifests that this client has pushed: a 404 for one is lag of the registry, not absence. */
void oci_fresh_add(struct oci_host *h, const struct bk_oci_ref *r, const char *digest);
bool oci_fresh_has(struct oci_host *h, const struct bk_oci_ref *r);
void oci_fresh_forget(struct oci_host *h, const char *repository);

/* A tag is deleted: what we had listed under it is so no longer. */
void oci_listed_forget(struct oci_host *h, const char *repository, const char *tag);

char *oci_subject(const struct bk_buf *raw); /* the subject's digest or NULL, caller frees */
/* After a manifest with a subject was pushed or deleted: keeps the fallback tag right where the
 * registry has no referrers API. */
int oci_referrer_added(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                       const char *media_type, const char *digest, const struct bk_oci_op *op,
                       struct bk_err *err);
int oci_referrer_removed(struct bk_oci *c, const struct bk_oci_ref *r, const char *subject,
                         const struct bk_oci_op *op, struct bk_err *err);

/* --- the calls of client.h, at one place each ------------------------------------------------- */

int oci_manifest_get(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                     const struct bk_oci_op *op, struct bk_err *err);
int oci_manifest_head(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                      const struct bk_oci_op *op, struct bk_err *err);
int oci_manifest_put(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                     const char *media_type, char **digest, const struct bk_oci_op *op,
                     struct bk_err *err);
int oci_blob_file(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                  const char *path, const struct bk_oci_op *op, struct bk_err *err);
int oci_blob_data(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                  struct bk_buf *out, const struct bk_oci_op *op, struct bk_err *err);
/* A blob to a function, in order and each byte once, also when the transfer had to begin anew or at
 * another mirror. That the digest is right is known only at the end. */
struct oci_sink {
  int (*write)(void *ctx, const void *p, size_t n, struct bk_err *err);
  void *ctx;
  int64_t *passed; /* bytes it has had */
};
int oci_blob_stream(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                    const struct oci_sink *sink, const struct bk_oci_op *op, struct bk_err *err);
/* The same from mirrors in order, then home. */
int oci_route_stream(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     const struct oci_sink *sink, const struct bk_oci_op *op, struct bk_err *err);
/* from's registry and repository are where the blob is; see bk_oci_blob_copy. */
int oci_blob_copy(struct bk_oci *c, const struct bk_oci_ref *to, const struct bk_oci_ref *from,
                  const struct bk_oci_desc *d, enum bk_oci_pushed *how, const struct bk_oci_op *op,
                  struct bk_err *err);
int oci_blob_delete(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                    const struct bk_oci_op *op, struct bk_err *err);
/* actions: what a token should allow besides, so that a push asks for one token only. */
int oci_blob_head(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                  const char *actions, int64_t *size, const struct bk_oci_op *op,
                  struct bk_err *err);
int oci_blob_push(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                  const struct bk_oci_source *src, enum bk_oci_pushed *how,
                  const struct bk_oci_op *op, struct bk_err *err);
int oci_tags(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_page *page,
             struct bk_oci_tags *out, const struct bk_oci_op *op, struct bk_err *err);
int oci_delete(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_op *op,
               struct bk_err *err);
int oci_referrers(struct bk_oci *c, const struct bk_oci_ref *r, const char *artifact_type,
                  struct bk_buf *out, const struct bk_oci_op *op, struct bk_err *err);

/* --- small things ---------------------------------------------------------------------------- */

struct oci_hash {
  struct bk_digest d;
  enum bk_digest_alg alg;
};
void oci_hash_start(struct oci_hash *h, const char *digest); /* of that digest's algorithm */
char *oci_hash_end(struct oci_hash *h); /* "sha256:…", caller frees; releases the state */
char *oci_digest_of(const char *like, const void *p, size_t n); /* like NULL = sha256 */

/* Strict JSON: one document, no duplicate keys. NULL with *err filled. */
json_t *oci_json(const char *text, size_t len, const char *what, struct bk_err *err);
/* The same for text that holds secrets: the message quotes nothing of it. */
json_t *oci_json_secret(const char *text, size_t len, const char *what, struct bk_err *err);
const char *oci_json_str(const json_t *obj, const char *key); /* NULL unless a string */
/* Decoded bytes (NUL-terminated) or NULL; padding may be missing, ends of lines may follow. */
char *oci_base64(const char *text, size_t len, size_t *out_len);
void oci_url_encode(struct bk_buf *b, const char *s); /* RFC 3986 unreserved characters stay */

#define OCI_MANIFEST_MAX (4u << 20)  /* unless the options say otherwise, */
#define OCI_MANIFEST_MOST (16u << 20) /* and then this */

#endif
