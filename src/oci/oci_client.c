#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "oci/oci_int.h"

time_t oci_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

bool oci_cancelled(const struct bk_oci_op *op) {
  return op && op->cancel && atomic_load(op->cancel);
}

void oci_warn(struct bk_oci *c, const char *fmt, ...) {
  char text[600];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (n <= 0) return;
  size_t len = strlen(text);
  pthread_mutex_lock(&c->lock);
  if (c->warned.live < 1000 && c->nwarnings < BK_ARRAY_LEN(c->warnings) &&
      !bk_map_has(&c->warned, text, len)) {
    bk_map_set(&c->warned, text, len, NULL);
    c->warnings[c->nwarnings++] = bk_strdup(text);
  }
  pthread_mutex_unlock(&c->lock);
}

char *bk_oci_warning(struct bk_oci *c) {
  pthread_mutex_lock(&c->lock);
  char *text = c->nwarnings ? c->warnings[0] : NULL;
  if (text) memmove(c->warnings, c->warnings + 1, --c->nwarnings * sizeof *c->warnings);
  pthread_mutex_unlock(&c->lock);
  return text;
}

/* --- construction ---------------------------------------------------------------------------- */

static char *keep(struct bk_oci *c, const char *s) {
  return s && *s ? bk_arena_strndup(&c->strings, s, strlen(s)) : NULL;
}

static void read_env(struct bk_oci *c) {
  const struct {
    char **at;
    const char *name;
  } vars[] = {{&c->env.registries_conf, "CONTAINERS_REGISTRIES_CONF"},
              {&c->env.home, "HOME"},
              {&c->env.xdg_runtime, "XDG_RUNTIME_DIR"},
              {&c->env.xdg_config, "XDG_CONFIG_HOME"},
              {&c->env.docker_config, "DOCKER_CONFIG"},
              {&c->env.auth_file, "REGISTRY_AUTH_FILE"},
              {&c->env.docker_auth_config, "DOCKER_AUTH_CONFIG"},
              {&c->env.host, "BAKERY_REGISTRY_HOST"},
              {&c->env.username, "BAKERY_REGISTRY_USERNAME"},
              {&c->env.password, "BAKERY_REGISTRY_PASSWORD"},
              {&c->env.token, "BAKERY_REGISTRY_TOKEN"}};
  for (size_t i = 0; i < BK_ARRAY_LEN(vars); i++) *vars[i].at = keep(c, getenv(vars[i].name));
  if (!c->env.host && (c->env.username || c->env.token))
    oci_warn(c, "BAKERY_REGISTRY_USERNAME and _TOKEN are ignored without BAKERY_REGISTRY_HOST, "
                "which says who may get them");
}

/* A number from the environment, or def with a warning. */
static double number(struct bk_oci *c, const char *name, double def, double least, double most) {
  const char *text = getenv(name);
  if (!text || !*text) return def;
  char *end;
  double v = strtod(text, &end);
  if (*end == '\0' && isfinite(v) && v >= least && v <= most) return v;
  oci_warn(c, "%s=%.40s: expected a number from %g to %g; using %g", name, text, least, most, def);
  return def;
}

static void read_retry(struct bk_oci *c, int retries) {
  struct oci_retry *r = &c->retry;
  r->attempts = (int)number(c, "BAKERY_REGISTRY_RETRY_ATTEMPTS", 5, 1, 100);
  r->initial = number(c, "BAKERY_REGISTRY_RETRY_INITIAL_BACKOFF", 0.5, 0, 3600);
  r->max = number(c, "BAKERY_REGISTRY_RETRY_MAX_BACKOFF", 30, 0, 3600);
  r->multiplier = number(c, "BAKERY_REGISTRY_RETRY_MULTIPLIER", 2, 1, 100);
  r->deadline = 900;
  if (retries >= 0) r->attempts = retries + 1;
}

static size_t manifest_max(struct bk_oci *c, size_t given) {
  double def = number(c, "BAKERY_REGISTRY_MANIFEST_MAX", OCI_MANIFEST_MAX, 1024, OCI_MANIFEST_MOST);
  size_t n = given ? given : (size_t)def;
  return n < OCI_MANIFEST_MOST ? n : OCI_MANIFEST_MOST;
}

static void copy_options(struct bk_oci *c, const struct bk_oci_opts *o) {
  c->o = *o;
  c->o.ca_file = keep(c, o->ca_file);
  c->o.auth_file = keep(c, o->auth_file);
  c->o.user_agent = keep(c, o->user_agent);
  if (c->o.parallel <= 0) c->o.parallel = 8;
  c->o.manifest_max = manifest_max(c, o->manifest_max);
  struct bk_oci_login *l = bk_arena_alloc(&c->strings, (o->nlogins + 1) * sizeof *l);
  for (size_t i = 0; i < o->nlogins; i++)
    l[i] = (struct bk_oci_login){.host = keep(c, o->logins[i].host),
                                 .username = keep(c, o->logins[i].username),
                                 .password = keep(c, o->logins[i].password),
                                 .identity_token = keep(c, o->logins[i].identity_token),
                                 .registry_token = keep(c, o->logins[i].registry_token)};
  c->o.logins = l;
  struct bk_oci_mirror *m = bk_arena_alloc(&c->strings, (o->nmirrors + 1) * sizeof *m);
  for (size_t i = 0; i < o->nmirrors; i++)
    m[i] = (struct bk_oci_mirror){keep(c, o->mirrors[i].prefix), keep(c, o->mirrors[i].location)};
  c->o.mirrors = m;
  const char *conf = o->registries_conf;
  if (conf) c->o.registries_conf = bk_arena_strndup(&c->strings, conf, strlen(conf));
  size_t n = 0;
  while (o->plain_http && o->plain_http[n]) n++;
  const char **plain = bk_arena_alloc(&c->strings, (n + 1) * sizeof *plain);
  for (size_t i = 0; i < n; i++) plain[i] = keep(c, o->plain_http[i]);
  c->o.plain_http = plain;
}

struct bk_oci *bk_oci_new(const struct bk_oci_opts *o, struct bk_err *err) {
  for (size_t i = 0; i < o->nlogins; i++) {
    const struct bk_oci_login *l = &o->logins[i];
    if (l->host && !bk_oci_is_registry(l->host)) {
      bk_fail(err, BK_USAGE, "oci.option", "credentials for '%.80s': not a registry host", l->host);
      return NULL;
    }
  }
  struct bk_oci *c = bk_calloc(1, sizeof *c);
  atomic_init(&c->refs, 1);
  pthread_mutex_init(&c->lock, NULL);
  c->http = bk_http_new();
  copy_options(c, o);
  read_env(c);
  read_retry(c, o->retries);
  if (oci_rules_load(c, err) == 0) return c;
  bk_oci_drop(c);
  return NULL;
}

struct bk_oci *bk_oci_hold(struct bk_oci *c) {
  atomic_fetch_add(&c->refs, 1);
  return c;
}

void bk_oci_drop(struct bk_oci *c) {
  if (!c || atomic_fetch_sub(&c->refs, 1) > 1) return;
  bk_map_each(e, &c->hosts) oci_host_free(e->value);
  bk_map_free(&c->hosts);
  bk_map_free(&c->warned);
  oci_rules_free(&c->rules);
  for (size_t i = 0; i < c->nwarnings; i++) free(c->warnings[i]);
  bk_http_free(c->http);
  if (c->env.password) explicit_bzero(c->env.password, strlen(c->env.password));
  bk_arena_free(&c->strings);
  pthread_mutex_destroy(&c->lock);
  free(c);
}
