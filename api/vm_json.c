#include "api/vm_json.h"

#include "api/json_out.h"
#include "api/vm_ports.h"

#include <string.h>

enum vm_state vm_shown_state(const struct vm_row *row)
{
    return row->deleting ? VM_DELETING : row->state;
}

static void add_string(struct strbuf *b, const char *member, const char *value)
{
    strbuf_add(b, member);
    json_out_string(b, value);
}

static void add_int(struct strbuf *b, const char *member, int64_t value)
{
    strbuf_add(b, member);
    json_out_int(b, value);
}

static void add_interfaces(struct strbuf *b, const struct network_settings *settings, const struct vm_row *row)
{
    char gateway[IPV4_TEXT_MAX];
    char text[MAC_TEXT_MAX];
    char text6[IP_TEXT_MAX];
    (void)ipv4_format(settings->gateway, gateway);
    strbuf_add(b, ",\"network_interfaces\":[");
    for (size_t i = 0; i < row->interface_count; i++) {
        const struct vm_interface *interface = &row->interfaces[i];
        add_string(b, i > 0 ? ",{\"iface_id\":" : "{\"iface_id\":", interface->iface_id);
        add_string(b, ",\"tap\":", interface->tap);
        add_string(b, ",\"mac\":", mac_format(interface->mac, text));
        add_string(b, ",\"ip\":", ipv4_format(interface->address, text));
        add_int(b, ",\"prefix\":", settings->subnet.prefix);
        add_string(b, ",\"gateway\":", gateway);
        if (network_has_ipv6(settings)) {
            const struct ip_addr address6 = network_address6(settings, interface->address);
            add_string(b, ",\"ip6\":", ip_addr_format(&address6, text6));
            add_string(b, ",\"gateway6\":", ip_addr_format(&settings->gateway6, text6));
        }
        strbuf_add_char(b, '}');
    }
    strbuf_add_char(b, ']');
}

/* The worker writes the members as they are shown, vmm, conditions, timings, drives and more: only the braces
 * go. */
static void add_observed(struct strbuf *b, const struct vm_row *row)
{
    size_t len = strlen(row->observed);
    strbuf_add_char(b, ',');
    if (len > 2) {
        strbuf_add_bytes(b, row->observed + 1, len - 2);
        return;
    }
    add_string(b, "\"vmm\":{\"requested\":", row->vmm);
    strbuf_add(
        b,
        ",\"driver\":null,\"version\":null,\"accelerator\":null,\"pid\":null,\"reason\":\"not decided yet\"},"
        "\"conditions\":[],\"timings\":[],\"drives\":[]");
}

void vm_json(const struct network_settings *settings, const struct vm_row *row, struct strbuf *b)
{
    add_string(b, "{\"id\":", row->id);
    add_string(b, ",\"image\":", row->image);
    add_string(b, ",\"state\":", vm_state_name(vm_shown_state(row)));
    add_string(b, ",\"desired_state\":", vm_desired_name(row->desired));
    add_int(b, ",\"generation\":", row->generation);
    add_int(b, ",\"observed_generation\":", row->observed_generation);
    strbuf_add(b, ",\"autostart\":");
    json_out_bool(b, row->autostart);
    add_int(b, ",\"machine_config\":{\"vcpu_count\":", row->vcpu_count);
    add_int(b, ",\"mem_size_mib\":", row->mem_size_mib);
    add_string(b, "},\"boot_args\":", row->boot_args);
    strbuf_add(b, ",\"labels\":");
    strbuf_add(b, row->labels);
    add_interfaces(b, settings, row);
    vm_ports_json(row, b);
    add_observed(b, row);
    strbuf_add(b, ",\"created_at\":");
    json_out_time(b, row->created_ms);
    strbuf_add(b, ",\"updated_at\":");
    json_out_time(b, row->updated_ms);
    strbuf_add_char(b, '}');
}
