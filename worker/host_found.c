#include "worker/host_found.h"

#include <stdio.h>
#include <string.h>

static int choose_firecracker(const struct host_facts *facts, struct vmm_choice *ret, struct error *err)
{
    const struct vmm_fact *fact = &facts->vmms[VMM_FIRECRACKER];
    if (!fact->available) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "Firecracker is not available: %s", fact->reason);
    }
    if (!facts->kvm.present) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "Firecracker needs KVM: %s", facts->kvm.reason);
    }
    ret->kind = VMM_FIRECRACKER;
    ret->accel = VMM_ACCEL_KVM;
    return 0;
}

static int choose_qemu(const struct host_facts *facts, struct vmm_choice *ret, struct error *err)
{
    const struct vmm_fact *fact = &facts->vmms[VMM_QEMU];
    if (!fact->available) {
        return error_set(err, ERR_VMM_UNAVAILABLE, "QEMU is not available: %s", fact->reason);
    }
    ret->kind = VMM_QEMU;
    ret->accel = facts->kvm.usable ? VMM_ACCEL_KVM : VMM_ACCEL_TCG;
    return 0;
}

static int choose(const struct host_facts *facts, const char *requested, struct vmm_choice *ret, struct error *err)
{
    const struct vmm_fact *firecracker = &facts->vmms[VMM_FIRECRACKER];
    if (strcmp(requested, "firecracker") == 0) {
        (void)snprintf(ret->reason, sizeof ret->reason, "asked for by name; %s", facts->kvm.reason);
        return choose_firecracker(facts, ret, err);
    }
    if (strcmp(requested, "qemu") == 0) {
        (void)snprintf(ret->reason, sizeof ret->reason, "asked for by name; %s", facts->kvm.reason);
        return choose_qemu(facts, ret, err);
    }
    if (facts->kvm.usable && firecracker->available) {
        (void)snprintf(ret->reason, sizeof ret->reason, "auto: %s, and Firecracker is there", facts->kvm.reason);
        return choose_firecracker(facts, ret, err);
    }
    (void)snprintf(ret->reason, sizeof ret->reason, "auto: %s", facts->kvm.usable ? firecracker->reason : facts->kvm.reason);
    return choose_qemu(facts, ret, err);
}

bool host_facts_can_jail(const struct host_facts *facts, enum vmm_kind kind, const char **ret_reason)
{
    const struct containment *containment = &facts->containment;
    if (!containment->jails) {
        *ret_reason = containment->reason;
        return false;
    }
    *ret_reason = containment->jailer.reason;
    return kind != VMM_FIRECRACKER || containment->jailer.available;
}

bool host_facts_can_limit(const struct host_facts *facts)
{
    return facts->cgroup.mounted && facts->cgroup.memory && facts->cgroup.pids;
}

static int contain(const struct host_facts *facts, struct vmm_choice *ret, struct error *err)
{
    const struct containment *containment = &facts->containment;
    const char *reason = "";
    ret->jailed = host_facts_can_jail(facts, ret->kind, &reason);
    if (!ret->jailed && containment->require_jail[ret->kind]) {
        return error_set(err, ERR_CONTAINMENT_UNAVAILABLE, "there is no jail for %s, and vmm.require_jail asks for one: %s", vmm_drivers[ret->kind].name,
                         reason);
    }
    if (!host_facts_can_limit(facts) && containment->require_limits) {
        return error_set(err, ERR_CONTAINMENT_UNAVAILABLE,
                         "the host has no cgroup v2 with the controllers memory and pids, and vmm.require_limits asks for limits");
    }
    memcpy(ret->jailer, containment->jailer.path, sizeof ret->jailer);
    return 0;
}

int host_facts_choose(struct host_facts *facts, const char *requested, struct vmm_choice *ret, bool *ret_known, struct error *err)
{
    int result = 0;
    (void)pthread_mutex_lock(&facts->lock);
    *ret_known = facts->kvm_known;
    if (facts->kvm_known) {
        result = choose(facts, requested, ret, err);
        if (result == 0) {
            const struct vmm_fact *fact = &facts->vmms[ret->kind];
            memcpy(ret->path, fact->path, sizeof ret->path);
            memcpy(ret->version, fact->version, sizeof ret->version);
            result = contain(facts, ret, err);
        }
    }
    (void)pthread_mutex_unlock(&facts->lock);
    return result;
}
