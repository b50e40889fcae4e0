/* Published ports, as a member of the document. */
#include "core/cleanup.h"
#include "core/json_build.h"
#include "core/vm_config_internal.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const char *const member_names[] = {"host_ip", "host_port", "guest_port", "count", "protocol"};
static const char *const protocol_names[] = {"tcp", "udp"};

bool vm_port_is_everywhere(const struct vm_port *port)
{
    static const uint8_t zeroes[16];
    return memcmp(port->host.bytes, zeroes, sizeof zeroes) == 0;
}

bool vm_ports_overlap(const struct vm_port *a, const struct vm_port *b)
{
    return a->protocol == b->protocol && a->host.version == b->host.version &&
           (vm_port_is_everywhere(a) || vm_port_is_everywhere(b) || ip_addr_equal(&a->host, &b->host)) && a->host_port < b->host_port + b->count &&
           b->host_port < a->host_port + a->count;
}

/* What no host has as its own, or what can't lead to a guest; NULL when there is nothing against it. */
static const char *fault_of_host(const struct vm_port *port)
{
    static const uint8_t loopback[16] = {[15] = 1};
    const struct ip_addr *host = &port->host;
    if (host->version == IP_V4) {
        return host->bytes[0] >= 224 || (host->bytes[0] == 0 && !vm_port_is_everywhere(port)) ? "is no address that a host can have" : NULL;
    }
    if (memcmp(host->bytes, loopback, sizeof loopback) == 0) {
        return "nothing leads from ::1 to a guest: the host reaches a port at its other addresses, and at 127.0.0.1";
    }
    return host->bytes[0] == 0xff || (host->bytes[0] == 0xfe && (host->bytes[1] & 0xc0) == 0x80) ? "is multicast or link-local" : NULL;
}

static void parse_host(struct config_parse *parse, const json_t *item, const char *pointer, struct vm_port *port)
{
    const char *text = config_string(parse, item, pointer, "host_ip");
    if (text == NULL) {
        return;
    }
    const char *fault = ip_addr_parse(text, &port->host) ? fault_of_host(port) : "must be an IPv4 or IPv6 address";
    if (fault != NULL) {
        config_member_fault(parse, pointer, "host_ip", "%s", fault);
    }
}

static void check_range(struct config_parse *parse, const char *pointer, const char *member, int64_t first, int64_t count)
{
    if (first + count - 1 > UINT16_MAX) {
        config_member_fault(parse, pointer, member, "with count %lld the last port would be %lld", (long long)count, (long long)(first + count - 1));
    }
}

static void parse_port(struct config_parse *parse, const json_t *item, const char *pointer, struct vm_port *port)
{
    int64_t host_port = 0;
    int64_t guest_port = 0;
    int64_t count = 1;
    unsigned protocol = 0;
    *port = (struct vm_port){.host.version = IP_V4, .protocol = IPPROTO_TCP, .count = 1};
    if (!config_is_object(parse, item, pointer, member_names, ARRAY_LEN(member_names))) {
        return;
    }
    (void)config_required(parse, item, pointer, "host_port");
    (void)config_required(parse, item, pointer, "guest_port");
    parse_host(parse, item, pointer, port);
    config_integer(parse, item, pointer, "host_port", parse->source == VM_CONFIG_STORED ? 1 : 0, UINT16_MAX, &host_port);
    config_integer(parse, item, pointer, "guest_port", 1, UINT16_MAX, &guest_port);
    config_integer(parse, item, pointer, "count", 1, LIMIT_PORT_NUMBERS, &count);
    config_name(parse, item, pointer, "protocol", protocol_names, ARRAY_LEN(protocol_names), &protocol);
    check_range(parse, pointer, "host_port", host_port, count);
    check_range(parse, pointer, "guest_port", guest_port, count);
    port->host_port = (uint16_t)host_port;
    port->guest_port = (uint16_t)guest_port;
    port->count = (uint16_t)count;
    port->protocol = protocol == 1 ? IPPROTO_UDP : IPPROTO_TCP;
}

/* A port of the host is named once. */
static void check_doubles(struct config_parse *parse, const struct vm_port *ports, size_t i, const char *pointer)
{
    for (size_t k = 0; k < i && ports[i].host_port != 0; k++) {
        if (ports[k].host_port != 0 && vm_ports_overlap(&ports[k], &ports[i])) {
            config_member_fault(parse, pointer, "host_port", ports[i].count + ports[k].count > 2 ? "has ports of /ports/%zu too" : "is that of /ports/%zu too",
                                k);
            return;
        }
    }
}

void config_parse_ports(struct config_parse *parse, const json_t *value, struct vm_config *config)
{
    size_t total = 0;
    if (!config_is_array(parse, value, "/ports", LIMIT_PORTS)) {
        return;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        char pointer[32];
        (void)snprintf(pointer, sizeof pointer, "/ports/%zu", i);
        parse_port(parse, json_array_get(value, i), pointer, &config->ports[i]);
        check_doubles(parse, config->ports, i, pointer);
        total += config->ports[i].count;
        config->port_count++;
    }
    if (total > LIMIT_PORT_NUMBERS) {
        config_fault(parse, "/ports", "has %zu ports in all, at most %d are allowed", total, (int)LIMIT_PORT_NUMBERS);
    }
    if (config->port_count > 0 && config->interface_count == 0) {
        config_fault(parse, "/ports", "needs a network interface");
    }
}

json_t *config_ports_json(const struct vm_config *config)
{
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < config->port_count; i++) {
        const struct vm_port *port = &config->ports[i];
        char host[IP_TEXT_MAX];
        json_build_add(&list,
                       json_pack("{s:s, s:i, s:i, s:i, s:s}", "host_ip", ip_addr_format(&port->host, host), "host_port", (int)port->host_port, "guest_port",
                                 (int)port->guest_port, "count", (int)port->count, "protocol", protocol_names[port->protocol == IPPROTO_UDP]));
    }
    return json_build_take(&list);
}

bool config_ports_equal(const struct vm_config *a, const struct vm_config *b)
{
    bool equal = a->port_count == b->port_count;
    for (size_t i = 0; i < a->port_count && equal; i++) {
        const struct vm_port *x = &a->ports[i];
        const struct vm_port *y = &b->ports[i];
        equal = x->protocol == y->protocol && x->host_port == y->host_port && x->guest_port == y->guest_port && x->count == y->count &&
                ip_addr_equal(&x->host, &y->host);
    }
    return equal;
}
