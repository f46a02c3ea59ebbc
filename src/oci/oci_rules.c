/* registries.conf version 2: the part of TOML it needs, rules and mirrors (registry.md 1.10).
 * Tables and keys that are not ours are skipped, whatever their values. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "oci/oci_int.h"

struct toml {
  const char *p, *end, *name;
  int line;
  struct bk_arena *arena;
  struct oci_rules *out;
  struct bk_err *err;
  enum { IN_TOP, IN_OTHER, IN_RULE, IN_MIRROR } in;
};

static int bad(struct toml *t, const char *what) {
  return bk_fail(t->err, BK_USAGE, "oci.config", "%s:%d: %s", t->name, t->line, what);
}

static int peek(const struct toml *t) { return t->p < t->end ? (unsigned char)*t->p : -1; }

static void blanks(struct toml *t) {
  while (peek(t) == ' ' || peek(t) == '\t') t->p++;
}

/* Blanks, line ends and comments. */
static void space(struct toml *t) {
  for (;; t->p++) {
    int c = peek(t);
    if (c == '#') {
      while (t->p < t->end && *t->p != '\n') t->p++;
      c = peek(t);
    }
    if (c == '\n') t->line++;
    else if (c != ' ' && c != '\t' && c != '\r') return;
  }
}

static int escape(struct toml *t, struct bk_buf *out) {
  static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
  int c = peek(t);
  const char *at = c > 0 ? strchr(from, c) : NULL;
  if (!at) return bad(t, "this escape is not supported");
  bk_buf_addc(out, to[at - from]);
  return 0;
}

/* "basic" or 'literal'; with three quotes over several lines. */
static int string(struct toml *t, struct bk_buf *out) {
  char q = *t->p;
  bool triple = t->end - t->p >= 3 && t->p[1] == q && t->p[2] == q;
  for (t->p += triple ? 3 : 1; t->p < t->end; t->p++) {
    if (*t->p == q && !triple) return t->p++, 0;
    if (*t->p == q && t->end - t->p >= 3 && t->p[1] == q && t->p[2] == q) return t->p += 3, 0;
    if (*t->p == '\n') {
      if (!triple) return bad(t, "string does not end on its line");
      t->line++;
    }
    if (*t->p == '\\' && q == '"') {
      t->p++;
      if (escape(t, out)) return -1;
    } else {
      bk_buf_addc(out, *t->p);
    }
  }
  return bad(t, "string does not end");
}

/* A value of no interest: scalars, arrays over lines, inline tables. */
static int skip_value(struct toml *t) {
  int depth = 0;
  do {
    struct bk_buf ignored = {.max = 4096};
    int c = peek(t), rc = 0;
    const char *before = t->p;
    if (c == '"' || c == '\'') rc = string(t, &ignored);
    else if (c < 0) rc = bad(t, "value does not end");
    else if (c == '[' || c == '{') depth++, t->p++;
    else if (c == ']' || c == '}') depth--, t->p++;
    else if (c == ',' || c == '=') t->p++;
    else if (strchr("#\n \t\r", c) && depth == 0) rc = bad(t, "expected a value");
    else if (isspace(c) || c == '#') space(t);
    else if (!isprint(c) && c < 0x80) rc = bad(t, "control character");
    else
      while (t->p < t->end && !strchr(",]}=#\n \t\r", *t->p)) t->p++;
    bk_buf_free(&ignored);
    if (rc == 0 && t->p == before) rc = bad(t, "unexpected character");
    if (rc) return -1;
    if (depth > 0) space(t);
  } while (depth > 0);
  return depth < 0 ? bad(t, "unexpected ']' or '}'") : 0;
}

static int key(struct toml *t, char *out, size_t size) {
  struct bk_buf b = {.max = size - 1};
  while (isalnum(peek(t)) || (peek(t) > 0 && strchr("\"'_-.", peek(t)))) {
    int rc = 0;
    if (*t->p == '"' || *t->p == '\'') rc = string(t, &b);
    else bk_buf_addc(&b, *t->p++);
    if (rc) return bk_buf_free(&b), -1;
    blanks(t);
  }
  snprintf(out, size, "%s", bk_buf_str(&b));
  bool empty = b.len == 0;
  bk_buf_free(&b);
  return empty ? bad(t, "expected a key or a [table]") : 0;
}

/* --- tables ---------------------------------------------------------------------------------- */

static struct oci_rule *last_rule(struct toml *t) { return &t->out->list[t->out->n - 1]; }

static int open_table(struct toml *t) {
  char name[200];
  bool list = t->end - t->p > 1 && t->p[1] == '[';
  t->p += list ? 2 : 1;
  blanks(t);
  if (key(t, name, sizeof name)) return -1;
  if (peek(t) != ']' || (list && (t->end - t->p < 2 || t->p[1] != ']')))
    return bad(t, "expected ']' after the table's name");
  t->p += list ? 2 : 1;
  t->in = IN_OTHER;
  if (strncmp(name, "registries.", 11) == 0)
    return bad(t, "version 1 of this file's format is not supported: write [[registry]] tables");
  if (list && strcmp(name, "registry") == 0) {
    struct oci_rules *r = t->out;
    r->list = bk_reallocarray(r->list, r->n + 1, sizeof *r->list);
    r->list[r->n++] = (struct oci_rule){0};
    t->in = IN_RULE;
  } else if (list && strcmp(name, "registry.mirror") == 0) {
    if (t->out->n == 0) return bad(t, "[[registry.mirror]] before any [[registry]]");
    struct oci_rule *r = last_rule(t);
    r->mirrors = bk_reallocarray(r->mirrors, r->nmirrors + 1, sizeof *r->mirrors);
    r->mirrors[r->nmirrors++] = (struct oci_mirror){0};
    t->in = IN_MIRROR;
  }
  return 0;
}

static int string_into(struct toml *t, const char **out) {
  if (peek(t) != '"' && peek(t) != '\'') return bad(t, "expected a string");
  struct bk_buf b = {.max = 4096};
  int rc = string(t, &b);
  if (rc == 0) *out = bk_arena_strndup(t->arena, bk_buf_str(&b), b.len);
  bk_buf_free(&b);
  return rc;
}

/* ["one", 'two'] over lines; an empty list leaves things as they are. */
static int helpers_into(struct toml *t, struct oci_rules *out) {
  if (peek(t) != '[') return bad(t, "expected a list of strings");
  const char *list[16], *s = NULL;
  size_t n = 0;
  t->p++;
  for (space(t); peek(t) != ']'; space(t)) {
    if (string_into(t, &s)) return -1;
    if (n == BK_ARRAY_LEN(list)) return bad(t, "more than 16 credential helpers");
    list[n++] = s;
    space(t);
    if (peek(t) == ',') t->p++;
    else if (peek(t) != ']') return bad(t, "expected ',' or ']'");
  }
  t->p++;
  if (n == 0) return 0;
  out->helpers = bk_reallocarray(out->helpers, n, sizeof *list);
  memcpy(out->helpers, list, n * sizeof *list);
  out->nhelpers = n;
  return 0;
}

static int bool_into(struct toml *t, bool *out) {
  size_t left = (size_t)(t->end - t->p);
  *out = left >= 4 && memcmp(t->p, "true", 4) == 0;
  if (!*out && !(left >= 5 && memcmp(t->p, "false", 5) == 0))
    return bad(t, "expected true or false");
  t->p += *out ? 4 : 5;
  return 0;
}

/* "host[:port][/path]": slashes at its end do not count. */
static int place_into(struct toml *t, const char **out) {
  const char *s = NULL;
  if (string_into(t, &s)) return -1;
  if (strstr(s, "://")) return bad(t, "expected a host and a path, without a scheme");
  size_t n = strlen(s);
  while (n && s[n - 1] == '/') n--;
  *out = bk_arena_strndup(t->arena, s, n);
  return 0;
}

static int use_into(struct toml *t, enum oci_use *out) {
  static const char *const names[] = {"all", "digest-only", "tag-only"};
  const char *s = NULL;
  if (string_into(t, &s)) return -1;
  for (size_t i = 0; i < BK_ARRAY_LEN(names); i++)
    if (strcmp(s, names[i]) == 0) return *out = (enum oci_use)i, 0;
  return bad(t, "expected \"all\", \"digest-only\" or \"tag-only\"");
}

static int assign(struct toml *t, const char *name) {
  if (t->in == IN_TOP && strcmp(name, "credential-helpers") == 0) return helpers_into(t, t->out);
  if (t->in == IN_RULE) {
    struct oci_rule *r = last_rule(t);
    if (strcmp(name, "prefix") == 0) return place_into(t, &r->prefix);
    if (strcmp(name, "location") == 0) return place_into(t, &r->location);
    if (strcmp(name, "insecure") == 0) return bool_into(t, &r->insecure);
    if (strcmp(name, "blocked") == 0) return bool_into(t, &r->blocked);
    if (strcmp(name, "mirror-by-digest-only") == 0) return bool_into(t, &r->by_digest);
    if (strcmp(name, "pull-from-mirror") == 0)
      return bad(t, "pull-from-mirror belongs into a [[registry.mirror]]");
  } else if (t->in == IN_MIRROR) {
    struct oci_mirror *m = &last_rule(t)->mirrors[last_rule(t)->nmirrors - 1];
    if (strcmp(name, "location") == 0) return place_into(t, &m->location);
    if (strcmp(name, "insecure") == 0) return bool_into(t, &m->insecure);
    if (strcmp(name, "pull-from-mirror") == 0) return use_into(t, &m->use);
  }
  return skip_value(t);
}

static int document(struct toml *t) {
  char name[200];
  for (;;) {
    space(t);
    if (t->p == t->end) return 0;
    if (*t->p == '[') {
      if (open_table(t)) return -1;
    } else {
      if (key(t, name, sizeof name)) return -1;
      if (peek(t) != '=') return bad(t, "expected '=' after the key");
      t->p++;
      blanks(t);
      if (assign(t, name)) return -1;
    }
    blanks(t);
    if (peek(t) == '\r') t->p++;
    if (t->p < t->end && *t->p != '\n' && *t->p != '#')
      return bad(t, "expected the end of the line");
  }
}

/* --- rules ----------------------------------------------------------------------------------- */

static bool is_wild(const char *prefix) { return strncmp(prefix, "*.", 2) == 0; }

static int check_mirrors(const struct oci_rule *r, const char *name, struct bk_err *err) {
  for (size_t k = 0; k < r->nmirrors; k++) {
    if (!r->mirrors[k].location || !*r->mirrors[k].location)
      return bk_fail(err, BK_USAGE, "oci.config", "%s: a mirror of %.100s has no location", name,
                     r->prefix);
    if (r->by_digest && r->mirrors[k].use != OCI_USE_ALL)
      return bk_fail(err, BK_USAGE, "oci.config",
                     "%s: %.100s has mirror-by-digest-only, and its mirror %.100s pull-from-mirror",
                     name, r->prefix, r->mirrors[k].location);
  }
  return 0;
}

static int check_rule(struct oci_rule *r, const char *name, struct bk_err *err) {
  if (r->location && !*r->location) r->location = NULL;
  if (!r->prefix || !*r->prefix) r->prefix = r->location;
  if (!r->prefix)
    return bk_fail(err, BK_USAGE, "oci.config",
                   "%s: a [[registry]] has neither prefix nor location", name);
  if (!r->location && !is_wild(r->prefix))
    return bk_fail(err, BK_USAGE, "oci.config", "%s: [[registry]] %.100s has no location", name,
                   r->prefix);
  return check_mirrors(r, name, err);
}

/* Tables of one file may share a location, but must agree on who may be asked, and how. */
static int check_pair(const struct oci_rule *a, const struct oci_rule *b, const char *name,
                      struct bk_err *err) {
  if (!a->location || !b->location || strcmp(a->location, b->location) != 0) return 0;
  if (a->insecure == b->insecure && a->blocked == b->blocked) return 0;
  return bk_fail(err, BK_USAGE, "oci.config", "%s: two [[registry]] tables of %.100s differ in '%s'",
                 name, a->location, a->insecure != b->insecure ? "insecure" : "blocked");
}

static int complete(struct oci_rules *rules, size_t from, const char *name, struct bk_err *err) {
  for (size_t i = from; i < rules->n; i++) {
    struct oci_rule *r = &rules->list[i];
    if (check_rule(r, name, err)) return -1;
    for (size_t k = from; k < i; k++)
      if (check_pair(&rules->list[k], r, name, err)) return -1;
    for (size_t k = 0; k < from; k++)
      if (rules->list[k].prefix && strcmp(rules->list[k].prefix, r->prefix) == 0) {
        free(rules->list[k].mirrors);
        rules->list[k] = (struct oci_rule){0}; /* replaced by the later file */
      }
  }
  return 0;
}

int oci_rules_parse(struct oci_rules *rules, struct bk_arena *arena, const char *text, size_t len,
                    const char *name, struct bk_err *err) {
  size_t from = rules->n;
  struct toml t = {.p = text, .end = text + len, .name = name, .line = 1, .arena = arena,
                   .out = rules, .err = err};
  return document(&t) || complete(rules, from, name, err) ? -1 : 0;
}

void oci_rules_free(struct oci_rules *rules) {
  for (size_t i = 0; i < rules->n; i++) free(rules->list[i].mirrors);
  free(rules->list);
  free(rules->helpers);
  *rules = (struct oci_rules){0};
}

size_t oci_prefix_fits(const char *prefix, const char *name) {
  if (is_wild(prefix)) { /* subdomains, at any port */
    size_t host = strcspn(name, ":/"), n = strlen(prefix) - 1;
    return host > n && strncmp(name + host - n, prefix + 1, n) == 0 ? host : 0;
  }
  size_t n = strlen(prefix);
  const char *ends = strchr(prefix, '/') ? "/:@" : "/"; /* what follows a host after ':' is a port */
  return strncmp(name, prefix, n) == 0 && (!name[n] || strchr(ends, name[n])) ? n : 0;
}

const struct oci_rule *oci_rule_for(const struct oci_rules *rules, const char *name) {
  const struct oci_rule *best = NULL;
  size_t most = 0;
  for (size_t i = 0; i < rules->n; i++) {
    const char *prefix = rules->list[i].prefix;
    if (!prefix || !oci_prefix_fits(prefix, name)) continue;
    size_t n = strlen(prefix);
    if (n >= most) most = n, best = &rules->list[i];
  }
  return best;
}

static bool is_host_of(const char *location, const char *registry) {
  size_t n = strlen(registry);
  return location && strncmp(location, registry, n) == 0 && (!location[n] || location[n] == '/');
}

bool oci_rules_insecure(const struct oci_rules *rules, const char *registry) {
  for (size_t i = 0; i < rules->n; i++) {
    const struct oci_rule *r = &rules->list[i];
    if (r->insecure && is_host_of(r->location ? r->location : r->prefix, registry)) return true;
    for (size_t k = 0; k < r->nmirrors; k++)
      if (r->mirrors[k].insecure && is_host_of(r->mirrors[k].location, registry)) return true;
  }
  return false;
}
