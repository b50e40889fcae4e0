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
#define INSPECTOR_UID 1879048191U
int drop_privileges_of_inspector(pid_t parent, struct error *err);

/*
 * Refuses (EPERM) what no code of these processes calls and what escapes are made of: new programs, tracing, mounts, namespaces, modules,
 * keyrings, bpf, io_uring and their like; and to the keeper also every network and new processes.
 * The inspector is left nothing but what reads and writes what is open, and gets memory that can't be executed: any other call ends it.
 */
enum system_calls { SYSTEM_CALLS_OF_API, SYSTEM_CALLS_OF_KEEPER, SYSTEM_CALLS_OF_INSPECTOR };
int drop_system_calls(enum system_calls of, struct error *err);

#endif
