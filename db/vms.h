/* VMs: what is wanted (written by the API process) and what was observed (written by the worker), one row each. */
#ifndef SMARTVM_DB_VMS_H
#define SMARTVM_DB_VMS_H

#include "core/limits.h"
#include "core/net_addr.h"
#include "db/db.h"
#include "db/ports.h"

enum vm_state {
    VM_CREATING,
    VM_STOPPED,
    VM_STARTING,
    VM_RUNNING,
    VM_PAUSED,
    VM_STOPPING,
    VM_DELETING,
    VM_FAILED,
    VM_STATE_COUNT_
};

enum vm_desired { VM_WANT_RUNNING, VM_WANT_STOPPED, VM_WANT_PAUSED, VM_DESIRED_COUNT_ };

const char *vm_state_name(enum vm_state state);
bool vm_state_parse(const char *name, enum vm_state *ret);
const char *vm_desired_name(enum vm_desired desired);
bool vm_desired_parse(const char *name, enum vm_desired *ret);

struct vm_interface {
    char *iface_id;
    char tap[INTERFACE_NAME_MAX];
    struct mac mac;
    uint32_t address;
};

struct vm_row {
    int64_t uid; /* never reused, unlike id */
    char *id;
    /* wanted */
    char *image;
    enum vm_desired desired;
    unsigned vcpu_count;
    unsigned mem_size_mib;
    char *boot_args;
    char *vmm; /* "auto" or the name of a driver */
    bool autostart;
    char *labels;            /* JSON object */
    int64_t stop_timeout_ms; /* of the stop that is wanted: -1 the configured one, 0 kill */
    int64_t boot_wanted;     /* goes up by one for each reboot */
    bool deleting;
    int64_t generation;
    /* observed */
    enum vm_state state;
    int64_t observed_generation;
    char *observed; /* JSON object with the members that the API shows: vmm, conditions, timings, last_exit, error, drives */
    int64_t pid, start_time; /* of the VMM process, 0 when there is none */
    char boot_id[40];        /* of the host, when pid was written */
    int64_t boot_done;       /* boot_wanted of the process that runs or ran last */
    int64_t revision;        /* goes up with each write: the ETag */
    int64_t created_ms, updated_ms;
    struct vm_interface *interfaces;
    size_t interface_count;
    struct vm_port ports[LIMIT_PORTS]; /* published; wanted. Written by ports_set() */
    size_t port_count;
};

void vm_row_free(struct vm_row *row); /* what it points to; harmless on a zeroed one */
#define AUTO_VM_ROW __attribute__((cleanup(vm_row_free))) struct vm_row

/* *ret_found false when there is none; *ret must be zeroed before, and freed with vm_row_free(). */
int vms_get(struct db *db, const char *id, struct vm_row *ret, bool *ret_found, struct error *err);

/* At most `limit` rows with an id greater than `after` ("" = from the start), by id, in `state` if not NULL. */
int vms_list(struct db *db, const char *after, const enum vm_state *state, size_t limit, struct vm_row **ret,
             size_t *ret_count, struct error *err);
void vms_list_free(struct vm_row *rows, size_t count);

/* Calls `found` with each id, by id. */
int vms_each_id(struct db *db, void (*found)(const char *id, void *ctx), void *ctx, struct error *err);

/* Is this very VM there, and not another one that has its id by now? */
int vms_has(struct db *db, int64_t uid, bool *ret, struct error *err);

int vms_count(struct db *db, int64_t *ret, struct error *err);

/*
 * Inserts the wanted part of *row with its interfaces and takes their leases, inside the caller's transaction; *row's uid, revision and
 * times are filled in. ALREADY_EXISTS for a known id.
 */
int vms_insert(struct db *db, struct vm_row *row, struct error *err);

/* Writes the wanted part back (desired … deleting, not image and interfaces), with generation and revision one higher. */
int vms_update_wanted(struct db *db, struct vm_row *row, struct error *err);

/* What the worker found. Writes only when something differs from the row as it is stored; *ret_changed tells. */
struct vm_observation {
    enum vm_state state;
    int64_t observed_generation;
    const char *observed;
    int64_t pid, start_time;
    const char *boot_id;
    int64_t boot_done;
};
int vms_set_observed(struct db *db, int64_t uid, const struct vm_observation *observation, bool *ret_changed,
                     struct error *err);

/*
 * A VM that ended by itself is not started again: wanted becomes stopped, if nobody changed what is wanted since `generation`.
 * *ret_changed tells.
 */
int vms_give_up_running(struct db *db, int64_t uid, int64_t generation, bool *ret_changed, struct error *err);

/* Removes the row and its interfaces, and frees its leases, in one transaction of its own with the event. */
int vms_remove(struct db *db, const struct vm_row *row, struct error *err);

#endif
