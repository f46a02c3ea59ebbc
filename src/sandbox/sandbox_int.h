/* Between the files of the sandbox core: the plan that the parent makes and the child carries out.
 * The child shares the parent's memory and runs while its thread waits (vfork): it makes system
 * calls, touches nothing but the plan, and never allocates. */
#ifndef BK_SANDBOX_INT_H
#define BK_SANDBOX_INT_H

#include <linux/filter.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "sandbox/sandbox.h"

enum op_kind {
  OP_PRIVATE,  /* nothing mounted here is seen outside */
  OP_OVERLAY,  /* the root from lowers, upper and work */
  OP_SCRATCH,  /* the root is upper alone */
  OP_SUPPORT,  /* tmpfs for our own files, over the host path `path` */
  OP_FILE,     /* data -> support file `source` */
  OP_EMPTY,    /* support directory `source`, and an empty file */
  OP_LAYERS,   /* the layers of `mount` over the new support directory `source` */
  OP_MOUNT,    /* new file system `fstype` with `conf` at `path`; not allowed: the host's `source` */
  OP_BIND,     /* host path or support file `source` at `path` */
  OP_NODE,     /* character device `path` */
  OP_LINK,     /* symlink `path` -> source */
  OP_DIR,      /* directory `path` */
  OP_MASK,     /* hides `path` */
  OP_READONLY, /* makes `path` read-only */
  OP_GROUP, /* into the control group that keeps devices away */
  OP_PIVOT,
  OP_CHROOT, /* `path` becomes the root, without any mount */
  OP_HOSTNAME,
  OP_NETNS, /* into the network namespace that the caller has made */
  OP_LOOPBACK,
  OP_STDIO,
  OP_CLOSE, /* every descriptor but the standard streams and the parent's pidfd */
  OP_LIMITS,
  OP_CWD,
  OP_BOUNDING,
  OP_SCOPE, /* no abstract sockets, signals and tracing beyond this command (Landlock) */
  OP_SECCOMP,
  OP_IDS,
  OP_CAPS,
  OP_NO_NEW_PRIVS,
  OP_DEATH, /* die with the parent */
  OP_PROC,  /* the supervisor answers for /proc */
  OP_EXEC,
  OP_COUNT,
};

struct op {
  enum op_kind kind;
  bool optional;   /* a missing target or source, or a refusal, is no error */
  bool support;    /* `source` is a name in the support tmpfs */
  bool own;        /* may be made without being reported: lies in a mount of ours */
  const char *path, *source, *subpath, *fstype;
  const char *needs; /* OP_BIND: nothing is done unless this is inside */
  const char *const *conf; /* key, value, …, NULL */
  unsigned long attrs;     /* MOUNT_ATTR_* */
  unsigned mode, uid, gid, dev;
  const char *data;
  size_t ndata;
  const struct bk_sandbox_mount *mount; /* OP_LAYERS */
  int *fds;                /* OP_LAYERS: room for its lowers and one more */
};

struct plan {
  const struct bk_sandbox_spec *spec;
  struct bk_arena arena;
  struct op *ops;
  size_t nops, cap;
  bool userns, single, chroot;
  bool devices; /* device nodes in the image work, as far as the group lets them */
  int group;    /* cgroup.procs of that group, or -1 */
  int group_tries;
  uint64_t keep_caps;
  struct sock_fprog filter;  /* borrowed from the cache */
  const char *const *files;  /* candidates for execve */
  int parent_fd;
  int proc_socket; /* to the supervisor (tier F), or -1 */
  struct rlimit nofile;
  char *options;             /* room for overlay's option string */
  size_t noptions;

  /* Written by the child. */
  const struct op *failed;
  int error;
  const char *object, *detail;
  int root_fd, support_fd;
  size_t root_prefix;        /* length of the root's path on the host */
  char path[4096];
  char stubs[16384];
  size_t nstubs;
};

int sandbox_child(void *plan);        /* entry of the clone; returns only on failure */
void sandbox_plan(struct plan *p);     /* fills in the steps; spec, userns and single are set */

/* Tier F: runs the child below a supervisor that ends whatever the command leaves behind. */
int sandbox_supervise(struct plan *p, struct bk_sandbox_box *box, struct bk_err *err);
pid_t sandbox_clone(struct plan *p, unsigned long flags, int *pidfd);
int sandbox_fail(const struct plan *p, struct bk_err *err); /* p->failed as an error; -1 */

/* Steps that mount; 0 or -1 with errno. */
int sandbox_do_private(struct plan *p, const struct op *op);
int sandbox_do_overlay(struct plan *p, const struct op *op);
int sandbox_do_scratch(struct plan *p, const struct op *op);
int sandbox_do_support(struct plan *p, const struct op *op);
int sandbox_do_file(struct plan *p, const struct op *op);
int sandbox_do_empty(struct plan *p, const struct op *op);
int sandbox_do_layers(struct plan *p, const struct op *op);
int sandbox_do_mount(struct plan *p, const struct op *op);
int sandbox_do_bind(struct plan *p, const struct op *op);
int sandbox_do_node(struct plan *p, const struct op *op);
int sandbox_do_link(struct plan *p, const struct op *op);
int sandbox_do_dir(struct plan *p, const struct op *op);
int sandbox_do_mask(struct plan *p, const struct op *op);
int sandbox_do_readonly(struct plan *p, const struct op *op);
int sandbox_do_pivot(struct plan *p, const struct op *op);

/* O_PATH descriptor of `path` inside the root, made when missing (as a directory or an empty file)
 * and noted as a stub; symlinks are followed inside the root only. */
int sandbox_target(struct plan *p, const char *path, bool dir, bool note);
int sandbox_openat2(int dirfd, const char *path, int flags, unsigned long resolve);

/* Capability sets. */
#define SANDBOX_CAPS_DOCKER 0x00000000a80425fbULL
/* A chroot can be left with SYS_CHROOT, and its commands share the pid namespace of the builder. */
#define SANDBOX_CAPS_CHROOT (SANDBOX_CAPS_DOCKER & ~(1ULL << 18) & ~(1ULL << 5))
#define SANDBOX_CAPS_ALL 0x000001ffffffffffULL
int sandbox_caps_bound(uint64_t keep);
int sandbox_caps_set(uint64_t keep);

/* Filters that are part of the program (src/tools/filters.c). */
struct sandbox_filter {
  uint64_t caps;
  bool single;
  unsigned short len;
  const struct sock_filter *code;
};
extern const struct sandbox_filter sandbox_filters[];
extern const size_t sandbox_filter_count;

/* The filter for these choices, one of the program's or built once per process; *out stays valid for ever. */
int sandbox_seccomp(uint64_t caps, bool single, struct sock_fprog *out, struct bk_err *err);

/* cgroup.procs of the group whose members can open the usual devices only; a new descriptor, or -1 when
 * that is not to be had here. fresh: the last one was removed by somebody else. */
int sandbox_device_group(bool fresh);

/* The usual devices and links of /dev. */
struct sandbox_node {
  const char *path;
  unsigned major, minor;
};
struct sandbox_link {
  const char *path, *to;
};
extern const struct sandbox_node sandbox_nodes[6];
extern const struct sandbox_link sandbox_links[5];

bool sandbox_in_userns(void); /* not the initial user namespace */
uint64_t sandbox_caps_effective(void);

/* Writes the id maps of a process that has made its user namespace; false when that is refused. */
bool sandbox_map_ids(enum bk_sandbox_mode mode, pid_t pid, uid_t uid, gid_t gid);
/* New mount of a kind, detached; -1 with errno. conf: key, value, …, NULL. */
int sandbox_new_mount(const char *fstype, const char *const *conf, unsigned long attrs);
void sandbox_sweep(const char *dir); /* what killed attempts left in a store */
/* A mode that worked in a store a while ago, in the same circumstances: fills the rest of t and returns
 * true. Remembering writes the store's file `tier`; failures are nothing. */
bool sandbox_recall(const char *dir, struct bk_sandbox_try *t);
void sandbox_remember(const char *dir, const struct bk_sandbox_try *t);
void sandbox_forget(const char *dir);
/* Fills why and fix of an attempt that failed. */
void sandbox_explain(struct bk_sandbox_try *t);
unsigned long sandbox_count_subids(void);

#endif
