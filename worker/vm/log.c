#include "worker/vm/log.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"

#include <stdio.h>

enum { STEPS_MAX = 640 }; /* RUNTIME_TIMINGS_MAX steps, each with a name of at most 20 and a time */

/* The daemon's own doing has no request. */
static const char *request_of(const struct vm_work *work)
{
    return work->row.request[0] != '\0' ? work->row.request : NULL;
}

/* "make_run_dir:0.4,stage_drives:1.2": milliseconds. */
static void list_steps(const struct runtime *runtime, char buf[STEPS_MAX])
{
    size_t len = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < runtime->timing_count && len < STEPS_MAX; i++) {
        const struct runtime_timing *timing = &runtime->timings[i];
        len += (size_t)snprintf(buf + len, STEPS_MAX - len, "%s%s:%.1f", i > 0 ? "," : "", timing->operation, (double)timing->duration_us / 1000);
    }
}

void vm_log_started(const struct vm_work *work)
{
    char pid[16];
    char ms[24];
    char boot[24];
    char steps[STEPS_MAX];
    (void)snprintf(pid, sizeof pid, "%d", (int)work->runtime->pid);
    (void)snprintf(ms, sizeof ms, "%.1f", (double)(clock_monotonic_us() - work->runtime->start_us) / 1000);
    (void)snprintf(boot, sizeof boot, "%lld", (long long)work->runtime->process_boot);
    list_steps(work->runtime, steps);
    log_event(LOG_INFO, "vm.started", "vm", work->row.id, "ms", ms, "boot", boot, "vmm", vmm_drivers[work->choice.kind].name, "version", work->choice.version,
              "accelerator", vmm_accel_name(work->choice.accel), "pid", pid, "steps_ms", steps, "request", request_of(work), NULL);
}

void vm_log_adopted(const struct vm_work *work)
{
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)work->runtime->pid);
    log_event(LOG_INFO, "vm.adopted", "vm", work->row.id, "pid", pid, NULL);
}

void vm_log_ended(const struct vm_work *work)
{
    const struct vm_exit *exit = &work->exit;
    log_event(LOG_INFO, "vm.ended", "vm", work->row.id, "how", exit->tier, "reason", exit_reason_name(exit->reason), "message", exit->message, "request",
              exit->reason == EXIT_ASKED ? request_of(work) : NULL, NULL);
}

void vm_log_failed(const struct vm_work *work)
{
    log_event(LOG_WARN, "vm.failed", "vm", work->row.id, "code", error_code_name(work->error.code), "message", work->error.message, "request", request_of(work),
              NULL);
}

void vm_log_deleted(const struct vm_work *work)
{
    log_event(LOG_INFO, "vm.deleted", "vm", work->row.id, "request", request_of(work), NULL);
}
