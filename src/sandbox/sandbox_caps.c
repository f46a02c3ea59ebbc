/* Raw calls: the child shares our memory, and libcap and glibc's wrappers keep state in it. */
#include <errno.h>
#include <linux/capability.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sandbox_int.h"

int sandbox_caps_bound(uint64_t keep) {
  for (unsigned cap = 0; cap < 64; cap++) {
    if (keep >> cap & 1) continue;
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break; /* past the kernel's last one */
    return -1;
  }
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

int sandbox_caps_set(uint64_t keep) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct now[2], data[2];
  if (syscall(SYS_capget, &head, now)) return -1;
  for (int i = 0; i < 2; i++) {
    uint32_t half = (uint32_t)(keep >> (32 * i));
    data[i].permitted = data[i].effective = half & now[i].permitted;
    data[i].inheritable = 0;
  }
  return (int)syscall(SYS_capset, &head, data);
}

uint64_t sandbox_caps_effective(void) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct now[2];
  if (syscall(SYS_capget, &head, now)) return 0;
  return now[0].effective | (uint64_t)now[1].effective << 32;
}
