#include "core/wireguard_fields.h"

#include "core/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int wireguard_refuse(struct error *err, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return error_set(err, ERR_INVALID_WIREGUARD_CONFIG, "%s", text);
}

/* Digits only, in base 10, or in base 16 behind 0x where that is allowed. */
static bool parse_number(const char *text, bool hex_allowed, uint32_t max, uint32_t *ret)
{
    bool hex = hex_allowed && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = hex ? text + 2 : text;
    size_t len = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
    if (len == 0 || len > 10 || digits[len] != '\0') {
        return false;
    }
    unsigned long long value = strtoull(digits, NULL, hex ? 16 : 10);
    if (value > max) {
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}

static bool is_off(const char *value)
{
    return strcasecmp(value, "off") == 0;
}

static int parse_key(const char *value, struct wireguard_key *ret, struct error *err)
{
    return wireguard_key_parse(value, ret) ? 0 : wireguard_refuse(err, "must be 32 bytes in base64");
}

static int set_private_key(struct wireguard_build *build, const char *value, struct error *err)
{
    struct wireguard_key *key = &build->config->private_key;
    build->tried_private_key = true;
    if (parse_key(value, key, err) != 0) {
        return -1;
    }
    if (wireguard_key_is_zero(key)) {
        return wireguard_refuse(err, "must not be all zeroes");
    }
    /* RFC 7748, section 5: what every implementation does with it, and then shows. */
    key->bytes[0] &= 248;
    key->bytes[WIREGUARD_KEY_BYTES - 1] = (uint8_t)((key->bytes[WIREGUARD_KEY_BYTES - 1] & 127) | 64);
    return 0;
}

static int set_listen_port(struct wireguard_build *build, const char *value, struct error *err)
{
    uint32_t port = 0;
    if (!parse_number(value, false, UINT16_MAX, &port)) {
        return wireguard_refuse(err, "must be a number from 0 to 65535");
    }
    build->config->listen_port = (uint16_t)port;
    return 0;
}

static int set_fwmark(struct wireguard_build *build, const char *value, struct error *err)
{
    if (!is_off(value) && !parse_number(value, true, UINT32_MAX, &build->config->fwmark)) {
        return wireguard_refuse(err, "must be a number of 32 bits, also as 0x…, or \"off\"");
    }
    return 0;
}

static int set_mtu(struct wireguard_build *build, const char *value, struct error *err)
{
    uint32_t mtu = 0;
    if (!parse_number(value, false, WIREGUARD_MTU_MAX, &mtu) || mtu < WIREGUARD_MTU_MIN) {
        return wireguard_refuse(err, "must be a number from %d to %d", WIREGUARD_MTU_MIN, WIREGUARD_MTU_MAX);
    }
    build->config->mtu = (uint16_t)mtu;
    return 0;
}

/* "<address>[/<prefix>]". */
static bool parse_address(const char *value, struct wireguard_address *ret)
{
    char text[IP_TEXT_MAX];
    size_t len = strcspn(value, "/");
    if (len >= sizeof text) {
        return false;
    }
    memcpy(text, value, len);
    text[len] = '\0';
    if (!ip_addr_parse(text, &ret->address)) {
        return false;
    }
    uint32_t max = ret->address.version == IP_V4 ? 32 : 128;
    uint32_t prefix = max;
    if (value[len] == '/' && !parse_number(value + len + 1, false, max, &prefix)) {
        return false;
    }
    ret->prefix = (uint8_t)prefix;
    return true;
}

/* "AllowedIPs ::/0" is added to the list, once. */
static void leave_out(struct wireguard *config, const char *key, const struct ip_addr *address, unsigned prefix)
{
    char text[IP_TEXT_MAX];
    char item[IP_TEXT_MAX + 24];
    size_t len = strlen(config->left_out);
    (void)snprintf(item, sizeof item, "%s %s/%u", key, ip_addr_format(address, text), prefix);
    config->warnings |= 1U << WIREGUARD_LEFT_OUT_IPV6;
    const char *found = strstr(config->left_out, item);
    if (found != NULL && strchr(",", found[strlen(item)]) != NULL) {
        return; /* the terminator counts as found */
    }
    enum { ROOM_FOR_COUNT = 32 }; /* "…, and 4711 more", wireguard_json() */
    if (len + 2 + strlen(item) + ROOM_FOR_COUNT >= sizeof config->left_out) {
        config->left_out_more++;
        return;
    }
    (void)snprintf(config->left_out + len, sizeof config->left_out - len, "%s%s", len > 0 ? ", " : "", item);
}

static bool is_left_out(struct wireguard_build *build, const char *key, const struct wireguard_address *address)
{
    if (address->address.version == IP_V4 || build->ipv6) {
        return false;
    }
    leave_out(build->config, key, &address->address, address->prefix);
    return true;
}

static int add_address(struct wireguard_build *build, const char *value, struct error *err)
{
    struct wireguard *config = build->config;
    struct wireguard_address address;
    build->tried_address = true;
    if (!parse_address(value, &address)) {
        return wireguard_refuse(err, "must be an address with or without a prefix, like 10.0.0.2/32");
    }
    if (is_left_out(build, "Address", &address)) {
        build->left_out_address = true;
        return 0;
    }
    for (size_t i = 0; i < config->address_count; i++) {
        if (ip_addr_equal(&config->addresses[i].address, &address.address)) {
            return config->addresses[i].prefix == address.prefix ? 0 : wireguard_refuse(err, "an address must not be there twice, with two prefixes");
        }
    }
    if (config->address_count == WIREGUARD_ADDRESSES_MAX) {
        return wireguard_refuse(err, "there may be %d addresses at most", WIREGUARD_ADDRESSES_MAX);
    }
    config->addresses[config->address_count++] = address;
    return 0;
}

static struct wireguard_peer_note *note_of_peer(struct wireguard_build *build)
{
    return &build->notes[build->config->peer_count - 1];
}

static int set_public_key(struct wireguard_build *build, const char *value, struct error *err)
{
    note_of_peer(build)->tried_public_key = true;
    if (parse_key(value, &build->peer->public_key, err) != 0) {
        return -1;
    }
    return wireguard_key_is_zero(&build->peer->public_key) ? wireguard_refuse(err, "must not be all zeroes") : 0;
}

static int set_preshared_key(struct wireguard_build *build, const char *value, struct error *err)
{
    if (parse_key(value, &build->peer->preshared_key, err) != 0) {
        return -1;
    }
    build->peer->has_preshared_key = !wireguard_key_is_zero(&build->peer->preshared_key); /* zeroes are none, wg(8) */
    return 0;
}

/* Without the host bits; *ret_cut tells whether there were any. */
static struct ip_net network_of(const struct wireguard_address *address, bool *ret_cut)
{
    struct ip_net net = {.address = address->address, .prefix = address->prefix};
    size_t bytes = address->address.version == IP_V4 ? 4 : 16;
    for (size_t i = 0; i < bytes; i++) {
        unsigned kept = address->prefix > i * 8 ? address->prefix - (unsigned)i * 8 : 0;
        net.address.bytes[i] &= (uint8_t)(kept >= 8 ? 0xff : 0xff00U >> kept);
    }
    *ret_cut = !ip_addr_equal(&net.address, &address->address);
    return net;
}

static int add_allowed(struct wireguard_build *build, const char *value, struct error *err)
{
    struct wireguard_peer *peer = build->peer;
    struct wireguard_address address;
    bool cut = false;
    if (!parse_address(value, &address)) {
        return wireguard_refuse(err, "must be networks, like 10.0.0.0/8");
    }
    struct ip_net net = network_of(&address, &cut);
    if (is_left_out(build, "AllowedIPs", &(struct wireguard_address){net.address, net.prefix})) {
        note_of_peer(build)->left_out_allowed = true;
        return 0;
    }
    build->config->warnings |= cut ? 1U << WIREGUARD_HOST_BITS : 0;
    for (size_t i = 0; i < peer->allowed_count; i++) {
        if (wireguard_compare_nets(&peer->allowed[i], &net) == 0) {
            return 0;
        }
    }
    if (peer->allowed_count == WIREGUARD_ALLOWED_MAX) {
        return wireguard_refuse(err, "there may be %d networks of one peer at most", WIREGUARD_ALLOWED_MAX);
    }
    if (peer->allowed == NULL) {
        peer->allowed = calloc(WIREGUARD_ALLOWED_MAX, sizeof *peer->allowed);
    }
    if (peer->allowed == NULL) {
        return error_oom(err);
    }
    peer->allowed[peer->allowed_count++] = net;
    return 0;
}

/* Labels of letters, digits and hyphens; all digits and dots would be an address, and was none. */
static bool is_name(const char *host)
{
    size_t label = 0;
    if (strspn(host, "0123456789.") == strlen(host)) {
        return false;
    }
    for (const char *p = host; *p != '\0'; p++) {
        if (*p == '.' ? label == 0 : !isalnum((unsigned char)*p) && *p != '-' && *p != '_') {
            return false;
        }
        label = *p == '.' ? 0 : label + 1;
        if (label > 63) {
            return false;
        }
    }
    return true;
}

static bool parse_host(const char *value, size_t len, char host[WIREGUARD_HOST_MAX])
{
    struct ip_addr address;
    bool bracketed = len > 2 && value[0] == '[' && value[len - 1] == ']';
    const char *begin = bracketed ? value + 1 : value;
    len = bracketed ? len - 2 : len;
    if (len == 0 || len >= WIREGUARD_HOST_MAX) {
        return false;
    }
    memcpy(host, begin, len);
    host[len] = '\0';
    if (ip_addr_parse(host, &address)) {
        return bracketed == (address.version == IP_V6);
    }
    return !bracketed && is_name(host);
}

static int set_endpoint(struct wireguard_build *build, const char *value, struct error *err)
{
    const char *colon = strrchr(value, ':');
    uint32_t port = 0;
    if (colon == NULL || !parse_number(colon + 1, false, UINT16_MAX, &port) || port == 0 || !parse_host(value, (size_t)(colon - value), build->peer->host)) {
        build->peer->host[0] = '\0';
        return wireguard_refuse(err, "must be a name or an address, and a port, like 192.0.2.1:51820 or [2001:db8::1]:51820");
    }
    build->peer->port = (uint16_t)port;
    return 0;
}

static int set_keepalive(struct wireguard_build *build, const char *value, struct error *err)
{
    uint32_t seconds = 0;
    if (!is_off(value) && !parse_number(value, false, UINT16_MAX, &seconds)) {
        return wireguard_refuse(err, "must be a number of seconds from 0 to 65535, or \"off\"");
    }
    build->peer->keepalive = (uint16_t)seconds;
    return 0;
}

const struct wireguard_key_row wireguard_key_rows[WIREGUARD_KEY_COUNT] = {
    {"PrivateKey", "private_key", false, false, false, set_private_key},
    {"Address", "addresses", false, true, false, add_address},
    {"ListenPort", "listen_port", false, false, false, set_listen_port},
    {"FwMark", "fwmark", false, false, false, set_fwmark},
    {"MTU", "mtu", false, false, true, set_mtu},
    {"PublicKey", "public_key", true, false, false, set_public_key},
    {"PresharedKey", "preshared_key", true, false, false, set_preshared_key},
    {"AllowedIPs", "allowed_ips", true, true, false, add_allowed},
    {"Endpoint", "endpoint", true, false, false, set_endpoint},
    {"PersistentKeepalive", "persistent_keepalive", true, false, false, set_keepalive},
};

int wireguard_note_fault(struct wireguard_build *build, const char *pointer, unsigned line, struct error *err)
{
    struct wireguard_faults *faults = build->faults;
    if (err->code != ERR_INVALID_WIREGUARD_CONFIG) {
        return -1;
    }
    if (faults->count == WIREGUARD_FAULTS_MAX) {
        faults->more = true;
        return 0;
    }
    struct wireguard_fault *fault = &faults->items[faults->count++];
    char prefix[24] = "";
    if (line > 0) {
        (void)snprintf(prefix, sizeof prefix, "line %u: ", line);
    }
    (void)snprintf(fault->pointer, sizeof fault->pointer, "%s", build->from_text ? "/config" : pointer);
    (void)snprintf(fault->message, sizeof fault->message, "%s%.*s", prefix, (int)(sizeof fault->message - sizeof prefix), err->message);
    return 0;
}

int wireguard_add_peer(struct wireguard_build *build, unsigned place, struct error *err)
{
    struct wireguard *config = build->config;
    if (config->peer_count == WIREGUARD_PEERS_MAX) {
        return wireguard_refuse(err, "there may be %d peers at most", WIREGUARD_PEERS_MAX);
    }
    if (config->peers == NULL) {
        config->peers = calloc(WIREGUARD_PEERS_MAX, sizeof *config->peers);
    }
    if (config->peers == NULL) {
        return error_oom(err);
    }
    build->notes[config->peer_count] = (struct wireguard_peer_note){.place = place};
    build->peer = &config->peers[config->peer_count++];
    return 0;
}

static int compare_peers(const void *a, const void *b)
{
    return memcmp(((const struct wireguard_peer *)a)->public_key.bytes, ((const struct wireguard_peer *)b)->public_key.bytes, WIREGUARD_KEY_BYTES);
}

int wireguard_compare_nets(const void *a, const void *b)
{
    const struct ip_net *left = a;
    const struct ip_net *right = b;
    int versions = (int)left->address.version - (int)right->address.version;
    int addresses = memcmp(left->address.bytes, right->address.bytes, sizeof left->address.bytes);
    return versions != 0 ? versions : addresses != 0 ? addresses : (int)left->prefix - (int)right->prefix;
}

/* To wg(8) a network that stands at two peers belongs to the last one; here that would be a difference to the host for ever. */
static int check_networks(const struct wireguard *config, struct error *err)
{
    char text[IP_NET_TEXT_MAX];
    size_t count = 0;
    int result = 0;
    AUTO_FREE struct ip_net *all = calloc((size_t)WIREGUARD_PEERS_MAX * WIREGUARD_ALLOWED_MAX, sizeof *all);
    if (all == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < config->peer_count; i++) {
        const struct wireguard_peer *peer = &config->peers[i];
        if (peer->allowed_count > 0) {
            memcpy(all + count, peer->allowed, peer->allowed_count * sizeof *all);
        }
        count += peer->allowed_count;
    }
    qsort(all, count, sizeof *all, wireguard_compare_nets);
    for (size_t i = 1; i < count && result == 0; i++) {
        if (wireguard_compare_nets(&all[i - 1], &all[i]) == 0) {
            result = wireguard_refuse(err, "AllowedIPs: %s is there twice: it can belong to one peer only", ip_net_format(&all[i], text));
        }
    }
    return result;
}

static int note_words(struct wireguard_build *build, const char *pointer, unsigned line, const char *words, struct error *err)
{
    (void)wireguard_refuse(err, "%s", words);
    return wireguard_note_fault(build, pointer, line, err);
}

static int check_interface(struct wireguard_build *build, struct error *err)
{
    bool has_address = build->config->address_count > 0;
    if (!build->has_no_keys && !build->tried_private_key && note_words(build, "/interface/private_key", 0, "a private key is required", err) != 0) {
        return -1;
    }
    if (!has_address && build->left_out_address) {
        return note_words(build, "/interface/addresses", 0, "no IPv4 address of the interface is left: guests have no IPv6 (network.ipv6_subnet)", err);
    }
    return has_address || build->tried_address ? 0 : note_words(build, "/interface/addresses", 0, "an address of the interface is required", err);
}

static bool is_known_before(const struct wireguard *config, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (wireguard_key_equal(&config->peers[i].public_key, &config->peers[index].public_key)) {
            return true;
        }
    }
    return false;
}

static int check_peer(struct wireguard_build *build, size_t index, struct error *err)
{
    const struct wireguard_peer *peer = &build->config->peers[index];
    const struct wireguard_peer_note *note = &build->notes[index];
    bool has_key = !wireguard_key_is_zero(&peer->public_key);
    unsigned line = build->from_text ? note->place : 0;
    char pointer[WIREGUARD_POINTER_MAX];
    (void)snprintf(pointer, sizeof pointer, "/peers/%u/public_key", note->place);
    if (!has_key && !note->tried_public_key && note_words(build, pointer, line, "every peer needs a public key", err) != 0) {
        return -1;
    }
    if (has_key && is_known_before(build->config, index) && note_words(build, pointer, line, "two peers have the same public key", err) != 0) {
        return -1;
    }
    (void)snprintf(pointer, sizeof pointer, "/peers/%u/allowed_ips", note->place);
    return note->left_out_allowed && peer->allowed_count == 0
               ? note_words(build, pointer, line, "AllowedIPs: nothing is left of this peer's: guests have no IPv6 (network.ipv6_subnet)", err)
               : 0;
}

static void sort_all(struct wireguard *config)
{
    if (config->peer_count > 0) {
        qsort(config->peers, config->peer_count, sizeof *config->peers, compare_peers);
    }
    for (size_t i = 0; i < config->peer_count; i++) {
        struct wireguard_peer *peer = &config->peers[i];
        if (peer->allowed_count > 0) {
            qsort(peer->allowed, peer->allowed_count, sizeof *peer->allowed, wireguard_compare_nets);
        }
    }
}

int wireguard_finish(struct wireguard_build *build, struct error *err)
{
    struct wireguard_faults *faults = build->faults;
    if (check_interface(build, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < build->config->peer_count; i++) {
        if (check_peer(build, i, err) != 0) {
            return -1;
        }
    }
    sort_all(build->config);
    if (check_networks(build->config, err) != 0 && wireguard_note_fault(build, "/peers", 0, err) != 0) {
        return -1;
    }
    return faults->count == 0 ? 0 : wireguard_refuse(err, "%s", faults->items[0].message);
}
