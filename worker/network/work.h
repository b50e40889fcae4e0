/* Inside worker/: one look at the network, shared by the network*.c files. */
#ifndef SMARTVM_WORKER_NETWORK_WORK_H
#define SMARTVM_WORKER_NETWORK_WORK_H

#include "core/event_type.h"
#include "core/network_rows.h"
#include "core/plan_wish.h"
#include "host/gate/gate.h"
#include "host/link/link.h"
#include "host/link/uplinks.h"
#include "host/nft/flow_limits.h"
#include "host/nft/nft.h"
#include "worker/context.h"
#include "worker/memory.h"
#include "worker/network/obstacles.h"
#include "worker/network/plan.h"

/* Names of interfaces, none twice. */
enum { NETWORK_ENTRIES_MAX = 64 };
struct network_names {
    char items[NETWORK_ENTRIES_MAX][INTERFACE_NAME_MAX];
    size_t count;
};

/* What is owned is freed by network_work_free(). */
struct network_work {
    struct worker *worker;
    const struct plan_wish *wish; /* what of it is there counts instead of what is stored; NULL: nothing. For looks alone */
    const char *bridge;
    struct network_settings settings; /* that are wanted now; before network_observe(), as worker_network() */
    struct network_egress egress;     /* that is wanted now */
    struct network_memory memory;     /* a copy */
    struct network_observed observed;
    struct network_plan plan;
    struct network_seen obstacles;
    int bridge_index;    /* as it was seen now; 0: not there */
    struct uplinks ways; /* out of the host, as its routing has them */
    bool asked_early;    /* for them, before the bridge took part in the routing, or left the tunnel's: to be asked again */
    struct link_info *links;
    size_t link_count;
    struct interface_row *interfaces; /* of all VMs, by TAP */
    size_t interface_count;
    const char **orphan_taps; /* names in links */
    size_t orphan_tap_count;
    char repaired_vm[LIMIT_VM_ID_BYTES + 1]; /* the only one whose elements are missing; "" for several */
    bool entries_wanted;                     /* a port is published that others than the host reach */
    struct network_names entries;            /* interfaces by which their clients come, see network_entries.c */
    struct network_names guarded;            /* those, and uplinks that forward for guests alone */
    struct network_names guarded6;           /* uplinks that forward IPv6 for guests alone */
    bool entry_idle;                         /* one of them does not forward */
    struct flow_limits flow_limits;          /* of each VM, as large as the host's table is now */
    struct ip_range *closed;                 /* what guests don't reach */
    size_t closed_count;
};
void network_work_init(struct network_work *work, struct worker *worker);
void network_work_free(struct network_work *work);

/* Fills work->observed, and the lists that it was told from. Reads only. */
int network_observe(struct network_work *work, struct error *err);

/* network_egress.c: the tunnel. To be loaded after work->links. */
int network_egress_load(struct network_work *work, struct error *err);
bool network_egress_moved(const struct network_work *work); /* since the last look */

/* network_uplinks.c: by which links guests leave. To be observed after the bridge and the tunnel. */
enum { NETWORK_UPLINKS_MAX = INTERFACE_NAMES_MAX + 1 };
int network_uplinks_observe(struct network_work *work, struct error *err);
/* What the firewall's set has to hold; names in *work. */
size_t network_uplinks(const struct network_work *work, const char *ret[NETWORK_UPLINKS_MAX]);
struct uplinks_question network_uplinks_question(const struct network_work *work);       /* refers to *work */
const struct link_info *network_link(const struct network_work *work, const char *name); /* NULL: there is none */

/* Forwarding of uplinks, of either IP version; `fact` records where the daemon turned it on. */
typedef int network_forwarding_get(const char *interface, bool *ret, struct error *err);
typedef int network_forwarding_set(const char *interface, bool on, struct error *err);
int network_find_idle(const struct network_work *work, network_forwarding_get *get, enum memory_item item, struct interface_names *ret_idle,
                      struct interface_names *ret_forwarded, struct error *err);
int network_forward(struct network_work *work, network_forwarding_set *set, enum memory_item item, const struct interface_names *idle,
                    struct interface_names *forwarded, struct error *err);
int network_unforward(struct network_work *work, network_forwarding_set *set, enum memory_item item, const struct interface_names *uplinks,
                      struct interface_names *forwarded, struct error *err);

/*
 * Fills work->obstacles, after network_observe(); `ready`: and after all of the plan was applied. What can't be looked at counts as not there.
 */
void network_observe_obstacles(struct network_work *work, bool ready);

/* Runs one operation of a plan. */
int network_apply(struct network_work *work, enum network_op_type op, struct error *err);

/* "<mark>:bridge" */
void network_bridge_alias(const struct worker *worker, char *buf, size_t size);
struct mac network_bridge_mac(const struct network_settings *settings);

/* What the static part of the firewall is made from; refers to *work. */
struct nft_base network_firewall_base(const struct network_work *work);

/*
 * Elements of single VMs: network_guests.c. Which are wanted is known for certain only under worker->guests_lock,
 * under which VMs add and remove theirs, so each call takes it.
 */
int network_guests_observe(struct network_work *work, struct error *err);
int network_guests_repair(struct network_work *work, struct error *err);
/* The same for published ports. */
int network_guests_set_ports(struct network_work *work, struct error *err);
int network_guests_set_loopback(struct network_work *work, struct error *err);
/* Under the lock: are the VM's elements wanted? */
bool network_guest_is_wanted(const struct network_work *work, const struct interface_row *row);
/* Makes both tables new with the elements that are wanted at that moment. */
int network_guests_apply_base(struct network_work *work, struct error *err);

/* Policies: network_policies.c. Both under the lock. */
int network_guests_apply_policies(struct network_work *work, struct error *err);
int network_policies_observe(struct network_work *work, struct error *err);
int network_policies_repair(struct network_work *work, struct error *err);
struct firewall_wanted;
/* Under the lock, with work->links read: what is wanted of policies, with the VMs whose elements are there. *ret must be zeroed. */
int network_policies_wanted(struct network_work *work, struct firewall_wanted *ret, struct error *err);

/* Published ports: network_ports.c. All are called under worker->guests_lock, with the interfaces just read. */
int network_ports_wanted(struct network_work *work, struct nft_port **ret, size_t *ret_count, struct error *err);
int network_ports_observe(struct network_work *work, struct error *err);
int network_ports_repair(struct network_work *work, struct error *err);
int network_loopback_set(struct network_work *work, struct error *err);

/* By which interfaces their clients come: network_entries.c. To be observed after the ports and the uplinks. */
int network_entries_observe(struct network_work *work, struct error *err);
int network_entries_set(struct network_work *work, struct error *err);

/* IPv6: network_ipv6.c. To be observed after the bridge, the uplink and forwarding. */
int network_ipv6_observe(struct network_work *work, struct error *err);
int network_ipv6_set_address(struct network_work *work, struct error *err);
int network_ipv6_forward_uplink(struct network_work *work, struct error *err);
int network_ipv6_unforward(struct network_work *work, struct error *err);

/* The lock outside of nftables: network_gate.c. To be observed after the bridge. */
int network_gate_observe(struct network_work *work, struct error *err);
int network_gate_apply(struct network_work *work, struct error *err);

/* Tells of a repair: an event, a line of the log. `vm`: the resource, or "" for the network. */
void network_tell(struct worker *worker, enum event_type type, const char *vm, const char *operation, const char *found, const char *done);

#endif
