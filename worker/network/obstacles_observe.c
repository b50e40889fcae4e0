/* What of the obstacles (worker/network/obstacles.h) is seen now. */
#include "worker/border/wanted.h"
#include "worker/network/work.h"

#include <stdio.h>
#include <string.h>

static void observe_ways(struct network_work *work)
{
    struct network_seen *seen = &work->obstacles;
    const struct uplinks *ways = &work->ways;
    const char *named = work->settings.uplink;
    bool all_tunnelled = work->egress.all; /* then what the host's routes say is no matter of guests */
    seen->no_uplink = named[0] != '\0' ? network_link(work, named) == NULL : !ways->ipv4;
    seen->no_uplink6 = network_has_ipv6(&work->settings) && !ways->ipv6 && named[0] == '\0' && !all_tunnelled;
    if (all_tunnelled) {
        return;
    }
    if (named[0] == '\0') {
        (void)snprintf(seen->hole, sizeof seen->hole, "%s", ways->hole4);
        (void)snprintf(seen->hole6, sizeof seen->hole6, "%s", ways->hole6);
        (void)snprintf(seen->beside, sizeof seen->beside, "%s", ways->unused);
        seen->beside_count = ways->unused_count;
        seen->left_out = ways->left_out;
    }
    for (size_t i = 0; i < ways->names.count && named[0] != '\0' && !work->asked_early && seen->unused[0] == '\0'; i++) {
        const char *way = ways->names.items[i];
        if (strcmp(way, named) != 0 && strcmp(way, work->egress.tunnel) != 0) {
            (void)snprintf(seen->unused, sizeof seen->unused, "%s", way);
        }
    }
}

static void observe_carrier(struct network_work *work)
{
    struct network_seen *seen = &work->obstacles;
    for (size_t i = 0; i < work->observed.uplinks.count && seen->down[0] == '\0'; i++) {
        const struct link_info *link = network_link(work, work->observed.uplinks.items[i]);
        if (link != NULL && !link->carrier) {
            (void)snprintf(seen->down, sizeof seen->down, "%s", link->name);
            seen->down_by_hand = !link->up;
        }
    }
}

/* The bridge has a carrier while a VM runs; without one its own route may not count, and nobody waits for an answer. */
static void observe_answers(struct network_work *work)
{
    const struct link_info *bridge = network_link(work, work->bridge);
    struct uplinks_question question = network_uplinks_question(work);
    struct uplinks used = work->ways;
    for (size_t i = 0; i < used.names.count; i++) {
        used.asked[i].version = interface_names_have(&work->observed.uplinks, used.names.items[i]) ? used.asked[i].version : IP_NONE;
    }
    if (bridge != NULL && bridge->carrier && !question.as_host) {
        (void)uplinks_check_answers(&question, &used, work->obstacles.lost, NULL);
    }
}

void network_observe_obstacles(struct network_work *work, bool ready)
{
    struct network_seen *seen = &work->obstacles;
    const struct network_observed *observed = &work->observed;
    bool overlap = false;
    uint32_t first = 0;
    uint32_t last = 0;
    size_t named = 0;
    seen->foreign_bridge = observed->bridge_present && work->bridge_index == 0;
    observe_ways(work);
    observe_carrier(work);
    if (ready) {
        observe_answers(work);
    }
    network_guest_range(work->settings.subnet, &first, &last);
    (void)border_addresses_outside(work->worker->border, first, last, &seen->outside, 1, &named, &seen->outside_count, NULL);
    if (link_route_overlap(work->settings.subnet, work->bridge, &overlap, seen->overlap, NULL) != 0 || !overlap) {
        seen->overlap[0] = '\0';
    }
    (void)forward_block_find(work->worker->mark, work->bridge, &seen->block, NULL);
}
