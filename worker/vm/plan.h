/*
 * The planner of VMs: plan = diff(wanted, observed), as data. Pure: no system call, no clock, no memory but the result.
 *
 * Boots are counted: `boot_wanted` goes up with each start or reboot that a client asks for, and `boot_done` is the number of the boot that
 * runs or ran last. So a VMM that is gone although its boot was done has ended by itself, and one whose boot is not the wanted one is to be
 * replaced.
 */
#ifndef SMARTVM_WORKER_VM_PLAN_H
#define SMARTVM_WORKER_VM_PLAN_H

#include "core/limits.h"
#include "core/vm_row.h"
#include "host/link/link.h"
#include "host/process/cgroup.h"
#include "host/vmm/vmm.h"
#include "worker/vm/exit_reason.h"

enum vm_op_type {
    VM_OP_MAKE_RUN_DIR,
    VM_OP_TAKE_UID, /* that its VMM runs under; drives and TAPs are given to it */
    VM_OP_STAGE_DRIVES,
    VM_OP_READDRESS, /* its addresses, or the names of its TAPs, are of another network than the one in force */
    VM_OP_ADD_GUEST, /* firewall elements of all interfaces, before a TAP is up */
    VM_OP_SET_PORTS, /* of a running VM whose wanted ones have changed */
    VM_OP_CREATE_TAP,
    VM_OP_REPAIR_TAP, /* that somebody changed while the VM runs */
    VM_OP_PREPARE_VMM,
    VM_OP_SET_LIMITS, /* of its cgroup; also of a running VM, when a client or somebody else changed them */
    VM_OP_SPAWN_VMM,
    VM_OP_AWAIT_VMM,
    VM_OP_PAUSE_VMM,
    VM_OP_RESUME_VMM,
    VM_OP_SHUTDOWN_GUEST,
    VM_OP_KILL_VMM,
    VM_OP_REMOVE_TAPS,
    VM_OP_REMOVE_GUEST, /* after its TAPs are gone */
    VM_OP_UNSTAGE_DRIVES,
    VM_OP_REMOVE_CGROUP,
    VM_OP_FREE_UID, /* after everything that was its */
    VM_OP_REMOVE_RUN_DIR,
    VM_OP_GIVE_UP_RUNNING,
    VM_OP_WANT_RESTART,
    VM_OP_FORGET, /* the row, with its leases */
    VM_OP_COUNT_
};

enum { VM_LIMITS_FOUND_MAX = CGROUP_DIFFERENCE_MAX, VM_NETWORK_FOUND_MAX = 320 };

struct vm_op {
    enum vm_op_type type;
    size_t index; /* of the interface, for VM_OP_CREATE_TAP and VM_OP_REPAIR_TAP */
};

/* What the host shows of a VM. */
struct vm_observed {
    bool process_alive;
    int64_t process_boot;     /* boot number of the process, from its runtime directory */
    bool vmm_answers;         /* its API answered */
    enum vmm_state vmm_state; /* when it answered */
    bool tap_present[LIMIT_INTERFACES];
    bool tap_alias_changed[LIMIT_INTERFACES];
    char tap_found[LIMIT_INTERFACES][LINK_FOUND_MAX]; /* what is not as it should be, in words; "": nothing */
    bool run_dir_present;
    bool staged_present;
    bool cgroup_present;
    bool uid_held;
    bool foreign_socket;                      /* what is at the place of the VMM's socket is not the VMM's: nobody spoke to it */
    bool guest_unwatched;                     /* there is a guest, and the kernel can't tell of its end */
    bool guest_gone;                          /* the guest ended, and its VMM hangs: it only needs to be buried */
    char network_found[VM_NETWORK_FOUND_MAX]; /* the running guest was told of another network than the one in force, in words */
    int64_t guest_halted_ms;                  /* since when the guest has said that it does nothing any more, and has done nothing else; 0: it has not */
    char limits_found[VM_LIMITS_FOUND_MAX];   /* the running VMM's cgroup has others than it is to have, in words; "": it has those */
    bool host_rebooted;                       /* since the process was recorded */
};

/* What is wanted, and what the worker remembers of this VM. All times: milliseconds of the monotonic clock. */
struct vm_wanted {
    enum vm_desired desired;
    bool deleting;
    bool autostart;
    int64_t boot_wanted, boot_done;
    enum vm_state state; /* that was shown last */
    bool was_running;    /* a process is on record */
    enum vm_restart_policy restart_policy;
    enum exit_reason exit_reason; /* of the end that this look found, when was_running */
    bool boot_is_restart;         /* the wanted boot is one that the worker wanted by itself */
    int64_t restart_due_ms;       /* and when it is due */
    int64_t restart_streak;       /* with it there are so many in a row */
    int64_t lasted_ms;            /* so long the process ran that ended */
    bool restart_keeps_drives;    /* the next boot goes on with the drives */
    size_t interface_count;
    bool start_failed;   /* the wanted boot was tried and failed: clean up and stay failed */
    bool guest_elements; /* firewall elements may be there */
    bool readdress;      /* an interface is not of the network in force, and gets a new address with the next start */
    bool ports_changed;  /* published ports may be others than those in the firewall */
    int64_t stop_timeout_ms;
    int64_t shutdown_sent_ms; /* first, to this process; -1: not sent */
    int64_t shutdown_last_ms; /* last */
    int64_t now_ms;
};

/* A kernel that said its last words: so long it may say something else, or end its VMM. */
enum { VM_HALT_GRACE_MS = 2000 };

/* A guest that is just booting does not hear; it is asked again. Slower than the repetition that systemd takes as "now". */
enum { VM_ASK_AGAIN_MS = 2000 };

enum { VM_PLAN_OPS_MAX = 20 + LIMIT_INTERFACES };

struct vm_plan {
    enum vm_state state; /* what to show while, and after, this is applied */
    struct vm_op ops[VM_PLAN_OPS_MAX];
    size_t count;
    int64_t look_again_ms;     /* -1, or when to look at it again although nothing happened */
    bool ended_by_itself;      /* the VMM is gone, and nobody asked for that */
    struct vm_restart restart; /* for VM_OP_WANT_RESTART; boot 0: none is wanted */
    bool guest_gone;           /* VM_OP_KILL_VMM only buries the VMM: its guest is gone */
    bool forced;               /* the deadline of a graceful stop has passed */
};

void vm_plan_make(const struct vm_wanted *wanted, const struct vm_observed *observed, struct vm_plan *ret);

const char *vm_op_name(enum vm_op_type type);        /* "create_tap" */
const char *vm_op_description(enum vm_op_type type); /* "create the TAP" */

#endif
