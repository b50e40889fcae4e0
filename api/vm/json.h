/* Inside api/ only: a VM's row as the JSON of components/schemas/Vm. */
#ifndef SMARTVM_API_VM_JSON_H
#define SMARTVM_API_VM_JSON_H

#include "core/network_settings.h"
#include "core/strbuf.h"
#include "db/vms.h"

/* What the API shows and filters by: that of the row, but "deleting" as soon as that is wanted. */
enum vm_state vm_shown_state(enum vm_state state, bool deleting);

void vm_json(const struct network_settings *settings, const struct vm_row *row, struct strbuf *b);

#endif
