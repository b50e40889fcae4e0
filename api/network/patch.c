/* PATCH /network: what can be changed at run time. Null takes a change back: then what is configured counts. */
#include "api/etag.h"
#include "api/handlers.h"
#include "api/network/network.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/events.h"
#include "db/network.h"

#include <stdlib.h>
#include <string.h>

enum { VMS_NAMED_MAX = LIMIT_JSON_ERRORS };

static void add_fault(struct call *call, const char *pointer, const struct error *why)
{
    /* One kind of fault has its own code; several together have the body's. */
    call->has_fault_code = call->faults.count == 0;
    call->fault_code = why->code;
    spec_faults_add(&call->faults, "body", pointer, "%s", why->message);
}

void network_check_patch(struct call *call)
{
    const char *subnet = json_get_string(call->body, "subnet");
    const char *uplink = json_get_string(call->body, "uplink");
    struct ipv4_net net;
    struct error why;
    if (subnet != NULL &&
        (network_subnet_parse(subnet, &net, &why) != 0 || network_subnet6_check_room(&call->api->config->network.ipv6_subnet, net, &why) != 0)) {
        add_fault(call, "/subnet", &why);
    }
    if (uplink != NULL && network_uplink_check(uplink, call->api->config->network.bridge, &why) != 0) {
        add_fault(call, "/uplink", &why);
    }
}

/* A merge patch (RFC 7396). The body is checked. */
static void merge(const json_t *body, struct network_overrides *o)
{
    const json_t *subnet = json_object_get(body, "subnet");
    const json_t *uplink = json_object_get(body, "uplink");
    const json_t *masquerade = json_object_get(body, "masquerade");
    const json_t *quarantine = json_object_get(body, "lease_quarantine_s");
    if (subnet != NULL) {
        o->has_subnet = json_is_string(subnet) && network_subnet_parse(json_string_value(subnet), &o->subnet, NULL) == 0;
    }
    if (uplink != NULL) {
        o->has_uplink = json_is_string(uplink);
        bool named = o->has_uplink && strcmp(json_string_value(uplink), UPLINK_DEFAULT) != 0;
        (void)snprintf(o->uplink, sizeof o->uplink, "%s", named ? json_string_value(uplink) : "");
    }
    if (masquerade != NULL) {
        o->has_masquerade = json_is_boolean(masquerade);
        o->masquerade = json_is_true(masquerade);
    }
    if (quarantine != NULL) {
        o->has_quarantine = !json_is_null(quarantine);
        o->lease_quarantine_s = (unsigned)json_get_int(body, "lease_quarantine_s", 0);
    }
}

/* Does anything differ that is set? What is not set may hold anything. */
static bool same(const struct network_overrides *a, const struct network_overrides *b)
{
    return a->has_subnet == b->has_subnet && a->has_uplink == b->has_uplink && a->has_masquerade == b->has_masquerade &&
           a->has_quarantine == b->has_quarantine && (!a->has_subnet || (a->subnet.address == b->subnet.address && a->subnet.prefix == b->subnet.prefix)) &&
           (!a->has_uplink || strcmp(a->uplink, b->uplink) == 0) && (!a->has_masquerade || a->masquerade == b->masquerade) &&
           (!a->has_quarantine || a->lease_quarantine_s == b->lease_quarantine_s);
}

/*
 * A guest keeps the address, the mask and the gateway that it was started with: another subnet
 * waits for its end. Those that do not run get an address of the new one with their next start.
 */
static int check_subnet(struct call *call, const struct network_overrides *wanted, struct error *err)
{
    struct network_settings now = api_network(call->api);
    struct network_settings then;
    struct network_address_row rows[VMS_NAMED_MAX];
    char text[CIDR_TEXT_MAX];
    size_t count = 0;
    size_t total = 0;
    network_settings_make(call->api->config, wanted, &then);
    if (then.subnet.address == now.subnet.address && then.subnet.prefix == now.subnet.prefix) {
        return 0;
    }
    if (network_addresses_in_use(call->api->db, VMS_NAMED_MAX, rows, &count, &total, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        spec_faults_add(&call->faults, "body", "/subnet", "VM '%s' has %s", rows[i].vm, ipv4_format(rows[i].address, text));
    }
    if (total == 0) {
        return 0;
    }
    return error_set(err, ERR_IN_USE, "%zu VM%s run%s with addresses in %s ('%s'%s), and can't follow into another subnet: stop them first", total,
                     total == 1 ? "" : "s", total == 1 ? "s" : "", ipv4_net_format(now.subnet, text), rows[0].vm, total > 1 ? " and others, see errors" : "");
}

struct network_write {
    struct network_overrides wanted;
};

static bool moves(const struct call *call, const struct network_overrides *wanted, struct ipv4_net *ret)
{
    struct network_settings now = api_network(call->api);
    struct network_settings then;
    network_settings_make(call->api->config, wanted, &then);
    *ret = then.subnet;
    return then.subnet.address != now.subnet.address || then.subnet.prefix != now.subnet.prefix;
}

/* Another daemon of this host may have the subnet: the worker knows. */
static int ask(struct write *write, struct write_question *ret, struct error *err)
{
    struct network_overrides wanted = write->call->api->network_overrides;
    struct ipv4_net subnet;
    char text[CIDR_TEXT_MAX];
    merge(write->call->body, &wanted);
    if (!moves(write->call, &wanted, &subnet)) {
        return 0;
    }
    *ret = (struct write_question){.name = "network_check", .member = "subnet", .value = strdup(ipv4_net_format(subnet, text))};
    return ret->value != NULL ? 0 : error_oom(err);
}

static int find(struct write *write, struct error *err)
{
    AUTO_LOOK before = {0};
    struct api *api = write->call->api;
    if (network_look_at(api, &api->network_overrides, &before, err) != 0) {
        return -1;
    }
    memcpy(write->version, before.etag, sizeof write->version);
    return 0;
}

static int change(struct write *write, struct error *err)
{
    struct network_write *network = write->state;
    struct call *call = write->call;
    network->wanted = call->api->network_overrides;
    merge(call->body, &network->wanted);
    write->is_needless = same(&network->wanted, &call->api->network_overrides);
    return write->is_needless ? 0 : check_subnet(call, &network->wanted, err);
}

static int store(struct write *write, struct error *err)
{
    struct network_write *network = write->state;
    return network_overrides_set(write->call->api->db, &network->wanted, err);
}

static int add_event(struct write *write, struct error *err)
{
    AUTO_FREE char *data = json_text(write->call->body);
    return data == NULL ? error_oom(err) : events_add(write->call->api->db, EVENT_NETWORK_CHANGED, "network", "", data, err);
}

static int look(struct write *write, struct error *err)
{
    const struct network_write *network = write->state;
    return network_look_at(write->call->api, &network->wanted, &write->look, err);
}

static int wish(struct write *write, struct plan_wish *ret, struct error *err)
{
    const struct network_write *network = write->state;
    ret->overrides = calloc(1, sizeof *ret->overrides);
    if (ret->overrides == NULL) {
        return error_oom(err);
    }
    ret->override_count = 1;
    *ret->overrides = network->wanted;
    return 0;
}

static void committed(struct write *write)
{
    const struct network_write *network = write->state;
    write->call->api->network_overrides = network->wanted;
    call_wake(write->call->api, "network", "");
}

int network_handle_patch(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.subject = &network_subject,
                                             .kind = WRITE_CHANGE,
                                             .state_size = sizeof(struct network_write),
                                             .ask = ask,
                                             .find = find,
                                             .change = change,
                                             .store = store,
                                             .event = add_event,
                                             .look = look,
                                             .wish = wish,
                                             .committed = committed};
    return write_run(call, &steps, reply, err);
}
