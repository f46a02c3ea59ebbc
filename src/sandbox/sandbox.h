/* Runs one command over a stack of layer directories in namespaces of its own. Specs are borrowed
 * for the call; a started box belongs to the caller, who waits for its pid (Linux >= 5.6; 5.11 for
 * rootless). Everything mounted lives in the child's mount namespace and goes with it. */
#ifndef BK_SANDBOX_H
#define BK_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* --- tiers (builder.md 6.6) ------------------------------------------------------------------- */

/* What this process is, best first. */
enum bk_sandbox_mode {
  BK_SANDBOX_NONE,   /* enter was not called */
  BK_SANDBOX_ROOT,   /* root that may mount: own mount namespace (tiers A and B) */
  BK_SANDBOX_USERNS, /* root that may not: own user namespace with the same ids (C) */
  BK_SANDBOX_RANGE,  /* user namespace with subordinate ids (D) */
  BK_SANDBOX_SINGLE, /* user namespace with one id (E) */
  BK_SANDBOX_CHROOT, /* root without any namespace: commands run in a chroot (F) */
  BK_SANDBOX_COPY,   /* commands cannot run (G) */
  BK_SANDBOX_MODES,
};

/* What one mode can do here, found out by doing it in a child that then disappears. Numbers are
 * errno values: 0 works, -1 not tried. */
struct bk_sandbox_try {
  enum bk_sandbox_mode mode;
  bool usable;
  const char *step;            /* what failed when it is not usable (static) */
  int error;
  int overlay, proc, net;      /* extras: overlayfs on the given directory, a fresh /proc, a network */
  char why[200], fix[240];     /* for people; empty when usable */
};
/* dir: where overlayfs is tried (the store), or NULL; full: proc and net too. */
void bk_sandbox_attempt(enum bk_sandbox_mode mode, const char *dir, bool full,
                        struct bk_sandbox_try *out);

struct bk_sandbox_choice {
  enum bk_sandbox_mode mode;
  char tier;                   /* 'A' … 'G' */
  bool overlay;                /* else roots are flat trees */
  bool userxattr;              /* layers carry user.overlay.* */
  bool marks;                  /* whiteout devices can be made in the directory */
  const char *ids;             /* word for how files of the store are kept (static) */
  struct bk_sandbox_try tries[BK_SANDBOX_MODES]; /* of this call, in order; the last is the choice */
  size_t ntries;
};
/* Makes this process what `isolation` says: "auto" (NULL) is the best that works, else a mode's name
 * or tier letter; ",flat" behind it does without overlayfs. Idempotent. Must run before there are
 * threads when it needs a user namespace. */
int bk_sandbox_enter(const char *isolation, const char *dir, struct bk_sandbox_choice *out,
                     struct bk_err *err) BK_WARN_UNUSED;
enum bk_sandbox_mode bk_sandbox_mode(void);
const char *bk_sandbox_mode_name(enum bk_sandbox_mode mode);
char bk_sandbox_tier(enum bk_sandbox_mode mode);

/* A new network namespace of our user namespace; it lives as long as the descriptor. */
int bk_sandbox_netns(int *fd, struct bk_err *err) BK_WARN_UNUSED;

struct bk_id_range {
  unsigned long first, count;
};
/* Ranges of `user` (name or decimal uid) in the text of /etc/subuid; malformed lines are skipped.
 * Returns how many were stored, at most max. */
size_t bk_sandbox_subids(const char *text, const char *user, unsigned uid, struct bk_id_range *out,
                         size_t max);

/* --- running ----------------------------------------------------------------------------------- */

enum bk_sandbox_mount_type { BK_MOUNT_BIND, BK_MOUNT_TMPFS, BK_MOUNT_SECRET, BK_MOUNT_LAYERS };

struct bk_sandbox_mount {
  enum bk_sandbox_mount_type type;
  const char *target;         /* absolute, inside */
  const char *source;         /* bind: host path */
  const char *subpath;        /* bind, layers: below source or the layers, resolved inside; or NULL */
  const char *const *lowers;  /* layers: lowest first; shown as one tree, always read-only */
  size_t nlowers;
  const char *data;           /* secret: its bytes; the file exists nowhere else */
  size_t ndata;
  uint64_t size;              /* tmpfs: bytes, 0 = half of the memory */
  unsigned mode;              /* tmpfs, secret: permissions */
  unsigned uid, gid;          /* secret */
  bool ro;
};

/* setrlimit's resource numbers and values; UINT64_MAX is no limit. */
struct bk_sandbox_limit {
  int resource;
  uint64_t soft, hard;
};

enum bk_sandbox_security { BK_SECURITY_DEFAULT, BK_SECURITY_STRICT, BK_SECURITY_INSECURE };

struct bk_sandbox_spec {
  const char *const *lowers; /* lowest first; none for an empty root */
  size_t nlowers;
  const char *upper, *work;  /* work: empty, on upper's file system */
  const char *const *argv, *const *env;
  const char *cwd, *hostname;
  unsigned uid, gid;
  const gid_t *groups;
  size_t ngroups;
  const struct bk_sandbox_mount *mounts;
  size_t nmounts;
  bool private_net, userxattr;
  int netns;                  /* with private_net: descriptor of the namespace to join; 0: a new one */
  bool proc;                  /* chroot: calls about /proc are answered; sets no_new_privs */
  enum bk_sandbox_security security;
  uint64_t shm_size;
  const struct bk_sandbox_limit *limits;
  size_t nlimits;
  const char *hosts, *resolv; /* contents of /etc/hosts and /etc/resolv.conf; NULL: image's own */
  int fds[3];                 /* standard streams, all valid */
};

struct bk_sandbox_box {
  pid_t pid;
  int pidfd;
  char *stubs;    /* absolute inside paths that were made for mounts, NUL-separated; caller frees */
  size_t nstubs;  /* bytes */
};

/* Returns when the command has been executed, or could not be (code sandbox.not_found,
 * sandbox.not_executable, sandbox.setup or an errno). Blocks for milliseconds: call it on a worker
 * thread. The box is killed when the calling thread ends. */
int bk_sandbox_start(const struct bk_sandbox_spec *spec, struct bk_sandbox_box *box,
                     struct bk_err *err) BK_WARN_UNUSED;

/* Whether something (a control group, a nodev mount) keeps the host's devices away from nodes made in
 * `dir`; tried with a loop device. */
bool bk_sandbox_devices_refused(const char *dir);

/* Fills the directory `dir` as /dev for commands without mounts. *missing: a device that cannot be
 * made or used there (static), or NULL. */
int bk_sandbox_make_dev(const char *dir, const char **missing, struct bk_err *err) BK_WARN_UNUSED;

/* Registers an interpreter for foreign programs, in the form of binfmt_misc's `register` file, for the
 * user namespace that was entered (Linux 6.7); the host's registrations are not touched. */
int bk_sandbox_binfmt(const char *line, size_t n, struct bk_err *err) BK_WARN_UNUSED;

/* --- what is possible here ---------------------------------------------------------------------- */

struct bk_sandbox_probe {
  struct bk_sandbox_try tries[BK_SANDBOX_MODES]; /* [mode]; NONE is unused */
  enum bk_sandbox_mode mode;                     /* the best that works */
  bool newuidmap, pidfd;
  int seccomp;           /* errno, 0 works */
  unsigned long subuid_count;
  const char *cgroup;    /* "v1" | "v2" | "hybrid" | "none" */
};
void bk_sandbox_probe(const char *dir, struct bk_sandbox_probe *out);

#endif
