#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/fs.h"
#include "sign/sign.h"

static int read_line(int fd, struct bk_buf *out, struct bk_err *err) {
  for (;;) {
    char c;
    ssize_t n = read(fd, &c, 1);
    if (n < 0) return bk_fail_errno(err, errno, "read from the terminal");
    if (n == 0 || c == '\n' || c == '\r') return 0;
    bk_buf_addc(out, c);
  }
}

int bk_sign_ask(const char *prompt, struct bk_buf *out, struct bk_err *err) {
  cleanup_close int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return bk_fail_errno(err, errno, "open the terminal");
  struct termios before, quiet;
  if (tcgetattr(fd, &before)) return bk_fail_errno(err, errno, "ask on the terminal");
  quiet = before;
  quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
  out->max = 4096;
  if (tcsetattr(fd, TCSAFLUSH, &quiet) || bk_write_all(fd, prompt, strlen(prompt)))
    return bk_fail_errno(err, errno, "ask on the terminal");
  int rc = read_line(fd, out, err); /* interrupted: restore the terminal first */
  tcsetattr(fd, TCSAFLUSH, &before);
  (void)!bk_write_all(fd, "\n", 1);
  if (rc == 0 && out->overflow) rc = bk_fail(err, BK_USAGE, "sign.password", "the password is too long");
  return rc;
}
