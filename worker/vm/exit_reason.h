/* Why a VMM ended: out of what its parent, its host, its VMM and its guest tell. Pure; the table of cases is tests/unit/worker/vm/exit_reason.c. */
#ifndef SMARTVM_WORKER_VM_EXIT_REASON_H
#define SMARTVM_WORKER_VM_EXIT_REASON_H

#include "host/vmm/vmm.h"
#include "worker/vm/guest_end.h"

enum exit_reason {
    EXIT_ASKED, /* a client wanted it, or the daemon's end */
    EXIT_GUEST_SHUTDOWN,
    EXIT_GUEST_REBOOT,
    EXIT_GUEST_PANIC,
    EXIT_OUT_OF_MEMORY, /* the cgroup's limit */
    EXIT_VMM_CRASH,     /* by a fault, or with a failure */
    EXIT_KILLED,        /* by a signal that somebody else sent */
    EXIT_HOST_REBOOT,
    EXIT_UNKNOWN,
    EXIT_REASON_COUNT_
};

const char *exit_reason_name(enum exit_reason reason); /* "guest_panic" */

/* Did it end as it should? Such an end is a stop, the others are failures. */
bool exit_reason_is_clean(enum exit_reason reason);

struct exit_facts {
    int status;         /* as of wait(2), -1: not known */
    int caught_signal;  /* that the VMM caught and turned into its exit status; 0: none */
    bool asked;         /* it was wanted to end */
    bool guest_gone;    /* its guest had ended before, and it was only buried */
    bool out_of_memory; /* the kernel killed in its cgroup */
    bool host_rebooted;
    enum vmm_cause cause;     /* that the VMM told */
    enum vmm_cause quiet_end; /* what a clean end of it means of which nothing was told */
    enum guest_end words;     /* that the guest's kernel said last */
};

enum exit_reason exit_reason_decide(const struct exit_facts *facts);

#endif
