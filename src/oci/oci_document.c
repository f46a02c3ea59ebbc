/* Manifests and indexes as documents: checks and platform selection (registry.md 1.3, 2.2). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "oci/oci_int.h"

bool bk_oci_is_index_type(const char *t) {
  return t && (strcmp(t, "application/vnd.oci.image.index.v1+json") == 0 ||
               strcmp(t, "application/vnd.docker.distribution.manifest.list.v2+json") == 0);
}

static bool is_schema1(const char *t) {
  return t && strncmp(t, "application/vnd.docker.distribution.manifest.v1+", 48) == 0;
}

static bool is_generic(const char *t) {
  return strcmp(t, "application/json") == 0 || strcmp(t, "text/plain") == 0 ||
         strcmp(t, "application/octet-stream") == 0;
}

static int check(const json_t *doc, const char *given, char **type, struct bk_err *err) {
  if (!json_is_object(doc)) return bk_fail(err, BK_INFRA, "oci.manifest", "not a JSON object");
  const json_t *own_value = json_object_get(doc, "mediaType");
  const char *own = json_string_value(own_value);
  if (own_value && !own)
    return bk_fail(err, BK_INFRA, "oci.manifest", "mediaType is not a string");
  bool index = json_object_get(doc, "manifests") != NULL;
  bool image = json_object_get(doc, "layers") || json_object_get(doc, "config");
  if (index && image) /* CVE-2021-41190: one document, two meanings */
    return bk_fail(err, BK_INFRA, "oci.manifest", "has both 'manifests' and 'layers' or 'config'");
  if (is_schema1(given) || json_object_get(doc, "fsLayers"))
    return bk_fail(err, BK_INFRA, "oci.schema1", "Docker schema 1 manifests are not supported");
  if (given && is_generic(given)) given = NULL; /* some servers know no better */
  if (own && given && strcasecmp(own, given) != 0)
    return bk_fail(err, BK_INFRA, "oci.manifest", "says mediaType %.80s, but was sent as %.80s",
                   own, given);
  const char *t = own ? own : given;
  if (!t) t = index ? "application/vnd.oci.image.index.v1+json"
                    : image ? "application/vnd.oci.image.manifest.v1+json" : NULL;
  if (!t) return bk_fail(err, BK_INFRA, "oci.manifest", "neither manifest nor index");
  if (bk_oci_is_index_type(t) ? image : index)
    return bk_fail(err, BK_INFRA, "oci.manifest", "content does not suit mediaType %.80s", t);
  if (type) *type = bk_strdup(t);
  return 0;
}

int bk_oci_manifest_check(const char *raw, size_t len, const char *media_type, char **type,
                          struct bk_err *err) {
  cleanup_free char *given = NULL;
  if (type) *type = NULL;
  if (media_type) {
    size_t n = strcspn(media_type, ";");
    while (n && media_type[n - 1] == ' ') n--;
    if (n) given = bk_strndup(media_type, n);
  }
  json_t *doc = oci_json(raw, len, "manifest", err);
  if (!doc) return -1;
  int rc = check(doc, given, type, err);
  json_decref(doc);
  return rc;
}

/* --- platforms ------------------------------------------------------------------------------- */

struct platform {
  char os[32], arch[32], variant[16];
};

static void set(char *out, size_t size, const char *s, size_t n) {
  if (n >= size) n = size - 1;
  for (size_t i = 0; i < n; i++)
    out[i] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]);
  out[n] = '\0';
}

/* As containerd normalises. */
static void normalise(struct platform *p) {
  static const struct {
    const char *alias, *arch, *variant;
  } names[] = {{"x86_64", "amd64", NULL}, {"x86-64", "amd64", NULL}, {"aarch64", "arm64", NULL},
               {"armhf", "arm", "v7"},    {"armel", "arm", "v6"},    {"i386", "386", NULL}};
  for (size_t i = 0; i < BK_ARRAY_LEN(names); i++)
    if (strcmp(p->arch, names[i].alias) == 0) {
      set(p->arch, sizeof p->arch, names[i].arch, strlen(names[i].arch));
      if (names[i].variant) set(p->variant, sizeof p->variant, names[i].variant, 2);
      break;
    }
  const char *v = p->variant;
  if (strcmp(p->arch, "arm") == 0) {
    if (!*v || strcmp(v, "7") == 0) set(p->variant, sizeof p->variant, "v7", 2);
    else if ((*v == '5' || *v == '6' || *v == '8') && !v[1])
      snprintf(p->variant, sizeof p->variant, "v%c", *v);
  } else if ((strcmp(p->arch, "arm64") == 0 && (strcmp(v, "v8") == 0 || strcmp(v, "8") == 0)) ||
             (strcmp(p->arch, "amd64") == 0 && strcmp(v, "v1") == 0)) {
    p->variant[0] = '\0';
  }
}

static int parse_platform(const char *text, struct platform *p, struct bk_err *err) {
  const char *a = strchr(text, '/'), *v = a ? strchr(a + 1, '/') : NULL;
  *p = (struct platform){0};
  if (!a || a == text || !a[1] || (v && (v == a + 1 || !v[1] || strchr(v + 1, '/'))))
    return bk_fail(err, BK_USAGE, "oci.platform", "platform '%.80s': expected os/arch[/variant]",
                   text);
  set(p->os, sizeof p->os, text, (size_t)(a - text));
  set(p->arch, sizeof p->arch, a + 1, v ? (size_t)(v - a - 1) : strlen(a + 1));
  if (v) set(p->variant, sizeof p->variant, v + 1, strlen(v + 1));
  normalise(p);
  return 0;
}

/* How well an offer suits: 0 not at all, more is better. A CPU runs its own and older variants. */
static int suits(const struct platform *want, const struct platform *offer) {
  if (strcmp(want->os, offer->os) != 0 || strcmp(want->arch, offer->arch) != 0) return 0;
  if (strcmp(want->variant, offer->variant) == 0) return 100;
  bool arm = strcmp(want->arch, "arm") == 0, amd = strcmp(want->arch, "amd64") == 0;
  if (!arm && !amd) return offer->variant[0] ? 0 : 1;
  int w = want->variant[0] ? want->variant[1] - '0' : 1;
  int o = offer->variant[0] ? offer->variant[1] - '0' : 1;
  return o >= 1 && o < w ? 10 + o : 0;
}

static void offered(const json_t *entry, struct platform *p) {
  const json_t *o = json_object_get(entry, "platform");
  const char *os = oci_json_str(o, "os"), *arch = oci_json_str(o, "architecture");
  const char *variant = oci_json_str(o, "variant");
  *p = (struct platform){0};
  if (os) set(p->os, sizeof p->os, os, strlen(os));
  if (arch) set(p->arch, sizeof p->arch, arch, strlen(arch));
  if (variant) set(p->variant, sizeof p->variant, variant, strlen(variant));
  normalise(p);
}

static int take_desc(const json_t *e, struct bk_oci_desc *out, struct bk_err *err) {
  const char *type = oci_json_str(e, "mediaType"), *digest = oci_json_str(e, "digest");
  const json_t *size = json_object_get(e, "size");
  if (!digest || !bk_oci_is_digest(digest) || !json_is_integer(size) ||
      json_integer_value(size) < 0)
    return bk_fail(err, BK_INFRA, "oci.manifest", "index entry without valid digest and size");
  *out = (struct bk_oci_desc){.media_type = type ? bk_strdup(type) : NULL,
                              .digest = bk_strdup(digest),
                              .size = json_integer_value(size)};
  return 0;
}

static int select_entry(const json_t *doc, const char *platform, struct bk_oci_desc *out,
                        struct bk_err *err) {
  struct platform want, p;
  if (parse_platform(platform, &want, err)) return -1;
  const json_t *list = json_object_get(doc, "manifests");
  if (!json_is_array(list))
    return bk_fail(err, BK_INFRA, "oci.manifest", "index without a list of manifests");
  size_t i;
  json_t *e, *best = NULL;
  int score = 0;
  char all[300] = "";
  json_array_foreach(list, i, e) {
    offered(e, &p);
    int s = suits(&want, &p);
    if (s > score) score = s, best = e;
    size_t n = strlen(all);
    if (*p.os && strcmp(p.os, "unknown") != 0)
      snprintf(all + n, sizeof all - n, "%s%s/%s%s%s", n ? ", " : "", p.os, p.arch,
               *p.variant ? "/" : "", p.variant);
  }
  if (best) return take_desc(best, out, err);
  return bk_fail(err, BK_BUILD, "oci.platform", "no image for platform %.80s (there is: %s)",
                 platform, *all ? all : "none");
}

int bk_oci_index_select(const char *raw, size_t len, const char *platform, struct bk_oci_desc *out,
                        struct bk_err *err) {
  *out = (struct bk_oci_desc){0};
  json_t *doc = oci_json(raw, len, "index", err);
  if (!doc) return -1;
  int rc = select_entry(doc, platform, out, err);
  json_decref(doc);
  return rc;
}
