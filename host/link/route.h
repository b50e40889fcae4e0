/*
 * Policy routing: routes of a table of their own, and the rules that lead there; by rtnetlink. Any thread. Error: WIREGUARD_SETUP_FAILED, with the
 * kernel's words.
 *
 * What is ours carries the protocol number ROUTE_PROTOCOL (/etc/iproute2/rt_protos has no such one), and a rule besides the priority
 * ROUTE_RULE_PRIORITY and our bridge as its input interface. Nothing else is ever changed or deleted.
 */
#ifndef SMARTVM_HOST_LINK_ROUTE_H
#define SMARTVM_HOST_LINK_ROUTE_H

#include "core/ip_net.h"
#include "core/net_addr.h"

#include <stddef.h>

enum {
    ROUTE_PROTOCOL = 173,
    ROUTE_RULE_PRIORITY = 5100,        /* behind the table of local addresses (0), before main (32766) */
    ROUTE_METRIC = 100,                /* of what leads somewhere */
    ROUTE_METRIC_UNREACHABLE = 900000, /* of what stands behind it */
    ROUTES_MAX = 65536,                /* of one table; more are an error */
};

struct route {
    struct ip_net net;
    uint32_t metric;
    bool unreachable;              /* else it leads to a link */
    char link[INTERFACE_NAME_MAX]; /* "" where there is none */
};

struct route_listed {
    struct route route;
    bool ours; /* ROUTE_PROTOCOL */
};

/* The routes of one table, IPv4 and IPv6; but for those that the kernel makes by itself. *ret is owned by the caller (free). */
int route_list(uint32_t table, struct route_listed **ret, size_t *ret_count, struct error *err);

/* Adding one that is there, and deleting one that is gone, are no failures. */
int route_add(uint32_t table, const struct route *route, struct error *err);
int route_delete(uint32_t table, const struct route *route, struct error *err);

struct route_rule {
    enum ip_version version;
    uint32_t table;
};

enum { ROUTE_RULES_MAX = 16 };
/* Our rules for packets that come in by `bridge`; *ret_count at most ROUTE_RULES_MAX, more are an error. */
int route_rules_list(const char *bridge, struct route_rule ret[ROUTE_RULES_MAX], size_t *ret_count, struct error *err);
/* Of another daemon, running or not: the bridge of a rule like ours, but not for `bridge`, that leads to the table. "" when there is none. */
int route_table_user(uint32_t table, const char *bridge, char ret[INTERFACE_NAME_MAX], struct error *err);
int route_rule_add(const char *bridge, const struct route_rule *rule, struct error *err);
int route_rule_delete(const char *bridge, const struct route_rule *rule, struct error *err);

#endif
