/*
 * The firewall's elements of single VMs: which are wanted, which are there.
 *
 * A VM's element is in before its TAP is, and leaves after it. Its own reconciler adds and removes it, and notes
 * that in runtime->guests, both under worker->guests_lock. So under that lock the notes say exactly which
 * elements have to be there; of a VM that was not looked at since the daemon started, its TAPs tell.
 */
#include "core/cleanup.h"
#include "worker/network_work.h"
#include "worker/runtime.h"

#include <stdio.h>
#include <string.h>

enum { NAMED_MAX = 5 }; /* in a text */

struct guests {
    struct nft_guest *wanted;
    const struct interface_row **owners; /* of wanted */
    struct nft_guest *there;
    struct nft_guest *missing, *additional;
    size_t wanted_count, there_count, missing_count, additional_count;
};

static void guests_free(struct guests *guests)
{
    free(guests->wanted);
    free(guests->owners);
    free(guests->there);
    free(guests->missing);
    free(guests->additional);
}
#define AUTO_GUESTS CLEANUP(guests_free) struct guests

static void unlock(pthread_mutex_t **lock)
{
    (void)pthread_mutex_unlock(*lock);
}
#define GUESTS_LOCKED(worker)                                                                                          \
    CLEANUP(unlock)                                                                                                    \
    __attribute__((unused)) pthread_mutex_t *locked_ =                                                                 \
        (pthread_mutex_lock(&(worker)->guests_lock), &(worker)->guests_lock)

static bool has_tap(const struct network_work *work, const char *name)
{
    for (size_t i = 0; i < work->link_count; i++) {
        if (strcmp(work->links[i].name, name) == 0) {
            return work->links[i].is_tap && link_alias_has_mark(work->links[i].alias, work->worker->mark);
        }
    }
    return false;
}

static bool is_wanted(const struct network_work *work, const struct interface_row *row)
{
    switch (runtimes_guests(work->worker->runtimes, row->vm_uid)) {
    case RUNTIME_GUESTS_PRESENT:
        return true;
    case RUNTIME_GUESTS_ABSENT:
        return false;
    case RUNTIME_GUESTS_UNKNOWN:
        break;
    }
    return has_tap(work, row->tap);
}

static int find_wanted(const struct network_work *work, struct guests *ret, struct error *err)
{
    ret->wanted = calloc(work->interface_count + 1, sizeof *ret->wanted);
    ret->owners = calloc(work->interface_count + 1, sizeof *ret->owners);
    if (ret->wanted == NULL || ret->owners == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < work->interface_count; i++) {
        const struct interface_row *row = &work->interfaces[i];
        if (is_wanted(work, row)) {
            struct nft_guest *guest = &ret->wanted[ret->wanted_count];
            memcpy(guest->tap, row->tap, sizeof guest->tap);
            guest->mac = row->mac;
            guest->address = row->address;
            ret->owners[ret->wanted_count++] = row;
        }
    }
    return 0;
}

/* VMs may have come since the look began: their rows are read again under the lock. */
static int read_interfaces(struct network_work *work, struct error *err)
{
    struct interface_row *rows = NULL;
    size_t count = 0;
    if (interfaces_list(work->worker->db, &rows, &count, err) != 0) {
        return -1;
    }
    free(work->interfaces);
    work->interfaces = rows;
    work->interface_count = count;
    return 0;
}

static int compare(const struct nft_guest *a, const struct nft_guest *b)
{
    int order = strcmp(a->tap, b->tap);
    if (order == 0) {
        order = memcmp(a->mac.bytes, b->mac.bytes, sizeof a->mac.bytes);
    }
    return order != 0 ? order : (a->address > b->address) - (a->address < b->address);
}

/* Both lists are sorted by TAP; elements of one TAP may differ in the rest. */
static int find_differences(struct guests *guests, struct error *err)
{
    size_t w = 0;
    size_t t = 0;
    guests->missing = calloc(guests->wanted_count + 1, sizeof *guests->missing);
    guests->additional = calloc(guests->there_count + 1, sizeof *guests->additional);
    if (guests->missing == NULL || guests->additional == NULL) {
        return error_oom(err);
    }
    while (w < guests->wanted_count || t < guests->there_count) {
        int order = 0;
        if (w < guests->wanted_count && t < guests->there_count) {
            order = compare(&guests->wanted[w], &guests->there[t]);
        } else {
            order = w < guests->wanted_count ? -1 : 1;
        }
        if (order < 0) {
            guests->owners[guests->missing_count] = guests->owners[w];
            guests->missing[guests->missing_count++] = guests->wanted[w++];
        } else if (order > 0) {
            guests->additional[guests->additional_count++] = guests->there[t++];
        } else {
            w++;
            t++;
        }
    }
    return 0;
}

static int look(struct network_work *work, struct guests *ret, struct error *err)
{
    if (read_interfaces(work, err) != 0 || find_wanted(work, ret, err) != 0 ||
        nft_guests_list(work->worker->mark, &ret->there, &ret->there_count, err) != 0) {
        return -1;
    }
    return find_differences(ret, err);
}

static void describe(char *buf, size_t size, const char *what, size_t count, const struct guests *guests,
                     const struct nft_guest *items, bool with_owners)
{
    char address[IPV4_TEXT_MAX];
    int len = snprintf(buf, size, "%zu %s %s: ", count, count == 1 ? "element of set guest4 is" : "elements of set guest4 are",
                       what);
    for (size_t i = 0; i < count && i < NAMED_MAX && len > 0 && (size_t)len < size; i++) {
        len += snprintf(buf + len, size - (size_t)len, "%s%s%.20s%s%s %s", i > 0 ? ", " : "", with_owners ? "VM " : "",
                        with_owners ? guests->owners[i]->vm : "", with_owners ? " " : "", items[i].tap,
                        ipv4_format(items[i].address, address));
    }
    if (count > NAMED_MAX && len > 0 && (size_t)len < size) {
        (void)snprintf(buf + len, size - (size_t)len, " and others");
    }
}

static void note_only_vm(struct network_work *work, const struct guests *guests)
{
    work->repaired_vm[0] = '\0';
    for (size_t i = 1; i < guests->missing_count; i++) {
        if (guests->owners[i]->vm_uid != guests->owners[0]->vm_uid) {
            return;
        }
    }
    if (guests->missing_count > 0) {
        memcpy(work->repaired_vm, guests->owners[0]->vm, sizeof work->repaired_vm);
    }
}

int network_guests_observe(struct network_work *work, struct error *err)
{
    AUTO_GUESTS guests = {.wanted = NULL};
    GUESTS_LOCKED(work->worker);
    if (look(work, &guests, err) != 0) {
        return -1;
    }
    if (guests.missing_count > 0) {
        describe(work->observed.missing_guests, sizeof work->observed.missing_guests, "missing", guests.missing_count,
                 &guests, guests.missing, true);
    }
    if (guests.additional_count > 0) {
        describe(work->observed.orphan_guests, sizeof work->observed.orphan_guests, "of no running VM",
                 guests.additional_count, &guests, guests.additional, false);
    }
    note_only_vm(work, &guests);
    return 0;
}

int network_guests_repair(struct network_work *work, struct error *err)
{
    AUTO_GUESTS guests = {.wanted = NULL};
    GUESTS_LOCKED(work->worker);
    if (look(work, &guests, err) != 0) {
        return -1;
    }
    return nft_guests_change(work->worker->mark, guests.missing, guests.missing_count, guests.additional,
                             guests.additional_count, err);
}

int network_guests_apply_base(struct network_work *work, struct error *err)
{
    struct nft_base base = network_firewall_base(work);
    const char *uplinks[] = {work->observed.uplink};
    AUTO_GUESTS guests = {.wanted = NULL};
    GUESTS_LOCKED(work->worker);
    if (read_interfaces(work, err) != 0 || find_wanted(work, &guests, err) != 0) {
        return -1;
    }
    return nft_base_apply(&base, uplinks, work->observed.uplink[0] != '\0' ? 1 : 0, guests.wanted, guests.wanted_count,
                          err);
}
