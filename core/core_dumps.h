/*
 * No core dumps: what a process of ours would leave behind holds the memory of guests, keys and tokens, and goes to the disk or to a crash reporter of the host.
 *
 * Two means, both inherited by whatever a process starts: RLIMIT_CORE 0, soft and hard (setrlimit(2)), and, as a core_pattern that is a program is given the
 * dump despite the limit (core(5)), an empty coredump_filter, by which no memory is written into it. Best effort: a kernel without core dumps has no filter.
 */
#ifndef SMARTVM_CORE_CORE_DUMPS_H
#define SMARTVM_CORE_CORE_DUMPS_H

#include <sys/types.h>

/* Of this process, which is not dumpable from now on, either (PR_SET_DUMPABLE; that one ends with exec). The first thing that each process of the daemon does. */
void core_dumps_off(void);

/* Of one that runs already: of a VMM that an older daemon started. The caller holds a pidfd of it, so that it is no other. */
void core_dumps_off_of(pid_t pid);

#endif
