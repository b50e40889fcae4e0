/*
 * Inside host/: what a child does between its clone and its exec. It shares our memory until it execs, as after vfork(2), so that the cost does not grow
 * with the daemon; it runs on a stack of its own with every signal blocked, and only the thread that made it waits. A step that fails is therefore
 * simply left in `struct process_child` to be read. Used by process_spawn.c and shim.c.
 */
#ifndef SMARTVM_HOST_PROCESS_CHILD_H
#define SMARTVM_HOST_PROCESS_CHILD_H

#include "host/process/process.h"

#include <signal.h>

/* The child must not leave marks of its own stack in the sanitizer's shadow of the memory that it shares with us. */
#define PROCESS_CHILD_SIDE __attribute__((no_sanitize("address", "undefined")))

enum process_step {
    STEP_SIGNALS,
    STEP_SESSION,
    STEP_CGROUP,
    STEP_OOM,
    STEP_LIMITS,
    STEP_NAMESPACE,
    STEP_MOUNTS,
    STEP_DESCRIPTORS,
    STEP_ROOT,
    STEP_CWD,
    STEP_IDENTITY,
    STEP_PRIVILEGES,
    STEP_FILTER,
    STEP_EXEC
};

struct process_child {
    const struct process_spec *spec;
    bool enters_cgroup;     /* clone3 did not put it there */
    enum process_step step; /* the one that is under way, or that failed */
    int errnum;             /* 0 as long as nothing failed */
};

/* Becomes the program of its spec; `child` is a struct process_child. */
int process_child_main(void *child);

/* Copies of `wanted` (-1: of /dev/null) become the descriptors 0 to count - 1 (at most PROCESS_PLACE_MAX); all others are closed. -1 with errno. */
enum { PROCESS_PLACE_MAX = 8 };
int process_place_descriptors(const int *wanted, int count);

/*
 * Makes a child that runs run(arg) and shares our memory; returns when it has executed a program or ended: the pid, or -errno. Into the cgroup
 * (-1: none) by clone3 where that works, else *ret_enters_cgroup is set and the child has to walk there itself.
 */
long process_clone(int cgroup_fd, int (*run)(void *arg), void *arg, char *stack, bool *ret_enters_cgroup, int *ret_pidfd);
/* The child's first step there. */
int process_enter_cgroup(int cgroup_fd);

/* Stacks for that, with guards below them, and all signals blocked meanwhile. */
struct process_stacks {
    char *memory, *first, *second;
    sigset_t signals;
};
int process_stacks_begin(struct process_stacks *ret); /* -errno, or 0 */
void process_stacks_end(struct process_stacks *stacks);

int process_report_failed_step(const struct process_child *child, struct error *err); /* -1 */

#endif
