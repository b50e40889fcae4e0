/* Inside worker/: one look at one VM, shared by vm.c, vm_observe.c, vm_apply.c and vm_report.c. */
#ifndef SMARTVM_WORKER_VM_WORK_H
#define SMARTVM_WORKER_VM_WORK_H

#include "db/vms.h"
#include "host/cgroup.h"
#include "worker/context.h"
#include "worker/runtime.h"
#include "worker/vm_plan.h"

#include <jansson.h>

struct vm_work {
    struct worker *worker;
    struct vm_row row;
    struct runtime *runtime;
    struct vm_observed observed;
    struct vm_wanted wanted;
    struct vm_plan plan;
    bool choice_known; /* `choice` is filled in */
    struct vmm_choice choice;
    json_t *old;       /* row.observed, parsed */
    bool failed;       /* an operation failed */
    bool network_failed; /* and it was one that needs the network */
    bool unfinished;   /* and the plan is carried out later */
    bool start_failed; /* and with it the wanted boot, in this look */
    struct error error;
    bool tap_lost;     /* it was there before this look */
    bool keep_record;  /* nothing was done yet: what is on record of an earlier process stays */
    struct cgroup_limits limits; /* in force, of a running VMM */
    bool exit_noted; /* exit_tier and exit_message tell how the process ended, in this look */
    const char *exit_tier;
    char exit_message[320];
    char dir[128]; /* <run_dir>/vm/<id> */
};

/* Fills work->observed (and finds the process of a VM that the worker does not know yet). */
int vm_observe(struct vm_work *work, struct error *err);

/* Fills work->wanted from the row and what is remembered. */
void vm_work_want(struct vm_work *work);

/* Runs one operation. On failure work->error is set too. */
int vm_apply(struct vm_work *work, const struct vm_op *op, struct error *err);

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

/* Why the VMM ended, out of what it said; "" when it said nothing. */
void vm_last_words(struct vm_work *work, char *ret, size_t size);

/* Stores what was found as `state`, with an event when the state differs from the stored one. */
int vm_report(struct vm_work *work, enum vm_state state, struct error *err);

/* Reads "<boot> <driver> <accel>" of the runtime directory; false when there is none. */
struct vm_boot_record {
    int64_t boot;
    enum vmm_kind kind;
    enum vmm_accel accel;
    char version[64];
    struct cgroup_limits limits; /* that it was given */
};
bool vm_boot_record_read(const char *dir, struct vm_boot_record *ret);
int vm_boot_record_write(const char *dir, const struct vm_boot_record *record, struct error *err);

/* *ret: those in force. `found` as in struct vm_observed. */
void vm_limits_check(struct worker *worker, const char *id, const struct vm_boot_record *record, struct cgroup_limits *ret,
                     char found[VM_LIMITS_FOUND_MAX]);

#endif
