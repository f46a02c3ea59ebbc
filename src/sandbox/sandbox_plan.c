/* The list of steps for one box, in the order in which the child carries them out. */
#include <glob.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sandbox/sandbox_int.h"

#define NOSUID MOUNT_ATTR_NOSUID
#define NODEV MOUNT_ATTR_NODEV
#define NOEXEC MOUNT_ATTR_NOEXEC
#define RDONLY MOUNT_ATTR_RDONLY

static struct op *add(struct plan *p, struct op op) {
  if (p->nops == p->cap) {
    p->cap = p->cap ? p->cap * 2 : 64;
    p->ops = bk_reallocarray(p->ops, p->cap, sizeof *p->ops);
  }
  p->ops[p->nops] = op;
  return &p->ops[p->nops++];
}

static BK_PRINTF(2, 3) const char *copyf(struct plan *p, const char *fmt, ...) {
  char text[64];
  va_list ap;
  va_start(ap, fmt);
  int len = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return bk_arena_strndup(&p->arena, text, (size_t)len);
}

static const char **conf(struct plan *p, size_t pairs) {
  return bk_arena_alloc(&p->arena, (pairs * 2 + 1) * sizeof(char *));
}

/* --- /proc, /dev, /sys -------------------------------------------------------------------------- */

static void add_dev(struct plan *p) {
  const struct sandbox_node *nodes = sandbox_nodes;
  const struct sandbox_link *links = sandbox_links;
  static const char *const dev_conf[] = {"mode", "0755", "size", "64m", NULL};
  static const char *const pts_conf[] = {"ptmxmode", "0666", "mode", "0620", "gid", "5", NULL};
  static const char *const pts_single[] = {"ptmxmode", "0666", "mode", "0620", NULL};
  add(p, (struct op){.kind = OP_MOUNT, .path = "/dev", .fstype = "tmpfs", .conf = dev_conf,
                     .attrs = NOSUID | (p->devices ? 0 : NODEV)});
  for (size_t i = 0; i < BK_ARRAY_LEN(sandbox_nodes); i++)
    add(p, (struct op){.kind = OP_NODE, .path = nodes[i].path, .mode = 0666, .own = true, .attrs = NOSUID | NOEXEC,
                       .dev = (unsigned)makedev(nodes[i].major, nodes[i].minor)});
  for (size_t i = 0; i < BK_ARRAY_LEN(sandbox_links); i++)
    add(p, (struct op){.kind = OP_LINK, .path = links[i].path, .source = links[i].to});
  static const char *const dirs[] = {"/dev/pts", "/dev/shm", "/dev/mqueue"};
  for (size_t i = 0; i < BK_ARRAY_LEN(dirs); i++)
    add(p, (struct op){.kind = OP_DIR, .path = dirs[i], .mode = 0755});
  add(p, (struct op){.kind = OP_MOUNT, .path = "/dev/pts", .fstype = "devpts", .own = true,
                     .conf = p->single ? pts_single : pts_conf, .attrs = NOSUID | NOEXEC});
  const char **shm = conf(p, 2);
  shm[0] = "mode";
  shm[1] = "1777";
  shm[2] = "size";
  shm[3] = copyf(p, "%" PRIu64, p->spec->shm_size ? p->spec->shm_size : (uint64_t)64 << 20);
  add(p, (struct op){.kind = OP_MOUNT, .path = "/dev/shm", .fstype = "tmpfs", .conf = shm, .own = true,
                     .attrs = NOSUID | NODEV | NOEXEC});
  add(p, (struct op){.kind = OP_MOUNT, .path = "/dev/mqueue", .fstype = "mqueue", .own = true,
                     .optional = true, .attrs = NOSUID | NODEV | NOEXEC});
}

static void add_kernel(struct plan *p, bool insecure) {
  unsigned long safe = NOSUID | NODEV | NOEXEC;
  /* An outer container that masks parts of /proc may not mount a fresh one. Its own still serves:
   * /proc/self is right in it, other numbers are those of the outer pid namespace. */
  add(p, (struct op){.kind = OP_MOUNT, .path = "/proc", .fstype = "proc", .source = "/proc", .attrs = safe});
  add_dev(p);
  /* sysfs belongs to the network namespace, and that to a user namespace. */
  add(p, (struct op){.kind = OP_MOUNT, .path = "/sys", .fstype = "sysfs", .source = "/sys",
                     .attrs = insecure ? safe : safe | RDONLY});
  if (!p->userns && access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
    add(p, (struct op){.kind = OP_MOUNT, .path = "/sys/fs/cgroup", .fstype = "cgroup2", .own = true,
                       .optional = true, .attrs = insecure ? safe : safe | RDONLY});
}

static void add_masks(struct plan *p) {
  static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                         "/proc/sysrq-trigger"};
  static const char *const masked[] = {
      "/proc/acpi",         "/proc/asound",     "/proc/interrupts",  "/proc/kcore",
      "/proc/keys",         "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
      "/proc/sched_debug",  "/proc/scsi",       "/sys/firmware",     "/sys/fs/selinux",
      "/sys/devices/virtual/powercap"};
  add(p, (struct op){.kind = OP_EMPTY, .source = ".empty"});
  for (size_t i = 0; i < BK_ARRAY_LEN(readonly); i++)
    add(p, (struct op){.kind = OP_READONLY, .path = readonly[i]});
  for (size_t i = 0; i < BK_ARRAY_LEN(masked); i++)
    add(p, (struct op){.kind = OP_MASK, .path = masked[i]});
  glob_t found = {0};
  if (glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle", GLOB_NOSORT, NULL, &found) == 0)
    for (size_t i = 0; i < found.gl_pathc; i++)
      add(p, (struct op){.kind = OP_MASK,
                         .path = bk_arena_strndup(&p->arena, found.gl_pathv[i], strlen(found.gl_pathv[i]))});
  globfree(&found);
}

/* --- mounts of the caller ----------------------------------------------------------------------- */

static size_t depth(const char *path) {
  size_t n = 0;
  for (; *path; path++) n += *path == '/' && path[1] && path[1] != '/';
  return n;
}

static void add_file(struct plan *p, const char *name, const char *target, const char *data, size_t n,
                     unsigned mode, unsigned uid, unsigned gid, unsigned long attrs) {
  add(p, (struct op){.kind = OP_FILE, .source = name, .data = data, .ndata = n, .mode = mode, .uid = uid,
                     .gid = gid});
  add(p, (struct op){.kind = OP_BIND, .path = target, .source = name, .support = true, .attrs = attrs});
}

static void add_mount(struct plan *p, const struct bk_sandbox_mount *m, size_t index) {
  unsigned long ro = (m->ro ? RDONLY : 0) | (p->spec->security == BK_SECURITY_INSECURE ? 0 : NODEV);
  if (m->type == BK_MOUNT_BIND) {
    add(p, (struct op){.kind = OP_BIND, .path = m->target, .source = m->source, .subpath = m->subpath,
                       .attrs = ro});
  } else if (m->type == BK_MOUNT_LAYERS) {
    const char *name = copyf(p, "layers%zu", index);
    add(p, (struct op){.kind = OP_LAYERS, .path = m->target, .source = name, .mount = m,
                       .fds = bk_arena_alloc(&p->arena, (m->nlowers + 1) * sizeof(int))});
    add(p, (struct op){.kind = OP_BIND, .path = m->target, .source = name, .support = true,
                       .subpath = m->subpath ? m->subpath : "/", .attrs = ro | RDONLY});
  } else if (m->type == BK_MOUNT_TMPFS) {
    const char **c = conf(p, 2);
    c[0] = "mode";
    c[1] = copyf(p, "%o", m->mode);
    if (m->size) {
      c[2] = "size";
      c[3] = copyf(p, "%" PRIu64, m->size);
    }
    add(p, (struct op){.kind = OP_MOUNT, .path = m->target, .fstype = "tmpfs", .conf = c,
                       .attrs = NOSUID | ro});
  } else {
    add_file(p, copyf(p, "secret%zu", index), m->target, m->data, m->ndata, m->mode, m->uid, m->gid,
             RDONLY | NOSUID | NODEV | NOEXEC);
  }
}

/* Outer targets before those inside them, otherwise in the caller's order. */
static void add_mounts(struct plan *p) {
  const struct bk_sandbox_spec *s = p->spec;
  size_t done = 0;
  for (size_t level = 0; done < s->nmounts; level++)
    for (size_t i = 0; i < s->nmounts; i++)
      if (depth(s->mounts[i].target) == level) {
        add_mount(p, &s->mounts[i], i);
        done++;
      }
}

/* With one id apt cannot become its sandbox user; it looks at the outcome, so pretending is not enough. */
static void add_apt(struct plan *p) {
  static const char text[] = "APT::Sandbox::User \"root\";\n";
  add(p, (struct op){.kind = OP_FILE, .source = "apt", .data = text, .ndata = sizeof text - 1, .mode = 0644});
  add(p, (struct op){.kind = OP_BIND, .path = "/etc/apt/apt.conf.d/zz-one-id", .source = "apt", .support = true,
                     .needs = "/etc/apt/apt.conf.d", .attrs = RDONLY | NOSUID | NODEV | NOEXEC});
}

/* --- all ---------------------------------------------------------------------------------------- */

static void add_simple(struct plan *p, enum op_kind kind) { add(p, (struct op){.kind = kind}); }

/* Without namespaces: the root is there already, complete. A filter needs CAP_SYS_ADMIN or
 * no_new_privs, so by default that of the container around us has to do. */
static void plan_chroot(struct plan *p) {
  bool strict = p->spec->security == BK_SECURITY_STRICT;
  add_simple(p, OP_STDIO);
  add(p, (struct op){.kind = OP_CHROOT, .path = p->spec->upper});
  add_simple(p, OP_CLOSE);
  if (p->spec->nlimits) add_simple(p, OP_LIMITS);
  add_simple(p, OP_CWD);
  add(p, (struct op){.kind = OP_BOUNDING, .optional = true});
  if (strict) add_simple(p, OP_NO_NEW_PRIVS);
  add_simple(p, OP_SCOPE);
  add_simple(p, OP_IDS);
  add_simple(p, OP_CAPS);
  if (strict) add_simple(p, OP_SECCOMP);
  add_simple(p, OP_DEATH);
  if (p->spec->proc) add_simple(p, OP_PROC);
  add_simple(p, OP_EXEC);
}

void sandbox_plan(struct plan *p) {
  const struct bk_sandbox_spec *s = p->spec;
  if (p->chroot) {
    plan_chroot(p);
    return;
  }
  bool insecure = s->security == BK_SECURITY_INSECURE, strict = s->security == BK_SECURITY_STRICT;
  unsigned long ro = RDONLY | NOSUID | NODEV | NOEXEC;
  add_simple(p, OP_STDIO);
  if (p->group >= 0) add_simple(p, OP_GROUP);
  if (s->private_net && s->netns) add_simple(p, OP_NETNS);
  add_simple(p, OP_PRIVATE);
  add_simple(p, s->nlowers ? OP_OVERLAY : OP_SCRATCH);
  add(p, (struct op){.kind = OP_SUPPORT, .path = s->upper});
  add_kernel(p, insecure);
  if (s->resolv)
    add_file(p, "resolv.conf", "/etc/resolv.conf", s->resolv, strlen(s->resolv), 0644, 0, 0, ro);
  if (s->hosts) add_file(p, "hosts", "/etc/hosts", s->hosts, strlen(s->hosts), 0644, 0, 0, ro);
  if (p->single) add_apt(p);
  add_mounts(p);
  if (!insecure) add_masks(p);
  add_simple(p, OP_PIVOT);
  if (s->hostname) add_simple(p, OP_HOSTNAME);
  if (s->private_net) add_simple(p, OP_LOOPBACK);
  add_simple(p, OP_CLOSE);
  if (s->nlimits) add_simple(p, OP_LIMITS);
  add_simple(p, OP_CWD);
  if (!insecure) add_simple(p, OP_BOUNDING);
  /* Loading a filter needs CAP_SYS_ADMIN, or no_new_privs: before the one is given up, or after the
   * other is set. */
  if (!insecure) add_simple(p, OP_SCOPE);
  if (!insecure && !strict) add_simple(p, OP_SECCOMP);
  add_simple(p, OP_IDS);
  if (!insecure || s->uid) add_simple(p, OP_CAPS);
  if (strict) {
    add_simple(p, OP_NO_NEW_PRIVS);
    add_simple(p, OP_SECCOMP);
  }
  add_simple(p, OP_DEATH);
  add_simple(p, OP_EXEC);
}
