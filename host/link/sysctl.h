/* Kernel parameters under /proc/sys, by file. Any thread. Error: SYSTEM, naming the parameter. */
#ifndef SMARTVM_HOST_LINK_SYSCTL_H
#define SMARTVM_HOST_LINK_SYSCTL_H

#include "core/error.h"

/* net.ipv4.conf.<interface>.forwarding. A missing interface is an error with sys_errno ENOENT. */
int sysctl_forwarding_get(const char *interface, bool *ret, struct error *err);
int sysctl_forwarding_set(const char *interface, bool on, struct error *err);

/*
 * What a bridge of guests needs besides forwarding (host/link/sysctl_bridge.c has the table): answers to ARP for other guests with the bridge's own
 * MAC, so that what one guest sends to another goes through the forward chain; no redirects, source routes or router advertisements; only
 * sources that are routed back by the bridge.
 */
enum { SYSCTL_FOUND_MAX = 96 };
/* The first that differs, in words; "" when none does. */
int sysctl_bridge_check(const char *bridge, char ret_found[SYSCTL_FOUND_MAX], struct error *err);
int sysctl_bridge_apply(const char *bridge, struct error *err);

/* /proc/sys/net/<family>/<directory>/<interface>/<item>, a number. */
int sysctl_number_get(const char *family, const char *directory, const char *interface, const char *item, int *ret, struct error *err);
int sysctl_number_set(const char *family, const char *directory, const char *interface, const char *item, int value, struct error *err);

#endif
