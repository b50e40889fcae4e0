/*
 * What a VM may take of the host's memory: the limit of its cgroup is made of it (worker/vm/boot.c), and what is reserved for it (core/capacity.h).
 * Pure functions, any thread.
 */
#ifndef SMARTVM_CORE_VM_MEMORY_H
#define SMARTVM_CORE_VM_MEMORY_H

#include <stdint.h>

/* What a VMM needs besides its guest's memory, at most: MiB. Without KVM, QEMU has a cache of translated code of up to 1 GiB. */
enum {
    VM_CODE_CACHE_MIB = 1024,
    VM_OVERHEAD_FIRECRACKER_MIB = 64,
    VM_OVERHEAD_QEMU_MIB = 256,
    VM_OVERHEAD_QEMU_TCG_MIB = VM_OVERHEAD_QEMU_MIB + VM_CODE_CACHE_MIB
};

/* On a host of so much memory, since QEMU makes that cache no larger than an 8th of it (tcg/region.c). host_mib < 0: not known. */
static inline unsigned vm_overhead_qemu_tcg_mib(int64_t host_mib)
{
    const int64_t part_mib = host_mib / 8;
    return VM_OVERHEAD_QEMU_MIB + (host_mib >= 0 && part_mib < VM_CODE_CACHE_MIB ? (unsigned)part_mib : VM_CODE_CACHE_MIB);
}

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
