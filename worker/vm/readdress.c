/*
 * A VM whose addresses, or the names of whose TAPs, are of another network than the one in force: the configuration's subnet or bridge was changed since.
 * A guest that runs keeps what it was told, and is shown as cut off; the next start gives it what the network has now.
 */
#include "core/cleanup.h"
#include "core/kernel_args.h"
#include "core/strbuf.h"
#include "worker/border/wanted.h"
#include "worker/vm/work.h"

#include <stdio.h>
#include <string.h>

bool vm_readdress_is_due(const struct vm_work *work)
{
    const struct network_settings settings = worker_network(work->worker);
    for (size_t i = 0; i < work->row.interface_count; i++) {
        const struct vm_interface *interface = &work->row.interfaces[i];
        if (!network_has_address(&settings, interface->address) || !network_has_tap(&settings, interface->tap)) {
            return true;
        }
    }
    return false;
}

static void log_readdressed(const struct vm_work *work, const struct vm_interface *interface, uint32_t old_address)
{
    char from[IPV4_TEXT_MAX];
    char to[IPV4_TEXT_MAX];
    log_event(LOG_INFO, "vm.readdressed", "vm", work->row.id, "ip", ipv4_format(interface->address, to), "from", ipv4_format(old_address, from), "tap",
              interface->tap, NULL);
}

int vm_readdress(struct vm_work *work, struct error *err)
{
    const struct network_settings settings = worker_network(work->worker);
    struct vm_interface before[LIMIT_INTERFACES];
    if (work->row.interface_count == 0) {
        return 0;
    }
    memcpy(before, work->row.interfaces, work->row.interface_count * sizeof *before);
    if (border_vm_readdress(work->worker->border, &settings, &work->row, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < work->row.interface_count; i++) {
        const struct vm_interface *now = &work->row.interfaces[i];
        if (now->address != before[i].address || strcmp(now->tap, before[i].tap) != 0) {
            atomic_store(&work->runtime->tap_index[i], 0);
            log_readdressed(work, now, before[i].address);
        }
    }
    (void)queue_add(work->worker->queue, "network"); /* whether any VM is outside of the subnet is told there */
    return 0;
}

void vm_network_arguments(const struct vm_work *work, char buf[VM_NETWORK_ARGUMENTS_MAX])
{
    const struct network_settings settings = worker_network(work->worker);
    AUTO_STRBUF b = STRBUF_INIT;
    if (work->row.interface_count > 0) {
        kernel_args_network(&b, &settings, work->row.interfaces[0].address, NULL, 0);
    }
    (void)snprintf(buf, VM_NETWORK_ARGUMENTS_MAX, "%s", b.len > 0 && !b.failed ? b.data + 1 : "");
}
