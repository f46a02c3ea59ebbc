#include "archive/decoder.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"

#if defined(__has_include) && __has_include(<isa-l/igzip_lib.h>)
#include <dlfcn.h>
#include <isa-l/igzip_lib.h>
#include <pthread.h>
#define HAVE_ISAL 1
#endif

enum bk_compression bk_compression_sniff(const void *p, size_t n) {
  const uint8_t *b = p;
  if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b) return BK_COMPRESSION_GZIP;
  if (n >= 4 && memcmp(b, "\x28\xb5\x2f\xfd", 4) == 0) return BK_COMPRESSION_ZSTD;
  /* A skippable frame: RFC 8878, 3.1.2. */
  if (n >= 4 && (b[0] & 0xf0) == 0x50 && memcmp(b + 1, "\x2a\x4d\x18", 3) == 0)
    return BK_COMPRESSION_ZSTD;
  return BK_COMPRESSION_NONE;
}

static uint32_t clamp32(size_t n) { return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n; }

static int corrupt(struct bk_err *err, const char *codec, const char *what) {
  return bk_fail(err, BK_BUILD, "archive.corrupt", "%s data is corrupt: %s", codec, what);
}

int bk_decoder_run(struct bk_decoder *d, struct bk_err *err) {
  /* Inside a member there may be output that did not fit last time, even without input. */
  while (d->out_left && (d->in_left || !d->between)) {
    size_t in = d->in_left, out = d->out_left;
    if (d->codec->step(d, err)) return -1;
    if (!d->in_left && d->out_left && !d->between) break;
    if (in == d->in_left && out == d->out_left) return corrupt(err, d->codec->name, "no progress");
  }
  return 0;
}

/* --- none ------------------------------------------------------------------------------------ */

static int none_init(struct bk_decoder *d, struct bk_err *err) {
  (void)err;
  d->between = true;
  return 0;
}

static int none_step(struct bk_decoder *d, struct bk_err *err) {
  (void)err;
  size_t n = d->in_left < d->out_left ? d->in_left : d->out_left;
  memcpy(d->out, d->in, n);
  d->in += n;
  d->in_left -= n;
  d->out += n;
  d->out_left -= n;
  return 0;
}

static void none_end(struct bk_decoder *d) { (void)d; }

/* --- gzip by ISA-L --------------------------------------------------------------------------- */

#ifdef HAVE_ISAL
/* Opened when first used: the program starts, slower at inflating, where ISA-L is not installed. */
static struct {
  __typeof__(&isal_inflate_init) init;
  __typeof__(&isal_inflate_reset) reset;
  __typeof__(&isal_inflate) inflate;
} isal;
static bool isal_there;

static bool isal_symbol(void *lib, const char *name, void *field) {
  void *p = dlsym(lib, name);
  memcpy(field, &p, sizeof p); /* POSIX: dlsym's result may be used as a function pointer */
  return p != NULL;
}

static void isal_load(void) {
  void *lib = dlopen("libisal.so.2", RTLD_NOW | RTLD_LOCAL);
  isal_there = lib && isal_symbol(lib, "isal_inflate_init", &isal.init) &&
               isal_symbol(lib, "isal_inflate_reset", &isal.reset) &&
               isal_symbol(lib, "isal_inflate", &isal.inflate);
}

static bool have_isal(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, isal_load);
  return isal_there;
}

static int isal_init(struct bk_decoder *d, struct bk_err *err) {
  (void)err;
  struct inflate_state *s = bk_malloc(sizeof *s);
  isal.init(s);
  s->crc_flag = ISAL_GZIP;
  d->state = s;
  d->between = true;
  return 0;
}

static const char *isal_message(int rc) {
  switch (rc) {
    case ISAL_INVALID_WRAPPER: return "bad gzip header";
    case ISAL_UNSUPPORTED_METHOD: return "unknown compression method";
    case ISAL_INCORRECT_CHECKSUM: return "checksum mismatch";
    default: return "invalid deflate stream";
  }
}

static int isal_step(struct bk_decoder *d, struct bk_err *err) {
  struct inflate_state *s = d->state;
  s->next_in = (uint8_t *)d->in;
  s->avail_in = clamp32(d->in_left);
  s->next_out = d->out;
  s->avail_out = clamp32(d->out_left);
  int rc = isal.inflate(s);
  if (rc < 0 || rc == ISAL_NEED_DICT) return corrupt(err, "gzip", isal_message(rc));
  d->in_left -= (size_t)(s->next_in - d->in);
  d->in = s->next_in;
  d->out_left -= (size_t)(s->next_out - d->out);
  d->out = s->next_out;
  d->between = s->block_state == ISAL_BLOCK_FINISH;
  if (d->between) { /* members follow each other: RFC 1952, 2.2 */
    isal.reset(s);
    s->crc_flag = ISAL_GZIP;
  }
  return 0;
}

static void isal_end(struct bk_decoder *d) { free(d->state); }
#endif

/* --- gzip by zlib ---------------------------------------------------------------------------- */

static int zlib_init(struct bk_decoder *d, struct bk_err *err) {
  z_stream *z = bk_calloc(1, sizeof *z);
  if (inflateInit2(z, 15 + 16) != Z_OK) {
    free(z);
    return bk_fail(err, BK_BUILD, "ENOMEM", "start gzip decoder");
  }
  d->state = z;
  d->between = true;
  return 0;
}

static int zlib_step(struct bk_decoder *d, struct bk_err *err) {
  z_stream *z = d->state;
  z->next_in = (Bytef *)d->in;
  z->avail_in = clamp32(d->in_left);
  z->next_out = d->out;
  z->avail_out = clamp32(d->out_left);
  int rc = inflate(z, Z_NO_FLUSH);
  if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
    return corrupt(err, "gzip", z->msg ? z->msg : "invalid deflate stream");
  d->in_left -= (size_t)(z->next_in - d->in);
  d->in = z->next_in;
  d->out_left -= (size_t)(z->next_out - d->out);
  d->out = z->next_out;
  d->between = rc == Z_STREAM_END;
  if (d->between) inflateReset(z);
  return 0;
}

static void zlib_end(struct bk_decoder *d) {
  if (d->state) inflateEnd(d->state);
  free(d->state);
}

/* --- zstd ------------------------------------------------------------------------------------ */

static int zstd_init(struct bk_decoder *d, struct bk_err *err) {
  d->state = ZSTD_createDCtx();
  if (!d->state) return bk_fail(err, BK_BUILD, "ENOMEM", "start zstd decoder");
  d->between = true;
  return 0;
}

static int zstd_step(struct bk_decoder *d, struct bk_err *err) {
  ZSTD_inBuffer in = {.src = d->in, .size = d->in_left};
  ZSTD_outBuffer out = {.dst = d->out, .size = d->out_left};
  size_t rc = ZSTD_decompressStream(d->state, &out, &in);
  if (ZSTD_isError(rc)) return corrupt(err, "zstd", ZSTD_getErrorName(rc));
  d->in += in.pos;
  d->in_left -= in.pos;
  d->out += out.pos;
  d->out_left -= out.pos;
  d->between = rc == 0;
  return 0;
}

static void zstd_end(struct bk_decoder *d) { ZSTD_freeDCtx(d->state); }

/* --- table ----------------------------------------------------------------------------------- */

const struct bk_codec *bk_codec_for(enum bk_compression c, bool use_zlib) {
  static const struct bk_codec none = {"none", none_init, none_step, none_end};
  static const struct bk_codec zlib = {"gzip", zlib_init, zlib_step, zlib_end};
  static const struct bk_codec zstd = {"zstd", zstd_init, zstd_step, zstd_end};
#ifdef HAVE_ISAL
  static const struct bk_codec fast = {"gzip", isal_init, isal_step, isal_end};
  if (c == BK_COMPRESSION_GZIP && !use_zlib && have_isal()) return &fast;
#else
  (void)use_zlib;
#endif
  return c == BK_COMPRESSION_GZIP ? &zlib : c == BK_COMPRESSION_ZSTD ? &zstd : &none;
}
