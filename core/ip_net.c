#include "core/ip_net.h"

#include "core/net_addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IPV4_BITS = 32, IPV6_BITS = 128, GROUPS = 8 };

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static unsigned bits_of(const struct ip_addr *address)
{
    return address->version == IP_V4 ? IPV4_BITS : IPV6_BITS;
}

static bool is_mapped(const struct ip_addr *address)
{
    return address->version == IP_V6 && memcmp(address->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

struct ip_addr ip_addr_from_ipv4(uint32_t address)
{
    struct ip_addr result = {.version = IP_V4};
    for (int i = 0; i < 4; i++) {
        result.bytes[i] = (uint8_t)(address >> (24 - 8 * i));
    }
    return result;
}

/* Also IPv4-mapped ones, which the callers refuse. inet_pton() knows neither zones nor leading zeros. */
static bool parse_any(const char *text, struct ip_addr *ret)
{
    uint32_t ipv4 = 0;
    struct in6_addr ipv6;
    if (ipv4_parse(text, &ipv4)) {
        *ret = ip_addr_from_ipv4(ipv4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &ipv6) != 1) {
        return false;
    }
    *ret = (struct ip_addr){.version = IP_V6};
    memcpy(ret->bytes, &ipv6, sizeof ret->bytes);
    return true;
}

bool ip_addr_parse(const char *text, struct ip_addr *ret)
{
    struct ip_addr address;
    if (!parse_any(text, &address) || is_mapped(&address)) {
        return false;
    }
    *ret = address;
    return true;
}

bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->version == b->version && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static unsigned group_of(const struct ip_addr *address, int index)
{
    return (unsigned)address->bytes[(size_t)index * 2] << 8 | address->bytes[(size_t)index * 2 + 1];
}

/* The longest run of at least two groups of zero, the first of equal ones (RFC 5952, 4.2); its length, 0 for none. */
static int longest_zeros(const struct ip_addr *address, int *ret_first)
{
    int best = 1;
    for (int i = 0; i < GROUPS; i++) {
        int len = 0;
        while (i + len < GROUPS && group_of(address, i + len) == 0) {
            len++;
        }
        if (len > best) {
            best = len;
            *ret_first = i;
        }
    }
    return best > 1 ? best : 0;
}

char *ip_addr_format(const struct ip_addr *address, char *buf)
{
    const uint8_t *b = address->bytes;
    int first = GROUPS;
    int len = 0;
    if (address->version == IP_V4) {
        (void)snprintf(buf, IP_TEXT_MAX, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
        return buf;
    }
    int zeros = longest_zeros(address, &first);
    buf[0] = '\0';
    for (int i = 0; i < GROUPS; i++) {
        if (i == first) {
            len += snprintf(buf + len, (size_t)(IP_TEXT_MAX - len), "::");
            i += zeros - 1;
        } else {
            const char *colon = i > 0 && buf[len - 1] != ':' ? ":" : "";
            len += snprintf(buf + len, (size_t)(IP_TEXT_MAX - len), "%s%x", colon, group_of(address, i));
        }
    }
    return buf;
}

/* The bits of byte number `index` that belong to the network. */
static uint8_t mask_byte(unsigned prefix, unsigned index)
{
    unsigned bits = prefix <= 8 * index ? 0 : prefix - 8 * index;
    return bits >= 8 ? 0xff : (uint8_t)(0xff00u >> bits);
}

static void masked(const struct ip_addr *address, unsigned prefix, struct ip_addr *ret)
{
    *ret = (struct ip_addr){.version = address->version};
    for (unsigned i = 0; i < bits_of(address) / 8; i++) {
        ret->bytes[i] = address->bytes[i] & mask_byte(prefix, i);
    }
}

static bool parse_prefix(const char *text, unsigned max, unsigned *ret)
{
    size_t len = strlen(text);
    if (len < 1 || len > 3 || strspn(text, "0123456789") != len || (len > 1 && text[0] == '0')) {
        return false;
    }
    unsigned long value = strtoul(text, NULL, 10);
    if (value > max) {
        return false;
    }
    *ret = (unsigned)value;
    return true;
}

static bool split(const char *text, struct ip_addr *ret_address, unsigned *ret_prefix)
{
    char address[IP_TEXT_MAX];
    size_t len = strcspn(text, "/");
    if (len >= sizeof address) {
        return false;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    if (!parse_any(address, ret_address)) {
        return false;
    }
    *ret_prefix = bits_of(ret_address);
    return text[len] == '\0' || parse_prefix(text + len + 1, *ret_prefix, ret_prefix);
}

int ip_net_parse(const char *text, enum error_code code, struct ip_net *ret, struct error *err)
{
    struct ip_net net;
    struct ip_addr address;
    unsigned prefix = 0;
    char meant[IP_NET_TEXT_MAX];
    if (!split(text, &address, &prefix)) {
        return error_set(err, code, "'%.64s' is not an address or a network like 10.0.0.0/8 or 2001:db8::/32", text);
    }
    if (is_mapped(&address)) {
        return error_set(err, code, "'%.64s' is an IPv4 address in the form of IPv6; write it as IPv4", text);
    }
    masked(&address, prefix, &net.address);
    net.prefix = (uint8_t)prefix;
    if (!ip_addr_equal(&net.address, &address)) {
        return error_set(err, code, "'%.64s' has host bits set; the network is %s", text, ip_net_format(&net, meant));
    }
    *ret = net;
    return 0;
}

char *ip_net_format(const struct ip_net *net, char *buf)
{
    char address[IP_TEXT_MAX];
    (void)snprintf(buf, IP_NET_TEXT_MAX, "%s/%u", ip_addr_format(&net->address, address), net->prefix);
    return buf;
}

bool ip_net_contains(const struct ip_net *net, const struct ip_addr *address)
{
    struct ip_addr network;
    masked(address, net->prefix, &network);
    return ip_addr_equal(&network, &net->address);
}

bool ip_net_overlap(const struct ip_net *a, const struct ip_net *b)
{
    return a->prefix <= b->prefix ? ip_net_contains(a, &b->address) : ip_net_contains(b, &a->address);
}

void ip_net_range(const struct ip_net *net, struct ip_addr *ret_first, struct ip_addr *ret_last)
{
    *ret_first = net->address;
    *ret_last = net->address;
    for (unsigned i = 0; i < bits_of(&net->address) / 8; i++) {
        ret_last->bytes[i] |= (uint8_t)~mask_byte(net->prefix, i);
    }
}

bool ip_net_is_public(const struct ip_net *net)
{
    static const struct ip_net others[] = {
        {.address = {.version = IP_V4, .bytes = {0}}, .prefix = 8},         {.address = {.version = IP_V4, .bytes = {10}}, .prefix = 8},
        {.address = {.version = IP_V4, .bytes = {100, 64}}, .prefix = 10},  {.address = {.version = IP_V4, .bytes = {127}}, .prefix = 8},
        {.address = {.version = IP_V4, .bytes = {169, 254}}, .prefix = 16}, {.address = {.version = IP_V4, .bytes = {172, 16}}, .prefix = 12},
        {.address = {.version = IP_V4, .bytes = {192, 168}}, .prefix = 16}, {.address = {.version = IP_V4, .bytes = {224}}, .prefix = 3},
        {.address = {.version = IP_V6, .bytes = {0}}, .prefix = 8},         {.address = {.version = IP_V6, .bytes = {0xfc}}, .prefix = 6},
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (ip_net_overlap(net, &others[i])) {
            return false;
        }
    }
    return true;
}
