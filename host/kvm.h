/*
 * Is KVM usable? Opening /dev/kvm is not enough: some hosts emulate each instruction a thousand times too
 * slowly. Facts: Documentation/virt/kvm/api.rst; KVM_RUN returns EINTR for a signal that KVM_SET_SIGNAL_MASK
 * lets through, and one that the thread blocks otherwise is then taken by sigtimedwait(2): no handler is ever
 * installed.
 */
#ifndef SMARTVM_HOST_KVM_H
#define SMARTVM_HOST_KVM_H

#include <stdbool.h>
#include <stdint.h>

struct kvm_probe {
    bool present; /* /dev/kvm can be opened and makes a VM and a vCPU: Firecracker can be asked for by name */
    bool usable;  /* and a counted loop of half a million iterations plus hlt finished in time */
    char reason[256]; /* one sentence for people, always set */
    int64_t loop_us;  /* of a processor, that the loop took; -1 when it was cut off or never began */
};

/*
 * Runs the probe in the calling thread. The time is that of the thread on a processor, so that a busy host is not taken for a slow one;
 * should the guest do nothing at all, KVM_PROBE_PATIENCE times as long by the clock is the end. Timers send SIGRTMIN+1 to this thread
 * only, where it is blocked, so that no other thread and no handler notices. Never fails: what is wrong is in `reason`.
 */
enum { KVM_PROBE_PATIENCE = 20 };
void kvm_probe(int timeout_ms, struct kvm_probe *ret);

#endif
