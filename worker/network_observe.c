/* The network as it is. */
#include "core/cleanup.h"
#include "db/facts.h"
#include "db/vms.h"
#include "host/sysctl.h"
#include "worker/network_work.h"

#include <stdio.h>
#include <string.h>

void network_work_free(struct network_work *work)
{
    free(work->links);
    free(work->guests);
    free(work->orphan_taps);
    free(work->orphan_guests);
}

void network_bridge_alias(const struct worker *worker, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s:bridge", worker->mark);
}

struct nft_base network_firewall_base(const struct worker *worker)
{
    return (struct nft_base){.mark = worker->mark,
                             .bridge = worker->config->network.bridge,
                             .tap_prefix = worker->tap_prefix,
                             .subnet = worker->config->network.subnet,
                             .gateway = worker->gateway,
                             .masquerade = worker->config->network.masquerade};
}

static int observe_bridge(struct network_work *work, struct error *err)
{
    const struct worker *worker = work->worker;
    char alias[LINK_ALIAS_MAX];
    network_bridge_alias(worker, alias, sizeof alias);
    for (size_t i = 0; i < work->link_count; i++) {
        const struct link_info *link = &work->links[i];
        if (strcmp(link->name, work->bridge) == 0) {
            bool has_address = false;
            if (link_has_address(work->bridge, worker->gateway, worker->config->network.subnet.prefix, &has_address,
                                 err) != 0) {
                return -1;
            }
            work->observed.bridge_ok = link->is_bridge && link->up && strcmp(link->alias, alias) == 0 && has_address;
        }
    }
    return 0;
}

static int observe_uplink(struct network_work *work, struct error *err)
{
    const char *configured = work->worker->config->network.uplink;
    struct network_observed *seen = &work->observed;
    char(*uplinks)[INTERFACE_NAME_MAX] = NULL;
    size_t count = 0;
    if (configured != NULL) {
        (void)snprintf(seen->uplink, sizeof seen->uplink, "%s", configured);
    } else if (link_default_route(seen->uplink, err) != 0) {
        return -1;
    }
    if (nft_uplinks_list(work->worker->mark, &uplinks, &count, err) != 0) {
        return -1;
    }
    seen->firewall_uplink_single = count <= 1;
    if (count > 0) {
        memcpy(seen->firewall_uplink, uplinks[0], sizeof seen->firewall_uplink);
    }
    free(uplinks);
    return 0;
}

static void observe_forwarding(struct network_work *work)
{
    struct network_observed *seen = &work->observed;
    AUTO_FREE char *recorded = NULL;
    (void)sysctl_forwarding_get(work->bridge, &seen->bridge_forwards, NULL);
    if (seen->uplink[0] != '\0') {
        (void)sysctl_forwarding_get(seen->uplink, &seen->uplink_forwards, NULL);
    }
    if (facts_get(work->worker->db, "forwarded_uplink", &recorded, NULL) == 0 && recorded != NULL) {
        (void)snprintf(seen->forwarded_uplink, sizeof seen->forwarded_uplink, "%s", recorded);
    }
}

static bool is_orphan_tap(const struct network_work *work, const char *name)
{
    for (size_t i = 0; i < work->orphan_tap_count; i++) {
        const char *orphan = work->orphan_taps[i];
        if (orphan != NULL && strcmp(orphan, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A TAP is an orphan when it is marked as ours and no VM has an interface of that name; an element, when its TAP is none of ours. */
static int observe_orphans(struct network_work *work, struct error *err)
{
    const struct worker *worker = work->worker;
    const size_t mark_len = strlen(worker->mark);
    work->orphan_taps = calloc(work->link_count + 1, sizeof *work->orphan_taps);
    work->orphan_guests = calloc(work->guest_count + 1, sizeof *work->orphan_guests);
    if (work->orphan_taps == NULL || work->orphan_guests == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < work->link_count; i++) {
        const struct link_info *link = &work->links[i];
        bool ours = strncmp(link->alias, worker->mark, mark_len) == 0 && link->alias[mark_len] == ':';
        AUTO_VM_ROW row = {0};
        bool found = false;
        if (!ours || !link->is_tap) {
            continue;
        }
        if (vms_get(worker->db, link->alias + mark_len + 1, &row, &found, err) != 0) {
            return -1;
        }
        if (!found) {
            work->orphan_taps[work->orphan_tap_count++] = link->name;
        }
    }
    for (size_t g = 0; g < work->guest_count; g++) {
        bool has_tap = false;
        for (size_t i = 0; i < work->link_count && !has_tap; i++) {
            has_tap = strcmp(work->links[i].name, work->guests[g].tap) == 0 && !is_orphan_tap(work, work->links[i].name);
        }
        if (!has_tap) {
            work->orphan_guests[work->orphan_guest_count++] = work->guests[g];
        }
    }
    work->observed.orphan_taps = work->orphan_tap_count > 0;
    /* While VMs are being started, an element may be there before its TAP: only the first look may judge. */
    work->observed.orphan_guests =
        work->orphan_guest_count > 0 && atomic_load(&worker->network_state) == NETWORK_UNKNOWN;
    return 0;
}

int network_observe(struct network_work *work, struct error *err)
{
    struct nft_base base = network_firewall_base(work->worker);
    if (link_list(&work->links, &work->link_count, err) != 0 || observe_bridge(work, err) != 0 ||
        nft_base_check(&base, &work->observed.firewall_ok, err) != 0 ||
        nft_guests_list(work->worker->mark, &work->guests, &work->guest_count, err) != 0 ||
        observe_uplink(work, err) != 0 || observe_orphans(work, err) != 0) {
        return -1;
    }
    observe_forwarding(work);
    return 0;
}
