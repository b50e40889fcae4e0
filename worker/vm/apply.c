#include "core/cleanup.h"
#include "core/clock.h"
#include "core/fault.h"
#include "host/link/link.h"
#include "host/nft/nft.h"
#include "host/process/cgroup.h"
#include "worker/border/wanted.h"
#include "worker/firewall/firewall.h"
#include "worker/network/flows.h"
#include "worker/network/ports.h"
#include "worker/telling.h"
#include "worker/vm/boot.h"
#include "worker/vm/console_hub.h"
#include "worker/vm/log.h"
#include "worker/vm/uids.h"
#include "worker/vm/work.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { KILL_WAIT_MS = 10000 };

static size_t guests_of(const struct vm_work *work, struct nft_guest *ret)
{
    const struct network_settings settings = worker_network(work->worker);
    for (size_t i = 0; i < work->row.interface_count; i++) {
        const struct vm_interface *interface = &work->row.interfaces[i];
        ret[i] = (struct nft_guest){.mac = interface->mac, .address = interface->address, .interfaces = (uint32_t)work->row.interface_count};
        memcpy(ret[i].tap, interface->tap, sizeof ret[i].tap);
        const struct ip_addr address6 = network_address6(&settings, interface->address);
        memcpy(ret[i].address6, address6.bytes, sizeof ret[i].address6);
    }
    return work->row.interface_count;
}

/* Under the lock. Most VMs have none, and cost nothing here. *ret_diff: what was changed. */
static int set_ports(struct vm_work *work, bool present, struct ports_diff *ret_diff, struct error *err)
{
    struct runtime *runtime = work->runtime;
    if ((runtime->has_ports || (present && work->row.config.port_count > 0)) && network_ports_of_vm(work->worker, &work->row, present, ret_diff, err) != 0) {
        return -1;
    }
    runtime->has_ports = present && work->row.config.port_count > 0;
    runtime->ports_generation = work->row.generation;
    return 0;
}

/* What a change of the firewall has changed, by which the flows are known that it concerns. */
struct change {
    struct ports_diff ports;
    bool policy; /* of its own */
};

/* The VM's addresses and its own policy, in one batch. */
static int change_guest(struct vm_work *work, bool present, struct change *ret, struct error *err)
{
    struct nft_guest guests[LIMIT_INTERFACES];
    const size_t count = guests_of(work, guests);
    AUTO_FIREWALL_VM_CHANGE policy = {.needed = false};
    if (count == 0) {
        return 0;
    }
    if (firewall_vm_prepare(work->worker, &work->row, present, &policy, err) != 0) {
        return -1;
    }
    ret->policy = policy.needed;
    return nft_guests_change(work->worker->mark, guests, present ? count : 0, guests, present ? 0 : count, policy.needed ? &policy.change : NULL, err);
}

static int add_elements(struct vm_work *work, struct change *ret, struct error *err)
{
    atomic_store(&work->runtime->guests, RUNTIME_GUESTS_PRESENT);
    return change_guest(work, true, ret, err) == 0 ? set_ports(work, true, &ret->ports, err) : -1;
}

static int remove_elements(struct vm_work *work, struct change *ret, struct error *err)
{
    if (set_ports(work, false, &ret->ports, err) != 0 || change_guest(work, false, ret, err) != 0) {
        return -1;
    }
    atomic_store(&work->runtime->guests, RUNTIME_GUESTS_ABSENT);
    return 0;
}

static int change_ports(struct vm_work *work, struct change *ret, struct error *err)
{
    return set_ports(work, true, &ret->ports, err);
}

/* Changes the firewall under the lock, and then cuts the flows that would be decided otherwise now. */
static int change_firewall(struct vm_work *work, bool present, int (*apply)(struct vm_work *work, struct change *ret, struct error *err), struct error *err)
{
    struct change change = {.policy = false};
    (void)pthread_mutex_lock(&work->worker->guests_lock);
    int result = apply(work, &change, err);
    (void)pthread_mutex_unlock(&work->worker->guests_lock);
    result = result == 0 ? network_flows_cut_of_vm(work->worker, &change.ports, &work->row, present, change.policy, err) : result;
    if (change.ports.add_count + change.ports.remove_count > 0) {
        (void)queue_add(work->worker->queue, "network"); /* interfaces by which their clients come */
    }
    ports_diff_free(&change.ports);
    return result;
}

static int create_tap(struct vm_work *work, size_t index, struct error *err)
{
    char alias[LINK_ALIAS_MAX];
    const struct vm_interface *interface = &work->row.interfaces[index];
    (void)snprintf(alias, sizeof alias, "%s:%s", work->worker->mark, work->row.id);
    return link_tap_ensure(interface->tap, alias, work->worker->config->network.bridge, interface->mac, vm_owner(work), err);
}

/* What somebody changed of a TAP is made right again; the alias first, since nothing without it is touched. */
static int repair_tap(struct vm_work *work, size_t index, struct error *err)
{
    char alias[LINK_ALIAS_MAX];
    (void)snprintf(alias, sizeof alias, "%s:%s", work->worker->mark, work->row.id);
    if (work->observed.tap_alias_changed[index] &&
        link_alias_restore(work->row.interfaces[index].tap, atomic_load(&work->runtime->tap_index[index]), alias, err) != 0) {
        return -1;
    }
    return create_tap(work, index, err);
}

static int remove_taps(struct vm_work *work, struct error *err)
{
    const char *names[LIMIT_INTERFACES];
    size_t count = 0;
    for (size_t i = 0; i < work->row.interface_count; i++) {
        if (work->observed.tap_present[i]) {
            names[count++] = work->row.interfaces[i].tap;
        }
    }
    return link_delete(work->worker->mark, names, count, err);
}

static int call_timeout_ms(const struct vm_work *work)
{
    return (int)work->worker->config->vmm.api_timeout_s * 1000;
}

/* A guest that ended just now needs no order any more: the next look sees it. */
static int order(struct vm_work *work, int (*call)(const struct vmm_peer *peer, int timeout_ms, struct error *err), struct error *err)
{
    struct error why = {0};
    const struct vmm_peer peer = vm_peer(work);
    if (call(&peer, call_timeout_ms(work), &why) == 0 || why.sys_errno == EOWNERDEAD) {
        return 0;
    }
    *err = why;
    return -1;
}

static int shutdown_guest(struct vm_work *work, struct error *err)
{
    const struct vmm_driver *driver = &vmm_drivers[work->choice.kind];
    const struct vmm_peer peer = vm_peer(work);
    bool again = work->runtime->shutdown_sent_ms >= 0;
    work->runtime->shutdown_last_ms = clock_monotonic_ms();
    if (again) {
        /* A guest that never listens makes Firecracker refuse at last: that is no failure, the deadline comes anyway. */
        (void)driver->shutdown(&peer, call_timeout_ms(work), NULL);
        return 0;
    }
    work->runtime->shutdown_sent_ms = work->runtime->shutdown_last_ms;
    return order(work, driver->shutdown, err);
}

static int kill_vmm(struct vm_work *work, struct error *err)
{
    struct runtime *runtime = work->runtime;
    if (runtime->pidfd < 0) {
        return 0;
    }
    runtime->guest_gone = runtime->guest_gone || work->plan.guest_gone;
    runtime->kill_sent = !runtime->guest_gone;
    runtime->forced = !runtime->guest_gone && (runtime->forced || work->plan.forced);
    if (process_signal(runtime->pidfd, SIGKILL, err) != 0) {
        return -1;
    }
    /* How it ended is told by vm_observe(). */
    int64_t deadline_ms = clock_monotonic_ms() + KILL_WAIT_MS;
    while (process_is_alive(runtime->pidfd)) {
        if (clock_monotonic_ms() >= deadline_ms) {
            return error_set(err, ERR_TIMEOUT, "the VMM process %d does not die", (int)runtime->pid);
        }
        (void)vm_exit_wait(work, 100);
    }
    return 0;
}

static int set_limits(struct vm_work *work, struct error *err)
{
    const struct vm_boot *boot = vm_boot_of(work);
    if (boot == NULL) {
        return error_set(err, ERR_SYSTEM, "there is no record of the boot in %s", work->dir);
    }
    const struct cgroup_limits wanted = vm_limits_wanted(&work->row.config, &boot->record);
    return cgroup_limit(work->worker->mark, work->row.id, &wanted, err);
}

static int unstage_drives(struct vm_work *work, struct error *err)
{
    char dir[320];
    vm_stage_dir(work, dir, sizeof dir);
    return vm_remove_dir(dir, err);
}

static int remove_run_dir(struct vm_work *work, struct error *err)
{
    struct vm_boot none = {.is_known = false};
    console_hub_remove(work->worker->consoles, work->row.uid);
    runtimes_set_boot(work->worker->runtimes, work->runtime, &none);
    return vm_remove_dir(work->dir, err);
}

static int give_up_running(struct vm_work *work, struct error *err)
{
    bool changed = false;
    if (border_vm_give_up_running(work->worker->border, work->row.uid, work->row.generation, &changed, err) != 0) {
        return -1;
    }
    if (changed) {
        work->row.desired = VM_WANT_STOPPED;
        work->row.generation++;
    }
    return 0;
}

static int want_restart(struct vm_work *work, struct error *err)
{
    bool changed = false;
    const struct vm_restart *restart = &work->plan.restart;
    if (border_vm_want_restart(work->worker->border, work->row.uid, restart, &changed, err) != 0) {
        return -1;
    }
    if (changed) {
        work->row.boot_wanted = work->row.restart_boot = restart->boot;
        work->row.restart_count++;
        work->row.restart_streak = restart->streak;
        work->row.restart_due_ms = restart->due_ms;
        work->row.restart_keeps_drives = restart->keeps_drives;
        work->start_failed = work->failed = false;
    }
    return 0;
}

/* What is still to be told of its life comes first: with its end, which can't be told either when that can't. */
static int forget(struct vm_work *work, struct error *err)
{
    char key[QUEUE_KEY_MAX];
    (void)tell_waiting(work->worker, NULL);
    if (border_vm_forget(work->worker->border, &work->row, err) != 0) {
        return -1;
    }
    vm_log_deleted(work);
    vm_drift_forget(work);
    runtimes_remove(work->worker->runtimes, work->row.uid);
    work->runtime = NULL;
    (void)snprintf(key, sizeof key, "vm/%s", work->row.id);
    worker_notify(work->worker, key);
    (void)snprintf(key, sizeof key, "console/%s", work->row.id);
    worker_notify(work->worker, key);
    return 0;
}

static int apply_op(struct vm_work *work, const struct vm_op *op, struct error *err)
{
    const struct vmm_driver *driver = &vmm_drivers[work->choice.kind];
    switch (op->type) {
    case VM_OP_MAKE_RUN_DIR:
        return vm_make_run_dir(work, err);
    case VM_OP_TAKE_UID:
        return vm_take_uid(work, err);
    case VM_OP_FREE_UID:
        return uids_free(work->worker->uids, work->row.id, err);
    case VM_OP_STAGE_DRIVES:
        return vm_stage_drives(work, err);
    case VM_OP_READDRESS:
        return vm_readdress(work, err);
    case VM_OP_ADD_GUEST:
        return change_firewall(work, true, add_elements, err);
    case VM_OP_SET_PORTS:
        return change_firewall(work, true, change_ports, err);
    case VM_OP_CREATE_TAP:
        return create_tap(work, op->index, err);
    case VM_OP_REPAIR_TAP:
        return repair_tap(work, op->index, err);
    case VM_OP_PREPARE_VMM:
        return vm_prepare_vmm(work, err);
    case VM_OP_SET_LIMITS:
        return set_limits(work, err);
    case VM_OP_SPAWN_VMM:
        return vm_spawn(work, err);
    case VM_OP_AWAIT_VMM:
        return vm_await(work, err);
    case VM_OP_PAUSE_VMM:
        return order(work, driver->pause, err);
    case VM_OP_RESUME_VMM:
        return order(work, driver->resume, err);
    case VM_OP_SHUTDOWN_GUEST:
        return shutdown_guest(work, err);
    case VM_OP_KILL_VMM:
        return kill_vmm(work, err);
    case VM_OP_REMOVE_TAPS:
        return remove_taps(work, err);
    case VM_OP_REMOVE_GUEST:
        return change_firewall(work, false, remove_elements, err);
    case VM_OP_UNSTAGE_DRIVES:
        return unstage_drives(work, err);
    case VM_OP_REMOVE_CGROUP:
        return cgroup_remove(work->worker->mark, work->row.id, err);
    case VM_OP_REMOVE_RUN_DIR:
        return remove_run_dir(work, err);
    case VM_OP_GIVE_UP_RUNNING:
        return give_up_running(work, err);
    case VM_OP_WANT_RESTART:
        return want_restart(work, err);
    case VM_OP_FORGET:
        return forget(work, err);
    case VM_OP_COUNT_:
        break;
    }
    return error_set(err, ERR_INTERNAL, "operation %d is not known", (int)op->type);
}

int vm_apply(struct vm_work *work, const struct vm_op *op, struct error *err)
{
    bool starting = work->plan.state == VM_STARTING;
    const char *target = op->type == VM_OP_CREATE_TAP ? work->row.interfaces[op->index].tap : "";
    int64_t begin_us = clock_monotonic_us();
    int result = fault_before("vm", vm_op_name(op->type), err);
    result = result == 0 ? apply_op(work, op, err) : result;
    if (result == 0) {
        fault_after("vm", vm_op_name(op->type));
    }
    if (result == 0 && starting && work->runtime != NULL) {
        runtime_add_timing(work->runtime, vm_op_name(op->type), target, begin_us, clock_monotonic_us());
    }
    if (result != 0) {
        (void)error_prefix(err, "%s", vm_op_name(op->type));
        work->failed = true;
        work->network_failed = op->type == VM_OP_ADD_GUEST || op->type == VM_OP_CREATE_TAP;
        if (!work->start_failed) { /* of which its own error is told */
            work->error = *err;
        }
    }
    return result;
}
