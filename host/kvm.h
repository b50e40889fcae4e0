/* Is KVM usable? Opening /dev/kvm is not enough: some hosts emulate each instruction a thousand times too slowly. */
#ifndef SMARTVM_HOST_KVM_H
#define SMARTVM_HOST_KVM_H

#include "core/error.h"

#include <stdint.h>

struct kvm_probe {
    bool present; /* /dev/kvm can be opened and makes a VM and a vCPU: Firecracker can be asked for by name */
    bool usable;  /* and a counted loop of ten million iterations plus hlt finished in time */
    char reason[256]; /* one sentence for people, always set */
    int64_t loop_us;  /* how long the loop took, or -1 when it was cut off */
};

/* Runs the probe; takes at most timeout_ms (the vCPU thread is interrupted by a signal to that thread only; pick SIGRTMIN+1
 * and restore its handler). Never fails: what is wrong is in `reason`. May be called from any thread, once at a time. */
void kvm_probe(int timeout_ms, struct kvm_probe *ret);

#endif
