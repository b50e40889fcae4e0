/* What the sets hold, as the kernel has it. */
#include "host/nft/elements.h"

#include "core/array.h"
#include "host/nft/dump.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

/* Keys of a set as the kernel has them, one after the other. */
struct keys {
    size_t key_bytes;
    size_t flag_bytes; /* 1: each key is followed by a byte that is 1 when it ends an interval, else 0 */
    uint8_t *bytes;    /* owned */
    size_t count;
    bool failed;
};

static int read_key(const struct nlattr *attr, void *ctx)
{
    struct keys *keys = ctx;
    if (mnl_attr_get_type(attr) != NFTA_DATA_VALUE || mnl_attr_get_payload_len(attr) < keys->key_bytes) {
        return MNL_CB_OK;
    }
    const size_t stride = keys->key_bytes + keys->flag_bytes;
    uint8_t *grown = array_grow(keys->bytes, keys->count, stride);
    if (grown == NULL) {
        keys->failed = true;
        return MNL_CB_OK;
    }
    keys->bytes = grown;
    memset(keys->bytes + keys->count * stride, 0, stride);
    memcpy(keys->bytes + keys->count++ * stride, mnl_attr_get_payload(attr), keys->key_bytes);
    return MNL_CB_OK;
}

/* The flags come behind the key. */
static int read_element(const struct nlattr *attr, void *ctx)
{
    const struct keys *keys = ctx;
    if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_KEY) {
        return mnl_attr_parse_nested(attr, read_key, ctx);
    }
    if (mnl_attr_get_type(attr) == NFTA_SET_ELEM_FLAGS && keys->flag_bytes > 0 && keys->count > 0 && mnl_attr_get_payload_len(attr) == sizeof(uint32_t)) {
        bool ends = (ntohl(mnl_attr_get_u32(attr)) & NFT_SET_ELEM_INTERVAL_END) != 0;
        keys->bytes[keys->count * (keys->key_bytes + 1) - 1] = ends;
    }
    return MNL_CB_OK;
}

static int read_list(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_LIST_ELEM ? mnl_attr_parse_nested(attr, read_element, ctx) : MNL_CB_OK;
}

static int read_attributes(const struct nlattr *attr, void *ctx)
{
    return mnl_attr_get_type(attr) == NFTA_SET_ELEM_LIST_ELEMENTS ? mnl_attr_parse_nested(attr, read_list, ctx) : MNL_CB_OK;
}

static void read_keys(const struct nlmsghdr *h, void *ctx)
{
    (void)mnl_attr_parse(h, sizeof(struct nfgenmsg), read_attributes, ctx);
}

static int compare_bytes(const void *a, const void *b, void *len)
{
    return memcmp(a, b, *(size_t *)len);
}

static void forget_keys(void *ctx)
{
    ((struct keys *)ctx)->count = 0;
}

/* Sorts them, too. */
static bool drop_doubles(void *ctx)
{
    struct keys *keys = ctx;
    const size_t shown = keys->count;
    size_t stride = keys->key_bytes + keys->flag_bytes;
    keys->count = nft_sort_unique(keys->bytes, shown, stride, compare_bytes, &stride);
    return keys->count < shown;
}

/* Sorted, and each once. A missing table has none. */
static int dump_set(const char *mark, const struct nft_set_row *set, struct keys *keys, struct error *err)
{
    const struct nft_dump dump = {.begin = forget_keys, .each = read_keys, .has_doubles = drop_doubles, .ctx = keys};
    if (nft_dump_set(mark, set, &dump, err) != 0) {
        return -1;
    }
    return keys->failed ? error_oom(err) : 0;
}

int nft_set_keys(const char *mark, unsigned set, uint8_t **ret, size_t *ret_count, struct error *err)
{
    struct keys keys = {.key_bytes = nft_sets[set].key_bytes};
    int result = dump_set(mark, &nft_sets[set], &keys, err);
    AUTO_FREE uint8_t *bytes = keys.bytes;
    if (result != 0) {
        return -1;
    }
    *ret = TAKE_PTR(bytes);
    *ret_count = keys.count;
    return 0;
}

static int list_names(const char *mark, unsigned set, char (**ret)[INTERFACE_NAME_MAX], size_t *ret_count, struct error *err)
{
    struct keys keys = {.key_bytes = NFT_IFNAME_BYTES};
    int result = dump_set(mark, &nft_sets[set], &keys, err);
    AUTO_FREE uint8_t *bytes = keys.bytes;
    if (result != 0) {
        return -1;
    }
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

int nft_uplinks_list(const char *mark, char (**ret)[INTERFACE_NAME_MAX], size_t *ret_count, struct error *err)
{
    return list_names(mark, NFT_SET_UPLINK, ret, ret_count, err);
}

int nft_entries_list(const char *mark, uint8_t version, char (**ret)[INTERFACE_NAME_MAX], size_t *ret_count, struct error *err)
{
    return list_names(mark, version == IP_V4 ? NFT_SET_ENTRIES : NFT_SET_ENTRIES6, ret, ret_count, err);
}

int nft_set_compare(const char *mark, unsigned which, uint8_t *wanted, size_t count, bool *ret_same, struct error *err)
{
    const struct nft_set_row *set = &nft_sets[which];
    struct keys keys = {.key_bytes = set->key_bytes, .flag_bytes = 1};
    size_t stride = set->key_bytes + 1;
    int result = dump_set(mark, set, &keys, err);
    AUTO_FREE uint8_t *bytes = keys.bytes;
    if (result != 0) {
        return -1;
    }
    if (count > 0) {
        qsort_r(wanted, count, stride, compare_bytes, &stride);
    }
    *ret_same = keys.count == count && (count == 0 || memcmp(bytes, wanted, count * stride) == 0);
    return 0;
}
