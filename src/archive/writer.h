/* A plain tar file written entry by entry (docker-archive, tests). The writer owns its descriptor
 * and its sink; the bytes are those of bk_tar_put_header. One thread at a time. */
#ifndef BK_ARCHIVE_WRITER_H
#define BK_ARCHIVE_WRITER_H

#include "archive/sink.h"
#include "archive/tar.h"

struct bk_tar_writer;
/* Takes fd over. */
int bk_tar_writer_open(int fd, struct bk_tar_writer **out, struct bk_err *err) BK_WARN_UNUSED;
/* e->size bytes of data follow the header of a file: from memory, or from an open file. */
int bk_tar_writer_add(struct bk_tar_writer *w, const struct bk_tar_entry *e, const void *data,
                      int fd, struct bk_err *err) BK_WARN_UNUSED;
int bk_tar_writer_finish(struct bk_tar_writer *w, struct bk_sink_result *out,
                         struct bk_err *err) BK_WARN_UNUSED;
void bk_tar_writer_close(struct bk_tar_writer *w); /* NULL is fine */

#endif
