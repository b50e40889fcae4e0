/* The message that gives a VM addresses, and names of TAPs, of another network. */
#include "core/cleanup.h"
#include "core/strbuf.h"
#include "db/allocate.h"
#include "db/events.h"
#include "keeper/handlers.h"

#include <stdlib.h>

static int tell(struct db *db, const char *id, const struct vm_interface *interface, uint32_t old_address, struct error *err)
{
    char from[IPV4_TEXT_MAX];
    char to[IPV4_TEXT_MAX];
    AUTO_STRBUF data = STRBUF_INIT;
    strbuf_addf(&data, "{\"iface_id\":\"%s\",\"ip\":\"%s\",\"from\":\"%s\",\"tap\":\"%s\"}", interface->iface_id, ipv4_format(interface->address, to),
                ipv4_format(old_address, from), interface->tap);
    return data.failed ? error_oom(err) : events_add(db, EVENT_VM_READDRESSED, "vm", id, data.data, err);
}

static int readdress(struct db *db, const struct network_settings *settings, struct vm_row *row, size_t index, struct error *err)
{
    struct vm_interface *interface = &row->interfaces[index];
    const uint32_t old_address = interface->address;
    const bool has_address = network_has_address(settings, old_address);
    const bool has_tap = network_has_tap(settings, interface->tap);
    if (has_address && has_tap) {
        return 0;
    }
    if ((!has_address && allocate_address(db, settings, row, 0, &interface->address, err) != 0) ||
        (!has_tap && allocate_tap(db, settings, row, index, err) != 0) || vms_readdress(db, row, index, old_address, err) != 0) {
        return -1;
    }
    return tell(db, row->id, interface, old_address, err);
}

static int readdress_all(struct db *db, const struct message_vm_readdress *question, struct vm_row *row, struct error *err)
{
    struct network_settings settings = {
        .bridge = question->bridge, .subnet = {question->subnet, question->prefix}, .lease_quarantine_s = question->lease_quarantine_s};
    bool found = false;
    network_tap_prefix(settings.bridge, settings.tap_prefix);
    if (vms_get(db, question->id, row, &found, err) != 0) {
        return -1;
    }
    if (!found || row->uid != question->uid) {
        return error_set(err, ERR_NOT_FOUND, "VM '%s' is gone", question->id);
    }
    for (size_t i = 0; i < row->interface_count; i++) {
        if (readdress(db, &settings, row, i, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int keeper_vm_readdress(struct db *db, const void *question, void *answer, struct error *err)
{
    struct message_vm *vm = answer;
    vm->items = calloc(1, sizeof *vm->items);
    if (vm->items == NULL) {
        return error_oom(err);
    }
    vm->count = 1;
    if (db_begin(db, err) != 0) {
        return -1;
    }
    if (readdress_all(db, question, vm->items, err) != 0) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}
