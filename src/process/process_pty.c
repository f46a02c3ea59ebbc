#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/process.h"

enum { TURN_MS = 200 }; /* how often the size of the terminal and a wish to stop are looked at */

int bk_pty_open(int fds[2], struct bk_err *err) {
  char name[128];
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) return bk_fail_errno(err, errno, "open a pseudo-terminal");
  int slave = -1;
  if (grantpt(master) == 0 && unlockpt(master) == 0 && ptsname_r(master, name, sizeof name) == 0)
    slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) {
    int why = errno;
    close(master);
    return bk_fail_errno(err, why, "open a pseudo-terminal");
  }
  fds[0] = master;
  fds[1] = slave;
  return 0;
}

static void copy_size(int from, int to, struct winsize *last) {
  struct winsize now;
  if (ioctl(from, TIOCGWINSZ, &now) || memcmp(&now, last, sizeof now) == 0) return;
  *last = now;
  ioctl(to, TIOCSWINSZ, &now); /* tells the foreground process group there */
}

static int write_all(int fd, const char *p, size_t n) {
  while (n > 0) {
    ssize_t rc = write(fd, p, n);
    if (rc < 0 && errno == EINTR) continue;
    if (rc < 0 && errno == EAGAIN) { /* a terminal that another program left non-blocking */
      struct pollfd w = {.fd = fd, .events = POLLOUT};
      poll(&w, 1, TURN_MS);
      continue;
    }
    if (rc < 0) return -1;
    p += rc, n -= (size_t)rc;
  }
  return 0;
}

/* 1: moved, 0: the end, -1: an error; a pseudo-terminal without any open end gives EIO. */
static int move(int from, int to) {
  char buf[4096];
  ssize_t n = read(from, buf, sizeof buf);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return 1;
  if (n < 0 && errno == EIO) return 0;
  if (n <= 0) return (int)n;
  return write_all(to, buf, (size_t)n) ? -1 : 1;
}

static int relay(int master, int in, int out, const atomic_bool *cancel) {
  struct winsize size = {0};
  bool typing = true;
  while (!atomic_load(cancel)) {
    copy_size(in, master, &size);
    struct pollfd fds[2] = {{.fd = master, .events = POLLIN}, {.fd = typing ? in : -1, .events = POLLIN}};
    int n = poll(fds, 2, TURN_MS);
    if (n < 0 && errno != EINTR) return -1;
    if (n <= 0) continue;
    if (fds[0].revents) {
      int rc = move(master, out);
      if (rc <= 0) return rc;
    }
    if (fds[1].revents) {
      int rc = move(in, master);
      if (rc < 0) return -1;
      typing = rc > 0;
    }
  }
  return 0;
}

int bk_pty_relay(int master, int in, int out, const atomic_bool *cancel, struct bk_err *err) {
  struct termios old, raw;
  bool terminal = tcgetattr(in, &old) == 0;
  if (terminal) {
    raw = old;
    cfmakeraw(&raw);
    tcsetattr(in, TCSADRAIN, &raw);
  }
  int rc = relay(master, in, out, cancel), why = errno;
  if (terminal) tcsetattr(in, TCSADRAIN, &old);
  return rc ? bk_fail_errno(err, why, "pass on the terminal") : 0;
}
