/* Set elements: which TAP has which MAC and addresses, and which interfaces guests may leave by. */
#include "host/nft/elements.h"

#include "core/limits.h"
#include "host/nft/policy_put.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

enum { ELEMENTS_PER_MESSAGE = 384, INET_REASONS = NFT_DROP_COUNT_ - NFT_DROP_NO_UPLINK }; /* well below the 64 KiB of one attribute, and NFT_MESSAGE_MAX */

_Static_assert(ELEMENTS_PER_MESSAGE *(5 * NLA_HDRLEN + NFT_KEY_BYTES_MAX) + 1024 <= NFT_MESSAGE_MAX, "a message of elements fits its room");

/* Key number i of the items, into zeroes; false when there is none. */
typedef bool (*key_maker)(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX]);

struct raw_key {
    const uint8_t *bytes;
    size_t len;
};

static void put_name(uint8_t *key, const char *name)
{
    memcpy(key, name, strnlen(name, NFT_IFNAME_BYTES - 1));
}

static bool uplink_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    put_name(key, ((const char *const *)items)[i]);
    return true;
}

static const struct nft_guest *put_tap(const void *items, size_t i, uint8_t *key)
{
    const struct nft_guest *guest = (const struct nft_guest *)items + i;
    put_name(key, guest->tap);
    return guest;
}

static bool tap_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    (void)put_tap(items, i, key);
    return true;
}

static const struct nft_guest *put_mac(const void *items, size_t i, uint8_t *key)
{
    const struct nft_guest *guest = put_tap(items, i, key);
    memcpy(key + NFT_KEY_MAC, guest->mac.bytes, sizeof guest->mac.bytes);
    return guest;
}

static bool guest_mac_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    (void)put_mac(items, i, key);
    return true;
}

static bool guest4_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    const uint32_t address = htonl(put_mac(items, i, key)->address);
    memcpy(key + NFT_KEY_ADDRESS, &address, sizeof address);
    return true;
}

/* fe80::/64 and the MAC as an EUI-64 (RFC 4291, appendix A). */
static void link_local(struct mac mac, uint8_t ret[16])
{
    const uint8_t *m = mac.bytes;
    const uint8_t address[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
    memcpy(ret, address, sizeof address);
}

static bool mac_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    const struct nft_guest *guest = (const struct nft_guest *)items + i;
    memcpy(key, guest->mac.bytes, sizeof guest->mac.bytes);
    return true;
}

/* By the number of shares: of a VM with three interfaces, each has a quarter. */
static const unsigned share_sets[] = {NFT_SET_SHARE1, NFT_SET_SHARE2, NFT_SET_SHARE4, NFT_SET_SHARE8};
_Static_assert(LIMIT_INTERFACES == 1 << (ARRAY_LEN(share_sets) - 1), "there is a share for each interface");

static unsigned share_set_of(const struct nft_guest *guest)
{
    size_t place = 0;
    while (place < ARRAY_LEN(share_sets) - 1 && guest->interfaces > 1U << place) {
        place++;
    }
    return share_sets[place];
}

static bool share_key(unsigned set, const void *items, size_t i, uint8_t *key)
{
    return share_set_of((const struct nft_guest *)items + i) == set && mac_key(items, i, key);
}

static bool share1_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    return share_key(NFT_SET_SHARE1, items, i, key);
}

static bool share2_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    return share_key(NFT_SET_SHARE2, items, i, key);
}

static bool share4_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    return share_key(NFT_SET_SHARE4, items, i, key);
}

static bool share8_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    return share_key(NFT_SET_SHARE8, items, i, key);
}

/* Two of each guest that has an address. */
static bool guest6_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    static const uint8_t none[16];
    const struct nft_guest *guest = put_mac(items, i / 2, key);
    if (memcmp(guest->address6, none, sizeof none) == 0) {
        return false;
    }
    if (i % 2 == 0) {
        memcpy(key + NFT_KEY_ADDRESS, guest->address6, sizeof guest->address6);
    } else {
        link_local(guest->mac, key + NFT_KEY_ADDRESS);
    }
    return true;
}

static bool drop_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    const uint32_t reason = (uint32_t)(i % NFT_DROP_TAP_COUNT_);
    (void)put_tap(items, i / NFT_DROP_TAP_COUNT_, key);
    memcpy(key + NFT_IFNAME_BYTES, &reason, sizeof reason);
    return reason != 0;
}

static bool port_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    const struct config_port *open = (const struct config_port *)items + i;
    const uint16_t port = htons(open->port);
    key[0] = open->protocol;
    memcpy(key + NFT_PORT_KEY_BYTES / 2, &port, sizeof port);
    return true;
}

static bool address4_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    const uint32_t address = htonl(((const struct nft_guest *)items)[i].address);
    memcpy(key, &address, sizeof address);
    return true;
}

static bool drop4_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    const uint32_t reason = NFT_DROP_NO_UPLINK + (uint32_t)(i % INET_REASONS);
    (void)address4_key(items, i / INET_REASONS, key);
    memcpy(key + NFT_DROP4_KEY_BYTES - sizeof reason, &reason, sizeof reason);
    return true;
}

static bool address6_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    uint8_t guest[NFT_KEY_BYTES_MAX] = {0};
    bool there = guest6_key(items, i, guest);
    memcpy(key, guest + NFT_KEY_ADDRESS, 16);
    return there;
}

static bool drop6_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    const uint32_t reason = NFT_DROP_NO_UPLINK + (uint32_t)(i % INET_REASONS);
    memcpy(key + NFT_DROP6_KEY_BYTES - sizeof reason, &reason, sizeof reason);
    return address6_key(items, i / INET_REASONS, key);
}

/* Two elements of each range: where it begins and, unless it is the end of all addresses, where it ends. */
static bool interval_key(const struct ip_range *range, bool end, uint8_t version, uint8_t *key)
{
    struct ip_addr address = end ? range->last : range->first;
    bool there = address.version == version && (!end || ip_addr_next(&address));
    memcpy(key, address.bytes, sizeof address.bytes);
    return there;
}

static bool closed4_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    return interval_key((const struct ip_range *)items + i / 2, i % 2 == 1, IP_V4, key);
}

static bool closed6_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    return interval_key((const struct ip_range *)items + i / 2, i % 2 == 1, IP_V6, key);
}

static void put_key(struct nlmsghdr *h, const uint8_t *key, size_t len, bool ends_interval)
{
    struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    if (ends_interval) {
        mnl_attr_put_u32(h, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
    }
    struct nlattr *nest = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
    mnl_attr_put(h, NFTA_DATA_VALUE, len, key);
    mnl_attr_nest_end(h, nest);
    mnl_attr_nest_end(h, element);
}

/* The keys from number `first` on, as many as one message takes. Returns the number of the first one that is left. */
static size_t put_message(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_set_row *set, key_maker make_key, const void *items,
                          size_t first, size_t count)
{
    const uint16_t flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
    struct nlmsghdr *h = nft_batch_add(b, type, set->family, flags, "elements of set %s", set->name);
    if (h == NULL) {
        return count;
    }
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set->name);
    struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (size_t room = ELEMENTS_PER_MESSAGE; room > 0 && first < count; first++) {
        uint8_t key[NFT_KEY_BYTES_MAX] = {0};
        if (make_key(items, first, key)) {
            put_key(h, key, set->key_bytes, (set->flags & NFT_SET_INTERVAL) != 0 && first % 2 == 1);
            room--;
        }
    }
    mnl_attr_nest_end(h, list);
    nft_batch_close(b);
    return first;
}

static void put_elements(struct nft_batch *b, uint16_t type, const char *mark, unsigned set, key_maker make_key, const void *items, size_t count)
{
    uint8_t key[NFT_KEY_BYTES_MAX] = {0};
    for (size_t i = 0; i < count;) {
        if (make_key(items, i, key)) {
            i = put_message(b, type, mark, &nft_sets[set], make_key, items, i, count);
        } else {
            i++;
        }
    }
}

void nft_put_uplinks(struct nft_batch *b, uint16_t type, const char *mark, const char *const *uplinks, size_t count)
{
    put_elements(b, type, mark, NFT_SET_UPLINK, uplink_key, uplinks, count);
}

/* What each guest has an element of, or more, or none. */
static const struct {
    unsigned set;
    key_maker make_key;
    size_t each; /* at most */
} guest_sets[] = {
    {NFT_SET_GUEST4, guest4_key, 1}, {NFT_SET_GUEST_MAC, guest_mac_key, 1}, {NFT_SET_GUEST6, guest6_key, 2}, {NFT_SET_SHARE1, share1_key, 1},
    {NFT_SET_SHARE2, share2_key, 1}, {NFT_SET_SHARE4, share4_key, 1},       {NFT_SET_SHARE8, share8_key, 1},
};

void nft_put_guests(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_guest *guests, size_t count)
{
    for (size_t i = 0; i < ARRAY_LEN(guest_sets); i++) {
        put_elements(b, type, mark, guest_sets[i].set, guest_sets[i].make_key, guests, guest_sets[i].each * count);
    }
}

bool nft_guest_key(unsigned set, const struct nft_guest *guests, size_t i, uint8_t *key)
{
    for (size_t k = 0; k < ARRAY_LEN(guest_sets); k++) {
        if (guest_sets[k].set == set) {
            return guest_sets[k].make_key(guests, i, key);
        }
    }
    return false;
}

static bool raw_key(const void *items, size_t i, uint8_t key[NFT_KEY_BYTES_MAX])
{
    const struct raw_key *raw = items;
    (void)i;
    memcpy(key, raw->bytes, raw->len);
    return true;
}

void nft_put_raw_key(struct nft_batch *b, uint16_t type, const char *mark, unsigned set, const uint8_t *key)
{
    const struct raw_key raw = {key, nft_sets[set].key_bytes};
    put_elements(b, type, mark, set, raw_key, &raw, 1);
}

/* What packets have added. */
static void put_traces(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_guest *guests, size_t count)
{
    put_elements(b, type, mark, NFT_SET_DROPS, drop_key, guests, count * NFT_DROP_TAP_COUNT_);
    put_elements(b, type, mark, NFT_SET_RATE_ARP, tap_key, guests, count);
    put_elements(b, type, mark, NFT_SET_RATE_ND, tap_key, guests, count);
    put_elements(b, type, mark, NFT_SET_DROPS4, drop4_key, guests, count * INET_REASONS);
    put_elements(b, type, mark, NFT_SET_DROPS6, drop6_key, guests, 2 * count * INET_REASONS);
    put_elements(b, type, mark, NFT_SET_FLOWS, mac_key, guests, count);
    put_elements(b, type, mark, NFT_SET_FLOW_RATE, mac_key, guests, count);
}

void nft_put_open_ports(struct nft_batch *b, const char *mark, const struct config_port *ports, size_t count)
{
    put_elements(b, NFT_MSG_NEWSETELEM, mark, NFT_SET_OPEN_PORTS, port_key, ports, count);
}

void nft_put_closed(struct nft_batch *b, const char *mark, const struct ip_range *closed, size_t count)
{
    put_elements(b, NFT_MSG_NEWSETELEM, mark, NFT_SET_CLOSED4, closed4_key, closed, 2 * count);
    put_elements(b, NFT_MSG_NEWSETELEM, mark, NFT_SET_CLOSED6, closed6_key, closed, 2 * count);
}

static int set_holds(const char *mark, unsigned which, key_maker make_key, const void *items, size_t count, bool *ret_same, struct error *err)
{
    const struct nft_set_row *set = &nft_sets[which];
    AUTO_FREE uint8_t *wanted = calloc(count + 1, set->key_bytes + 1);
    uint8_t *end = wanted;
    if (wanted == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < count; i++) {
        uint8_t key[NFT_KEY_BYTES_MAX] = {0};
        if (make_key(items, i, key)) {
            memcpy(end, key, set->key_bytes);
            end += set->key_bytes;
            *end++ = (set->flags & NFT_SET_INTERVAL) != 0 && i % 2 == 1;
        }
    }
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
    return nft_set_compare(mark, which, wanted, (size_t)(end - wanted) / (set->key_bytes + 1), ret_same, err);
}

int nft_open_ports_check(const char *mark, const struct config_port *ports, size_t count, bool *ret_same, struct error *err)
{
    return set_holds(mark, NFT_SET_OPEN_PORTS, port_key, ports, count, ret_same, err);
}

int nft_closed_check(const char *mark, const struct ip_range *closed, size_t count, bool *ret_same, struct error *err)
{
    bool same = false;
    if (set_holds(mark, NFT_SET_CLOSED4, closed4_key, closed, 2 * count, &same, err) != 0) {
        return -1;
    }
    *ret_same = same;
    if (!same) {
        return 0;
    }
    return set_holds(mark, NFT_SET_CLOSED6, closed6_key, closed, 2 * count, ret_same, err);
}

static void put_emptying(struct nft_batch *b, const char *mark, unsigned which)
{
    const struct nft_set_row *set = &nft_sets[which];
    struct nlmsghdr *h = nft_batch_add(b, NFT_MSG_DELSETELEM, set->family, 0, "the emptying of set %s", set->name);
    if (h != NULL) {
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set->name);
        nft_batch_close(b);
    }
}

int nft_uplinks_replace(const char *mark, const char *const *uplinks, size_t count, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    put_emptying(&b, mark, NFT_SET_UPLINK);
    nft_put_uplinks(&b, NFT_MSG_NEWSETELEM, mark, uplinks, count);
    return nft_batch_commit(&b, mark, err);
}

int nft_entries_replace(const char *mark, uint8_t version, const char *const *entries, size_t count, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    const unsigned set = version == IP_V4 ? NFT_SET_ENTRIES : NFT_SET_ENTRIES6;
    put_emptying(&b, mark, set);
    put_elements(&b, NFT_MSG_NEWSETELEM, mark, set, uplink_key, entries, count);
    return nft_batch_commit(&b, mark, err);
}

int nft_closed_replace(const char *mark, const struct ip_range *closed, size_t count, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    put_emptying(&b, mark, NFT_SET_CLOSED4);
    put_emptying(&b, mark, NFT_SET_CLOSED6);
    nft_put_closed(&b, mark, closed, count);
    return nft_batch_commit(&b, mark, err);
}

struct guests_change {
    const struct nft_guest *add, *remove;
    size_t add_count, remove_count;
};

static void put_guests_change(struct nft_batch *b, const char *mark, const void *ctx)
{
    const struct guests_change *change = ctx;
    /* The kernel refuses to delete what is not there, so it is added first, in the same transaction: no
     * packet ever sees it. */
    nft_put_guests(b, NFT_MSG_NEWSETELEM, mark, change->remove, change->remove_count);
    put_traces(b, NFT_MSG_NEWSETELEM, mark, change->remove, change->remove_count);
    nft_put_guests(b, NFT_MSG_DELSETELEM, mark, change->remove, change->remove_count);
    put_traces(b, NFT_MSG_DELSETELEM, mark, change->remove, change->remove_count);
    nft_put_guests(b, NFT_MSG_NEWSETELEM, mark, change->add, change->add_count);
}

int nft_guests_change(const char *mark, const struct nft_guest *add, size_t add_count, const struct nft_guest *remove, size_t remove_count,
                      const struct nft_policy_change *policies, struct error *err)
{
    const struct guests_change change = {.add = add, .remove = remove, .add_count = add_count, .remove_count = remove_count};
    if (policies != NULL) {
        return nft_policies_commit(mark, policies, put_guests_change, &change, err);
    }
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    put_guests_change(&b, mark, &change);
    return nft_batch_commit(&b, mark, err);
}
