#include "host/nft/policy_lines.h"

#include "core/array.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* To be raised with every change of what a line means to the kernel: then what an older version made is made new. */
enum { LINES_VERSION = 1 };

static struct nft_policy_line *add_line(struct nft_policy_lines *list)
{
    struct nft_policy_line *grown = array_grow(list->lines, list->count, sizeof *grown);
    if (grown == NULL) {
        return NULL;
    }
    list->lines = grown;
    struct nft_policy_line *line = &list->lines[list->count++];
    *line = (struct nft_policy_line){.rule = POLICY_BY_DEFAULT};
    return line;
}

static int compare_ports(const void *a, const void *b)
{
    return (int)((const struct port_range *)a)->first - (int)((const struct port_range *)b)->first;
}

/* Sorted, and what overlaps or touches joined. *ret is owned by the caller (free). */
static bool join_ports(const struct policy_rule *rule, struct port_range **ret, size_t *ret_count)
{
    if (rule->port_count == 0) {
        return true;
    }
    struct port_range *ports = calloc(rule->port_count, sizeof *ports);
    size_t count = 0;
    if (ports == NULL) {
        return false;
    }
    memcpy(ports, rule->ports, rule->port_count * sizeof *ports);
    qsort(ports, rule->port_count, sizeof *ports, compare_ports);
    for (size_t i = 0; i < rule->port_count; i++) {
        const struct port_range next = ports[i];
        struct port_range *last = &ports[count > 0 ? count - 1 : 0];
        if (count == 0 || (uint32_t)next.first > (uint32_t)last->last + 1) {
            ports[count++] = next;
        } else if (next.last > last->last) {
            last->last = next.last;
        }
    }
    *ret = ports;
    *ret_count = count;
    return true;
}

static void *copy(const void *items, size_t count, size_t size)
{
    void *copied = count == 0 ? NULL : calloc(count, size);
    if (copied != NULL) {
        memcpy(copied, items, count * size);
    }
    return copied;
}

/* The kind of address that a line looks at. */
struct kind {
    uint8_t version;
    const struct ip_range *ranges;
    size_t range_count;
    const char *set;
};

/* What the lines of one kind of address and one protocol of a rule are made from. */
struct add {
    const struct policy_rule *rule;
    int number;
    const struct kind *kind;
    uint8_t protocol;
    struct port_range *ports; /* owned */
    size_t port_count;
};

static bool is_everything(const struct kind *kind)
{
    static const uint8_t zeroes[16];
    uint8_t ones[16];
    const size_t width = kind->version == IP_V4 ? 4 : sizeof ones;
    memset(ones, 0xff, sizeof ones);
    return kind->range_count == 1 && memcmp(kind->ranges[0].first.bytes, zeroes, width) == 0 && memcmp(kind->ranges[0].last.bytes, ones, width) == 0;
}

/* One line: with all of the kind's ranges and all ports, or, where they are not NULL, with one of each. */
static bool add_line_of(struct nft_policy_lines *list, const struct add *add, const struct ip_range *range, const struct port_range *port)
{
    struct nft_policy_line *line = add_line(list);
    if (line == NULL) {
        return false;
    }
    line->rule = add->number;
    line->allow = add->rule->allow;
    line->version = add->kind->version;
    line->set = add->kind->set;
    line->protocol = add->protocol;
    line->host_port = add->rule->host_port;
    line->range_count = is_everything(add->kind) ? 0 : range != NULL ? 1 : add->kind->range_count;
    line->port_count = port != NULL ? 1 : add->port_count;
    line->ranges = copy(range != NULL ? range : add->kind->ranges, line->range_count, sizeof *line->ranges);
    line->ports = copy(port != NULL ? port : add->ports, line->port_count, sizeof *line->ports);
    return (line->range_count == 0 || line->ranges != NULL) && (line->port_count == 0 || line->ports != NULL);
}

static bool add_lines(struct nft_policy_lines *list, const struct add *add)
{
    const size_t range_count = add->kind->range_count;
    if ((range_count > 1 ? range_count : 1) * (add->port_count > 1 ? add->port_count : 1) > NFT_POLICY_LINES_SPREAD) {
        return add_line_of(list, add, NULL, NULL);
    }
    bool ok = true;
    for (size_t r = 0; r == 0 || r < range_count; r++) {
        for (size_t p = 0; (p == 0 || p < add->port_count) && ok; p++) {
            ok = add_line_of(list, add, range_count > 0 ? &add->kind->ranges[r] : NULL, add->port_count > 0 ? &add->ports[p] : NULL);
        }
    }
    return ok;
}

static bool add_one(struct nft_policy_lines *list, const struct policy_rule *rule, int number, const struct kind *kind, uint8_t protocol)
{
    struct add add = {.rule = rule, .number = number, .kind = kind, .protocol = protocol};
    bool ok = join_ports(rule, &add.ports, &add.port_count) && add_lines(list, &add);
    free(add.ports);
    return ok;
}

static bool add_kind(struct nft_policy_lines *list, const struct policy_rule *rule, int number, const struct kind *kind)
{
    switch (rule->protocol) {
    case POLICY_PROTOCOL_ALL:
        return add_one(list, rule, number, kind, 0);
    case POLICY_PROTOCOL_TCP:
        return add_one(list, rule, number, kind, IPPROTO_TCP);
    case POLICY_PROTOCOL_UDP:
        return add_one(list, rule, number, kind, IPPROTO_UDP);
    case POLICY_PROTOCOL_ICMP:
        return add_one(list, rule, number, kind, IPPROTO_ICMP) && add_one(list, rule, number, kind, IPPROTO_ICMPV6);
    }
    return false;
}

static bool add_networks(struct nft_policy_lines *list, const struct policy_rule *rule, int number)
{
    struct ip_range *ranges = NULL;
    size_t count = 0;
    size_t v4 = 0;
    if (rule->net_count == 0) {
        return true;
    }
    if (ip_ranges_make(rule->nets, rule->net_count, NULL, 0, &ranges, &count, NULL) != 0) {
        return false;
    }
    while (v4 < count && ranges[v4].first.version == IP_V4) {
        v4++;
    }
    const struct kind kinds[] = {{.version = IP_V4, .ranges = ranges, .range_count = v4}, {.version = IP_V6, .ranges = ranges + v4, .range_count = count - v4}};
    bool ok = true;
    for (size_t i = 0; i < 2 && ok; i++) {
        ok = kinds[i].range_count == 0 || add_kind(list, rule, number, &kinds[i]);
    }
    free(ranges);
    return ok;
}

static bool add_rule(struct nft_policy_lines *list, const struct policy_rule *rule, int number, const struct address_sets *sets)
{
    bool ok = true;
    if (rule->net_count == 0 && rule->set_count == 0) {
        return add_kind(list, rule, number, &(struct kind){.version = IP_NONE});
    }
    ok = add_networks(list, rule, number);
    for (size_t i = 0; i < rule->set_count && ok; i++) {
        if (address_sets_find(sets, rule->sets[i]) != NULL) {
            ok = add_kind(list, rule, number, &(struct kind){.version = IP_V4, .set = rule->sets[i]}) &&
                 add_kind(list, rule, number, &(struct kind){.version = IP_V6, .set = rule->sets[i]});
        }
    }
    return ok;
}

static bool add_default(struct nft_policy_lines *list, const struct policy_direction *direction, enum policy_direction_name name)
{
    struct nft_policy_line *line = add_line(list);
    if (line != NULL) {
        line->allow = direction->allow_by_default;
        line->but_published = name == POLICY_INGRESS && !line->allow;
    }
    return line != NULL;
}

/* FNV-1a; it tells lists apart and guards nothing. */
static uint64_t fold(uint64_t digest, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    for (size_t i = 0; i < len; i++) {
        digest = (digest ^ p[i]) * 0x100000001b3;
    }
    return digest;
}

static uint64_t fold_number(uint64_t digest, uint64_t number)
{
    return fold(digest, &number, sizeof number);
}

static uint64_t fold_line(uint64_t digest, const struct nft_policy_line *line)
{
    const uint64_t numbers[] = {
        (uint64_t)(int64_t)line->rule, line->but_published, line->allow, line->version, line->range_count, line->protocol, line->port_count};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        digest = fold_number(digest, numbers[i]);
    }
    for (size_t i = 0; i < line->range_count; i++) {
        digest = fold(digest, line->ranges[i].first.bytes, sizeof line->ranges[i].first.bytes);
        digest = fold(digest, line->ranges[i].last.bytes, sizeof line->ranges[i].last.bytes);
    }
    for (size_t i = 0; i < line->port_count; i++) {
        digest = fold_number(digest, (uint64_t)line->ports[i].first << 16 | line->ports[i].last);
    }
    if (line->host_port != 0) { /* so that chains of before keep their digest */
        digest = fold_number(digest, (uint64_t)1 << 32 | line->host_port);
    }
    return line->set != NULL ? fold(digest, line->set, strlen(line->set) + 1) : digest;
}

int nft_policy_lines_make(const struct policy_direction *direction, enum policy_direction_name name, const struct address_sets *sets,
                          struct nft_policy_lines *ret, struct error *err)
{
    AUTO_NFT_POLICY_LINES list = {.digest = fold_number(0xcbf29ce484222325, LINES_VERSION)};
    bool ok = true;
    for (size_t i = 0; i < direction->rule_count && ok; i++) {
        ok = add_rule(&list, &direction->rules[i], (int)i, sets);
    }
    if (!ok || !add_default(&list, direction, name)) {
        return error_oom(err);
    }
    for (size_t i = 0; i < list.count; i++) {
        list.digest = fold_line(list.digest, &list.lines[i]);
    }
    *ret = list;
    list = (struct nft_policy_lines){.count = 0};
    return 0;
}

void nft_policy_lines_free(struct nft_policy_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++) {
        free(lines->lines[i].ranges);
        free(lines->lines[i].ports);
    }
    free(lines->lines);
    *lines = (struct nft_policy_lines){.count = 0};
}
