#include <string.h>

#include "fs/fs.h"

void bk_fs_clean(struct bk_buf *out, const char *p) {
  bool rooted = *p == '/';
  if (rooted) bk_buf_addc(out, '/');
  size_t floor = out->len; /* nothing in front of it can be folded away */
  while (*p) {
    size_t n = strcspn(p, "/");
    if (n == 2 && p[0] == '.' && p[1] == '.') {
      if (out->len > floor) {
        while (out->len > floor && out->p[out->len - 1] != '/') out->len--;
        if (out->len > floor) out->len--;
        out->p[out->len] = '\0';
      } else if (!rooted) {
        bk_buf_adds(out, out->len ? "/.." : "..");
        floor = out->len;
      }
    } else if (n && !(n == 1 && *p == '.')) {
      if (out->len > (rooted ? 1u : 0u)) bk_buf_addc(out, '/');
      bk_buf_add(out, p, n);
    }
    p += n;
    while (*p == '/') p++;
  }
  if (out->len == 0) bk_buf_addc(out, '.');
}

/* Bytes that both share, up to the end of a whole component. */
static size_t shared(const char *p, const char *b) {
  size_t common = 0;
  for (size_t i = 0;; i++) {
    bool pe = !p[i] || p[i] == '/', be = !b[i] || b[i] == '/';
    if (pe && be) common = i;
    if (!p[i] || !b[i] || p[i] != b[i]) return common;
  }
}

static void relative(struct bk_buf *out, const char *p, const char *b) {
  size_t common = shared(p, b);
  struct bk_buf text = {0};
  for (const char *rest = b + common; *rest; rest++)
    if (rest[0] == '/' ? rest[1] != '\0' : rest == b) bk_buf_adds(&text, "../");
  const char *tail = p + common;
  bk_buf_adds(&text, *tail == '/' ? tail + 1 : tail);
  bk_fs_clean(out, bk_buf_str(&text));
  bk_buf_free(&text);
}

int bk_fs_relative(struct bk_buf *out, const char *path, const char *base, struct bk_err *err) {
  cleanup_buf struct bk_buf p = {0}, b = {0};
  bk_fs_clean(&p, path);
  bk_fs_clean(&b, base);
  const char *from = strcmp(b.p, ".") == 0 ? "" : b.p;
  bool mixed = (*p.p == '/') != (*b.p == '/');
  const char *rest = mixed ? "" : from + shared(p.p, from);
  if (*rest == '/') rest++;
  bool up = strncmp(rest, "..", 2) == 0 && (rest[2] == '/' || rest[2] == '\0');
  if (mixed || up)
    return bk_fail(err, BK_USAGE, "fs.relative", "there is no way from '%s' to '%s'", base, path);
  relative(out, p.p, from);
  return 0;
}
