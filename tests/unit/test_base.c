#include "base/fs.h"
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
  bk_buf_free(&b);
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

int main(void) {
  test_map();
  test_buf();
  test_files();
  return UNIT_END();
}
