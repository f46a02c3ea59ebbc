/* A Unix socket that leads to another one: connections are passed on by a thread of its own, which
 * the relay owns. */
#ifndef BK_PROCESS_RELAY_H
#define BK_PROCESS_RELAY_H

#include <sys/types.h>

#include "base/err.h"

struct bk_relay;

struct bk_relay_opts {
  const char *listen;  /* created; must not exist */
  const char *connect; /* where each connection is passed on to */
  mode_t mode;         /* of the socket that is made */
  uid_t uid;
  gid_t gid;
};

int bk_relay_open(const struct bk_relay_opts *opts, struct bk_relay **out,
                  struct bk_err *err) BK_WARN_UNUSED;
/* Ends all connections and removes the socket; NULL is fine. */
void bk_relay_close(struct bk_relay *r);

#endif
