#include "api/vm/ports.h"

#include "api/json_out.h"
#include "core/json.h"
#include "db/ports.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const char *protocol_text(const struct vm_port *port)
{
    return port->protocol == IPPROTO_UDP ? "udp" : "tcp";
}

void vm_ports_check(struct call *call)
{
    const json_t *list = json_object_get(call->body, "ports");
    const struct network_settings settings = api_network(call->api);
    for (size_t i = 0; i < json_array_size(list) && !network_has_ipv6(&settings); i++) {
        const char *text = json_get_string(json_array_get(list, i), "host_ip");
        struct ip_addr host;
        if (text != NULL && ip_addr_parse(text, &host) && host.version == IP_V6) {
            char pointer[64];
            (void)snprintf(pointer, sizeof pointer, "/ports/%zu/host_ip", i);
            spec_faults_add(&call->faults, "body", pointer, "guests have no IPv6: network.ipv6_subnet is not set");
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
void vm_ports_keep(struct vm_config *now, const struct vm_config *before)
{
    for (size_t i = 0; i < now->port_count; i++) {
        struct vm_port *port = &now->ports[i];
        for (size_t k = 0; k < before->port_count && port->host_port == 0; k++) {
            const struct vm_port *old = &before->ports[k];
            if (old->host_port >= PORTS_CHOSEN_FIRST && old->host_port <= PORTS_CHOSEN_LAST && old->protocol == port->protocol &&
                old->guest_port == port->guest_port && old->count == port->count && ip_addr_equal(&old->host, &port->host) &&
                !is_named(now, old)) {
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

int vm_ports_store(struct call *call, struct vm_row *row, struct error *err)
{
    size_t taken = SIZE_MAX;
    const bool chooses = leaves_any(&row->config);
    if (ports_set(call->api->db, row->uid, row->config.ports, row->config.port_count, &taken, err) == 0) {
        return chooses ? vms_write_config(call->api->db, row, err) : 0;
    }
    if (taken != SIZE_MAX) {
        char pointer[64];
        (void)snprintf(pointer, sizeof pointer, "/ports/%zu/host_port", taken);
        spec_faults_add(&call->faults, "body", pointer, "%.200s", err->message);
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
