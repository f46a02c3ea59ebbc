#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fs.h"

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct bk_dir_entry *)a)->name, ((const struct bk_dir_entry *)b)->name);
}

int bk_dir_read(int dirfd, const char *path, struct bk_dir *out, struct bk_err *err) {
  *out = (struct bk_dir){0};
  int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    int e = errno;
    if (fd >= 0) close(fd);
    return bk_fail_errno(err, e, "read directory '%s'", path);
  }
  size_t cap = 0;
  for (;;) {
    errno = 0;
    const struct dirent *e = readdir(d);
    if (!e && errno) {
      bk_fail_errno(err, errno, "read directory '%s'", path);
      bk_dir_free(out);
      return -1;
    }
    if (!e) break;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    mode_t type = DTTOIF(e->d_type);
    struct stat st;
    if (e->d_type == DT_UNKNOWN)
      type = fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & S_IFMT : 0;
    if (out->count == cap)
      out->entries = bk_reallocarray(out->entries, cap = cap ? cap * 2 : 16, sizeof *out->entries);
    const char *name = bk_arena_strndup(&out->names, e->d_name, strlen(e->d_name));
    out->entries[out->count++] = (struct bk_dir_entry){name, type};
  }
  if (out->count) qsort(out->entries, out->count, sizeof *out->entries, by_name);
  return 0;
}

void bk_dir_free(struct bk_dir *dir) {
  free(dir->entries);
  bk_arena_free(&dir->names);
  *dir = (struct bk_dir){0};
}

/* --- walking --------------------------------------------------------------------------------- */

struct bk_walk_level {
  struct bk_dir dir;
  size_t next;
  size_t path; /* length of this directory's path, with the slash behind it */
};

static int enter(struct bk_walk *w, struct bk_err *err) {
  const char *path = w->path.len ? bk_buf_str(&w->path) : ".";
  if (w->depth == BK_WALK_DEPTH) return bk_fail_errno(err, ELOOP, "walk '%s'", path);
  struct bk_walk_level level = {0};
  if (bk_dir_read(w->rootfd, path, &level.dir, err)) return -1;
  if (w->path.len) bk_buf_addc(&w->path, '/');
  level.path = w->path.len;
  w->levels = bk_reallocarray(w->levels, w->depth + 1, sizeof *w->levels);
  w->levels[w->depth++] = level;
  return 0;
}

int bk_walk_open(struct bk_walk *w, const char *root, struct bk_err *err) {
  *w = (struct bk_walk){.rootfd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (w->rootfd < 0) return bk_fail_errno(err, errno, "walk '%s'", root);
  w->open = true;
  return enter(w, err);
}

int bk_walk_next(struct bk_walk *w, mode_t *type, struct bk_err *err) {
  if (w->descend) {
    w->descend = false;
    if (enter(w, err)) return -1;
  }
  while (w->depth) {
    struct bk_walk_level *l = &w->levels[w->depth - 1];
    if (l->next == l->dir.count) {
      bk_dir_free(&l->dir);
      w->depth--;
      continue;
    }
    const struct bk_dir_entry *e = &l->dir.entries[l->next++];
    if (e->type == 0) continue;
    w->path.len = l->path;
    bk_buf_adds(&w->path, e->name);
    *type = e->type;
    w->descend = S_ISDIR(e->type);
    return 1;
  }
  return 0;
}

void bk_walk_skip(struct bk_walk *w) { w->descend = false; }

void bk_walk_free(struct bk_walk *w) {
  for (size_t i = 0; i < w->depth; i++) bk_dir_free(&w->levels[i].dir);
  free(w->levels);
  bk_buf_free(&w->path);
  if (w->open) close(w->rootfd);
  *w = (struct bk_walk){0};
}
