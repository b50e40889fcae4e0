/*
 * Entries: the host's other interfaces, by which clients of published ports come. The kernel passes on what comes in by an interface only while
 * forwarding is on there, so it is turned on while a port is published; and the firewall (set `entries`) drops whatever else the host would pass on
 * from there then, so that it becomes no router. Uplinks and the tunnel, where forwarding was turned on for guests, are guarded likewise. Where the
 * host passes on everything anyway (ip_forward), there is nothing to do. Entries are of IPv4 only: IPv6 knows no such switch of an interface before
 * Linux 6.17. Uplinks are guarded in both versions; an older kernel has one switch for IPv6, and then they are, where it was the daemon that turned it on.
 */
#include "core/cleanup.h"
#include "host/link/bridge_ipv6.h"
#include "host/link/sysctl.h"
#include "host/nft/conntrack.h"
#include "worker/memory.h"
#include "worker/network/work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES_TEXT_MAX = NETWORK_ENTRIES_MAX * INTERFACE_NAME_MAX };

static bool holds(const struct network_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Those that don't fit are left out: a host with more interfaces turns on ip_forward. */
static void add_name(struct network_names *names, const char *name)
{
    if (names->count < NETWORK_ENTRIES_MAX && name[0] != '\0' && strlen(name) < INTERFACE_NAME_MAX && !holds(names, name)) {
        memcpy(names->items[names->count++], name, strlen(name) + 1);
    }
}

/* Where the daemon turned forwarding on: names with a space between them, as no interface's name has one. */
static int read_record(const struct network_work *work, struct network_names *ret, struct error *err)
{
    AUTO_FREE char *text = memory_get(work->worker->memory, MEMORY_FORWARDED_ENTRIES);
    char *rest = NULL;
    if (text == NULL) {
        return error_oom(err);
    }
    for (char *name = strtok_r(text, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest)) {
        add_name(ret, name);
    }
    return 0;
}

static int write_record(const struct network_work *work, const struct network_names *names, struct error *err)
{
    char text[ENTRIES_TEXT_MAX] = "";
    size_t len = 0;
    for (size_t i = 0; i < names->count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i > 0 ? " " : "", names->items[i]);
    }
    return memory_set(work->worker->memory, MEMORY_FORWARDED_ENTRIES, text, err);
}

static bool is_uplink(const struct network_work *work, const char *name)
{
    const char *uplinks[NETWORK_UPLINKS_MAX];
    const size_t count = network_uplinks(work, uplinks);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(uplinks[i], name) == 0) {
            return true;
        }
    }
    return strcmp(name, work->bridge) == 0;
}

static bool has_ipv4(const char *name)
{
    struct ip_addr *addresses = NULL;
    size_t count = 0;
    bool found = false;
    if (conntrack_local_addresses(&name, 1, &addresses, &count, NULL) != 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        found = found || (addresses[i].version == IP_V4 && addresses[i].bytes[0] != 127);
    }
    free(addresses);
    return found;
}

/* Bridges and TAPs, also of another daemon: its guests would be cut off. */
static bool is_of_daemon(const struct link_info *link)
{
    static const char mark[] = "smartvm";
    return strncmp(link->alias, mark, sizeof mark - 1) == 0 && strchr(link->alias, ':') != NULL;
}

/* A port of a bridge has no addresses. */
static bool may_be_entry(const struct network_work *work, const struct link_info *link)
{
    return !is_of_daemon(link) && link->master == 0 && !is_uplink(work, link->name) && has_ipv4(link->name);
}

static int find_wanted(struct network_work *work, const struct network_names *recorded, struct error *err)
{
    bool all = false;
    if (!work->entries_wanted || work->egress.tunnel_only) { /* then answers don't leave there either */
        return 0;
    }
    if (sysctl_forwarding_get("all", &all, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < work->link_count && !all; i++) {
        const char *name = work->links[i].name;
        bool on = true;
        if (may_be_entry(work, &work->links[i]) && sysctl_forwarding_get(name, &on, NULL) == 0 && (!on || holds(recorded, name))) {
            add_name(&work->entries, name);
            work->entry_idle = work->entry_idle || !on;
        }
    }
    return 0;
}

/* Uplinks are on record when the daemon turned forwarding on there, or are about to be. */
static int find_guarded(struct network_work *work, struct error *err)
{
    const struct network_observed *seen = &work->observed;
    bool all = false;
    work->guarded = work->entries;
    if (sysctl_forwarding_get("all", &all, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < seen->uplinks.count && !all; i++) {
        const char *name = seen->uplinks.items[i];
        if (interface_names_have(&seen->forwarded_uplinks, name) || interface_names_have(&seen->idle_uplinks, name)) {
            add_name(&work->guarded, name);
        }
    }
    if (!all) {
        add_name(&work->guarded, work->egress.tunnel);
    }
    return 0;
}

static int find_guarded6(struct network_work *work, struct error *err)
{
    const struct network_observed *seen = &work->observed;
    bool all = false;
    if (!seen->ipv6_wanted) {
        return 0;
    }
    if (ipv6_forwards_everything(&all, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < seen->uplinks.count && !all; i++) {
        const char *name = seen->uplinks.items[i];
        if (interface_names_have(&seen->forwarded6_uplinks, name) || interface_names_have(&seen->idle6_uplinks, name)) {
            add_name(&work->guarded6, name);
        }
    }
    if (!all) {
        add_name(&work->guarded6, work->egress.tunnel);
    }
    return 0;
}

static bool same(const struct network_names *a, const struct network_names *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; i < a->count && equal; i++) {
        equal = holds(b, a->items[i]);
    }
    return equal;
}

/* The guard of one IP version, as it stands. */
static int read_guard(const struct network_work *work, uint8_t version, struct network_names *ret, struct error *err)
{
    AUTO_FREE char(*names)[INTERFACE_NAME_MAX] = NULL;
    size_t count = 0;
    if (nft_entries_list(work->worker->mark, version, &names, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        add_name(ret, names[i]);
    }
    return 0;
}

int network_entries_observe(struct network_work *work, struct error *err)
{
    struct network_names recorded = {.count = 0};
    struct network_names there = {.count = 0};
    struct network_names there6 = {.count = 0};
    if (read_record(work, &recorded, err) != 0 || find_wanted(work, &recorded, err) != 0 || find_guarded(work, err) != 0 || find_guarded6(work, err) != 0 ||
        read_guard(work, IP_V4, &there, err) != 0 || read_guard(work, IP_V6, &there6, err) != 0) {
        return -1;
    }
    work->observed.entries_there = work->guarded.count + work->guarded6.count > 0;
    if (!same(&recorded, &work->entries) || work->entry_idle) {
        (void)snprintf(work->observed.entries_found, sizeof work->observed.entries_found,
                       "clients of published ports are to come in by %zu other interfaces%s%s, not %zu", work->entries.count,
                       work->entries.count > 0 ? ": " : "", work->entries.count > 0 ? work->entries.items[0] : "", recorded.count);
    } else if (!same(&there, &work->guarded)) {
        (void)snprintf(work->observed.entries_found, sizeof work->observed.entries_found, "%zu interfaces are to be guarded, not %zu", work->guarded.count,
                       there.count);
    } else if (!same(&there6, &work->guarded6)) {
        (void)snprintf(work->observed.entries_found, sizeof work->observed.entries_found, "%zu interfaces are to be guarded for IPv6, not %zu",
                       work->guarded6.count, there6.count);
    }
    return 0;
}

static int replace(const struct network_work *work, uint8_t version, const struct network_names *names, struct error *err)
{
    const char *items[NETWORK_ENTRIES_MAX];
    for (size_t i = 0; i < names->count; i++) {
        items[i] = names->items[i];
    }
    return nft_entries_replace(work->worker->mark, version, items, names->count, err);
}

static int forward(const char *name, bool on, struct error *err)
{
    struct error why = {0};
    if (sysctl_forwarding_set(name, on, &why) != 0 && why.sys_errno != ENOENT) { /* it may be gone */
        *err = why;
        return -1;
    }
    return 0;
}

/* Off, unless it is an uplink now, or the host passes on everything. */
static int give_back(const struct network_work *work, const struct network_names *old, struct error *err)
{
    bool all = false;
    if (sysctl_forwarding_get("all", &all, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < old->count && !all; i++) {
        if (!holds(&work->entries, old->items[i]) && !is_uplink(work, old->items[i]) && forward(old->items[i], false, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* Guarded before forwarding is on, and on record before that; the other way round when it ends. */
int network_entries_set(struct network_work *work, struct error *err)
{
    struct network_names both = {.count = 0};
    struct network_names recorded = {.count = 0};
    if (read_record(work, &recorded, err) != 0) {
        return -1;
    }
    struct network_names guarded = work->guarded;
    both = work->entries;
    for (size_t i = 0; i < recorded.count; i++) {
        if (!is_uplink(work, recorded.items[i])) {
            add_name(&both, recorded.items[i]);
            add_name(&guarded, recorded.items[i]);
        }
    }
    if (replace(work, IP_V4, &guarded, err) != 0 || replace(work, IP_V6, &work->guarded6, err) != 0 || write_record(work, &both, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < work->entries.count; i++) {
        if (forward(work->entries.items[i], true, err) != 0) {
            return -1;
        }
    }
    return give_back(work, &recorded, err) != 0 || write_record(work, &work->entries, err) != 0 ? -1 : replace(work, IP_V4, &work->guarded, err);
}
