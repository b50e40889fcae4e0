/*
 * The firewall's elements of single VMs: which are wanted, which are there.
 *
 * A VM's element is in before its TAP is, and leaves after it. Its own reconciler adds and removes it, and notes
 * that in runtime->guests, both under worker->guests_lock. So under that lock the notes say exactly which
 * elements have to be there; of a VM that was not looked at since the daemon started, its TAPs tell.
 */
#include "core/cleanup.h"
#include "core/strbuf.h"
#include "worker/border/wanted.h"
#include "worker/firewall/firewall.h"
#include "worker/network/work.h"
#include "worker/vm/runtime.h"

#include <stdio.h>
#include <string.h>

enum { NAMED_MAX = 3 }; /* in a text */

struct guests {
    struct nft_guest *wanted;
    size_t *owners; /* of wanted: numbers in work->interfaces */
    size_t wanted_count;
    struct nft_port *ports; /* published, of those that are wanted; when the tables are made */
    struct nft_guest_differences differences;
    struct firewall_wanted firewall; /* when the tables are made */
    struct nft_policy_vm *policy_vms;
};

static void guests_free(struct guests *guests)
{
    free(guests->wanted);
    free(guests->owners);
    free(guests->ports);
    free(guests->policy_vms);
    firewall_wanted_free(&guests->firewall);
    nft_guest_differences_free(&guests->differences);
}

static bool has_tap(const struct network_work *work, const char *name)
{
    for (size_t i = 0; i < work->link_count; i++) {
        if (strcmp(work->links[i].name, name) == 0) {
            return work->links[i].is_tap && link_alias_has_mark(work->links[i].alias, work->worker->mark);
        }
    }
    return false;
}

bool network_guest_is_wanted(const struct network_work *work, const struct interface_row *row)
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

static int compare_uids(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The VMs of all interfaces, sorted; NULL when out of memory. */
static int64_t *list_uids(const struct network_work *work)
{
    int64_t *uids = calloc(work->interface_count + 1, sizeof *uids);
    for (size_t i = 0; uids != NULL && i < work->interface_count; i++) {
        uids[i] = work->interfaces[i].vm_uid;
    }
    if (uids != NULL) {
        qsort(uids, work->interface_count, sizeof *uids, compare_uids);
    }
    return uids;
}

static uint32_t interfaces_of(const int64_t *uids, size_t count, int64_t uid)
{
    const int64_t *found = bsearch(&uid, uids, count, sizeof *uids, compare_uids);
    const int64_t *first = found;
    const int64_t *end = found;
    while (first > uids && first[-1] == uid) {
        first--;
    }
    while (end < uids + count && *end == uid) {
        end++;
    }
    return (uint32_t)(end - first);
}

static int find_wanted(const struct network_work *work, struct guests *ret, struct error *err)
{
    AUTO_FREE int64_t *uids = list_uids(work);
    ret->wanted = calloc(work->interface_count + 1, sizeof *ret->wanted);
    ret->owners = calloc(work->interface_count + 1, sizeof *ret->owners);
    if (ret->wanted == NULL || ret->owners == NULL || uids == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < work->interface_count; i++) {
        const struct interface_row *row = &work->interfaces[i];
        if (network_guest_is_wanted(work, row)) {
            struct nft_guest *guest = &ret->wanted[ret->wanted_count];
            memcpy(guest->tap, row->tap, sizeof guest->tap);
            guest->mac = row->mac;
            guest->address = row->address;
            guest->interfaces = interfaces_of(uids, work->interface_count, row->vm_uid);
            const struct ip_addr address6 = network_address6(&work->settings, row->address);
            memcpy(guest->address6, address6.bytes, sizeof guest->address6);
            ret->owners[ret->wanted_count++] = i;
        }
    }
    return 0;
}

/* VMs may have come since the look began: their rows are read again under the lock. */
static int read_interfaces(struct network_work *work, struct error *err)
{
    struct interface_row *rows = NULL;
    size_t count = 0;
    if (border_interface_list(work->worker->border, &rows, &count, err) != 0) {
        return -1;
    }
    free(work->interfaces);
    work->interfaces = rows;
    work->interface_count = count;
    return 0;
}

/* Which are wanted, and in what the firewall differs from that. */
static int observe_guests(struct network_work *work, struct guests *ret, struct error *err)
{
    if (read_interfaces(work, err) != 0 || find_wanted(work, ret, err) != 0) {
        return -1;
    }
    return nft_guests_compare(work->worker->mark, ret->wanted, ret->wanted_count, &ret->differences, err);
}

/* "2 elements are missing: VM a (t1 10.0.0.2 in set guest4), …", of those that are missing or of those that are one too many. */
static void describe(const struct network_work *work, const struct guests *guests, bool missing, char *buf, size_t size)
{
    AUTO_STRBUF b = STRBUF_INIT;
    size_t count = 0;
    for (size_t i = 0; i < guests->differences.count; i++) {
        const struct nft_guest_difference *item = &guests->differences.items[i];
        if ((item->guest != NFT_GUEST_NONE) != missing || count++ >= NAMED_MAX) {
            continue;
        }
        strbuf_add(&b, count > 1 ? ", " : "");
        if (missing) {
            strbuf_addf(&b, "VM %.24s (%s)", work->interfaces[guests->owners[item->guest]].vm, item->words);
        } else {
            strbuf_add(&b, item->words);
        }
    }
    if (count > 0) {
        (void)snprintf(buf, size, "%zu %s %s: %s%s", count, count == 1 ? "element" : "elements", missing ? "missing" : "of no running VM",
                       b.failed ? "" : b.data, count > NAMED_MAX ? " and others" : "");
    }
}

static void note_only_vm(struct network_work *work, const struct guests *guests)
{
    const struct interface_row *only = NULL;
    work->repaired_vm[0] = '\0';
    for (size_t i = 0; i < guests->differences.count; i++) {
        const struct nft_guest_difference *item = &guests->differences.items[i];
        const struct interface_row *owner = item->guest != NFT_GUEST_NONE ? &work->interfaces[guests->owners[item->guest]] : only;
        if (only != NULL && owner->vm_uid != only->vm_uid) {
            return;
        }
        only = owner;
    }
    if (only != NULL) {
        memcpy(work->repaired_vm, only->vm, sizeof work->repaired_vm);
    }
}

static int observe(struct network_work *work, struct guests *guests, struct error *err)
{
    if (observe_guests(work, guests, err) != 0) {
        return -1;
    }
    describe(work, guests, true, work->observed.missing_guests, sizeof work->observed.missing_guests);
    describe(work, guests, false, work->observed.orphan_guests, sizeof work->observed.orphan_guests);
    note_only_vm(work, guests);
    return network_policies_observe(work, err) == 0 ? network_ports_observe(work, err) : -1;
}

static int repair(struct network_work *work, struct guests *guests, struct error *err)
{
    if (read_interfaces(work, err) != 0 || find_wanted(work, guests, err) != 0) {
        return -1;
    }
    return nft_guests_restore(work->worker->mark, guests->wanted, guests->wanted_count, err);
}

static int apply_base(struct network_work *work, struct guests *guests, struct error *err)
{
    struct nft_base base = network_firewall_base(work);
    const char *uplinks[NETWORK_UPLINKS_MAX];
    struct nft_policies policies;
    if (read_interfaces(work, err) != 0 || find_wanted(work, guests, err) != 0 || network_ports_wanted(work, &guests->ports, &base.port_count, err) != 0) {
        return -1;
    }
    base.ports = guests->ports;
    if (network_policies_wanted(work, &guests->firewall, err) != 0 || firewall_policies_of(&guests->firewall, &policies, &guests->policy_vms, err) != 0) {
        return -1;
    }
    base.policies = &policies;
    return nft_base_apply(&base, uplinks, network_uplinks(work, uplinks), guests->wanted, guests->wanted_count, err);
}

static int apply_policies(struct network_work *work, struct guests *guests, struct error *err)
{
    (void)guests;
    return network_policies_repair(work, err);
}

static int set_ports(struct network_work *work, struct guests *guests, struct error *err)
{
    (void)guests;
    return read_interfaces(work, err) == 0 ? network_ports_repair(work, err) : -1;
}

static int set_loopback(struct network_work *work, struct guests *guests, struct error *err)
{
    (void)guests;
    return read_interfaces(work, err) == 0 ? network_loopback_set(work, err) : -1;
}

static int under_lock(struct network_work *work, int (*run)(struct network_work *work, struct guests *guests, struct error *err), struct error *err)
{
    struct guests guests = {.wanted = NULL};
    (void)pthread_mutex_lock(&work->worker->guests_lock);
    int result = run(work, &guests, err);
    (void)pthread_mutex_unlock(&work->worker->guests_lock);
    guests_free(&guests);
    return result;
}

int network_guests_observe(struct network_work *work, struct error *err)
{
    return under_lock(work, observe, err);
}

int network_guests_repair(struct network_work *work, struct error *err)
{
    return under_lock(work, repair, err);
}

int network_guests_apply_base(struct network_work *work, struct error *err)
{
    return under_lock(work, apply_base, err);
}

int network_guests_apply_policies(struct network_work *work, struct error *err)
{
    return under_lock(work, apply_policies, err);
}

int network_guests_set_ports(struct network_work *work, struct error *err)
{
    return under_lock(work, set_ports, err);
}

int network_guests_set_loopback(struct network_work *work, struct error *err)
{
    return under_lock(work, set_loopback, err);
}
