/* Inside api/ only: published ports of a VM, between JSON and rows. */
#ifndef SMARTVM_API_VM_PORTS_H
#define SMARTVM_API_VM_PORTS_H

#include "api/call.h"
#include "core/strbuf.h"
#include "db/vms.h"

/* What depends on this host's network, and not on the list (core/vm_config.h): is an address of a version that guests have? Adds to call->faults. */
void vm_ports_check(struct call *call);

/* A port of `now` that is left to the daemon keeps the number that `before` has for it. */
void vm_ports_keep(struct vm_config *now, const struct vm_config *before);

/* Stores the ports of row->config, in the transaction that has the row, and fills in those that are chosen. IN_USE with the field. */
int vm_ports_store(struct call *call, struct vm_row *row, struct error *err);

bool vm_ports_equal(const struct vm_row *a, const struct vm_row *b);

/* Adds `,"ports":[…]`. */
void vm_ports_json(const struct vm_row *row, struct strbuf *b);

#endif
