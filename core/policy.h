/*
 * Firewall policies as values: read from JSON, written as JSON, and evaluated for one packet. Pure: no clock, no system call.
 *
 * There is one host-wide policy and at most one per VM. Each has two directions, and in each the first matching rule decides, else its
 * default_action. A new flow must be allowed by the host-wide policy AND by that of the VM (a VM without a policy of its own is decided by the
 * host-wide one alone); so nothing that a VM's policy says can open what the host-wide one closes. A flow from one guest to another must
 * besides be allowed by the egress of the one and the ingress of the other. Established flows are accepted; a change cuts those that the new
 * policy would not let begin.
 *
 * Defaults: egress "allow", ingress "deny".
 *
 * JSON form (openapi.yaml, FirewallPolicy):
 *   {"egress":  {"default_action": "allow", "rules": [{"action": "deny", "to": ["10.0.0.0/8", "@build-caches"], "protocol": "tcp",
 *                                                      "ports": [22, "8000-8999"], "comment": "…"}]},
 *    "ingress": {"default_action": "deny",  "rules": [{"action": "allow", "from": "192.0.2.7", "protocol": "tcp", "ports": 443}]}}
 * `to` (egress) and `from` (ingress) name the other end: one text or a list, each an address, a network, or "@" and the name of an address
 * set; absent = everything, of both IP versions. `ports` are always destination ports; one or a list, each a number or "first-last".
 * `host_port` (ingress, not with icmp) is a published port of the host: what came by it. "icmp" means ICMP and ICMPv6. Anything else is INVALID_FIREWALL_CONFIG with the direction, the number of the rule and the field.
 */
#ifndef SMARTVM_CORE_POLICY_H
#define SMARTVM_CORE_POLICY_H

#include "core/ip_net.h"

#include <jansson.h>
#include <stddef.h>

enum {
    POLICY_RULES_MAX = 256,     /* of one direction */
    POLICY_ADDRESSES_MAX = 256, /* networks and sets of one rule */
    POLICY_PORTS_MAX = 64,      /* ranges of one rule */
    POLICY_COMMENT_MAX = 256,   /* bytes, with the terminator */
    ADDRESS_SET_NAME_MAX = 33,  /* [a-z][a-z0-9-]{0,31} */
    ADDRESS_SET_MAX = 10000,    /* networks of one set */
    ADDRESS_SETS_MAX = 256,
};

enum policy_direction_name { POLICY_EGRESS, POLICY_INGRESS, POLICY_DIRECTION_COUNT_ };
enum policy_protocol { POLICY_PROTOCOL_ALL, POLICY_PROTOCOL_TCP, POLICY_PROTOCOL_UDP, POLICY_PROTOCOL_ICMP };

struct port_range {
    uint16_t first, last; /* 1 to 65535, host byte order, first <= last */
};

struct policy_rule {
    bool allow;
    enum policy_protocol protocol;
    struct ip_net *nets; /* both this and `sets` empty: every address */
    size_t net_count;
    char (*sets)[ADDRESS_SET_NAME_MAX];
    size_t set_count;
    struct port_range *ports; /* none: every port */
    size_t port_count;
    uint16_t host_port; /* of ingress: only what came by this published port of the host; 0: whatever way it came */
    char *comment;      /* or NULL */
};

struct policy_direction {
    bool allow_by_default;
    struct policy_rule *rules;
    size_t rule_count;
};

struct policy {
    struct policy_direction directions[POLICY_DIRECTION_COUNT_];
};

/* Sorted (IPv4 first), without overlaps or duplicates after address_set_parse(). */
struct address_set {
    char name[ADDRESS_SET_NAME_MAX];
    struct ip_net *nets;
    size_t net_count;
};

struct address_sets {
    struct address_set *sets; /* sorted by name */
    size_t count;
};

void policy_defaults(struct policy *ret); /* no rules; egress allow, ingress deny */

/*
 * An absent direction gets its default. Nothing is sorted or merged: networks and ports of one rule may overlap. On failure *ret is
 * untouched, and err tells the first fault; policy_parse_all() calls `fault` with each, `pointer` being a JSON pointer (RFC 6901) into
 * `json`, until it returns false. Faults are rules that are wrong; without memory there is none, and the code is OUT_OF_MEMORY.
 */
typedef bool policy_fault_fn(void *ctx, const char *pointer, const char *message);
int policy_parse_all(const json_t *json, struct policy *ret, policy_fault_fn *fault, void *ctx, struct error *err);
int policy_parse(const json_t *json, struct policy *ret, struct error *err);
json_t *policy_json(const struct policy *policy); /* canonical: policy_parse() of it gives the same; NULL when out of memory */
void policy_free(struct policy *policy);          /* harmless on zeroes */
/* The first set that a rule names and that is not among `sets`, borrowed from the policy; NULL when there is none. */
const char *policy_unknown_set(const struct policy *policy, const struct address_sets *sets);

bool address_set_name_valid(const char *name);
/* A list of texts, also an empty one: such a set matches nothing. */
int address_set_parse(const char *name, const json_t *nets, struct address_set *ret, struct error *err);
json_t *address_set_json(const struct address_set *set);
void address_set_free(struct address_set *set);
void address_sets_free(struct address_sets *sets);
const struct address_set *address_sets_find(const struct address_sets *sets, const char *name);

/* A packet that would begin a flow, as one direction sees it. */
struct policy_packet {
    struct ip_addr remote; /* the other end: destination of egress, source of ingress */
    uint8_t protocol;      /* IPPROTO_… */
    uint16_t port;         /* destination; 0 when the protocol has none */
    uint16_t host_port;    /* of the host, by which it came; 0: by none */
};

enum { POLICY_BY_DEFAULT = -1 };

/* *ret_rule: number of the deciding rule, or POLICY_BY_DEFAULT. A set that does not exist matches nothing. */
bool policy_decide(const struct policy_direction *direction, const struct address_sets *sets, const struct policy_packet *packet, int *ret_rule);

const char *policy_direction_text(enum policy_direction_name direction); /* "egress" */
const char *policy_protocol_text(enum policy_protocol protocol);         /* "tcp" */

#endif
