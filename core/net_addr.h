/* IPv4 addresses, networks and MAC addresses as values. Addresses are kept in host byte order. Pure functions. */
#ifndef SMARTVM_CORE_NET_ADDR_H
#define SMARTVM_CORE_NET_ADDR_H

#include "core/error.h"

#include <stdint.h>

enum {
    IPV4_TEXT_MAX = 16,      /* "255.255.255.255" */
    CIDR_TEXT_MAX = 19,      /* "255.255.255.255/32" */
    MAC_TEXT_MAX = 18,       /* "02:00:00:00:00:00" */
    INTERFACE_NAME_MAX = 16, /* IFNAMSIZ, with the terminator */
};

struct ipv4_net {
    uint32_t address; /* the network's own address: no host bit is ever set */
    unsigned prefix;  /* 0 to 32 */
};

struct mac {
    uint8_t bytes[6];
};

bool ipv4_parse(const char *text, uint32_t *ret); /* strict dotted quad, no leading zeros */
char *ipv4_format(uint32_t address, char *buf);   /* buf[IPV4_TEXT_MAX]; returns buf */
uint32_t ipv4_mask(unsigned prefix);              /* 24 → 0xffffff00 */
bool ipv4_net_contains(struct ipv4_net net, uint32_t address);
bool ipv4_net_overlap(struct ipv4_net a, struct ipv4_net b);
/* "10.0.0.0/8"; host bits that are set are refused with the network that was meant. Code: INVALID_SUBNET. */
int ipv4_net_parse(const char *text, struct ipv4_net *ret, struct error *err);
char *ipv4_net_format(struct ipv4_net net, char *buf); /* buf[CIDR_TEXT_MAX]; returns buf */

bool mac_parse(const char *text, struct mac *ret);
char *mac_format(struct mac mac, char *buf); /* buf[MAC_TEXT_MAX], lower case; returns buf */

/* The kernel's rule (dev_valid_name() in net/core/dev.c) and not "all" or "default". Code: INVALID_INTERFACE_NAME. */
int interface_name_check(const char *name, struct error *err);

#endif
