/* Why a mode does not work here and what would change that: the settings that a person can reach. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "sandbox/sandbox_int.h"

/* Number behind `name` in /proc/self/status, or -1. */
static long status(const char *name) {
  struct bk_buf b = {.max = 1 << 16};
  struct bk_err err;
  long n = -1;
  if (bk_read_file(AT_FDCWD, "/proc/self/status", &b, &err) == 0) {
    const char *at = strstr(bk_buf_str(&b), name);
    if (at) n = strtol(at + strlen(name), NULL, 10);
  }
  bk_buf_free(&b);
  return n;
}

static long sysctl(const char *path) {
  struct bk_buf b = {.max = 64};
  struct bk_err err;
  long n = bk_read_file(AT_FDCWD, path, &b, &err) == 0 ? strtol(bk_buf_str(&b), NULL, 10) : -1;
  bk_buf_free(&b);
  return n;
}

/* Confining AppArmor profile of this process, or "". */
static void apparmor(char out[static 64]) {
  struct bk_buf b = {.max = 256};
  struct bk_err err;
  out[0] = '\0';
  if (bk_read_file(AT_FDCWD, "/proc/self/attr/current", &b, &err) == 0) {
    const char *text = bk_buf_str(&b);
    if (strstr(text, "(enforce)")) snprintf(out, 64, "%.*s", (int)strcspn(text, " \n"), text);
  }
  bk_buf_free(&b);
}

static bool filtered(void) { return status("\nSeccomp:") > 0; }

#define SECCOMP_FIX \
  "docker run --security-opt seccomp=unconfined; in Kubernetes securityContext.seccompProfile.type: Unconfined"
#define APPARMOR_FIX \
  "docker run --security-opt apparmor=unconfined; in Kubernetes securityContext.appArmorProfile.type: Unconfined"

static void say(struct bk_sandbox_try *t, const char *why, const char *fix) {
  snprintf(t->why, sizeof t->why, "%s", why);
  snprintf(t->fix, sizeof t->fix, "%s", fix);
}

static void no_proc_self(struct bk_sandbox_try *t) {
  say(t, "/proc is not mounted", "mount -t proc proc /proc");
}

static void explain_userns(struct bk_sandbox_try *t) {
  if (sysctl("/proc/sys/user/max_user_namespaces") == 0)
    say(t, "user namespaces are switched off (user.max_user_namespaces is 0)",
        "sysctl -w user.max_user_namespaces=15000");
  else if (geteuid() != 0 && sysctl("/proc/sys/kernel/unprivileged_userns_clone") == 0)
    say(t, "only root may create user namespaces (kernel.unprivileged_userns_clone is 0)",
        "sysctl -w kernel.unprivileged_userns_clone=1");
  else if (t->error == ENOSPC)
    say(t, "the limit of user namespaces is reached", "sysctl -w user.max_user_namespaces=15000");
  else if (t->error == EINVAL || t->error == ENOSYS)
    say(t, "the kernel has no user namespaces", "a kernel with CONFIG_USER_NS");
  else if (filtered())
    say(t, "a seccomp filter refuses to create user namespaces", SECCOMP_FIX);
  else
    say(t, "user namespaces cannot be created (an LSM, or this is a chroot)",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; do not run inside a plain chroot");
}

static void explain_mount(struct bk_sandbox_try *t) {
  char profile[64];
  apparmor(profile);
  if (t->error == EINVAL) {
    say(t, "the root directory is not a mount point (a plain chroot)",
        "bind-mount the directory onto itself before entering it: mount --bind DIR DIR");
  } else if (profile[0]) {
    snprintf(t->why, sizeof t->why, "AppArmor profile %s denies mounts", profile);
    snprintf(t->fix, sizeof t->fix, "%s", APPARMOR_FIX);
  } else if (sysctl("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1) {
    say(t, "AppArmor leaves user namespaces without rights (kernel.apparmor_restrict_unprivileged_userns is 1)",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,` for bakery");
  } else if (filtered()) {
    snprintf(t->why, sizeof t->why, "a seccomp filter refuses to %s (%s)", t->step, strerror(t->error));
    snprintf(t->fix, sizeof t->fix, "%s", SECCOMP_FIX);
  } else {
    snprintf(t->why, sizeof t->why, "cannot %s: %s", t->step, strerror(t->error));
    snprintf(t->fix, sizeof t->fix, "allow it in this container, or run bakery outside");
  }
}

static void explain_range(struct bk_sandbox_try *t) {
  struct passwd *pw = getpwuid(getuid());
  char id[32];
  snprintf(id, sizeof id, "%u", getuid());
  const char *name = pw ? pw->pw_name : id;
  if (strcmp(t->step, "no subordinate ids") == 0) {
    snprintf(t->why, sizeof t->why, "no range for %s in /etc/subuid and /etc/subgid", name);
    snprintf(t->fix, sizeof t->fix, "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s",
             name);
  } else if (strcmp(t->step, "no newuidmap") == 0) {
    say(t, "newuidmap is not installed", "apt-get install uidmap");
  } else if (status("\nNoNewPrivs:") == 1) {
    say(t, "no_new_privs is set, so that newuidmap has no rights",
        "in Kubernetes securityContext.allowPrivilegeEscalation: true; docker run without "
        "--security-opt no-new-privileges");
  } else {
    say(t, "newuidmap or newgidmap refused the ranges in /etc/subuid and /etc/subgid",
        "both must be setuid root (or have CAP_SETUID, CAP_SETGID), and the ranges must not overlap the user's own id");
  }
}

static void explain_root(struct bk_sandbox_try *t) {
  if (geteuid() != 0) say(t, "not root", "run as root");
  else say(t, "CAP_SYS_ADMIN is missing", "docker run --privileged; in Kubernetes securityContext.privileged: true");
}

static void explain_chroot(struct bk_sandbox_try *t) {
  static const struct {
    int cap;
    const char *name;
  } need[] = {{CAP_CHOWN, "CHOWN"},   {CAP_DAC_OVERRIDE, "DAC_OVERRIDE"}, {CAP_FOWNER, "FOWNER"},
              {CAP_SETGID, "SETGID"}, {CAP_SETUID, "SETUID"},             {CAP_SYS_CHROOT, "SYS_CHROOT"}};
  uint64_t have = sandbox_caps_effective();
  size_t used = 0;
  if (geteuid() != 0) {
    say(t, "not root", "run as root");
    return;
  }
  char missing[120] = "";
  for (size_t i = 0; i < BK_ARRAY_LEN(need); i++)
    if (!(have >> need[i].cap & 1) && used < sizeof missing)
      used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%s", used ? ", " : "", need[i].name);
  if (used) {
    snprintf(t->why, sizeof t->why, "missing capabilities: %s", missing);
    snprintf(t->fix, sizeof t->fix, "add them: docker run --cap-add; in Kubernetes securityContext.capabilities.add");
  } else {
    snprintf(t->why, sizeof t->why, "chroot is refused: %s", strerror(t->error));
    snprintf(t->fix, sizeof t->fix, "%s", SECCOMP_FIX);
  }
}

void sandbox_explain(struct bk_sandbox_try *t) {
  bool user = strcmp(t->step, "create a user namespace") == 0;
  bool maps = strcmp(t->step, "map ids") == 0;
  if (t->mode == BK_SANDBOX_CHROOT) explain_chroot(t);
  else if (t->mode <= BK_SANDBOX_USERNS && geteuid() != 0) explain_root(t);
  else if (strncmp(t->step, "no ", 3) == 0 && t->mode == BK_SANDBOX_ROOT) explain_root(t);
  else if (maps && access("/proc/self/uid_map", F_OK)) no_proc_self(t);
  else if (t->mode == BK_SANDBOX_RANGE && (maps || strncmp(t->step, "no ", 3) == 0)) explain_range(t);
  else if (maps)
    say(t, "the kernel refused the id map", "give CAP_SETUID, CAP_SETGID and CAP_SETFCAP to this container");
  else if (user) explain_userns(t);
  else explain_mount(t);
}
