#include "host/nft/dump.h"

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
