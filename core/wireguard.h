/*
 * WireGuard egress as a value: read from the text of wg-quick(8) or from JSON fields, and written as JSON without its secrets. Pure functions.
 *
 * Two modes. Managed: the daemon makes the tunnel `interface_name`, from `config` (text) or from `interface` and `peers` (fields), never both.
 * Existing: somebody else owns the tunnel `existing_interface`; the daemon only leads guests to it.
 *
 * Rules (requirements, section 5; wg(8); wg-quick(8)): sections and keys in any case, `#` and `;` begin comments, also behind a value.
 * [Interface] PrivateKey, ListenPort, FwMark, Address, MTU; [Peer] PublicKey, PresharedKey, AllowedIPs, Endpoint, PersistentKeepalive.
 * DNS and Table are ignored with a warning. PreUp, PostUp, PreDown, PostDown and SaveConfig are refused, as they run commands; empty ones run none. A private
 * key and an address are required. A network of AllowedIPs whose host bits are set means the network, as for wg(8), with a warning; it may belong to one peer only.
 * While guests have no IPv6, IPv6 addresses inside of the tunnel are left out, with a warning that names them; where nothing is left of the interface's
 * addresses, or of what a peer is to carry, that is a fault. What stands there twice at one place counts once.
 * All faults at once: INVALID_WIREGUARD_CONFIG with the line, or the JSON pointer. What was not understood is never quoted, as it may be a key; but for a name
 * that can be none.
 */
#ifndef SMARTVM_CORE_WIREGUARD_H
#define SMARTVM_CORE_WIREGUARD_H

#include "core/ip_net.h"
#include "core/net_addr.h"
#include "core/wireguard_key.h"

#include <jansson.h>

enum {
    WIREGUARD_TEXT_MAX = 64 * 1024, /* bytes of `config` */
    WIREGUARD_PEERS_MAX = 64,
    WIREGUARD_ALLOWED_MAX = 256,  /* networks of one peer */
    WIREGUARD_ADDRESSES_MAX = 16, /* of the tunnel */
    WIREGUARD_HOST_MAX = 254,     /* an endpoint's name or address, with the terminator: 253 bytes, RFC 1035 */
    WIREGUARD_MTU_MIN = 576,
    WIREGUARD_MTU_MAX = 9000,
    WIREGUARD_MTU_DEFAULT = 1420, /* 1500 less the largest overhead, that over IPv6 */
    WIREGUARD_TABLE_DEFAULT = 51820,
    WIREGUARD_POINTER_MAX = 64,
    WIREGUARD_FAULTS_MAX = 32,
    WIREGUARD_FAULT_TEXT_MAX = 256,
    WIREGUARD_LEFT_OUT_MAX = 1024, /* bytes of a list of what was left out; the rest is counted */
};
#define WIREGUARD_INTERFACE_DEFAULT "svwg0"

struct wireguard_address {
    struct ip_addr address; /* host bits and all */
    uint8_t prefix;
};

struct wireguard_peer {
    struct wireguard_key public_key;
    bool has_preshared_key;
    struct wireguard_key preshared_key;
    struct ip_net *allowed; /* sorted */
    size_t allowed_count;
    char host[WIREGUARD_HOST_MAX]; /* of the endpoint, a name or an address; "" for none */
    uint16_t port;
    uint16_t keepalive; /* seconds; 0: off */
};

/* What was ignored, or understood in another way than it is written. */
enum wireguard_warning { WIREGUARD_IGNORED_DNS, WIREGUARD_IGNORED_TABLE, WIREGUARD_HOST_BITS, WIREGUARD_LEFT_OUT_IPV6, WIREGUARD_WARNING_COUNT_ };

struct wireguard_faults {
    struct wireguard_fault {
        char pointer[WIREGUARD_POINTER_MAX];    /* JSON pointer */
        char message[WIREGUARD_FAULT_TEXT_MAX]; /* of a text with its line */
    } items[WIREGUARD_FAULTS_MAX];
    size_t count;
    bool more; /* than there is room for */
};

struct wireguard {
    bool managed;
    char interface_name[INTERFACE_NAME_MAX]; /* of either mode */
    bool route_all, fail_closed;
    uint32_t route_table;
    /* Managed only, from here on. */
    struct wireguard_key private_key;
    struct wireguard_address addresses[WIREGUARD_ADDRESSES_MAX];
    size_t address_count;
    uint16_t listen_port;         /* 0: any */
    uint32_t fwmark;              /* 0: none */
    uint16_t mtu;                 /* 0: WIREGUARD_MTU_DEFAULT */
    struct wireguard_peer *peers; /* sorted by public key */
    size_t peer_count;
    unsigned warnings;                     /* a bit for each enum wireguard_warning */
    char left_out[WIREGUARD_LEFT_OUT_MAX]; /* "Address 2001:db8::2/128, AllowedIPs ::/0"; "" for nothing */
    size_t left_out_more;                  /* that found no room in it */
};

/* Also wipes the keys. Harmless on zeroes. */
void wireguard_free(struct wireguard *config);
#define AUTO_WIREGUARD __attribute__((cleanup(wireguard_free))) struct wireguard

/*
 * The body of PUT /network/wireguard, whose types are checked by its schema. `ipv6`: guests have IPv6. On failure *ret_faults has all faults (none when memory
 * was short), and *err the first one.
 */
int wireguard_parse(const json_t *body, bool ipv6, struct wireguard *ret, struct wireguard_faults *ret_faults, struct error *err);

/* The text of wg-quick(8) alone, into a zeroed struct. */
int wireguard_parse_text(const char *text, bool ipv6, struct wireguard *ret, struct wireguard_faults *ret_faults, struct error *err);

/*
 * The body that wireguard_parse() would take, but for the keys: no private_key, and `has_preshared_key` instead of preshared_key; and `left_out`, if anything
 * was. NULL when out of memory.
 */
json_t *wireguard_json(const struct wireguard *config);

/* The keys that wireguard_json() leaves out: {"private_key", "preshared_keys": {<public key>: <key>}}. */
json_t *wireguard_secrets_json(const struct wireguard *config);

/* Both put together again. `secrets` may be NULL: then the keys are zeroes, and everything else is there. */
int wireguard_load(const json_t *config, const json_t *secrets, struct wireguard *ret, struct error *err);

/* Of two struct ip_net, for qsort(3): by version, address, prefix. */
int wireguard_compare_nets(const void *a, const void *b);

const char *wireguard_warning_text(enum wireguard_warning warning);
unsigned wireguard_mtu(const struct wireguard *config); /* that is wanted: of the configuration, or the default */

#endif
