#include "host/process/jail_filter.h"

#include "core/cleanup.h"
#include "host/process/child.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
/* The lower half of an argument: what the kernel looks at of an int. */
#define LOAD_ARGUMENT(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + (n) * sizeof(__u64))
#define RETURN(action)   BPF_STMT(BPF_RET | BPF_K, (action))
#define REFUSED          (SECCOMP_RET_ERRNO | EPERM)
/* Refused when the value that was loaded is this one. */
#define REFUSE(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, 1), RETURN(REFUSED)
/* The next `count` instructions are for this one alone. */
#define ONLY(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (count))

enum { X32_CALLS = 0x40000000 };

static const struct sock_filter program[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_CALLS, 0, 1),
    RETURN(REFUSED),
    REFUSE(SYS_io_uring_setup),
    ONLY(SYS_socket, 4),
    LOAD_ARGUMENT(0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 0, 1),
    RETURN(SECCOMP_RET_ALLOW),
    RETURN(REFUSED),
    ONLY(SYS_ioctl, 12),
    LOAD_ARGUMENT(1),
    REFUSE(SIOCSIFHWADDR),
    REFUSE(TUNSETOWNER),
    REFUSE(TUNSETGROUP),
    REFUSE(TUNSETPERSIST),
    REFUSE(TUNSETLINK),
    RETURN(SECCOMP_RET_ALLOW),
    RETURN(SECCOMP_RET_ALLOW),
};

PROCESS_CHILD_SIDE int jail_filter_load(void)
{
    const struct sock_fprog filter = {.len = ARRAY_LEN(program), .filter = (struct sock_filter *)(__UINTPTR_TYPE__)program};
    return (int)syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
}
