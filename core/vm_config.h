/*
 * The definition of a VM: all that a client wants it to be, as one document. One struct, one parser with every rule, one JSON form, one comparison.
 * The API parses what a client sent, to refuse what is wrong; it is stored as the text of this document; the worker parses what is stored, as it comes
 * across the border, and so need not trust it.
 *
 * JSON form (openapi.yaml, VmCreate, without what is not of the definition: id, desired_state, firewall):
 *   {"image": "debian", "machine_config": {"vcpu_count": 2, "mem_size_mib": 512}, "boot_args": "", "vmm": "auto",
 *    "network_interfaces": [{"iface_id": "eth0"}], "ports": [{"host_ip": "0.0.0.0", "host_port": 80, "guest_port": 80, "count": 1, "protocol": "tcp"}],
 *    "autostart": false, "restart_policy": "never", "labels": {},
 *    "limits": {"cpu_percent": 0, "cpu_weight": 100, "io": {"read_bytes_per_s": 0, "write_bytes_per_s": 0, "read_ops_per_s": 0, "write_ops_per_s": 0}}}
 * What is absent, but for the image, has its default: so a document of an older daemon stays one. What is not known is a fault.
 *
 * Not of the document are the addresses, TAPs and MACs that interfaces were given, and which of its boots a VM is at: struct vm_row.
 *
 * Pure functions, any thread.
 */
#ifndef SMARTVM_CORE_VM_CONFIG_H
#define SMARTVM_CORE_VM_CONFIG_H

#include "core/error.h"
#include "core/ip_net.h"
#include "core/limits.h"

#include <jansson.h>

enum { VM_CONFIG_VCPUS_MAX = 32, VM_CONFIG_MEM_MIB_MAX = 1048576, VM_CONFIG_BOOT_ARGS_MAX = 1024, VM_CONFIG_IFACE_ID_MAX = 32 };

enum vm_vmm { VM_VMM_AUTO, VM_VMM_FIRECRACKER, VM_VMM_QEMU, VM_VMM_COUNT_ };
const char *vm_vmm_name(enum vm_vmm vmm); /* "firecracker" */

enum vm_restart_policy { VM_RESTART_NEVER, VM_RESTART_ON_FAILURE, VM_RESTART_ALWAYS, VM_RESTART_POLICY_COUNT_ };
const char *vm_restart_policy_name(enum vm_restart_policy policy); /* "on-failure" */

/*
 * A published port, or `count` ports one after the other. Host byte order, 1 to 65535; host_port 0: it is left to the daemon, which never stands in what is
 * stored. `protocol` is IPPROTO_TCP or IPPROTO_UDP. `host`: at which address of the host; all zeroes but the version: at all of that version.
 */
struct vm_port {
    uint8_t protocol;
    struct ip_addr host;
    uint16_t host_port, guest_port, count;
};
bool vm_port_is_everywhere(const struct vm_port *port);
bool vm_ports_overlap(const struct vm_port *a, const struct vm_port *b);

/* What the VM may have of the host besides its memory, by the cgroup of its VMM: changes reach one that runs. */
enum vm_io { VM_IO_READ_BYTES, VM_IO_WRITE_BYTES, VM_IO_READ_OPS, VM_IO_WRITE_OPS, VM_IO_COUNT_ };
const char *vm_io_name(enum vm_io io); /* "read_bytes_per_s" */
uint64_t vm_io_max(enum vm_io io);     /* no limit can be larger */
enum { VM_CPU_PERCENT_MAX = 100000, VM_CPU_WEIGHT_MAX = 10000, VM_CPU_WEIGHT_DEFAULT = 100 };
struct vm_limits {
    unsigned cpu_percent;      /* of one CPU: 150 is one and a half; 0: as much as there is */
    unsigned cpu_weight;       /* 1 to VM_CPU_WEIGHT_MAX, against others who want the CPU at the same time */
    uint64_t io[VM_IO_COUNT_]; /* of its drives, a second; 0: as much as there is */
};
bool vm_limits_any_io(const struct vm_limits *limits);

struct vm_config_interface {
    char iface_id[VM_CONFIG_IFACE_ID_MAX + 1];
};

struct vm_config {
    char *image; /* owned, as all that is pointed to */
    struct {
        unsigned vcpu_count, mem_size_mib;
    } machine;
    char *boot_args;
    enum vm_vmm vmm;
    struct vm_config_interface interfaces[LIMIT_INTERFACES];
    size_t interface_count;
    struct vm_port ports[LIMIT_PORTS];
    size_t port_count;
    bool autostart;
    enum vm_restart_policy restart_policy;
    json_t *labels; /* an object of strings; NULL: none */
    struct vm_limits limits;
};

/* The members of the document, in its order. */
enum vm_config_member {
    VM_CONFIG_IMAGE,
    VM_CONFIG_MACHINE,
    VM_CONFIG_BOOT_ARGS,
    VM_CONFIG_VMM,
    VM_CONFIG_INTERFACES,
    VM_CONFIG_PORTS,
    VM_CONFIG_AUTOSTART,
    VM_CONFIG_RESTART_POLICY,
    VM_CONFIG_LABELS,
    VM_CONFIG_LIMITS,
    VM_CONFIG_MEMBER_COUNT_
};
const char *vm_config_member_name(enum vm_config_member member); /* "machine_config" */

enum vm_config_source {
    VM_CONFIG_ASKED,  /* by a client: ports may be left to the daemon */
    VM_CONFIG_STORED, /* nothing is left open */
};

/* A new VM's, but for its image, which is NULL. *ret is freed by vm_config_free(). OUT_OF_MEMORY. */
int vm_config_defaults(struct vm_config *ret, struct error *err);

/*
 * Calls `fault` (may be NULL) with each fault, `pointer` being a JSON pointer (RFC 6901). INVALID_CONFIG then, with the first of them, in printable ASCII and
 * without any value; OUT_OF_MEMORY. *ret is written on success only, and freed by vm_config_free().
 */
typedef void vm_config_fault_fn(void *ctx, const char *pointer, const char *message);
int vm_config_parse(const json_t *json, enum vm_config_source source, struct vm_config *ret, vm_config_fault_fn *fault, void *ctx, struct error *err);

/* Of what is stored. INVALID_CONFIG also for what is no JSON, or longer than LIMIT_VM_CONFIG_BYTES. */
int vm_config_parse_text(const char *text, struct vm_config *ret, struct error *err);

json_t *vm_config_to_json(const struct vm_config *config);                         /* a new reference; NULL when memory is short */
int vm_config_text(const struct vm_config *config, char **ret, struct error *err); /* what is stored; the caller frees it */
void vm_config_free(struct vm_config *config);                                     /* leaves it zeroed; harmless on zeroes */
#define AUTO_VM_CONFIG __attribute__((cleanup(vm_config_free))) struct vm_config

/* The members that differ, a bit each. */
unsigned vm_config_differences(const struct vm_config *a, const struct vm_config *b);
bool vm_config_equal(const struct vm_config *a, const struct vm_config *b);

/* Of these members, those that a VM which runs gets with its next boot only (core/device.h says which change live). */
unsigned vm_config_at_next_boot(unsigned members);

#endif
