/*
 * Is KVM usable? Opening /dev/kvm is not enough: some hosts emulate each instruction a thousand times too
 * slowly. Facts: Documentation/virt/kvm/api.rst; KVM_RUN returns EINTR for a signal that KVM_SET_SIGNAL_MASK
 * lets through, and one that the thread blocks otherwise is then taken by sigtimedwait(2): no handler is ever
 * installed.
 */
#ifndef SMARTVM_HOST_VMM_KVM_H
#define SMARTVM_HOST_VMM_KVM_H

#include <stdbool.h>
#include <stdint.h>

struct kvm_probe {
    bool present;     /* /dev/kvm can be opened and makes a VM and a vCPU: Firecracker can be asked for by name */
    bool usable;      /* and a counted loop of ten million iterations plus hlt finished in time */
    char reason[256]; /* one sentence for people, always set */
    int64_t loop_us;  /* how long the loop took, or -1 when it was cut off or never began */
};

/*
 * Runs the probe in the calling thread; takes little more than timeout_ms. A timer sends SIGRTMIN+1 to this
 * thread only, where it is blocked, so that no other thread and no handler notices. Never fails: what is
 * wrong is in `reason`.
 */
void kvm_probe(int timeout_ms, struct kvm_probe *ret);

#endif
