#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>

#include "base/fs.h"
#include "base/limits.h"
#include "base/map.h"
#include "unit/unit.h"

static void test_map(void) {
  struct bk_map m = {0};
  char key[16];
  for (int i = 0; i < 1000; i++) {
    int n = snprintf(key, sizeof key, "k%d", i);
    bk_map_set(&m, key, (size_t)n, (void *)(intptr_t)(i + 1));
  }
  for (int i = 0; i < 1000; i += 2) {
    int n = snprintf(key, sizeof key, "k%d", i);
    bk_map_del(&m, key, (size_t)n);
  }
  CHECK(m.live == 500);
  CHECK(bk_map_get(&m, "k7", 2) == (void *)8);
  CHECK(!bk_map_has(&m, "k8", 2));
  bk_map_set(&m, "k8", 2, (void *)1);
  CHECK(bk_map_has(&m, "k8", 2));
  int n = 0;
  bk_map_each(e, &m) n++;
  CHECK(n == 501);
  bk_map_free(&m);
}

static void test_buf(void) {
  struct bk_buf b = {.max = 10};
  bk_buf_adds(&b, "12345");
  bk_buf_addf(&b, "%d", 67890);
  CHECK_STR(bk_buf_str(&b), "1234567890");
  bk_buf_addc(&b, 'x');
  CHECK(b.overflow && b.len == 10);
  bk_buf_reset(&b);
  CHECK(!b.overflow && bk_buf_str(&b)[0] == '\0');
  bk_buf_free(&b);
  struct bk_buf longer = {0};
  bk_buf_addf(&longer, "%0*d", 5000, 7);
  CHECK(longer.len == 5000 && longer.p[4999] == '7' && longer.p[5000] == '\0');
  char *p = bk_buf_steal(&longer);
  CHECK(longer.p == NULL && strlen(p) == 5000);
  free(p);
  struct bk_buf unused = {0};
  CHECK_STR(bk_buf_str(&unused), "");
  bk_buf_free(&unused);
}

static void test_arena(void) {
  struct bk_arena a = {0};
  char *big = bk_arena_alloc(&a, 100000), *small = bk_arena_strndup(&a, "abc", 2);
  CHECK(((uintptr_t)big | (uintptr_t)small) % 16 == 0);
  CHECK(big[99999] == 0);
  CHECK_STR(small, "ab");
  CHECK(a.total >= 100003);
  bk_arena_free(&a);
  CHECK(a.head == NULL && a.total == 0);
}

static void test_limits(void) {
  struct bk_limits none = {0}, some = {.bytes = 1000, .ratio = 10, .floor = 200, .entries = 2};
  struct bk_err err;
  CHECK(bk_limits_bytes(&none, 1 << 30) == 0);
  CHECK(bk_limits_bytes(&some, 1) == 200);
  CHECK(bk_limits_bytes(&some, 50) == 500);
  CHECK(bk_limits_bytes(&some, 100) == 1000);
  CHECK(bk_limits_bytes(&some, UINT64_MAX) == 1000);
  some.bytes = 0;
  CHECK(bk_limits_bytes(&some, 1000) == 10000);
  CHECK(bk_limits_bytes(&some, UINT64_MAX) == 0);
  CHECK(bk_limits_entry(&none, UINT64_MAX, "it", &err) == 0);
  CHECK(bk_limits_entry(&some, 2, "it", &err) == 0);
  CHECK(bk_limits_entry(&some, 3, "it", &err) == -1 && strcmp(err.code, "limits.entries") == 0);
}

static void test_err(void) {
  struct bk_err err;
  CHECK(bk_fail_errno(&err, ENOSPC, "write '%s'", "x") == -1);
  CHECK_STR(err.msg, "write 'x': No space left on device");
  CHECK_STR(err.code, "ENOSPC");
  CHECK_STR(bk_class_name(err.cls), "infra");
  bk_err_wrap(&err, "layer %d", 3);
  CHECK_STR(err.msg, "layer 3: write 'x': No space left on device");
  char text[2000];
  memset(text, 'a', sizeof text);
  text[sizeof text - 1] = '\0';
  bk_fail(&err, BK_USAGE, "x", "%s", text); /* cut, not overrun */
  CHECK(strlen(err.msg) == sizeof err.msg - 1);
  bk_err_wrap(&err, "%s", text);
  CHECK(strlen(err.msg) == sizeof err.msg - 1);
  CHECK_STR(bk_errno_name(EEXIST), "EEXIST");
  CHECK_STR(bk_errno_name(9999), "E9999");
  CHECK_STR(bk_class_name(77), "build");
}

static void test_files(void) {
  struct bk_err err;
  char dir[] = "/tmp/bk-unit-XXXXXX";
  CHECK(mkdtemp(dir) != NULL);
  char *file = bk_asprintf("%s/a/b/c", dir), *sub = bk_asprintf("%s/a/b", dir);
  CHECK(bk_mkdirs(-100, sub, 0755, &err) == 0);
  CHECK(bk_write_file(-100, file, "hello", 5, 0600, true, &err) == 0);
  struct bk_buf b = {0};
  CHECK(bk_read_file(-100, file, &b, &err) == 0);
  CHECK_STR(bk_buf_str(&b), "hello");
  CHECK(bk_mkdirs(-100, file, 0755, &err) == -1);
  CHECK_STR(err.code, "ENOTDIR");
  CHECK(bk_rmtree(-100, dir, &err) == 0);
  CHECK(bk_read_file(-100, file, &b, &err) == -1);
  CHECK_STR(err.code, "ENOENT");
  bk_buf_free(&b);
  free(file);
  free(sub);
}

/* Deeper than descriptors and path names reach, with directories that must not be entered. */
static void test_rmtree(void) {
  struct rlimit few = {64 + 40, 64 + 40}, old;
  getrlimit(RLIMIT_NOFILE, &old);
  few.rlim_max = old.rlim_max;
  char dir[] = "/tmp/bk-unit-XXXXXX", out[] = "/tmp/bk-unit-XXXXXX";
  CHECK(mkdtemp(dir) != NULL && mkdtemp(out) != NULL);
  int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = top;
  for (int i = 0; i < 3000; i++) {
    CHECK(mkdirat(fd, "d", i % 7 ? 0755 : 0700) == 0);
    int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (i % 100 == 0) CHECK(symlinkat(out, fd, "l") == 0);
    if (i % 5 == 0) close(openat(fd, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0));
    if (i % 11 == 0) fchmod(fd, 0500);
    if (fd != top) close(fd);
    fd = next;
  }
  close(fd);
  struct bk_err err = {0};
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  CHECK(bk_rmtree(top, "d", &err) == 0);
  CHECK_STR(err.msg, "");
  setrlimit(RLIMIT_NOFILE, &old);
  CHECK(faccessat(top, "d", F_OK, 0) == -1 && access(out, F_OK) == 0);
  CHECK(bk_rmtree(top, "d", &err) == 0); /* missing is fine */
  close(top);
  CHECK(bk_rmtree(-100, dir, &err) == 0 && bk_rmtree(-100, out, &err) == 0);
  CHECK(access(dir, F_OK) == -1);
}

static void test_in_root(void) {
  char dir[] = "/tmp/bk-unit-XXXXXX";
  struct bk_err err;
  CHECK(mkdtemp(dir) != NULL);
  int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(bk_write_file(root, "passwd", "mine", 4, 0644, false, &err) == 0);
  CHECK(mkdirat(root, "etc", 0755) == 0 && symlinkat("../../../passwd", root, "etc/up") == 0);
  CHECK(symlinkat("/passwd", root, "abs") == 0 && symlinkat("/proc/self/root", root, "magic") == 0);
  const char *const same[] = {"etc/up", "abs", "../../passwd"};
  struct stat want, got;
  CHECK(fstatat(root, "passwd", &want, 0) == 0);
  for (size_t i = 0; i < BK_ARRAY_LEN(same); i++) {
    int fd = bk_open_in_root(root, same[i], O_RDONLY, 0);
    CHECK(fd >= 0 && fstat(fd, &got) == 0 && got.st_ino == want.st_ino);
    if (fd >= 0) close(fd);
  }
  CHECK(bk_open_in_root(root, "magic", O_RDONLY, 0) == -1 && errno == ENOENT);
  /* A failed replacement leaves neither a temporary file nor a changed target. */
  CHECK(bk_write_file(root, "etc", "x", 1, 0644, false, &err) == -1);
  CHECK_STR(err.code, "EISDIR");
  struct bk_buf small = {.max = 3};
  CHECK(bk_read_file(root, "passwd", &small, &err) == -1);
  CHECK_STR(err.code, "fs.too_large");
  bk_buf_free(&small);
  DIR *d = opendir(dir);
  int n = 0;
  while (readdir(d)) n++;
  closedir(d);
  CHECK(n == 2 + 4);
  close(root);
  CHECK(bk_rmtree(-100, dir, &err) == 0);
}

int main(void) {
  test_map();
  test_buf();
  test_arena();
  test_limits();
  test_err();
  test_rmtree();
  test_in_root();
  test_files();
  return UNIT_END();
}
