/* The calls of client.h: each is made at the mirrors first, then where the reference says, as the
 * rules of registries.conf have it. Writing goes to one place. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "oci/oci_int.h"

/* --- reading the rules ----------------------------------------------------------------------- */

static int load_file(struct bk_oci *c, const char *path, bool must, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {.max = 4 << 20};
  if (bk_read_file(-100, path, &text, err) == 0)
    return oci_rules_parse(&c->rules, &c->strings, bk_buf_str(&text), text.len, path, err);
  return must || (strcmp(err->code, "ENOENT") != 0 && strcmp(err->code, "ENOTDIR") != 0) ? -1 : 0;
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* *.conf of a directory, in order of their names. */
static int load_dir(struct bk_oci *c, const char *dir, struct bk_err *err) {
  cleanup_dir DIR *d = opendir(dir);
  char **names = NULL;
  size_t n = 0;
  for (struct dirent *e; d && (e = readdir(d));) {
    size_t len = strlen(e->d_name);
    if (len < 6 || strcmp(e->d_name + len - 5, ".conf") != 0) continue;
    names = bk_reallocarray(names, n + 1, sizeof *names);
    names[n++] = bk_asprintf("%s/%s", dir, e->d_name);
  }
  if (n) qsort(names, n, sizeof *names, by_name);
  int rc = 0;
  for (size_t i = 0; i < n; i++) {
    if (rc == 0) rc = load_file(c, names[i], false, err);
    free(names[i]);
  }
  free(names);
  return rc;
}

static int load_usual(struct bk_oci *c, struct bk_err *err) {
  cleanup_free char *base = c->env.xdg_config ? bk_asprintf("%s/containers", c->env.xdg_config)
                            : c->env.home     ? bk_asprintf("%s/.config/containers", c->env.home)
                                              : NULL;
  cleanup_free char *own = base ? bk_asprintf("%s/registries.conf", base) : NULL;
  cleanup_free char *own_dir = base ? bk_asprintf("%s/registries.conf.d", base) : NULL;
  bool mine = own && access(own, R_OK) == 0;
  if (load_file(c, mine ? own : "/etc/containers/registries.conf", false, err) ||
      load_dir(c, "/etc/containers/registries.conf.d", err))
    return -1;
  return own_dir ? load_dir(c, own_dir, err) : 0;
}

/* Mirrors of the options go in front of a rule's own. */
static void add_mirrors(struct bk_oci *c) {
  for (size_t i = c->o.nmirrors; i-- > 0;) {
    const struct bk_oci_mirror *m = &c->o.mirrors[i];
    struct oci_rule *r = NULL;
    for (size_t k = 0; k < c->rules.n && !r; k++)
      if (c->rules.list[k].prefix && strcmp(c->rules.list[k].prefix, m->prefix) == 0)
        r = &c->rules.list[k];
    if (!r) {
      c->rules.list = bk_reallocarray(c->rules.list, c->rules.n + 1, sizeof *c->rules.list);
      r = &c->rules.list[c->rules.n++];
      *r = (struct oci_rule){.prefix = m->prefix};
    }
    r->mirrors = bk_reallocarray(r->mirrors, r->nmirrors + 1, sizeof *r->mirrors);
    memmove(r->mirrors + 1, r->mirrors, r->nmirrors++ * sizeof *r->mirrors);
    r->mirrors[0] = (struct oci_mirror){.location = m->location};
  }
}

int oci_rules_load(struct bk_oci *c, struct bk_err *err) {
  const char *file = c->o.registries_conf ? c->o.registries_conf : c->env.registries_conf;
  int rc = file ? (*file ? load_file(c, file, true, err) : 0) : load_usual(c, err);
  if (rc) return err->cls = BK_USAGE, -1;
  add_mirrors(c);
  return 0;
}

/* --- routes ---------------------------------------------------------------------------------- */

/* Blobs are content-addressed: any mirror will do. */
static bool may_use(const struct oci_rule *rule, const struct oci_mirror *m,
                    const struct bk_oci_ref *r, enum oci_purpose purpose) {
  if (purpose != OCI_READ) return purpose == OCI_READ_BLOB;
  if (rule->by_digest && !r->digest) return false;
  return m->use == OCI_USE_ALL || (m->use == OCI_USE_DIGEST) == (r->digest != NULL);
}

/* The reference with the first `cut` bytes of its name replaced. */
static int add_place(struct oci_route *route, const char *name, size_t cut, const char *location,
                     struct bk_err *err) {
  cleanup_free char *text = bk_asprintf("%s%s", location, name + cut);
  struct bk_oci_ref *at = &route->at[route->n];
  if (bk_oci_ref_parse(at, text, strlen(text), err))
    return bk_err_wrap(err, "registries.conf: location '%.100s'", location);
  route->n++;
  return 0;
}

static int apply(const struct oci_rule *rule, const char *name, const struct bk_oci_ref *r,
                 enum oci_purpose purpose, struct oci_route *route, struct bk_err *err) {
  size_t cut = oci_prefix_fits(rule->prefix, name);
  route->owned = true;
  for (size_t i = 0; i < rule->nmirrors && route->n + 1 < OCI_ROUTE_MAX; i++)
    if (may_use(rule, &rule->mirrors[i], r, purpose) &&
        add_place(route, name, cut, rule->mirrors[i].location, err))
      return -1;
  cleanup_free char *same = bk_strndup(name, cut);
  return add_place(route, name, cut, rule->location ? rule->location : same, err);
}

int oci_route_make(struct bk_oci *c, const struct bk_oci_ref *r, enum oci_purpose purpose,
                   struct oci_route *route, struct bk_err *err) {
  *route = (struct oci_route){0};
  cleanup_free char *name = c->rules.n ? bk_oci_ref_text(r) : NULL;
  const struct oci_rule *rule = name ? oci_rule_for(&c->rules, name) : NULL;
  if (!rule) {
    route->at[0] = *r;
    route->n = 1;
    return 0;
  }
  if (rule->blocked)
    return bk_fail(err, BK_DENIED, "oci.blocked", "%s: registries.conf blocks %s", name,
                   rule->prefix);
  int rc = apply(rule, name, r, purpose, route, err);
  if (rc) oci_route_free(route);
  return rc;
}

void oci_route_free(struct oci_route *route) {
  for (size_t i = 0; route->owned && i < route->n; i++) bk_oci_ref_free(&route->at[i]);
  route->n = 0;
}

/* --- the calls ------------------------------------------------------------------------------- */

/* What a call is about, for the functions below. */
struct wanted {
  const struct bk_oci_desc *d;
  struct bk_oci_manifest *m;
  const char *path, *raw, *type;
  size_t len;
  struct bk_buf *out;
  char **digest;
  const struct bk_oci_source *src;
  enum bk_oci_pushed *how;
  int64_t *size;
  struct bk_oci_tags *tags;
  const struct bk_oci_page *page;
  const struct bk_oci_ref *from;
  const struct oci_sink *sink;
};
typedef int call_fn(struct bk_oci *c, const struct bk_oci_ref *r, const struct wanted *w,
                    const struct bk_oci_op *op, struct bk_err *err);

static int read_from(struct bk_oci *c, const struct bk_oci_ref *r, call_fn *fn,
                     const struct wanted *w, const struct bk_oci_op *op, struct bk_err *err) {
  struct oci_route route;
  if (oci_route_make(c, r, w->d ? OCI_READ_BLOB : OCI_READ, &route, err)) return -1;
  struct bk_oci_op once = op ? *op : (struct bk_oci_op){0};
  once.once = true; /* a mirror that fails is passed over */
  int rc = -1;
  for (size_t i = 0; i < route.n; i++) {
    bool last = i + 1 == route.n;
    once.ns = strcmp(route.at[i].registry, r->registry) ? r->registry : NULL;
    rc = fn(c, &route.at[i], w, last ? op : &once, err);
    if (rc == 0 || oci_cancelled(op)) break;
    if (!last && strcmp(err->code, "oci.not_found") != 0) oci_warn(c, "mirror: %s", err->msg);
  }
  oci_route_free(&route);
  return rc;
}

static int write_to(struct bk_oci *c, const struct bk_oci_ref *r, call_fn *fn,
                    const struct wanted *w, const struct bk_oci_op *op, struct bk_err *err) {
  struct oci_route route;
  if (oci_route_make(c, r, OCI_WRITE, &route, err)) return -1;
  int rc = fn(c, &route.at[0], w, op, err);
  oci_route_free(&route);
  return rc;
}

#define CALL(name, ...)                                                                       \
  static int do_##name(struct bk_oci *c, const struct bk_oci_ref *r, const struct wanted *w,  \
                       const struct bk_oci_op *op, struct bk_err *err) {                      \
    (void)w;                                                                                  \
    return oci_##name(c, r, __VA_ARGS__ op, err);                                             \
  }
CALL(manifest_get, w->m, )
CALL(manifest_head, w->m, )
CALL(manifest_put, w->raw, w->len, w->type, w->digest, )
CALL(blob_file, w->d, w->path, )
CALL(blob_data, w->d, w->out, )
CALL(blob_head, w->d->digest, "pull", w->size, )
CALL(blob_push, w->d, w->src, w->how, )
CALL(blob_copy, w->from, w->d, w->how, )
CALL(blob_delete, w->d->digest, )
CALL(blob_stream, w->d, w->sink, )
CALL(tags, w->page, w->tags, )
CALL(delete, )
CALL(referrers, w->type, w->out, )
#undef CALL

int bk_oci_manifest_get(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                        const struct bk_oci_op *op, struct bk_err *err) {
  return read_from(c, r, do_manifest_get, &(struct wanted){.m = m}, op, err);
}

int bk_oci_manifest_head(struct bk_oci *c, const struct bk_oci_ref *r, struct bk_oci_manifest *m,
                         const struct bk_oci_op *op, struct bk_err *err) {
  return read_from(c, r, do_manifest_head, &(struct wanted){.m = m}, op, err);
}

int bk_oci_manifest_put(struct bk_oci *c, const struct bk_oci_ref *r, const char *raw, size_t len,
                        const char *media_type, char **digest, const struct bk_oci_op *op,
                        struct bk_err *err) {
  const struct wanted w = {.raw = raw, .len = len, .type = media_type, .digest = digest};
  return write_to(c, r, do_manifest_put, &w, op, err);
}

int bk_oci_blob_file(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     const char *path, const struct bk_oci_op *op, struct bk_err *err) {
  return read_from(c, r, do_blob_file, &(struct wanted){.d = d, .path = path}, op, err);
}

int bk_oci_blob_data(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     struct bk_buf *out, const struct bk_oci_op *op, struct bk_err *err) {
  return read_from(c, r, do_blob_data, &(struct wanted){.d = d, .out = out}, op, err);
}

int bk_oci_blob_head(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                     int64_t *size, const struct bk_oci_op *op, struct bk_err *err) {
  const struct bk_oci_desc d = {.digest = (char *)digest};
  return write_to(c, r, do_blob_head, &(struct wanted){.d = &d, .size = size}, op, err);
}

int bk_oci_blob_push(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     const struct bk_oci_source *src, enum bk_oci_pushed *how,
                     const struct bk_oci_op *op, struct bk_err *err) {
  const struct wanted w = {.d = d, .src = src, .how = how};
  return write_to(c, r, do_blob_push, &w, op, err);
}

int bk_oci_blob_copy(struct bk_oci *c, const struct bk_oci_ref *to, const struct bk_oci_ref *from,
                     const struct bk_oci_desc *d, enum bk_oci_pushed *how,
                     const struct bk_oci_op *op, struct bk_err *err) {
  const struct wanted w = {.d = d, .from = from, .how = how};
  return write_to(c, to, do_blob_copy, &w, op, err);
}

int bk_oci_blob_delete(struct bk_oci *c, const struct bk_oci_ref *r, const char *digest,
                       const struct bk_oci_op *op, struct bk_err *err) {
  const struct bk_oci_desc d = {.digest = (char *)digest};
  return write_to(c, r, do_blob_delete, &(struct wanted){.d = &d}, op, err);
}

int oci_route_stream(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                     const struct oci_sink *sink, const struct bk_oci_op *op, struct bk_err *err) {
  return read_from(c, r, do_blob_stream, &(struct wanted){.d = d, .sink = sink}, op, err);
}

static int feed(void *ctx, const void *p, size_t n, struct bk_err *err) {
  struct bk_sink *to = ctx;
  return to->write(to, p, n, err);
}

int bk_oci_blob_stream(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_desc *d,
                       struct bk_sink *to, const struct bk_oci_op *op, struct bk_err *err) {
  int64_t passed = 0;
  const struct oci_sink sink = {.write = feed, .ctx = to, .passed = &passed};
  return to->restart(to, err) ? -1 : oci_route_stream(c, r, d, &sink, op, err);
}

int bk_oci_tags(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_page *page,
                struct bk_oci_tags *out, const struct bk_oci_op *op, struct bk_err *err) {
  return write_to(c, r, do_tags, &(struct wanted){.tags = out, .page = page}, op, err);
}

int bk_oci_delete(struct bk_oci *c, const struct bk_oci_ref *r, const struct bk_oci_op *op,
                  struct bk_err *err) {
  return write_to(c, r, do_delete, &(struct wanted){0}, op, err);
}

int bk_oci_referrers(struct bk_oci *c, const struct bk_oci_ref *r, const char *artifact_type,
                     struct bk_buf *out, const struct bk_oci_op *op, struct bk_err *err) {
  return write_to(c, r, do_referrers, &(struct wanted){.type = artifact_type, .out = out}, op, err);
}
