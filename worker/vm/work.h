/* Inside worker/: one look at one VM, shared by vm.c, vm_observe.c, vm_apply.c and vm_report.c. */
#ifndef SMARTVM_WORKER_VM_WORK_H
#define SMARTVM_WORKER_VM_WORK_H

#include "core/vm_row.h"
#include "host/process/cgroup.h"
#include "worker/context.h"
#include "worker/vm/exit_reason.h"
#include "worker/vm/plan.h"
#include "worker/vm/runtime.h"

#include <jansson.h>

/* How a VMM ended. */
struct vm_exit {
    enum exit_reason reason;
    const char *tier;  /* static */
    int exit_code;     /* -1: it did not exit */
    int number;        /* of the signal; 0: none */
    int64_t at_ms;     /* since 1970 */
    int64_t uptime_ms; /* since the host booted */
    int64_t lasted_ms; /* from its start on; 0: not known */
    char message[320];
};

/* What stands in the database, of that which a report writes and a look changes in `row`. */
struct vm_stored {
    bool known; /* false once something was written: then `row` tells no more what stands there */
    enum vm_state state;
    int64_t observed_generation;
    int64_t boot_done;
};

struct vm_work {
    struct worker *worker;
    struct vm_row row;
    struct runtime *runtime;
    struct vm_observed observed;
    struct vm_wanted wanted;
    struct vm_plan plan;
    bool choice_known; /* `choice` is filled in */
    struct vmm_choice choice;
    json_t *old; /* row.observed, parsed */
    struct vm_stored stored;
    bool failed;         /* an operation failed */
    bool network_failed; /* and it was one that needs the network */
    bool unfinished;     /* and the plan is carried out later */
    bool start_failed;   /* and with it the wanted boot, in this look */
    struct error error;
    bool tap_lost;               /* it was there before this look */
    bool keep_record;            /* nothing was done yet: what is on record of an earlier process stays */
    struct cgroup_limits limits; /* in force, of a running VMM */
    bool exit_noted;             /* `exit` tells how the process ended, in this look */
    struct vm_exit exit;
    bool exit_told;         /* its event is stored */
    bool asks_no_vmm;       /* what the VMM does is believed to be what the row says */
    bool looks_only;        /* nothing is taken over, noted or watched: worker/vm/look.h */
    char dir[128];          /* <run_dir>/vm/<id> */
    struct boot_plan *boot; /* of the start that is under way: boot.h */
};

/* Fills work->observed (and finds the process of a VM that the worker does not know yet). */
int vm_observe(struct vm_work *work, struct error *err);

/* Fills work->wanted from the row and what is remembered. */
void vm_work_want(struct vm_work *work);

/* Runs one operation. On failure work->error is set too. */
int vm_apply(struct vm_work *work, const struct vm_op *op, struct error *err);

/*
 * Another subnet, or another bridge, was configured since the VM got its addresses and TAPs: with its next start it gets others. vm_readdress.c
 */
bool vm_readdress_is_due(const struct vm_work *work);
int vm_readdress(struct vm_work *work, struct error *err);
/* What a guest is told of its network by kernel arguments, "ip=… smartvm.ip6=…", but for resolvers, which may change; "" without an interface. */
void vm_network_arguments(const struct vm_work *work, char buf[VM_NETWORK_ARGUMENTS_MAX]);

/* Takes repairs out of the plan that wait, since somebody undoes them: vm_drift.c. */
void vm_drift_hold(struct vm_work *work);
/* Tells of a repair that was made. */
void vm_drift_note(struct vm_work *work, const struct vm_op *op);
/* The same of its cgroup's limits. The kernel does not tell of their change, so nobody can make this repair go on and on. */
void vm_drift_note_limits(struct vm_work *work);
/* Once the repairs were left alone for a while, they count as accepted. Before the VM's runtime is removed, too. */
void vm_drift_settle(struct vm_work *work);
void vm_drift_forget(struct vm_work *work);
/* Tells once that a TAP is gone. */
void vm_drift_tell_loss(struct vm_work *work);

/* Is this process a VMM of that VM, by what it can't say itself: its uid, or, of a process of root's, its arguments? identity.c */
bool vm_process_is(struct worker *worker, const char *id, pid_t pid);
/* The process of the VM, 0 for none: in its cgroup, or wherever it is, where there are no cgroups. */
int vm_process_find(struct vm_work *work, pid_t *ret, struct error *err);
/* The way to the VMM that runs. */
struct vmm_peer vm_peer(struct vm_work *work);
/* Whose its TAPs and drives are: of the uid of the boot that is under way, or of the VMM that runs; 0: root's. */
uid_t vm_owner(struct vm_work *work);

/* Why the VMM ended, out of what it said; "" when it said nothing. Returns the cause that it named. */
enum vmm_cause vm_last_words(struct vm_work *work, enum vmm_kind kind, char *ret, size_t size);

/* Waits for the end of the VMM, and notes in the runtime how it ended. False: it has not ended. */
bool vm_exit_wait(struct vm_work *work, int timeout_ms);
int vm_exit_status(const struct runtime *runtime); /* as of wait(2); -1: not known */
/* The VMM has ended: fills work->exit, and lets go of it. */
void vm_exit_note(struct vm_work *work);
/* There is no VMM: fills work->exit when one ended while no daemon ran. */
void vm_exit_recall(struct vm_work *work);

/* Stores what was found as `state`, with an event when the state differs from the stored one. */
int vm_report(struct vm_work *work, enum vm_state state, struct error *err);

/* What is on record of the boot that the process is of, read at most once; NULL when there is nothing. The runtime's, until the next boot. */
const struct vm_boot *vm_boot_of(struct vm_work *work);

/* Those that a boot was given, and those of the document, which may have changed since. limits.c */
struct cgroup_limits vm_limits_wanted(const struct vm_config *config, const struct vm_boot_record *record);
/* Fills work->limits with those in force, and tells in work->observed what is not as it is wanted. */
void vm_limits_check(struct vm_work *work, const struct vm_boot_record *record);

#endif
