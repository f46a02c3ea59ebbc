/* What a mode can do is found out by doing it, in a child that then disappears, mounts and all. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/process.h"
#include "sandbox/sandbox_int.h"

enum step { S_USER, S_MAP, S_ROOT, S_MOUNTNS, S_NAMESPACES, S_PRIVATE, S_TMPFS, S_PIVOT, S_CHROOT, S_DONE };

static const char *const step_names[] = {
    [S_USER] = "create a user namespace",
    [S_MAP] = "map ids",
    [S_ROOT] = "become root of the user namespace",
    [S_MOUNTNS] = "create a mount namespace",
    [S_NAMESPACES] = "create pid, ipc and uts namespaces",
    [S_PRIVATE] = "make mounts private",
    [S_TMPFS] = "mount a tmpfs",
    [S_PIVOT] = "change the root directory",
    [S_CHROOT] = "chroot",
};

struct report {
  int step, error, overlay, proc, net;
};

/* The child's side of the mapping: says that the namespace is there and waits for the maps. */
static int ask_for_maps(int out, int in) {
  char reply = 0;
  if (write(out, "m", 1) != 1 || read(in, &reply, 1) != 1) return errno = EIO, -1;
  return reply ? 0 : (errno = EPERM, -1);
}

static int try_proc(void) {
  pid_t pid = fork(); /* first in the new pid namespace */
  if (pid == 0) {
    int fd = sandbox_new_mount("proc", NULL, 0);
    _exit(fd < 0 ? errno & 127 : 0);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

/* Everything that a RUN does with its upper directory: delete below, opaque directories, writing. */
static int use_overlay(int m) {
  if (unlinkat(m, "d", AT_REMOVEDIR) || mkdirat(m, "d", 0755)) return errno;
  int fd = openat(m, "d/f", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  int rc = write(fd, "x", 1) == 1 ? 0 : errno;
  close(fd);
  return rc;
}

/* In the working directory: relative names hold no separators. */
static int mount_overlay(bool userxattr) {
  char options[160];
  const char *x = userxattr ? "userxattr,index=off,xino=off,volatile,"
                            : "index=off,xino=off,metacopy=off,redirect_dir=off,volatile,";
  snprintf(options, sizeof options, "%slowerdir=l,upperdir=u,workdir=w", x);
  if (mount("overlay", "m", "overlay", MS_NODEV, options) == 0) return 0;
  if (errno != EINVAL) return errno;
  snprintf(options, sizeof options, "%slowerdir=l,upperdir=u,workdir=w",
           userxattr ? "userxattr," : "index=off,");
  return mount("overlay", "m", "overlay", MS_NODEV, options) ? errno : 0;
}

/* In a directory of its own below `dir`, which is gone again afterwards. */
static int try_overlay(const char *dir, bool userxattr) {
  static const char *const names[] = {"l", "u", "w", "m", "l/d"};
  char base[4096];
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  snprintf(base, sizeof base, "%s/.try-%d-%ld", dir, (int)getpid(), t.tv_nsec);
  int rc = mkdir(base, 0700) || chdir(base) ? errno : 0;
  cleanup_close int lock = rc ? -1 : open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* see sandbox_sweep */
  if (lock >= 0) flock(lock, LOCK_EX | LOCK_NB);
  for (size_t i = 0; i < BK_ARRAY_LEN(names) && !rc; i++)
    if (mkdir(names[i], 0755)) rc = errno;
  if (!rc) rc = mount_overlay(userxattr);
  if (!rc) {
    int m = open("m", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* we are in base */
    rc = m < 0 ? errno : use_overlay(m);
    if (m >= 0) close(m);
    umount2("m", MNT_DETACH);
  }
  struct bk_err ignored;
  (void)!chdir("/");
  (void)!bk_rmtree(AT_FDCWD, base, &ignored);
  return rc;
}

/* Attempts that were killed half-way: nobody holds the lock. A living one takes it at once. */
void sandbox_sweep(const char *dir) {
  cleanup_dir DIR *d = opendir(dir);
  for (struct dirent *e; d && (e = readdir(d));) {
    struct stat st;
    struct bk_err ignored;
    if (strncmp(e->d_name, ".try-", 5) != 0 || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
    if (time(NULL) - st.st_ctime < 1) usleep(20000);
    cleanup_close int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (!S_ISDIR(st.st_mode)) unlinkat(dirfd(d), e->d_name, 0);
    else if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) (void)!bk_rmtree(dirfd(d), e->d_name, &ignored);
  }
}

/* A tmpfs as the new root, by the calls that a sandbox uses. */
static int try_root(const char *dir, int *step) {
  *step = S_TMPFS;
  int mnt = sandbox_new_mount("tmpfs", NULL, MOUNT_ATTR_NOSUID);
  if (mnt < 0 || move_mount(mnt, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH)) return -1;
  *step = S_PIVOT;
  if (fchdir(mnt) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH)) return -1;
  return 0;
}

static int try_namespaces(const struct bk_sandbox_try *t, const char *dir, bool full, int out, int in,
                          struct report *r) {
  bool userns = t->mode != BK_SANDBOX_ROOT;
  r->step = userns ? S_USER : S_MOUNTNS;
  if (userns) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) return -1;
    r->step = S_MAP;
    if (ask_for_maps(out, in)) return -1;
    r->step = S_ROOT;
    if (setresgid(0, 0, 0) || setresuid(0, 0, 0)) return -1;
    if (t->mode == BK_SANDBOX_RANGE && setgroups(0, NULL)) return -1;
  } else if (unshare(CLONE_NEWNS)) {
    return -1;
  }
  r->step = S_PRIVATE;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return -1;
  r->step = S_NAMESPACES;
  if (unshare(CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)) return -1;
  if (full) {
    r->proc = try_proc();
    r->net = unshare(CLONE_NEWNET) ? errno : 0;
  }
  for (int i = 0; dir && i < 3 && (i == 0 || r->overlay == ENOENT); i++) /* swept away by somebody else */
    r->overlay = try_overlay(dir, userns || sandbox_in_userns());
  return try_root(dir ? dir : "/tmp", &r->step);
}

#define CAP(name) (1ULL << CAP_##name)

/* Without these nothing can be unpacked or run as the image says. */
static int try_chroot(struct report *r) {
  r->step = S_CHROOT;
  uint64_t need = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FOWNER) | CAP(SETUID) | CAP(SETGID) | CAP(SYS_CHROOT);
  if (geteuid() != 0 || (sandbox_caps_effective() & need) != need) return errno = EPERM, -1;
  return chroot("/");
}

static void child(const struct bk_sandbox_try *t, const char *dir, bool full, int out, int in) {
  struct report r = {.overlay = -1, .proc = -1, .net = -1};
  int rc = t->mode == BK_SANDBOX_CHROOT ? try_chroot(&r) : try_namespaces(t, dir, full, out, in, &r);
  if (rc) r.error = errno ? errno : EIO;
  else r.step = S_DONE;
  _exit(write(out, "r", 1) == 1 && write(out, &r, sizeof r) == sizeof r ? 0 : 1);
}

/* Serves the mapping ("m"), then takes the report ("r"). */
static int converse(enum bk_sandbox_mode mode, pid_t pid, int from, int to, struct report *r) {
  char tag;
  while (bk_read_full(from, &tag, 1) == 1) {
    if (tag == 'r') return bk_read_full(from, r, sizeof *r) == sizeof *r ? 0 : -1;
    char reply = sandbox_map_ids(mode, pid, geteuid(), getegid());
    if (write(to, &reply, 1) != 1) return -1;
  }
  return -1;
}

static int run_child(const struct bk_sandbox_try *t, const char *dir, bool full, struct report *r) {
  int up[2], down[2];
  if (bk_process_pipe(up)) return errno;
  if (bk_process_pipe(down)) return close(up[0]), close(up[1]), EMFILE;
  pid_t pid = fork();
  if (pid == 0) {
    close(up[0]);
    close(down[1]);
    child(t, dir, full, up[1], down[0]);
  }
  int why = pid < 0 ? errno : 0;
  close(up[1]);
  close(down[0]);
  if (!why && converse(t->mode, pid, up[0], down[1], r)) why = ECHILD;
  close(up[0]);
  close(down[1]);
  while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
  return why;
}

/* What is clear without trying. */
static const char *excluded(enum bk_sandbox_mode mode) {
  bool root = geteuid() == 0;
  if (mode <= BK_SANDBOX_USERNS || mode == BK_SANDBOX_CHROOT) {
    if (!root) return "not root";
    if (mode == BK_SANDBOX_ROOT && !(sandbox_caps_effective() & CAP(SYS_ADMIN))) return "no CAP_SYS_ADMIN";
  }
  if (mode == BK_SANDBOX_RANGE) {
    if (sandbox_count_subids() == 0) return "no subordinate ids";
    char *tool = bk_process_which("newuidmap", "/usr/bin:/bin:/usr/sbin:/sbin", NULL);
    if (!tool) return "no newuidmap";
    free(tool);
  }
  return NULL;
}

void bk_sandbox_attempt(enum bk_sandbox_mode mode, const char *dir, bool full,
                        struct bk_sandbox_try *out) {
  *out = (struct bk_sandbox_try){.mode = mode, .overlay = -1, .proc = -1, .net = -1};
  if (mode == BK_SANDBOX_COPY) {
    out->usable = true;
    return;
  }
  out->step = excluded(mode);
  out->error = EPERM;
  if (!out->step) {
    struct report r = {.step = S_USER};
    int why = run_child(out, dir, full, &r);
    out->usable = !why && r.step == S_DONE;
    out->step = out->usable ? NULL : step_names[r.step];
    out->error = why ? why : r.error;
    out->overlay = r.overlay;
    out->proc = r.proc;
    out->net = r.net;
  }
  if (!out->usable) sandbox_explain(out);
}
