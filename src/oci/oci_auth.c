/* Basic and Bearer authentication with a token cache per host (registry.md 1.9). */
#include <stdio.h>
#include <string.h>

#include "base/base64.h"
#include "base/mem.h"
#include "oci/oci_int.h"

#define TOKEN_BODY_MAX 65536
#define HELPED_LIFE_S 1800 /* what helpers hand out is short-lived */
#define HELPED_REFUSED_S 60 /* refused when older than this: the helper is asked again */

void oci_try_free(struct oci_try *t) {
  if (t->header) explicit_bzero(t->header, strlen(t->header));
  free(t->header);
  free(t->scope);
}

static void set_header(struct oci_try *t, char *value) {
  free(t->header);
  t->header = value;
}

/* Credentials for a repository, looked up once per run; those of a helper again when they are older
 * than max_age seconds. Under h->lock. */
static int creds(struct bk_oci *c, struct oci_host *h, const char *repository, time_t max_age,
                 struct oci_cred **out, struct bk_err *err) {
  const char *key = repository ? repository : "";
  *out = bk_map_get(&h->creds, key, strlen(key));
  if (*out && (!(*out)->helped || oci_now() - (*out)->at <= max_age)) return 0;
  struct oci_cred found;
  if (oci_cred_find(c, h->registry, repository, &found, err)) {
    oci_cred_clear(&found);
    return -1;
  }
  if (*out) {
    oci_cred_clear(*out);
  } else {
    *out = bk_malloc(sizeof **out);
    bk_map_set(&h->creds, key, strlen(key), *out);
  }
  **out = found;
  return 0;
}

static char *basic(const struct oci_cred *cred) {
  cleanup_free char *plain =
      bk_asprintf("%s:%s", cred->username, cred->password ? cred->password : "");
  struct bk_buf b = {0};
  bk_buf_adds(&b, "Basic ");
  bk_base64(&b, plain, strlen(plain));
  explicit_bzero(plain, strlen(plain));
  return bk_buf_steal(&b);
}

/* --- token cache ----------------------------------------------------------------------------- */

static void token_free(struct oci_token *t) {
  explicit_bzero(t->text, strlen(t->text));
  free(t->account);
  free(t->scopes);
  free(t->text);
  free(t);
}

static const char *account_of(const struct oci_cred *cred) {
  return cred->username ? cred->username : cred->identity_token ? "<token>" : "";
}

/* A token for all of `scopes` with `need` seconds to live, or NULL; expired ones go. */
static const struct oci_token *token_find(struct oci_host *h, const char *account,
                                          const char *scopes, int need) {
  time_t now = oci_now();
  for (struct oci_token **p = &h->tokens; *p;) {
    struct oci_token *t = *p;
    if (t->expires <= now) {
      *p = t->next;
      token_free(t);
      continue;
    }
    time_t life = t->expires - t->got, left = t->expires - now;
    time_t reserve = life < 20 ? life / 2 : 10;
    if (need > life) need = (int)(life - life / 4); /* none lasts so long: a new one, then */
    if (need > reserve) reserve = need;
    if (left >= reserve && strcmp(t->account, account) == 0 && oci_scope_covers(t->scopes, scopes))
      return t;
    p = &t->next;
  }
  return NULL;
}

static void token_drop(struct oci_host *h, const char *header) {
  if (!header || strncmp(header, "Bearer ", 7) != 0) return;
  for (struct oci_token **p = &h->tokens; *p; p = &(*p)->next) {
    struct oci_token *t = *p;
    if (strcmp(t->text, header + 7) != 0) continue;
    *p = t->next;
    token_free(t);
    return;
  }
}

static void add_param(struct bk_buf *b, const char *name, const char *value) {
  if (!value || !*value) return;
  if (b->len) bk_buf_addc(b, '&');
  bk_buf_adds(b, name);
  bk_buf_addc(b, '=');
  oci_url_encode(b, value);
}

/* One parameter per scope, the most needed first: some servers read only that one. */
static void add_scopes(struct bk_buf *b, const char *scopes) {
  for (const char *p = scopes + strspn(scopes, " "); *p; p += strspn(p, " ")) {
    size_t n = strcspn(p, " ");
    cleanup_free char *one = bk_strndup(p, n);
    add_param(b, "scope", one);
    p += n;
  }
}

/* --- token service --------------------------------------------------------------------------- */

static int check_realm(struct oci_host *h, const struct bk_http_url *u, struct bk_err *err) {
  bool safe_registry = strncmp(h->base, "https:", 6) == 0;
  const char *host = strstr(h->base, "://") + 3;
  if (safe_registry && strcmp(u->scheme, "https") != 0)
    return bk_fail(err, BK_INFRA, "oci.realm", "%s wants tokens from %s://%s: plain http refused",
                   h->registry, u->scheme, u->host);
  if (bk_http_is_private(u->host) && !bk_http_is_private(host))
    return bk_fail(err, BK_INFRA, "oci.realm", "%s wants tokens from private address %s: refused",
                   h->registry, u->host);
  return 0;
}

time_t oci_token_age(const char *text, time_t life, time_t now) {
  struct tm tm = {0};
  const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
  if (!end) return 0;
  if (*end == '.') end += 1 + strspn(end + 1, "0123456789");
  int hours = 0, minutes = 0;
  if (strcmp(end, "Z") != 0 && sscanf(end, "%3d:%2d", &hours, &minutes) != 2) return 0;
  time_t issued = timegm(&tm) - hours * 3600 - (*end == '-' ? -minutes : minutes) * 60;
  time_t age = now - issued;
  return age > 0 && age < life - 20 ? age : 0;
}

static int parse_token(struct oci_host *h, const struct bk_http_res *res, const char *account,
                       const char *scopes, struct bk_err *err) {
  json_t *doc =
      oci_json_secret(res->body.p ? res->body.p : "", res->body.len, "token service answer", err);
  if (!doc) return -1;
  const char *text = oci_json_str(doc, "access_token");
  if (!text || !*text) text = oci_json_str(doc, "token");
  json_int_t life = json_integer_value(json_object_get(doc, "expires_in"));
  int rc = 0;
  if (!text || !*text || strpbrk(text, "\r\n")) {
    rc = bk_fail(err, BK_INFRA, "oci.token", "token service answer holds no token");
  } else {
    struct oci_token *t = bk_calloc(1, sizeof *t);
    t->account = bk_strdup(account);
    t->scopes = bk_strdup(scopes);
    t->text = bk_strdup(text);
    t->got = oci_now();
    life = life < 60 ? 60 : life > 86400 ? 86400 : life;
    t->expires = t->got + (time_t)life -
                 oci_token_age(oci_json_str(doc, "issued_at"), (time_t)life, time(NULL));
    t->next = h->tokens;
    h->tokens = t;
  }
  json_decref(doc);
  return rc;
}

struct ask {
  struct bk_oci *c;
  struct oci_host *h;
  struct bk_http_url realm;
  const struct oci_cred *cred;
  const char *scopes;
  const struct bk_oci_op *op;
};

static void base_request(const struct ask *a, struct bk_http_req *q) {
  *q = (struct bk_http_req){.max_body = TOKEN_BODY_MAX, .timeout_ms = 60000};
  oci_host_request(a->c, a->h, a->op, q);
}

/* OAuth2 form: needed for identity tokens. */
static int post_token(const struct ask *a, struct bk_http_res *res, struct bk_err *err) {
  cleanup_buf struct bk_buf form = {0};
  add_param(&form, "grant_type", "refresh_token");
  add_param(&form, "refresh_token", a->cred->identity_token);
  add_param(&form, "service", a->h->service);
  add_param(&form, "client_id", "bakery");
  add_param(&form, "scope", a->scopes);
  const char *headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
  struct bk_http_req q;
  base_request(a, &q);
  q.method = "POST";
  q.url = a->realm.text;
  q.headers = headers;
  q.body = bk_buf_str(&form);
  q.body_len = form.len;
  int rc = bk_http_perform(a->c->http, &q, res, err);
  explicit_bzero(form.p, form.len);
  return rc;
}

static int get_token(const struct ask *a, bool anonymous, struct bk_http_res *res,
                     struct bk_err *err) {
  cleanup_buf struct bk_buf url = {0}, query = {0};
  const char *user = anonymous ? NULL : a->cred->username;
  add_param(&query, "service", a->h->service);
  add_scopes(&query, a->scopes);
  add_param(&query, "client_id", "bakery");
  add_param(&query, "account", user);
  bk_buf_addf(&url, "%s%c%s", a->realm.text, a->realm.query ? '&' : '?', bk_buf_str(&query));
  struct bk_http_req q;
  base_request(a, &q);
  q.url = bk_buf_str(&url);
  q.follow = user ? 0 : 3;
  q.user = user;
  q.password = user ? a->cred->password : NULL;
  return bk_http_perform(a->c->http, &q, res, err);
}

/* 1 = a token is in the cache, 0 = refused (res tells), -1 error. */
static int request_token(const struct ask *a, bool anonymous, struct bk_http_res *res,
                         struct bk_err *err) {
  bool post = a->cred->identity_token && !anonymous;
  time_t since = oci_now();
  for (int attempt = 1;; attempt++) {
    int rc = post ? post_token(a, res, err) : get_token(a, anonymous, res, err);
    if (rc == 0 && res->status == 200)
      return parse_token(a->h, res, anonymous ? "" : account_of(a->cred), a->scopes, err) ? -1 : 1;
    if (rc == 0 && !bk_http_status_retryable(res->status)) return 0;
    if (rc && !err->retryable) return -1;
    if (rc == 0) oci_status_error(res, err, "token for %s", a->h->registry);
    if (oci_backoff(a->c, attempt, since, rc ? NULL : res, a->op, err)) return -1;
    bk_http_res_free(res);
  }
}

static int fetch(struct ask *a, struct oci_try *t, struct bk_err *err) {
  struct bk_http_res res = {0};
  bool anonymous = t->anonymous || oci_cred_empty(a->cred);
  int rc = request_token(a, anonymous, &res, err);
  if (rc == 0 && !anonymous && !t->strict && !strstr(a->scopes, "push") && !strstr(a->scopes, "delete")) {
    bk_http_res_free(&res);
    rc = request_token(a, t->anonymous = true, &res, err);
    if (rc > 0)
      oci_warn(a->c, "%s: the credentials from %s were refused; pulling anonymously",
               a->h->registry, a->cred->source);
  }
  if (rc == 0) rc = oci_status_error(&res, err, "log in to %s", a->h->registry);
  bk_http_res_free(&res);
  return rc < 0 ? -1 : 0;
}

/* Bearer header from the cache or the token service. Under h->lock. */
static int bearer(struct bk_oci *c, struct oci_host *h, const struct oci_cred *cred, int need,
                  struct oci_try *t, const struct bk_oci_op *op, struct bk_err *err) {
  const char *scopes = t->scope ? t->scope : "";
  if (cred->registry_token) {
    set_header(t, bk_asprintf("Bearer %s", cred->registry_token));
    return 0;
  }
  const char *account = t->anonymous ? "" : account_of(cred);
  const struct oci_token *tok = token_find(h, account, scopes, need);
  if (!tok) {
    struct ask a = {.c = c, .h = h, .cred = cred, .scopes = scopes, .op = op};
    cleanup_free char *root = bk_asprintf("%s/v2/", h->base);
    if (bk_http_url_parse(&a.realm, root, h->realm, err)) return -1;
    int rc = check_realm(h, &a.realm, err);
    if (rc == 0) rc = fetch(&a, t, err);
    bk_http_url_free(&a.realm);
    if (rc) return -1;
    account = t->anonymous ? "" : account_of(cred);
    tok = token_find(h, account, scopes, 0);
  }
  if (!tok)
    return bk_fail(err, BK_INFRA, "oci.token", "%s: token is expired on arrival", h->registry);
  set_header(t, bk_asprintf("Bearer %s", tok->text));
  return 0;
}

static bool is_refusal(const struct bk_err *err) {
  return strcmp(err->code, "oci.unauthorized") == 0 || strcmp(err->code, "oci.denied") == 0 ||
         strcmp(err->code, "oci.not_found") == 0 || strcmp(err->code, "http.400") == 0;
}

int oci_auth_prepare(struct bk_oci *c, struct oci_host *h, const char *repository, int need,
                     struct oci_try *t, const struct bk_oci_op *op, struct bk_err *err) {
  pthread_mutex_lock(&h->lock);
  struct oci_cred *cred = NULL;
  int rc = 0;
  set_header(t, NULL);
  if (h->auth == OCI_AUTH_BASIC || h->auth == OCI_AUTH_BEARER)
    rc = creds(c, h, repository, HELPED_LIFE_S, &cred, err);
  if (rc == 0 && h->auth == OCI_AUTH_BASIC && cred->username && !t->anonymous)
    set_header(t, basic(cred));
  if (rc == 0 && h->auth == OCI_AUTH_BEARER) {
    rc = bearer(c, h, cred, need, t, op, err);
    /* Some registries have a token service per repository: this one's is not known yet. */
    if (rc && t->rounds == 0 && is_refusal(err) && strcmp(h->realm_of, repository ? repository : ""))
      rc = 0, t->anonymous = false;
  }
  pthread_mutex_unlock(&h->lock);
  return rc;
}

/* The best challenge we can meet, or NULL. */
static struct oci_challenge *choose(struct oci_challenge *list, size_t n) {
  struct oci_challenge *best = NULL;
  for (size_t i = 0; i < n; i++) {
    if (strcmp(list[i].scheme, "bearer") == 0 && list[i].realm) return &list[i];
    if (strcmp(list[i].scheme, "basic") == 0 && !best) best = &list[i];
  }
  return best;
}

/* True when it is another service than before. */
static bool learn_bearer(struct oci_host *h, const char *repository, struct oci_challenge *ch) {
  free(h->realm_of);
  h->realm_of = bk_strdup(repository ? repository : "");
  if (h->auth == OCI_AUTH_BEARER && strcmp(h->realm, ch->realm) == 0 &&
      strcmp(h->service ? h->service : "", ch->service ? ch->service : "") == 0)
    return false;
  free(h->realm);
  free(h->service);
  h->realm = bk_steal_ptr(&ch->realm);
  h->service = bk_steal_ptr(&ch->service);
  h->auth = OCI_AUTH_BEARER;
  return true;
}

static int answer(struct bk_oci *c, struct oci_host *h, const char *repository,
                  struct oci_challenge *ch, struct oci_try *t, struct bk_err *err) {
  struct oci_cred *cred;
  if (creds(c, h, repository, t->header ? HELPED_REFUSED_S : HELPED_LIFE_S, &cred, err)) return -1;
  if (strcmp(ch->scheme, "basic") == 0) {
    h->auth = OCI_AUTH_BASIC;
    if (!cred->username) return 0;
    if (!t->header) return 1;
    if (t->anonymous) return 0;
    cleanup_free char *now = basic(cred);
    bool renewed = strcmp(now, t->header) != 0;
    explicit_bzero(now, strlen(now));
    if (renewed) return 1;
    if (t->strict) return 0;
    bool reads = !t->scope || (!strstr(t->scope, "push") && !strstr(t->scope, "delete"));
    t->anonymous = true; /* refused: maybe reading needs none */
    return reads;
  }
  token_drop(h, t->header);
  if (learn_bearer(h, repository, ch)) t->anonymous = false;
  if (ch->scope && *ch->scope && strlen(ch->scope) < 4096 &&
      !oci_scope_covers(t->scope ? t->scope : "", ch->scope)) {
    char *merged = bk_asprintf("%s%s%s", ch->scope, t->scope ? " " : "", t->scope ? t->scope : "");
    free(t->scope);
    t->scope = merged;
  }
  return !cred->registry_token || !t->header;
}

int oci_auth_challenged(struct bk_oci *c, struct oci_host *h, const char *repository,
                        const struct bk_http_res *res, struct oci_try *t,
                        const struct bk_oci_op *op, struct bk_err *err) {
  (void)op;
  struct oci_challenge list[8];
  size_t n = 0;
  const char *v;
  if (t->rounds++ >= 2) return 0;
  for (size_t i = 0; (v = bk_http_header_nth(res, "www-authenticate", i)); i++)
    n = oci_challenges_parse(v, list, n, BK_ARRAY_LEN(list));
  struct oci_challenge *ch = choose(list, n);
  int rc = 0;
  if (ch && (res->status == 401 || (ch->error && strcmp(ch->error, "insufficient_scope") == 0))) {
    pthread_mutex_lock(&h->lock);
    rc = answer(c, h, repository, ch, t, err);
    pthread_mutex_unlock(&h->lock);
  }
  oci_challenges_free(list, n);
  return rc;
}
