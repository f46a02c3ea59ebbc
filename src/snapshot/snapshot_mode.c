#include <string.h>

#include "snapshot/mode.h"

#define ALL 07777

static int bad(const char *text, struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "snapshot.bad_mode",
                 "'%.100s' is not a mode: expected octal up to 7777 or symbols as u=rwX,go-w",
                 text);
}

static mode_t who_mask(char c) {
  switch (c) {
    case 'u': return S_ISUID | S_IRWXU;
    case 'g': return S_ISGID | S_IRWXG;
    case 'o': return S_ISVTX | S_IRWXO;
    case 'a': return ALL;
    default: return 0;
  }
}

static mode_t perm_bits(char c) {
  switch (c) {
    case 'r': return 0444;
    case 'w': return 0222;
    case 'x': return 0111;
    case 's': return S_ISUID | S_ISGID;
    case 't': return S_ISVTX;
    default: return 0;
  }
}

/* "+rX", "=u" …: one clause from its operator on; returns what follows it, NULL when malformed. */
static const char *parse_action(const char *p, mode_t who, struct bk_mode_change *out) {
  if (out->n == BK_ARRAY_LEN(out->clauses) || !*p || !strchr("+-=", *p)) return NULL;
  struct bk_mode_clause *c = &out->clauses[out->n++];
  *c = (struct bk_mode_clause){.who = who, .op = *p++};
  if (*p && strchr("ugo", *p)) {
    c->copy = *p++;
    return p;
  }
  for (;; p++) {
    if (*p == 'X') c->x_if = true;
    else if (perm_bits(*p)) c->bits |= perm_bits(*p);
    else return p;
  }
}

int bk_mode_parse(const char *text, struct bk_mode_change *out, struct bk_err *err) {
  *out = (struct bk_mode_change){0};
  size_t n = strlen(text);
  if (n && strspn(text, "01234567") == n) {
    out->octal = true;
    for (const char *p = text; *p; p++)
      if ((out->mode = out->mode * 8 + (mode_t)(*p - '0')) > ALL) return bad(text, err);
    return 0;
  }
  for (const char *p = text;; p++) {
    mode_t who = 0;
    while (who_mask(*p)) who |= who_mask(*p++);
    if (!who) who = ALL; /* with umask 0, no letter means all of them */
    if (!(p = parse_action(p, who, out))) return bad(text, err);
    while (*p && *p != ',')
      if (!(p = parse_action(p, who, out))) return bad(text, err);
    if (!*p) return 0;
  }
}

/* Permissions of u, g or o spread over all three. */
static mode_t copied(mode_t mode, char from) {
  mode_t three = from == 'u' ? mode >> 6 & 7 : from == 'g' ? mode >> 3 & 7 : mode & 7;
  return three << 6 | three << 3 | three;
}

mode_t bk_mode_apply(const struct bk_mode_change *change, mode_t mode, bool is_dir) {
  mode &= ALL;
  if (change->octal) return change->mode;
  for (unsigned i = 0; i < change->n; i++) {
    const struct bk_mode_clause *c = &change->clauses[i];
    mode_t bits = c->copy ? copied(mode, c->copy) : c->bits;
    if (c->x_if && (is_dir || (mode & 0111))) bits |= 0111;
    bits &= c->who;
    /* A directory keeps its suid and sgid under '=' unless named, as GNU chmod does. */
    mode_t cleared = is_dir ? c->who & ~(mode_t)((S_ISUID | S_ISGID) & ~c->bits) : c->who;
    if (c->op == '+') mode |= bits;
    else if (c->op == '-') mode &= ~bits;
    else mode = (mode & ~cleared) | bits;
  }
  return mode;
}
