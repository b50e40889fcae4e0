/* Inside api/ only: published ports of a VM, between JSON and rows. */
#ifndef SMARTVM_API_VM_PORTS_H
#define SMARTVM_API_VM_PORTS_H

#include "api/call.h"
#include "core/strbuf.h"
#include "db/vms.h"

/* What the schema of `ports` cannot say: a port of the host is named once. Adds to call->faults. */
void vm_ports_check(struct call *call);

/* Takes the member `ports` of the checked body into the row, which stays as it is when there is none. False when there is none. */
bool vm_ports_read(const json_t *body, struct vm_row *row);

/* Stores row->ports, in the transaction that writes the row. INVALID_CONFIG without an interface, IN_USE with the field. */
int vm_ports_store(struct call *call, const struct vm_row *row, struct error *err);

bool vm_ports_equal(const struct vm_row *a, const struct vm_row *b);

/* Adds `,"ports":[…]`. */
void vm_ports_json(const struct vm_row *row, struct strbuf *b);

#endif
