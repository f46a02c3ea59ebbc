/* Cache directories that a killed process had moved into a tree of its session (tier F cannot mount).
 *
 * Before it moves them it writes `moved` in the temporary directory of the step: records of five texts,
 * each ended by a NUL: name of the tree's temporary directory, path in its `root`, instance of the cache
 * ("cachemounts/…/0"), device and inode of what is moved. The command may have put anything at that path
 * meanwhile: only the directory of that inode goes back. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/store_int.h"

#define NOTE_MAX (1 << 20)

struct moved {
  const char *tree, *path, *cache, *dev, *ino;
};

/* The next text of the note; NULL at its end or when it is cut off. */
static const char *text(struct bk_buf *note, size_t *at) {
  const char *p = bk_buf_str(note) + *at, *end = memchr(p, '\0', note->len - *at);
  if (!end) return NULL;
  *at += (size_t)(end - p) + 1;
  return p;
}

static bool next(struct bk_buf *note, size_t *at, struct moved *m) {
  return (m->tree = text(note, at)) && (m->path = text(note, at)) && (m->cache = text(note, at)) &&
         (m->dev = text(note, at)) && (m->ino = text(note, at)) && *m->tree && *m->tree != '.' &&
         !strchr(m->tree, '/') && strncmp(m->cache, "cachemounts/", 12) == 0 &&
         !strstr(m->cache, "..");
}

/* Anything in the way (another process uses the cache, it has files again, the command removed it)
 * means that there is nothing to be saved. */
static void put_back(struct bk_store *s, const char *session, const struct moved *m) {
  cleanup_free char *root = bk_asprintf("%s/%s/root", session, m->tree);
  cleanup_free char *parent = bk_strdup(m->path);
  cleanup_free char *lock = bk_asprintf("%s/lock", m->cache);
  cleanup_free char *data = bk_asprintf("%s/data", m->cache);
  char *slash = strrchr(parent, '/');
  const char *base = slash ? slash + 1 : m->path;
  struct stat st;
  if (slash) *slash = '\0';
  cleanup_close int tree = openat(s->fd, root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (tree < 0 || !*base) return;
  cleanup_close int dir =
      bk_open_in_root(tree, slash && *parent ? parent : ".", O_PATH | O_DIRECTORY, 0);
  if (dir < 0 || fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode) ||
      st.st_dev != strtoull(m->dev, NULL, 10) || st.st_ino != strtoull(m->ino, NULL, 10))
    return;
  cleanup_close int held = openat(s->fd, lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (held < 0 || flock(held, LOCK_EX | LOCK_NB)) return;
  (void)!renameat(dir, base, s->fd, data); /* over an empty directory, never over files */
}

struct rescue {
  struct bk_store *s;
  const char *session;
};

static int read_note(void *ud, const char *name, struct bk_err *err) {
  struct rescue *r = ud;
  cleanup_free char *path = bk_asprintf("%s/%s/moved", r->session, name);
  cleanup_buf struct bk_buf note = {.max = NOTE_MAX};
  struct moved m;
  size_t at = 0;
  if (bk_read_file(r->s->fd, path, &note, err)) return 0; /* most directories have none */
  while (at < note.len && next(&note, &at, &m)) put_back(r->s, r->session, &m);
  return 0;
}

void bk_store_rescue(struct bk_store *s, const char *session) {
  struct rescue r = {s, session};
  struct bk_err ignored;
  (void)!bk_store_list(s, session, read_note, &r, &ignored);
}
