/* Version texts and their order. A parsed version owns a copy of its text; the slices in it point
 * into that copy and die with bk_<kind>_free. Numbers are kept as digits, so nothing overflows.
 * Every parser refuses texts above BK_VERSION_MAX bytes. */
#ifndef BK_VERSION_H
#define BK_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

#define BK_VERSION_MAX 1024

/* Digits without leading zeros: zero has length 0. */
struct bk_num {
  const char *p;
  size_t len;
};

struct bk_slice {
  const char *p;
  size_t len;
};

int bk_num_compare(struct bk_num a, struct bk_num b);

/* --- PEP 440 (packaging.python.org, "Version specifiers"), one leading `v` allowed -------------- */

enum bk_pre { BK_PRE_NONE, BK_PRE_ALPHA, BK_PRE_BETA, BK_PRE_RC };

struct bk_pep440 {
  void *own; /* what bk_pep440_free gives back; NULL in an arena */
  char *text;
  struct bk_num epoch;
  struct bk_num *release;
  size_t nrelease;
  enum bk_pre pre;
  bool has_post, has_dev;
  struct bk_num pre_n, post, dev;
  struct bk_slice local; /* after the `+`; len 0 when absent */
};

int bk_pep440_parse(struct bk_pep440 *v, const char *text, size_t len,
                    struct bk_err *err) BK_WARN_UNUSED;
/* The same in an arena, whose release is the version's; without err a bad text only gives -1. */
int bk_pep440_parse_in(struct bk_arena *arena, struct bk_pep440 *v, const char *text, size_t len,
                       struct bk_err *err) BK_WARN_UNUSED;
void bk_pep440_free(struct bk_pep440 *v);
/* A number that orders like the version wherever two of them differ. */
uint64_t bk_pep440_rank(const struct bk_pep440 *v);
/* bk_pep440_compare of versions whose ranks are at hand. */
int bk_pep440_compare_ranked(const struct bk_pep440 *a, uint64_t ra, const struct bk_pep440 *b, uint64_t rb);
int bk_pep440_compare(const struct bk_pep440 *a, const struct bk_pep440 *b);
/* How many leading release numbers (missing ones are zero) are equal: 0, 1 or 2 is all that counts. */
size_t bk_pep440_common(const struct bk_pep440 *a, const struct bk_pep440 *b, size_t limit);

/* --- release names of images: N.N[.N…][-prerelease][+build], or NAMEn.n[-NAMEn.n…] -------------- */

struct bk_release_dep {
  struct bk_slice name;
  size_t first, count; /* numbers in `nums` */
};

struct bk_release {
  char *text;
  bool is_deps;
  struct bk_num *nums; /* of the release, or of all dependencies one after the other */
  size_t nnums;
  struct bk_slice prerelease, build; /* p NULL when absent */
  struct bk_release_dep *deps;
  size_t ndeps;
};

int bk_release_parse(struct bk_release *r, const char *text, size_t len,
                     struct bk_err *err) BK_WARN_UNUSED;
void bk_release_free(struct bk_release *r);
/* NULL stands for an unparseable name; it and dependency forms are equal and below all others. */
int bk_release_compare(const struct bk_release *a, const struct bk_release *b);
/* Does the selection filter `f` choose the version name `n`? */
bool bk_release_matches(const char *n, size_t nlen, const char *f, size_t flen);

/* --- semantic versions (semver.org 2.0.0); leading `v` and missing minor or patch allowed ------- */

struct bk_semver {
  char *text;
  struct bk_num num[3];
  size_t parts; /* how many of the three were written */
  struct bk_slice prerelease, build;
};

int bk_semver_parse(struct bk_semver *v, const char *text, size_t len,
                    struct bk_err *err) BK_WARN_UNUSED;
void bk_semver_free(struct bk_semver *v);
int bk_semver_compare(const struct bk_semver *a, const struct bk_semver *b);
/* 1 when v is inside the range ("^1.2 || >=2.1 <3", "1.x", "~1.4", "1.2 - 1.4"), 0 when not,
 * -1 for a bad range. Prereleases match only comparators that name one of the same numbers. */
int bk_semver_satisfies(const struct bk_semver *v, const char *range, size_t len,
                        struct bk_err *err) BK_WARN_UNUSED;

/* Order of dotted prerelease identifiers: numbers below words, numbers by value, shorter first. */
int bk_prerelease_compare(struct bk_slice a, struct bk_slice b);

#endif
