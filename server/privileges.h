/*
 * Gives up every privilege: what the API process does before it reads a byte from a client, the keeper before it opens the database, and the inspector before
 * it looks at a file.
 *
 * In two steps, since start-up may need what the filter forbids: drop_privileges() first thing,
 * drop_system_calls() when the process has opened all it needs. There is no way back from either.
 */
#ifndef SMARTVM_SERVER_PRIVILEGES_H
#define SMARTVM_SERVER_PRIVILEGES_H

#include "core/error.h"

#include <sys/types.h>

/*
 * User, group and supplementary groups of `user` (never root: INVALID_CONFIG), no capability in any set,
 * no_new_privs, not dumpable, umask 007, room for 65536 descriptors where the hard limit or root allows it.
 * SIGTERM arrives when `parent` ends; when it has ended already: UNAVAILABLE. The process must have one
 * thread.
 */
int drop_privileges(const char *user, pid_t parent, struct error *err);

/* The same, for the inspector: to INSPECTOR_UID, which is nobody's, and owns nothing. SIGKILL arrives in place of SIGTERM. */
#define INSPECTOR_UID 1879113728U /* behind the default range of VMMs, where nobody else has any: systemd.io/UIDS-GIDS; a configured range must not have it */
int drop_privileges_of_inspector(pid_t parent, struct error *err);

/*
 * In the worker, before it starts anything: keeps root the capabilities that the work on the host takes, and gives up the others for itself and for all that it
 * starts (modules, raw input and output, the clock, reboot, audit, other people's IPC and their like). What the kernel does not know is skipped.
 */
int bound_capabilities(struct error *err);

/*
 * Leaves the process the system calls that its code has use for, and refuses all others (ENOSYS, by which the C library does without a call that is
 * new to it): new programs and processes, tracing, mounts, namespaces, modules,
 * keyrings, bpf, io_uring and whatever comes; to the keeper also every socket but the one it has. Nothing can be mapped to be executed any more. The inspector
 * is left nothing but what reads and writes what is open, and gets memory: any other call ends it.
 */
enum system_calls { SYSTEM_CALLS_OF_API, SYSTEM_CALLS_OF_KEEPER, SYSTEM_CALLS_OF_INSPECTOR };
int drop_system_calls(enum system_calls of, struct error *err);

#endif
