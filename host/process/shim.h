/*
 * A VMM is not our child but that of its shim (shim/shim.c, a program inside our binary): a small parent, one for each VM, that stays when the daemon dies, keeps
 * what console and VMM say meanwhile, and writes down how the VMM ended. It is in a cgroup of its own (".shims"), outside of its VM's limits.
 *
 * Whoever holds a connection to the shim reads the FIFOs; when it is closed, by us or by our end, the shim does. Any thread, one call per VM at a time.
 * Error: SYSTEM unless said otherwise.
 */
#ifndef SMARTVM_HOST_PROCESS_SHIM_H
#define SMARTVM_HOST_PROCESS_SHIM_H

#include "host/process/process.h"

/* Both owned; -1: none. */
struct shim {
    int link;  /* the connection */
    int pidfd; /* of the shim, when it is our child */
};
#define SHIM_NONE ((struct shim){-1, -1})

struct shim_spec {
    const char *dir; /* the VM's runtime directory, which has the FIFOs */
    const char *id;  /* for people who list processes */
    int64_t boot;
    int cgroup_fd; /* the shim's own, or -1 */
};

/* Makes the program ready; else the first spawn does that. */
void shim_prepare(void);

/*
 * As process_spawn(), with a shim as the parent. Where the host lets no program run from memory (vm.memfd_noexec), the process becomes our own
 * child, and *ret_shim is SHIM_NONE.
 */
int shim_spawn(const struct process_spec *spec, const struct shim_spec *shim, struct process *ret, struct shim *ret_shim, struct error *err);

/* Connects to a shim that is there already, and takes over the reading. sys_errno ENOENT or ECONNREFUSED: there is none. */
int shim_attach(const char *dir, int timeout_ms, struct shim *ret, struct error *err);

/* How a VMM ended. */
struct shim_exit {
    int64_t boot;
    int status;        /* as of wait(2) */
    int64_t wall_ms;   /* since 1970 */
    int64_t uptime_ms; /* since the host booted (CLOCK_BOOTTIME) */
};

/* Once its VMM ended: waits for the shim's word. False: it did not come in time, and will not. Pure reading: can be asked once. */
bool shim_hear_exit(struct shim *shim, int timeout_ms, struct shim_exit *ret);

/* What it wrote down about this boot; false when it did not. */
bool shim_read_exit(const char *dir, int64_t boot, struct shim_exit *ret);

/* Lets go of it. One whose VMM has ended ends upon that, and is reaped. Harmless for SHIM_NONE. */
void shim_close(struct shim *shim, bool vmm_ended);

/* "3 killed 9 1700000000000 123456": false when it is none. Pure. */
bool shim_parse_exit(const char *text, struct shim_exit *ret);

#endif
