/* A question on the terminal. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/process.h"

enum { TURN_MS = 200, LINE_MAX_BYTES = 65536 };

/* 1: a line, 0: the end of input came first, -1: an error or *cancel. Byte by byte: what follows the
 * line is not ours. */
static int read_line(int in, struct bk_buf *line, const atomic_bool *cancel) {
  line->max = LINE_MAX_BYTES;
  while (!atomic_load(cancel)) {
    struct pollfd p = {.fd = in, .events = POLLIN};
    int n = poll(&p, 1, TURN_MS);
    if (n < 0 && errno != EINTR) return -1;
    if (n <= 0) continue;
    char c;
    ssize_t k = read(in, &c, 1);
    if (k < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (k < 0 && errno != EIO) return -1;
    if (k <= 0) return line->len > 0;
    if (c == '\n') return 1;
    bk_buf_addc(line, c);
  }
  errno = ECANCELED;
  return -1;
}

int bk_tty_ask(int in, int out, const char *question, bool hide, struct bk_buf *line,
               const atomic_bool *cancel, struct bk_err *err) {
  struct termios old, quiet;
  hide = hide && tcgetattr(in, &old) == 0;
  if (hide) {
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    if (tcsetattr(in, TCSAFLUSH, &quiet)) return bk_fail_errno(err, errno, "hide what is typed");
  }
  int rc = bk_write_all(out, question, strlen(question)) ? -1 : read_line(in, line, cancel);
  int why = errno;
  if (hide) {
    tcsetattr(in, TCSADRAIN, &old);
    (void)!write(out, "\n", 1);
  }
  return rc < 0 ? bk_fail_errno(err, why, "ask on the terminal") : rc;
}
