/* Sets of addresses and ports by intervals: the named ones that policies share, and those of a single rule. */
#include "host/nft/policy_put.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

static const uint8_t versions[] = {IP_V4, IP_V6};

enum { ELEMENTS_PER_MESSAGE = 512, KEY_MAX = 16 };

_Static_assert(ELEMENTS_PER_MESSAGE *(5 * NLA_HDRLEN + KEY_MAX) + 1024 <= NFT_MESSAGE_MAX, "a message of elements fits its room");

/* Which set: one by name, or one of this batch by its number. */
struct target {
    const char *name;
    uint32_t id; /* 0: by name alone */
    size_t key_bytes;
    uint32_t key_type;
};

/* Gives the two ends of interval number i; false for the second when it would lie behind the last key there is. */
typedef bool (*end_maker)(const void *items, size_t i, bool second, uint8_t key[KEY_MAX]);

static bool range_end(const void *items, size_t i, bool second, uint8_t key[KEY_MAX])
{
    const struct ip_range *range = (const struct ip_range *)items + i;
    struct ip_addr address = second ? range->last : range->first;
    bool there = !second || ip_addr_next(&address);
    memcpy(key, address.bytes, sizeof address.bytes);
    return there;
}

static bool port_end(const void *items, size_t i, bool second, uint8_t key[KEY_MAX])
{
    const struct port_range *range = (const struct port_range *)items + i;
    const uint16_t port = htons((uint16_t)(second ? range->last + 1 : range->first));
    memcpy(key, &port, sizeof port);
    return !second || range->last < UINT16_MAX;
}

static void put_set(struct nft_batch *b, const char *mark, const struct target *target, uint32_t flags)
{
    struct nlmsghdr *h = nft_batch_add(b, NFT_MSG_NEWSET, NFPROTO_INET, NLM_F_CREATE, "set %s", target->name);
    if (h != NULL) {
        mnl_attr_put_strz(h, NFTA_SET_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_SET_NAME, target->name);
        mnl_attr_put_u32(h, NFTA_SET_ID, htonl(target->id));
        mnl_attr_put_u32(h, NFTA_SET_FLAGS, htonl(flags | NFT_SET_INTERVAL));
        mnl_attr_put_u32(h, NFTA_SET_KEY_TYPE, htonl(target->key_type));
        mnl_attr_put_u32(h, NFTA_SET_KEY_LEN, htonl((uint32_t)target->key_bytes));
        nft_batch_close(b);
    }
}

static struct nlmsghdr *begin_elements(struct nft_batch *b, uint16_t type, const char *mark, const struct target *target)
{
    const uint16_t flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
    struct nlmsghdr *h = nft_batch_add(b, type, NFPROTO_INET, flags, "elements of set %s", target->name);
    if (h != NULL) {
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, target->name);
        if (target->id != 0) {
            mnl_attr_put_u32(h, NFTA_SET_ELEM_LIST_SET_ID, htonl(target->id));
        }
    }
    return h;
}

static void put_end(struct nlmsghdr *h, const uint8_t *key, size_t len, bool second)
{
    struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    if (second) {
        mnl_attr_put_u32(h, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
    }
    struct nlattr *nest = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
    mnl_attr_put(h, NFTA_DATA_VALUE, len, key);
    mnl_attr_nest_end(h, nest);
    mnl_attr_nest_end(h, element);
}

static void put_intervals(struct nft_batch *b, const char *mark, const struct target *target, end_maker make, const void *items, size_t count)
{
    for (size_t done = 0; done < count;) {
        struct nlmsghdr *h = begin_elements(b, NFT_MSG_NEWSETELEM, mark, target);
        if (h == NULL) {
            return;
        }
        struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
        for (size_t i = 0; i < ELEMENTS_PER_MESSAGE / 2 && done < count; i++, done++) {
            uint8_t key[KEY_MAX] = {0};
            (void)make(items, done, false, key);
            put_end(h, key, target->key_bytes, false);
            if (make(items, done, true, key)) {
                put_end(h, key, target->key_bytes, true);
            }
        }
        mnl_attr_nest_end(h, list);
        nft_batch_close(b);
    }
}

static struct target address_target(uint8_t version, const char *name, uint32_t id)
{
    bool v4 = version == IP_V4;
    return (struct target){.name = name, .id = id, .key_bytes = v4 ? 4 : 16, .key_type = v4 ? NFT_TYPE_IPV4 : NFT_TYPE_IPV6};
}

void nft_put_range_set(struct nft_batch *b, const char *mark, const struct ip_range *ranges, size_t count, uint32_t id)
{
    struct target target = address_target(ranges[0].first.version, NFT_ANONYMOUS_SET, id);
    put_set(b, mark, &target, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT);
    put_intervals(b, mark, &target, range_end, ranges, count);
}

void nft_put_port_set(struct nft_batch *b, const char *mark, const struct port_range *ports, size_t count, uint32_t id)
{
    struct target target = {.name = NFT_ANONYMOUS_SET, .id = id, .key_bytes = 2, .key_type = NFT_TYPE_PORT};
    put_set(b, mark, &target, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT);
    put_intervals(b, mark, &target, port_end, ports, count);
}

char *nft_address_set_name(uint8_t version, const char *name, char *buf, size_t size)
{
    (void)snprintf(buf, size, "addr%d_%s", version == IP_V4 ? 4 : 6, name);
    return buf;
}

/* Emptied and filled in one transaction: no packet ever sees it empty. */
void nft_put_address_set(struct nft_batch *b, const char *mark, const struct address_set *set)
{
    struct ip_range *ranges = NULL;
    size_t count = 0;
    size_t v4 = 0;
    if (ip_ranges_make(set->nets, set->net_count, NULL, 0, &ranges, &count, NULL) != 0) {
        b->failed = true;
        return;
    }
    while (v4 < count && ranges[v4].first.version == IP_V4) {
        v4++;
    }
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        char name[ADDRESS_SET_NAME_MAX + 8];
        const bool first = versions[v] == IP_V4;
        struct target target = address_target(versions[v], nft_address_set_name(versions[v], set->name, name, sizeof name), 0);
        put_set(b, mark, &target, 0);
        if (begin_elements(b, NFT_MSG_DELSETELEM, mark, &target) != NULL) {
            nft_batch_close(b);
        }
        put_intervals(b, mark, &target, range_end, first ? ranges : ranges + v4, first ? v4 : count - v4);
    }
    free(ranges);
}

/* Deleting what is not there is refused, so it is made first. */
void nft_put_address_set_removal(struct nft_batch *b, const char *mark, const char *name)
{
    for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
        char full[ADDRESS_SET_NAME_MAX + 8];
        struct target target = address_target(versions[v], nft_address_set_name(versions[v], name, full, sizeof full), 0);
        put_set(b, mark, &target, 0);
        struct nlmsghdr *h = nft_batch_add(b, NFT_MSG_DELSET, NFPROTO_INET, 0, "the removal of set %s", full);
        if (h != NULL) {
            mnl_attr_put_strz(h, NFTA_SET_TABLE, mark);
            mnl_attr_put_strz(h, NFTA_SET_NAME, full);
            nft_batch_close(b);
        }
    }
}
