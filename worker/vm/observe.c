#include "core/cleanup.h"
#include "core/clock.h"
#include "core/core_dumps.h"
#include "host/link/link.h"
#include "host/process/cgroup.h"
#include "host/process/vcpus.h"
#include "worker/vm/console_hub.h"
#include "worker/vm/log.h"
#include "worker/vm/uids.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    SHIM_TIMEOUT_MS = 2000,
    GUEST_GONE_MS = 200,     /* for a VMM to end by itself after its guest */
    SILENT_TIMEOUT_MS = 250, /* of a call to a VMM that left the one before unanswered */
};

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Takes over a process that runs already: the descriptor first, then everything is compared, and only then it is believed. */
static int adopt(struct vm_work *work, pid_t pid, struct error *err)
{
    struct process process = {.pid = pid, .pidfd = -1};
    if (process_start_time(pid, &process.start_time, NULL) != 0 || process_open(pid, process.start_time, &process.pidfd, err) != 0 || process.pidfd < 0) {
        return 0; /* gone meanwhile */
    }
    if (!vm_process_is(work->worker, work->row.id, pid)) {
        (void)close(process.pidfd);
        return 0;
    }
    core_dumps_off_of(pid); /* an older daemon let them be */
    const struct vm_boot *boot = vm_boot_of(work);
    work->runtime->process_boot = boot != NULL ? boot->record.boot : work->row.boot_done;
    if (runtime_set_process(work->worker, work->runtime, &process, err) != 0) {
        return -1;
    }
    /* A VMM of an older daemon has none, and nobody else than we reads its console. */
    (void)shim_attach(work->dir, SHIM_TIMEOUT_MS, &work->runtime->shim, NULL);
    atomic_store(&work->runtime->guests, RUNTIME_GUESTS_PRESENT);
    work->runtime->has_ports = work->row.interface_count > 0; /* which ones is not known */
    work->runtime->ports_generation = -1;
    vm_log_adopted(work);
    return console_hub_add(work->worker->consoles, work->row.uid, work->row.id, work->dir, err);
}

/* A process that the reconciler has not come to yet, neither its beginning nor its end. */
static int look_at_process(struct vm_work *work, struct error *err)
{
    struct runtime *runtime = work->runtime;
    struct vm_boot_record record;
    pid_t pid = 0;
    work->observed.process_alive = runtime->pidfd >= 0 && process_is_alive(runtime->pidfd);
    if (runtime->pidfd < 0 && !runtime->observed) {
        if (vm_process_find(work, &pid, err) != 0) {
            return -1;
        }
        work->observed.process_alive = pid != 0;
        runtime->pid = pid;
        runtime->process_boot = pid != 0 && vm_boot_record_read(work->dir, &record) ? record.boot : work->row.boot_done;
    }
    work->observed.process_boot = runtime->process_boot;
    return 0;
}

static int observe_process(struct vm_work *work, struct error *err)
{
    struct runtime *runtime = work->runtime;
    pid_t pid = 0;
    if (runtime->pidfd >= 0 && !process_is_alive(runtime->pidfd)) {
        vm_exit_note(work);
    }
    /* Searching costs more than looking: it is done once, and after an operation whose outcome is not known. */
    if (runtime->pidfd < 0 && !runtime->observed) {
        if (vm_process_find(work, &pid, err) != 0 || (pid != 0 && adopt(work, pid, err) != 0)) {
            return -1;
        }
        if (runtime->pidfd < 0) {
            vm_exit_recall(work);
        }
        runtime->has_ports = work->row.interface_count > 0 && (runtime->has_ports || work->row.state != VM_CREATING); /* from before this daemon */
        runtime->observed = true;
    }
    work->observed.process_alive = runtime->pidfd >= 0;
    work->observed.process_boot = runtime->process_boot;
    return 0;
}

/* A VMM without a guest is one that is just starting, or, when it was seen running before, one whose guest has ended. */
static bool had_guest(const struct vm_work *work)
{
    enum vm_state state = work->row.state;
    return work->runtime->answered || state == VM_RUNNING || state == VM_PAUSED || state == VM_STOPPING;
}

static void query_vmm(struct vm_work *work, const struct vmm_driver *driver)
{
    struct error why = {0};
    bool broke_off = false;
    int timeout_ms = (int)work->worker->config->vmm.api_timeout_s * 1000;
    pid_t vcpu = -1;
    /* VMMs that hang are asked again and again: they must not keep all threads of the worker waiting. */
    if ((work->runtime->silent || work->looks_only) && timeout_ms > SILENT_TIMEOUT_MS) {
        timeout_ms = SILENT_TIMEOUT_MS;
    }
    bool gone = driver->guest != NULL && driver->guest(work->runtime->pid, &vcpu) == VMM_GUEST_NONE;
    if (vcpu > 0 && !work->looks_only) {
        work->observed.guest_unwatched = !runtime_watch_guest(work->worker, work->runtime, vcpu);
    }
    if (!gone) {
        const struct vmm_peer peer = vm_peer(work);
        work->observed.vmm_answers = driver->query(&peer, timeout_ms, &work->observed.vmm_state, &why) == 0;
        work->observed.foreign_socket = !work->observed.vmm_answers && why.sys_errno == VMM_FOREIGN_SOCKET;
        work->runtime->silent = !work->observed.vmm_answers;
        gone = !work->observed.vmm_answers && why.sys_errno == EOWNERDEAD;
        broke_off = !work->observed.vmm_answers && why.code != ERR_TIMEOUT && !work->observed.foreign_socket;
    }
    work->runtime->answered = work->runtime->answered || work->observed.vmm_answers;
    if ((!gone && !broke_off) || !had_guest(work)) {
        return;
    }
    /*
     * Between the end of a guest and that of its VMM there is a moment, and one more between the end of the VMM's socket and its own, while the kernel takes its
     * jail apart; only a VMM that outlasts them hangs.
     */
    if (!work->looks_only && vm_exit_wait(work, GUEST_GONE_MS)) {
        vm_exit_note(work);
        work->observed.process_alive = false;
    } else if (gone) {
        work->observed.guest_gone = true;
        work->runtime->guest_gone = true;
    }
}

/*
 * Anyone in the guest can print the words of a halt: they count when the vCPUs have not run since. Those of a paused guest can't, which says
 * nothing. Sets since when both is so; while a vCPU runs that is now, so that it is looked at again.
 */
static void observe_halt(struct vm_work *work, const struct vmm_driver *driver)
{
    struct runtime *runtime = work->runtime;
    const int64_t said_ms = console_hub_halted_ms(work->worker->consoles, work->row.uid);
    const bool is_paused = work->observed.vmm_answers && work->observed.vmm_state == VMM_STATE_PAUSED;
    uint64_t switches = 0;
    if (said_ms == 0 || is_paused) {
        runtime->idle_since_ms = 0;
        return;
    }
    const int64_t now_ms = clock_monotonic_ms();
    const bool sleep = vcpus_sleep(runtime->pid, driver->vcpu_threads, &switches);
    if (!sleep || runtime->idle_since_ms < said_ms || switches != runtime->vcpu_switches) {
        runtime->idle_since_ms = now_ms;
        runtime->vcpu_switches = sleep ? switches : UINT64_MAX;
    }
    work->observed.guest_halted_ms = runtime->idle_since_ms;
}

static void observe_vmm(struct vm_work *work)
{
    const struct vm_boot *boot = work->observed.process_alive ? vm_boot_of(work) : NULL;
    if (boot == NULL) {
        return;
    }
    const struct vm_boot_record record = boot->record;
    if (work->asks_no_vmm) {
        work->observed.vmm_answers = true;
        work->observed.vmm_state = work->row.state == VM_PAUSED ? VMM_STATE_PAUSED : VMM_STATE_RUNNING;
    } else {
        query_vmm(work, &vmm_drivers[record.kind]);
    }
    observe_halt(work, &vmm_drivers[record.kind]);
    vm_limits_check(work, &record);
    work->choice_known = true;
    work->choice.kind = record.kind;
    work->choice.accel = record.accel;
    memcpy(work->choice.version, record.version, sizeof record.version);
}

static int observe_taps(struct vm_work *work, struct error *err)
{
    struct vm_observed *seen = &work->observed;
    char alias[LINK_ALIAS_MAX];
    (void)snprintf(alias, sizeof alias, "%s:%s", work->worker->mark, work->row.id);
    for (size_t i = 0; i < work->row.interface_count; i++) {
        const struct vm_interface *interface = &work->row.interfaces[i];
        _Atomic int *known = &work->runtime->tap_index[i];
        struct link_check check;
        if (link_tap_check(interface->tap, alias, work->worker->config->network.bridge, interface->mac, atomic_load(known), &check, err) != 0) {
            return -1;
        }
        seen->tap_present[i] = check.present && check.ours;
        seen->tap_alias_changed[i] = seen->tap_present[i] && !check.marked;
        memcpy(seen->tap_found[i], check.found, sizeof seen->tap_found[i]);
        if (check.marked) {
            atomic_store(known, check.index);
        }
    }
    return 0;
}

/* A guest can't be told of another address, mask or gateway while it runs. */
static void observe_guest_network(struct vm_work *work)
{
    char now[VM_NETWORK_ARGUMENTS_MAX];
    const struct network_settings settings = worker_network(work->worker);
    char *found = work->observed.network_found;
    if (!work->observed.process_alive || work->row.interface_count == 0) {
        return;
    }
    vm_network_arguments(work, now);
    const struct vm_boot *boot = vm_boot_of(work);
    const char *told = boot != NULL ? boot->network : NULL;
    for (size_t i = 0; i < work->row.interface_count; i++) {
        const struct vm_interface *interface = &work->row.interfaces[i];
        char address[IPV4_TEXT_MAX];
        char subnet[CIDR_TEXT_MAX];
        if (!network_has_tap(&settings, interface->tap)) {
            (void)snprintf(found, VM_NETWORK_FOUND_MAX, "its TAP %s is not of the bridge %s, which was configured since", interface->tap, settings.bridge);
            return;
        }
        if (!network_has_address(&settings, interface->address)) {
            (void)snprintf(found, VM_NETWORK_FOUND_MAX, "its address %s is not of the subnet %s, which was configured since",
                           ipv4_format(interface->address, address), ipv4_net_format(settings.subnet, subnet));
            return;
        }
    }
    if (told != NULL && strcmp(told, now) != 0) {
        (void)snprintf(found, VM_NETWORK_FOUND_MAX, "it was started with %.120s, and would be with %.120s now", told, now);
    }
}

int vm_observe(struct vm_work *work, struct error *err)
{
    struct worker *worker = work->worker;
    char path[512];
    memset(&work->observed, 0, sizeof work->observed);
    if ((work->looks_only ? look_at_process(work, err) : observe_process(work, err)) != 0 || observe_taps(work, err) != 0) {
        return -1;
    }
    observe_vmm(work);
    observe_guest_network(work);
    (void)snprintf(path, sizeof path, "%s/%s", worker->stage_root, work->row.id);
    work->observed.staged_present = exists(path);
    work->observed.run_dir_present = exists(work->dir);
    work->observed.uid_held = uids_of(worker->uids, work->row.id) != 0;
    pid_t pid = 0;
    size_t count = 0;
    if (worker->facts.cgroup.mounted && !work->observed.process_alive &&
        cgroup_pids(worker->mark, work->row.id, &pid, 1, &count, &work->observed.cgroup_present, err) != 0) {
        return -1;
    }
    work->observed.host_rebooted = work->row.boot_id[0] != '\0' && strcmp(work->row.boot_id, worker->boot_id) != 0;
    return 0;
}

void vm_work_want(struct vm_work *work)
{
    const struct vm_row *row = &work->row;
    const struct runtime *runtime = work->runtime;
    const int64_t default_ms = (int64_t)work->worker->config->vmm.stop_timeout_s * 1000;
    int64_t boot_done = row->boot_done;
    /* A boot whose process was seen is done, also when this look has seen its end. */
    if ((work->observed.process_alive || work->exit_noted) && runtime->process_boot > boot_done) {
        boot_done = runtime->process_boot;
    }
    work->row.boot_done = boot_done;
    work->wanted = (struct vm_wanted){
        .desired = atomic_load(&work->worker->stop_vms) ? VM_WANT_STOPPED : row->desired,
        .deleting = row->deleting,
        .autostart = row->config.autostart,
        .boot_wanted = row->boot_wanted,
        .boot_done = boot_done,
        .state = row->state,
        .was_running = row->pid != 0 || work->exit_noted,
        .restart_policy = row->config.restart_policy,
        .exit_reason = work->exit_noted ? work->exit.reason : EXIT_UNKNOWN,
        .boot_is_restart = row->restart_boot == row->boot_wanted,
        .restart_due_ms = row->restart_due_ms,
        .restart_streak = row->restart_streak,
        .lasted_ms = work->exit_noted && !work->start_failed ? work->exit.lasted_ms : 0,
        .restart_keeps_drives = row->restart_keeps_drives,
        .interface_count = row->interface_count,
        .start_failed = row->desired != VM_WANT_STOPPED && boot_done >= row->boot_wanted && (work->start_failed || row->state == VM_FAILED),
        .ports_changed = runtime->ports_generation != row->generation && (runtime->has_ports || row->config.port_count > 0),
        .readdress = vm_readdress_is_due(work),
        .guest_elements = atomic_load(&runtime->guests) == RUNTIME_GUESTS_PRESENT,
        .stop_timeout_ms = row->stop_timeout_ms < 0 ? default_ms : row->stop_timeout_ms,
        .shutdown_sent_ms = runtime->shutdown_sent_ms,
        .shutdown_last_ms = runtime->shutdown_last_ms,
        .now_ms = clock_monotonic_ms(),
    };
}
