#include "host/vmm/peer.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "host/process/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(VMM_FOREIGN_SOCKET == EKEYREJECTED, "see peer.h");

enum { CONNECT_RETRY_MS = 5 };

bool vmm_peer_has_uid(pid_t pid, uid_t uid)
{
    struct process_ids ids;
    return process_ids(pid, &ids, NULL) == 0 && ids.real == uid && ids.effective == uid && ids.saved == uid && ids.file_system == uid;
}

static int foreign(const struct vmm_peer *peer, const char *what, struct error *err)
{
    return error_sys(err, ERR_VMM_FAILED, VMM_FOREIGN_SOCKET, "%s/api.sock is not the VMM's: %s", peer->dir, what);
}

/* A process that has its uid has entered its jail: that comes first. What it is then is compared once more behind the opening, as its number may be another's by now. */
static int open_root(const struct vmm_peer *peer, int *ret, struct error *err)
{
    char path[64];
    if (!vmm_peer_has_uid(peer->pid, peer->uid)) {
        return error_sys(err, ERR_VMM_FAILED, ENOENT, "the process %d is not in its jail", (int)peer->pid);
    }
    (void)snprintf(path, sizeof path, "/proc/%d/root", (int)peer->pid);
    AUTO_CLOSE int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (peer->pidfd >= 0 && !process_is_alive(peer->pidfd)) || !vmm_peer_has_uid(peer->pid, peer->uid)) {
        return error_sys(err, ERR_VMM_FAILED, ENOENT, "the process %d is gone", (int)peer->pid);
    }
    *ret = TAKE_FD(fd);
    return 0;
}

/* A descriptor of the socket itself (O_PATH), so that what is connected to is what was looked at. */
static int open_jailed(const struct vmm_peer *peer, int *ret, struct error *err)
{
    const struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    struct stat st;
    AUTO_CLOSE int root = -1;
    if (open_root(peer, &root, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int fd = (int)syscall(SYS_openat2, root, "api.sock", &how, sizeof how);
    if (fd < 0 && errno == ENOENT) {
        return error_sys(err, ERR_VMM_FAILED, ENOENT, "nobody listens on %s/api.sock", peer->dir);
    }
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return foreign(peer, fd >= 0 && S_ISLNK(st.st_mode) ? "it is a link" : "it is no socket", err);
    }
    *ret = TAKE_FD(fd);
    return 0;
}

int vmm_peer_check(const void *ctx, int fd, struct error *err)
{
    const struct vmm_peer *peer = ctx;
    struct ucred who = {.pid = 0};
    socklen_t len = sizeof who;
    if (peer->uid == 0) {
        return 0;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || who.pid == 0) { /* its queue is full */
        return error_set(err, ERR_TIMEOUT, "nobody accepts a connection on %s/api.sock", peer->dir);
    }
    return who.uid == peer->uid && who.pid == peer->pid ? 0 : foreign(peer, "another process listens", err);
}

/* By a descriptor in both cases, so the path fits into an address, however long it is. */
int vmm_peer_open(const struct vmm_peer *peer, int *ret_place, char ret_path[VMM_PEER_PATH_MAX], struct error *err)
{
    AUTO_CLOSE int place = -1;
    if (peer->uid != 0 && open_jailed(peer, &place, err) != 0) {
        return -1;
    }
    if (peer->uid == 0) {
        place = open(peer->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (place < 0) {
            return error_sys(err, ERR_VMM_FAILED, errno, "cannot open %s", peer->dir);
        }
    }
    (void)snprintf(ret_path, VMM_PEER_PATH_MAX, "/proc/self/fd/%d%s", place, peer->uid != 0 ? "" : "/api.sock");
    *ret_place = TAKE_FD(place);
    return 0;
}

/* EAGAIN: the socket's queue is full, because the VMM has not noticed yet that the last caller is gone. */
static int connect_to(const struct vmm_peer *peer, int fd, const struct sockaddr_un *address, int timeout_ms, struct error *err)
{
    const int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    while (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        if (errno != EAGAIN && errno != EINTR) {
            return error_sys(err, ERR_VMM_FAILED, errno, "nobody listens on %s/api.sock", peer->dir);
        }
        if (clock_monotonic_ms() >= deadline_ms) {
            return error_set(err, ERR_TIMEOUT, "no answer on %s/api.sock within %d ms", peer->dir, timeout_ms);
        }
        (void)poll(NULL, 0, CONNECT_RETRY_MS);
    }
    return vmm_peer_check(peer, fd, err);
}

int vmm_peer_connect(const struct vmm_peer *peer, int timeout_ms, int *ret, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    AUTO_CLOSE int place = -1;
    if (vmm_peer_open(peer, &place, address.sun_path, err) != 0) {
        return -1;
    }
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a unix socket");
    }
    if (connect_to(peer, fd, &address, timeout_ms, err) != 0) {
        return -1;
    }
    *ret = TAKE_FD(fd);
    return 0;
}
