/*
 * Virtual machine monitors. A kind of VMM is one file in host/ and one row in vmm_drivers[].
 *
 * A running VMM needs nothing of the daemon: it has its own session, its console is a FIFO that it holds open itself, and it is
 * found again by its cgroup or by `--id`/`-name` and socket path in its command line. All paths below are inside the
 * VM's runtime directory `dir` = <run_dir>/vm/<id> (root, 0700):
 *   api.sock    Firecracker's API or QEMU's QMP socket
 *   vmm.json    Firecracker's configuration file
 *   console.in  FIFO, the guest's serial input (the VMM's standard input)
 *   console.out FIFO, the guest's serial output (the VMM's standard output), O_NONBLOCK, so that a flood is dropped, never waited for
 *   vmm.out     FIFO, what the VMM itself says (standard error and Firecracker's log)
 * Any thread, one call per VM at a time. Errors: VMM_FAILED with the VMM's own words, TIMEOUT, VMM_UNAVAILABLE.
 */
#ifndef SMARTVM_HOST_VMM_H
#define SMARTVM_HOST_VMM_H

#include "core/net_addr.h"

#include <stdint.h>

enum vmm_kind { VMM_FIRECRACKER, VMM_QEMU, VMM_KIND_COUNT_ };
enum vmm_accel { VMM_ACCEL_KVM, VMM_ACCEL_TCG };
enum vmm_state { VMM_STATE_STARTING, VMM_STATE_RUNNING, VMM_STATE_PAUSED };

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

struct vmm_spec {
    const char *id;
    const char *dir;      /* the runtime directory */
    const char *binary;   /* absolute path of the VMM */
    enum vmm_accel accel;
    const char *kernel;   /* ELF */
    const char *initrd;   /* or NULL */
    const char *boot_args;
    unsigned vcpu_count;
    unsigned mem_size_mib;
    const struct vmm_drive *drives;
    size_t drive_count;
    const struct vmm_interface *interfaces;
    size_t interface_count;
};

struct vmm_driver {
    enum vmm_kind kind;
    const char *name;            /* "firecracker": the value of `vmm` in the API */
    const char *extra_boot_args; /* what every kernel under this VMM needs, put before the image's own arguments */

    /* Writes what the VMM reads at start into dir (atomically). Not for QEMU, which has it all in argv: NULL. */
    int (*prepare)(const struct vmm_spec *spec, struct error *err);

    /* The command line; *ret_argv is NULL-terminated and freed by vmm_argv_free(). */
    int (*command)(const struct vmm_spec *spec, char ***ret_argv, struct error *err);

    /* All of these open a connection to <dir>/api.sock, speak, and close it. timeout_ms bounds the whole call. */
    int (*query)(const char *dir, int timeout_ms, enum vmm_state *ret, struct error *err);
    int (*pause)(const char *dir, int timeout_ms, struct error *err);
    int (*resume)(const char *dir, int timeout_ms, struct error *err);
    int (*shutdown)(const char *dir, int timeout_ms, struct error *err); /* asks the guest; returns at once */

    /* "1.12.1", by running `<binary> --version` with a deadline of 5 s. */
    int (*version)(const char *binary, char *ret, size_t size, struct error *err);
};

extern const struct vmm_driver vmm_drivers[VMM_KIND_COUNT_]; /* indexed by enum vmm_kind; defined in host/vmm.c */
const struct vmm_driver *vmm_driver_by_name(const char *name); /* NULL when there is none */
void vmm_argv_free(char **argv);
const char *vmm_accel_name(enum vmm_accel accel); /* "kvm", "tcg" */

/* An absolute path as it is, a plain name looked up in `search_path` (colon separated). VMM_UNAVAILABLE when there is none. */
int vmm_find_binary(const char *name, const char *search_path, char *ret, size_t size, struct error *err);

#endif
