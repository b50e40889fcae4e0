/*
 * What a VM may take of the host's memory: the limit of its cgroup is made of it (worker/vm/boot.c), and what is reserved for it (core/capacity.h).
 * Pure functions, any thread.
 */
#ifndef SMARTVM_CORE_VM_MEMORY_H
#define SMARTVM_CORE_VM_MEMORY_H

#include <stdint.h>

/* What a VMM needs besides its guest's memory, at most: MiB. Without KVM, QEMU has a cache of translated code of up to 1 GiB. */
enum { VM_OVERHEAD_FIRECRACKER_MIB = 64, VM_OVERHEAD_QEMU_MIB = 256, VM_OVERHEAD_QEMU_TCG_MIB = 256 + 1024 };

/* The guest's memory, what the VMM needs itself, and the kernel's tables for both (a 64th). MiB. */
static inline uint64_t vm_memory_mib(unsigned guest_mib, unsigned overhead_mib)
{
    return (uint64_t)guest_mib + guest_mib / 64 + overhead_mib;
}

/* What the writable drive takes at most, by its apparent size: on a tmpfs it is memory, and counted to the VMM's cgroup. MiB. */
static inline uint64_t vm_drive_mib(uint64_t bytes)
{
    return (bytes >> 20) + ((bytes & ((1U << 20) - 1)) != 0);
}

#endif
