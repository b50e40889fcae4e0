#include "api/vm_ports.h"

#include "api/json_out.h"
#include "core/json.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static uint8_t read_protocol(const json_t *item)
{
    const char *protocol = json_get_string(item, "protocol");
    return protocol != NULL && strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP;
}

static const char *protocol_text(const struct vm_port *port)
{
    return port->protocol == IPPROTO_UDP ? "udp" : "tcp";
}

static struct vm_port read_port(const json_t *item)
{
    return (struct vm_port){.protocol = read_protocol(item),
                            .host_port = (uint16_t)json_get_int(item, "host_port", 0),
                            .guest_port = (uint16_t)json_get_int(item, "guest_port", 0)};
}

void vm_ports_check(struct call *call)
{
    const json_t *list = json_object_get(call->body, "ports");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct vm_port port = read_port(json_array_get(list, i));
        for (size_t k = 0; k < i && port.host_port != 0; k++) {
            struct vm_port other = read_port(json_array_get(list, k));
            if (other.host_port == port.host_port && other.protocol == port.protocol) {
                char pointer[64];
                (void)snprintf(pointer, sizeof pointer, "/ports/%zu/host_port", i);
                spec_faults_add(&call->faults, "body", pointer, "is that of /ports/%zu too", k);
                break;
            }
        }
    }
}

bool vm_ports_read(const json_t *body, struct vm_row *row)
{
    const json_t *list = json_object_get(body, "ports");
    if (list == NULL) {
        return false;
    }
    row->port_count = json_array_size(list);
    for (size_t i = 0; i < row->port_count && i < LIMIT_PORTS; i++) {
        row->ports[i] = read_port(json_array_get(list, i));
    }
    return true;
}

int vm_ports_store(struct call *call, const struct vm_row *row, struct error *err)
{
    size_t taken = SIZE_MAX;
    if (row->port_count > 0 && row->interface_count == 0) {
        spec_faults_add(&call->faults, "body", "/ports", "needs a network interface");
        return error_set(err, ERR_INVALID_CONFIG, "a VM without a network interface has no ports to publish");
    }
    if (ports_set(call->api->db, row->uid, row->ports, row->port_count, &taken, err) == 0) {
        return 0;
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
    bool equal = a->port_count == b->port_count;
    for (size_t i = 0; i < a->port_count && equal; i++) {
        equal = a->ports[i].protocol == b->ports[i].protocol && a->ports[i].host_port == b->ports[i].host_port &&
                a->ports[i].guest_port == b->ports[i].guest_port;
    }
    return equal;
}

void vm_ports_json(const struct vm_row *row, struct strbuf *b)
{
    strbuf_add(b, ",\"ports\":[");
    for (size_t i = 0; i < row->port_count; i++) {
        strbuf_addf(b, "%s{\"host_port\":%u,\"guest_port\":%u,\"protocol\":\"%s\"}", i > 0 ? "," : "", row->ports[i].host_port,
                    row->ports[i].guest_port, protocol_text(&row->ports[i]));
    }
    strbuf_add_char(b, ']');
}
