/* Owners, modes and file types that this process may not give to files, kept in an extended attribute
 * (user.bakery.stat) and shown as if they were real. Layer directories are written and read through
 * these calls only; where nothing has to be recorded they are the system calls of the same name. The
 * setting is the process's, like its umask: it is made once, before layers are touched. */
#ifndef BK_BASE_IDS_H
#define BK_BASE_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

enum {
  BK_IDS_OWNERS = 1, /* one id only: owners of files and directories are recorded */
  BK_IDS_ALL = 2,    /* no privileges: modes, devices and owners of symlinks too */
  BK_IDS_DEVICES = 8, /* a user namespace: device nodes */
  BK_IDS_MARKS = 4,  /* no whiteout devices here (overlayfs): an empty file with a record */
};
void bk_ids_set(unsigned flags);
unsigned bk_ids(void);
/* Owner of what this process creates, as these calls show it; (uid_t)-1: a chown is always needed. */
uid_t bk_ids_uid(void);
gid_t bk_ids_gid(void);

/* flags: AT_SYMLINK_NOFOLLOW always; AT_EMPTY_PATH for the descriptor itself. */
int bk_fstatat(int dirfd, const char *name, struct stat *st, int flags);
int bk_fstat(int fd, struct stat *st);
int bk_fchownat(int dirfd, const char *name, uid_t uid, gid_t gid, int flags);
int bk_fchown(int fd, uid_t uid, gid_t gid);
int bk_fchmodat(int dirfd, const char *name, mode_t mode);
int bk_fchmod(int fd, mode_t mode);
int bk_mknodat(int dirfd, const char *name, mode_t mode, dev_t dev);
ssize_t bk_readlinkat(int dirfd, const char *name, char *buf, size_t size);

/* An attribute that only root may set is kept under a name of our own (BK_IDS_ALL). NULL: as it is. */
const char *bk_ids_xattr_in(const char *name);
const char *bk_ids_xattr_out(const char *name);

#endif
