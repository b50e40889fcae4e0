/* The end of a VMM: waiting for it, and what is told of it. The reason is decided in exit_reason.c. */
#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/cgroup.h"
#include "host/vmm/console.h"
#include "worker/vm/console_hub.h"
#include "worker/vm/work.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum {
    WORD_TIMEOUT_MS = 2000, /* from the end of a VMM to its shim's word about it: a millisecond */
    TAIL_BYTES = 64 * 1024, /* of the console: a panic is followed by registers and stacks */
};

bool vm_exit_wait(struct vm_work *work, int timeout_ms)
{
    struct runtime *runtime = work->runtime;
    int status = -1;
    if (process_wait(runtime->pidfd, timeout_ms, &status, NULL) != 0) {
        return false;
    }
    if (status >= 0) { /* it was our own child */
        runtime->exit = (struct shim_exit){.boot = runtime->process_boot, .status = status, .wall_ms = clock_wall_ms(), .uptime_ms = clock_boottime_ms()};
        runtime->exit_known = true;
    }
    if (!runtime->exit_known) {
        runtime->exit_known =
            shim_hear_exit(&runtime->shim, WORD_TIMEOUT_MS, &runtime->exit) || shim_read_exit(work->dir, runtime->process_boot, &runtime->exit);
    }
    return true;
}

int vm_exit_status(const struct runtime *runtime)
{
    return runtime->exit_known ? runtime->exit.status : -1;
}

/* What this boot's guest said on the console last. */
static enum guest_end last_words_of_guest(const struct vm_work *work, const struct vm_boot_record *record, char line[GUEST_LINE_MAX])
{
    int opened = -1;
    line[0] = '\0';
    if (console_log_open_read(work->dir, "console.log", &opened, NULL) != 0) {
        return GUEST_END_NONE;
    }
    AUTO_CLOSE int fd = opened;
    AUTO_FREE char *text = malloc(TAIL_BYTES);
    off_t end = lseek(fd, 0, SEEK_END);
    off_t begin = end > TAIL_BYTES ? end - TAIL_BYTES : 0;
    if (record->console_begin > begin && record->console_begin <= end) {
        begin = (off_t)record->console_begin;
    }
    ssize_t n = text != NULL ? pread(fd, text, (size_t)(end - begin), begin) : -1;
    return n > 0 ? guest_end_find(text, (size_t)n, line) : GUEST_END_NONE;
}

/* Was this end wanted? A boot that the daemon wants by itself, after it, is no such wish. */
static bool is_asked(const struct vm_work *work, int64_t boot)
{
    const struct vm_row *row = &work->row;
    bool newer = row->boot_wanted > boot && row->boot_wanted != row->restart_boot;
    return row->desired == VM_WANT_STOPPED || row->deleting || newer || atomic_load(&work->worker->stop_vms);
}

static const char *tier_of(const struct vm_work *work, const struct exit_facts *facts, enum exit_reason reason)
{
    const struct runtime *runtime = work->runtime;
    if (reason == EXIT_OUT_OF_MEMORY) {
        return "out_of_memory";
    }
    if (runtime->forced) {
        return "forced";
    }
    if (runtime->kill_sent) {
        return "killed";
    }
    if (facts->asked && !facts->guest_gone && facts->status >= 0 && WIFSIGNALED(facts->status)) {
        return work->row.stop_timeout_ms == 0 ? "killed" : "forced"; /* by the daemon before this one */
    }
    if (runtime->shutdown_sent_ms >= 0 || (facts->asked && exit_reason_is_clean(reason))) {
        return "graceful";
    }
    return facts->guest_gone || (facts->status >= 0 && facts->status == 0) ? "guest" : "lost";
}

static void describe(struct vm_work *work, const struct exit_facts *facts, const char *line, const char *words)
{
    struct vm_exit *exit = &work->exit;
    char status[PROCESS_STATUS_TEXT_MAX];
    char caught[PROCESS_STATUS_TEXT_MAX + 16] = "";
    if (exit->reason == EXIT_HOST_REBOOT) {
        (void)snprintf(exit->message, sizeof exit->message, "the host was started anew");
        return;
    }
    if (exit->reason == EXIT_GUEST_PANIC && line[0] != '\0') {
        (void)snprintf(exit->message, sizeof exit->message, "%s", line);
        return;
    }
    if (facts->caught_signal > 0) {
        char text[PROCESS_STATUS_TEXT_MAX];
        (void)snprintf(caught, sizeof caught, ", for %s", process_status_text(facts->caught_signal, text));
    }
    if (facts->status < 0) {
        (void)snprintf(exit->message, sizeof exit->message, "the VMM ended, and nobody is left who knows how%s%.160s",
                       words[0] != '\0' ? "; its last words: " : "", words);
        return;
    }
    if (facts->guest_gone) {
        (void)snprintf(exit->message, sizeof exit->message, "the guest ended; its VMM did not end by itself, and was killed");
        return;
    }
    (void)snprintf(exit->message, sizeof exit->message, "the VMM ended: %s%s%s%s%.160s", process_status_text(facts->status, status), caught,
                   facts->out_of_memory ? ", since its cgroup has reached its limit of memory" : "", words[0] != '\0' ? "; its last words: " : "", words);
}

static void fill_exit(struct vm_work *work, const struct exit_facts *facts)
{
    struct vm_exit *exit = &work->exit;
    const struct runtime *runtime = work->runtime;
    exit->reason = exit_reason_decide(facts);
    exit->tier = tier_of(work, facts, exit->reason);
    exit->exit_code = facts->guest_gone ? 0 : facts->status >= 0 && WIFEXITED(facts->status) ? WEXITSTATUS(facts->status) : -1;
    exit->number = facts->guest_gone ? 0 : facts->status >= 0 && WIFSIGNALED(facts->status) ? WTERMSIG(facts->status) : facts->caught_signal;
    exit->at_ms = runtime->exit_known ? runtime->exit.wall_ms : clock_wall_ms();
    exit->uptime_ms = runtime->exit_known ? runtime->exit.uptime_ms : clock_boottime_ms();
}

/* All that is known; the console must have been read to its end. */
static void conclude(struct vm_work *work, const struct vm_boot_record *record)
{
    const struct runtime *runtime = work->runtime;
    const int64_t boot = record != NULL ? record->boot : work->row.boot_done;
    char words[256] = "";
    char line[GUEST_LINE_MAX] = "";
    struct exit_facts facts = {
        .status = vm_exit_status(runtime),
        .asked = is_asked(work, boot),
        .guest_gone = runtime->guest_gone,
        .out_of_memory = work->worker->facts.cgroup.memory && cgroup_was_out_of_memory(work->worker->mark, work->row.id),
        .host_rebooted = work->row.boot_id[0] != '\0' && strcmp(work->row.boot_id, work->worker->boot_id) != 0,
    };
    if (record != NULL) {
        const struct vmm_driver *driver = &vmm_drivers[record->kind];
        facts.words = last_words_of_guest(work, record, line);
        facts.cause = vm_last_words(work, record->kind, words, sizeof words);
        facts.quiet_end = driver->quiet_end;
        if (facts.status >= 0 && WIFEXITED(facts.status) && driver->caught_signal != NULL) {
            facts.caught_signal = driver->caught_signal(WEXITSTATUS(facts.status));
        }
    }
    fill_exit(work, &facts);
    describe(work, &facts, line, words);
    work->exit_noted = true;
    work->exit_told = false;
}

static const struct vm_boot_record *record_of(struct vm_work *work)
{
    const struct vm_boot *boot = vm_boot_of(work);
    return boot != NULL ? &boot->record : NULL;
}

void vm_exit_note(struct vm_work *work)
{
    (void)vm_exit_wait(work, 0);
    console_hub_flush(work->worker->consoles, work->row.uid);
    conclude(work, record_of(work));
    work->exit.lasted_ms = work->exit.uptime_ms - process_start_ms(work->runtime->start_time);
    console_hub_remove(work->worker->consoles, work->row.uid);
    runtime_clear_process(work->runtime);
}

/* Its shim may be about to write: then it is waited for. */
static void recall_exit(struct vm_work *work, int64_t boot)
{
    struct runtime *runtime = work->runtime;
    struct shim shim = SHIM_NONE;
    if (shim_attach(work->dir, WORD_TIMEOUT_MS, &shim, NULL) == 0) {
        runtime->exit_known = shim_hear_exit(&shim, WORD_TIMEOUT_MS, &runtime->exit);
        shim_close(&shim, true);
    }
    runtime->exit_known = runtime->exit_known || shim_read_exit(work->dir, boot, &runtime->exit);
}

void vm_exit_recall(struct vm_work *work)
{
    struct runtime *runtime = work->runtime;
    const struct vm_boot_record *record = record_of(work);
    const bool unrecorded = record != NULL && record->boot > work->row.boot_done;
    runtime->exit_known = false;
    if (record != NULL && (work->row.pid != 0 || unrecorded)) {
        recall_exit(work, record->boot);
    }
    /* A VMM that nobody has told of yet: it was started and ended after the last word in the database. */
    if (work->row.pid == 0 && !(unrecorded && runtime->exit_known)) {
        return;
    }
    if (unrecorded && runtime->exit_known) {
        work->row.boot_done = record->boot;
    }
    runtime->process_boot = work->row.boot_done;
    if (record != NULL && console_hub_add(work->worker->consoles, work->row.uid, work->row.id, work->dir, NULL) == 0) {
        console_hub_flush(work->worker->consoles, work->row.uid);
    }
    conclude(work, record);
    work->exit.lasted_ms =
        work->row.start_time > 0 && !(unrecorded && runtime->exit_known) ? work->exit.uptime_ms - process_start_ms((uint64_t)work->row.start_time) : 0;
    console_hub_remove(work->worker->consoles, work->row.uid);
}
