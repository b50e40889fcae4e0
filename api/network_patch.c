/* PATCH /network: what can be changed at run time. Null takes a change back: then what is configured counts. */
#include "api/etag.h"
#include "api/handlers.h"
#include "api/network.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/events.h"
#include "db/network.h"

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
    if (subnet != NULL && (network_subnet_parse(subnet, &net, &why) != 0 ||
                           network_subnet6_check_room(&call->api->config->network.ipv6_subnet, net, &why) != 0)) {
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
           a->has_quarantine == b->has_quarantine &&
           (!a->has_subnet || (a->subnet.address == b->subnet.address && a->subnet.prefix == b->subnet.prefix)) &&
           (!a->has_uplink || strcmp(a->uplink, b->uplink) == 0) && (!a->has_masquerade || a->masquerade == b->masquerade) &&
           (!a->has_quarantine || a->lease_quarantine_s == b->lease_quarantine_s);
}

/* A guest keeps the address, the mask and the gateway that it was started with: another subnet needs a network without VMs. */
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
    if (network_addresses_outside(call->api->db, 1, 0, VMS_NAMED_MAX, rows, &count, &total, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        spec_faults_add(&call->faults, "body", "/subnet", "VM '%s' has %s", rows[i].vm, ipv4_format(rows[i].address, text));
    }
    if (total == 0) {
        return 0;
    }
    return error_set(err, ERR_IN_USE, "%zu VM%s %s addresses in %s ('%s'%s), and can't follow into another subnet: delete them first", total,
                     total == 1 ? "" : "s", total == 1 ? "has" : "have", ipv4_net_format(now.subnet, text), rows[0].vm,
                     total > 1 ? " and others, see errors" : "");
}

static int add_event(struct call *call, struct error *err)
{
    AUTO_FREE char *data = json_text(call->body);
    return data == NULL ? error_oom(err) : events_add(call->api->db, "network.changed", "network", "", data, err);
}

/* Inside the transaction. */
static int change(struct call *call, struct network_overrides *wanted, bool *ret_written, struct error *err)
{
    AUTO_LOOK before = {0};
    if (network_look_at(call->api, &before, err) != 0 || etag_require(call, before.etag, err) != 0) {
        return -1;
    }
    merge(call->body, wanted);
    *ret_written = !same(wanted, &call->api->network_overrides);
    if (!*ret_written) {
        return 0;
    }
    if (check_subnet(call, wanted, err) != 0 || network_overrides_set(call->api->db, wanted, err) != 0) {
        return -1;
    }
    return add_event(call, err);
}

int network_handle_patch(struct call *call, struct api_reply *reply, struct error *err)
{
    struct api *api = call->api;
    struct network_overrides wanted = api->network_overrides;
    AUTO_LOOK look = {0};
    bool is_written = false;
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (change(call, &wanted, &is_written, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    api->network_overrides = wanted;
    if (is_written) {
        call_wake(api, "network", "");
    }
    if (network_look_at(api, &look, err) != 0) {
        return -1;
    }
    struct written written = {.subject = &network_subject, .kind = WRITE_CHANGE, .id = "", .identity = 0, .look = &look};
    return written_reply(&call->origin, &written, reply, err);
}
