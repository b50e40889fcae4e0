/* Which ports of this host have somebody listening on them. Any thread. Error: SYSTEM. */
#ifndef SMARTVM_HOST_NFT_LISTENING_H
#define SMARTVM_HOST_NFT_LISTENING_H

#include "core/vm_config.h"

struct listener {
    uint8_t protocol;    /* IPPROTO_TCP or IPPROTO_UDP */
    struct ip_addr host; /* where; all zeroes but the version: at every address of it */
    bool both;           /* at every address of both versions */
    uint16_t port;       /* host byte order */
    uint32_t inode;      /* of the socket, by which host/process/socket_owner.h finds who has it; 0: the kernel itself */
};

/*
 * Calls `found` with each socket of the protocol (IPPROTO_TCP: that listens; IPPROTO_UDP: that is bound and not connected), of both IP versions; a port may
 * come more than once. By the kernel's socket diagnostics (sock_diag(7)); where it has none, nothing is found.
 */
int listener_each(uint8_t protocol, void (*found)(const struct listener *listener, void *ctx), void *ctx, struct error *err);

/* Would the published port take something away from the listener? Pure. */
bool listener_meets(const struct listener *listener, const struct vm_port *port);

#endif
