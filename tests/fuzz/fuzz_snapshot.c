/* Applying layers: the input is a tar. Whatever it says, nothing outside the target directory may
 * appear or change, the result can be packed, and a failure leaves no directory. Run it where a
 * mistake does no harm (a container, or under unshare -m). */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/pack.h"
#include "base/fs.h"
#include "base/mem.h"
#include "fuzz/checksums.h"
#include "snapshot/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
  do {                \
    if (!(cond)) abort(); \
  } while (0)

static char jail[] = "/tmp/bk-fuzz-XXXXXX";
static struct stat secret;

static char *in_jail(const char *name) { return bk_asprintf("%s/%s", jail, name); }

static void leave(void) {
  struct bk_err err;
  (void)!bk_rmtree(AT_FDCWD, jail, &err);
}

/* jail/secret stands for everything that must stay as it is. */
static void enter(void) {
  static int done;
  if (done++) return;
  REQUIRE(mkdtemp(jail));
  char *path = in_jail("secret");
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  REQUIRE(fd >= 0 && fstat(fd, &secret) == 0);
  close(fd);
  free(path);
  atexit(leave);
}

static void check_jail(bool applied) {
  DIR *d = opendir(jail);
  int names = 0;
  for (struct dirent *e; d && (e = readdir(d));) names += e->d_name[0] != '.';
  closedir(d);
  REQUIRE(names == (applied ? 3 : 2)); /* secret, blob and perhaps the layer */
  char *path = in_jail("secret");
  struct stat st;
  REQUIRE(stat(path, &st) == 0 && st.st_size == 0 && st.st_mode == secret.st_mode &&
          st.st_nlink == 1 && st.st_uid == secret.st_uid &&
          st.st_mtim.tv_sec == secret.st_mtim.tv_sec &&
          st.st_mtim.tv_nsec == secret.st_mtim.tv_nsec);
  free(path);
}

static void use(const char *dir) {
  struct bk_err err;
  const char *layers[] = {dir};
  struct bk_view *v;
  struct bk_view_ent e;
  struct bk_user user;
  REQUIRE(bk_view_open(layers, 1, 0, &v, &err) == 0);
  static const char *const paths[] = {"a/b", "etc/passwd", "../../secret", "l/x", "/a/../b"};
  for (size_t i = 0; i < BK_ARRAY_LEN(paths); i++) {
    (void)!bk_view_find(v, paths[i], BK_VIEW_FOLLOW, NULL, &e, &err);
    struct bk_buf text = {0};
    (void)!bk_view_read(v, paths[i], 1 << 20, &text, &err);
    bk_buf_free(&text);
  }
  (void)!bk_snapshot_user(v, "a:b", &user, &err);
  bk_view_close(v);
  struct bk_pack_opts po = {.dir = dir, .sink = {.fd = -1}};
  struct bk_pack_result pr;
  REQUIRE(bk_archive_pack(&po, &pr, &err) == 0);
}

static void apply(const uint8_t *data, size_t size) {
  char *blob = in_jail("blob"), *dir = in_jail("layer");
  struct bk_err err;
  REQUIRE(bk_write_file(AT_FDCWD, blob, data, size, 0600, false, &err) == 0);
  struct bk_apply_opts o = {.blob = blob, .dir = dir, .rootless = true, .userxattr = true,
                            .limits = {.bytes = 4 << 20, .entries = 10000}};
  struct bk_layer_result r;
  bool applied = bk_snapshot_apply(&o, &r, &err) == 0;
  check_jail(applied);
  if (applied) {
    use(dir);
    REQUIRE(bk_rmtree(AT_FDCWD, dir, &err) == 0);
  }
  unlink(blob);
  free(blob);
  free(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  enter();
  apply(data, size);
  uint8_t *fixed = with_checksums(data, size);
  apply(fixed, size);
  free(fixed);
  return 0;
}
