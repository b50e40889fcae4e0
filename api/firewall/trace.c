/*
 * What would become of the first packet of a flow, and why: the same decisions in the same order as those of the tables (host/nft/nft.h), from what is
 * stored. It says nothing of what stands outside of them: routes, other firewalls, whether the other end is there.
 */
#include "api/firewall/firewall.h"

#include "api/handlers.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/ip_range.h"
#include "core/json.h"
#include "db/facts.h"
#include "db/interfaces.h"
#include "db/ports.h"
#include "db/vms.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

struct trace {
    struct api *api;
    struct network_settings settings;
    struct address_sets sets;
    struct interface_row *interfaces;
    size_t interface_count;
    const struct interface_row *peer; /* the other end, when it is a guest too */
    enum policy_direction_name direction;
    struct policy_packet packet;
    struct vm_port published; /* by which the packet comes; host_port 0: by none */
    bool allow;
    const char *stage;
    int rule; /* POLICY_BY_DEFAULT: none */
    char why[300];
};

static void trace_free(struct trace *trace)
{
    address_sets_free(&trace->sets);
    free(trace->interfaces);
}

static void decide(struct trace *trace, bool allow, const char *stage, const char *why)
{
    trace->allow = allow;
    trace->stage = stage;
    trace->rule = POLICY_BY_DEFAULT;
    (void)snprintf(trace->why, sizeof trace->why, "%s", why);
}

/* The interface's address of this IP version; IP_NONE where guests have none. */
static struct ip_addr address_of(const struct trace *trace, const struct interface_row *interface, uint8_t version)
{
    return version == IP_V6 ? network_address6(&trace->settings, interface->address) : ip_addr_from_ipv4(interface->address);
}

static const struct interface_row *guest_at(const struct trace *trace, const struct ip_addr *address)
{
    for (size_t i = 0; i < trace->interface_count; i++) {
        struct ip_addr own = address_of(trace, &trace->interfaces[i], address->version);
        if (ip_addr_equal(&own, address)) {
            return &trace->interfaces[i];
        }
    }
    return NULL;
}

static const struct interface_row *guest_named(const struct trace *trace, const char *vm)
{
    for (size_t i = 0; i < trace->interface_count; i++) {
        if (strcmp(trace->interfaces[i].vm, vm) == 0) {
            return &trace->interfaces[i];
        }
    }
    return NULL;
}

/* One policy, in one direction. True when it denies; what it allows, the next one may still deny. */
static int ask_policy(struct trace *trace, int64_t vm_uid, enum policy_direction_name direction, const struct ip_addr *remote, bool *ret_denied,
                      struct error *err)
{
    AUTO_POLICY policy = {0};
    bool found = false;
    int rule = POLICY_BY_DEFAULT;
    struct policy_packet packet = trace->packet;
    packet.remote = *remote;
    if (firewall_read_policy(trace->api, vm_uid, &policy, NULL, &found, err) != 0) {
        return -1;
    }
    if (vm_uid != FIREWALL_HOST && !found) {
        return 0; /* the host-wide policy alone decides */
    }
    bool allow = policy_decide(&policy.directions[direction], &trace->sets, &packet, &rule);
    trace->stage = vm_uid == FIREWALL_HOST ? "host_policy" : "vm_policy";
    trace->rule = rule;
    trace->allow = allow;
    const char *comment = rule >= 0 ? policy.directions[direction].rules[rule].comment : NULL;
    if (rule >= 0) {
        (void)snprintf(trace->why, sizeof trace->why, "%s.rules[%d] of the %s policy %s it%s%.200s", policy_direction_text(direction), rule,
                       vm_uid == FIREWALL_HOST ? "host-wide" : "VM's own", allow ? "allows" : "denies", comment != NULL ? ": " : "",
                       comment != NULL ? comment : "");
    } else {
        (void)snprintf(trace->why, sizeof trace->why, "no rule matches; %s.default_action of the %s policy %s it", policy_direction_text(direction),
                       vm_uid == FIREWALL_HOST ? "host-wide" : "VM's own", allow ? "allows" : "denies");
    }
    if (!allow && rule == POLICY_BY_DEFAULT && direction == POLICY_INGRESS && trace->published.host_port != 0) {
        char host[IP_TEXT_MAX];
        trace->allow = allow = true;
        (void)snprintf(trace->why, sizeof trace->why,
                       "no rule matches, and by default published ports are let in: port %u of the host (%s) leads here; sent to the guest's own "
                       "address it would be denied",
                       trace->published.host_port, ip_addr_format(&trace->published.host, host));
    }
    *ret_denied = !allow;
    return 0;
}

/* Does a port of the host lead outsiders to this port of the guest? Then that is how they come. */
static int find_published(struct trace *trace, const struct interface_row *subject, struct error *err)
{
    AUTO_FREE struct port_row *rows = NULL;
    size_t count = 0;
    if (ports_list(trace->api->db, &rows, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        const struct vm_port *port = &rows[i].port;
        const bool for_the_host = port->host.version == IP_V4 && port->host.bytes[0] == 127;
        if (rows[i].vm_uid == subject->vm_uid && rows[i].address == subject->address && port->protocol == trace->packet.protocol &&
            port->host.version == trace->packet.remote.version && !for_the_host && trace->packet.port >= port->guest_port &&
            trace->packet.port - port->guest_port < port->count) {
            trace->published = *port;
            trace->published.host_port = (uint16_t)(port->host_port + (trace->packet.port - port->guest_port));
            trace->packet.host_port = trace->published.host_port;
            return 0;
        }
    }
    return 0;
}

/* The host-wide policy, then that of the VM. */
static int ask_both(struct trace *trace, int64_t vm_uid, enum policy_direction_name direction, const struct ip_addr *remote, bool *ret_denied,
                    struct error *err)
{
    if (ask_policy(trace, FIREWALL_HOST, direction, remote, ret_denied, err) != 0) {
        return -1;
    }
    return *ret_denied || vm_uid == FIREWALL_HOST ? 0 : ask_policy(trace, vm_uid, direction, remote, ret_denied, err);
}

static bool is_gateway(const struct trace *trace)
{
    const struct network_settings *settings = &trace->settings;
    struct ip_addr gateway = trace->packet.remote.version == IP_V6 ? settings->gateway6 : ip_addr_from_ipv4(settings->gateway);
    return ip_addr_equal(&gateway, &trace->packet.remote);
}

/* At the gateway's IPv4 address alone. */
static bool host_port_is_open(const struct trace *trace)
{
    const struct config *config = trace->api->config;
    for (size_t i = 0; trace->packet.remote.version == IP_V4 && i < config->network.open_host_port_count; i++) {
        const struct config_port *port = &config->network.open_host_ports[i];
        if (port->protocol == trace->packet.protocol && port->port == trace->packet.port) {
            return true;
        }
    }
    return false;
}

static bool range_holds(const char *text, const struct ip_addr *address)
{
    struct ip_range range;
    return firewall_parse_range(text, &range) && range.first.version == address->version &&
           memcmp(range.first.bytes, address->bytes, sizeof range.first.bytes) <= 0 && memcmp(address->bytes, range.last.bytes, sizeof range.last.bytes) <= 0;
}

/* What no policy can open. */
static int decide_isolation(struct trace *trace, bool *ret_decided, struct error *err)
{
    AUTO_FREE char *text = NULL;
    AUTO_JSON *fact = NULL;
    size_t i = 0;
    json_t *range = NULL;
    *ret_decided = true;
    if (is_gateway(trace)) {
        bool open = trace->packet.protocol == IPPROTO_ICMP || host_port_is_open(trace);
        decide(trace, open, "host",
               open ? "the host answers this at the gateway's address" : "the host's own ports are closed to guests, but for network.open_host_ports");
        return 0;
    }
    if (facts_get(trace->api->db, "network", &text, err) != 0 || (text != NULL && json_parse(text, strlen(text), &fact, err) != 0)) {
        return -1;
    }
    json_array_foreach(json_object_get(fact, "closed"), i, range)
    {
        if (range_holds(json_string_value(range), &trace->packet.remote)) {
            decide(trace, false, "closed", "");
            (void)snprintf(trace->why, sizeof trace->why, "%s is closed to guests (docs/isolation.md)", json_string_value(range));
            return 0;
        }
    }
    if (trace->peer == NULL && json_get_string(fact, "uplink") == NULL) {
        decide(trace, false, "uplink", "there is no uplink by which guests could leave");
        return 0;
    }
    *ret_decided = false;
    return 0;
}

static int run_egress(struct trace *trace, const struct interface_row *subject, struct error *err)
{
    bool decided = false;
    bool denied = false;
    const struct network_settings *settings = &trace->settings;
    struct ip_addr own = address_of(trace, subject, trace->packet.remote.version);
    struct ip_net subnet = {.address = ip_addr_from_ipv4(settings->subnet.address), .prefix = (uint8_t)settings->subnet.prefix};
    if (decide_isolation(trace, &decided, err) != 0 || decided) {
        return decided ? 0 : -1;
    }
    if (ask_both(trace, subject->vm_uid, POLICY_EGRESS, &trace->packet.remote, &denied, err) != 0 || denied) {
        return denied ? 0 : -1;
    }
    if (!ip_net_contains(trace->packet.remote.version == IP_V6 ? &settings->subnet6 : &subnet, &trace->packet.remote)) {
        return 0;
    }
    return ask_both(trace, trace->peer != NULL ? trace->peer->vm_uid : FIREWALL_HOST, POLICY_INGRESS, &own, &denied, err);
}

static int run(struct trace *trace, const struct interface_row *subject, struct error *err)
{
    bool denied = false;
    if (trace->packet.remote.version == IP_V6 && !network_has_ipv6(&trace->settings)) {
        decide(trace, false, "isolation", "IPv6 is off: guests neither send nor get it");
        return 0;
    }
    if (trace->direction == POLICY_EGRESS) {
        return run_egress(trace, subject, err);
    }
    if (is_gateway(trace)) {
        decide(trace, true, "host", "what the host itself sends to guests is not judged");
        return 0;
    }
    if (trace->peer == NULL && find_published(trace, subject, err) != 0) {
        return -1;
    }
    if (trace->peer != NULL) { /* from another guest: its egress counts too */
        struct ip_addr own = address_of(trace, subject, trace->packet.remote.version);
        if (ask_both(trace, trace->peer->vm_uid, POLICY_EGRESS, &own, &denied, err) != 0 || denied) {
            return denied ? 0 : -1;
        }
    }
    return ask_both(trace, subject->vm_uid, POLICY_INGRESS, &trace->packet.remote, &denied, err);
}

static void read_protocol(const json_t *body, struct trace *trace)
{
    const char *protocol = json_get_string(body, "protocol");
    trace->packet.protocol = strcmp(protocol, "icmp") == 0 ? IPPROTO_ICMP : strcmp(protocol, "tcp") == 0 ? IPPROTO_TCP : IPPROTO_UDP;
    trace->packet.port = (uint16_t)json_get_int(body, "port", 0);
}

/* What the schema can't tell. */
void firewall_check_trace(struct call *call)
{
    static const char *const addresses[] = {"remote", "address"};
    const json_t *body = call->body;
    if (call->faults.count > 0) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        const char *text = json_get_string(body, addresses[i]);
        struct ip_addr ignored;
        if (text != NULL && !ip_addr_parse(text, &ignored)) {
            char pointer[16];
            (void)snprintf(pointer, sizeof pointer, "/%s", addresses[i]);
            spec_faults_add(&call->faults, "body", pointer, "must be an IP address");
        }
    }
    if ((json_get_string(body, "vm") == NULL) == (json_get_string(body, "address") == NULL)) {
        spec_faults_add(&call->faults, "body", "", "must say which guest is meant, by either vm or address");
    }
    bool is_icmp = strcmp(json_get_string(body, "protocol"), "icmp") == 0;
    if ((json_object_get(body, "port") != NULL) == is_icmp) {
        spec_faults_add(&call->faults, "body", "/port", is_icmp ? "must be left out: icmp has no ports" : "is required for tcp and udp");
    }
}

static int fill(struct call *call, struct trace *trace, const struct interface_row **ret_subject, struct error *err)
{
    const json_t *body = call->body;
    const char *vm = json_get_string(body, "vm");
    const char *source = json_get_string(body, "address");
    struct ip_addr address = {.version = 0};
    trace->api = call->api;
    trace->settings = api_network(call->api);
    trace->direction = strcmp(json_get_string(body, "direction"), "egress") == 0 ? POLICY_EGRESS : POLICY_INGRESS;
    if (!ip_addr_parse(json_get_string(body, "remote"), &trace->packet.remote) || (source != NULL && !ip_addr_parse(source, &address))) {
        return error_set(err, ERR_INVALID_REQUEST, "not an IP address"); /* firewall_check_trace has looked */
    }
    read_protocol(body, trace);
    if (firewall_read_sets(call->api, &trace->sets, err) != 0 || interfaces_list(call->api->db, &trace->interfaces, &trace->interface_count, err) != 0) {
        return -1;
    }
    *ret_subject = vm != NULL ? guest_named(trace, vm) : guest_at(trace, &address);
    trace->peer = guest_at(trace, &trace->packet.remote);
    return *ret_subject != NULL ? 0 : error_set(err, ERR_NOT_FOUND, "there is no VM with a network interface '%s'", vm != NULL ? vm : source);
}

int firewall_handle_trace(struct call *call, struct api_reply *reply, struct error *err)
{
    __attribute__((cleanup(trace_free))) struct trace trace = {.rule = POLICY_BY_DEFAULT};
    AUTO_STRBUF b = STRBUF_INIT;
    char text[IP_TEXT_MAX];
    const struct interface_row *subject = NULL; /* the guest that is asked about */
    if (db_read_begin(call->api->db, err) != 0) {
        return -1;
    }
    AUTO_DB_READ *read = call->api->db;
    if (fill(call, &trace, &subject, err) != 0 || subject == NULL || run(&trace, subject, err) != 0) {
        return -1;
    }
    strbuf_addf(&b, "{\"verdict\":\"%s\",\"stage\":\"%s\",\"rule\":", trace.allow ? "allow" : "deny", trace.stage);
    if (trace.rule >= 0) {
        json_out_int(&b, trace.rule);
    } else {
        strbuf_add(&b, "null");
    }
    strbuf_add(&b, ",\"why\":");
    json_out_string(&b, trace.why);
    strbuf_add(&b, ",\"vm\":");
    json_out_string(&b, subject->vm);
    strbuf_add(&b, ",\"address\":");
    const struct ip_addr address = address_of(&trace, subject, network_has_ipv6(&trace.settings) ? trace.packet.remote.version : (uint8_t)IP_V4);
    json_out_string(&b, ip_addr_format(&address, text));
    strbuf_add(&b, ",\"peer_vm\":");
    json_out_string(&b, trace.peer != NULL ? trace.peer->vm : NULL);
    strbuf_add_char(&b, '}');
    return reply_json(reply, 200, &b, err);
}
