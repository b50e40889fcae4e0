/*
 * What the worker remembers of each VM between two looks: a descriptor of its process, and when it was asked to shut down. All of it can be
 * lost: it is found again on the host. The table has a lock; an entry belongs to the thread that works on the VM's key, but `pidfd` must be
 * changed with runtime_set_process(), since the main loop reads it.
 */
#ifndef SMARTVM_WORKER_RUNTIME_H
#define SMARTVM_WORKER_RUNTIME_H

#include "core/limits.h"
#include "host/process.h"
#include "worker/context.h"

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
    int guest_fd;    /* gets readable when its guest ends; -1: not watched */
    int exit_status; /* of the process that ended last: wait(2) status, -1 unknown */
    bool observed;   /* the host was searched for its process once */
    _Atomic enum runtime_guests guests; /* changed under worker->guests_lock, with the elements themselves */
    bool has_ports;           /* published ports of it may be in the firewall */
    int64_t ports_generation; /* of the row whose ports those are */
    bool answered;   /* the VMM of this process has answered once: it had a guest */
    bool silent;     /* it did not answer when it was asked last */
    bool guest_gone; /* and the guest ended, but the VMM hung */
    _Atomic int tap_index[LIMIT_INTERFACES]; /* as it was seen last with our alias; 0: not yet */
    struct repair_backoff tap_repairs;
    _Atomic int64_t repair_due_ms; /* when the next one is made that is needed now */
    unsigned repair_epoch; /* worker->repair_epoch, when the back-off was forgotten last */
    bool contested;        /* counted in worker->contested_vms */
    bool kill_sent;
    bool forced;
    int64_t shutdown_sent_ms; /* first; -1: not sent */
    int64_t shutdown_last_ms;
    int64_t start_us;         /* when the last start began */
    int64_t network_wait_ms;  /* since when the start that is under way waits for the network; 0: it does not */
    struct runtime_timing *timings; /* of the last start; NULL before */
    size_t timing_count;
    struct runtime *next;
};

int runtimes_new(struct runtimes **ret, struct error *err);
void runtimes_free(struct runtimes *runtimes);

/* The entry of a VM, made when there is none. NULL when out of memory. */
struct runtime *runtimes_get(struct runtimes *runtimes, int64_t uid, const char *id);
void runtimes_remove(struct runtimes *runtimes, int64_t uid);
enum runtime_guests runtimes_guests(struct runtimes *runtimes, int64_t uid);

/* What a look at drift has to know; zeros for a VM that is not known. */
struct runtime_drift {
    int tap_index[LIMIT_INTERFACES];
    int64_t repair_due_ms;
};
void runtimes_drift(struct runtimes *runtimes, int64_t uid, struct runtime_drift *ret);

bool runtimes_id(struct runtimes *runtimes, int64_t uid, char ret[64]);

/* Takes over the pidfd and watches it: when the process ends, the VM's key is queued. */
int runtime_set_process(struct worker *worker, struct runtime *runtime, const struct process *process, struct error *err);
void runtime_clear_process(struct runtime *runtime);

/* Watches a vCPU thread likewise: a VMM can hang when its guest ends, and then its own end is never seen. False when the kernel can't. */
bool runtime_watch_guest(struct worker *worker, struct runtime *runtime, pid_t vcpu);

void runtime_add_timing(struct runtime *runtime, const char *operation, const char *target, int64_t begin_us,
                        int64_t end_us);

#endif
