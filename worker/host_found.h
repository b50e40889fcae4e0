/*
 * What was found of the host (worker/host_facts.h looks at it), and the choice of a VMM that follows from it. Any thread.
 */
#ifndef SMARTVM_WORKER_HOST_FOUND_H
#define SMARTVM_WORKER_HOST_FOUND_H

#include "host/process/cgroup.h"
#include "host/vmm/known_faults.h"
#include "host/vmm/kvm.h"
#include "host/vmm/vmm.h"

#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

/* Is a file still the one that it was? Zeros for one that is not there. */
struct file_identity {
    dev_t dev;
    ino_t ino;
    off_t size;
    mode_t mode;
    int64_t modified_ns, changed_ns;
};

struct vmm_fact {
    struct file_identity identity; /* of path */
    bool available;
    char path[PATH_MAX];
    char version[64];
    char reason[256]; /* why it is not available */
};

/* Where writable drives are staged. */
struct staging_fact {
    bool in_memory; /* a tmpfs */
    int64_t size_mib;
};

/* What keeps a VMM in. */
struct containment {
    bool jails;                      /* the host can make them (host/process/jail.h) */
    char reason[256];                /* why it can't */
    struct vmm_fact jailer;          /* Firecracker's; `reason` also when it is there, but not to be used */
    const struct known_fault *fault; /* that the jailer has; NULL: none is known */
    bool require_jail[VMM_KIND_COUNT_];
    bool require_limits;
};

struct host_facts {
    pthread_mutex_t lock; /* of all but the last two */
    bool kvm_known;
    struct file_identity kvm_device;
    struct kvm_probe kvm;
    struct vmm_fact vmms[VMM_KIND_COUNT_];
    struct cgroup_support cgroup;
    struct staging_fact staging;
    struct containment containment;
    pthread_mutex_t looking; /* held by who looks again; only they write */
    bool unpublished;        /* what was found could not be stored */
};

struct vmm_choice {
    enum vmm_kind kind;
    enum vmm_accel accel;
    char path[PATH_MAX];
    char version[64];
    char reason[400];
    bool jailed;
    char jailer[PATH_MAX]; /* of Firecracker */
};

/* Can this kind be put into a jail? *ret_reason: why not, borrowed. With the lock held. */
bool host_facts_can_jail(const struct host_facts *facts, enum vmm_kind kind, const char **ret_reason);
bool host_facts_can_limit(const struct host_facts *facts);

/*
 * Decides what runs a VM that asks for `requested`. *ret_known false: KVM is still being measured, ask again. VMM_UNAVAILABLE, saying why,
 * when nothing can, and CONTAINMENT_UNAVAILABLE when it could not be kept in as is required.
 */
int host_facts_choose(struct host_facts *facts, const char *requested, struct vmm_choice *ret, bool *ret_known, struct error *err);

#endif
