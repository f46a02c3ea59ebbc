#include "base/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"

#define RECORD "user.bakery.stat" /* "MODE UID GID MAJOR MINOR", mode in octal with the type, 0: as it is */
#define CAPABILITY "security.capability"
#define OUR_CAPABILITY "user.bakery.capability"

static unsigned level;

void bk_ids_set(unsigned flags) { level = flags; }
unsigned bk_ids(void) { return level; }
uid_t bk_ids_uid(void) { return level & BK_IDS_ALL ? (uid_t)-1 : geteuid(); }
gid_t bk_ids_gid(void) { return level & BK_IDS_ALL ? (gid_t)-1 : getegid(); }

const char *bk_ids_xattr_in(const char *name) {
  return level & BK_IDS_ALL && strcmp(name, CAPABILITY) == 0 ? OUR_CAPABILITY : NULL;
}

const char *bk_ids_xattr_out(const char *name) {
  return level & BK_IDS_ALL && strcmp(name, OUR_CAPABILITY) == 0 ? CAPABILITY : NULL;
}

/* --- the record ------------------------------------------------------------------------------- */

struct record {
  mode_t mode;
  uid_t uid;
  gid_t gid;
  unsigned major, minor;
};

static bool get_record(int fd, struct record *r) {
  char text[80];
  ssize_t n = fgetxattr(fd, RECORD, text, sizeof text - 1);
  if (n <= 0) return false;
  text[n] = '\0';
  return sscanf(text, "%o %u %u %u %u", &r->mode, &r->uid, &r->gid, &r->major, &r->minor) == 5;
}

static int set_record(int fd, const struct record *r) {
  char text[80];
  int n = snprintf(text, sizeof text, "%o %u %u %u %u", r->mode, r->uid, r->gid, r->major, r->minor);
  return fsetxattr(fd, RECORD, text, (size_t)n, 0);
}

/* Only files and directories can carry one. */
static bool may_have(const struct stat *st) {
  if (level & (BK_IDS_OWNERS | BK_IDS_ALL)) return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode);
  return S_ISREG(st->st_mode) && st->st_size == 0;
}

static int open_file(int dirfd, const char *name) {
  return openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static void show(struct stat *st, const struct record *r) {
  st->st_uid = r->uid;
  st->st_gid = r->gid;
  if (!r->mode) return;
  st->st_mode = r->mode;
  if (S_ISCHR(r->mode) || S_ISBLK(r->mode)) st->st_rdev = makedev(r->major, r->minor);
}

/* fd < 0: the object cannot be opened or cannot carry a record. */
static void apply(int fd, struct stat *st) {
  struct record r;
  cleanup_close int dir = -1; /* O_PATH descriptors have no attributes */
  if (fd >= 0 && S_ISDIR(st->st_mode) && fcntl(fd, F_GETFL) & O_PATH)
    fd = dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && get_record(fd, &r)) show(st, &r);
  else if (level & BK_IDS_ALL) st->st_uid = 0, st->st_gid = 0; /* everything is ours, and we play root */
}

int bk_fstat(int fd, struct stat *st) {
  if (fstat(fd, st)) return -1;
  if (level) apply(may_have(st) ? fd : -1, st);
  return 0;
}

int bk_fstatat(int dirfd, const char *name, struct stat *st, int flags) {
  if (fstatat(dirfd, name, st, flags)) return -1;
  if (!level) return 0;
  cleanup_close int fd = may_have(st) ? open_file(dirfd, *name ? name : ".") : -1;
  apply(fd, st);
  return 0;
}

/* --- owners and modes -------------------------------------------------------------------------- */

/* Record of an open file or directory, as it is shown now. */
static int current(int fd, struct record *r, struct stat *st) {
  if (fstat(fd, st)) return -1;
  if (get_record(fd, r)) return 0;
  *r = (struct record){.mode = level & BK_IDS_ALL ? st->st_mode : 0};
  return 0;
}

/* We must stay able to read, write and set attributes. */
static int keep_access(int fd, const struct stat *st) {
  mode_t want = (st->st_mode & 0777) | (S_ISDIR(st->st_mode) ? 0700 : 0600);
  return (st->st_mode & 07777) == want ? 0 : fchmod(fd, want);
}

/* A file that stands for a device, in a tier where other files need no record. */
static bool is_device(int fd, struct record *r) {
  return get_record(fd, r) && (S_ISCHR(r->mode) || S_ISBLK(r->mode));
}

int bk_fchown(int fd, uid_t uid, gid_t gid) {
  struct record r, old;
  struct stat st;
  if (!(level & (BK_IDS_OWNERS | BK_IDS_ALL)) && !(level & BK_IDS_DEVICES && is_device(fd, &r)))
    return fchown(fd, uid, gid);
  if (current(fd, &r, &st)) return -1;
  if (uid != (uid_t)-1) r.uid = uid;
  if (gid != (gid_t)-1) r.gid = gid;
  if (!(level & BK_IDS_ALL) && !r.uid && !r.gid && !get_record(fd, &old)) return 0;
  if (level & BK_IDS_ALL && keep_access(fd, &st)) return -1;
  return set_record(fd, &r);
}

/* Puts a file with a record in the place of something that cannot carry one; `text` is its content. */
static int stand_in(int dirfd, const char *name, const struct record *r, const char *text, size_t n) {
  cleanup_close int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 || bk_write_all(fd, text, n)) return -1;
  return set_record(fd, r);
}

static int chown_special(int dirfd, const char *name, const struct stat *st, uid_t uid, gid_t gid) {
  char target[4097];
  ssize_t n = 0;
  if (uid == 0 && gid == 0) return 0;
  if (S_ISLNK(st->st_mode) && (n = readlinkat(dirfd, name, target, sizeof target - 1)) < 0) return -1;
  struct record r = {.mode = st->st_mode, .uid = uid, .gid = gid};
  struct timespec times[2] = {st->st_atim, st->st_mtim};
  if (unlinkat(dirfd, name, 0) || stand_in(dirfd, name, &r, target, (size_t)n)) return -1;
  return utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW);
}

int bk_fchownat(int dirfd, const char *name, uid_t uid, gid_t gid, int flags) {
  struct stat st;
  if (!(level & (BK_IDS_OWNERS | BK_IDS_ALL | BK_IDS_DEVICES))) return fchownat(dirfd, name, uid, gid, flags);
  if (!*name) return bk_fchown(dirfd, uid, gid);
  if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW)) return -1;
  if (!(level & (BK_IDS_OWNERS | BK_IDS_ALL)) && !(S_ISREG(st.st_mode) && st.st_size == 0))
    return fchownat(dirfd, name, uid, gid, flags);
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
    return level & BK_IDS_ALL ? chown_special(dirfd, name, &st, uid, gid) : 0;
  cleanup_close int fd = open_file(dirfd, name);
  return fd < 0 ? -1 : bk_fchown(fd, uid, gid);
}

int bk_fchmod(int fd, mode_t mode) {
  struct record r;
  struct stat st;
  if (level & BK_IDS_DEVICES && is_device(fd, &r)) {
    r.mode = (r.mode & S_IFMT) | (mode & 07777);
    return set_record(fd, &r);
  }
  if (!(level & BK_IDS_ALL)) return fchmod(fd, mode);
  if (current(fd, &r, &st) || keep_access(fd, &st)) return -1;
  r.mode = (r.mode & S_IFMT) | (mode & 07777);
  if (set_record(fd, &r)) return -1;
  mode_t real = (mode & 0777) | (S_ISDIR(st.st_mode) ? 0700 : 0600);
  return fchmod(fd, real);
}

int bk_fchmodat(int dirfd, const char *name, mode_t mode) {
  struct stat st;
  if (!(level & (BK_IDS_ALL | BK_IDS_DEVICES))) return fchmodat(dirfd, name, mode, 0);
  if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW)) return -1;
  if (!(level & BK_IDS_ALL) && !(S_ISREG(st.st_mode) && st.st_size == 0)) return fchmodat(dirfd, name, mode, 0);
  if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return fchmodat(dirfd, name, mode, 0);
  cleanup_close int fd = open_file(dirfd, name);
  return fd < 0 ? -1 : bk_fchmod(fd, mode);
}

/* --- special files ----------------------------------------------------------------------------- */

int bk_mknodat(int dirfd, const char *name, mode_t mode, dev_t dev) {
  bool device = S_ISCHR(mode) || S_ISBLK(mode), whiteout = S_ISCHR(mode) && dev == 0;
  bool record = device && (whiteout ? level & (BK_IDS_ALL | BK_IDS_MARKS) : level & (BK_IDS_ALL | BK_IDS_DEVICES));
  if (!record)
    return mknodat(dirfd, name, mode, dev);
  struct record r = {.mode = mode, .major = major(dev), .minor = minor(dev)};
  return stand_in(dirfd, name, &r, "", 0);
}

ssize_t bk_readlinkat(int dirfd, const char *name, char *buf, size_t size) {
  ssize_t n = readlinkat(dirfd, name, buf, size);
  if (n >= 0 || errno != EINVAL || !(level & BK_IDS_ALL)) return n;
  cleanup_close int fd = open_file(dirfd, name);
  struct record r;
  if (fd < 0 || !get_record(fd, &r) || !S_ISLNK(r.mode)) return errno = EINVAL, -1;
  return bk_read_full(fd, buf, size);
}
