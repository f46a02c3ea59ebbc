/* /proc for tier F, which cannot mount one: seccomp(2) hands the calls that name a file to the supervisor
 * (seccomp_unotify(2), Linux 5.9), which answers for what a process is told about itself and its fellows
 * and lets all other calls go on. It is for who asks for it: a signal that comes in the moment before the
 * supervisor has taken a call makes it fail with EINTR in a program that does not restart calls, as dash
 * and busybox do not, which no call on a file does otherwise. Nothing is given that leads out of the
 * chroot: no directories, and no files of processes with another root. It runs in a fork of a program with
 * threads: system calls only. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sandbox/sandbox_proc.h"

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0 /* no filter */
#endif

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

enum { PATH_ROOM = 128, ANSWER_ROOM = 512 };

/* --- in the command, before it is executed ----------------------------------------------------- */

#define CALL(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

static struct sock_filter program[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef SYS_open
    CALL(SYS_open), CALL(SYS_stat), CALL(SYS_lstat), CALL(SYS_access), CALL(SYS_readlink),
#endif
    CALL(SYS_openat), CALL(SYS_newfstatat), CALL(SYS_statx), CALL(SYS_readlinkat), CALL(SYS_faccessat),
    CALL(SYS_faccessat2), CALL(SYS_getxattr), CALL(SYS_lgetxattr), CALL(SYS_listxattr), CALL(SYS_llistxattr),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static int send_fd(int socket, int fd) {
  char byte = 0;
  struct iovec data = {&byte, 1};
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {.room = {0}};
  struct msghdr msg = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
  struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return sendmsg(socket, &msg, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

void sandbox_proc_load(int socket) {
  struct sock_fprog filter = {BK_ARRAY_LEN(program), program};
  if (!ARCH || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return;
  unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
  int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &filter);
  if (fd < 0 && errno == EINVAL) fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (fd < 0) return; /* an old kernel, or somebody around us listens already */
  (void)!send_fd(socket, fd);
  close(fd);
}

int sandbox_proc_receive(int socket) {
  char byte;
  struct iovec data = {&byte, 1};
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr msg = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
  if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != 1) return -1;
  struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
  int fd = -1;
  if (c && c->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return fd;
}

/* --- one call ----------------------------------------------------------------------------------- */

struct call {
  const struct sandbox_proc *proc;
  const struct seccomp_notif *req;
  char path[PATH_ROOM]; /* as the command gave it */
  pid_t pid;            /* whose file: a process or, for the caller itself, its thread */
  bool self;
  bool top;             /* /proc itself */
  char rest[PATH_ROOM]; /* below /proc/PID; "" for that directory */
  char real[PATH_ROOM + 32];
  uid_t uid; /* of the caller: files are opened as it would */
  gid_t gid;
};

struct answer {
  int64_t value;
  int error;
  int fd; /* to be given to the caller, or -1 */
  bool cloexec;
};

/* Files are touched with the caller's ids. */
static void become(const struct call *c) {
  syscall(SYS_setfsgid, c->gid);
  syscall(SYS_setfsuid, c->uid);
}

/* Ours again; a change of ids has made the kernel forget what is to happen when the builder dies. */
static void become_again(const struct call *c) {
  int why = errno;
  if (c->uid || c->gid) {
    syscall(SYS_setfsuid, 0);
    syscall(SYS_setfsgid, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (getppid() != c->proc->builder) kill(getpid(), SIGTERM);
  }
  errno = why;
}

static bool read_ids(struct call *c, pid_t pid) {
  char name[32];
  struct stat st;
  snprintf(name, sizeof name, "/proc/%d", (int)pid);
  if (stat(name, &st)) return false;
  c->uid = st.st_uid;
  c->gid = st.st_gid;
  return true;
}

/* The caller's memory, by the call that needs no file or, for another user's process, by the file. */
static ssize_t memory(struct call *c, uint64_t at, void *data, size_t n, bool write) {
  size_t page = 4096 - at % 4096, first = n < page ? n : page;
  struct iovec mine = {data, n}, parts[2] = {{(void *)(uintptr_t)at, first},
                                             {(void *)(uintptr_t)(at + first), n - first}};
  unsigned long count = n > first ? 2 : 1;
  ssize_t got = write ? process_vm_writev((pid_t)c->req->pid, &mine, 1, parts, count, 0)
                      : process_vm_readv((pid_t)c->req->pid, &mine, 1, parts, count, 0);
  if (got >= 0 || errno == EFAULT || !read_ids(c, (pid_t)c->req->pid)) return got;
  char name[32];
  snprintf(name, sizeof name, "/proc/%d/mem", (int)c->req->pid);
  become(c);
  int fd = open(name, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  become_again(c);
  if (fd < 0) return -1;
  got = write ? pwrite(fd, data, n, (off_t)at) : pread(fd, data, n, (off_t)at);
  close(fd);
  return got;
}

/* A timer interrupts what waits (sandbox_supervise.c). */
static int tell(const struct call *c, unsigned long what, void *arg) {
  int rc;
  do rc = ioctl(c->proc->listener, what, arg);
  while (rc < 0 && errno == EINTR);
  return rc;
}

static bool still_there(const struct call *c) {
  uint64_t id = c->req->id;
  return tell(c, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

/* --- names -------------------------------------------------------------------------------------- */

static bool is_number(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (s[i] < '0' || s[i] > '9') return false;
  return n > 0 && n < 10;
}

static bool is_word(const char *s, size_t n, const char *words) {
  for (const char *w = words; *w; w += strcspn(w, " "), w += *w == ' ')
    if (strcspn(w, " ") == n && memcmp(w, s, n) == 0) return true;
  return false;
}

/* What one may know of oneself, and of others in the box. */
static bool is_given(const char *rest, bool self) {
  static const char files[] =
      "auxv cgroup cmdline comm coredump_filter cpuset environ exe io limits loginuid maps mountinfo mounts "
      "mountstats numa_maps oom_adj oom_score oom_score_adj personality sched schedstat sessionid setgroups smaps "
      "smaps_rollup stat statm status timers timerslack_ns uid_map gid_map projid_map wchan root cwd fd fdinfo net ns "
      "task attr";
  static const char others[] = "cgroup cmdline comm exe io limits oom_score oom_score_adj stat statm status task wchan";
  size_t n = strcspn(rest, "/");
  if (n == 4 && memcmp(rest, "task", 4) == 0 && rest[4]) { /* task/TID/… */
    size_t id = strcspn(rest + 5, "/");
    if (!is_number(rest + 5, id)) return false;
    rest += 5 + id + (rest[5 + id] == '/');
    n = strcspn(rest, "/");
  }
  if (!*rest) return true;
  if (!is_word(rest, n, self ? files : others)) return false;
  if (!rest[n]) return true;
  return is_word(rest, n, "fd fdinfo net ns attr") && !strchr(rest + n + 1, '/');
}

static bool same_root(struct call *c, pid_t pid) {
  char name[32], to[4096];
  snprintf(name, sizeof name, "/proc/%d/root", (int)pid);
  if (!read_ids(c, pid)) return false;
  become(c); /* only its owner may ask */
  ssize_t n = readlink(name, to, sizeof to);
  become_again(c);
  return n > 0 && (size_t)n == strlen(c->proc->root) && memcmp(to, c->proc->root, (size_t)n) == 0;
}

/* "a//b/" without what is too much; false when "." or ".." is in it, or it is long. */
static bool tidy(const char *from, char *to) {
  size_t len = 0;
  while (*from) {
    while (*from == '/') from++;
    size_t n = strcspn(from, "/");
    if (!n) break;
    if (from[0] == '.' && (n == 1 || (n == 2 && from[1] == '.'))) return false;
    if (len + n + 2 > PATH_ROOM) return false;
    if (len) to[len++] = '/';
    memcpy(to + len, from, n);
    len += n;
    from += n;
  }
  to[len] = '\0';
  return true;
}

/* Whether the path is one that is answered here; fills pid, rest and real. */
static bool parse(struct call *c) {
  char name[PATH_ROOM];
  const char *p = c->path;
  if (strncmp(p, "/proc", 5) == 0 && (p[5] == '/' || !p[5])) {
    if (!tidy(p + 5, name)) return false;
  } else if (strncmp(p, "/dev/fd/", 8) == 0 && is_number(p + 8, strlen(p + 8))) {
    snprintf(name, sizeof name, "self/fd/%s", p + 8);
  } else if (strcmp(p, "/dev/stdin") == 0) {
    snprintf(name, sizeof name, "self/fd/0");
  } else {
    return false;
  }
  c->pid = (pid_t)c->req->pid;
  c->top = !name[0];
  if (c->top) return snprintf(c->real, sizeof c->real, "/proc") > 0;
  size_t n = strcspn(name, "/");
  const char *rest = name + n + (name[n] == '/');
  c->self = is_word(name, n, "self thread-self");
  if (is_word(name, n, "mounts net")) {
    c->self = true;
    rest = name;
  } else if (is_number(name, n)) {
    c->pid = (pid_t)strtol(name, NULL, 10);
    c->self = c->pid == (pid_t)c->req->pid;
    if (!c->self && !same_root(c, c->pid)) return false;
  } else if (!c->self) {
    return false; /* of the machine: that is in the tree */
  }
  snprintf(c->rest, sizeof c->rest, "%s", rest);
  snprintf(c->real, sizeof c->real, "/proc/%d%s%s", (int)c->pid, *rest ? "/" : "", rest);
  return is_given(rest, c->self);
}

/* --- answers ------------------------------------------------------------------------------------ */

/* What the kernel would list of the mounts below a chroot is nothing. */
static int mounts_file(bool info) {
  static const char table[] = "overlay / overlay rw,relatime 0 0\n"
                              "proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n";
  static const char lines[] = "1 0 0:1 / / rw,relatime - overlay overlay rw\n"
                              "2 1 0:2 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n";
  const char *text = info ? lines : table;
  int fd = memfd_create("mounts", MFD_CLOEXEC);
  if (fd >= 0 && (write(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)) close(fd), fd = -1;
  return fd;
}

static void answer_open(struct call *c, int flags, struct answer *a) {
  const char *name = strrchr(c->rest, '/') ? strrchr(c->rest, '/') + 1 : c->rest;
  a->cloexec = flags & O_CLOEXEC;
  if (is_word(name, strlen(name), "mounts mountinfo")) {
    a->fd = mounts_file(name[5] == 'i');
  } else {
    /* O_NONBLOCK: a pipe without another end must not hold everybody up. */
    become(c);
    a->fd = open(c->real, (flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_NOFOLLOW)) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    become_again(c);
    if (a->fd >= 0 && !(flags & O_NONBLOCK)) fcntl(a->fd, F_SETFL, flags & O_APPEND);
  }
  struct stat st;
  if (a->fd < 0) {
    a->error = errno;
    return;
  }
  if (fstat(a->fd, &st) == 0 && !S_ISDIR(st.st_mode)) return;
  close(a->fd); /* ".." of it would be outside */
  a->fd = -1;
  a->error = EACCES;
}

static void answer_stat(struct call *c, uint64_t at, int flags, struct answer *a) {
  struct stat st;
  become(c);
  int rc = fstatat(AT_FDCWD, c->real, &st, flags & AT_SYMLINK_NOFOLLOW);
  become_again(c);
  if (rc) a->error = errno;
  else if (memory(c, at, &st, sizeof st, true) != sizeof st) a->error = EFAULT;
}

static void answer_statx(struct call *c, struct answer *a) {
  const uint64_t *args = (const uint64_t *)c->req->data.args;
  struct statx st;
  become(c);
  int rc = statx(AT_FDCWD, c->real, (int)args[2] & AT_SYMLINK_NOFOLLOW, (unsigned)args[3], &st);
  become_again(c);
  if (rc) a->error = errno;
  else if (memory(c, args[4], &st, sizeof st, true) != sizeof st) a->error = EFAULT;
}

static void answer_access(struct call *c, int mode, struct answer *a) {
  become(c);
  int rc = (int)syscall(SYS_faccessat2, AT_FDCWD, c->real, mode, AT_EACCESS);
  become_again(c);
  if (rc) a->error = errno;
}

/* Number of the caller's process. */
static int process_of(pid_t thread) {
  char name[40], text[512];
  snprintf(name, sizeof name, "/proc/%d/status", (int)thread);
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = '\0';
  const char *line = strstr(text, "\nTgid:");
  return line ? (int)strtol(line + 6, NULL, 10) : (int)thread;
}

/* The link's text as it reads inside the chroot. */
static ssize_t link_text(struct call *c, char *to, size_t size) {
  if (c->self && !*c->rest && strncmp(c->path, "/proc/self", 10) == 0)
    return snprintf(to, size, "%d", process_of((pid_t)c->req->pid));
  become(c);
  ssize_t n = readlink(c->real, to, size - 1);
  become_again(c);
  if (n < 0) return n;
  to[n] = '\0';
  size_t root = strlen(c->proc->root);
  if (strncmp(to, c->proc->root, root) != 0 || (to[root] && to[root] != '/')) return n;
  if (!to[root]) return snprintf(to, size, "/");
  memmove(to, to + root, (size_t)n - root + 1);
  return n - (ssize_t)root;
}

static void answer_readlink(struct call *c, uint64_t at, uint64_t room, struct answer *a) {
  char text[4200];
  ssize_t n = link_text(c, text, sizeof text);
  if (n < 0) {
    a->error = errno;
    return;
  }
  if ((uint64_t)n > room) n = (ssize_t)room;
  if (n > 0 && memory(c, at, text, (size_t)n, true) != n) {
    a->error = EFAULT;
    return;
  }
  a->value = n;
}

static void answer(struct call *c, struct answer *a) {
  const uint64_t *args = (const uint64_t *)c->req->data.args;
  switch (c->req->data.nr) {
#ifdef SYS_open
    case SYS_open: answer_open(c, (int)args[1], a); break;
    case SYS_stat: answer_stat(c, args[1], 0, a); break;
    case SYS_lstat: answer_stat(c, args[1], AT_SYMLINK_NOFOLLOW, a); break;
    case SYS_access: answer_access(c, (int)args[1], a); break;
    case SYS_readlink: answer_readlink(c, args[1], args[2], a); break;
#endif
    case SYS_openat: answer_open(c, (int)args[2], a); break;
    case SYS_newfstatat: answer_stat(c, args[2], (int)args[3], a); break;
    case SYS_statx: answer_statx(c, a); break;
    case SYS_faccessat:
    case SYS_faccessat2: answer_access(c, (int)args[2], a); break;
    case SYS_readlinkat: answer_readlink(c, args[2], args[3], a); break;
    default: a->error = EOPNOTSUPP; break; /* extended attributes */
  }
}

static uint64_t path_argument(const struct seccomp_data *d) {
  static const int behind_dir[] = {SYS_openat,     SYS_newfstatat, SYS_statx,
                                   SYS_readlinkat, SYS_faccessat,  SYS_faccessat2};
  for (size_t i = 0; i < BK_ARRAY_LEN(behind_dir); i++)
    if (d->nr == behind_dir[i]) return d->args[1];
  return d->args[0];
}

static bool is_open(int nr) {
#ifdef SYS_open
  if (nr == SYS_open) return true;
#endif
  return nr == SYS_openat;
}

/* Reads the path and says whether the call is answered here. */
static bool concerns_us(struct call *c) {
  ssize_t n = memory(c, path_argument(&c->req->data), c->path, sizeof c->path - 1, false);
  if (n <= 5) return false;
  c->path[n] = '\0';
  if (c->path[0] != '/' || (c->path[1] != 'p' && c->path[1] != 'd')) return false;
  if (strlen(c->path) == sizeof c->path - 1) return false;
  if (!parse(c) || !still_there(c) || !read_ids(c, (pid_t)c->req->pid)) return false;
  return !(c->top && is_open(c->req->data.nr)); /* the directory in the tree has what tells of the machine */
}

static int give(const struct call *c, const struct answer *a) {
  struct seccomp_notif_addfd add = {.id = c->req->id, .srcfd = (uint32_t)a->fd,
                                    .newfd_flags = a->cloexec ? O_CLOEXEC : 0};
  return tell(c, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
}

void sandbox_proc_serve(const struct sandbox_proc *proc) {
  _Alignas(struct seccomp_notif) static char request[ANSWER_ROOM], response[ANSWER_ROOM];
  static struct call c;
  struct seccomp_notif *req = (struct seccomp_notif *)(void *)request;
  struct seccomp_notif_resp *resp = (struct seccomp_notif_resp *)(void *)response;
  memset(request, 0, sizeof request);
  memset(response, 0, sizeof response);
  if (ioctl(proc->listener, SECCOMP_IOCTL_NOTIF_RECV, req)) return;
  memset(&c, 0, sizeof c);
  c.proc = proc;
  c.req = req;
  resp->id = req->id;
  if (concerns_us(&c)) {
    struct answer a = {.fd = -1};
    answer(&c, &a);
    if (a.fd >= 0) {
      int fd = give(&c, &a);
      if (fd < 0) a.error = errno;
      a.value = fd;
      close(a.fd);
    }
    resp->error = -a.error;
    resp->val = a.error ? 0 : a.value;
  } else {
    resp->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  }
  tell(&c, SECCOMP_IOCTL_NOTIF_SEND, resp);
}
