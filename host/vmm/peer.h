/*
 * The way to a VMM's socket `api.sock`. That of a VMM in a jail lies in a directory which the VMM can write to, so it may be anything: it is opened beneath the
 * root of the process, without links, and whoever listens is compared with the process before a word is spoken.
 *
 * A VMM without a jail is root's, and so is its runtime directory. Any thread.
 */
#ifndef SMARTVM_HOST_VMM_PEER_H
#define SMARTVM_HOST_VMM_PEER_H

#include "core/error.h"

#include <sys/types.h>

struct vmm_peer {
    const char *dir; /* the runtime directory, for messages; and of the socket, where there is no jail */
    pid_t pid;       /* of the process; only needed with a jail */
    int pidfd;       /* held by the caller, who has compared its start time; -1: not looked at */
    uid_t uid;       /* of its jail; 0: it has none */
};
#define VMM_PEER_UNJAILED(path) (&(struct vmm_peer){.dir = (path), .pidfd = -1})

enum { VMM_PEER_PATH_MAX = 64 };

/* sys_errno of a VMM_FAILED: what lies at the socket's place, or who listens there, is not the VMM's. */
enum { VMM_FOREIGN_SOCKET = 129 }; /* EKEYREJECTED, which nothing else of a socket gives */

/*
 * *ret: connected, not blocking, owned by the caller. VMM_FAILED, with sys_errno ENOENT or ECONNREFUSED while nobody listens (or the process is not in its jail
 * yet), and VMM_FOREIGN_SOCKET; TIMEOUT when its queue stays full.
 */
int vmm_peer_connect(const struct vmm_peer *peer, int timeout_ms, int *ret, struct error *err);

/*
 * The same in two steps, for a library that connects by itself: a path to connect to, which holds as long as *ret_place is open, and then whether it is the VMM
 * that listens.
 */
int vmm_peer_open(const struct vmm_peer *peer, int *ret_place, char ret_path[VMM_PEER_PATH_MAX], struct error *err);
int vmm_peer_check(const void *peer, int fd, struct error *err); /* of a struct vmm_peer */

/* The uid of a process, when all four of it are that; false otherwise, also when it is gone. */
bool vmm_peer_has_uid(pid_t pid, uid_t uid);

#endif
