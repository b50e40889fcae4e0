/* The bridge, its subnet, and what the worker observed of them. */
#include "api/network/network.h"

#include "api/handlers.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/facts.h"
#include "db/leases.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What the worker observed: {"uplink", "uplinks", "observed_generation", "conditions"}. */
static int read_fact(struct api *api, json_t **ret, struct error *err)
{
    AUTO_FREE char *text = NULL;
    if (facts_get(api->db, "network", &text, err) != 0) {
        return -1;
    }
    if (text == NULL) {
        return error_set(err, ERR_UNAVAILABLE, "the network has not been looked at yet");
    }
    return json_parse(text, strlen(text), ret, err);
}

static int add_addresses(struct api *api, struct strbuf *b, const struct network_settings *settings, struct error *err)
{
    uint32_t first = 0;
    uint32_t last = 0;
    int64_t used = 0;
    int64_t quarantined = 0;
    if (leases_count(api->db, (int64_t)settings->lease_quarantine_s * 1000, &used, &quarantined, err) != 0) {
        return -1;
    }
    network_guest_range(settings->subnet, &first, &last);
    strbuf_add(b, ",\"addresses\":{\"total\":");
    json_out_int(b, (int64_t)last - first + 1);
    strbuf_add(b, ",\"used\":");
    json_out_int(b, used);
    strbuf_add(b, ",\"quarantined\":");
    json_out_int(b, quarantined);
    strbuf_add_char(b, '}');
    return 0;
}

static void add_settings(struct strbuf *b, const struct network_settings *settings)
{
    char text[CIDR_TEXT_MAX];
    char text6[IP_NET_TEXT_MAX];
    strbuf_add(b, "{\"bridge\":");
    json_out_string(b, settings->bridge);
    strbuf_add(b, ",\"subnet\":");
    json_out_string(b, ipv4_net_format(settings->subnet, text));
    strbuf_add(b, ",\"gateway\":");
    json_out_string(b, ipv4_format(settings->gateway, text));
    bool ipv6 = network_has_ipv6(settings);
    strbuf_add(b, ",\"ipv6_subnet\":");
    json_out_string(b, ipv6 ? ip_net_format(&settings->subnet6, text6) : NULL);
    strbuf_add(b, ",\"ipv6_gateway\":");
    json_out_string(b, ipv6 ? ip_addr_format(&settings->gateway6, text6) : NULL);
    strbuf_add(b, ",\"wanted_uplink\":");
    json_out_string(b, settings->uplink[0] != '\0' ? settings->uplink : UPLINK_DEFAULT);
    strbuf_add(b, ",\"masquerade\":");
    json_out_bool(b, settings->masquerade);
    strbuf_add(b, ",\"lease_quarantine_s\":");
    json_out_int(b, settings->lease_quarantine_s);
    strbuf_add(b, ",\"generation\":");
    json_out_int(b, settings->generation);
}

int network_look_at(struct api *api, const struct network_overrides *overrides, struct look *ret, struct error *err)
{
    struct network_settings settings;
    network_settings_make(api->config, overrides, &settings);
    AUTO_JSON *fact = NULL;
    if (read_fact(api, &fact, err) != 0) {
        return -1;
    }
    AUTO_FREE char *conditions = json_text(json_object_get(fact, "conditions"));
    int64_t observed = json_get_int(fact, "observed_generation", 0);
    add_settings(&ret->body, &settings);
    strbuf_add(&ret->body, ",\"observed_generation\":");
    json_out_int(&ret->body, observed);
    strbuf_add(&ret->body, ",\"uplink\":");
    json_out_string(&ret->body, json_get_string(fact, "uplink"));
    AUTO_FREE char *uplinks = json_text(json_object_get(fact, "uplinks"));
    strbuf_add(&ret->body, ",\"uplinks\":");
    strbuf_add(&ret->body, uplinks != NULL ? uplinks : "[]");
    if (add_addresses(api, &ret->body, &settings, err) != 0) {
        return -1;
    }
    strbuf_add(&ret->body, ",\"conditions\":");
    strbuf_add(&ret->body, conditions != NULL ? conditions : "[]");
    strbuf_add_char(&ret->body, '}');
    (void)snprintf(ret->etag, sizeof ret->etag, "\"network-%" PRId64 "\"", settings.generation);
    ret->settled = observed >= settings.generation;
    if (ret->settled) {
        look_fail_unless_ready(ret, json_object_get(fact, "conditions"), ERR_BRIDGE_SETUP_FAILED);
    }
    return 0;
}

static int look_network(struct api *api, const char *id, int64_t identity, const struct wait_goal *goal, bool whole, struct look *ret, struct error *err)
{
    (void)goal;
    (void)id;
    (void)identity;
    (void)whole;
    return network_look_at(api, &api->network_overrides, ret, err);
}

const struct wait_subject network_subject = {.kind = "network", .path = "/network", .look = look_network};

int network_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_LOOK look = {0};
    return network_look_at(call->api, &call->api->network_overrides, &look, err) == 0 ? look_reply(&look, 200, reply, err) : -1;
}
