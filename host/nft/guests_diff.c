/*
 * The elements of guests, held against those that are wanted, set by set and key by key: a guest has elements in
 * several sets, and what is one too many may share a TAP or a MAC with what has to stay.
 */
#include "host/nft/elements.h"

#include "core/array.h"
#include "host/nft/rules.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <string.h>

static const struct {
    unsigned set;
    size_t each; /* keys of a guest, at most */
} guest_sets[] = {{NFT_SET_GUEST4, 1}, {NFT_SET_GUEST_MAC, 1}, {NFT_SET_GUEST6, 2}, {NFT_SET_SHARE1, 1},
                  {NFT_SET_SHARE2, 1}, {NFT_SET_SHARE4, 1},    {NFT_SET_SHARE8, 1}};

struct wanted_key {
    uint8_t bytes[NFT_KEY_BYTES_MAX];
    size_t guest;
};

/* One set: the keys that are missing from it, and those that are one too many. */
struct difference {
    const struct nft_set_row *set;
    struct wanted_key *missing;
    uint8_t *additional; /* keys of the kernel, one after the other */
    size_t missing_count, additional_count;
};

static void difference_free(struct difference *difference)
{
    free(difference->missing);
    free(difference->additional);
}
#define AUTO_DIFFERENCE CLEANUP(difference_free) struct difference

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, NFT_KEY_BYTES_MAX); /* behind the key there are zeroes */
}

static struct wanted_key *make_wanted(size_t which, const struct nft_guest *guests, size_t count, size_t *ret_count)
{
    size_t each = guest_sets[which].each;
    struct wanted_key *keys = calloc(count * each + 1, sizeof *keys);
    size_t kept = 0;
    for (size_t i = 0; keys != NULL && i < count * each; i++) {
        memset(&keys[kept], 0, sizeof keys[kept]);
        if (nft_guest_key(guest_sets[which].set, guests, i, keys[kept].bytes)) {
            keys[kept++].guest = i / each;
        }
    }
    if (kept > 0) {
        qsort(keys, kept, sizeof *keys, compare_keys);
    }
    *ret_count = kept;
    return keys;
}

/* Both are sorted. What is missing moves to the front of `wanted`, what is one too many to that of `there`. */
static void keep_differences(struct difference *d, size_t wanted_count, size_t there_count)
{
    size_t bytes = d->set->key_bytes;
    size_t w = 0;
    size_t t = 0;
    while (w < wanted_count || t < there_count) {
        int order = w == wanted_count ? 1 : -1;
        if (w < wanted_count && t < there_count) {
            order = memcmp(d->missing[w].bytes, d->additional + t * bytes, bytes);
        }
        if (order < 0) {
            d->missing[d->missing_count++] = d->missing[w];
        } else if (order > 0) {
            memmove(d->additional + d->additional_count++ * bytes, d->additional + t * bytes, bytes);
        }
        w += order <= 0 ? 1 : 0;
        t += order >= 0 ? 1 : 0;
    }
}

static int compare_set(const char *mark, size_t which, const struct nft_guest *wanted, size_t count, struct difference *ret, struct error *err)
{
    size_t wanted_count = 0;
    size_t there_count = 0;
    ret->set = &nft_sets[guest_sets[which].set];
    ret->missing = make_wanted(which, wanted, count, &wanted_count);
    if (ret->missing == NULL) {
        return error_oom(err);
    }
    if (nft_set_keys(mark, guest_sets[which].set, &ret->additional, &there_count, err) != 0) {
        return -1;
    }
    keep_differences(ret, wanted_count, there_count);
    return 0;
}

static int add_item(struct nft_guest_differences *ret, const struct nft_set_row *set, const uint8_t *key, size_t guest)
{
    struct nft_guest_difference *grown = array_grow(ret->items, ret->count, sizeof *grown);
    char address[IPV4_TEXT_MAX] = "";
    char text[MAC_TEXT_MAX];
    struct mac mac;
    uint32_t raw = 0;
    if (grown == NULL) {
        return -1;
    }
    ret->items = grown;
    struct nft_guest_difference *item = &grown[ret->count++];
    if (set == &nft_sets[NFT_SET_GUEST4]) {
        memcpy(&raw, key + NFT_KEY_ADDRESS, sizeof raw);
        (void)ipv4_format(ntohl(raw), address);
    }
    item->guest = guest;
    if (set->family == NFPROTO_INET) {
        memcpy(mac.bytes, key, sizeof mac.bytes);
        (void)snprintf(item->words, sizeof item->words, "%s in set %s", mac_format(mac, text), set->name);
        return 0;
    }
    (void)snprintf(item->words, sizeof item->words, "%.*s %s%sin set %s", NFT_IFNAME_BYTES - 1, (const char *)key, address, address[0] != '\0' ? " " : "",
                   set->name);
    return 0;
}

static int add_items(struct nft_guest_differences *ret, const struct difference *d, struct error *err)
{
    for (size_t i = 0; i < d->missing_count; i++) {
        if (add_item(ret, d->set, d->missing[i].bytes, d->missing[i].guest) != 0) {
            return error_oom(err);
        }
    }
    for (size_t i = 0; i < d->additional_count; i++) {
        if (add_item(ret, d->set, d->additional + i * d->set->key_bytes, NFT_GUEST_NONE) != 0) {
            return error_oom(err);
        }
    }
    return 0;
}

void nft_guest_differences_free(struct nft_guest_differences *differences)
{
    free(differences->items);
}

int nft_guests_compare(const char *mark, const struct nft_guest *wanted, size_t count, struct nft_guest_differences *ret, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(guest_sets); i++) {
        AUTO_DIFFERENCE d = {.set = NULL};
        if (compare_set(mark, i, wanted, count, &d, err) != 0 || add_items(ret, &d, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int nft_guests_restore(const char *mark, const struct nft_guest *wanted, size_t count, struct error *err)
{
    AUTO_NFT_BATCH b = NFT_BATCH_INIT;
    for (size_t i = 0; i < ARRAY_LEN(guest_sets); i++) {
        AUTO_DIFFERENCE d = {.set = NULL};
        if (compare_set(mark, i, wanted, count, &d, err) != 0) {
            return -1;
        }
        for (size_t k = 0; k < d.missing_count; k++) {
            nft_put_raw_key(&b, NFT_MSG_NEWSETELEM, mark, guest_sets[i].set, d.missing[k].bytes);
        }
        for (size_t k = 0; k < d.additional_count; k++) {
            /* Somebody may have taken it back meanwhile, and the kernel refuses to delete what is not there. */
            const uint8_t *key = d.additional + k * d.set->key_bytes;
            nft_put_raw_key(&b, NFT_MSG_NEWSETELEM, mark, guest_sets[i].set, key);
            nft_put_raw_key(&b, NFT_MSG_DELSETELEM, mark, guest_sets[i].set, key);
        }
    }
    return nft_batch_commit(&b, mark, err);
}
