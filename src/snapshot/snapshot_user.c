#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "snapshot/snapshot.h"

#define DATABASE_MAX (10u << 20)

/* --- lines of passwd(5) and group(5) --------------------------------------------------------- */

/* Splits "a:b:c" in place; fields that are not there are "". */
static void split(char *line, char **fields, size_t n) {
  for (size_t i = 0; i < n; i++) {
    fields[i] = line;
    char *colon = i + 1 < n ? strchr(line, ':') : NULL;
    if (colon) *colon = '\0';
    line = colon ? colon + 1 : line + strlen(line);
  }
}

/* Next line of a text that is cut up as it goes; comments and blank lines are left out. */
static char *next_line(char **text) {
  while (*text && **text) {
    char *line = *text, *end = strchr(line, '\n');
    *text = end ? end + 1 : NULL;
    if (end) *end = '\0';
    if (*line && *line != '#') return line;
  }
  return NULL;
}

/* A decimal id below 2^32 - 1 (that value means "none" to the kernel). */
static bool parse_id(const char *s, uint32_t *out) {
  uint64_t v = 0;
  if (!*s) return false;
  for (; *s; s++) {
    if (*s < '0' || *s > '9') return false;
    v = v * 10 + (uint64_t)(*s - '0');
    if (v >= UINT32_MAX) return false;
  }
  *out = (uint32_t)v;
  return true;
}

static int load(struct bk_view *v, const char *path, struct bk_buf *out, struct bk_err *err) {
  int rc = bk_view_read(v, path, DATABASE_MAX, out, err);
  bk_buf_str(out);
  return rc < 0 ? -1 : 0; /* a missing file is an empty one */
}

struct account {
  char name[256], home[1024];
  uint32_t uid, gid;
};

/* Looks `who` up by name, or by number when is_id: 1 found, 0, -1. */
static int find_account(struct bk_view *v, const char *who, bool is_id, uint32_t id,
                        struct account *out, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  if (load(v, "etc/passwd", &text, err)) return -1;
  char *at = text.p, *f[7];
  for (char *line; (line = next_line(&at));) {
    split(line, f, 7);
    if (!parse_id(f[2], &out->uid) || !parse_id(f[3], &out->gid)) continue;
    if (is_id ? out->uid != id : strcmp(f[0], who) != 0) continue;
    snprintf(out->name, sizeof out->name, "%s", f[0]);
    snprintf(out->home, sizeof out->home, "%s", f[5]);
    return 1;
  }
  return 0;
}

static int find_group(struct bk_view *v, const char *name, uint32_t *gid, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  if (load(v, "etc/group", &text, err)) return -1;
  char *at = text.p, *f[4];
  for (char *line; (line = next_line(&at));) {
    split(line, f, 4);
    if (strcmp(f[0], name) == 0 && parse_id(f[2], gid)) return 1;
  }
  return 0;
}

static bool has_member(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',')
    if (strcspn(s, ",") == n && memcmp(s, name, n) == 0) return true;
  return false;
}

static int by_id(const void *a, const void *b) {
  gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;
  return (x > y) - (x < y);
}

static int collect_groups(struct bk_view *v, const char *name, struct bk_user *u,
                          struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  if (load(v, "etc/group", &text, err)) return -1;
  char *at = text.p, *f[4];
  for (char *line; (line = next_line(&at));) {
    uint32_t gid;
    split(line, f, 4);
    if (!parse_id(f[2], &gid) || !has_member(f[3], name)) continue;
    bool known = false;
    for (size_t i = 0; i < u->n_groups; i++) known = known || u->groups[i] == gid;
    if (known) continue;
    if (u->n_groups == BK_GROUPS_MAX)
      return bk_fail(err, BK_BUILD, "snapshot.too_many_groups",
                     "user '%s' is in more than %d groups", name, BK_GROUPS_MAX);
    u->groups[u->n_groups++] = gid;
  }
  qsort(u->groups, u->n_groups, sizeof *u->groups, by_id);
  return 0;
}

/* --- USER ------------------------------------------------------------------------------------ */

struct spec {
  char user[256], group[256];
  bool has_group;
};

static int parse_spec(const char *text, struct spec *s, struct bk_err *err) {
  const char *colon = strchr(text, ':');
  size_t n = colon ? (size_t)(colon - text) : strlen(text);
  const char *group = colon ? colon + 1 : "";
  if (n >= sizeof s->user || strlen(group) >= sizeof s->group)
    return bk_fail(err, BK_BUILD, "snapshot.no_user", "user '%.40s…': name too long", text);
  memcpy(s->user, text, n);
  s->user[n] = '\0';
  memcpy(s->group, group, strlen(group) + 1);
  s->has_group = *group != '\0';
  return 0;
}

static int group_id(struct bk_view *v, const char *name, gid_t *gid, struct bk_err *err) {
  if (parse_id(name, gid)) return 0;
  int rc = find_group(v, name, gid, err);
  if (rc == 0)
    return bk_fail(err, BK_BUILD, "snapshot.no_group", "no group '%s' in /etc/group of the image",
                   name);
  return rc < 0 ? -1 : 0;
}

int bk_snapshot_user(struct bk_view *v, const char *text, struct bk_user *u, struct bk_err *err) {
  *u = (struct bk_user){.home = "/"};
  struct spec s;
  if (parse_spec(text, &s, err)) return -1;
  if (!s.user[0]) snprintf(s.user, sizeof s.user, "0");
  uint32_t id = 0;
  bool numeric = parse_id(s.user, &id);
  struct account a;
  int found = find_account(v, s.user, numeric, id, &a, err); /* a number is always an id */
  if (found < 0) return -1;
  if (!found && !numeric)
    return bk_fail(err, BK_BUILD, "snapshot.no_user", "no user '%s' in /etc/passwd of the image",
                   s.user);
  u->uid = found ? a.uid : id;
  u->gid = found ? a.gid : 0;
  if (found && a.home[0]) memcpy(u->home, a.home, sizeof u->home);
  else if (u->uid == 0) snprintf(u->home, sizeof u->home, "/root");
  if (s.has_group && group_id(v, s.group, &u->gid, err)) return -1;
  u->groups[u->n_groups++] = u->gid; /* a process that changes its gid is to stay in it: CVE-2023-25173 */
  return found && !s.has_group ? collect_groups(v, a.name, u, err) : 0;
}

/* --- chown ----------------------------------------------------------------------------------- */

int bk_snapshot_chown_ids(struct bk_view *v, const char *text, uid_t *uid, gid_t *gid,
                          const char **unknown, struct bk_err *err) {
  struct spec s;
  if (parse_spec(text, &s, err)) return -1;
  struct account a;
  *uid = 0;
  *gid = 0;
  *unknown = NULL;
  if (parse_id(s.user, uid)) {
    *gid = *uid;
  } else if (s.user[0] && strcmp(s.user, "root") != 0) {
    int found = find_account(v, s.user, false, 0, &a, err);
    if (found < 0) return -1;
    if (found) *uid = a.uid, *gid = a.gid;
    else *unknown = text;
  }
  const char *colon = strchr(text, ':');
  if (!colon || parse_id(s.group, gid)) return 0;
  uint32_t id = 0;
  bool root = !s.group[0] || strcmp(s.group, "root") == 0;
  int found = root ? 1 : find_group(v, s.group, &id, err);
  if (found < 0) return -1;
  if (found) *gid = id;
  else *unknown = *unknown ? *unknown : colon + 1;
  return 0;
}
