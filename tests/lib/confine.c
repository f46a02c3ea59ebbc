/* confine WORD[,WORD…] COMMAND…: runs the command where groups of system calls answer EPERM, as
 * container engines' default filters do: unshare, mount, chroot, mknod, seccomp. no_new_privs is not set, so the
 * caller must be root. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMESPACES \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

static const struct {
  const char *word;
  int calls[12];
} groups[] = {
    {"unshare", {SYS_unshare, SYS_setns, 0}},
    {"mount",
     {SYS_mount, SYS_umount2, SYS_pivot_root, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig,
      SYS_fsmount, SYS_mount_setattr, 0}},
    {"chroot", {SYS_chroot, 0}},
    {"seccomp", {SYS_seccomp, 0}},
    {"mknod", {SYS_mknodat,
#ifdef SYS_mknod
               SYS_mknod,
#endif
               0}},
};

static struct sock_filter prog[128];
static unsigned short len;

static void add(struct sock_filter f) { prog[len++] = f; }

static void refuse(int call, int error) {
  add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1));
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error));
}

/* clone with namespaces; its flags are the first argument on the machines that tests run on. */
static void refuse_clone(void) {
  refuse(SYS_clone3, ENOSYS);
  add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4));
  add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])));
  add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1));
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
}

static int has(const char *list, const char *word) {
  size_t n = strlen(word);
  for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
    if (strcspn(p, ",") == n && strncmp(p, word, n) == 0) return 1;
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: confine WORD[,WORD] COMMAND\n"), 2;
  add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
    if (!has(argv[1], groups[g].word)) continue;
    for (const int *c = groups[g].calls; *c; c++) {
      if (strcmp(groups[g].word, "mknod") != 0) {
        refuse(*c, EPERM);
        continue;
      }
      /* as without CAP_MKNOD: files, fifos and whiteouts stay possible */
      unsigned dev = *c == SYS_mknodat ? 3 : 2;
      add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)*c, 0, 4));
      add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                       (unsigned)(offsetof(struct seccomp_data, args) + 8 * dev)));
      add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0));
      add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
      add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    }
    if (strcmp(groups[g].word, "unshare") == 0) refuse_clone();
  }
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  struct sock_fprog p = {len, prog};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p)) return perror("confine: seccomp"), 126;
  execvp(argv[2], argv + 2);
  perror(argv[2]);
  return 127;
}
