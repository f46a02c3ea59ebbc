#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/fs.h"
#include "base/mem.h"
#include "oci/layout.h"
#include "oci/oci_int.h"

#define INDEX_MAX (16u << 20)

struct bk_oci_layout {
  atomic_int refs;
  int fd;
  char *dir;
};

/* --- opening --------------------------------------------------------------------------------- */

static int check_version(struct bk_oci_layout *l, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {.max = 65536};
  if (bk_read_file(l->fd, "oci-layout", &text, err)) return -1;
  json_t *doc = oci_json(text.p, text.len, "oci-layout", err);
  if (!doc) return -1;
  const char *v = oci_json_str(doc, "imageLayoutVersion");
  int rc = v && strncmp(v, "1.", 2) == 0
               ? 0
               : bk_fail(err, BK_BUILD, "oci.layout", "layout version '%.40s' is not supported",
                         v ? v : "");
  json_decref(doc);
  return rc;
}

static int make(struct bk_oci_layout *l, struct bk_err *err) {
  static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
  static const char index[] =
      "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
      "\"manifests\":[]}";
  if (bk_mkdirs(l->fd, "blobs/sha256", 0755, err)) return -1;
  if (faccessat(l->fd, "index.json", F_OK, 0) &&
      bk_write_file(l->fd, "index.json", index, sizeof index - 1, 0644, false, err))
    return -1;
  if (faccessat(l->fd, "oci-layout", F_OK, 0) == 0) return 0;
  return bk_write_file(l->fd, "oci-layout", version, sizeof version - 1, 0644, false, err);
}

int bk_oci_layout_open(struct bk_oci_layout **out, const char *dir, bool create,
                       struct bk_err *err) {
  if (create && bk_mkdirs(-100, dir, 0755, err)) return -1;
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return bk_fail_errno(err, errno, "open layout '%s'", dir);
  struct bk_oci_layout *l = bk_calloc(1, sizeof *l);
  atomic_init(&l->refs, 1);
  l->fd = fd;
  l->dir = bk_strdup(dir);
  int rc = 0;
  if (create) { /* two creators: the second finds the first one's files */
    while ((rc = flock(fd, LOCK_EX)) && errno == EINTR)
      ;
    rc = rc ? bk_fail_errno(err, errno, "lock '%s'", dir) : make(l, err);
    flock(fd, LOCK_UN);
  }
  if (rc == 0) rc = check_version(l, err);
  if (rc) {
    bk_oci_layout_drop(l);
    return bk_err_wrap(err, "layout '%s'", dir);
  }
  *out = l;
  return 0;
}

struct bk_oci_layout *bk_oci_layout_hold(struct bk_oci_layout *l) {
  atomic_fetch_add(&l->refs, 1);
  return l;
}

void bk_oci_layout_drop(struct bk_oci_layout *l) {
  if (!l || atomic_fetch_sub(&l->refs, 1) > 1) return;
  close(l->fd);
  free(l->dir);
  free(l);
}

/* --- blobs ----------------------------------------------------------------------------------- */

/* "blobs/ALG/HEX" relative to the layout. */
static int blob_name(char *out, size_t size, const char *digest, struct bk_err *err) {
  if (!bk_oci_is_digest(digest))
    return bk_fail(err, BK_USAGE, "oci.digest", "'%.80s' is not a digest", digest);
  const char *colon = strchr(digest, ':');
  snprintf(out, size, "blobs/%.*s/%s", (int)(colon - digest), digest, colon + 1);
  return 0;
}

char *bk_oci_layout_path(struct bk_oci_layout *l, const char *digest, struct bk_err *err) {
  char name[160];
  return blob_name(name, sizeof name, digest, err) ? NULL : bk_asprintf("%s/%s", l->dir, name);
}

bool bk_oci_layout_has(struct bk_oci_layout *l, const char *digest) {
  char name[160];
  struct bk_err ignored;
  struct stat st;
  return blob_name(name, sizeof name, digest, &ignored) == 0 && fstatat(l->fd, name, &st, 0) == 0 &&
         S_ISREG(st.st_mode);
}

static int need_dir(struct bk_oci_layout *l, const char *digest, struct bk_err *err) {
  return strncmp(digest, "sha512:", 7) == 0 ? bk_mkdirs(l->fd, "blobs/sha512", 0755, err) : 0;
}

static int wrong_digest(const char *want, const char *got, struct bk_err *err) {
  return bk_fail(err, BK_BUILD, "oci.digest_mismatch", "content has digest %s, not %s", got, want);
}

int bk_oci_layout_put_data(struct bk_oci_layout *l, const void *p, size_t n, const char *want,
                           char **digest, struct bk_err *err) {
  char name[160];
  *digest = NULL;
  if (want && blob_name(name, sizeof name, want, err)) return -1;
  cleanup_free char *got = oci_digest_of(want, p, n);
  if (want && strcmp(want, got) != 0) return wrong_digest(want, got, err);
  if (blob_name(name, sizeof name, got, err) || need_dir(l, got, err)) return -1;
  if (!bk_oci_layout_has(l, got) && bk_write_file(l->fd, name, p, n, 0644, false, err)) return -1;
  *digest = bk_steal_ptr(&got);
  return 0;
}

/* Hashes what it copies. A reflink would save the copy, but not the reading. */
static int copy_hash(int in, int out, const char *like, char **digest, int64_t *size,
                     const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_free char *chunk = bk_malloc(1 << 18);
  struct oci_hash h;
  oci_hash_start(&h, like);
  *size = 0;
  for (;;) {
    ssize_t n = bk_read_full(in, chunk, 1 << 18);
    int e = errno;
    if (n > 0) bk_digest_update(&h.d, chunk, (size_t)n);
    bool bad = n > 0 && bk_write_all(out, chunk, (size_t)n);
    if (bad) e = errno;
    if (n < 0 || bad || oci_cancelled(op)) {
      bk_digest_free(&h.d);
      return n < 0   ? bk_fail_errno(err, e, "read")
             : bad   ? bk_fail_errno(err, e, "write")
                     : bk_fail(err, BK_BUILD, "cancelled", "cancelled");
    }
    if (n == 0) break;
    *size += n;
    if (op && op->done) atomic_fetch_add(op->done, (uint64_t)n);
  }
  *digest = oci_hash_end(&h);
  return 0;
}

static int copy_in(struct bk_oci_layout *l, int in, const char *want, const char *tmp,
                   char **digest, int64_t *size, const struct bk_oci_op *op, struct bk_err *err) {
  cleanup_close int out = openat(l->fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (out < 0) return bk_fail_errno(err, errno, "create '%s/%s'", l->dir, tmp);
  if (copy_hash(in, out, want, digest, size, op, err)) return -1;
  if (want && strcmp(want, *digest) != 0) return wrong_digest(want, *digest, err);
  char name[160];
  if (blob_name(name, sizeof name, *digest, err)) return -1;
  if (renameat(l->fd, tmp, l->fd, name))
    return bk_fail_errno(err, errno, "create '%s/%s'", l->dir, name);
  return 0;
}

int bk_oci_layout_put_file(struct bk_oci_layout *l, const char *path, const char *want, bool link,
                           char **digest, int64_t *size, const struct bk_oci_op *op,
                           struct bk_err *err) {
  char name[160], base[40];
  struct stat st;
  *digest = NULL;
  if (want && (blob_name(name, sizeof name, want, err) || need_dir(l, want, err))) return -1;
  cleanup_close int in = open(path, O_RDONLY | O_CLOEXEC);
  if (in < 0 || fstat(in, &st)) return bk_fail_errno(err, errno, "open '%s'", path);
  if (!S_ISREG(st.st_mode)) return bk_fail(err, BK_BUILD, "EINVAL", "'%s' is not a file", path);
  *size = st.st_size;
  bool there = want && (bk_oci_layout_has(l, want) ||
                        (link && (linkat(AT_FDCWD, path, l->fd, name, AT_SYMLINK_FOLLOW) == 0 ||
                                  errno == EEXIST)));
  if (there) {
    *digest = bk_strdup(want);
    return 0;
  }
  bk_tmpname(base, ".tmp-");
  cleanup_free char *tmp = bk_asprintf("blobs/%s", base);
  if (copy_in(l, in, want, tmp, digest, size, op, err) == 0) return 0;
  unlinkat(l->fd, tmp, 0);
  free(bk_steal_ptr(digest));
  return strcmp(err->code, "cancelled") == 0 ? -1 : bk_err_wrap(err, "store '%s' in layout", path);
}

int bk_oci_layout_get(struct bk_oci_layout *l, const char *digest, struct bk_buf *out,
                      struct bk_err *err) {
  char name[160];
  if (blob_name(name, sizeof name, digest, err)) return -1;
  if (bk_read_file(l->fd, name, out, err)) {
    if (strcmp(err->code, "ENOENT") == 0)
      return bk_fail(err, BK_BUILD, "oci.not_found", "layout '%s' has no blob %s", l->dir, digest);
    return -1;
  }
  cleanup_free char *got = oci_digest_of(digest, bk_buf_str(out), out->len);
  if (strcmp(got, digest) == 0) return 0;
  wrong_digest(digest, got, err);
  return bk_err_wrap(err, "layout '%s'", l->dir);
}

/* --- index.json ------------------------------------------------------------------------------ */

static const char ref_name[] = "org.opencontainers.image.ref.name";
static const char full_name[] = "io.containerd.image.name";

static const char *annotation(const json_t *entry, const char *key) {
  return oci_json_str(json_object_get(entry, "annotations"), key);
}

static bool has_name(const json_t *entry, const char *name) {
  const char *a = annotation(entry, ref_name), *b = annotation(entry, full_name);
  return (a && strcmp(a, name) == 0) || (b && strcmp(b, name) == 0);
}

int bk_oci_layout_index(struct bk_oci_layout *l, struct bk_buf *out, struct bk_err *err) {
  out->max = INDEX_MAX;
  return bk_read_file(l->fd, "index.json", out, err) ? bk_err_wrap(err, "layout '%s'", l->dir) : 0;
}

static json_t *load_index(struct bk_oci_layout *l, struct bk_err *err) {
  cleanup_buf struct bk_buf text = {0};
  if (bk_oci_layout_index(l, &text, err)) return NULL;
  cleanup_free char *what = bk_asprintf("%s/index.json", l->dir);
  json_t *doc = oci_json(bk_buf_str(&text), text.len, what, err);
  if (doc && !json_is_array(json_object_get(doc, "manifests"))) {
    bk_fail(err, BK_BUILD, "oci.layout", "%s: no list of manifests", what);
    json_decref(doc);
    doc = NULL;
  }
  return doc;
}

static int store_index(struct bk_oci_layout *l, const json_t *doc, struct bk_err *err) {
  char *text = json_dumps(doc, JSON_COMPACT);
  if (!text) return bk_fail(err, BK_BUILD, "oci.layout", "index.json cannot be written");
  int rc = bk_write_file(l->fd, "index.json", text, strlen(text), 0644, false, err);
  free(text);
  return rc;
}

/* The entry that had the name stays as what it describes, without the name. */
static void take_name(json_t *list, const char *name) {
  size_t i;
  json_t *e;
  json_array_foreach(list, i, e) {
    const char *old = annotation(e, ref_name);
    if (!old || strcmp(old, name) != 0) continue;
    json_t *a = json_object_get(e, "annotations");
    json_object_del(a, ref_name);
    json_object_del(a, full_name);
    if (json_object_size(a) == 0) json_object_del(e, "annotations");
  }
}

static int insert(json_t *list, json_t *desc, const char *name, struct bk_err *err) {
  const char *digest = oci_json_str(desc, "digest");
  if (!json_is_object(desc) || !digest || !bk_oci_is_digest(digest) ||
      !oci_json_str(desc, "mediaType") || !json_is_integer(json_object_get(desc, "size")))
    return bk_fail(err, BK_USAGE, "oci.descriptor",
                   "descriptor needs mediaType, a valid digest and size");
  if (name) {
    take_name(list, name);
    json_t *a = json_object_get(desc, "annotations");
    if (!json_is_object(a)) json_object_set_new(desc, "annotations", a = json_object());
    json_object_set_new(a, ref_name, json_string(name));
  }
  for (size_t i = json_array_size(list); i-- > 0;) { /* an unnamed twin is replaced */
    json_t *e = json_array_get(list, i);
    const char *d = oci_json_str(e, "digest");
    if (d && strcmp(d, digest) == 0 && !annotation(e, ref_name)) json_array_remove(list, i);
  }
  return json_array_append(list, desc) ? bk_fail(err, BK_BUILD, "oci.layout", "out of memory") : 0;
}

/* Runs under the layout's lock, on a descriptor of its own so that threads exclude each other. */
static int with_lock(struct bk_oci_layout *l, int *fd, struct bk_err *err) {
  *fd = openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*fd < 0) return bk_fail_errno(err, errno, "open layout '%s'", l->dir);
  while (flock(*fd, LOCK_EX))
    if (errno != EINTR) return bk_fail_errno(err, errno, "lock layout '%s'", l->dir);
  return 0;
}

int bk_oci_layout_add(struct bk_oci_layout *l, const char *desc, size_t len, const char *name,
                      struct bk_err *err) {
  cleanup_close int lock = -1;
  json_t *d = oci_json(desc, len, "descriptor", err);
  if (!d) return -1;
  json_t *doc = with_lock(l, &lock, err) ? NULL : load_index(l, err);
  int rc = doc ? insert(json_object_get(doc, "manifests"), d, name, err) : -1;
  if (rc == 0) rc = store_index(l, doc, err);
  json_decref(doc);
  json_decref(d);
  return rc;
}

int bk_oci_layout_remove(struct bk_oci_layout *l, const char *name, struct bk_err *err) {
  cleanup_close int lock = -1;
  json_t *doc = with_lock(l, &lock, err) ? NULL : load_index(l, err);
  if (!doc) return -1;
  json_t *list = json_object_get(doc, "manifests");
  int found = 0;
  for (size_t i = json_array_size(list); i-- > 0;)
    if (has_name(json_array_get(list, i), name)) {
      json_array_remove(list, i);
      found = 1;
    }
  int rc = found ? store_index(l, doc, err) : 0;
  json_decref(doc);
  return rc ? -1 : found;
}

/* --- resolving ------------------------------------------------------------------------------- */

static int no_entry(struct bk_oci_layout *l, const json_t *list, const char *name,
                    struct bk_err *err) {
  char all[300] = "";
  size_t i;
  json_t *e;
  json_array_foreach(list, i, e) {
    const char *s = annotation(e, ref_name);
    size_t n = strlen(all);
    if (s) snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", s);
  }
  if (name)
    return bk_fail(err, BK_BUILD, "oci.not_found", "layout '%s' has no '%.100s' (there is: %s)",
                   l->dir, name, *all ? all : "none");
  return bk_fail(err, BK_BUILD, "oci.not_found", "layout '%s' has %zu images: name one (%s)",
                 l->dir, json_array_size(list), *all ? all : "none has a name");
}

/* Whether all entries are one image under several names. */
static bool is_single(const json_t *list) {
  const char *first = oci_json_str(json_array_get(list, 0), "digest");
  size_t i;
  json_t *e;
  json_array_foreach(list, i, e) {
    const char *digest = oci_json_str(e, "digest");
    if (!first || !digest || strcmp(first, digest) != 0) return false;
  }
  return i > 0;
}

/* The digest (caller frees) of the entry of that name, without a name of the only image or the one
 * called latest; or NULL. */
static char *find_entry(struct bk_oci_layout *l, const json_t *list, const char *name,
                        struct bk_err *err) {
  size_t i;
  json_t *e, *found = NULL;
  if (!name && is_single(list)) found = json_array_get(list, 0);
  json_array_foreach(list, i, e)
    if (!found && has_name(e, name ? name : "latest")) found = e;
  const char *digest = oci_json_str(found, "digest");
  if (digest) return bk_strdup(digest);
  no_entry(l, list, name, err);
  return NULL;
}

static int load_manifest(struct bk_oci_layout *l, const char *digest, struct bk_oci_manifest *m,
                         struct bk_err *err) {
  m->raw.max = INDEX_MAX;
  if (bk_oci_layout_get(l, digest, &m->raw, err)) return -1;
  if (bk_oci_manifest_check(bk_buf_str(&m->raw), m->raw.len, NULL, &m->desc.media_type, err))
    return bk_err_wrap(err, "layout '%s', %.19s", l->dir, digest);
  m->desc.digest = bk_strdup(digest);
  m->desc.size = (int64_t)m->raw.len;
  return 0;
}

int bk_oci_layout_resolve(struct bk_oci_layout *l, const char *name, const char *platform,
                          struct bk_oci_manifest *m, struct bk_oci_manifest *index,
                          struct bk_err *err) {
  cleanup_free char *digest = name && bk_oci_is_digest(name) ? bk_strdup(name) : NULL;
  if (!digest) {
    json_t *doc = load_index(l, err);
    if (!doc) return -1;
    digest = find_entry(l, json_object_get(doc, "manifests"), name, err);
    json_decref(doc);
    if (!digest) return -1;
  }
  if (load_manifest(l, digest, m, err)) return -1;
  for (int depth = 0; platform && bk_oci_is_index_type(m->desc.media_type); depth++) {
    struct bk_oci_desc child;
    if (depth == 3) return bk_fail(err, BK_BUILD, "oci.manifest", "indexes nested too deep");
    if (bk_oci_index_select(m->raw.p, m->raw.len, platform, &child, err))
      return bk_err_wrap(err, "layout '%s'", l->dir);
    bk_oci_manifest_free(index);
    *index = *m;
    *m = (struct bk_oci_manifest){0};
    int rc = load_manifest(l, child.digest, m, err);
    bk_oci_desc_free(&child);
    if (rc) return -1;
  }
  return 0;
}
