/* What was probed of the host: KVM, VMMs, cgroups, memory. Probed once at start, in a thread of its own; shown at /host. */
#ifndef SMARTVM_WORKER_HOST_FACTS_H
#define SMARTVM_WORKER_HOST_FACTS_H

#include "host/cgroup.h"
#include "host/kvm.h"
#include "host/vmm.h"

#include <limits.h>
#include <pthread.h>

struct worker;

struct vmm_fact {
    bool available;
    char path[PATH_MAX];
    char version[64];
    char reason[256]; /* why it is not available */
};

struct host_facts {
    pthread_mutex_t lock;
    bool kvm_known;
    struct kvm_probe kvm;
    struct vmm_fact vmms[VMM_KIND_COUNT_];
    struct cgroup_support cgroup;
};

/* The quick part: VMMs, cgroups, memory; writes the fact "host". Called before VMs are looked at. */
int host_facts_probe(struct worker *worker, struct error *err);
/* The slow part: KVM, about a second where it is unusable. Writes the fact "host" again. */
void host_facts_probe_kvm(struct worker *worker);

struct vmm_choice {
    enum vmm_kind kind;
    enum vmm_accel accel;
    char path[PATH_MAX];
    char version[64];
    char reason[400];
};

/*
 * Decides what runs a VM that asks for `requested`. *ret_known false: KVM is still being measured, ask again. VMM_UNAVAILABLE, saying why,
 * when nothing can.
 */
int host_facts_choose(struct host_facts *facts, const char *requested, struct vmm_choice *ret, bool *ret_known,
                      struct error *err);

#endif
