#include "core/network_rows.h"

#include "core/cleanup.h"
#include "core/names.h"

#include <netinet/in.h>

static const struct record_field interface_fields[] = {
    {RECORD_FIELD(interface_row, vm), .type = RECORD_NAME, .size = LIMIT_VM_ID_BYTES + 1, .min = 1, .max = LIMIT_VM_ID_BYTES, .valid = name_is_vm_id},
    {RECORD_FIELD(interface_row, vm_uid), .type = RECORD_INT, .min = 1, .max = LIMIT_VM_UID},
    {RECORD_FIELD(interface_row, tap), .type = RECORD_NAME, .size = INTERFACE_NAME_MAX, .min = 1, .max = INTERFACE_NAME_MAX - 1, .valid = name_is_interface},
    {RECORD_FIELD(interface_row, mac), .type = RECORD_BYTES, .size = sizeof(struct mac)},
    {RECORD_FIELD(interface_row, address), .type = RECORD_UINT32, .max = UINT32_MAX},
};
const struct record_table interface_row_record = {"interface", sizeof(struct interface_row), interface_fields, ARRAY_LEN(interface_fields)};

static const struct record_field port_fields[] = {
    {RECORD_FIELD(port_row, vm_uid), .type = RECORD_INT, .min = 1, .max = LIMIT_VM_UID},
    {RECORD_FIELD(port_row, port.protocol), .type = RECORD_UINT8, .min = IPPROTO_TCP, .max = IPPROTO_UDP},
    {RECORD_FIELD(port_row, port.host.version), .type = RECORD_UINT8, .min = IP_V4, .max = IP_V6},
    {RECORD_FIELD(port_row, port.host.bytes), .type = RECORD_BYTES, .size = 16},
    {RECORD_FIELD(port_row, port.host_port), .type = RECORD_UINT16, .min = 1, .max = UINT16_MAX},
    {RECORD_FIELD(port_row, port.guest_port), .type = RECORD_UINT16, .min = 1, .max = UINT16_MAX},
    {RECORD_FIELD(port_row, port.count), .type = RECORD_UINT16, .min = 1, .max = 1000},
    {RECORD_FIELD(port_row, address), .type = RECORD_UINT32, .max = UINT32_MAX},
};
const struct record_table port_row_record = {"port", sizeof(struct port_row), port_fields, ARRAY_LEN(port_fields)};

static const struct record_field address_fields[] = {
    {RECORD_FIELD(network_address_row, vm), .type = RECORD_NAME, .size = LIMIT_VM_ID_BYTES + 1, .min = 1, .max = LIMIT_VM_ID_BYTES, .valid = name_is_vm_id},
    {RECORD_FIELD(network_address_row, address), .type = RECORD_UINT32, .max = UINT32_MAX},
};
const struct record_table network_address_row_record = {"address", sizeof(struct network_address_row), address_fields, ARRAY_LEN(address_fields)};

/* That the subnet is one, takes two fields: border_network_settings() looks at it. */
static const struct record_field overrides_fields[] = {
    {RECORD_FIELD(network_overrides, has_subnet), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(network_overrides, has_uplink), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(network_overrides, has_masquerade), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(network_overrides, has_quarantine), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(network_overrides, subnet.address), .type = RECORD_UINT32, .max = UINT32_MAX},
    {RECORD_FIELD(network_overrides, subnet.prefix), .type = RECORD_UINT32, .max = SUBNET_PREFIX_MAX},
    {RECORD_FIELD(network_overrides, uplink), .type = RECORD_NAME, .size = INTERFACE_NAME_MAX, .max = INTERFACE_NAME_MAX - 1,
     .valid = name_is_interface_or_none},
    {RECORD_FIELD(network_overrides, masquerade), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(network_overrides, lease_quarantine_s), .type = RECORD_UINT32, .max = LEASE_QUARANTINE_MAX_S},
    {RECORD_FIELD(network_overrides, generation), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(network_overrides, damaged), .type = RECORD_BOOL, .max = 1},
};
const struct record_table network_overrides_record = {"network", sizeof(struct network_overrides), overrides_fields, ARRAY_LEN(overrides_fields)};
