/* The operations of a plan of the network. */
#include "core/cleanup.h"
#include "worker/border/wanted.h"
#include "worker/memory.h"
#include "host/link/bridge_ipv6.h"
#include "host/link/sysctl.h"
#include "worker/network/work.h"

#include <stdio.h>
#include <string.h>

/* Deterministic, locally administered, and different for bridges with different gateways. */
struct mac network_bridge_mac(const struct network_settings *settings)
{
    uint32_t a = settings->gateway;
    return (struct mac){{0x02, 0xff, (uint8_t)(a >> 24), (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint8_t)a}};
}

static int ensure_bridge(struct network_work *work, struct error *err)
{
    const struct worker *worker = work->worker;
    char alias[LINK_ALIAS_MAX];
    char foreign[64];
    char subnet[CIDR_TEXT_MAX];
    bool overlap = false;
    bool created = false;
    struct ipv4_net net = work->settings.subnet;
    if (link_route_overlap(net, work->bridge, &overlap, foreign, err) != 0) {
        return -1;
    }
    if (overlap) {
        return error_set(err, ERR_BRIDGE_SETUP_FAILED,
                         "the subnet %s overlaps the host's route %s; set another one in the configuration (network.subnet) or by PATCH /network",
                         ipv4_net_format(net, subnet), foreign);
    }
    network_bridge_alias(worker, alias, sizeof alias);
    if (link_bridge_ensure(work->bridge, alias, network_bridge_mac(&work->settings), work->settings.gateway, net.prefix, &created, err) != 0) {
        return -1;
    }
    if (created) {
        atomic_store(&work->worker->bridge_remade, true);
    }
    return 0;
}

static int restore_alias(struct network_work *work, struct error *err)
{
    char alias[LINK_ALIAS_MAX];
    network_bridge_alias(work->worker, alias, sizeof alias);
    return link_alias_restore(work->bridge, work->bridge_index, alias, err);
}

/* Addresses are given to new VMs, and TAPs are named after them: one whose name has a VM by now stays. */
static int remove_taps(struct network_work *work, struct error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < work->orphan_tap_count; i++) {
        char vm[LIMIT_VM_ID_BYTES + 1];
        bool found = false;
        if (border_tap_owner(work->worker->border, work->orphan_taps[i], vm, &found, err) != 0) {
            return -1;
        }
        if (!found) {
            work->orphan_taps[count++] = work->orphan_taps[i];
        }
    }
    return link_delete(work->worker->mark, work->orphan_taps, count, err);
}

int network_apply(struct network_work *work, enum network_op_type op, struct error *err)
{
    const char *mark = work->worker->mark;
    const char *uplinks[NETWORK_UPLINKS_MAX];
    switch (op) {
    case NETWORK_OP_RESTORE_ALIAS:
        return restore_alias(work, err);
    case NETWORK_OP_ENSURE_BRIDGE:
        return ensure_bridge(work, err);
    case NETWORK_OP_APPLY_FIREWALL:
        return network_guests_apply_base(work, err);
    case NETWORK_OP_REPLACE_UPLINK:
        return nft_uplinks_replace(mark, uplinks, network_uplinks(work, uplinks), err);
    case NETWORK_OP_REPLACE_CLOSED:
        return nft_closed_replace(mark, work->closed, work->closed_count, err);
    case NETWORK_OP_TUNE_BRIDGE:
        return sysctl_bridge_apply(work->bridge, err);
    case NETWORK_OP_REMOVE_TAPS:
        return remove_taps(work, err);
    case NETWORK_OP_REMOVE_GUESTS:
    case NETWORK_OP_ADD_GUESTS:
        return network_guests_repair(work, err);
    case NETWORK_OP_APPLY_POLICIES:
        return network_guests_apply_policies(work, err);
    case NETWORK_OP_SET_PORTS:
        return network_guests_set_ports(work, err);
    case NETWORK_OP_SET_LOOPBACK:
        return network_guests_set_loopback(work, err);
    case NETWORK_OP_SET_ENTRIES:
        return network_entries_set(work, err);
    case NETWORK_OP_SET_GATE:
        return network_gate_apply(work, err);
    case NETWORK_OP_FORWARD_BRIDGE:
        return sysctl_forwarding_set(work->bridge, true, err);
    case NETWORK_OP_FORWARD_UPLINK:
        return network_forward(work, sysctl_forwarding_set, MEMORY_FORWARDED_UPLINKS, &work->observed.idle_uplinks, &work->observed.forwarded_uplinks, err);
    case NETWORK_OP_UNFORWARD_OLD_UPLINK:
        return network_unforward(work, sysctl_forwarding_set, MEMORY_FORWARDED_UPLINKS, &work->observed.uplinks, &work->observed.forwarded_uplinks, err);
    case NETWORK_OP_SET_IPV6:
        return network_ipv6_set_address(work, err);
    case NETWORK_OP_FORWARD6_BRIDGE:
        return ipv6_forwarding_set(work->bridge, true, err);
    case NETWORK_OP_FORWARD6_UPLINK:
        return network_ipv6_forward_uplink(work, err);
    case NETWORK_OP_UNFORWARD6_OLD_UPLINK:
        return network_ipv6_unforward(work, err);
    case NETWORK_OP_COUNT_:
        break;
    }
    return error_set(err, ERR_INTERNAL, "operation %d is not known", (int)op);
}
