#include "api/vm/json.h"

#include "api/json_out.h"
#include "api/vm/ports.h"
#include "core/cleanup.h"
#include "core/json.h"

#include <string.h>

enum vm_state vm_shown_state(enum vm_state state, bool deleting)
{
    return deleting ? VM_DELETING : state;
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
        bool has_ipv6 = network_has_ipv6(settings);
        const struct ip_addr address6 = network_address6(settings, interface->address);
        add_string(b, ",\"ip6\":", has_ipv6 ? ip_addr_format(&address6, text6) : NULL);
        add_string(b, ",\"gateway6\":", has_ipv6 ? ip_addr_format(&settings->gateway6, text6) : NULL);
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
    add_string(b, "\"vmm\":{\"requested\":", vm_vmm_name(row->config.vmm));
    strbuf_add(b, ",\"driver\":null,\"version\":null,\"accelerator\":null,\"pid\":null,\"reason\":\"not decided yet\","
                  "\"limits\":null,\"jailed\":null,\"uid\":null},\"conditions\":[],\"timings\":[],\"drives\":[],\"last_exit\":null,\"error\":null");
}

static void add_labels(struct strbuf *b, const json_t *labels)
{
    AUTO_FREE char *text = labels != NULL ? json_text(labels) : NULL;
    b->failed = b->failed || (labels != NULL && text == NULL);
    strbuf_add(b, ",\"labels\":");
    strbuf_add(b, text != NULL ? text : "{}");
}

static void add_limits(struct strbuf *b, const struct vm_limits *limits)
{
    add_int(b, ",\"limits\":{\"cpu_percent\":", limits->cpu_percent);
    add_int(b, ",\"cpu_weight\":", limits->cpu_weight);
    strbuf_add(b, ",\"io\":{");
    for (int i = 0; i < VM_IO_COUNT_; i++) {
        strbuf_addf(b, "%s\"%s\":%llu", i > 0 ? "," : "", vm_io_name((enum vm_io)i), (unsigned long long)limits->io[i]);
    }
    strbuf_add(b, "}}");
}

/* What a process that runs was not started with. */
static void add_pending(struct strbuf *b, const struct vm_row *row)
{
    AUTO_VM_CONFIG booted = {.image = NULL};
    const bool may_differ = !row->is_damaged && row->boot_config != NULL && row->boot_config[0] != '\0' && strcmp(row->boot_config, row->config_text) != 0;
    unsigned pending = 0;
    if (may_differ && vm_config_parse_text(row->boot_config, &booted, NULL) == 0) {
        pending = vm_config_at_next_boot(vm_config_differences(&booted, &row->config));
    }
    strbuf_add(b, ",\"pending_reboot\":[");
    for (int i = 0, count = 0; i < VM_CONFIG_MEMBER_COUNT_; i++) {
        if ((pending & 1U << i) != 0) {
            add_string(b, count++ > 0 ? "," : "", vm_config_member_name((enum vm_config_member)i));
        }
    }
    strbuf_add_char(b, ']');
}

void vm_json(const struct network_settings *settings, const struct vm_row *row, struct strbuf *b)
{
    add_string(b, "{\"id\":", row->id);
    add_string(b, ",\"image\":", row->config.image);
    add_string(b, ",\"state\":", vm_state_name(vm_shown_state(row->state, row->deleting)));
    add_string(b, ",\"desired_state\":", vm_desired_name(row->desired));
    add_int(b, ",\"generation\":", row->generation);
    add_int(b, ",\"observed_generation\":", row->observed_generation);
    strbuf_add(b, ",\"autostart\":");
    json_out_bool(b, row->config.autostart);
    add_string(b, ",\"restart_policy\":", vm_restart_policy_name(row->config.restart_policy));
    add_int(b, ",\"restart_count\":", row->restart_count);
    add_int(b, ",\"machine_config\":{\"vcpu_count\":", row->config.machine.vcpu_count);
    add_int(b, ",\"mem_size_mib\":", row->config.machine.mem_size_mib);
    add_string(b, "},\"boot_args\":", row->config.boot_args);
    add_labels(b, row->config.labels);
    add_limits(b, &row->config.limits);
    add_interfaces(b, settings, row);
    vm_ports_json(row, b);
    add_pending(b, row);
    add_observed(b, row);
    strbuf_add(b, ",\"created_at\":");
    json_out_time(b, row->created_ms);
    strbuf_add(b, ",\"updated_at\":");
    json_out_time(b, row->updated_ms);
    strbuf_add_char(b, '}');
}
