#include "worker/network_ports.h"

#include "core/cleanup.h"
#include "host/conntrack.h"
#include "host/sysctl.h"
#include "worker/network_work.h"
#include "worker/ports_diff.h"

#include <netinet/in.h>
#include <stdio.h>

#define AUTO_PORTS_DIFF CLEANUP(ports_diff_free) struct ports_diff

/*
 * Packets with a loopback source leave by the bridge, and their answers come back, only with route_localnet. It is on only while a port is
 * published: without the firewall's tables, guests could reach what listens on the host's loopback alone.
 */
static int let_loopback(const char *bridge, bool on, struct error *err)
{
    return sysctl_number_set("ipv4", "conf", bridge, "route_localnet", on, err);
}

int network_ports_of_vm(struct worker *worker, const struct vm_row *row, bool present, struct ports_diff *ret_diff, struct error *err)
{
    AUTO_FREE struct nft_port *there = NULL;
    struct nft_port wanted[LIMIT_PORTS];
    size_t there_count = 0;
    size_t count = present ? row->port_count : 0;
    if (row->interface_count == 0) {
        return 0;
    }
    const uint32_t address = row->interfaces[0].address;
    for (size_t i = 0; i < count; i++) {
        const struct vm_port *port = &row->ports[i];
        wanted[i] = (struct nft_port){port->protocol, port->host_port, address, port->guest_port};
    }
    ports_sort(wanted, count);
    if (nft_ports_list(worker->mark, &there, &there_count, err) != 0 ||
        ports_diff_make(there, there_count, wanted, count, &address, ret_diff, err) != 0 ||
        nft_ports_change(worker->mark, ret_diff->add, ret_diff->add_count, ret_diff->remove, ret_diff->remove_count, err) != 0) {
        return -1;
    }
    return count > 0 ? let_loopback(worker->config->network.bridge, true, err) : 0;
}

struct cut {
    const struct ports_diff *diff;
    const struct vm_row *row;
    size_t port_count; /* of the row, that are there now */
};

static bool still_leads_there(const struct cut *cut, const struct nft_port *removed)
{
    for (size_t i = 0; i < cut->port_count; i++) {
        const struct vm_port *port = &cut->row->ports[i];
        if (port->protocol == removed->protocol && port->guest_port == removed->guest_port &&
            cut->row->interfaces[0].address == removed->address) {
            return true;
        }
    }
    return false;
}

static bool is_cut(const struct conntrack_flow *flow, void *ctx)
{
    const struct cut *cut = ctx;
    for (size_t i = 0; flow->published && i < cut->diff->remove_count; i++) {
        const struct nft_port *removed = &cut->diff->remove[i];
        const struct ip_addr address = ip_addr_from_ipv4(removed->address);
        if (flow->protocol == removed->protocol && flow->port == removed->guest_port && ip_addr_equal(&flow->destination, &address) &&
            !still_leads_there(cut, removed)) {
            return true;
        }
    }
    return false;
}

int network_ports_cut(const struct ports_diff *diff, const struct vm_row *row, bool present, struct error *err)
{
    struct cut cut = {diff, row, present ? row->port_count : 0};
    return diff->remove_count > 0 ? conntrack_cut(is_cut, &cut, NULL, err) : 0;
}

static bool is_present(const struct network_work *work, int64_t vm_uid)
{
    for (size_t i = 0; i < work->interface_count; i++) {
        if (work->interfaces[i].vm_uid == vm_uid) {
            return network_guest_is_wanted(work, &work->interfaces[i]);
        }
    }
    return false;
}

int network_ports_wanted(struct network_work *work, struct nft_port **ret, size_t *ret_count, struct error *err)
{
    AUTO_FREE struct port_row *rows = NULL;
    size_t row_count = 0;
    size_t count = 0;
    if (ports_list(work->worker->db, &rows, &row_count, err) != 0) {
        return -1;
    }
    struct nft_port *wanted = calloc(row_count + 1, sizeof *wanted);
    if (wanted == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < row_count; i++) {
        if (is_present(work, rows[i].vm_uid)) {
            const struct vm_port *port = &rows[i].port;
            wanted[count++] = (struct nft_port){port->protocol, port->host_port, rows[i].address, port->guest_port};
        }
    }
    *ret = wanted;
    *ret_count = count;
    return 0;
}

/*
 * Ports that a client changed just now are the VM's own reconciler's: it cuts the flows, too. This is asked for after the wanted ports were
 * read, and that reconciler waits for the lock, so nothing of the kind is missed.
 */
static int leave_what_changes(struct db *db, struct nft_port *ports, size_t *count, struct error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        bool changes = false;
        if (interfaces_vm_changes(db, ports[i].address, &changes, err) != 0) {
            return -1;
        }
        if (!changes) {
            ports[kept++] = ports[i];
        }
    }
    *count = kept;
    return 0;
}

static int look(struct network_work *work, struct ports_diff *ret, size_t *ret_wanted, struct error *err)
{
    AUTO_FREE struct nft_port *there = NULL;
    AUTO_FREE struct nft_port *wanted = NULL;
    size_t there_count = 0;
    if (nft_ports_list(work->worker->mark, &there, &there_count, err) != 0 ||
        network_ports_wanted(work, &wanted, ret_wanted, err) != 0) {
        return -1;
    }
    if (ports_diff_make(there, there_count, wanted, *ret_wanted, NULL, ret, err) != 0 ||
        leave_what_changes(work->worker->db, ret->add, &ret->add_count, err) != 0) {
        return -1;
    }
    return leave_what_changes(work->worker->db, ret->remove, &ret->remove_count, err);
}

int network_ports_observe(struct network_work *work, struct error *err)
{
    AUTO_PORTS_DIFF diff = {.add = NULL};
    struct network_observed *seen = &work->observed;
    size_t wanted = 0;
    int loopback = 0;
    if (look(work, &diff, &wanted, err) != 0) {
        return -1;
    }
    if (diff.add_count > 0 || diff.remove_count > 0) {
        const struct nft_port *first = diff.add_count > 0 ? &diff.add[0] : &diff.remove[0];
        (void)snprintf(seen->ports_found, sizeof seen->ports_found, "%zu published ports are missing, %zu should not be there: %s %u%s",
                       diff.add_count, diff.remove_count, first->protocol == IPPROTO_UDP ? "udp" : "tcp", first->host_port,
                       diff.add_count + diff.remove_count > 1 ? " and others" : "");
    }
    seen->loopback_wanted = wanted > 0;
    seen->loopback_open = sysctl_number_get("ipv4", "conf", work->bridge, "route_localnet", &loopback, NULL) == 0 && loopback != 0;
    return 0;
}

int network_ports_repair(struct network_work *work, struct error *err)
{
    AUTO_PORTS_DIFF diff = {.add = NULL};
    size_t wanted = 0;
    if (look(work, &diff, &wanted, err) != 0) {
        return -1;
    }
    return nft_ports_change(work->worker->mark, diff.add, diff.add_count, diff.remove, diff.remove_count, err);
}

int network_loopback_set(struct network_work *work, struct error *err)
{
    AUTO_FREE struct nft_port *wanted = NULL;
    size_t count = 0;
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
    return network_ports_wanted(work, &wanted, &count, err) == 0 ? let_loopback(work->bridge, count > 0, err) : -1;
}
