/* The operations of a plan of the network. */
#include "core/cleanup.h"
#include "core/limits.h"
#include "db/facts.h"
#include "db/vms.h"
#include "host/sysctl.h"
#include "worker/network_work.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Deterministic, locally administered, and different for bridges with different gateways. */
static struct mac bridge_mac(const struct worker *worker)
{
    uint32_t a = worker->gateway;
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
    struct ipv4_net net = worker->config->network.subnet;
    if (link_route_overlap(net, work->bridge, &overlap, foreign, err) != 0) {
        return -1;
    }
    if (overlap) {
        return error_set(err, ERR_BRIDGE_SETUP_FAILED,
                         "the subnet %s overlaps the host's route %s; set network.subnet to another one",
                         ipv4_net_format(net, subnet), foreign);
    }
    network_bridge_alias(worker, alias, sizeof alias);
    if (link_bridge_ensure(work->bridge, alias, bridge_mac(worker), worker->gateway, net.prefix, &created, err) != 0) {
        return -1;
    }
    atomic_store(&work->worker->bridge_remade, true);
    return 0;
}

/* The elements that the tables had, or, when they were lost, those of every interface whose TAP is there. */
static int collect_guests(struct network_work *work, struct nft_guest **ret, size_t *ret_count, struct error *err)
{
    struct lease_scan {
        struct vm_row *rows;
        size_t count;
    } scan = {0};
    struct nft_guest *guests = calloc(work->link_count + 1, sizeof *guests);
    if (guests == NULL) {
        return error_oom(err);
    }
    if (vms_list(work->worker->db, "", NULL, LIMIT_VMS, &scan.rows, &scan.count, err) != 0) {
        free(guests);
        return -1;
    }
    size_t n = 0;
    for (size_t v = 0; v < scan.count; v++) {
        for (size_t i = 0; i < scan.rows[v].interface_count; i++) {
            const struct vm_interface *interface = &scan.rows[v].interfaces[i];
            bool there = false;
            for (size_t l = 0; l < work->link_count && !there; l++) {
                there = strcmp(work->links[l].name, interface->tap) == 0;
            }
            if (there && n < work->link_count) {
                memcpy(guests[n].tap, interface->tap, sizeof guests[n].tap);
                guests[n].mac = interface->mac;
                guests[n++].address = interface->address;
            }
        }
    }
    vms_list_free(scan.rows, scan.count);
    *ret = guests;
    *ret_count = n;
    return 0;
}

static int apply_firewall(struct network_work *work, struct error *err)
{
    struct nft_base base = network_firewall_base(work->worker);
    const char *uplinks[] = {work->observed.uplink};
    AUTO_FREE struct nft_guest *guests = NULL;
    size_t count = 0;
    if (collect_guests(work, &guests, &count, err) != 0) {
        return -1;
    }
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
    return nft_base_apply(&base, uplinks, work->observed.uplink[0] != '\0' ? 1 : 0, guests, count, err);
}

static int forward_uplink(struct network_work *work, struct error *err)
{
    /* On record first: a crash in between turns off again something that was off. */
    if (facts_set(work->worker->db, "forwarded_uplink", work->observed.uplink, NULL, err) != 0) {
        return -1;
    }
    return sysctl_forwarding_set(work->observed.uplink, true, err);
}

static int unforward_old_uplink(struct network_work *work, struct error *err)
{
    struct error why = {0};
    if (sysctl_forwarding_set(work->observed.forwarded_uplink, false, &why) != 0 && why.sys_errno != ENOENT) {
        *err = why;
        return -1;
    }
    return facts_set(work->worker->db, "forwarded_uplink", "", NULL, err);
}

int network_apply(struct network_work *work, enum network_op_type op, struct error *err)
{
    const char *mark = work->worker->mark;
    const char *uplinks[] = {work->observed.uplink};
    switch (op) {
    case NETWORK_OP_ENSURE_BRIDGE:
        return ensure_bridge(work, err);
    case NETWORK_OP_APPLY_FIREWALL:
        return apply_firewall(work, err);
    case NETWORK_OP_REPLACE_UPLINK:
        return nft_uplinks_replace(mark, uplinks, work->observed.uplink[0] != '\0' ? 1 : 0, err);
    case NETWORK_OP_REMOVE_TAPS:
        return link_delete(mark, work->orphan_taps, work->orphan_tap_count, err);
    case NETWORK_OP_REMOVE_GUESTS:
        return nft_guests_change(mark, NULL, 0, work->orphan_guests, work->orphan_guest_count, err);
    case NETWORK_OP_FORWARD_BRIDGE:
        return sysctl_forwarding_set(work->bridge, true, err);
    case NETWORK_OP_FORWARD_UPLINK:
        return forward_uplink(work, err);
    case NETWORK_OP_UNFORWARD_OLD_UPLINK:
        return unforward_old_uplink(work, err);
    case NETWORK_OP_COUNT_:
        break;
    }
    return error_set(err, ERR_INTERNAL, "operation %d is not known", (int)op);
}
