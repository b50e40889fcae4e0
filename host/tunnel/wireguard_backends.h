/* Private to host/wireguard*.c, and to the tests of their messages. */
#ifndef SMARTVM_HOST_TUNNEL_WIREGUARD_BACKENDS_H
#define SMARTVM_HOST_TUNNEL_WIREGUARD_BACKENDS_H

#include "core/strbuf.h"
#include "host/tunnel/wireguard.h"

#include <netlink/msg.h>

enum { WIREGUARD_SOCKET_MAX = 64 };
void wireguard_uapi_path(const char *interface, char *buf); /* buf[WIREGUARD_SOCKET_MAX] */

int wireguard_kernel_get(const char *interface, struct wireguard_device *ret, struct error *err);
int wireguard_kernel_set(const char *interface, const struct wireguard_change *change, struct error *err);
int wireguard_uapi_get(const char *interface, struct wireguard_device *ret, struct error *err);
int wireguard_uapi_set(const char *interface, const struct wireguard_change *change, struct error *err);

/* NULL, or -1, when out of memory. */
struct wireguard_device_peer *wireguard_device_add_peer(struct wireguard_device *device);
int wireguard_device_add_allowed(struct wireguard_device_peer *peer, const struct ip_net *net);
/* false, and *ret_ms untouched, for what is no time. */
bool wireguard_handshake_time(uint64_t seconds, uint64_t nanoseconds, int64_t *ret_ms);
void wireguard_device_sort(struct wireguard_device *device);

/*
 * The next message of a change for the kernel: WG_CMD_SET_DEVICE with as many peers, from *at on, as one message holds. *at is then the next one;
 * the caller goes on until it is change->peer_count. NULL when out of memory.
 */
struct nl_msg *wireguard_kernel_message(uint16_t family, const char *interface, const struct wireguard_change *change, size_t *at);
/* One message of the answer to WG_CMD_GET_DEVICE, added to what the messages before it said. -1: out of memory, or malformed. */
int wireguard_kernel_parse(const struct nlmsghdr *h, struct wireguard_device *device);

/* The UAPI request for a change, and the answer to "get=1". */
void wireguard_uapi_request(const struct wireguard_change *change, struct strbuf *ret);
int wireguard_uapi_parse(char *answer, struct wireguard_device *ret, struct error *err);

#endif
