/*
 * What the worker (host/process/shim.c) and a VM's shim (shim/shim.c) agree on. The shim is the parent of a VMM: it stays when the daemon dies, keeps what the
 * VMM says meanwhile, and writes down how it ended.
 *
 * One of them reads the FIFOs of console and VMM: the worker as long as it holds a connection to the shim, else the shim. The first connection comes with
 * the spawn, others by the socket SHIM_SOCKET (SOCK_SEQPACKET) in the VM's runtime directory. A message is a text:
 *
 *   "ready"                                 the shim has let go of the FIFOs and of its files
 *   "<boot> <how> <code> <wall> <uptime>"   the VMM ended: `how` is exited, killed or dumped; `code` its exit status or signal; then the time, in
 *                                           milliseconds since 1970 and since the host booted (CLOCK_BOOTTIME)
 *
 * The second one is also the content of the file SHIM_EXIT, which is whole or not there. After it the shim waits for the end of the connection, and ends.
 */
#ifndef SMARTVM_SHIM_PROTOCOL_H
#define SMARTVM_SHIM_PROTOCOL_H

#define SHIM_SOCKET   "end.sock" /* not longer than api.sock, whose path is checked */
#define SHIM_EXIT     "exit"
#define SHIM_EXIT_NEW "exit.new"
#define SHIM_READY    "ready"

/* What it kept of a FIFO: the newer part, and the older one when that was full. */
#define SHIM_CONSOLE       "console.kept"
#define SHIM_CONSOLE_OLDER "console.kept.older"
#define SHIM_VMM           "vmm.kept"
#define SHIM_VMM_OLDER     "vmm.kept.older"

enum {
    SHIM_MESSAGE_MAX = 128,
    SHIM_KEPT_MAX = 128 * 1024, /* bytes of one part: so at least that much, and at most twice, is kept */
};

/* Its descriptors. argv: name, the VM's id (for people), the boot's number. */
enum {
    SHIM_FD_DIR,     /* the runtime directory */
    SHIM_FD_CONSOLE, /* console.out, not blocking */
    SHIM_FD_VMM,     /* vmm.out, not blocking */
    SHIM_FD_LINK,    /* the first connection */
    SHIM_FD_LISTEN,
    SHIM_FD_PROCESS, /* the VMM's pidfd */
    SHIM_FD_COUNT_
};

#endif
