/* What the files of the store share; the struct owns all its members. */
#ifndef BK_STORE_INT_H
#define BK_STORE_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "store/store.h"

struct bk_store {
  atomic_int refs;
  char *dir;
  int fd;     /* the store directory: every path below is relative to it */
  int lockfd; /* locks/store, shared while open */
  bool durable;
  char boot[40];
  pthread_mutex_t mutex; /* session and db */
  char *session;         /* "tmp/<boot>-<pid>-<start>-<random>", made on first use */
  int sessionfd;         /* its lock, exclusive: what says that we live */
  atomic_uint seq;
  atomic_int held;       /* named locks of this handle */
  void *db;              /* sqlite3 */
};

/* Adds how much room is left when the error is about a full disk; returns -1. */
int bk_store_failed(struct bk_store *s, struct bk_err *err);

/* Path in our session that does not exist yet ("tmp/…/<tag><n>"); makes the session. */
char *bk_store_tmpname(struct bk_store *s, const char *tag, struct bk_err *err);
/* Writes a file in the session and renames it over `to`; the directory of `to` must exist. */
int bk_store_write(struct bk_store *s, const char *to, const void *p, size_t n, struct bk_err *err)
    BK_WARN_UNUSED;
/* Takes a path out of the store at once (rename into the session), then removes it. */
int bk_store_discard(struct bk_store *s, const char *path, struct bk_err *err) BK_WARN_UNUSED;
/* flock, waiting out interruptions; 1 got it, 0 busy, -1 error. */
int bk_store_flock(int fd, int op, const char *what, struct bk_err *err) BK_WARN_UNUSED;

/* Puts back cache directories that lie in a dead session (`session`: its path in the store). */
void bk_store_rescue(struct bk_store *s, const char *session);

/* File name for any text: percent-encoded, hashed when too long. */
void bk_store_encode(struct bk_buf *out, const char *name);
bool bk_store_hex_of(const char *digest, char hex[static 65]);
int bk_store_bad_digest(const char *digest, struct bk_err *err);

/* Sizes of a tree: every inode once, directories counted as entries without bytes. */
struct bk_tree_size {
  uint64_t entries, bytes;
};
int bk_store_measure(int dirfd, const char *path, struct bk_tree_size *out, struct bk_err *err)
    BK_WARN_UNUSED;
/* What publish wrote down; false when it is missing or not readable. */
bool bk_store_layer_size(struct bk_store *s, const char *hex, struct bk_tree_size *out);

/* Calls f for every entry of a directory of the store ('.' names left out); a missing directory is
 * empty. Stops on non-zero. */
int bk_store_list(struct bk_store *s, const char *path,
                  int (*f)(void *ud, const char *name, struct bk_err *err), void *ud,
                  struct bk_err *err) BK_WARN_UNUSED;

/* Reads one record file: 1 sound, 0 absent or unsound, -1. name is reset to the record's name. */
int bk_store_read_record(struct bk_store *s, const char *path, struct bk_buf *name,
                         struct bk_buf *text, int64_t *stamp, struct bk_err *err) BK_WARN_UNUSED;
/* Calls f with the path of every record file of a kind, sound or not. */
int bk_store_record_files(struct bk_store *s, enum bk_store_kind kind,
                          int (*f)(void *ud, const char *path, struct bk_err *err), void *ud,
                          struct bk_err *err) BK_WARN_UNUSED;

/* After a reboot: removes what was being written to disk when it happened. */
int bk_store_recover_boot(struct bk_store *s, struct bk_err *err) BK_WARN_UNUSED;
/* sha256 of a file, hex. */
int bk_store_hash_file(int dirfd, const char *path, char hex[static 65], struct bk_err *err)
    BK_WARN_UNUSED;
void bk_store_hash(const void *p, size_t n, char hex[static 65]);

void bk_store_close_db(struct bk_store *s);

#endif
