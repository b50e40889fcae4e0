#include "core/capacity.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/network_settings.h"
#include "core/vm_memory.h"

#include <string.h>

const struct capacity_type capacity_types[CAPACITY_COUNT_] = {
    [CAPACITY_MEMORY] = {"memory_mib", "MiB of memory", "/machine_config/mem_size_mib"},
    [CAPACITY_DISK] = {"disk_mib", "MiB for writable drives", "/image"},
    [CAPACITY_VCPUS] = {"vcpus", "vCPUs", "/machine_config/vcpu_count"},
    [CAPACITY_ADDRESSES] = {"addresses", "addresses", "/network_interfaces"},
    [CAPACITY_BRIDGE_PORTS] = {"bridge_ports", "ports of the bridge", "/network_interfaces"},
};

enum { HOST_PART = 16, HOST_MIN_MIB = 256 }; /* what the host keeps of its memory: a 16th, and at least so much */

void capacity_host_read(const json_t *fact, struct capacity_host *ret)
{
    const json_t *staging = json_object_get(fact, "staging");
    const json_t *automatic = json_object_get(fact, "auto");
    const char *driver = json_get_string(automatic, "driver");
    const bool has_kvm = json_get_bool(json_object_get(fact, "kvm"), "usable", true);
    const int64_t memory_mib = json_get_int(fact, "memory_mib", CAPACITY_UNKNOWN);
    const unsigned qemu_mib = has_kvm ? VM_OVERHEAD_QEMU_MIB : vm_overhead_qemu_tcg_mib(memory_mib);
    *ret = (struct capacity_host){
        .is_known = json_is_object(fact),
        .memory_mib = memory_mib,
        .cpus = json_get_int(fact, "cpus", CAPACITY_UNKNOWN),
        .stages_in_memory = json_get_bool(staging, "in_memory", true),
        .stage_mib = json_get_int(staging, "size_mib", CAPACITY_UNKNOWN),
        .overhead_mib = {[VM_VMM_FIRECRACKER] = VM_OVERHEAD_FIRECRACKER_MIB, [VM_VMM_QEMU] = qemu_mib, [VM_VMM_AUTO] = VM_OVERHEAD_FIRECRACKER_MIB},
    };
    if (driver != NULL && strcmp(driver, vm_vmm_name(VM_VMM_QEMU)) == 0) {
        ret->overhead_mib[VM_VMM_AUTO] = qemu_mib;
    }
}

int64_t capacity_drive_bytes(const struct image_row *image)
{
    AUTO_JSON *manifest = NULL;
    AUTO_JSON *observed = NULL;
    if (json_parse(image->manifest, strlen(image->manifest), &manifest, NULL) != 0 || json_get_bool(manifest, "rootfs_is_read_only", false) ||
        json_parse(image->observed, strlen(image->observed), &observed, NULL) != 0) {
        return 0;
    }
    const int64_t bytes = json_get_int(json_object_get(observed, "rootfs"), "size_bytes", 0);
    return bytes > 0 ? bytes : 0;
}

struct reservation reservation_of(const struct vm_config *config, int64_t drive_bytes, const struct capacity_host *host)
{
    return (struct reservation){
        .memory_mib = (int64_t)vm_memory_mib(config->machine.mem_size_mib, host->overhead_mib[config->vmm]),
        .drive_mib = (int64_t)vm_drive_mib((uint64_t)drive_bytes),
        .vcpus = config->machine.vcpu_count,
        .interfaces = (int64_t)config->interface_count,
    };
}

int64_t reservation_amount(const struct reservation *reservation, enum capacity_resource resource, const struct capacity_host *host)
{
    switch (resource) {
    case CAPACITY_MEMORY:
        return reservation->memory_mib + (host->stages_in_memory ? reservation->drive_mib : 0);
    case CAPACITY_DISK:
        return reservation->drive_mib;
    case CAPACITY_VCPUS:
        return reservation->vcpus;
    case CAPACITY_ADDRESSES:
    case CAPACITY_BRIDGE_PORTS:
        return reservation->interfaces;
    case CAPACITY_COUNT_:
        break;
    }
    return 0;
}

static int64_t memory_for_vms(const struct config *config, const struct capacity_host *host)
{
    const int64_t part_mib = host->memory_mib / HOST_PART;
    const int64_t kept_mib = part_mib > HOST_MIN_MIB ? part_mib : HOST_MIN_MIB;
    if (config->capacity.memory_mib > 0) {
        return config->capacity.memory_mib;
    }
    if (host->memory_mib < 0) {
        return CAPACITY_UNKNOWN;
    }
    return host->memory_mib > kept_mib ? host->memory_mib - kept_mib : 0;
}

static int64_t addresses_of(struct ipv4_net subnet)
{
    uint32_t first = 0;
    uint32_t last = 0;
    network_guest_range(subnet, &first, &last);
    return first <= last ? (int64_t)last - first + 1 : 0;
}

int64_t capacity_total(enum capacity_resource resource, const struct config *config, struct ipv4_net subnet, const struct capacity_host *host)
{
    switch (resource) {
    case CAPACITY_MEMORY:
        return memory_for_vms(config, host);
    case CAPACITY_DISK:
        return host->stage_mib;
    case CAPACITY_VCPUS:
        return host->cpus < 0 ? CAPACITY_UNKNOWN : (int64_t)((double)host->cpus * config->capacity.vcpu_factor);
    case CAPACITY_ADDRESSES:
        return addresses_of(subnet);
    case CAPACITY_BRIDGE_PORTS:
        return LIMIT_BRIDGE_PORTS;
    case CAPACITY_COUNT_:
        break;
    }
    return CAPACITY_UNKNOWN;
}
