#include "core/ip_range.h"

#include <stdlib.h>
#include <string.h>

static size_t width_of(const struct ip_addr *address)
{
    return address->version == IP_V4 ? 4 : 16;
}

static int compare_addresses(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->version != b->version ? (int)a->version - (int)b->version : memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool ip_addr_next(struct ip_addr *address)
{
    struct ip_addr next = *address;
    for (size_t i = width_of(address); i > 0; i--) {
        if (++next.bytes[i - 1] != 0) {
            *address = next;
            return true;
        }
    }
    return false;
}

static bool previous(struct ip_addr *address)
{
    struct ip_addr before = *address;
    for (size_t i = width_of(address); i > 0; i--) {
        if (before.bytes[i - 1]-- != 0) {
            *address = before;
            return true;
        }
    }
    return false;
}

static struct ip_range range_of(const struct ip_net *net)
{
    struct ip_range range = {.first = net->address, .last = net->address};
    for (size_t i = 0; i < width_of(&net->address); i++) {
        size_t bits = net->prefix > 8 * i ? net->prefix - 8 * i : 0;
        range.last.bytes[i] |= bits >= 8 ? 0 : (uint8_t)(0xff >> bits);
    }
    return range;
}

static int compare_ranges(const void *a, const void *b)
{
    return compare_addresses(&((const struct ip_range *)a)->first, &((const struct ip_range *)b)->first);
}

/* Sorts, and joins what overlaps or touches. Returns how many are left. */
static size_t join(struct ip_range *ranges, size_t count)
{
    size_t kept = 0;
    if (count > 0) {
        qsort(ranges, count, sizeof *ranges, compare_ranges);
    }
    for (size_t i = 0; i < count; i++) {
        struct ip_range *last = &ranges[kept > 0 ? kept - 1 : 0];
        struct ip_addr behind = last->last;
        bool more = ip_addr_next(&behind);
        if (kept == 0 || ranges[i].first.version != last->first.version || (more && compare_addresses(&ranges[i].first, &behind) > 0)) {
            ranges[kept++] = ranges[i];
        } else if (compare_addresses(&ranges[i].last, &last->last) > 0) {
            last->last = ranges[i].last;
        }
    }
    return kept;
}

/* What is left of `from` without `hole`, written to ret[2]. Returns how many pieces. */
static size_t cut(struct ip_range from, const struct ip_range *hole, struct ip_range *ret)
{
    size_t count = 0;
    if (from.first.version != hole->first.version || compare_addresses(&from.last, &hole->first) < 0 || compare_addresses(&hole->last, &from.first) < 0) {
        ret[count++] = from;
        return count;
    }
    if (compare_addresses(&from.first, &hole->first) < 0) {
        ret[count] = (struct ip_range){.first = from.first, .last = hole->first};
        (void)previous(&ret[count++].last);
    }
    if (compare_addresses(&hole->last, &from.last) < 0) {
        ret[count] = (struct ip_range){.first = hole->last, .last = from.last};
        (void)ip_addr_next(&ret[count++].first);
    }
    return count;
}

int ip_ranges_make(const struct ip_net *in, size_t in_count, const struct ip_net *out, size_t out_count, struct ip_range **ret, size_t *ret_count,
                   struct error *err)
{
    /* Each hole makes one piece more at most. */
    const size_t size = in_count + out_count + 2;
    struct ip_range *ranges = calloc(size, sizeof *ranges);
    struct ip_range *pieces = calloc(size, sizeof *pieces);
    if (ranges == NULL || pieces == NULL) {
        free(ranges);
        free(pieces);
        return error_oom(err);
    }
    for (size_t i = 0; i < in_count; i++) {
        ranges[i] = range_of(&in[i]);
    }
    size_t count = join(ranges, in_count);
    for (size_t o = 0; o < out_count; o++) {
        const struct ip_range hole = range_of(&out[o]);
        size_t left = 0;
        for (size_t i = 0; i < count; i++) {
            left += cut(ranges[i], &hole, pieces + left);
        }
        struct ip_range *swap = ranges;
        ranges = pieces;
        pieces = swap;
        count = left;
    }
    free(pieces);
    *ret = ranges;
    *ret_count = count;
    return 0;
}

static uint64_t fnv1a(uint64_t digest, const struct ip_addr *address)
{
    digest = (digest ^ address->version) * 0x100000001b3;
    for (size_t i = 0; i < sizeof address->bytes; i++) {
        digest = (digest ^ address->bytes[i]) * 0x100000001b3;
    }
    return digest;
}

uint64_t ip_ranges_digest(const struct ip_range *ranges, size_t count)
{
    uint64_t digest = 0xcbf29ce484222325;
    for (size_t i = 0; i < count; i++) {
        digest = fnv1a(fnv1a(digest, &ranges[i].first), &ranges[i].last);
    }
    return digest;
}
