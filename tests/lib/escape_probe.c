/* What a RUN could try against the host, its builder and other RUNs; prints "name ok" for what it may
 * not do and "name REACHED detail" for what it could. Arguments: marker file on the host, marker text in
 * environments, pid of a process on the host, name of an abstract socket there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void report(const char *name, int reached, const char *detail) {
  printf("%s %s %s\n", name, reached ? "REACHED" : "ok", reached ? detail : "");
  fflush(stdout);
}

static void try_file(const char *name, const char *fmt, int pid, const char *marker) {
  char path[4096];
  snprintf(path, sizeof path, fmt, pid, marker);
  int fd = open(path, O_RDONLY);
  if (fd >= 0) report(name, 1, path);
  if (fd >= 0) close(fd);
}

static int holds(const char *path, const char *text) {
  static char buf[1 << 20];
  int fd = open(path, O_RDONLY), n = fd < 0 ? 0 : (int)read(fd, buf, sizeof buf);
  if (fd >= 0) close(fd);
  return n > 0 && memmem(buf, (size_t)n, text, strlen(text)) != NULL;
}

/* Whether a process belongs to the same RUN: in a borrowed /proc numbers are not ours. */
static int is_ours(int pid) {
  char path[64], a[64] = "", b[64] = "";
  snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
  return readlink(path, a, sizeof a - 1) > 0 && readlink("/proc/self/ns/pid", b, sizeof b - 1) > 0 && strcmp(a, b) == 0;
}

/* Every number that could be a process: by /proc where it shows them, and blindly. */
static void try_processes(const char *marker, const char *text, int victim) {
  char path[64];
  for (int pid = 1; pid < 65536; pid++) {
    snprintf(path, sizeof path, "/proc/%d", pid);
    if (access(path, F_OK)) continue;
    if (is_ours(pid)) continue;
    try_file("proc_root", "/proc/%d/root%s", pid, marker);
    try_file("proc_cwd", "/proc/%d/cwd%s", pid, marker);
    snprintf(path, sizeof path, "/proc/%d/environ", pid);
    if (holds(path, text)) report("environ", 1, path);
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int fd = open(path, O_RDWR);
    if (fd >= 0) report("proc_mem", 1, path), close(fd);
  }
  int traced = ptrace(PTRACE_SEIZE, victim, 0, 0) == 0;
  report("ptrace", traced, "");
  char byte;
  struct iovec iov = {&byte, 1};
  report("vm_readv", process_vm_readv(victim, &iov, 1, &iov, 1, 0) > 0, "");
  report("kill", kill(victim, SIGURG) == 0, "");
}

static void try_chroot(const char *marker) {
  char path[4096];
  int root = open("/", O_RDONLY | O_DIRECTORY);
  mkdir("/tmp/.jail", 0700);
  if (root >= 0 && chroot("/tmp/.jail") == 0 && fchdir(root) == 0) {
    for (int i = 0; i < 64; i++) (void)!chdir("..");
    snprintf(path, sizeof path, "%s", marker + 1);
    report("chroot", access(path, F_OK) == 0, path);
  } else {
    report("chroot", 0, "");
  }
}

static void try_socket(const char *name) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  size_t n = strlen(name);
  memcpy(a.sun_path + 1, name, n);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  int rc = connect(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n));
  report("abstract_socket", rc == 0, name);
}

static void try_devices(void) {
  static const struct {
    const char *name;
    mode_t type;
    unsigned major, minor;
  } d[] = {{"disk", S_IFBLK, 254, 0}, {"disk_sda", S_IFBLK, 8, 0}, {"disk_loop", S_IFBLK, 7, 0},
           {"mem", S_IFCHR, 1, 1},    {"kmsg", S_IFCHR, 1, 11},    {"kvm", S_IFCHR, 10, 232},
           {"tun", S_IFCHR, 10, 200}, {"fuse", S_IFCHR, 10, 229},  {"console", S_IFCHR, 5, 1}};
  for (size_t i = 0; i < sizeof d / sizeof *d; i++) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/.%s", d[i].name);
    int fd = mknod(path, d[i].type | 0600, makedev(d[i].major, d[i].minor)) ? -1 : open(path, O_RDONLY | O_NONBLOCK);
    report(d[i].name, fd >= 0 || errno == ENXIO, path);
    if (fd >= 0) close(fd);
    unlink(path);
  }
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  const char *marker = argv[1];
  int open_fds = 0;
  for (int fd = 3; fd < 4096; fd++) open_fds += fcntl(fd, F_GETFD) >= 0;
  report("descriptors", open_fds, "");
  report("marker", access(marker, F_OK) == 0, marker);
  try_processes(marker, argv[2], atoi(argv[3]));
  try_socket(argv[4]);
  try_devices();
  report("mount", mount("none", "/tmp", "tmpfs", 0, NULL) == 0, "");
  report("umount", umount2("/proc", MNT_DETACH) == 0, "");
  report("unshare", syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) == 0, "");
  report("keyctl", syscall(SYS_keyctl, 0, -4, 0) >= 0, "");
  report("bpf", syscall(SYS_bpf, 0, NULL, 0) >= 0, "");
  report("open_by_handle", syscall(SYS_open_by_handle_at, AT_FDCWD, "\0\0\0\0\1\0\0\0", O_RDONLY) >= 0, "");
  report("sysctl", open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0, "");
  report("sysrq", open("/proc/sysrq-trigger", O_WRONLY) >= 0, "");
  report("cgroup", open("/sys/fs/cgroup/cgroup.procs", O_WRONLY) >= 0, "");
  report("dmesg", syscall(SYS_syslog, 3, (char[64]){0}, 64) >= 0, "");
  report("hostname", sethostname("evil", 4) == 0, "");
  report("module", syscall(SYS_init_module, NULL, 0, "") == 0 || errno == EFAULT, "");
  try_chroot(marker);
  return 0;
}
