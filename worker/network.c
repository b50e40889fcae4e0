#include "worker/network.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "db/facts.h"
#include "db/events.h"
#include "db/vms.h"
#include "host/link.h"
#include "host/nft.h"
#include "host/sysctl.h"
#include "worker/network_plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One look at the network. */
struct network_work {
    struct worker *worker;
    const char *bridge;
    struct network_observed observed;
    struct link_info *links;
    size_t link_count;
    struct nft_guest *guests; /* in the firewall */
    size_t guest_count;
    const char **orphan_taps; /* names in links */
    size_t orphan_tap_count;
    struct nft_guest *orphan_guests;
    size_t orphan_guest_count;
};

static void network_work_free(struct network_work *work)
{
    free(work->links);
    free(work->guests);
    free(work->orphan_taps);
    free(work->orphan_guests);
}

static void bridge_alias(const struct worker *worker, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s:bridge", worker->mark);
}

/* Deterministic, locally administered, and different for bridges with different gateways. */
static struct mac bridge_mac(const struct worker *worker)
{
    uint32_t a = worker->gateway;
    return (struct mac){{0x02, 0xff, (uint8_t)(a >> 24), (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint8_t)a}};
}

static struct nft_base firewall_base(const struct worker *worker)
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
    bridge_alias(worker, alias, sizeof alias);
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

static int observe(struct network_work *work, struct error *err)
{
    struct nft_base base = firewall_base(work->worker);
    if (link_list(&work->links, &work->link_count, err) != 0 || observe_bridge(work, err) != 0 ||
        nft_base_check(&base, &work->observed.firewall_ok, err) != 0 ||
        nft_guests_list(work->worker->mark, &work->guests, &work->guest_count, err) != 0 ||
        observe_uplink(work, err) != 0 || observe_orphans(work, err) != 0) {
        return -1;
    }
    observe_forwarding(work);
    return 0;
}

static int ensure_bridge(struct network_work *work, struct error *err)
{
    const struct worker *worker = work->worker;
    char alias[LINK_ALIAS_MAX];
    char foreign[64];
    char subnet[CIDR_TEXT_MAX];
    bool overlap = false;
    bool created = false;
    struct ipv4_net net = worker->config->network.subnet;
    if (link_route_overlap(net, work->bridge, &overlap, foreign, err) != 0) {
        return -1;
    }
    if (overlap) {
        return error_set(err, ERR_BRIDGE_SETUP_FAILED,
                         "the subnet %s overlaps the host's route %s; set network.subnet to another one",
                         ipv4_net_format(net, subnet), foreign);
    }
    bridge_alias(worker, alias, sizeof alias);
    if (link_bridge_ensure(work->bridge, alias, bridge_mac(worker), worker->gateway, net.prefix, &created, err) != 0) {
        return -1;
    }
    atomic_store(&work->worker->bridge_remade, true);
    return 0;
}

/* The elements that the tables had, or, when they were lost, those of every interface whose TAP is there. */
static int collect_guests(struct network_work *work, struct nft_guest **ret, size_t *ret_count, struct error *err)
{
    struct lease_scan {
        struct vm_row *rows;
        size_t count;
    } scan = {0};
    struct nft_guest *guests = calloc(work->link_count + 1, sizeof *guests);
    if (guests == NULL) {
        return error_oom(err);
    }
    if (vms_list(work->worker->db, "", NULL, LIMIT_VMS, &scan.rows, &scan.count, err) != 0) {
        free(guests);
        return -1;
    }
    size_t n = 0;
    for (size_t v = 0; v < scan.count; v++) {
        for (size_t i = 0; i < scan.rows[v].interface_count; i++) {
            const struct vm_interface *interface = &scan.rows[v].interfaces[i];
            bool there = false;
            for (size_t l = 0; l < work->link_count && !there; l++) {
                there = strcmp(work->links[l].name, interface->tap) == 0;
            }
            if (there && n < work->link_count) {
                memcpy(guests[n].tap, interface->tap, sizeof guests[n].tap);
                guests[n].mac = interface->mac;
                guests[n++].address = interface->address;
            }
        }
    }
    vms_list_free(scan.rows, scan.count);
    *ret = guests;
    *ret_count = n;
    return 0;
}

static int apply_firewall(struct network_work *work, struct error *err)
{
    struct nft_base base = firewall_base(work->worker);
    const char *uplinks[] = {work->observed.uplink};
    AUTO_FREE struct nft_guest *guests = NULL;
    size_t count = 0;
    if (collect_guests(work, &guests, &count, err) != 0) {
        return -1;
    }
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
    return nft_base_apply(&base, uplinks, work->observed.uplink[0] != '\0' ? 1 : 0, guests, count, err);
}

static int forward_uplink(struct network_work *work, struct error *err)
{
    /* On record first: a crash in between turns off again something that was off. */
    if (facts_set(work->worker->db, "forwarded_uplink", work->observed.uplink, NULL, err) != 0) {
        return -1;
    }
    return sysctl_forwarding_set(work->observed.uplink, true, err);
}

static int unforward_old_uplink(struct network_work *work, struct error *err)
{
    struct error why = {0};
    if (sysctl_forwarding_set(work->observed.forwarded_uplink, false, &why) != 0 && why.sys_errno != ENOENT) {
        *err = why;
        return -1;
    }
    return facts_set(work->worker->db, "forwarded_uplink", "", NULL, err);
}

static int apply(struct network_work *work, enum network_op_type op, struct error *err)
{
    const char *mark = work->worker->mark;
    const char *uplinks[] = {work->observed.uplink};
    switch (op) {
    case NETWORK_OP_ENSURE_BRIDGE:
        return ensure_bridge(work, err);
    case NETWORK_OP_APPLY_FIREWALL:
        return apply_firewall(work, err);
    case NETWORK_OP_REPLACE_UPLINK:
        return nft_uplinks_replace(mark, uplinks, work->observed.uplink[0] != '\0' ? 1 : 0, err);
    case NETWORK_OP_REMOVE_TAPS:
        return link_delete(mark, work->orphan_taps, work->orphan_tap_count, err);
    case NETWORK_OP_REMOVE_GUESTS:
        return nft_guests_change(mark, NULL, 0, work->orphan_guests, work->orphan_guest_count, err);
    case NETWORK_OP_FORWARD_BRIDGE:
        return sysctl_forwarding_set(work->bridge, true, err);
    case NETWORK_OP_FORWARD_UPLINK:
        return forward_uplink(work, err);
    case NETWORK_OP_UNFORWARD_OLD_UPLINK:
        return unforward_old_uplink(work, err);
    case NETWORK_OP_COUNT_:
        break;
    }
    return error_set(err, ERR_INTERNAL, "operation %d is not known", (int)op);
}

static int observe_and_apply(struct network_work *work, struct error *err)
{
    struct network_plan plan;
    if (observe(work, err) != 0) {
        return -1;
    }
    network_plan_make(&work->observed, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        if (apply(work, plan.ops[i], err) != 0) {
            return error_prefix(err, "%s", network_op_name(plan.ops[i]));
        }
        log_event(LOG_INFO, "network.operation", "operation", network_op_name(plan.ops[i]), NULL);
        char data[96];
        (void)snprintf(data, sizeof data, "{\"operation\":\"%s\"}", network_op_name(plan.ops[i]));
        (void)events_add(work->worker->db, "network.operation", "network", "", data, NULL);
    }
    return 0;
}

static int publish(struct network_work *work, const struct error *failure, struct error *err)
{
    char now[CLOCK_TEXT_MAX];
    AUTO_FREE char *old_text = NULL;
    AUTO_JSON *old = NULL;
    const char *status = failure == NULL ? "true" : "false";
    const char *since = clock_format(clock_wall_ms(), now);
    if (facts_get(work->worker->db, "network", &old_text, NULL) == 0 && old_text != NULL &&
        json_parse(old_text, strlen(old_text), &old, NULL) == 0) {
        const json_t *condition = json_array_get(json_object_get(old, "conditions"), 0);
        const char *old_status = json_get_string(condition, "status");
        if (old_status != NULL && strcmp(old_status, status) == 0) {
            since = json_get_string(condition, "since");
        }
    }
    const char *uplink = work->observed.uplink;
    AUTO_JSON *fact = json_pack(
        "{s:o, s:[{s:s, s:s, s:s, s:s, s:s}]}", "uplink", uplink[0] != '\0' ? json_string(uplink) : json_null(),
        "conditions", "type", "ready", "status", status, "reason",
        failure == NULL ? "set_up" : error_code_name(failure->code), "message",
        failure == NULL ? "bridge, firewall and forwarding are as they should be" : failure->message, "since",
        since != NULL ? since : now);
    AUTO_FREE char *text = json_text(fact);
    bool changed = false;
    if (text == NULL) {
        return error_oom(err);
    }
    if (facts_set(work->worker->db, "network", text, &changed, err) != 0) {
        return -1;
    }
    if (changed) {
        worker_notify(work->worker, "network");
    }
    return 0;
}

int network_reconcile(struct worker *worker, struct error *err)
{
    struct network_work work = {.worker = worker, .bridge = worker->config->network.bridge};
    struct error failure = {0};
    int result = observe_and_apply(&work, &failure);
    atomic_store(&worker->network_state, result == 0 ? NETWORK_READY : NETWORK_FAILED);
    if (publish(&work, result == 0 ? NULL : &failure, err) != 0) {
        result = -1;
    } else if (result != 0) {
        *err = failure;
    }
    network_work_free(&work);
    return result;
}
