/*
 * Virtual machine monitors. A kind of VMM is one file in host/ and one row in vmm_drivers[].
 *
 * A running VMM needs nothing of the daemon: it has its own session, its console is a FIFO that it holds open
 * itself, and it is found again by its cgroup and its uid, or, without a jail, by the socket's path in its command line. All
 * paths below are inside the VM's runtime directory `dir` = <run_dir>/vm/<id> (root, 0700):
 *
 *   api.sock    Firecracker's API or QEMU's QMP socket
 *   vmm.json    Firecracker's configuration file
 *   console.in  FIFO, the guest's serial input (the VMM's standard input)
 *   console.out FIFO, the guest's serial output (the VMM's standard output), O_NONBLOCK, so that the VMM
 *               never waits for a reader: Firecracker drops what does not fit; QEMU's serial port gets slow
 *               instead, as a real line would
 *   vmm.out     FIFO, what the VMM itself says (standard error and Firecracker's log)
 *
 * With a jail (host/process/jail.h), api.sock is in the jail's root instead, and what the VMM opens has constant names in there: `kernel`, `initrd`,
 * `drive-<drive_id>`, `vmm.json`, `vmm.out`. So nothing in its command line or configuration tells one host's paths from another's.
 *
 * Before a VMM is spawned the caller has made the FIFOs (Firecracker opens vmm.out by its path and does not
 * create it), has removed an api.sock that an earlier process left (Firecracker refuses to start on one), and
 * has seen to it that the TAPs exist: a VMM that runs as root makes a missing TAP itself, one that belongs to
 * no bridge and no rule. With a jail, TAPs and writable drives are its uid's.
 *
 * Any thread, one call per VM at a time. Errors: VMM_FAILED with the VMM's own words, TIMEOUT,
 * VMM_UNAVAILABLE. A socket that nobody listens on (not yet, or no longer) is VMM_FAILED with sys_errno
 * ENOENT or ECONNREFUSED.
 */
#ifndef SMARTVM_HOST_VMM_VMM_H
#define SMARTVM_HOST_VMM_VMM_H

#include "core/kernel_args.h"
#include "core/net_addr.h"
#include "host/process/jail.h"
#include "host/vmm/peer.h"

#include <stdint.h>
#include <sys/types.h>

enum vmm_kind { VMM_FIRECRACKER, VMM_QEMU, VMM_KIND_COUNT_ };
enum vmm_accel { VMM_ACCEL_KVM, VMM_ACCEL_TCG, VMM_ACCEL_COUNT_ };
enum vmm_state { VMM_STATE_STARTING, VMM_STATE_RUNNING, VMM_STATE_PAUSED };
enum vmm_guest {
    VMM_GUEST_UNKNOWN, /* the process is just starting, or gone */
    VMM_GUEST_NONE,    /* not built yet, or ended */
    VMM_GUEST_PRESENT
};

/* Why a VMM ended, as it told itself. */
enum vmm_cause {
    VMM_CAUSE_NONE, /* it told nothing */
    VMM_CAUSE_GUEST_SHUTDOWN,
    VMM_CAUSE_GUEST_RESET,
    VMM_CAUSE_GUEST_PANIC,
    VMM_CAUSE_HOST_SIGNAL,
    VMM_CAUSE_HOST_ERROR,
};

struct vmm_drive {
    const char *drive_id;
    const char *path;
    bool is_root_device;
    bool is_read_only;
};

struct vmm_interface {
    const char *iface_id;
    const char *tap;
    struct mac mac;
};

struct vmm_jail {
    const char *jailer; /* absolute path of Firecracker's jailer; only Firecracker needs it */
    const char *place;  /* an empty directory: struct jail */
    uid_t uid;          /* and gid; not 0 */
};

struct vmm_spec {
    const char *id;
    const char *dir;             /* the runtime directory */
    const char *binary;          /* absolute path of the VMM */
    const struct vmm_jail *jail; /* NULL: it runs as root, without one */
    enum vmm_accel accel;
    const char *kernel;    /* ELF */
    const char *initrd;    /* or NULL */
    const char *boot_args; /* kernel_args_compose() */
    unsigned vcpu_count;
    unsigned mem_size_mib;
    const struct vmm_drive *drives;
    size_t drive_count;
    const struct vmm_interface *interfaces;
    size_t interface_count;
};

struct vmm_driver {
    enum vmm_kind kind;
    const char *name; /* "firecracker": the value of `vmm` in the API */

    /* What the process needs besides its guest's memory, at most: MiB, under each accelerator; and threads besides one for each vCPU. */
    unsigned overhead_mib[VMM_ACCEL_COUNT_];
    unsigned threads;

    /* What kernels need under this VMM, and what it adds to their arguments itself. */
    const struct kernel_args_vmm *args;

    /* Writes what the VMM reads at start into dir (atomically). NULL for QEMU, which has it all in argv. */
    int (*prepare)(const struct vmm_spec *spec, struct error *err);

    /* Builds its jail, after prepare(); spec->jail is not NULL. */
    int (*jail)(const struct vmm_spec *spec, struct jail *ret, struct error *err);

    /* The command line, whose first word is the program to start; *ret_argv is NULL-terminated and freed by vmm_argv_free(). */
    int (*command)(const struct vmm_spec *spec, char ***ret_argv, struct error *err);

    /* These open a connection to its api.sock (host/vmm/peer.h), speak, and close it. timeout_ms bounds the whole call. */
    int (*query)(const struct vmm_peer *peer, int timeout_ms, enum vmm_state *ret, struct error *err);
    int (*pause)(const struct vmm_peer *peer, int timeout_ms, struct error *err);  /* of a paused guest: no failure */
    int (*resume)(const struct vmm_peer *peer, int timeout_ms, struct error *err); /* of a running guest: no failure */

    /*
     * Presses Ctrl-Alt-Del in the guest (under QEMU the power button too) and returns at once. A guest that
     * reboots upon it ends its VMM with status 0. A guest that is paused, or whose keyboard driver is not up
     * yet, does not hear it; Firecracker then says so from the fifth time on.
     */
    int (*shutdown)(const struct vmm_peer *peer, int timeout_ms, struct error *err);

    /*
     * NULL, or what the process shows of its guest without being asked. A VMM that has this can hang when it is asked while its guest ends:
     * it is asked only when there is a guest, and a call that turns out to be hopeless is VMM_FAILED with sys_errno EOWNERDEAD.
     * *ret_vcpu: a thread that ends with the guest, when it is present; else -1.
     */
    enum vmm_guest (*guest)(pid_t pid, pid_t *ret_vcpu);

    const char *vcpu_threads; /* how the names of its vCPU threads begin: host/process/vcpus.h */

    /* "1.12.1", by running `<binary> --version` with a deadline of 5 s. */
    int (*version)(const char *binary, char *ret, size_t size, struct error *err);

    /* NULL, or the cause out of what it wrote to vmm.out. */
    enum vmm_cause (*cause)(const char *output, size_t len);
    /* What a clean end means of which neither VMM nor guest said anything. */
    enum vmm_cause quiet_end;
    /* NULL, or the signal that a VMM caught which ended with this exit status; 0: none. */
    int (*caught_signal)(int exit_status);

    /* For vmm_last_words(); both end with NULL. */
    const char *const *noise;    /* beginnings of lines that say nothing to a person */
    const char *const *lead_ins; /* beginnings of lines that are cut off */
};

extern const struct vmm_driver vmm_drivers[VMM_KIND_COUNT_];   /* indexed by enum vmm_kind */
const struct vmm_driver *vmm_driver_by_name(const char *name); /* NULL when there is none */
void vmm_argv_free(char **argv);
const char *vmm_accel_name(enum vmm_accel accel); /* "kvm", "tcg" */

/*
 * The most telling line of what a VMM wrote to vmm.out, without time stamps and in printable ASCII: why it
 * ended. "" when it wrote nothing. Any amount of output may be given; the newest line counts.
 */
void vmm_last_words(const struct vmm_driver *driver, const char *output, size_t len, char *ret, size_t size);

/*
 * An absolute path as it is, a plain name looked up in `search_path` (colon separated, absolute directories
 * only). VMM_UNAVAILABLE when there is none.
 */
int vmm_find_binary(const char *name, const char *search_path, char *ret, size_t size, struct error *err);

#endif
