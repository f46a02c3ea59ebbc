#include "archive/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "archive/overlay.h"
#include "base/map.h"
#include "base/ids.h"
#include "base/mem.h"

struct packer {
  struct bk_sink *sink;
  struct bk_buf path;   /* of the entry at hand, relative to the root */
  struct bk_buf header;
  struct bk_map inodes; /* (dev, ino) of files with several links -> first path */
  uint64_t entries;
};

/* --- reading directories --------------------------------------------------------------------- */

static int by_pointer(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

char **bk_dir_names(int dirfd, size_t *n) {
  int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  cleanup_dir DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    int e = errno;
    if (fd >= 0) close(fd);
    errno = e;
    return NULL;
  }
  cleanup_buf struct bk_buf text = {0};
  *n = 0;
  for (;;) {
    errno = 0;
    struct dirent *e = readdir(d);
    if (!e && errno) return NULL;
    if (!e) break;
    const char *s = e->d_name;
    if (s[0] == '.' && (!s[1] || (s[1] == '.' && !s[2]))) continue;
    bk_buf_add(&text, s, strlen(s) + 1);
    ++*n;
  }
  char **v = bk_malloc((*n + 1) * sizeof *v + text.len), *s = (char *)(v + *n + 1);
  if (text.len) memcpy(s, text.p, text.len);
  for (size_t i = 0; i < *n; s += strlen(s) + 1) v[i++] = s;
  v[*n] = NULL;
  qsort(v, *n, sizeof *v, by_pointer);
  return v;
}

/* --- entries --------------------------------------------------------------------------------- */

static int put_header(struct packer *p, const struct bk_tar_entry *e, struct bk_err *err) {
  bk_buf_reset(&p->header);
  p->entries++;
  if (bk_tar_put_header(&p->header, e, err)) return -1;
  return bk_sink_write(p->sink, p->header.p, p->header.len, err);
}

static void fill(struct bk_tar_entry *e, const struct stat *st) {
  e->mode = st->st_mode & 07777;
  e->uid = st->st_uid;
  e->gid = st->st_gid;
  e->mtime = st->st_mtim.tv_sec;
}

/* An empty `.wh.` file next to (or, for the opaque marker, below) what it hides. */
static int put_whiteout(struct packer *p, size_t parent, const char *name, struct bk_err *err) {
  cleanup_free char *path = bk_asprintf("%.*s%s%s", (int)parent, bk_buf_str(&p->path),
                                        parent ? "/" : "", name);
  struct bk_tar_entry e = {.path = path, .link = "", .type = BK_TAR_FILE};
  return put_header(p, &e, err);
}

static int put_data(struct packer *p, int fd, uint64_t size, struct bk_err *err) {
  for (uint64_t left = size; left;) {
    size_t room;
    char *to = bk_sink_room(p->sink, &room);
    if (room > left) room = (size_t)left;
    ssize_t n = read(fd, to, room);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bk_fail_errno(err, errno, "read '%s'", p->path.p);
    if (n == 0)
      return bk_fail(err, BK_BUILD, "archive.changed", "'%s' shrank while it was packed",
                     p->path.p);
    if (bk_sink_add(p->sink, (size_t)n, err)) return -1;
    left -= (uint64_t)n;
  }
  return bk_sink_zeros(p->sink, bk_tar_padding(size), err);
}

/* Path that has the data of this inode already, or NULL after remembering this one. */
static const char *first_link(struct packer *p, const struct stat *st) {
  if (st->st_nlink < 2) return NULL;
  uint64_t key[2] = {st->st_dev, st->st_ino};
  const char *first = bk_map_get(&p->inodes, (const char *)key, sizeof key);
  if (!first) bk_map_set(&p->inodes, (const char *)key, sizeof key, bk_strdup(p->path.p));
  return first;
}

/* A regular file, or a further link to one that is packed already (e->type says so). */
static int pack_file(struct packer *p, int dirfd, const char *name, struct bk_tar_entry *e,
                     struct bk_err *err) {
  cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || bk_fstat(fd, &st)) return bk_fail_errno(err, errno, "open '%s'", p->path.p);
  if (!S_ISREG(st.st_mode))
    return bk_fail(err, BK_BUILD, "archive.changed", "'%s' changed while it was packed", p->path.p);
  struct bk_xattrs x;
  if (bk_xattrs_read(fd, &x))
    return bk_fail_errno(err, errno, "read extended attributes of '%s'", p->path.p);
  fill(e, &st);
  e->size = e->type == BK_TAR_FILE ? st.st_size : 0;
  e->xattrs = x.v;
  e->n_xattrs = x.n;
  int rc = put_header(p, e, err);
  bk_xattrs_free(&x);
  return rc ? -1 : put_data(p, fd, (uint64_t)e->size, err);
}

static int pack_symlink(struct packer *p, int dirfd, const char *name, struct bk_tar_entry *e,
                        struct bk_err *err) {
  char target[4097];
  ssize_t n = bk_readlinkat(dirfd, name, target, sizeof target - 1);
  if (n < 0) return bk_fail_errno(err, errno, "read link '%s'", p->path.p);
  target[n] = '\0';
  e->type = BK_TAR_SYMLINK;
  e->link = target;
  return put_header(p, e, err);
}

static int pack_children(struct packer *p, int fd, unsigned depth, struct bk_err *err);

static int pack_dir(struct packer *p, int dirfd, const char *name, struct bk_tar_entry *e,
                    unsigned depth, struct bk_err *err) {
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  cleanup_close int fd = openat(dirfd, name, flags);
  if (fd < 0) return bk_fail_errno(err, errno, "open directory '%s'", p->path.p);
  struct bk_xattrs x;
  if (bk_xattrs_read(fd, &x))
    return bk_fail_errno(err, errno, "read extended attributes of '%s'", p->path.p);
  e->type = BK_TAR_DIR;
  e->xattrs = x.v;
  e->n_xattrs = x.n;
  int rc = put_header(p, e, err);
  bk_xattrs_free(&x);
  return rc ? -1 : pack_children(p, fd, depth + 1, err);
}

static int pack_special(struct packer *p, const struct stat *st, struct bk_tar_entry *e,
                        struct bk_err *err) {
  if (S_ISSOCK(st->st_mode)) return 0;
  e->type = S_ISFIFO(st->st_mode) ? BK_TAR_FIFO : S_ISCHR(st->st_mode) ? BK_TAR_CHAR
                                                                       : BK_TAR_BLOCKDEV;
  if (e->type != BK_TAR_FIFO) {
    e->devmajor = major(st->st_rdev);
    e->devminor = minor(st->st_rdev);
  }
  return put_header(p, e, err);
}

static int pack_entry(struct packer *p, int dirfd, const char *name, const struct stat *st,
                      unsigned depth, struct bk_err *err) {
  struct bk_tar_entry e = {.path = p->path.p, .link = "", .type = BK_TAR_FILE};
  fill(&e, st);
  if (S_ISDIR(st->st_mode)) return pack_dir(p, dirfd, name, &e, depth, err);
  if (S_ISSOCK(st->st_mode)) return 0;
  const char *first = first_link(p, st);
  if (first) {
    e.type = BK_TAR_HARDLINK;
    e.link = first;
    if (!S_ISREG(st->st_mode)) return put_header(p, &e, err);
  }
  if (S_ISREG(st->st_mode)) return pack_file(p, dirfd, name, &e, err);
  if (S_ISLNK(st->st_mode)) return pack_symlink(p, dirfd, name, &e, err);
  return pack_special(p, st, &e, err);
}

/* Entries of one open directory; p->path is its path and the same again afterwards. */
static int pack_children(struct packer *p, int fd, unsigned depth, struct bk_err *err) {
  if (depth > BK_DEPTH_MAX)
    return bk_fail(err, BK_BUILD, "archive.too_deep", "'%.60s…': more than %d directory levels",
                   p->path.p, BK_DEPTH_MAX);
  size_t n, parent = p->path.len;
  char opaque = bk_overlay_opaque(fd);
  if (opaque == 'y' && depth && put_whiteout(p, parent, BK_WHITEOUT_OPAQUE, err)) return -1;
  cleanup_free char **names = bk_dir_names(fd, &n);
  if (!names) return bk_fail_errno(err, errno, "read directory '%s'", bk_buf_str(&p->path));
  for (size_t i = 0; i < n; i++) {
    struct stat st;
    if (bk_fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW))
      return bk_fail_errno(err, errno, "stat '%s/%s'", bk_buf_str(&p->path), names[i]);
    if (strncmp(names[i], BK_WHITEOUT_PREFIX, 4) == 0)
      return bk_fail(err, BK_BUILD, "archive.bad_name",
                     "'%s/%s': names that start with '.wh.' cannot be stored in an image layer",
                     bk_buf_str(&p->path), names[i]);
    int rc;
    if (bk_is_whiteout(&st) ||
        (opaque == 'x' && bk_overlay_xattr_whiteout(fd, names[i], &st))) {
      cleanup_free char *wh = bk_asprintf("%s%s", BK_WHITEOUT_PREFIX, names[i]);
      rc = put_whiteout(p, parent, wh, err);
    } else {
      if (parent) bk_buf_addc(&p->path, '/');
      bk_buf_adds(&p->path, names[i]);
      rc = pack_entry(p, fd, names[i], &st, depth, err);
      p->path.len = parent;
      p->path.p[parent] = '\0';
    }
    if (rc) return -1;
  }
  return 0;
}

int bk_archive_pack(const struct bk_pack_opts *opts, struct bk_pack_result *out,
                    struct bk_err *err) {
  cleanup_close int fd = open(opts->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open directory '%s'", opts->dir);
  cleanup_sink struct bk_sink *sink = NULL;
  if (bk_sink_open(&opts->sink, &sink, err)) return -1;
  struct packer p = {.sink = sink};
  int rc = pack_children(&p, fd, 0, err);
  if (rc == 0) rc = bk_sink_zeros(sink, 2 * BK_TAR_BLOCK, err);
  if (rc == 0) rc = bk_sink_finish(sink, &out->sink, err);
  out->entries = p.entries;
  bk_map_each(e, &p.inodes) free(e->value);
  bk_map_free(&p.inodes);
  bk_buf_free(&p.path);
  bk_buf_free(&p.header);
  return rc ? bk_err_wrap(err, "pack '%s'", opts->dir) : 0;
}
