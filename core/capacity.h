/*
 * What of the host all VMs together may have, and what of it is reserved. A VM's part is reserved in the transaction that creates it, whether it runs or not,
 * and is freed with its row (db/reservations.h); who asks for more than is left is refused (api/vm/admission.h).
 *
 * Pure functions, any thread.
 */
#ifndef SMARTVM_CORE_CAPACITY_H
#define SMARTVM_CORE_CAPACITY_H

#include "core/config.h"
#include "core/image_row.h"
#include "core/vm_config.h"

/* What the VMs of a host share: a row each of capacity_types. */
enum capacity_resource { CAPACITY_MEMORY, CAPACITY_DISK, CAPACITY_VCPUS, CAPACITY_ADDRESSES, CAPACITY_BRIDGE_PORTS, CAPACITY_COUNT_ };

struct capacity_type {
    const char *name;    /* the member of `capacity` in GET /host: "memory_mib" */
    const char *words;   /* behind a number: "MiB of memory" */
    const char *pointer; /* what of a VM asks for it, as a JSON pointer into the request: "/machine_config/mem_size_mib" */
};
extern const struct capacity_type capacity_types[CAPACITY_COUNT_];

/* What a VM has reserved. */
struct reservation {
    int64_t memory_mib; /* the guest's, and what its VMM needs: core/vm_memory.h */
    int64_t drive_mib;  /* of the writable drives, by their apparent size */
    int64_t vcpus;
    int64_t interfaces; /* an address and a port of the bridge each */
};

/* What of a host decides on it, by the fact "host" (worker/host_facts.h). */
struct capacity_host {
    bool is_known;
    int64_t memory_mib, cpus;
    bool stages_in_memory;                /* writable drives are staged on a tmpfs, so that they take memory, too; true where nobody knows */
    int64_t stage_mib;                    /* the size of the file system in which they are; -1: not known */
    unsigned overhead_mib[VM_VMM_COUNT_]; /* of the VMM that a VM gets who asks for this one */
};

/* `fact`: NULL when there is none; what it does not tell is not known. */
void capacity_host_read(const json_t *fact, struct capacity_host *ret);

/* Bytes of the image's writable drives, as its import has told; 0 for one that is read-only, or not imported. */
int64_t capacity_drive_bytes(const struct image_row *image);

struct reservation reservation_of(const struct vm_config *config, int64_t drive_bytes, const struct capacity_host *host);

/* How much of the resource a reservation is. */
int64_t reservation_amount(const struct reservation *reservation, enum capacity_resource resource, const struct capacity_host *host);

/* So much there is of it for all VMs together; CAPACITY_UNKNOWN when that is not known, and nothing is refused. `subnet`: of the guests. */
enum { CAPACITY_UNKNOWN = -1 };
int64_t capacity_total(enum capacity_resource resource, const struct config *config, struct ipv4_net subnet, const struct capacity_host *host);

#endif
