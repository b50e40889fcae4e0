#include "worker/network/flows.h"

#include "core/cleanup.h"
#include "core/log.h"
#include "host/nft/conntrack.h"
#include "host/nft/nft.h"
#include "worker/firewall/firewall.h"
#include "worker/firewall/flows.h"
#include "worker/network/stale_flows.h"

#include <stdio.h>
#include <string.h>

/* Both judges, and what they refer to. */
struct judges {
    struct stale_flows stale;
    struct firewall_flows policies;
    struct firewall_wanted wanted;
    bool ask_policies;
    struct ip_addr *local, *uplinks; /* owned, as the next one */
    struct nft_port *ports;
};

static void judges_free(struct judges *judges)
{
    firewall_flows_free(&judges->policies);
    firewall_wanted_free(&judges->wanted);
    free(judges->local);
    free(judges->uplinks);
    free(judges->ports);
}
#define AUTO_JUDGES __attribute__((cleanup(judges_free))) struct judges

static bool judge(const struct conntrack_flow *flow, void *ctx)
{
    struct judges *judges = ctx;
    return stale_flows_judge(flow, &judges->stale) || (judges->ask_policies && firewall_flows_forbid(flow, &judges->policies));
}

static int read_local(struct judges *judges, struct error *err)
{
    if (conntrack_local_addresses(NULL, 0, &judges->local, &judges->stale.local_count, err) != 0) {
        return -1;
    }
    stale_flows_sort(judges->local, judges->stale.local_count);
    judges->stale.local = judges->local;
    return 0;
}

/* The judge of policies wants a list of its own. */
static int ask_policies(struct judges *judges, struct error *err)
{
    struct ip_addr *local = calloc(judges->stale.local_count + 1, sizeof *local);
    if (local == NULL) {
        return error_oom(err);
    }
    if (judges->stale.local_count > 0) {
        memcpy(local, judges->local, judges->stale.local_count * sizeof *local);
    }
    judges->ask_policies = true;
    return firewall_flows_make(&judges->wanted, local, judges->stale.local_count, &judges->policies, err);
}

static void set_subnets(struct stale_flows *stale, const struct network_settings *settings)
{
    stale->subnets[0] = (struct ip_net){.address = ip_addr_from_ipv4(settings->subnet.address), .prefix = (uint8_t)settings->subnet.prefix};
    if (network_has_ipv6(settings)) {
        stale->subnets[1] = settings->subnet6;
    }
}

static int cut(struct judges *judges, struct error *err)
{
    size_t count = 0;
    char text[24];
    if (conntrack_cut(judge, judges, &count, err) != 0) {
        return -1;
    }
    (void)snprintf(text, sizeof text, "%zu", count);
    if (count > 0) {
        log_event(LOG_INFO, "network.flows_cut", "count", text, NULL);
    }
    return 0;
}

unsigned network_flows_due(enum network_op_type op, bool repair)
{
    switch (op) {
    case NETWORK_OP_APPLY_FIREWALL:
        return repair ? NETWORK_FLOWS_JUDGE : NETWORK_FLOWS_JUDGE | NETWORK_FLOWS_UNMASK;
    case NETWORK_OP_REPLACE_UPLINK:
    case NETWORK_OP_REPLACE_CLOSED:
    case NETWORK_OP_APPLY_POLICIES:
    case NETWORK_OP_SET_PORTS:
        return NETWORK_FLOWS_JUDGE;
    case NETWORK_OP_RESTORE_ALIAS:
    case NETWORK_OP_REMOVE_TAPS:
    case NETWORK_OP_ENSURE_BRIDGE:
    case NETWORK_OP_REMOVE_GUESTS:
    case NETWORK_OP_ADD_GUESTS:
    case NETWORK_OP_TUNE_BRIDGE:
    case NETWORK_OP_SET_GATE:
    case NETWORK_OP_SET_LOOPBACK:
    case NETWORK_OP_SET_ENTRIES:
    case NETWORK_OP_FORWARD_BRIDGE:
    case NETWORK_OP_UNFORWARD_OLD_UPLINK:
    case NETWORK_OP_FORWARD_UPLINK:
    case NETWORK_OP_SET_IPV6:
    case NETWORK_OP_FORWARD6_BRIDGE:
    case NETWORK_OP_UNFORWARD6_OLD_UPLINK:
    case NETWORK_OP_FORWARD6_UPLINK:
    case NETWORK_OP_COUNT_:
        break;
    }
    return 0;
}

static int read_network(struct network_work *work, struct judges *judges, struct error *err)
{
    struct stale_flows *stale = &judges->stale;
    const struct nft_base base = network_firewall_base(work);
    const char *uplinks[NETWORK_UPLINKS_MAX];
    const size_t uplink_count = network_uplinks(work, uplinks);
    if (read_local(judges, err) != 0 || conntrack_local_addresses(uplinks, uplink_count, &judges->uplinks, &stale->uplink_count, err) != 0 ||
        nft_ports_list(work->worker->mark, &judges->ports, &stale->port_count, err) != 0) {
        return -1;
    }
    stale_flows_sort(judges->uplinks, stale->uplink_count);
    set_subnets(stale, &work->settings);
    stale->masqueraded[0] = base.masquerade;
    stale->masqueraded[1] = base.masquerade6;
    stale->masquerade = true;
    stale->masquerade_off = (work->memory.flows_due & NETWORK_FLOWS_UNMASK) != 0;
    stale->uplinks = judges->uplinks;
    stale->ports = judges->ports;
    stale->ports_all = true;
    stale->closed = work->closed;
    stale->closed_count = work->closed_count;
    return network_policies_wanted(work, &judges->wanted, err) == 0 ? ask_policies(judges, err) : -1;
}

int network_flows_cut(struct network_work *work, struct error *err)
{
    AUTO_JUDGES judges = {.ask_policies = false};
    if (work->memory.flows_due == 0) {
        return 0;
    }
    (void)pthread_mutex_lock(&work->worker->guests_lock);
    int result = read_network(work, &judges, err) == 0 ? cut(&judges, err) : -1;
    (void)pthread_mutex_unlock(&work->worker->guests_lock);
    if (result == 0) {
        work->memory.flows_due = 0;
    }
    return result;
}

static bool is_there(const struct interface_row *row, void *ctx)
{
    (void)row;
    (void)ctx;
    return true;
}

/* The policies that this VM is asked by: those of others are not read into the judge. */
static int read_policies(struct worker *worker, const struct network_settings *settings, const struct vm_row *row, struct judges *judges, struct error *err)
{
    struct interface_row interfaces[LIMIT_INTERFACES];
    for (size_t i = 0; i < row->interface_count; i++) {
        interfaces[i] = (struct interface_row){.vm_uid = row->uid, .address = row->interfaces[i].address};
        memcpy(interfaces[i].tap, row->interfaces[i].tap, sizeof interfaces[i].tap);
    }
    return firewall_wanted_load(worker->border, NULL, settings, interfaces, row->interface_count, is_there, NULL, &judges->wanted, err) == 0
               ? ask_policies(judges, err)
               : -1;
}

int network_flows_cut_of_vm(struct worker *worker, const struct ports_diff *diff, const struct vm_row *row, bool present, bool policy, struct error *err)
{
    const struct network_settings settings = worker_network(worker);
    AUTO_JUDGES judges = {.ask_policies = false};
    struct ip_addr addresses[FIREWALL_ADDRESSES_MAX];
    size_t count = 0;
    if (row->interface_count == 0 || (present && !policy && diff->add_count + diff->remove_count == 0)) {
        return 0;
    }
    /* Of a VM without ports that has ended, only its own addresses count. */
    const bool ask_local = present || diff->add_count + diff->remove_count > 0;
    if (ask_local && read_local(&judges, err) != 0) {
        return -1;
    }
    set_subnets(&judges.stale, &settings);
    judges.stale.ports = diff->add;
    judges.stale.port_count = diff->add_count;
    judges.stale.ports_before = diff->remove;
    judges.stale.port_before_count = diff->remove_count;
    for (size_t i = 0; i < row->interface_count && !present; i++) {
        count += firewall_addresses(&settings, row->interfaces[i].address, addresses + count);
    }
    stale_flows_sort(addresses, count);
    judges.stale.ended = addresses;
    judges.stale.ended_count = count;
    if (present && policy && read_policies(worker, &settings, row, &judges, err) != 0) {
        return -1;
    }
    return cut(&judges, err);
}
