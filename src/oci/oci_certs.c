/* certs.d directories of docker and podman: more CAs and client certificates per registry
 * (registry.md 1.10). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/mem.h"
#include "oci/oci_int.h"

static bool ends_with(const char *name, const char *suffix) {
  size_t n = strlen(name), k = strlen(suffix);
  return n > k && strcmp(name + n - k, suffix) == 0;
}

/* X.cert needs X.key, and the other way round. */
static int take_pair(struct oci_host *h, const char *dir, const char *name, struct bk_err *err) {
  bool is_key = ends_with(name, ".key");
  size_t stem = strlen(name) - (is_key ? 4 : 5);
  char *cert = bk_asprintf("%s/%.*s.cert", dir, (int)stem, name);
  char *key = bk_asprintf("%s/%.*s.key", dir, (int)stem, name);
  const char *partner = is_key ? cert : key;
  if (access(partner, R_OK)) {
    bk_fail_errno(err, errno, "%s/%s needs its partner '%s'", dir, name, partner);
    free(cert);
    free(key);
    return -1;
  }
  free(h->cert_file);
  free(h->key_file);
  h->cert_file = cert;
  h->key_file = key;
  return 0;
}

static int take_entry(struct oci_host *h, DIR *d, const char *dir, const char *name,
                      struct bk_buf *cas, struct bk_err *err) {
  if (ends_with(name, ".crt")) {
    if (bk_read_file(dirfd(d), name, cas, err)) return bk_err_wrap(err, "%s", dir);
    bk_buf_addc(cas, '\n');
    return 0;
  }
  return ends_with(name, ".cert") || ends_with(name, ".key") ? take_pair(h, dir, name, err) : 0;
}

/* 1 there and read, 0 not there, -1 error. */
static int read_dir(struct oci_host *h, const char *dir, struct bk_err *err) {
  cleanup_dir DIR *d = opendir(dir);
  if (!d) return errno == ENOENT || errno == ENOTDIR || errno == EACCES
                     ? 0
                     : bk_fail_errno(err, errno, "open '%s'", dir);
  cleanup_buf struct bk_buf cas = {.max = 4 << 20};
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] != '.' && take_entry(h, d, dir, e->d_name, &cas, err)) return -1;
  free(h->ca_pem);
  h->ca_pem = cas.len ? bk_buf_steal(&cas) : NULL;
  return 1;
}

int oci_certs_load(struct bk_oci *c, struct oci_host *h, struct bk_err *err) {
  const struct {
    const char *dir, *rest;
  } places[] = {{c->env.xdg_config, "/containers/certs.d"},
                {c->env.xdg_config ? NULL : c->env.home, "/.config/containers/certs.d"},
                {"/etc", "/containers/certs.d"},
                {"/etc", "/docker/certs.d"}};
  for (size_t i = 0; i < BK_ARRAY_LEN(places); i++) {
    if (!places[i].dir) continue;
    cleanup_free char *dir = bk_asprintf("%s%s/%s", places[i].dir, places[i].rest, h->registry);
    int rc = read_dir(h, dir, err);
    if (rc) return rc < 0 ? (err->cls = BK_USAGE, -1) : 0;
  }
  return 0;
}
