/* What is stored of the network, across all VMs: interfaces, published ports, and what PATCH /network has changed. */
#ifndef SMARTVM_CORE_NETWORK_ROWS_H
#define SMARTVM_CORE_NETWORK_ROWS_H

#include "core/limits.h"
#include "core/net_addr.h"
#include "core/network_settings.h"
#include "core/record.h"
#include "core/vm_row.h"

/* One interface of a VM, as far as the host's network is concerned. */
struct interface_row {
    int64_t vm_uid;
    char vm[LIMIT_VM_ID_BYTES + 1];
    char tap[INTERFACE_NAME_MAX];
    struct mac mac;
    uint32_t address;
};

/* A published port, with the address of its VM's first interface. */
struct port_row {
    int64_t vm_uid;
    struct vm_port port;
    uint32_t address;
};

/* A VM and an address of it. */
struct network_address_row {
    char vm[LIMIT_VM_ID_BYTES + 1];
    uint32_t address;
};

extern const struct record_table interface_row_record;
extern const struct record_table port_row_record;
extern const struct record_table network_address_row_record;
extern const struct record_table network_overrides_record;

#endif
