/*
 * WireGuard devices: what one is set to, and changing just what differs. Two back ends: the kernel's, by generic netlink
 * (host/tunnel/wireguard_kernel.c), and a userspace implementation's, by its UAPI socket /var/run/wireguard/<interface>.sock (host/tunnel/wireguard_uapi.c;
 * the cross-platform interface of wireguard.com/xplatform). Error: WIREGUARD_SETUP_FAILED, naming the interface, never a key. Any thread.
 */
#ifndef SMARTVM_HOST_TUNNEL_WIREGUARD_H
#define SMARTVM_HOST_TUNNEL_WIREGUARD_H

#include "core/wireguard.h"

struct wireguard_endpoint {
    struct ip_addr address; /* version IP_NONE: there is none */
    uint16_t port;          /* host byte order */
};

struct wireguard_device_peer {
    struct wireguard_key public_key;
    struct wireguard_key preshared_key; /* zeroes: none */
    struct wireguard_endpoint endpoint;
    bool endpoint_due; /* of what is wanted: set it even though the peer has been heard from elsewhere */
    uint16_t keepalive;
    struct ip_net *allowed; /* sorted by wireguard_compare_nets() */
    size_t allowed_count;
    int64_t handshake_ms; /* the last one, wall clock; 0: never */
    uint64_t received_bytes, sent_bytes;
};

struct wireguard_device {
    struct wireguard_key private_key;
    uint16_t listen_port; /* 0 of what is wanted: any */
    uint32_t fwmark;
    struct wireguard_device_peer *peers; /* sorted by public key */
    size_t peer_count;
};

void wireguard_device_free(struct wireguard_device *device); /* wipes the keys; harmless on zeroes */
#define AUTO_WIREGUARD_DEVICE __attribute__((cleanup(wireguard_device_free))) struct wireguard_device

/* What differs of one peer. Refers to the device that is wanted, or seen where it is removed. */
struct wireguard_peer_change {
    const struct wireguard_device_peer *peer;
    bool is_removed, is_new;
    bool preshared_key, endpoint, keepalive, allowed;
};

struct wireguard_change {
    const struct wireguard_device *wanted;
    bool private_key, listen_port, fwmark;
    struct wireguard_peer_change *peers; /* owned */
    size_t peer_count;
};

/*
 * Pure. A peer's endpoint differs when it has none, is new, or is due: else it is where the peer was heard from, which may have moved. Peers that
 * are as wanted are not in the change, so their sessions go on.
 */
int wireguard_diff(const struct wireguard_device *seen, const struct wireguard_device *wanted, struct wireguard_change *ret, struct error *err);
void wireguard_change_free(struct wireguard_change *change);
#define AUTO_WIREGUARD_CHANGE __attribute__((cleanup(wireguard_change_free))) struct wireguard_change
bool wireguard_change_is_empty(const struct wireguard_change *change);
/* "another private key, 2 peers" into buf; never a key. */
void wireguard_change_describe(const struct wireguard_change *change, char *buf, size_t size);

enum wireguard_backend { WIREGUARD_KERNEL, WIREGUARD_USERSPACE, WIREGUARD_BACKEND_COUNT_ };
const char *wireguard_backend_name(enum wireguard_backend backend); /* "kernel", "userspace" */

/* Who answers for this interface. *ret_found false: nobody does. */
int wireguard_find_backend(const char *name, enum wireguard_backend *ret, bool *ret_found, struct error *err);

/* *ret is owned by the caller. */
int wireguard_get(enum wireguard_backend backend, const char *name, struct wireguard_device *ret, struct error *err);
int wireguard_set(enum wireguard_backend backend, const char *name, const struct wireguard_change *change, struct error *err);

/*
 * The userspace implementation (wireguard-go), in a session of its own. It is known by who listens on the UAPI socket of the interface
 * (SO_PEERCRED), and by its command line: "wireguard-go:<mark>" "-f" <interface>. It outlives the daemon.
 *
 * One that ends removes the socket by its name, even if that is the next one's by then: so those that are left are ended first.
 *
 * *ret_words is what it says (wireguard_words_*() below). One that does not come up: the error has its last words.
 */
int wireguard_go_start(const char *binary, const char *mark, const char *interface, int *ret_pidfd, int *ret_words, struct error *err);
/* *ret_pidfd -1: nobody listens there, or it is not ours. */
int wireguard_go_find(const char *mark, const char *interface, int *ret_pidfd, struct error *err);
/* The same without its socket, which somebody may have removed: by looking through all processes of this network namespace. Slow. */
int wireguard_go_find_any(const char *mark, const char *interface, int *ret_pidfd, struct error *err);
/* Asks all of them to end, then kills them; its interface goes with it. One that is not there is no failure. */
int wireguard_go_stop(const char *mark, const char *interface, struct error *err);

/*
 * What a userspace implementation says: a memory file, which it can't make grow (host/tunnel/wireguard_words.c). A descriptor of it stays readable when the process
 * has ended. The last words are the last one of its errors, or that of a panic, in printable ASCII, without anything that may be a key; "" for none.
 */
enum { WIREGUARD_WORDS_MAX = 160 };
int wireguard_words_make(int *ret_fd, struct error *err);
int wireguard_words_of(int pidfd);                         /* of a process that runs; -1: it has none */
void wireguard_words_make_room(int fd);                    /* when half of it is full, it begins anew; only for the one that was made here */
void wireguard_words_last(int fd, char *ret, size_t size); /* fd may be -1 */
void wireguard_words_pick(const char *text, size_t len, char *ret, size_t size); /* pure */

#endif
