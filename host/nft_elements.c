/* The elements of the two sets: which TAP has which MAC and address, and which interfaces guests may leave
 * by. */
#include "host/nft_elements.h"

#include "host/nft_rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

enum {
    ELEMENTS_PER_MESSAGE =
        512, /* of 40 bytes at most: well below the 64 KiB of one attribute and NFT_MESSAGE_MAX */
    DUMP_TRIES = 5,
    KEY_BYTES_MAX = NFT_GUEST_KEY_BYTES,
    KEY_MAC = NFT_IFNAME_BYTES,
    KEY_ADDRESS = NFT_IFNAME_BYTES + 8,
};

_Static_assert(ELEMENTS_PER_MESSAGE *(3 * NLA_HDRLEN + KEY_BYTES_MAX) + 1024 <= NFT_MESSAGE_MAX,
               "a message of elements fits its room");

static void guest_key(const void *items, size_t i, uint8_t key[KEY_BYTES_MAX])
{
    const struct nft_guest *guest = (const struct nft_guest *)items + i;
    const uint32_t address = htonl(guest->address);
    memcpy(key, guest->tap, strnlen(guest->tap, NFT_IFNAME_BYTES - 1));
    memcpy(key + KEY_MAC, guest->mac.bytes, sizeof guest->mac.bytes);
    memcpy(key + KEY_ADDRESS, &address, sizeof address);
}

static void uplink_key(const void *items, size_t i, uint8_t key[KEY_BYTES_MAX])
{
    const char *name = ((const char *const *)items)[i];
    memcpy(key, name, strnlen(name, NFT_IFNAME_BYTES - 1));
}

static void put_key(struct nlmsghdr *h, const uint8_t *key, size_t len)
{
    struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
    struct nlattr *nest = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
    mnl_attr_put(h, NFTA_DATA_VALUE, len, key);
    mnl_attr_nest_end(h, nest);
    mnl_attr_nest_end(h, element);
}

static void put_elements(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_set_row *set,
                         void (*get_key)(const void *items, size_t i, uint8_t *key), const void *items,
                         size_t count)
{
    const uint16_t flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
    for (size_t done = 0; done < count;) {
        struct nlmsghdr *h = nft_batch_add(b, type, set->family, flags, "elements of set %s", set->name);
        if (h == NULL) {
            return;
        }
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set->name);
        struct nlattr *list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
        for (size_t i = 0; i < ELEMENTS_PER_MESSAGE && done < count; i++, done++) {
            uint8_t key[KEY_BYTES_MAX] = {0};
            get_key(items, done, key);
            put_key(h, key, set->key_bytes);
        }
        mnl_attr_nest_end(h, list);
        nft_batch_close(b);
    }
}

void nft_put_uplinks(struct nft_batch *b, uint16_t type, const char *mark, const char *const *uplinks,
                     size_t count)
{
    put_elements(b, type, mark, &nft_sets[NFT_SET_UPLINK], uplink_key, uplinks, count);
}

void nft_put_guests(struct nft_batch *b, uint16_t type, const char *mark, const struct nft_guest *guests,
                    size_t count)
{
    put_elements(b, type, mark, &nft_sets[NFT_SET_GUEST4], guest_key, guests, count);
}

/* Keys of a set as the kernel has them, one after the other. */
struct keys {
    size_t key_bytes;
    uint8_t *bytes; /* owned */
    size_t count, size;
    bool failed;
};

static int read_key(const struct nlattr *attr, void *ctx)
{
    struct keys *keys = ctx;
    if (mnl_attr_get_type(attr) != NFTA_DATA_VALUE || mnl_attr_get_payload_len(attr) < keys->key_bytes) {
        return MNL_CB_OK;
    }
    if (keys->count == keys->size) {
        size_t size = keys->size == 0 ? 256 : keys->size * 2;
        uint8_t *grown = reallocarray(keys->bytes, size, keys->key_bytes);
        if (grown == NULL) {
            keys->failed = true;
            return MNL_CB_OK;
        }
        keys->bytes = grown;
        keys->size = size;
    }
    memcpy(keys->bytes + keys->count++ * keys->key_bytes, mnl_attr_get_payload(attr), keys->key_bytes);
    return MNL_CB_OK;
}

static int read_element(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_SET_ELEM_KEY ? mnl_attr_parse_nested(attr, read_key, ctx)
                                                        : MNL_CB_OK;
}

static int read_list(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_LIST_ELEM ? mnl_attr_parse_nested(attr, read_element, ctx)
                                                     : MNL_CB_OK;
}

static int read_attributes(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_ELEMENTS
               ? mnl_attr_parse_nested(attr, read_list, ctx)
               : MNL_CB_OK;
}

static void read_keys(const struct nlmsghdr *h, void *ctx)
{
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), read_attributes, ctx);
}

static int compare_guest_keys(const void *a, const void *b)
{
    return memcmp(a, b, NFT_GUEST_KEY_BYTES);
}

static int compare_uplink_keys(const void *a, const void *b)
{
    return memcmp(a, b, NFT_IFNAME_BYTES);
}

/* A dump that was disturbed may show an element twice. */
static void sort_and_drop_doubles(struct keys *keys, int (*compare)(const void *, const void *))
{
    size_t kept = 0;
    if (keys->count == 0) {
        return;
    }
    qsort(keys->bytes, keys->count, keys->key_bytes, compare);
    for (size_t i = 0; i < keys->count; i++) {
        const uint8_t *from = keys->bytes + i * keys->key_bytes;
        if (kept == 0 || memcmp(keys->bytes + (kept - 1) * keys->key_bytes, from, keys->key_bytes) != 0) {
            memmove(keys->bytes + kept++ * keys->key_bytes, from, keys->key_bytes);
        }
    }
    keys->count = kept;
}

static int dump_set(const char *mark, const struct nft_set_row *set, struct keys *keys, struct error *err)
{
    char request[NFT_REQUEST_MAX];
    bool interrupted = true;
    int result = 0;
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    for (int tries = 0; tries < DUMP_TRIES && interrupted && result == 0; tries++) {
        struct nlmsghdr *h =
            nftnl_nlmsg_build_hdr(request, NFT_MSG_GETSETELEM, set->family, NLM_F_DUMP, (uint32_t)tries + 1);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set->name);
        keys->count = 0;
        result = nft_query(nl, h, read_keys, keys, &interrupted);
    }
    nft_socket_release(result == 0 || result == ENOENT);
    if (result != 0 && result != ENOENT) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot list set %s of firewall table %s",
                         set->name, mark);
    }
    return keys->failed ? error_oom(err) : 0;
}

int nft_uplinks_list(const char *mark, char (**ret)[INTERFACE_NAME_MAX], size_t *ret_count, struct error *err)
{
    struct keys keys = {.key_bytes = NFT_IFNAME_BYTES};
    int result = dump_set(mark, &nft_sets[NFT_SET_UPLINK], &keys, err);
    AUTO_FREE uint8_t *bytes = keys.bytes;
    if (result != 0) {
        return -1;
    }
    sort_and_drop_doubles(&keys, compare_uplink_keys);
    char(*names)[INTERFACE_NAME_MAX] = calloc(keys.count + 1, sizeof *names);
    if (names == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < keys.count; i++) {
        memcpy(names[i], bytes + i * NFT_IFNAME_BYTES, NFT_IFNAME_BYTES - 1);
    }
    *ret = names;
    *ret_count = keys.count;
    return 0;
}

int nft_guests_list(const char *mark, struct nft_guest **ret, size_t *ret_count, struct error *err)
{
    struct keys keys = {.key_bytes = NFT_GUEST_KEY_BYTES};
    int result = dump_set(mark, &nft_sets[NFT_SET_GUEST4], &keys, err);
    AUTO_FREE uint8_t *bytes = keys.bytes;
    if (result != 0) {
        return -1;
    }
    sort_and_drop_doubles(&keys, compare_guest_keys);
    struct nft_guest *guests = calloc(keys.count + 1, sizeof *guests);
    if (guests == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < keys.count; i++) {
        const uint8_t *key = bytes + i * NFT_GUEST_KEY_BYTES;
        uint32_t address = 0;
        memcpy(guests[i].tap, key, NFT_IFNAME_BYTES - 1);
        memcpy(guests[i].mac.bytes, key + KEY_MAC, sizeof guests[i].mac.bytes);
        memcpy(&address, key + KEY_ADDRESS, sizeof address);
        guests[i].address = ntohl(address);
    }
    *ret = guests;
    *ret_count = keys.count;
    return 0;
}

int nft_uplinks_replace(const char *mark, const char *const *uplinks, size_t count, struct error *err)
{
    const struct nft_set_row *set = &nft_sets[NFT_SET_UPLINK];
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    struct nlmsghdr *h =
        nft_batch_add(&b, NFT_MSG_DELSETELEM, set->family, 0, "the emptying of set %s", set->name);
    if (h != NULL) {
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set->name);
        nft_batch_close(&b);
    }
    nft_put_uplinks(&b, NFT_MSG_NEWSETELEM, mark, uplinks, count);
    return nft_batch_commit(&b, mark, err);
}

int nft_guests_change(const char *mark, const struct nft_guest *add, size_t add_count,
                      const struct nft_guest *remove, size_t remove_count, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    /* The kernel refuses to delete what is not there, so it is added first, in the same transaction: no
     * packet ever sees it. */
    nft_put_guests(&b, NFT_MSG_NEWSETELEM, mark, remove, remove_count);
    nft_put_guests(&b, NFT_MSG_DELSETELEM, mark, remove, remove_count);
    nft_put_guests(&b, NFT_MSG_NEWSETELEM, mark, add, add_count);
    return nft_batch_commit(&b, mark, err);
}
