/*
 * What a program in a jail of ours has no use for, refused by the kernel (EPERM, seccomp(2)), and inherited by all that it starts. Its network namespace is the
 * host's, as its TAPs are there, so without this one that was taken over could speak to the host's own services, and make itself the owner of others' frames:
 *  - sockets of any family but AF_UNIX, and io_uring, by which they could be had, too;
 *  - ioctls of a TAP that change whose it is, how long it stays, or its MAC (linux/if_tun.h);
 *  - calls of another architecture's table.
 * Firecracker is not concerned: its own filter allows less than this.
 */
#ifndef SMARTVM_HOST_PROCESS_JAIL_FILTER_H
#define SMARTVM_HOST_PROCESS_JAIL_FILTER_H

/* For this process, which has no_new_privs. Between clone and exec, so by system calls alone (host/process/child.h). -1 with errno. */
int jail_filter_load(void);

#endif
