#include "core/device.h"

#include "core/limits.h"

#include <string.h>

const struct device_type device_types[DEVICE_COUNT_] = {
    [DEVICE_BOOT_ARGS] = {.name = "boot_args", .is_given = true, .at_most = 1, .firecracker = "boot-source", .qemu = true, .keeps = DEVICE_KEEPS_STATE},
    [DEVICE_MACHINE] = {.name = "machine_config", .is_given = true, .at_most = 1, .firecracker = "machine-config", .qemu = true, .keeps = DEVICE_KEEPS_STATE},
    [DEVICE_DRIVES] = {.name = "drives", .at_most = LIMIT_DRIVES, .firecracker = "drives", .qemu = true, .keeps = DEVICE_KEEPS_CONTENT},
    [DEVICE_INTERFACES] = {.name = "network_interfaces",
                           .is_given = true,
                           .at_most = LIMIT_INTERFACES,
                           .firecracker = "network-interfaces",
                           .qemu = true,
                           .keeps = DEVICE_KEEPS_GUEST_END},
    [DEVICE_ENTROPY] = {.name = "entropy", .at_most = 1, .firecracker = "entropy", .qemu = true, .keeps = DEVICE_KEEPS_STATE},
    /* Of the host's firewall: the VMM does not know of them. */
    [DEVICE_PORTS] = {.name = "ports", .is_given = true, .at_most = LIMIT_PORTS, .qemu = true, .live = {{"*", "set_ports"}}, .keeps = DEVICE_KEEPS_NOTHING},
};

bool device_is_live(const struct device_type *type)
{
    return type->live[0].field != NULL && strcmp(type->live[0].field, "*") == 0;
}

const struct device_type *device_lacking(const struct device_type *types, size_t count, unsigned present, const char *vmm)
{
    for (size_t i = 0; i < count; i++) {
        if ((present & (1U << i)) != 0 && !types[i].qemu && strcmp(vmm, "qemu") == 0) {
            return &types[i];
        }
    }
    return NULL;
}
