#include "archive/writer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"

struct bk_tar_writer {
  int fd;
  struct bk_sink *sink;
  struct bk_buf header;
};

int bk_tar_writer_open(int fd, struct bk_tar_writer **out, struct bk_err *err) {
  struct bk_tar_writer *w = bk_calloc(1, sizeof *w);
  w->fd = fd;
  struct bk_sink_opts so = {.fd = fd};
  if (bk_sink_open(&so, &w->sink, err)) {
    bk_tar_writer_close(w);
    return -1;
  }
  *out = w;
  return 0;
}

static int copy_file(struct bk_tar_writer *w, int fd, int64_t size, struct bk_err *err) {
  while (size) {
    size_t room;
    char *to = bk_sink_room(w->sink, &room);
    if (room > (uint64_t)size) room = (size_t)size;
    ssize_t n = read(fd, to, room);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bk_fail_errno(err, errno, "read");
    if (n == 0) return bk_fail(err, BK_BUILD, "archive.changed", "file shrank while it was read");
    if (bk_sink_add(w->sink, (size_t)n, err)) return -1;
    size -= n;
  }
  return 0;
}

int bk_tar_writer_add(struct bk_tar_writer *w, const struct bk_tar_entry *e, const void *data,
                      int fd, struct bk_err *err) {
  bk_buf_reset(&w->header);
  if (bk_tar_put_header(&w->header, e, err)) return -1;
  if (bk_sink_write(w->sink, w->header.p, w->header.len, err)) return -1;
  int rc = fd >= 0 ? copy_file(w, fd, e->size, err)
                   : bk_sink_write(w->sink, data, (size_t)e->size, err);
  if (rc) return bk_err_wrap(err, "'%.200s'", e->path);
  return bk_sink_zeros(w->sink, bk_tar_padding((uint64_t)e->size), err);
}

int bk_tar_writer_finish(struct bk_tar_writer *w, struct bk_sink_result *out, struct bk_err *err) {
  if (bk_sink_zeros(w->sink, 2 * BK_TAR_BLOCK, err)) return -1;
  return bk_sink_finish(w->sink, out, err);
}

void bk_tar_writer_close(struct bk_tar_writer *w) {
  if (!w) return;
  bk_sink_close(w->sink);
  close(w->fd);
  bk_buf_free(&w->header);
  free(w);
}
