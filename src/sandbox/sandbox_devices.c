/* Devices as in Docker: any node can be made, only the usual ones can be opened. The kernel's device
 * policy hangs on a control group (kernel Documentation/admin-guide/cgroup-v2.rst, "Device controller"):
 * one group of ours below the one we are in, shared by all builders there, with a program that decides.
 * Where that cannot be had (no cgroup2, no privileges), everything is mounted nodev instead. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "sandbox/sandbox_int.h"

#define GROUP "bakery.run"

static long bpf(int cmd, union bpf_attr *attr) { return syscall(SYS_bpf, cmd, attr, sizeof *attr); }

/* --- the program --------------------------------------------------------------------------------- */

#define LOAD(reg, field) \
  {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (reg), .src_reg = BPF_REG_1, \
   .off = offsetof(struct bpf_cgroup_dev_ctx, field)}
#define JUMP(op, reg, value, to) \
  {.code = BPF_JMP | (op) | BPF_K, .dst_reg = (reg), .imm = (value), .off = (to)}
#define RESULT(value) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = (value)}
#define AND(reg, value) {.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = (reg), .imm = (value)}
#define SHIFT(reg, value) {.code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = (reg), .imm = (value)}
#define EXIT {.code = BPF_JMP | BPF_EXIT}

/* access_type: the access (1 mknod, 2 read, 4 write) << 16 | the type (1 block, 2 character). */
static const struct bpf_insn program[] = {
    /*  0 */ LOAD(BPF_REG_2, access_type),
    /*  1 */ {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_3, .src_reg = BPF_REG_2},
    /*  2 */ SHIFT(BPF_REG_3, 16),
    /*  3 */ JUMP(BPF_JEQ, BPF_REG_3, BPF_DEVCG_ACC_MKNOD, 17), /* making one is all: yes */
    /*  4 */ AND(BPF_REG_2, 0xffff),
    /*  5 */ JUMP(BPF_JNE, BPF_REG_2, BPF_DEVCG_DEV_CHAR, 13), /* no */
    /*  6 */ LOAD(BPF_REG_4, major),
    /*  7 */ LOAD(BPF_REG_5, minor),
    /*  8 */ JUMP(BPF_JEQ, BPF_REG_4, 136, 12), /* terminals of devpts: yes */
    /*  9 */ JUMP(BPF_JEQ, BPF_REG_4, 5, 6),
    /* 10 */ JUMP(BPF_JNE, BPF_REG_4, 1, 8), /* no */
    /* 11 */ JUMP(BPF_JEQ, BPF_REG_5, 3, 9), /* null */
    /* 12 */ JUMP(BPF_JEQ, BPF_REG_5, 5, 8), /* zero */
    /* 13 */ JUMP(BPF_JEQ, BPF_REG_5, 7, 7), /* full */
    /* 14 */ JUMP(BPF_JEQ, BPF_REG_5, 8, 6), /* random */
    /* 15 */ JUMP(BPF_JEQ, BPF_REG_5, 9, 5), /* urandom: yes */
    /* 16 */ JUMP(BPF_JEQ, BPF_REG_4, 1, 2), /* another memory device: no */
    /* 17 */ JUMP(BPF_JEQ, BPF_REG_5, 0, 3), /* tty */
    /* 18 */ JUMP(BPF_JEQ, BPF_REG_5, 2, 2), /* ptmx: yes */
    /* 19 */ RESULT(0),
    /* 20 */ EXIT,
    /* 21 */ RESULT(1),
    /* 22 */ EXIT,
};

static int load_program(void) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = (uint64_t)(uintptr_t)program;
  attr.insn_cnt = BK_ARRAY_LEN(program);
  attr.license = (uint64_t)(uintptr_t)"GPL";
  return (int)bpf(BPF_PROG_LOAD, &attr);
}

/* Whether the group has a program already, made by a builder before us. */
static bool has_program(int group) {
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.query.target_fd = (uint32_t)group;
  attr.query.attach_type = BPF_CGROUP_DEVICE;
  return bpf(BPF_PROG_QUERY, &attr) == 0 && attr.query.prog_cnt > 0;
}

static int attach_program(int group) {
  if (has_program(group)) return 0;
  cleanup_close int prog = load_program();
  if (prog < 0) return -1;
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.target_fd = (uint32_t)group;
  attr.attach_bpf_fd = (uint32_t)prog;
  attr.attach_type = BPF_CGROUP_DEVICE;
  attr.attach_flags = BPF_F_ALLOW_MULTI;
  return (int)bpf(BPF_PROG_ATTACH, &attr);
}

/* --- the group ----------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool tried;
static int group_fd = -1, parent_fd = -1;

/* Our own group in the unified hierarchy, through a mount that nobody else sees. */
static int open_own(void) {
  cleanup_buf struct bk_buf text = {.max = 1 << 16};
  struct bk_err ignored;
  if (bk_read_file(AT_FDCWD, "/proc/self/cgroup", &text, &ignored)) return -1;
  const char *line = strncmp(bk_buf_str(&text), "0::/", 4) == 0 ? text.p : strstr(text.p, "\n0::/");
  if (!line) return -1;
  const char *path = strstr(line, "0::/") + 4;
  cleanup_free char *own = bk_strndup(path, strcspn(path, "\n"));
  cleanup_close int mnt = sandbox_new_mount("cgroup2", NULL, 0);
  if (mnt < 0 || strstr(own, "..")) return -1;
  return openat(mnt, *own ? own : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Joining is tried by a process that ends at once. */
static bool can_join(int procs) {
  pid_t pid = fork();
  if (pid == 0) _exit(write(procs, "0", 1) == 1 ? 0 : 1);
  int status = 1;
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return pid > 0 && status == 0;
}

static int open_group(void) {
  if (parent_fd < 0) parent_fd = open_own();
  if (parent_fd < 0) return -1;
  if (mkdirat(parent_fd, GROUP, 0755) && errno != EEXIST) return -1;
  cleanup_close int dir = openat(parent_fd, GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0 || attach_program(dir)) return -1;
  cleanup_close int procs = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
  return procs >= 0 && can_join(procs) ? bk_steal_fd(&procs) : -1;
}

/* Another builder may have removed the group when it was empty: its file answers ENODEV then. */
int sandbox_device_group(bool fresh) {
  pthread_mutex_lock(&lock);
  bool gone = group_fd >= 0 && (fresh || faccessat(parent_fd, GROUP "/cgroup.procs", F_OK, 0) != 0);
  if (gone) close(group_fd), group_fd = -1;
  if (!tried || gone) group_fd = open_group();
  tried = true;
  int fd = group_fd >= 0 ? fcntl(group_fd, F_DUPFD_CLOEXEC, 3) : -1;
  pthread_mutex_unlock(&lock);
  return fd;
}

/* The last builder takes the group along; it stays while others run something in it. */
__attribute__((destructor)) static void remove_group(void) {
  if (parent_fd >= 0 && group_fd >= 0) unlinkat(parent_fd, GROUP, AT_REMOVEDIR);
}
