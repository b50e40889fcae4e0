/*
 * What the worker remembers of each VM between two looks: a descriptor of its process, and when it was asked to shut down. All of it can be
 * lost: it is found again on the host. The table has a lock; an entry belongs to the thread that works on the VM's key, but `pidfd` must be
 * changed with runtime_set_process(), since the main loop reads it. So an entry is of one id and one number: a row that says otherwise (it comes over
 * the border, and two of them may claim the same number) is given no entry, or two threads would work on it at once.
 */
#ifndef SMARTVM_WORKER_VM_RUNTIME_H
#define SMARTVM_WORKER_VM_RUNTIME_H

#include "core/limits.h"
#include "host/process/process.h"
#include "host/process/shim.h"
#include "worker/context.h"
#include "worker/vm/record.h"

struct runtime_timing {
    const char *operation; /* static */
    char target[40];
    int64_t at_us, duration_us;
};

enum { RUNTIME_TIMINGS_MAX = 16 };

/* Are the firewall's elements of the VM's interfaces there? */
enum runtime_guests {
    RUNTIME_GUESTS_UNKNOWN, /* it was not looked at since the daemon started */
    RUNTIME_GUESTS_ABSENT,
    RUNTIME_GUESTS_PRESENT,
};

struct runtime {
    int64_t uid;
    char id[64];
    int pidfd; /* -1: no process known */
    pid_t pid;
    uint64_t start_time;
    int64_t process_boot;
    struct vm_boot boot; /* on record of it; changed with runtimes_set_boot(), since others read it */
    int guest_fd;        /* gets readable when its guest ends; -1: not watched */
    struct shim shim;    /* its parent */
    bool exit_known;
    struct shim_exit exit;                   /* how the process ended, when that is known */
    bool observed;                           /* the host was searched for its process once */
    _Atomic enum runtime_guests guests;      /* changed under worker->guests_lock, with the elements themselves */
    bool has_ports;                          /* published ports of it may be in the firewall */
    int64_t ports_generation;                /* of the row whose ports those are */
    bool answered;                           /* the VMM of this process has answered once: it had a guest */
    bool silent;                             /* it did not answer when it was asked last */
    bool start_told;                         /* vm.started is in the log */
    bool guest_gone;                         /* and the guest ended, but the VMM hung */
    int64_t idle_since_ms;                   /* since when the vCPUs of a guest that has said its last words have not run; 0: they do, or it has not */
    uint64_t vcpu_switches;                  /* of its vCPU threads at that time */
    _Atomic int tap_index[LIMIT_INTERFACES]; /* as it was seen last with our alias; 0: not yet */
    struct repair_backoff tap_repairs;
    _Atomic int64_t repair_due_ms; /* when the next one is made that is needed now */
    unsigned repair_epoch;         /* worker->repair_epoch, when the back-off was forgotten last */
    bool contested;                /* counted in worker->contested_vms */
    bool kill_sent;
    bool forced;
    int64_t shutdown_sent_ms; /* first; -1: not sent */
    int64_t shutdown_last_ms;
    int64_t start_us;               /* when the last start began */
    int64_t network_wait_ms;        /* since when the start that is under way waits for the network; 0: it does not */
    struct runtime_timing *timings; /* of the last start; NULL before */
    size_t timing_count;
    struct runtime *next, *next_name; /* in its buckets */
};

int runtimes_new(struct runtimes **ret, struct error *err);
void runtimes_free(struct runtimes *runtimes);

/*
 * The entry of a VM, made when there is none. NULL: OUT_OF_MEMORY, or ROW_DAMAGED, when the id is known with another number, or the number with another
 * id: *ret_other is the id of that entry, else "".
 */
struct runtime *runtimes_get(struct runtimes *runtimes, int64_t uid, const char *id, char ret_other[64], struct error *err);
struct runtime *runtimes_of_id(struct runtimes *runtimes, const char *id); /* NULL: there is none; for who works on the VM's key */
void runtimes_remove(struct runtimes *runtimes, int64_t uid);
void runtimes_each_id(struct runtimes *runtimes, void (*each)(const char *id, void *ctx), void *ctx); /* with the lock held */
enum runtime_guests runtimes_guests(struct runtimes *runtimes, int64_t uid);

/* What is known of a VM as a value, for a look at it: its descriptors stay those of the entry, its boot is the copy's own. One that is not known has no process. */
void runtimes_copy(struct runtimes *runtimes, int64_t uid, struct runtime *ret);

/* Takes over *boot, and zeroes it. */
void runtimes_set_boot(struct runtimes *runtimes, struct runtime *runtime, struct vm_boot *boot);

bool runtimes_id(struct runtimes *runtimes, int64_t uid, char ret[64]);

/* Takes over the pidfd and watches it: when the process ends, the VM's key is queued. */
int runtime_set_process(struct worker *worker, struct runtime *runtime, const struct process *process, struct error *err);
void runtime_clear_process(struct runtime *runtime);

/* Watches a vCPU thread likewise: a VMM can hang when its guest ends, and then its own end is never seen. False when the kernel can't. */
bool runtime_watch_guest(struct worker *worker, struct runtime *runtime, pid_t vcpu);

void runtime_add_timing(struct runtime *runtime, const char *operation, const char *target, int64_t begin_us, int64_t end_us);

#endif
