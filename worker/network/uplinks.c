/*
 * By which links guests leave the host: uplinks, and the tunnel where one is wanted; the tunnel alone where nothing may leave beside it. Uplinks are what
 * the settings name, or else all to which the host's routing leads guests (host/link/uplinks.h).
 */
#include "core/cleanup.h"
#include "host/link/sysctl.h"
#include "worker/memory.h"
#include "worker/network/work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)NETWORK_UPLINKS_MAX > (int)INTERFACE_NAMES_MAX, "the tunnel stands beside the uplinks");

size_t network_uplinks(const struct network_work *work, const char *ret[NETWORK_UPLINKS_MAX])
{
    const struct interface_names *uplinks = &work->observed.uplinks;
    size_t count = 0;
    if (work->egress.tunnel[0] != '\0') {
        ret[count++] = work->egress.tunnel;
    }
    for (size_t i = 0; i < uplinks->count && !work->egress.tunnel_only; i++) {
        if (strcmp(uplinks->items[i], work->egress.tunnel) != 0) {
            ret[count++] = uplinks->items[i];
        }
    }
    return count;
}

const struct link_info *network_link(const struct network_work *work, const char *name)
{
    for (size_t i = 0; i < work->link_count; i++) {
        if (strcmp(work->links[i].name, name) == 0) {
            return &work->links[i];
        }
    }
    return NULL;
}

/* Does the bridge take part in the routing? Else the kernel says nothing about packets that come by it. */
static bool bridge_routes(const struct network_work *work)
{
    const struct link_info *bridge = network_link(work, work->bridge);
    bool forwards = false;
    (void)sysctl_forwarding_get(work->bridge, &forwards, NULL);
    return bridge != NULL && bridge->index == work->bridge_index && bridge->up && forwards;
}

struct uplinks_question network_uplinks_question(const struct network_work *work)
{
    const struct link_info *bridge = network_link(work, work->bridge);
    return (struct uplinks_question){.bridge = work->bridge,
                                     .subnet = work->settings.subnet,
                                     .gateway = work->settings.gateway,
                                     .subnet6 = network_has_ipv6(&work->settings) ? &work->settings.subnet6 : NULL,
                                     .as_host = work->egress.all || work->asked_early,
                                     .no_carrier = bridge != NULL && !bridge->carrier};
}

/* Are all of them among the links that were listed? */
static bool are_listed(const struct network_work *work)
{
    for (size_t i = 0; i < work->ways.names.count; i++) {
        if (network_link(work, work->ways.names.items[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* One that came or was renamed since the links were listed is looked for among those of now: what is on record of it would be lost else. */
static int find_ways(struct network_work *work, struct error *err)
{
    struct uplinks_question question = network_uplinks_question(work);
    if (uplinks_find(&question, &work->ways, err) != 0) {
        return -1;
    }
    if (are_listed(work)) {
        return 0;
    }
    free(work->links);
    work->links = NULL;
    work->link_count = 0;
    return link_list(&work->links, &work->link_count, err) != 0 ? -1 : uplinks_find(&question, &work->ways, err);
}

static int find_uplinks(struct network_work *work, struct error *err)
{
    struct interface_names *uplinks = &work->observed.uplinks;
    /* The rules of a tunnel that had all of it may still be there: the tunnel is no uplink for that. */
    work->asked_early = !work->egress.all && (work->memory.egress.all || !bridge_routes(work));
    if (find_ways(work, err) != 0) {
        return -1;
    }
    if (work->settings.uplink[0] != '\0') {
        (void)interface_names_add(uplinks, work->settings.uplink);
    } else if (work->asked_early && work->memory.uplinks.count > 0) {
        *uplinks = work->memory.uplinks; /* until it can be asked */
    } else {
        *uplinks = work->ways.names;
        interface_names_remove(uplinks, work->egress.tunnel); /* what it needs is done with it */
    }
    return 0;
}

static bool holds(char (*names)[INTERFACE_NAME_MAX], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void join(const char *const *names, size_t count, char *buf, size_t size)
{
    size_t used = 0;
    (void)snprintf(buf, size, "nothing");
    for (size_t i = 0; i < count && used < size; i++) {
        used += (size_t)snprintf(buf + used, size - used, "%s%s", i > 0 ? " and " : "", names[i]);
    }
}

int network_uplinks_observe(struct network_work *work, struct error *err)
{
    const char *wanted[NETWORK_UPLINKS_MAX];
    AUTO_FREE char(*seen)[INTERFACE_NAME_MAX] = NULL;
    size_t count = 0;
    if (find_uplinks(work, err) != 0 || nft_uplinks_list(work->worker->mark, &seen, &count, err) != 0) {
        return -1;
    }
    size_t wanted_count = network_uplinks(work, wanted);
    bool same = count == wanted_count;
    for (size_t i = 0; i < wanted_count; i++) {
        same = same && holds(seen, count, wanted[i]);
    }
    if (!same) {
        char names[NETWORK_FOUND_MAX / 2];
        join(wanted, wanted_count, names, sizeof names);
        (void)snprintf(work->observed.uplinks_found, sizeof work->observed.uplinks_found, "set uplink holds %s%s, not %s", count > 0 ? seen[0] : "nothing",
                       count > 1 ? " and others" : "", names);
    }
    return 0;
}

/* One that was renamed is on record under its old name, too, until that is found to be no uplink any more. */
static void follow_names(const struct network_work *work, struct interface_names *forwarded)
{
    const struct interface_names before = *forwarded;
    for (size_t i = 0; i < work->memory.uplinks.count; i++) {
        const char *name = work->memory.uplinks.items[i];
        if (!interface_names_have(&before, name) || network_link(work, name) != NULL) {
            continue;
        }
        for (size_t k = 0; k < work->link_count; k++) {
            if (work->links[k].index == work->memory.uplink_indices[i]) {
                (void)interface_names_add(forwarded, work->links[k].name);
            }
        }
    }
}

int network_find_idle(const struct network_work *work, network_forwarding_get *get, enum memory_item item, struct interface_names *ret_idle,
                      struct interface_names *ret_forwarded, struct error *err)
{
    const struct interface_names *uplinks = &work->observed.uplinks;
    AUTO_FREE char *recorded = memory_get(work->worker->memory, item);
    for (size_t i = 0; i < uplinks->count; i++) {
        bool on = false;
        if (network_link(work, uplinks->items[i]) != NULL && (get(uplinks->items[i], &on, NULL) != 0 || !on)) {
            (void)interface_names_add(ret_idle, uplinks->items[i]);
        }
    }
    if (recorded == NULL) {
        return error_oom(err); /* what was turned on must not be forgotten */
    }
    interface_names_parse(recorded, ret_forwarded);
    follow_names(work, ret_forwarded);
    return 0;
}

static int record(const struct network_work *work, enum memory_item item, const struct interface_names *names, struct error *err)
{
    char text[INTERFACE_NAMES_TEXT_MAX];
    return memory_set(work->worker->memory, item, interface_names_format(names, text), err);
}

/* A link that is gone is none to set. */
static int set_all(network_forwarding_set *set, const struct interface_names *names, bool on, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        struct error why = {.sys_errno = 0};
        if (set(names->items[i], on, &why) != 0 && why.sys_errno != ENOENT) {
            *err = why;
            return -1;
        }
    }
    return 0;
}

int network_forward(struct network_work *work, network_forwarding_set *set, enum memory_item item, const struct interface_names *idle,
                    struct interface_names *forwarded, struct error *err)
{
    for (size_t i = 0; i < idle->count; i++) {
        (void)interface_names_add(forwarded, idle->items[i]); /* those of before that are no uplinks are off it by now, so there is room */
    }
    /* On record first: a crash in between turns off again something that was off. */
    return record(work, item, forwarded, err) == 0 ? set_all(set, idle, true, err) : -1;
}

int network_unforward(struct network_work *work, network_forwarding_set *set, enum memory_item item, const struct interface_names *uplinks,
                      struct interface_names *forwarded, struct error *err)
{
    struct interface_names old = *forwarded;
    for (size_t i = 0; i < uplinks->count; i++) {
        interface_names_remove(&old, uplinks->items[i]);
    }
    if (set_all(set, &old, false, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < old.count; i++) {
        interface_names_remove(forwarded, old.items[i]);
    }
    return record(work, item, forwarded, err);
}
