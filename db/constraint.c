#include "db/constraint.h"

#include "core/cleanup.h"

#include <sqlite3.h>
#include <string.h>

/* A test walks the schema, and wants a row for each unique constraint there. */
const struct constraint constraints[] = {
    {"images.id", ERR_ALREADY_EXISTS, "an image with this id exists"},
    {"vms.id", ERR_ALREADY_EXISTS, "a VM with this id exists"},
    {"vms.uid", ERR_INTERNAL, "the number of a VM was given twice"},
    {"interfaces.tap", ERR_CONFLICT, "the name of a TAP is that of another VM's; try again"},
    {"interfaces.mac", ERR_CONFLICT, "a MAC is that of another VM's interface; try again"},
    {"interfaces.address", ERR_CONFLICT, "an address is that of another VM; try again"},
    {"interfaces.vm_uid, interfaces.position", ERR_CONFLICT, "the VM has this interface already"},
    {"leases.address", ERR_CONFLICT, "an address is leased already; try again"},
    {"ports.vm_uid, ports.position", ERR_CONFLICT, "the VM publishes this port already"},
    {"reservations.vm_uid", ERR_INTERNAL, "something was reserved for a VM twice"},
    {"reserved.id", ERR_INTERNAL, "there is more than one sum of what is reserved"},
    {"events.seq", ERR_INTERNAL, "the number of an event was given twice"},
    {"tasks.id", ERR_INTERNAL, "the number of a task was given twice"},
    {"idempotency.key", ERR_CONFLICT, "a request with this idempotency key was made at the same time; repeat it for its answer"},
    {"facts.name", ERR_CONFLICT, "this was written by somebody else at the same time; try again"},
    {"network.id", ERR_CONFLICT, "the network's settings were written by somebody else at the same time; try again"},
    {"firewall_state.id", ERR_CONFLICT, "the firewall's state was written by somebody else at the same time; try again"},
    {"firewall_policies.id", ERR_CONFLICT, "the policy was written by somebody else at the same time; try again"},
    {"firewall_sets.name", ERR_ALREADY_EXISTS, "an address set of this name exists"},
    {"wireguard.id", ERR_CONFLICT, "the tunnel was written by somebody else at the same time; try again"},
};
const size_t constraint_count = ARRAY_LEN(constraints);

int constraint_refuse(int extended_code, const char *text, struct error *err)
{
    static const char prefix[] = "UNIQUE constraint failed: ";
    if (extended_code == SQLITE_CONSTRAINT_FOREIGNKEY) {
        return error_set(err, ERR_CONFLICT, "what this refers to is gone, or what is to go is still referred to; try again");
    }
    if (extended_code == SQLITE_CONSTRAINT_TRIGGER) { /* those of the schema refuse nothing */
        return error_set(err, ERR_DATABASE, "the database refused an operation, by a trigger of somebody else's");
    }
    const char *columns = strncmp(text, prefix, sizeof prefix - 1) == 0 ? text + sizeof prefix - 1 : text;
    for (size_t i = 0; i < constraint_count; i++) {
        if (strcmp(columns, constraints[i].columns) == 0) {
            return error_set(err, constraints[i].code, "%s", constraints[i].words);
        }
    }
    return error_set(err, ERR_INTERNAL, "the database does not take a value of this change");
}
