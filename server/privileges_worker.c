#include "server/privileges.h"

#include "core/cleanup.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* capabilities(7), and what each is kept for. */
static const int kept[] = {
    CAP_CHOWN,            /* directories and sockets of the unprivileged processes, files in a jail */
    CAP_DAC_OVERRIDE,     /* directories of the unprivileged processes, and images that only their owner can read */
    CAP_DAC_READ_SEARCH,  /* the same, to read */
    CAP_FOWNER,           /* modes of such files */
    CAP_FSETID,           /* modes of such files */
    CAP_KILL,             /* VMMs and processes of other users */
    CAP_SETUID,           /* to give up root in the other processes */
    CAP_SETGID,           /* the same */
    CAP_SETPCAP,          /* the same */
    CAP_NET_BIND_SERVICE, /* to listen on a port below 1024 */
    CAP_NET_ADMIN,        /* TAPs, the bridge, nftables, routes, WireGuard */
    CAP_NET_RAW,          /* announcements of addresses */
    CAP_SYS_ADMIN,        /* mounts and namespaces of jails, programs on the bridge */
    CAP_SYS_CHROOT,       /* jails */
    CAP_SYS_PTRACE,       /* /proc of VMMs, which are of other users */
    CAP_SYS_RESOURCE,     /* limits beyond those that the daemon was started with */
    CAP_MKNOD,            /* devices of a jail */
    CAP_IPC_LOCK,         /* guests whose memory is locked, or of huge pages */
};

static bool is_kept(int capability)
{
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (kept[i] == capability) {
            return true;
        }
    }
    return false;
}

int bound_capabilities(struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
        if (!is_kept(capability) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
            return error_sys(err, ERR_SYSTEM, errno, "cannot drop capability %d from the bounding set", capability);
        }
    }
    if (syscall(SYS_capget, &header, data) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot read the capabilities");
    }
    for (size_t i = 0; i < ARRAY_LEN(data); i++) {
        uint32_t bits = 0;
        for (int bit = 0; bit < 32; bit++) {
            bits |= is_kept((int)i * 32 + bit) ? 1U << bit : 0;
        }
        data[i].permitted &= bits;
        data[i].effective &= bits;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &header, data) < 0 ? error_sys(err, ERR_SYSTEM, errno, "cannot give up capabilities") : 0;
}
