/*
 * The cgroup v2 file system: where it is mounted, its directories and control files. Only for host/cgroup*.c.
 * Any thread. Error: SYSTEM.
 */
#ifndef SMARTVM_HOST_PROCESS_CGROUP_DIR_H
#define SMARTVM_HOST_PROCESS_CGROUP_DIR_H

#include "core/error.h"

#include <sys/types.h>

#define CGROUP_SHIMS ".shims"

enum { CGROUP_CONTROL_MAX = 512 }; /* bytes of cgroup.controllers: a line of a dozen names */

/*
 * The first writable cgroup2 mount of /proc/self/mountinfo that is not hidden by another mount, into buf; ""
 * when there is none. *ret_fd is its directory, owned by the caller, or -1. Fails only when mountinfo cannot
 * be read.
 */
int cgroup_mount_open(char *buf, size_t size, int *ret_fd, struct error *err);

/* <mount>/<mark>, owned by the caller; -1 (and success) where there is none. */
int cgroup_mark_open(const char *mark, int *ret_fd, struct error *err);

/* A directory below another; -1 with errno. */
int cgroup_dir_open(int parent, const char *name);

/* Neither a path nor hidden nor too long: fit for a directory of ours. */
int cgroup_name_check(const char *name, struct error *err);

/* Control files; -1 with errno. What is read is terminated, "" on failure. */
int cgroup_control_read(int dir, const char *name, char *buf, size_t size);
int cgroup_control_write(int dir, const char *name, const char *text);

/* Calls `found` for each process in the cgroup and returns how many there are; -1 with errno. */
ssize_t cgroup_each_pid(int dir, void (*found)(pid_t pid, void *ctx), void *ctx);

#endif
