#include "core/net_addr.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ipv4_parse(const char *text, uint32_t *ret)
{
    uint32_t address = 0;
    const char *p = text;
    for (int part = 0; part < 4; part++) {
        if (part > 0 && *p++ != '.') {
            return false;
        }
        if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9')) {
            return false;
        }
        unsigned value = 0;
        for (int digits = 0; *p >= '0' && *p <= '9'; digits++, p++) {
            value = value * 10 + (unsigned)(*p - '0');
            if (digits == 3 || value > 255) {
                return false;
            }
        }
        address = address << 8 | value;
    }
    if (*p != '\0') {
        return false;
    }
    *ret = address;
    return true;
}

char *ipv4_format(uint32_t address, char *buf)
{
    (void)snprintf(buf, IPV4_TEXT_MAX, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
    return buf;
}

uint32_t ipv4_mask(unsigned prefix)
{
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

bool ipv4_net_contains(struct ipv4_net net, uint32_t address)
{
    return (address & ipv4_mask(net.prefix)) == net.address;
}

bool ipv4_net_overlap(struct ipv4_net a, struct ipv4_net b)
{
    return a.prefix <= b.prefix ? ipv4_net_contains(a, b.address) : ipv4_net_contains(b, a.address);
}

static bool parse_prefix(const char *text, unsigned *ret)
{
    size_t len = strlen(text);
    if (len < 1 || len > 2 || strspn(text, "0123456789") != len || (len == 2 && text[0] == '0')) {
        return false;
    }
    unsigned long value = strtoul(text, NULL, 10);
    if (value > 32) {
        return false;
    }
    *ret = (unsigned)value;
    return true;
}

int ipv4_net_parse(const char *text, struct ipv4_net *ret, struct error *err)
{
    char address_text[IPV4_TEXT_MAX];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : 0;
    uint32_t address = 0;
    unsigned prefix = 0;
    if (slash == NULL || len >= sizeof address_text) {
        return error_set(err, ERR_INVALID_SUBNET, "'%.64s' is not an IPv4 network like 172.30.0.0/24", text);
    }
    memcpy(address_text, text, len);
    address_text[len] = '\0';
    if (!ipv4_parse(address_text, &address) || !parse_prefix(slash + 1, &prefix)) {
        return error_set(err, ERR_INVALID_SUBNET, "'%.64s' is not an IPv4 network like 172.30.0.0/24", text);
    }
    struct ipv4_net net = {.address = address & ipv4_mask(prefix), .prefix = prefix};
    if (net.address != address) {
        char meant[CIDR_TEXT_MAX];
        return error_set(err, ERR_INVALID_SUBNET, "'%s' has host bits set; the network is %s", text, ipv4_net_format(net, meant));
    }
    *ret = net;
    return 0;
}

char *ipv4_net_format(struct ipv4_net net, char *buf)
{
    char address[IPV4_TEXT_MAX];
    (void)snprintf(buf, CIDR_TEXT_MAX, "%s/%u", ipv4_format(net.address, address), net.prefix & 63);
    return buf;
}

bool mac_parse(const char *text, struct mac *ret)
{
    struct mac mac;
    if (strlen(text) != MAC_TEXT_MAX - 1) {
        return false;
    }
    for (size_t i = 0; i < 6; i++) {
        const char *p = text + 3 * i;
        if (!isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]) || (i < 5 && p[2] != ':')) {
            return false;
        }
        char byte[3] = {p[0], p[1], '\0'};
        mac.bytes[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    *ret = mac;
    return true;
}

char *mac_format(struct mac mac, char *buf)
{
    const uint8_t *b = mac.bytes;
    (void)snprintf(buf, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]);
    return buf;
}

int interface_name_check(const char *name, struct error *err)
{
    size_t len = strlen(name);
    if (len < 1 || len >= INTERFACE_NAME_MAX) {
        return error_set(err, ERR_INVALID_INTERFACE_NAME, "interface name '%.64s' must have 1 to 15 bytes", name);
    }
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "all") == 0 || strcmp(name, "default") == 0) {
        return error_set(err, ERR_INVALID_INTERFACE_NAME, "interface name '%s' is reserved", name);
    }
    for (const char *p = name; *p != '\0'; p++) {
        if (*p == '/' || *p == ':' || isspace((unsigned char)*p)) {
            return error_set(err, ERR_INVALID_INTERFACE_NAME, "interface name '%s' must not contain '/', ':' or white space", name);
        }
    }
    return 0;
}
