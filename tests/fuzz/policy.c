/*
 * A firewall policy and its address sets, {"policy": …, "sets": {name: [address, …]}}: read, written and read again, made into the kernel's rules, and
 * what the rules say of a packet is what the policy says.
 */
#include "core/cleanup.h"
#include "core/json.h"
#include "host/nft/policy_lines.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SETS_MAX = 8 };

static bool any_fault(void *ctx, const char *pointer, const char *message)
{
    *(size_t *)ctx += strlen(pointer) + strlen(message);
    return true;
}

static int compare_sets(const void *a, const void *b)
{
    return strcmp(((const struct address_set *)a)->name, ((const struct address_set *)b)->name);
}

static void read_sets(json_t *object, struct address_sets *ret)
{
    const char *name = NULL;
    json_t *nets = NULL;
    json_object_foreach(object, name, nets)
    {
        struct address_set set;
        struct address_set again;
        if (ret->count == SETS_MAX || address_set_parse(name, nets, &set, NULL) != 0) {
            continue;
        }
        AUTO_JSON *json = address_set_json(&set);
        if (json == NULL || address_set_parse(name, json, &again, NULL) != 0 || again.net_count != set.net_count) {
            abort();
        }
        address_set_free(&again);
        ret->sets[ret->count++] = set;
    }
    qsort(ret->sets, ret->count, sizeof *ret->sets, compare_sets);
}

static bool in_range(const struct ip_range *range, const struct ip_addr *address)
{
    return range->first.version == address->version && memcmp(range->first.bytes, address->bytes, 16) <= 0 &&
           memcmp(address->bytes, range->last.bytes, 16) <= 0;
}

static bool in_set(const struct address_sets *sets, const char *name, const struct ip_addr *address)
{
    const struct address_set *set = address_sets_find(sets, name);
    for (size_t i = 0; set != NULL && i < set->net_count; i++) {
        if (ip_net_contains(&set->nets[i], address)) {
            return true;
        }
    }
    return false;
}

/* As the kernel takes a line. */
static bool matches(const struct nft_policy_line *line, const struct address_sets *sets, const struct policy_packet *packet)
{
    bool address = line->range_count == 0;
    bool port = line->port_count == 0;
    for (size_t i = 0; i < line->range_count; i++) {
        address = address || in_range(&line->ranges[i], &packet->remote);
    }
    for (size_t i = 0; i < line->port_count; i++) {
        port = port || (line->ports[i].first <= packet->port && packet->port <= line->ports[i].last);
    }
    return (line->version == IP_NONE || line->version == packet->remote.version) && address && port &&
           (line->set == NULL || in_set(sets, line->set, &packet->remote)) && (line->protocol == 0 || line->protocol == packet->protocol);
}

static void check_packet(const struct policy_direction *direction, const struct nft_policy_lines *lines, const struct address_sets *sets,
                         const struct policy_packet *packet)
{
    int rule = 0;
    bool allowed = policy_decide(direction, sets, packet, &rule);
    for (size_t i = 0; i < lines->count; i++) {
        if (matches(&lines->lines[i], sets, packet)) {
            if (lines->lines[i].allow != allowed || lines->lines[i].rule != rule) {
                abort();
            }
            return;
        }
    }
    abort(); /* the last line is for every packet */
}

/* At and around the ends of what the lines name. */
static void check_packets(const struct policy_direction *direction, const struct nft_policy_lines *lines, const struct address_sets *sets)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_GRE};
    struct ip_addr addresses[] = {{.version = IP_V4, .bytes = {192, 0, 2, 1}}, {.version = IP_V6, .bytes = {0x20, 1}}, {.version = IP_V4}, {.version = IP_V4}};
    uint16_t ports[] = {1, 443, 65535};
    for (size_t i = 0; i < lines->count && i < 16; i++) {
        const struct nft_policy_line *line = &lines->lines[i];
        if (line->range_count > 0) {
            addresses[2] = line->ranges[0].first;
            addresses[3] = line->ranges[line->range_count - 1].last;
            (void)ip_addr_next(&addresses[3]);
        }
        if (line->port_count > 0) {
            ports[0] = line->ports[0].first;
            ports[1] = (uint16_t)(line->ports[line->port_count - 1].last + 1);
        }
        for (size_t k = 0; k < ARRAY_LEN(addresses) * ARRAY_LEN(ports) * ARRAY_LEN(protocols); k++) {
            uint8_t protocol = protocols[k % ARRAY_LEN(protocols)];
            bool has_port = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
            const struct policy_packet packet = {.remote = addresses[k / ARRAY_LEN(protocols) % ARRAY_LEN(addresses)],
                                                 .protocol = protocol,
                                                 .port = has_port ? ports[k / ARRAY_LEN(protocols) / ARRAY_LEN(addresses)] : 0};
            check_packet(direction, lines, sets, &packet);
        }
    }
}

static void check_policy(const struct policy *policy, const struct address_sets *sets)
{
    struct policy again;
    AUTO_JSON *json = policy_json(policy);
    if (json == NULL || policy_parse(json, &again, NULL) != 0) {
        abort();
    }
    AUTO_JSON *json_again = policy_json(&again);
    if (!json_equal(json, json_again)) {
        abort();
    }
    policy_free(&again);
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        AUTO_NFT_POLICY_LINES lines = {.lines = NULL};
        if (nft_policy_lines_make(&policy->directions[d], (enum policy_direction_name)d, sets, &lines, NULL) != 0) {
            abort();
        }
        check_packets(&policy->directions[d], &lines, sets);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct address_set set[SETS_MAX];
    struct address_sets sets = {.sets = set};
    struct policy policy;
    size_t words = 0;
    AUTO_JSON *input = NULL;
    if (json_parse((const char *)data, size, &input, NULL) != 0) {
        return 0;
    }
    read_sets(json_object_get(input, "sets"), &sets);
    if (policy_parse_all(json_object_get(input, "policy"), &policy, any_fault, &words, NULL) == 0) {
        check_policy(&policy, &sets);
        policy_free(&policy);
    }
    for (size_t i = 0; i < sets.count; i++) {
        address_set_free(&sets.sets[i]);
    }
    return 0;
}
