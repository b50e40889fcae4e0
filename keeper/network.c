/* Messages about the network: settings, interfaces, published ports, the tunnel. */
#include "core/cleanup.h"
#include "db/interfaces.h"
#include "db/network.h"
#include "db/ports.h"
#include "db/wireguard.h"
#include "keeper/handlers.h"

#include <stdio.h>
#include <stdlib.h>

int keeper_network_overrides_get(struct db *db, const void *question, void *answer, struct error *err)
{
    (void)question;
    return network_overrides_get(db, answer, err);
}

int keeper_addresses_outside(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_address_range *range = question;
    struct message_addresses *addresses = answer;
    size_t total = 0;
    addresses->items = calloc(range->limit + 1, sizeof *addresses->items);
    if (addresses->items == NULL) {
        return error_oom(err);
    }
    if (network_addresses_outside(db, range->first, range->last, range->limit, addresses->items, &addresses->count, &total, err) != 0) {
        return -1;
    }
    addresses->total = (int64_t)total;
    return 0;
}

int keeper_interface_list(struct db *db, const void *question, void *answer, struct error *err)
{
    struct message_interfaces *interfaces = answer;
    (void)question;
    return interfaces_list(db, &interfaces->items, &interfaces->count, err);
}

int keeper_address_changes(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_number *address = question;
    struct message_flag *changes = answer;
    return interfaces_vm_changes(db, (uint32_t)address->value, &changes->value, err);
}

int keeper_tap_owner(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_tap *tap = question;
    struct message_vm_ids *owner = answer;
    AUTO_FREE char *id = NULL;
    if (interfaces_vm_of_tap(db, tap->name, &id, err) != 0) {
        return -1;
    }
    owner->items = calloc(1, sizeof *owner->items);
    if (owner->items == NULL) {
        return error_oom(err);
    }
    if (id != NULL) {
        (void)snprintf(owner->items[0].id, sizeof owner->items[0].id, "%s", id);
        owner->count = 1;
    }
    return 0;
}

int keeper_port_list(struct db *db, const void *question, void *answer, struct error *err)
{
    struct message_ports *ports = answer;
    (void)question;
    return ports_list(db, &ports->items, &ports->count, err);
}

int keeper_wireguard_get(struct db *db, const void *question, void *answer, struct error *err)
{
    (void)question;
    return wireguard_row_get(db, answer, err);
}
