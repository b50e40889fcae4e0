/*
 * Addresses and networks as text, one a line, a line with "-" before it taken away from the others: what is accepted is written and read again, and the
 * ranges that come out hold just what they should.
 */
#include "core/cleanup.h"
#include "core/ip_range.h"
#include "core/network_settings.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NETS_MAX = 24 };

struct nets {
    struct ip_net items[NETS_MAX];
    size_t count;
};

static void check_net(const struct ip_net *net)
{
    struct ip_net again;
    struct ip_addr first;
    struct ip_addr last;
    char text[IP_NET_TEXT_MAX];
    if (ip_net_parse(ip_net_format(net, text), ERR_BAD_REQUEST, &again, NULL) != 0 || again.prefix != net->prefix ||
        !ip_addr_equal(&again.address, &net->address)) {
        abort();
    }
    ip_net_range(net, &first, &last);
    if (!ip_net_contains(net, &first) || !ip_net_contains(net, &last) || !ip_net_overlap(net, &again)) {
        abort();
    }
}

/* The daemon's own networks, by their narrower rules. */
static void check_subnets(const char *text)
{
    const struct ipv4_net small = {0x0afa0000, 24};
    struct ipv4_net subnet;
    struct ip_net subnet6;
    struct ipv4_net again;
    struct mac mac;
    char buf[CIDR_TEXT_MAX];
    if (network_subnet_parse(text, &subnet, NULL) == 0 &&
        (ipv4_net_parse(ipv4_net_format(subnet, buf), &again, NULL) != 0 || again.address != subnet.address || again.prefix != subnet.prefix)) {
        abort();
    }
    if (network_subnet6_parse(text, small, &subnet6, NULL) == 0) {
        check_net(&subnet6);
        (void)network_subnet6_is_local(&subnet6);
    }
    (void)mac_parse(text, &mac);
    (void)interface_name_check(text, NULL);
}

static bool in_any(const struct nets *nets, const struct ip_addr *address)
{
    for (size_t i = 0; i < nets->count; i++) {
        if (ip_net_contains(&nets->items[i], address)) {
            return true;
        }
    }
    return false;
}

static bool in_ranges(const struct ip_range *ranges, size_t count, const struct ip_addr *address)
{
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].first.version == address->version && memcmp(ranges[i].first.bytes, address->bytes, 16) <= 0 &&
            memcmp(address->bytes, ranges[i].last.bytes, 16) <= 0) {
            return true;
        }
    }
    return false;
}

static void check_ends(const struct nets *of, const struct nets *in, const struct nets *out, const struct ip_range *ranges, size_t count)
{
    for (size_t i = 0; i < of->count; i++) {
        struct ip_addr ends[3];
        ip_net_range(&of->items[i], &ends[0], &ends[1]);
        ends[2] = ends[1];
        (void)ip_addr_next(&ends[2]);
        for (size_t k = 0; k < ARRAY_LEN(ends); k++) {
            if (in_ranges(ranges, count, &ends[k]) != (in_any(in, &ends[k]) && !in_any(out, &ends[k]))) {
                abort();
            }
        }
    }
}

static void check_ranges(const struct nets *in, const struct nets *out)
{
    struct ip_range *ranges = NULL;
    size_t count = 0;
    if (ip_ranges_make(in->items, in->count, out->items, out->count, &ranges, &count, NULL) != 0) {
        abort();
    }
    for (size_t i = 1; i < count; i++) {
        struct ip_addr behind = ranges[i - 1].last;
        bool more = ip_addr_next(&behind);
        if (ranges[i - 1].first.version == ranges[i].first.version && (!more || memcmp(behind.bytes, ranges[i].first.bytes, 16) >= 0)) {
            abort(); /* not ascending, or adjacent */
        }
    }
    check_ends(in, in, out, ranges, count);
    check_ends(out, in, out, ranges, count);
    free(ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nets in = {.count = 0};
    struct nets out = {.count = 0};
    AUTO_FREE char *text = malloc(size + 1);
    char *rest = text;
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        struct nets *nets = line[0] == '-' ? &out : &in;
        struct ip_net net;
        line += line[0] == '-';
        check_subnets(line);
        if (nets->count < NETS_MAX && ip_net_parse(line, ERR_BAD_REQUEST, &net, NULL) == 0) {
            check_net(&net);
            nets->items[nets->count++] = net;
        }
    }
    check_ranges(&in, &out);
    return 0;
}
