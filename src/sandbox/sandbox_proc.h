/* /proc in a chroot, answered by the supervisor; see sandbox_proc.c. */
#ifndef BK_SANDBOX_PROC_H
#define BK_SANDBOX_PROC_H

#include "sandbox/sandbox_int.h"

struct sandbox_proc {
  int listener;     /* of seccomp, or -1 */
  const char *root; /* the chroot, as the kernel names it */
  pid_t builder;    /* our parent, as long as it lives */
};

/* In the command, as the last thing before execve: sets no_new_privs, loads the filter and sends its
 * listener through the socket. Where that is not to be had the command goes without. From here on calls
 * that name a file wait for the supervisor. */
void sandbox_proc_load(int socket);
/* In the supervisor, once the command runs or has failed: the listener, or -1. */
int sandbox_proc_receive(int socket);
/* Answers one call that waits. */
void sandbox_proc_serve(const struct sandbox_proc *proc);

#endif
