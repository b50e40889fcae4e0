/* Inside api/ only: the definition of a VM (core/vm_config.h), out of a request, and out of a row. */
#ifndef SMARTVM_API_VM_CONFIG_H
#define SMARTVM_API_VM_CONFIG_H

#include "api/call.h"
#include "core/vm_row.h"

/* What the schema of POST and PATCH cannot say, beside the faults that it told. Adds to call->faults. */
void vm_config_check_create(struct call *call);
void vm_config_check_patch(struct call *call);

/* That of a checked POST. INVALID_CONFIG. */
int vm_config_read(const json_t *body, struct vm_config *ret, struct error *err);

/*
 * That of the row, merged with a checked PATCH (RFC 7396), into row->config; *ret_changed: the members that differ then. INVALID_CONFIG, with all faults in call->faults; ROW_DAMAGED where what is stored
 * can't be read.
 */
int vm_config_merge(struct call *call, struct vm_row *row, unsigned *ret_changed, struct error *err);

/* Fills in row->config. A document that can't be read is shown as that of a new VM; row->is_damaged then. */
int vm_config_of_row(struct vm_row *row, struct error *err);

#endif
