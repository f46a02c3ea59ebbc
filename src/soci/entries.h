/* Tar headers of a layer that passes by, read as Go's archive/tar reads them (entry fields of
 * soci.md 1). Private to this module; a struct toc owns its entries until toc_free. */
#ifndef BK_SOCI_ENTRIES_H
#define BK_SOCI_ENTRIES_H

#include "archive/tar.h"
#include "base/mem.h"
#include "soci/soci.h"

struct toc_record { /* a pax record; the entry's are sorted by key */
  const char *key, *value;
  uint32_t klen, vlen;
};

struct toc_entry {
  const char *name, *link, *uname, *gname; /* may contain zero bytes: see the lengths */
  uint32_t name_len, link_len, uname_len, gname_len;
  const char *type;
  int64_t offset, size, mode, mtime, devmajor, devminor;
  uint32_t nsec, uid, gid;
  uint32_t n_records;
  const struct toc_record *records;
};

enum toc_state { TOC_HEADER, TOC_ZERO, TOC_DATA, TOC_PADDING, TOC_META, TOC_END };

struct toc {
  struct toc_entry *list;
  size_t n, cap;
  struct bk_arena strings;
  /* the stream */
  enum toc_state state;
  uint64_t pos, end; /* end: position after the archive once state is TOC_END */
  unsigned char block[BK_TAR_BLOCK];
  size_t have;
  uint64_t left;    /* bytes of data, padding or extended header to come */
  size_t padding;   /* after them */
  char meta_type;   /* 'x', 'L', 'K' */
  struct bk_buf meta;
  /* for the entry that follows */
  struct toc_record *pax;
  size_t n_pax, pax_cap;
  bool has_pax;
  const char *gnu_name, *gnu_link;
  size_t gnu_name_len, gnu_link_len;
};

void toc_free(struct toc *t);
int toc_feed(struct toc *t, const char *p, size_t n, struct bk_err *err);
/* The stream has ended. */
int toc_finish(struct toc *t, struct bk_err *err);
/* "2023-11-14T22:13:20.25Z"; returns the length. */
size_t toc_time(const struct toc_entry *e, char out[40]);

#endif
