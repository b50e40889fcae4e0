#include "host/nft/dump.h"

#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { TRIES = 8 };

static void wait_for_the_table(int tries)
{
    const struct timespec pause = {.tv_nsec = 1000000L << tries};
    (void)nanosleep(&pause, NULL);
}

int nft_dump(struct mnl_socket *nl, struct nlmsghdr *request, const struct nft_dump *dump)
{
    bool interrupted = true;
    bool doubles = false;
    int result = 0;
    for (int tries = 0; tries < TRIES && (interrupted || doubles) && result == 0; tries++) {
        if (doubles) {
            wait_for_the_table(tries - 1);
        }
        request->nlmsg_seq = (uint32_t)tries + 1;
        dump->begin(dump->ctx);
        result = nft_query(nl, request, dump->each, dump->ctx, &interrupted);
        doubles = result == 0 && dump->has_doubles != NULL && dump->has_doubles(dump->ctx);
    }
    return result;
}

struct nlmsghdr *nft_elements_request(char *buf, uint16_t family, const char *mark, const char *set)
{
    struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETSETELEM, family, NLM_F_DUMP, 0);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, mark);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
    return h;
}

int nft_dump_set(const char *mark, const struct nft_set_row *set, const struct nft_dump *dump, struct error *err)
{
    char request[NFT_REQUEST_MAX];
    struct mnl_socket *nl = nft_socket_acquire(err);
    if (nl == NULL) {
        return -1;
    }
    int result = nft_dump(nl, nft_elements_request(request, set->family, mark, set->name), dump);
    nft_socket_release(result == 0 || result == ENOENT);
    if (result != 0 && result != ENOENT) {
        return error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "cannot list %s %s of firewall table %s", (set->flags & NFT_SET_MAP) != 0 ? "map" : "set",
                         set->name, mark);
    }
    return 0;
}

size_t nft_sort_unique(void *items, size_t count, size_t size, int (*compare)(const void *a, const void *b, void *ctx), void *ctx)
{
    uint8_t *bytes = items;
    size_t kept = 0;
    if (count == 0) {
        return 0;
    }
    qsort_r(items, count, size, compare, ctx);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && compare(bytes + (kept - 1) * size, bytes + i * size, ctx) == 0) {
            continue;
        }
        if (kept != i) {
            memcpy(bytes + kept * size, bytes + i * size, size);
        }
        kept++;
    }
    return kept;
}
