#include "api/vm/ports.h"

#include "api/json_out.h"
#include "core/json.h"
#include "db/ports.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *protocol_text(const struct vm_port *port)
{
    return port->protocol == IPPROTO_UDP ? "udp" : "tcp";
}

static void __attribute__((format(printf, 4, 5))) add_fault(struct call *call, size_t index, const char *member, const char *fmt, ...)
{
    char pointer[64];
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)snprintf(pointer, sizeof pointer, "/ports/%zu/%s", index, member);
    spec_faults_add(&call->faults, "body", pointer, "%s", text);
}

/* Where a configured address is the only one, it is that of an entry that names none. */
static void check_address(struct call *call, json_t *entry, size_t index)
{
    const struct network_settings settings = api_network(call->api);
    const struct ip_addr *only = &call->api->config->network.published.address;
    const char *text = json_get_string(entry, "host_ip");
    char address[IP_TEXT_MAX];
    struct ip_addr host;
    if (text == NULL && only->version != IP_NONE && json_object_get(entry, "host_ip") == NULL) {
        (void)json_object_set_new(entry, "host_ip", json_string(ip_addr_format(only, address))); /* if it fails, the one at all addresses is refused: */
        text = json_get_string(entry, "host_ip");
    }
    const bool is_address = ip_addr_parse(text != NULL ? text : "0.0.0.0", &host);
    if (is_address && host.version == IP_V6 && !network_has_ipv6(&settings)) {
        add_fault(call, index, "host_ip", "guests have no IPv6: network.ipv6_subnet is not set");
    } else if (is_address && only->version != IP_NONE && !ip_addr_equal(&host, only)) {
        add_fault(call, index, "host_ip", "ports are published at %s only: network.published_ports.address", ip_addr_format(only, address));
    }
}

static void check_range(struct call *call, const json_t *entry, size_t index)
{
    const unsigned first = call->api->config->network.published.first;
    const unsigned last = call->api->config->network.published.last;
    const int64_t port = json_get_int(entry, "host_port", 0);
    const int64_t count = json_get_int(entry, "count", 1);
    if (port >= 1 && port <= UINT16_MAX && count >= 1 && count <= LIMIT_PORT_NUMBERS && port + count - 1 <= UINT16_MAX &&
        (port < first || port + count - 1 > last)) {
        add_fault(call, index, "host_port", "ports from %u to %u may be published: network.published_ports", first, last);
    }
}

void vm_ports_check(struct call *call)
{
    const json_t *list = json_object_get(call->body, "ports");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        if (json_is_object(entry)) {
            check_address(call, entry, i);
            check_range(call, entry, i);
        }
    }
}

static bool is_named(const struct vm_config *config, const struct vm_port *port)
{
    for (size_t i = 0; i < config->port_count; i++) {
        if (config->ports[i].host_port != 0 && vm_ports_overlap(&config->ports[i], port)) {
            return true;
        }
    }
    return false;
}

/* A port that was chosen stays the same, as far as nothing else of the entry changes: the same list again is no change. */
void vm_ports_keep(const struct config *host, struct vm_config *now, const struct vm_config *before)
{
    const uint16_t first = host->network.published.chosen_first;
    const uint16_t last = host->network.published.chosen_last;
    for (size_t i = 0; i < now->port_count; i++) {
        struct vm_port *port = &now->ports[i];
        for (size_t k = 0; k < before->port_count && port->host_port == 0; k++) {
            const struct vm_port *old = &before->ports[k];
            if (old->host_port >= first && old->host_port <= last && old->protocol == port->protocol && old->guest_port == port->guest_port &&
                old->count == port->count && ip_addr_equal(&old->host, &port->host) && !is_named(now, old)) {
                port->host_port = old->host_port;
            }
        }
    }
}

static bool leaves_any(const struct vm_config *config)
{
    for (size_t i = 0; i < config->port_count; i++) {
        if (config->ports[i].host_port == 0) {
            return true;
        }
    }
    return false;
}

int vm_ports_ask(const struct call *call, struct write_question *ret, struct error *err)
{
    const json_t *list = json_object_get(call->body, "ports");
    if (json_array_size(list) == 0) {
        return 0;
    }
    *ret = (struct write_question){.name = "port_listeners", .member = "ports", .value = json_text(list)};
    return ret->value != NULL ? 0 : error_oom(err);
}

int vm_ports_answered(const json_t *answer, struct vm_listeners **ret, struct error *err)
{
    size_t i = 0;
    const json_t *item = NULL;
    struct vm_listeners *listeners = calloc(1, sizeof *listeners);
    if (listeners == NULL) {
        return error_oom(err);
    }
    json_array_foreach(json_object_get(answer, "listeners"), i, item)
    {
        const int64_t index = json_get_int(item, "index", -1);
        const char *message = json_get_string(item, "message");
        if (index >= 0 && index < LIMIT_PORTS) {
            listeners->items[index].is_there = true;
            listeners->items[index].port = (uint16_t)json_get_int(item, "port", 0);
            (void)snprintf(listeners->items[index].message, sizeof listeners->items[index].message, "%s",
                           message != NULL ? message : "a program of the host listens there");
        }
    }
    json_array_foreach(json_object_get(answer, "busy"), i, item)
    {
        const char *protocol = json_get_string(item, "protocol");
        port_set_add(&listeners->busy, protocol != NULL && strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP, (uint16_t)json_get_int(item, "port", 0));
    }
    *ret = listeners;
    return 0;
}

/* A port that the VM publishes already was taken from its listener before. */
static bool was_published(const struct vm_config *before, const struct vm_port *port, uint16_t number)
{
    for (size_t i = 0; before != NULL && i < before->port_count; i++) {
        const struct vm_port *old = &before->ports[i];
        if (old->protocol == port->protocol && (vm_port_is_everywhere(old) || ip_addr_equal(&old->host, &port->host)) &&
            old->host.version == port->host.version && number >= old->host_port && number - old->host_port < old->count) {
            return true;
        }
    }
    return false;
}

static int check_listeners(struct call *call, const struct vm_config *config, const struct vm_listeners *listeners, const struct vm_config *before,
                           struct error *err)
{
    const char *first = NULL;
    for (size_t i = 0; listeners != NULL && i < config->port_count; i++) {
        if (listeners->items[i].is_there && !was_published(before, &config->ports[i], listeners->items[i].port)) {
            add_fault(call, i, "host_port", "%s", listeners->items[i].message);
            first = first != NULL ? first : listeners->items[i].message;
        }
    }
    return first == NULL ? 0 : error_set(err, ERR_IN_USE, "%s", first);
}

int vm_ports_store(struct call *call, struct vm_row *row, const struct vm_listeners *listeners, const struct vm_config *before, struct error *err)
{
    size_t taken = SIZE_MAX;
    const struct config *host = call->api->config;
    const struct ports_choice choice = {
        .first = host->network.published.chosen_first, .last = host->network.published.chosen_last, .busy = listeners != NULL ? &listeners->busy : NULL};
    const bool chooses = leaves_any(&row->config);
    if (check_listeners(call, &row->config, listeners, before, err) != 0) {
        return -1;
    }
    if (ports_set(call->api->db, row->uid, row->config.ports, row->config.port_count, &choice, &taken, err) == 0) {
        return chooses ? vms_write_config(call->api->db, row, err) : 0;
    }
    if (taken != SIZE_MAX) {
        add_fault(call, taken, "host_port", "%s", err->message);
    }
    return -1;
}

bool vm_ports_equal(const struct vm_row *a, const struct vm_row *b)
{
    return (vm_config_differences(&a->config, &b->config) & 1U << VM_CONFIG_PORTS) == 0;
}

void vm_ports_json(const struct vm_row *row, struct strbuf *b)
{
    strbuf_add(b, ",\"ports\":[");
    for (size_t i = 0; i < row->config.port_count; i++) {
        const struct vm_port *port = &row->config.ports[i];
        char host[IP_TEXT_MAX];
        strbuf_addf(b, "%s{\"host_ip\":\"%s\",\"host_port\":%u,\"guest_port\":%u,\"count\":%u,\"protocol\":\"%s\"}", i > 0 ? "," : "",
                    ip_addr_format(&port->host, host), port->host_port, port->guest_port, port->count, protocol_text(port));
    }
    strbuf_add_char(b, ']');
}
