/* The filter of RUN: what Docker lets a container do. A call that the list does not know answers
 * ENOSYS, so that programs fall back; one that is known and withheld answers EPERM. Gates follow
 * the capabilities of the box (builder.md 6.3; capabilities(7) says which call wants which). */
#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <pthread.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "sandbox/sandbox_int.h"

#define CAP(name) (1ULL << CAP_##name)

static const char allowed[] =
    "_llseek _newselect accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 "
    "arm_sync_file_range bind breakpoint brk cacheflush cachestat capget capset chdir chmod "
    "clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
    "clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup "
    "dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd "
    "eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 "
    "fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fcntl fcntl64 fdatasync fgetxattr "
    "file_getattr file_setattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat "
    "fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 "
    "futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd "
    "getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups "
    "getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom "
    "getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname "
    "getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch "
    "inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents "
    "io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill "
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self lgetxattr link linkat "
    "listen listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise "
    "map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mlock mlock2 "
    "mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive "
    "mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget "
    "msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat nice "
    "open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free "
    "pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 "
    "process_mrelease process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 "
    "pwritev pwritev2 read readahead readdir readlink readlinkat readv recv recvfrom recvmmsg "
    "recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 "
    "restart_syscall riscv_flush_icache rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask "
    "rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 "
    "rt_tgsigqueueinfo s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam "
    "sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity "
    "sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget "
    "semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto "
    "set_robust_list set_thread_area set_tid_address set_tls setitimer setpgid setpriority "
    "setrlimit setsid setsockopt setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaction "
    "sigaltstack signal signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend socketcall "
    "socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range "
    "sync_file_range2 syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun "
    "timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime "
    "timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit "
    "umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice wait4 "
    "waitid waitpid write writev";

/* Calls about owners and ids; with a single id they do nothing, successfully (zero consistency). */
static const char ids[] =
    "chown chown32 fchown fchown32 fchownat lchown lchown32 setfsgid setfsgid32 setfsuid setfsuid32 "
    "setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid "
    "setresuid32 setreuid setreuid32 setuid setuid32";

/* Withheld whatever the capabilities are. */
static const char denied[] =
    "_sysctl add_key bdflush io_uring_enter io_uring_register io_uring_setup kexec_file_load "
    "kexec_load keyctl nfsservctl pivot_root request_key swapoff swapon sysfs uselib userfaultfd "
    "ustat vm86 vm86old";

/* Allowed with any of the capabilities, otherwise EPERM. */
static const struct {
  uint64_t caps;
  const char *names;
} gates[] = {
    {CAP(SYS_ADMIN),
     "fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount "
     "open_tree open_tree_attr quotactl quotactl_fd setdomainname sethostname setns umount umount2 "
     "unshare"},
    {CAP(SYS_ADMIN) | CAP(BPF), "bpf"},
    {CAP(SYS_ADMIN) | CAP(PERFMON), "perf_event_open"},
    {CAP(SYS_ADMIN) | CAP(SYSLOG), "syslog"},
    {CAP(DAC_READ_SEARCH), "open_by_handle_at"},
    {CAP(SYS_BOOT), "reboot"},
    {CAP(SYS_CHROOT), "chroot"},
    {CAP(SYS_MODULE), "delete_module finit_module init_module"},
    {CAP(SYS_NICE),
     "get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node"},
    {CAP(SYS_PACCT), "acct"},
    {CAP(SYS_PTRACE), "kcmp pidfd_getfd process_madvise"},
    {CAP(SYS_RAWIO), "ioperm iopl"},
    {CAP(SYS_TIME), "clock_settime clock_settime64 settimeofday stime"},
    {CAP(SYS_TTY_CONFIG), "vhangup"},
};

static int add_names(scmp_filter_ctx ctx, uint32_t action, const char *names) {
  char name[48];
  for (const char *p = names; *p;) {
    size_t n = strcspn(p, " ");
    if (n < sizeof name) {
      memcpy(name, p, n);
      name[n] = '\0';
      int nr = seccomp_syscall_resolve_name(name);
      if (nr != __NR_SCMP_ERROR) { /* else: newer than the library */
        int rc = seccomp_rule_add_array(ctx, action, nr, 0, NULL);
        if (rc) return rc;
      }
    }
    p += n + (p[n] == ' ');
  }
  return 0;
}

static int add_when(scmp_filter_ctx ctx, uint32_t action, const char *name, struct scmp_arg_cmp cmp) {
  return seccomp_rule_add_array(ctx, action, seccomp_syscall_resolve_name(name), 1, &cmp);
}

static struct scmp_arg_cmp arg(unsigned n, enum scmp_compare op, scmp_datum_t a, scmp_datum_t b) {
  return (struct scmp_arg_cmp){.arg = n, .op = op, .datum_a = a, .datum_b = b};
}

/* New namespaces need CAP_SYS_ADMIN. clone3's flags are behind a pointer, which a filter cannot
 * read: without the capability it does not exist, and libc takes clone. */
static int add_clone(scmp_filter_ctx ctx, bool admin) {
  static const scmp_datum_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                         CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
  if (admin) return add_names(ctx, SCMP_ACT_ALLOW, "clone clone3");
  unsigned flags = seccomp_arch_native() == SCMP_ARCH_S390X ? 1 : 0;
  int rc = add_when(ctx, SCMP_ACT_ALLOW, "clone", arg(flags, SCMP_CMP_MASKED_EQ, namespaces, 0));
  for (int bit = 0; bit < 32 && !rc; bit++)
    if (namespaces >> bit & 1)
      rc = add_when(ctx, SCMP_ACT_ERRNO(EPERM), "clone",
                    arg(flags, SCMP_CMP_MASKED_EQ, 1ULL << bit, 1ULL << bit));
  return rc;
}

static int add_arguments(scmp_filter_ctx ctx) {
  static const scmp_datum_t personas[] = {0, 8, 0x20000, 0x20008, 0xffffffff};
  int rc = 0;
  for (size_t i = 0; i < BK_ARRAY_LEN(personas) && !rc; i++)
    rc = add_when(ctx, SCMP_ACT_ALLOW, "personality", arg(0, SCMP_CMP_EQ, personas[i], 0));
  if (!rc) rc = add_when(ctx, SCMP_ACT_ALLOW, "socket", arg(0, SCMP_CMP_NE, AF_VSOCK, 0));
  if (!rc) rc = add_when(ctx, SCMP_ACT_ERRNO(EPERM), "socket", arg(0, SCMP_CMP_EQ, AF_VSOCK, 0));
  return rc;
}

static int add_nodes(scmp_filter_ctx ctx, bool single) {
  if (!single) return add_names(ctx, SCMP_ACT_ALLOW, "mknod mknodat");
  static const scmp_datum_t kinds[] = {0, S_IFREG, S_IFIFO, S_IFSOCK};
  int rc = 0;
  for (int at = 0; at < 2 && !rc; at++) { /* devices are not ours to make: pretend */
    const char *name = at ? "mknodat" : "mknod";
    unsigned mode = at ? 2 : 1;
    for (size_t i = 0; i < BK_ARRAY_LEN(kinds) && !rc; i++)
      rc = add_when(ctx, SCMP_ACT_ALLOW, name, arg(mode, SCMP_CMP_MASKED_EQ, S_IFMT, kinds[i]));
    if (!rc) rc = add_when(ctx, SCMP_ACT_ERRNO(0), name, arg(mode, SCMP_CMP_MASKED_EQ, S_IFMT, S_IFCHR));
    if (!rc) rc = add_when(ctx, SCMP_ACT_ERRNO(0), name, arg(mode, SCMP_CMP_MASKED_EQ, S_IFMT, S_IFBLK));
  }
  return rc;
}

static int add_arches(scmp_filter_ctx ctx) {
  static const struct {
    uint32_t native, extra[2];
  } families[] = {{SCMP_ARCH_X86_64, {SCMP_ARCH_X86, SCMP_ARCH_X32}},
                  {SCMP_ARCH_AARCH64, {SCMP_ARCH_ARM, 0}},
                  {SCMP_ARCH_S390X, {SCMP_ARCH_S390, 0}}};
  uint32_t native = seccomp_arch_native();
  for (size_t i = 0; i < BK_ARRAY_LEN(families); i++)
    for (int k = 0; k < 2; k++)
      if (families[i].native == native && families[i].extra[k]) {
        int rc = seccomp_arch_add(ctx, families[i].extra[k]);
        if (rc && rc != -EEXIST) return rc;
      }
  return 0;
}

static int fill(scmp_filter_ctx ctx, uint64_t caps, bool single) {
  int rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
  if (!rc) rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* binary tree */
  if (!rc) rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  if (!rc) rc = add_arches(ctx);
  if (!rc) rc = add_names(ctx, SCMP_ACT_ALLOW, allowed);
  if (!rc) rc = add_names(ctx, single ? SCMP_ACT_ERRNO(0) : SCMP_ACT_ALLOW, ids);
  if (!rc) rc = add_names(ctx, SCMP_ACT_ERRNO(EPERM), denied);
  for (size_t i = 0; i < BK_ARRAY_LEN(gates) && !rc; i++)
    rc = add_names(ctx, gates[i].caps & caps ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM), gates[i].names);
  if (!rc) rc = add_clone(ctx, caps & CAP(SYS_ADMIN));
  if (!rc) rc = add_arguments(ctx);
  if (!rc) rc = add_nodes(ctx, single);
  return rc;
}

/* The library exports to descriptors only. */
static int export_filter(scmp_filter_ctx ctx, struct sock_fprog *out) {
  cleanup_close int fd = memfd_create("seccomp", MFD_CLOEXEC);
  if (fd < 0) return -errno;
  int rc = seccomp_export_bpf(ctx, fd);
  if (rc) return rc;
  struct stat st;
  if (fstat(fd, &st)) return -errno;
  out->len = (unsigned short)((size_t)st.st_size / sizeof *out->filter);
  out->filter = bk_malloc((size_t)st.st_size);
  if (pread(fd, out->filter, (size_t)st.st_size, 0) == st.st_size) return 0;
  free(out->filter);
  return -EIO;
}

int sandbox_seccomp(uint64_t caps, bool single, struct sock_fprog *out, struct bk_err *err) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static struct {
    uint64_t caps;
    bool single;
    struct sock_fprog prog;
  } cache[4];
  static size_t count;
  int rc = 0;
  for (size_t k = 0; k < sandbox_filter_count; k++) {
    const struct sandbox_filter *f = &sandbox_filters[k];
    if (f->caps != caps || f->single != single) continue;
    *out = (struct sock_fprog){f->len, (struct sock_filter *)f->code};
    return 0;
  }
  pthread_mutex_lock(&lock);
  size_t i = 0;
  while (i < count && (cache[i].caps != caps || cache[i].single != single)) i++;
  if (i == count && count == BK_ARRAY_LEN(cache)) rc = -ENOSPC;
  if (i == count && !rc) {
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    rc = ctx ? fill(ctx, caps, single) : -ENOMEM;
    if (!rc) rc = export_filter(ctx, &cache[i].prog);
    if (ctx) seccomp_release(ctx);
    cache[i].caps = caps;
    cache[i].single = single;
    if (!rc) count++;
  }
  if (!rc) *out = cache[i].prog;
  pthread_mutex_unlock(&lock);
  return rc ? bk_fail_errno(err, -rc, "build the seccomp filter") : 0;
}
