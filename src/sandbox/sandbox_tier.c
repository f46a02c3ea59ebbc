/* Which tier this process is in: chosen by trying, or as told; entering it. */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "process/process.h"
#include "sandbox/sandbox_int.h"

static struct bk_sandbox_choice now = {.mode = BK_SANDBOX_NONE};

static const char *const names[BK_SANDBOX_MODES] = {
    "none", "root", "root-userns", "rootless", "rootless-single", "chroot", "copy-only"};

enum bk_sandbox_mode bk_sandbox_mode(void) { return now.mode; }

const char *bk_sandbox_mode_name(enum bk_sandbox_mode mode) { return names[mode]; }

char bk_sandbox_tier(enum bk_sandbox_mode mode) {
  if (mode == BK_SANDBOX_ROOT) return sandbox_in_userns() ? 'B' : 'A';
  return (char)('A' + (int)mode); /* USERNS is 2: C */
}

/* "auto", a mode's name or a tier's letter, then ",flat". */
static int parse(const char *text, enum bk_sandbox_mode *mode, bool *flat, struct bk_err *err) {
  *mode = BK_SANDBOX_NONE;
  *flat = false;
  if (!text || !*text) return 0;
  size_t n = strcspn(text, ",");
  if (text[n] == ',') {
    if (strcmp(text + n, ",flat") != 0) n = 0;
    else *flat = true;
  }
  if (n == 4 && strncmp(text, "auto", n) == 0) return 0;
  if (n == 4 && strncmp(text, "flat", n) == 0) return *flat = true, 0;
  for (int m = BK_SANDBOX_ROOT; m < BK_SANDBOX_MODES; m++)
    if (strlen(names[m]) == n && strncmp(text, names[m], n) == 0) return *mode = (enum bk_sandbox_mode)m, 0;
  if (n == 1 && text[0] >= 'A' && text[0] <= 'G')
    return *mode = text[0] == 'A' ? BK_SANDBOX_ROOT : (enum bk_sandbox_mode)(text[0] - 'A'), 0;
  return bk_fail(err, BK_USAGE, "sandbox.isolation",
                 "unknown isolation '%s': expected auto, root, root-userns, rootless, rootless-single, "
                 "chroot or copy-only (a tier's letter A to G), with ',flat' for no overlayfs and ',proc' for /proc "
                 "in a chroot", text);
}

/* --- entering ------------------------------------------------------------------------------------ */

/* Forks a process that stays in the old user namespace and writes our maps when told to. */
static pid_t fork_mapper(enum bk_sandbox_mode mode, int fds[2]) {
  int down[2], up[2];
  if (bk_process_pipe(down)) return -1;
  if (bk_process_pipe(up)) return close(down[0]), close(down[1]), -1;
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) {
    char go, reply = 0;
    close(down[1]);
    if (read(down[0], &go, 1) == 1) reply = sandbox_map_ids(mode, parent, geteuid(), getegid());
    _exit(write(up[1], &reply, 1) == 1 ? 0 : 1);
  }
  close(down[0]);
  close(up[1]);
  fds[0] = up[0];
  fds[1] = down[1];
  return pid;
}

static int enter_userns(enum bk_sandbox_mode mode, struct bk_err *err) {
  int fds[2];
  pid_t mapper = fork_mapper(mode, fds);
  if (mapper < 0) return bk_fail_errno(err, errno, "sandbox: fork");
  int why = unshare(CLONE_NEWUSER | CLONE_NEWNS) ? errno : 0;
  char reply = 0;
  if (!why && (write(fds[1], "", 1) != 1 || read(fds[0], &reply, 1) != 1)) reply = 0;
  close(fds[1]);
  close(fds[0]);
  while (waitpid(mapper, NULL, 0) < 0 && errno == EINTR) {}
  if (why)
    return bk_fail_errno(err, why, "sandbox: create a user namespace%s",
                         why == EINVAL ? " (enter must come before any thread)" : "");
  if (!reply)
    return bk_fail(err, BK_BUILD, "sandbox.setup", "sandbox: cannot map ids into the user namespace");
  if (setresgid(0, 0, 0) || setresuid(0, 0, 0))
    return bk_fail_errno(err, errno, "sandbox: become root of the user namespace");
  if (mode == BK_SANDBOX_RANGE && setgroups(0, NULL))
    return bk_fail_errno(err, errno, "sandbox: drop supplementary groups");
  return 0;
}

static int enter_mode(enum bk_sandbox_mode mode, struct bk_err *err) {
  if (mode >= BK_SANDBOX_CHROOT) return 0;
  if (mode == BK_SANDBOX_ROOT) {
    if (unshare(CLONE_NEWNS)) return bk_fail_errno(err, errno, "sandbox: create a mount namespace");
  } else if (enter_userns(mode, err)) {
    return -1;
  }
  /* Mounts of the host still come in, ours do not get out. */
  if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
    return bk_fail_errno(err, errno, "sandbox: make mounts private");
  return 0;
}

/* --- choosing ------------------------------------------------------------------------------------ */

static bool try_one(struct bk_sandbox_choice *c, enum bk_sandbox_mode mode, const char *dir) {
  struct bk_sandbox_try *t = &c->tries[c->ntries++];
  t->mode = mode;
  bool worth = dir && mode < BK_SANDBOX_CHROOT; /* the rest is tried in no time */
  if (!worth || !sandbox_recall(dir, t)) {
    bk_sandbox_attempt(mode, dir, false, t);
    if (worth && t->usable) sandbox_remember(dir, t);
  }
  if (t->usable) c->mode = mode;
  return t->usable;
}

/* Word for the owners and xattrs that files of a store have: those of the initial namespace with
 * trusted or user xattrs (or neither: marks in xattrs of ours), or those of one user's map. */
static const char *ids_word(enum bk_sandbox_mode mode, bool userxattr, bool marks) {
  if (!marks && mode <= BK_SANDBOX_CHROOT && mode != BK_SANDBOX_RANGE && mode != BK_SANDBOX_SINGLE)
    return "root-marked";
  if (mode == BK_SANDBOX_RANGE) return "rootless-range";
  if (mode == BK_SANDBOX_SINGLE) return "rootless-single";
  if (mode == BK_SANDBOX_COPY) return "recorded";
  return userxattr ? "root-userxattr" : "root";
}

/* Overlayfs keeps whiteouts to itself: a store on it cannot hold any. */
static bool can_mark(const char *dir) {
  char path[4200];
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  snprintf(path, sizeof path, "%s/.try-%d-%ld", dir, (int)getpid(), t.tv_nsec);
  if (mknod(path, S_IFCHR, 0)) return false;
  unlink(path);
  return true;
}

static int choose(struct bk_sandbox_choice *c, enum bk_sandbox_mode forced, const char *dir, struct bk_err *err) {
  /* A chroot keeps owners, which one id cannot: root prefers it. */
  static const enum bk_sandbox_mode order[] = {BK_SANDBOX_ROOT, BK_SANDBOX_USERNS, BK_SANDBOX_RANGE,
                                               BK_SANDBOX_CHROOT, BK_SANDBOX_SINGLE, BK_SANDBOX_COPY};
  for (size_t i = 0; !forced && i < BK_ARRAY_LEN(order); i++)
    if (try_one(c, order[i], dir)) return 0;
  if (try_one(c, forced, dir)) return 0;
  const struct bk_sandbox_try *t = &c->tries[0];
  return bk_fail(err, BK_USAGE, "sandbox.isolation", "isolation %s does not work here: %s (%s)", names[forced],
                 t->why, t->fix);
}

int bk_sandbox_enter(const char *isolation, const char *dir, struct bk_sandbox_choice *out,
                     struct bk_err *err) {
  enum bk_sandbox_mode forced;
  bool flat;
  if (parse(isolation, &forced, &flat, err)) return -1;
  if (now.mode != BK_SANDBOX_NONE) {
    *out = now;
    if (!forced || forced == now.mode) return 0;
    return bk_fail(err, BK_USAGE, "sandbox.isolation", "isolation is %s already, it cannot become %s",
                   names[now.mode], names[forced]);
  }
  struct bk_sandbox_choice c = {.mode = BK_SANDBOX_NONE};
  if (choose(&c, forced, dir, err)) return -1;
  const struct bk_sandbox_try *t = &c.tries[c.ntries - 1];
  bool userns = sandbox_in_userns();
  c.tier = bk_sandbox_tier(c.mode);
  c.overlay = !flat && c.mode < BK_SANDBOX_CHROOT && t->overlay <= 0;
  c.userxattr = c.mode != BK_SANDBOX_ROOT || userns;
  if (enter_mode(c.mode, err)) {
    if (dir) sandbox_forget(dir);
    return -1;
  }
  if (dir) sandbox_sweep(dir);
  c.marks = c.overlay || !dir || can_mark(dir);
  c.ids = ids_word(c.mode, c.userxattr, c.marks);
  *out = now = c;
  return 0;
}
