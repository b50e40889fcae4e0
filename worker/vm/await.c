/* From the VMM's process to its running guest: waits, and says why when it fails. */
#include "core/clock.h"
#include "worker/vm/boot.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

/*
 * Between two looks. Nothing in the kernel tells of a socket's listen(2) or of a thread's start (inotify tells of a file, but to end its use
 * takes an RCU grace period, longer than the whole start). A VMM that needs long is looked at more rarely.
 */
static struct timespec pause_of(int64_t waited_ms)
{
    return (struct timespec){.tv_nsec = waited_ms < 50 ? 300000L : waited_ms < 1000 ? 5000000L : 20000000L};
}

static int explain_start_failure(struct vm_work *work, struct error *err)
{
    char words[300];
    char status_text[64];
    struct error why = *err;
    /* A VMM whose API breaks off is about to end: its words count more than the broken connection. */
    bool ended = vm_exit_wait(work, why.code == ERR_TIMEOUT ? 0 : 500);
    int status = vm_exit_status(work->runtime);
    (void)vm_last_words(work, work->choice.kind, words, sizeof words);
    if (ended && status == 0) {
        /* The guest was quicker than we: it booted, and ended its VM already. */
        work->row.boot_done = work->row.boot_wanted;
        return 0;
    }
    if (!ended) {
        return words[0] == '\0' ? -1 : error_set(err, why.code, "%.400s; its last words: %s", why.message, words);
    }
    return error_set(err, ERR_VMM_START_FAILED, "the VMM ended at once (%s): %s", process_status_text(status, status_text),
                     words[0] != '\0' ? words : "it said nothing");
}

/*
 * Does it run, and answer? *ret_early: not yet, but soon: its API is not open, or the guest is being built. A guest that ends while its VMM is
 * asked did run: the next look sees what became of it.
 */
static int query_start(struct vm_work *work, const struct vmm_driver *driver, int64_t left_ms, bool *ret_early, struct error *err)
{
    enum vmm_state state = VMM_STATE_STARTING;
    pid_t vcpu;
    *ret_early = true;
    if (driver->guest != NULL && driver->guest(work->runtime->pid, &vcpu) != VMM_GUEST_PRESENT) {
        return 0;
    }
    const struct vmm_peer peer = vm_peer(work);
    if (driver->query(&peer, (int)left_ms, &state, err) == 0) {
        *ret_early = state == VMM_STATE_STARTING;
        return 0;
    }
    if (err->sys_errno == EOWNERDEAD) {
        *ret_early = false;
        return 0;
    }
    return err->sys_errno == ECONNREFUSED || err->sys_errno == ENOENT ? 0 : -1;
}

static int await_guest(struct vm_work *work, const struct vmm_driver *driver, struct error *err)
{
    const unsigned limit_s = work->worker->config->vmm.start_timeout_s;
    const int64_t begin_ms = clock_monotonic_ms();
    for (;;) {
        bool early = false;
        struct pollfd ended = {.fd = work->runtime->pidfd, .events = POLLIN};
        int64_t waited_ms = clock_monotonic_ms() - begin_ms;
        int64_t left_ms = (int64_t)limit_s * 1000 - waited_ms;
        if (left_ms <= 0) {
            return error_set(err, ERR_TIMEOUT, "the VMM did not answer within %u s", limit_s);
        }
        if (query_start(work, driver, left_ms, &early, err) != 0) {
            return -1;
        }
        if (!early) {
            return 0;
        }
        const struct timespec pause = pause_of(waited_ms);
        if (ppoll(&ended, 1, &pause, NULL) > 0) {
            return error_set(err, ERR_VMM_START_FAILED, "the VMM ended before its guest ran");
        }
    }
}

int vm_await(struct vm_work *work, struct error *err)
{
    struct error why = {0};
    if (await_guest(work, &vmm_drivers[work->choice.kind], &why) != 0) {
        *err = why;
        return explain_start_failure(work, err);
    }
    work->runtime->answered = true;
    return 0;
}
