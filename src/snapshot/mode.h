/* --chmod of COPY and ADD: octal, or symbolic as chmod(1) with umask 0. By value, owns nothing. */
#ifndef BK_SNAPSHOT_MODE_H
#define BK_SNAPSHOT_MODE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"

struct bk_mode_clause {
  mode_t who;   /* permission bits the clause may touch: u 04700, g 02070, o 01007 */
  char op;      /* + - = */
  mode_t bits;  /* rwxst spread over all of u, g, o */
  bool x_if;    /* X: x for directories and for what is executable already */
  char copy;    /* u, g, o: take that group's permissions; 0 = none */
};

struct bk_mode_change {
  bool octal;
  mode_t mode; /* when octal */
  struct bk_mode_clause clauses[32];
  unsigned n;
};

/* Code snapshot.bad_mode for anything else. */
int bk_mode_parse(const char *text, struct bk_mode_change *out, struct bk_err *err) BK_WARN_UNUSED;
/* The new permission, suid, sgid and sticky bits. */
mode_t bk_mode_apply(const struct bk_mode_change *change, mode_t mode, bool is_dir);

#endif
