#include "worker/network/ports.h"

#include "core/cleanup.h"
#include "host/link/sysctl.h"
#include "worker/border/wanted.h"
#include "worker/network/ports_diff.h"
#include "worker/network/work.h"

#include <netinet/in.h>
#include <stdio.h>

enum { PORTS_MAX = 1024 * 1024 }; /* of all VMs: the rows come over the border, and each may stand for a thousand */

#define AUTO_PORTS_DIFF CLEANUP(ports_diff_free) struct ports_diff

/*
 * Packets with a loopback source leave by the bridge, and their answers come back, only with route_localnet. It is on only while a port is
 * published: without the firewall's tables, guests could reach what listens on the host's loopback alone.
 */
static int let_loopback(const char *bridge, bool on, struct error *err)
{
    return sysctl_number_set("ipv4", "conf", bridge, "route_localnet", on, err);
}

/* The ports of one entry, each by itself; none where the guest has no address of that version. Returns how many. */
static size_t expand(const struct network_settings *settings, const struct vm_port *port, uint32_t guest, struct nft_port *ret)
{
    const bool v6 = port->host.version == IP_V6;
    const struct ip_addr address = v6 ? network_address6(settings, guest) : ip_addr_from_ipv4(guest);
    size_t count = v6 && !network_has_ipv6(settings) ? 0 : port->count;
    for (size_t i = 0; i < count; i++) {
        ret[i] = (struct nft_port){.protocol = port->protocol,
                                   .host_port = (uint16_t)(port->host_port + i),
                                   .host = port->host,
                                   .address = address,
                                   .guest_port = (uint16_t)(port->guest_port + i)};
    }
    return count;
}

static int expand_vm(const struct network_settings *settings, const struct vm_row *row, bool present, struct nft_port **ret, size_t *ret_count,
                     struct error *err)
{
    size_t size = 1;
    for (size_t i = 0; i < row->config.port_count; i++) {
        size += row->config.ports[i].count;
    }
    struct nft_port *ports = calloc(size, sizeof *ports);
    if (ports == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < row->config.port_count && present; i++) {
        *ret_count += expand(settings, &row->config.ports[i], row->interfaces[0].address, ports + *ret_count);
    }
    ports_sort(ports, *ret_count);
    *ret = ports;
    return 0;
}

int network_ports_of_vm(struct worker *worker, const struct vm_row *row, bool present, struct ports_diff *ret_diff, struct error *err)
{
    const struct network_settings settings = worker_network(worker);
    AUTO_FREE struct nft_port *there = NULL;
    AUTO_FREE struct nft_port *wanted = NULL;
    size_t there_count = 0;
    size_t count = 0;
    if (row->interface_count == 0) {
        return 0;
    }
    const uint32_t address = row->interfaces[0].address;
    const struct ip_addr addresses[2] = {ip_addr_from_ipv4(address), network_address6(&settings, address)};
    if (expand_vm(&settings, row, present, &wanted, &count, err) != 0 || nft_ports_list(worker->mark, &there, &there_count, err) != 0 ||
        ports_diff_make(there, there_count, wanted, count, addresses, ret_diff, err) != 0 ||
        nft_ports_change(worker->mark, ret_diff->add, ret_diff->add_count, ret_diff->remove, ret_diff->remove_count, err) != 0) {
        return -1;
    }
    return count > 0 ? let_loopback(worker->config->network.bridge, true, err) : 0;
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
    if (border_port_list(work->worker->border, &rows, &row_count, err) != 0) {
        return -1;
    }
    size_t size = 1;
    for (size_t i = 0; i < row_count; i++) {
        size += rows[i].port.count;
    }
    size = size < PORTS_MAX ? size : PORTS_MAX;
    struct nft_port *wanted = calloc(size, sizeof *wanted);
    if (wanted == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < row_count; i++) {
        if (size - count > rows[i].port.count && is_present(work, rows[i].vm_uid)) {
            count += expand(&work->settings, &rows[i].port, rows[i].address, wanted + count);
        }
    }
    ports_sort(wanted, count);
    *ret = wanted;
    *ret_count = count;
    return 0;
}

/*
 * Ports that a client changed just now are the VM's own reconciler's: it cuts the flows, too. This is asked for after the wanted ports were
 * read, and that reconciler waits for the lock, so nothing of the kind is missed.
 */
static int leave_what_changes(const struct network_work *work, struct nft_port *ports, size_t *count, struct error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        bool changes = false;
        if (border_address_changes(work->worker->border, network_address4(&work->settings, &ports[i].address), &changes, err) != 0) {
            return -1;
        }
        if (!changes) {
            ports[kept++] = ports[i];
        }
    }
    *count = kept;
    return 0;
}

/* Does any of them have clients outside? */
static bool has_clients_outside(const struct nft_port *ports, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ports[i].host.version == IP_V4 && ports[i].host.bytes[0] != 127) {
            return true;
        }
    }
    return false;
}

static int plan_ports(struct network_work *work, struct ports_diff *ret, size_t *ret_wanted, struct error *err)
{
    AUTO_FREE struct nft_port *there = NULL;
    AUTO_FREE struct nft_port *wanted = NULL;
    size_t there_count = 0;
    if (nft_ports_list(work->worker->mark, &there, &there_count, err) != 0 || network_ports_wanted(work, &wanted, ret_wanted, err) != 0) {
        return -1;
    }
    work->entries_wanted = has_clients_outside(wanted, *ret_wanted);
    if (ports_diff_make(there, there_count, wanted, *ret_wanted, NULL, ret, err) != 0 || leave_what_changes(work, ret->add, &ret->add_count, err) != 0) {
        return -1;
    }
    return leave_what_changes(work, ret->remove, &ret->remove_count, err);
}

int network_ports_observe(struct network_work *work, struct error *err)
{
    AUTO_PORTS_DIFF diff = {.add = NULL};
    struct network_observed *seen = &work->observed;
    size_t wanted = 0;
    int loopback = 0;
    if (plan_ports(work, &diff, &wanted, err) != 0) {
        return -1;
    }
    if (diff.add_count > 0 || diff.remove_count > 0) {
        const struct nft_port *first = diff.add_count > 0 ? &diff.add[0] : &diff.remove[0];
        (void)snprintf(seen->ports_found, sizeof seen->ports_found, "%zu published ports are missing, %zu should not be there: %s %u%s", diff.add_count,
                       diff.remove_count, first->protocol == IPPROTO_UDP ? "udp" : "tcp", first->host_port,
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
    if (plan_ports(work, &diff, &wanted, err) != 0) {
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
