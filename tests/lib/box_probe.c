/* Calls that a sandbox withholds or allows, with arguments that do no harm; prints "name errno". */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void report(const char *name, long rc) {
  printf("%s %s\n", name, rc < 0 ? strerrorname_np(errno) : "ok");
  fflush(stdout);
}

int main(void) {
  report("unshare_user", syscall(SYS_unshare, CLONE_NEWUSER));
  report("clone_user", syscall(SYS_clone, CLONE_NEWUSER | 17, NULL, NULL, NULL, NULL));
  report("clone3", syscall(SYS_clone3, NULL, 0));
  report("keyctl", syscall(SYS_keyctl, 0, -3, 0));
  report("bpf", syscall(SYS_bpf, 0, NULL, 0));
  report("mount", syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL));
  report("io_uring_setup", syscall(SYS_io_uring_setup, 0, NULL));
  report("userfaultfd", syscall(SYS_userfaultfd, 0));
  report("vsock", socket(40, SOCK_STREAM, 0));
  report("inet", socket(AF_INET, SOCK_STREAM, 0));
  report("personality", syscall(SYS_personality, 0xffffffffUL));
  report("unknown", syscall(4000));
  report("chroot", syscall(SYS_chroot, "/"));
  report("setuid", syscall(SYS_setresuid, -1, -1, -1));
  pid_t pid = fork();
  if (pid == 0) _exit(7);
  int status = 0;
  report("fork", waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7 ? 0 : -1);
  return 0;
}
