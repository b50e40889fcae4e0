#include "worker/vm/exit_reason.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static const char *const names[EXIT_REASON_COUNT_] = {
    [EXIT_ASKED] = "asked",
    [EXIT_GUEST_SHUTDOWN] = "guest_shutdown",
    [EXIT_GUEST_REBOOT] = "guest_reboot",
    [EXIT_GUEST_PANIC] = "guest_panic",
    [EXIT_OUT_OF_MEMORY] = "out_of_memory",
    [EXIT_VMM_CRASH] = "vmm_crash",
    [EXIT_KILLED] = "killed",
    [EXIT_HOST_REBOOT] = "host_reboot",
    [EXIT_UNKNOWN] = "unknown",
};

const char *exit_reason_name(enum exit_reason reason)
{
    return names[reason];
}

bool exit_reason_is_clean(enum exit_reason reason)
{
    return reason == EXIT_ASKED || reason == EXIT_GUEST_SHUTDOWN || reason == EXIT_GUEST_REBOOT || reason == EXIT_HOST_REBOOT;
}

/* Signals by which a program ends because of what it did itself. */
static bool is_fault(int number)
{
    static const int faults[] = {SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (faults[i] == number) {
            return true;
        }
    }
    return false;
}

static enum exit_reason reason_of_cause(enum vmm_cause cause)
{
    return cause == VMM_CAUSE_GUEST_RESET ? EXIT_GUEST_REBOOT : cause == VMM_CAUSE_GUEST_PANIC ? EXIT_GUEST_PANIC : EXIT_GUEST_SHUTDOWN;
}

/* A VMM that ended as a guest makes it end. What the VMM tells counts more than what the guest said; only a panic is known from words alone. */
static enum exit_reason reason_of_guest(const struct exit_facts *facts)
{
    if (facts->words == GUEST_END_PANIC) {
        return EXIT_GUEST_PANIC;
    }
    if (facts->cause != VMM_CAUSE_NONE) {
        return reason_of_cause(facts->cause);
    }
    if (facts->words != GUEST_END_NONE) {
        return facts->words == GUEST_END_REBOOT ? EXIT_GUEST_REBOOT : EXIT_GUEST_SHUTDOWN;
    }
    return facts->status < 0 ? EXIT_UNKNOWN : reason_of_cause(facts->quiet_end);
}

static enum exit_reason reason_of_signal(const struct exit_facts *facts, int number)
{
    if (number == SIGKILL && facts->asked) {
        return EXIT_ASKED;
    }
    return is_fault(number) ? EXIT_VMM_CRASH : EXIT_KILLED;
}

enum exit_reason exit_reason_decide(const struct exit_facts *facts)
{
    const bool known = facts->status >= 0;
    if (facts->host_rebooted) {
        return EXIT_HOST_REBOOT;
    }
    if (facts->out_of_memory && !(known && WIFEXITED(facts->status))) {
        return EXIT_OUT_OF_MEMORY;
    }
    if (facts->guest_gone) {
        return facts->asked ? EXIT_ASKED : reason_of_guest(facts);
    }
    if (known && WIFSIGNALED(facts->status)) {
        return reason_of_signal(facts, WTERMSIG(facts->status));
    }
    if (facts->cause == VMM_CAUSE_HOST_SIGNAL || facts->caught_signal > 0) {
        return reason_of_signal(facts, facts->caught_signal > 0 ? facts->caught_signal : SIGTERM);
    }
    if ((known && WEXITSTATUS(facts->status) != 0) || facts->cause == VMM_CAUSE_HOST_ERROR) {
        return EXIT_VMM_CRASH;
    }
    if (facts->asked) {
        return EXIT_ASKED;
    }
    return reason_of_guest(facts);
}
