/* Kernel parameters under /proc/sys, by file. Any thread. Error: SYSTEM, naming the parameter. */
#ifndef SMARTVM_HOST_SYSCTL_H
#define SMARTVM_HOST_SYSCTL_H

#include "core/error.h"

/* net.ipv4.conf.<interface>.forwarding. A missing interface is an error with sys_errno ENOENT. */
int sysctl_forwarding_get(const char *interface, bool *ret, struct error *err);
int sysctl_forwarding_set(const char *interface, bool on, struct error *err);
/* net.ipv6.conf.<interface>.disable_ipv6; no failure where the kernel has no IPv6. */
int sysctl_ipv6_disable(const char *interface, struct error *err);

#endif
