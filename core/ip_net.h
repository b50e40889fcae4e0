/*
 * Addresses and networks of either IP version as values, in network byte order. Pure functions.
 * What is only ever IPv4 (leases, the bridge's subnet) uses core/net_addr.h.
 */
#ifndef SMARTVM_CORE_IP_NET_H
#define SMARTVM_CORE_IP_NET_H

#include "core/error.h"

#include <stdint.h>

enum ip_version { IP_NONE = 0, IP_V4 = 4, IP_V6 = 6 };

enum {
    IP_TEXT_MAX = 46,     /* INET6_ADDRSTRLEN */
    IP_NET_TEXT_MAX = 50, /* with "/128" */
};

struct ip_addr {
    uint8_t version;   /* enum ip_version */
    uint8_t bytes[16]; /* IPv4: the first four, the others 0 */
};

struct ip_net {
    struct ip_addr address; /* no host bit is ever set */
    uint8_t prefix;         /* 0 to 32, or to 128 */
};

/* Strict: a dotted quad without leading zeros, or RFC 4291 text without a zone; an IPv4-mapped IPv6 address is refused. */
bool ip_addr_parse(const char *text, struct ip_addr *ret);
char *ip_addr_format(const struct ip_addr *address, char *buf); /* buf[IP_TEXT_MAX], RFC 5952; returns buf */
struct ip_addr ip_addr_from_ipv4(uint32_t address);             /* host byte order, as in core/net_addr.h */
bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b);

/*
 * "10.0.0.0/8", "2001:db8::/32", or an address alone (prefix 32 or 128). Host bits that are set are refused, and the message says which
 * network was meant. On failure err has the given code.
 */
int ip_net_parse(const char *text, enum error_code code, struct ip_net *ret, struct error *err);
char *ip_net_format(const struct ip_net *net, char *buf);                      /* buf[IP_NET_TEXT_MAX]; always with the prefix; returns buf */
bool ip_net_contains(const struct ip_net *net, const struct ip_addr *address); /* false across versions */
bool ip_net_overlap(const struct ip_net *a, const struct ip_net *b);
/* No part of it is private, shared (100.64.0.0/10), link-local, loopback, multicast or reserved. */
bool ip_net_is_public(const struct ip_net *net);
/* First and last address of the network, for interval sets. */
void ip_net_range(const struct ip_net *net, struct ip_addr *ret_first, struct ip_addr *ret_last);

#endif
