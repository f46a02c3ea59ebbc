/* Network namespaces that are made before the command that is to be in them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>

#include "sandbox/sandbox_int.h"

struct making {
  int fd, error;
};

/* A thread that leaves the namespace of the others and ends. */
static void *make(void *arg) {
  struct making *m = arg;
  if (unshare(CLONE_NEWNET) == 0) m->fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  m->error = errno;
  return NULL;
}

int bk_sandbox_netns(int *fd, struct bk_err *err) {
  struct making m = {.fd = -1};
  pthread_t thread;
  int rc = pthread_create(&thread, NULL, make, &m);
  if (rc == 0) pthread_join(thread, NULL);
  *fd = m.fd;
  return m.fd < 0 ? bk_fail_errno(err, rc ? rc : m.error, "sandbox: create a network namespace") : 0;
}
