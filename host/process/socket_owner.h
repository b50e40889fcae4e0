/*
 * Which processes have sockets open, by the sockets' inodes (proc(5), /proc/<pid>/fd). One pass over all descriptors of all processes: for the few times that
 * somebody has to be named. Any thread.
 */
#ifndef SMARTVM_HOST_PROCESS_SOCKET_OWNER_H
#define SMARTVM_HOST_PROCESS_SOCKET_OWNER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SOCKET_OWNER_NAME_MAX = 16 }; /* TASK_COMM_LEN */

struct socket_owner {
    uint32_t inode;
    pid_t pid;                        /* out: the first that has it; 0: nobody was found */
    char name[SOCKET_OWNER_NAME_MAX]; /* out: its name, which it chooses itself: printable ASCII here, "" for none */
};

void socket_owners_find(struct socket_owner *owners, size_t count);

#endif
