/* Which ports of this host have somebody listening on them. Any thread. Error: SYSTEM. */
#ifndef SMARTVM_HOST_NFT_LISTENING_H
#define SMARTVM_HOST_NFT_LISTENING_H

#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Calls `found` with the local port (host byte order) of each socket of the protocol (IPPROTO_TCP: that listens; IPPROTO_UDP: that is bound and not
 * connected), of both IP versions; a port may come more than once. By the kernel's socket diagnostics (sock_diag(7)); where it has none, nothing
 * is found.
 */
int listener_each(uint8_t protocol, void (*found)(uint16_t port, void *ctx), void *ctx, struct error *err);

#endif
