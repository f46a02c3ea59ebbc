/* Credential files of docker and podman (registry.md 1.9). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "oci/oci_int.h"

void oci_cred_clear(struct oci_cred *c) {
  free(c->username);
  if (c->password) explicit_bzero(c->password, strlen(c->password));
  free(c->password);
  free(c->identity_token);
  free(c->registry_token);
  free(c->source);
  *c = (struct oci_cred){0};
}

bool oci_cred_empty(const struct oci_cred *c) {
  return !c->username && !c->identity_token && !c->registry_token;
}

bool oci_is_hub(const char *host) {
  return strcmp(host, "docker.io") == 0 || strcmp(host, "index.docker.io") == 0 ||
         strcmp(host, "registry-1.docker.io") == 0;
}

size_t oci_cred_key_fits(const char *key, const char *registry, const char *repository) {
  const char *k = strncmp(key, "https://", 8) == 0 ? key + 8
                  : strncmp(key, "http://", 7) == 0 ? key + 7
                                                    : key;
  size_t host = strcspn(k, "/");
  char name[300];
  snprintf(name, sizeof name, "%.*s", (int)host, k);
  if (strcasecmp(name, registry) != 0 && !(oci_is_hub(name) && oci_is_hub(registry))) return 0;
  const char *path = k + host;
  while (*path == '/') path++;
  /* docker's keys may end in an API version: that is no repository prefix. */
  size_t n = strlen(path);
  while (n && path[n - 1] == '/') n--;
  if (n == 0 || k != key || (n == 2 && path[0] == 'v' && (path[1] == '1' || path[1] == '2')))
    return 1;
  if (!repository || strncmp(repository, path, n) != 0) return 0;
  return repository[n] == '\0' || repository[n] == '/' ? n + 1 : 0;
}

static char *dup_or_null(const char *s) { return s && *s ? bk_strdup(s) : NULL; }

static int read_entry(const json_t *e, const char *key, struct oci_cred *out, struct bk_err *err) {
  out->username = dup_or_null(oci_json_str(e, "username"));
  out->password = dup_or_null(oci_json_str(e, "password"));
  out->identity_token = dup_or_null(oci_json_str(e, "identitytoken"));
  out->registry_token = dup_or_null(oci_json_str(e, "registrytoken"));
  const char *auth = oci_json_str(e, "auth");
  if (auth && *auth) {
    size_t n;
    cleanup_free char *text = oci_base64(auth, strlen(auth), &n);
    char *colon = text ? memchr(text, ':', n) : NULL;
    if (!colon)
      return bk_fail(err, BK_USAGE, "oci.auth_file",
                     "auths[\"%s\"].auth is not base64 of user:password", key);
    free(out->username);
    free(out->password);
    out->username = bk_strndup(text, (size_t)(colon - text));
    out->password = bk_strdup(colon + 1); /* ends at a trailing NUL */
  }
  if (out->username && strcmp(out->username, "<token>") == 0 && !out->identity_token) {
    out->identity_token = bk_steal_ptr(&out->password);
    free(bk_steal_ptr(&out->username));
  }
  return oci_cred_empty(out) ? 0 : 1;
}

/* Of keys that fit equally well, the one that is spelled like the registry: "docker.io" has other names. */
static bool better(const char *key, const char *registry, size_t n, size_t fit) {
  return n > fit || (n && n == fit && strcasecmp(key, registry) == 0);
}

const char *oci_cred_helper_for(const json_t *doc, const char *registry, const char *repository) {
  const char *best = NULL, *key;
  size_t fit = 0;
  json_t *v;
  json_object_foreach(json_object_get(doc, "credHelpers"), key, v) {
    size_t n = oci_cred_key_fits(key, registry, repository);
    if (json_is_string(v) && better(key, registry, n, fit)) fit = n, best = json_string_value(v);
  }
  if (!best) best = oci_json_str(doc, "credsStore");
  return best && *best ? best : NULL;
}

static int search(const json_t *doc, const char *registry, const char *repository,
                  struct oci_cred *out, char **helper, struct bk_err *err) {
  const char *h = oci_cred_helper_for(doc, registry, repository);
  *helper = h ? bk_strdup(h) : NULL;
  const json_t *auths = json_object_get(doc, "auths");
  if (!auths && !json_object_get(doc, "credHelpers") && !json_object_get(doc, "credsStore"))
    auths = doc; /* ~/.dockercfg */
  const char *key, *best = NULL;
  const json_t *entry = NULL;
  size_t fit = 0;
  json_t *v;
  json_object_foreach((json_t *)auths, key, v) {
    size_t n = oci_cred_key_fits(key, registry, repository);
    if (json_is_object(v) && better(key, registry, n, fit)) fit = n, best = key, entry = v;
  }
  return entry ? read_entry(entry, best, out, err) : 0;
}

int oci_cred_from_json(const char *text, size_t len, const char *registry, const char *repository,
                       struct oci_cred *out, char **helper, struct bk_err *err) {
  *helper = NULL;
  json_t *doc = oci_json_secret(text, len, "credentials", err);
  if (!doc) return err->cls = BK_USAGE, -1;
  int rc = search(doc, registry, repository, out, helper, err);
  json_decref(doc);
  return rc;
}

/* A store for all hosts that is not installed must not stop a pull: that is a warning. */
static int from_helper(struct bk_oci *c, const char *helper, const char *registry,
                       struct oci_cred *out) {
  struct oci_cred found = {0};
  struct bk_err err;
  int rc = oci_cred_helper(helper, oci_is_hub(registry) ? OCI_HUB_URL : registry, &found, NULL, &err);
  if (rc < 0) oci_warn(c, "%s", err.msg);
  if (rc <= 0) return 0;
  oci_cred_clear(out);
  *out = found;
  out->source = bk_asprintf("credential helper '%s'", helper);
  out->helped = true;
  out->at = oci_now();
  return 1;
}

/* A helper that is named comes before what the file itself holds. */
static int from_text(struct bk_oci *c, const char *text, size_t len, const char *name,
                     const char *registry, const char *repository, struct oci_cred *out,
                     struct bk_err *err) {
  char *helper;
  int rc = oci_cred_from_json(text, len, registry, repository, out, &helper, err);
  if (rc >= 0 && helper && from_helper(c, helper, registry, out)) rc = 1;
  free(helper);
  if (rc < 0) return bk_err_wrap(err, "%s", name);
  if (rc > 0 && !out->source) out->source = bk_strdup(name);
  if (rc == 0) oci_cred_clear(out);
  return rc;
}

static int from_file(struct bk_oci *c, const char *path, const char *registry,
                     const char *repository, bool must, struct oci_cred *out, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {.max = 16 << 20};
  if (bk_read_file(-100, path, &text, err)) {
    if (must || (strcmp(err->code, "ENOENT") != 0 && strcmp(err->code, "ENOTDIR") != 0))
      oci_warn(c, "credentials: %s", err->msg);
    return 0;
  }
  if (text.len == 0) return 0;
  return from_text(c, text.p, text.len, path, registry, repository, out, err);
}

static bool host_listed(const char *list, const char *registry) {
  size_t n = strlen(registry);
  for (const char *p = list; p && *p;) {
    p += strspn(p, ", ");
    size_t k = strcspn(p, ", ");
    if (k == n && strncasecmp(p, registry, n) == 0) return true;
    p += k;
  }
  return false;
}

static bool explicit(struct bk_oci *c, const char *registry, struct oci_cred *out) {
  for (size_t i = 0; i < c->o.nlogins; i++) {
    const struct bk_oci_login *l = &c->o.logins[i];
    if (l->host && strcasecmp(l->host, registry) != 0 && !(oci_is_hub(l->host) && oci_is_hub(registry)))
      continue;
    *out = (struct oci_cred){.username = dup_or_null(l->username),
                             .password = dup_or_null(l->password),
                             .identity_token = dup_or_null(l->identity_token),
                             .registry_token = dup_or_null(l->registry_token),
                             .source = bk_strdup("given credentials")};
    return true;
  }
  if (!host_listed(c->env.host, registry)) return false;
  *out = (struct oci_cred){.username = dup_or_null(c->env.username),
                           .password = dup_or_null(c->env.password),
                           .registry_token = dup_or_null(c->env.token),
                           .source = bk_strdup("BAKERY_REGISTRY_* variables")};
  return true;
}

static int from_files(struct bk_oci *c, const char *registry, const char *repository,
                      struct oci_cred *out, struct bk_err *err) {
  const struct oci_env *e = &c->env;
  char own[40]; /* where podman keeps them for users without a runtime directory */
  snprintf(own, sizeof own, "/run/containers/%u", (unsigned)getuid());
  const struct {
    const char *dir, *rest;
  } files[] = {{e->auth_file, ""},
               {e->xdg_runtime, "/containers/auth.json"},
               {e->xdg_runtime ? NULL : own, "/auth.json"},
               {e->xdg_config, "/containers/auth.json"},
               {e->xdg_config ? NULL : e->home, "/.config/containers/auth.json"},
               {e->docker_config, "/config.json"},
               {e->docker_config ? NULL : e->home, "/.docker/config.json"},
               {e->home, "/.dockercfg"}};
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < BK_ARRAY_LEN(files); i++) {
    if (!files[i].dir) continue;
    cleanup_free char *path = bk_asprintf("%s%s", files[i].dir, files[i].rest);
    rc = from_file(c, path, registry, repository, i == 0, out, err);
  }
  return rc;
}

int oci_cred_find(struct bk_oci *c, const char *registry, const char *repository,
                  struct oci_cred *out, struct bk_err *err) {
  static const char *const files_only[] = {OCI_AUTH_FILES};
  *out = (struct oci_cred){0};
  if (c->o.anonymous || explicit(c, registry, out)) return 0;
  int rc = c->o.auth_file ? from_file(c, c->o.auth_file, registry, repository, true, out, err) : 0;
  const char *text = c->env.docker_auth_config;
  if (rc == 0 && text)
    rc = from_text(c, text, strlen(text), "DOCKER_AUTH_CONFIG", registry, repository, out, err);
  size_t n = c->rules.nhelpers;
  const char *const *helpers = n ? c->rules.helpers : files_only;
  for (size_t i = 0; rc == 0 && i < (n ? n : 1); i++)
    rc = strcmp(helpers[i], OCI_AUTH_FILES) == 0
             ? from_files(c, registry, repository, out, err)
             : from_helper(c, helpers[i], registry, out);
  return rc < 0 ? -1 : 0;
}

int bk_oci_account(struct bk_oci *c, const char *registry, const char *repository,
                   struct bk_oci_account *out, struct bk_err *err) {
  struct oci_cred found;
  *out = (struct bk_oci_account){0};
  int rc = oci_cred_find(c, registry, repository, &found, err);
  if (rc == 0 && !oci_cred_empty(&found)) {
    out->source = bk_steal_ptr(&found.source);
    out->username = bk_steal_ptr(&found.username);
  }
  oci_cred_clear(&found);
  return rc;
}

void bk_oci_account_free(struct bk_oci_account *a) {
  free(a->source);
  free(a->username);
  *a = (struct bk_oci_account){0};
}
