#include "worker/network/ports_diff.h"

#include <stdlib.h>
#include <string.h>

void ports_sort(struct nft_port *ports, size_t count)
{
    if (count > 0) {
        qsort(ports, count, sizeof *ports, nft_port_compare);
    }
}

static bool leads_alike(const struct nft_port *a, const struct nft_port *b)
{
    return ip_addr_equal(&a->address, &b->address) && a->guest_port == b->guest_port;
}

static bool is_among(const struct ip_addr *addresses, const struct ip_addr *address)
{
    return ip_addr_equal(&addresses[0], address) || ip_addr_equal(&addresses[1], address);
}

void ports_diff_free(struct ports_diff *diff)
{
    free(diff->add);
    free(diff->remove);
    memset(diff, 0, sizeof *diff);
}

int ports_diff_make(const struct nft_port *there, size_t there_count, const struct nft_port *wanted, size_t wanted_count, const struct ip_addr only[2],
                    struct ports_diff *ret, struct error *err)
{
    struct ports_diff diff = {.add = calloc(wanted_count + 1, sizeof *diff.add), .remove = calloc(there_count + 1, sizeof *diff.remove)};
    if (diff.add == NULL || diff.remove == NULL) {
        ports_diff_free(&diff);
        return error_oom(err);
    }
    size_t w = 0;
    size_t t = 0;
    while (w < wanted_count || t < there_count) {
        int order = w == wanted_count ? 1 : t == there_count ? -1 : nft_port_compare(&wanted[w], &there[t]);
        bool differs = order == 0 && !leads_alike(&wanted[w], &there[t]);
        if (order < 0 || differs) {
            diff.add[diff.add_count++] = wanted[w];
        }
        if (differs || (order > 0 && (only == NULL || is_among(only, &there[t].address)))) {
            diff.remove[diff.remove_count++] = there[t];
        }
        w += order <= 0;
        t += order >= 0;
    }
    *ret = diff;
    return 0;
}
