/* Saving, removing and listing credentials in docker's config.json and containers' auth.json, or with
 * the helper that such a file names (registry.md 1.9, "Writing"). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/base64.h"
#include "base/fs.h"
#include "base/mem.h"
#include "oci/oci_int.h"

struct login_file {
  char *path; /* symlinks followed */
  int lock;   /* its directory, locked */
  json_t *doc;
};

static void file_close(struct login_file *f) {
  json_decref(f->doc);
  if (f->lock >= 0) close(f->lock);
  free(f->path);
}

static char *usual_path(const struct bk_oci *c) {
  const struct oci_env *e = &c->env;
  if (c->o.auth_file) return bk_strdup(c->o.auth_file);
  if (e->auth_file) return bk_strdup(e->auth_file);
  if (e->docker_config) return bk_asprintf("%s/config.json", e->docker_config);
  return e->home ? bk_asprintf("%s/.docker/config.json", e->home) : NULL;
}

static char *dir_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return bk_strdup(".");
  return slash == path ? bk_strdup("/") : bk_strndup(path, (size_t)(slash - path));
}

static int read_doc(struct login_file *f, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {.max = 16 << 20};
  int rc = bk_read_file(-100, f->path, &text, err);
  if (rc && strcmp(err->code, "ENOENT") != 0 && strcmp(err->code, "ENOTDIR") != 0) return -1;
  if (rc || text.len == 0) return f->doc = json_object(), 0;
  f->doc = oci_json_secret(text.p, text.len, f->path, err);
  explicit_bzero(text.p, text.len);
  if (!f->doc) return err->cls = BK_USAGE, -1;
  if (json_is_object(f->doc)) return 0;
  return bk_fail(err, BK_USAGE, "oci.auth_file", "%s: not a JSON object", f->path);
}

/* Opens and locks; with `make` the directory is created. */
static int file_open(struct bk_oci *c, const char *path, bool make, struct login_file *f,
                     struct bk_err *err) {
  *f = (struct login_file){.lock = -1};
  cleanup_free char *usual = path ? bk_strdup(path) : usual_path(c);
  if (!usual)
    return bk_fail(err, BK_USAGE, "oci.auth_file", "no file for credentials: HOME is not set");
  char real[PATH_MAX];
  f->path = bk_strdup(realpath(usual, real) ? real : usual);
  cleanup_free char *dir = dir_of(f->path);
  if (make && bk_mkdirs(-100, dir, 0700, err)) return -1;
  f->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (f->lock < 0 && (make || errno != ENOENT)) return bk_fail_errno(err, errno, "open '%s'", dir);
  while (f->lock >= 0 && flock(f->lock, LOCK_EX))
    if (errno != EINTR) return bk_fail_errno(err, errno, "lock '%s'", dir);
  return read_doc(f, err);
}

static int file_store(struct login_file *f, struct bk_err *err) {
  char *text = json_dumps(f->doc, JSON_INDENT(8) | JSON_PRESERVE_ORDER);
  if (!text) return bk_fail(err, BK_BUILD, "oci.auth_file", "%s: cannot be written", f->path);
  int rc = bk_write_file(-100, f->path, text, strlen(text), 0600, true, err);
  explicit_bzero(text, strlen(text));
  free(text);
  return rc;
}

/* --- keys ------------------------------------------------------------------------------------ */

static bool keeps_names(const char *path) { /* only containers' auth.json has keys with a path */
  const char *slash = strrchr(path, '/');
  return strcmp(slash ? slash + 1 : path, "config.json") != 0;
}

/* Registry and repository of "host[/name]". */
static int split_key(const char *key, const char *path, char **host, const char **name,
                     struct bk_err *err) {
  const char *slash = key ? strchr(key, '/') : NULL;
  *host = bk_strndup(key ? key : "", slash ? (size_t)(slash - key) : strlen(key ? key : ""));
  *name = slash ? slash + 1 : NULL;
  if (!bk_oci_is_registry(*host) || (slash && !bk_oci_is_repository(*name)))
    return bk_fail(err, BK_USAGE, "oci.login", "'%.100s': expected a registry host", key ? key : "");
  if (slash && path && !keeps_names(path))
    return bk_fail(err, BK_USAGE, "oci.login",
                   "%s keeps credentials per registry: give '%s', or a containers auth file", path,
                   *host);
  return 0;
}

static const char *server_of(const char *host) { return oci_is_hub(host) ? OCI_HUB_URL : host; }

/* The name of an entry: what this file's other users call the registry. */
static char *entry_name(const struct login_file *f, const char *host, const char *name) {
  if (name) return bk_asprintf("%s/%s", host, name);
  return bk_strdup(oci_is_hub(host) ? keeps_names(f->path) ? "docker.io" : OCI_HUB_URL : host);
}

/* Removes every entry for exactly this registry or repository; how many there were. */
static int remove_entries(struct login_file *f, const char *host, const char *name) {
  json_t *auths = json_object_get(f->doc, "auths"), *v;
  const char *key;
  void *tmp;
  int n = 0;
  size_t exact = name ? strlen(name) + 1 : 1;
  json_object_foreach_safe(auths, tmp, key, v) {
    if (oci_cred_key_fits(key, host, name) != exact) continue;
    json_object_del(auths, key);
    n++;
  }
  return n;
}

/* --- save ------------------------------------------------------------------------------------ */

static int with_helper(const char *helper, const struct bk_oci_login *l, const char *host,
                       struct bk_err *err) {
  const char *user = l->identity_token ? "<token>" : l->username;
  const char *secret = l->identity_token ? l->identity_token : l->password;
  json_t *doc = json_pack("{s:s, s:s, s:s}", "ServerURL", server_of(host), "Username", user, "Secret",
                          secret);
  char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
  json_decref(doc);
  if (!text)
    return bk_fail(err, BK_USAGE, "oci.login", "user name or password is not UTF-8 text");
  cleanup_buf struct bk_buf answer = {0};
  int rc = oci_helper_run(helper, "store", text, &answer, NULL, err);
  explicit_bzero(text, strlen(text));
  free(text);
  if (answer.p) explicit_bzero(answer.p, answer.len);
  return rc < 0 ? -1 : 0;
}

static int in_file(struct login_file *f, const struct bk_oci_login *l, const char *host,
                   const char *name, struct bk_err *err) {
  cleanup_free char *key = entry_name(f, host, name);
  json_t *auths = json_object_get(f->doc, "auths"), *entry = json_object();
  if (!json_is_object(auths)) json_object_set_new(f->doc, "auths", auths = json_object());
  remove_entries(f, host, name);
  cleanup_buf struct bk_buf auth = {0};
  /* Without a name, the one that ACR documents for tokens: docker wants some. */
  const char *user = l->username ? l->username : "00000000-0000-0000-0000-000000000000";
  cleanup_free char *pair = bk_asprintf("%s:%s", user, l->password ? l->password : "");
  bk_base64(&auth, pair, strlen(pair));
  explicit_bzero(pair, strlen(pair));
  int rc = json_object_set_new(entry, "auth", json_string(bk_buf_str(&auth)));
  explicit_bzero(auth.p, auth.len);
  if (l->identity_token)
    rc |= json_object_set_new(entry, "identitytoken", json_string(l->identity_token));
  rc |= json_object_set_new(auths, key, entry);
  return rc ? bk_fail(err, BK_USAGE, "oci.login", "the token is not UTF-8 text") : 0;
}

int bk_oci_login_save(struct bk_oci *c, const char *file, const struct bk_oci_login *l, char **where,
                      struct bk_err *err) {
  struct login_file f;
  *where = NULL;
  cleanup_free char *host = NULL;
  const char *name;
  if (!l->identity_token && (!l->username || !*l->username || strchr(l->username, ':')))
    return bk_fail(err, BK_USAGE, "oci.login", "expected a user name without ':'");
  if (!l->identity_token && (!l->password || !*l->password))
    return bk_fail(err, BK_USAGE, "oci.login", "the password is empty");
  int rc = file_open(c, file, true, &f, err);
  if (rc == 0) rc = split_key(l->host, f.path, &host, &name, err);
  const char *helper = rc == 0 ? oci_cred_helper_for(f.doc, host, name) : NULL;
  if (rc == 0 && helper) {
    rc = with_helper(helper, l, host, err);
    if (rc == 0) *where = bk_asprintf("credential helper '%s'", helper);
    /* What the file still holds must not outlive what the helper has now. */
    if (rc == 0 && remove_entries(&f, host, name) > 0) rc = file_store(&f, err);
  } else if (rc == 0) {
    rc = in_file(&f, l, host, name, err);
    if (rc == 0) rc = file_store(&f, err);
    if (rc == 0) *where = bk_strdup(f.path);
  }
  file_close(&f);
  if (rc) free(bk_steal_ptr(where));
  return rc;
}

/* --- erase ----------------------------------------------------------------------------------- */

int bk_oci_login_erase(struct bk_oci *c, const char *file, const char *key, char **where,
                       struct bk_err *err) {
  struct login_file f;
  *where = NULL;
  cleanup_free char *host = NULL;
  const char *name;
  int found = 0, rc = file_open(c, file, false, &f, err);
  if (rc == 0) rc = split_key(key, NULL, &host, &name, err);
  const char *helper = rc == 0 ? oci_cred_helper_for(f.doc, host, name) : NULL;
  if (helper) {
    struct oci_cred cred = {0};
    cleanup_buf struct bk_buf answer = {0};
    rc = oci_cred_helper(helper, server_of(host), &cred, NULL, err); /* some fail to erase nothing */
    oci_cred_clear(&cred);
    if (rc > 0) rc = oci_helper_run(helper, "erase", server_of(host), &answer, NULL, err);
    if (rc > 0) found = 1, *where = bk_asprintf("credential helper '%s'", helper);
    if (rc > 0) rc = 0;
  }
  if (rc == 0 && remove_entries(&f, host, name) > 0) {
    rc = file_store(&f, err);
    found = 1;
    if (!*where) *where = bk_strdup(f.path);
  }
  file_close(&f);
  if (rc) free(bk_steal_ptr(where));
  return rc ? -1 : found;
}

/* --- list ------------------------------------------------------------------------------------ */

static void list_add(json_t *list, const char *registry, const char *user, const char *source) {
  size_t i;
  json_t *v;
  if (strcmp(registry, OCI_HUB_URL) == 0) registry = "docker.io";
  json_array_foreach(list, i, v) {
    const char *old = oci_json_str(v, "registry");
    if (old && strcmp(old, registry) == 0) return;
  }
  json_t *e = json_object();
  json_object_set_new(e, "registry", json_string(registry));
  if (user) json_object_set_new(e, "username", json_string(user));
  json_object_set_new(e, "source", json_string(source));
  json_array_append_new(list, e);
}

static void list_helper(struct bk_oci *c, json_t *list, const char *helper) {
  struct bk_err err;
  cleanup_buf struct bk_buf answer = {0};
  if (oci_helper_run(helper, "list", "", &answer, NULL, &err) < 0) {
    oci_warn(c, "%s", err.msg);
    return;
  }
  json_t *doc = oci_json_secret(bk_buf_str(&answer), answer.len, "credential helper", &err), *v;
  if (!doc) oci_warn(c, "credential helper '%s': %s", helper, err.msg);
  cleanup_free char *source = bk_asprintf("credential helper '%s'", helper);
  const char *key;
  json_object_foreach(doc, key, v) list_add(list, key, json_string_value(v), source);
  json_decref(doc);
}

static void list_file(json_t *list, const struct login_file *f) {
  const char *key;
  json_t *v;
  json_object_foreach(json_object_get(f->doc, "auths"), key, v) {
    const char *k = strncmp(key, "https://", 8) == 0 && strcmp(key, OCI_HUB_URL) != 0 ? key + 8 : key;
    const char *auth = oci_json_str(v, "auth"), *user = oci_json_str(v, "username");
    size_t n;
    char *pair = auth ? oci_base64(auth, strlen(auth), &n) : NULL;
    char *colon = pair ? memchr(pair, ':', n) : NULL;
    if (colon) *colon = '\0';
    if (colon || user || oci_json_str(v, "identitytoken"))
      list_add(list, k, colon && *pair ? pair : user, f->path);
    if (pair) explicit_bzero(pair, n);
    free(pair);
  }
}

int bk_oci_login_list(struct bk_oci *c, const char *file, struct bk_buf *out, struct bk_err *err) {
  struct login_file f;
  int rc = file_open(c, file, false, &f, err);
  json_t *list = json_array();
  if (rc == 0) {
    const char *key, *store = oci_json_str(f.doc, "credsStore");
    json_t *v;
    json_object_foreach(json_object_get(f.doc, "credHelpers"), key, v) {
      struct oci_cred cred = {0};
      struct bk_err ignored;
      if (json_is_string(v) && oci_cred_helper(json_string_value(v), server_of(key), &cred, NULL,
                                               &ignored) > 0) {
        cleanup_free char *source = bk_asprintf("credential helper '%s'", json_string_value(v));
        list_add(list, key, cred.username, source);
      }
      oci_cred_clear(&cred);
    }
    if (store && *store) list_helper(c, list, store);
    list_file(list, &f);
    char *text = json_dumps(list, JSON_COMPACT);
    bk_buf_adds(out, text ? text : "[]");
    free(text);
  }
  json_decref(list);
  file_close(&f);
  return rc;
}
