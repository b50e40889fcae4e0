#include "server/config.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <netinet/in.h>

static json_t *listen_to_json(const struct config *config)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < config->listen_count; i++) {
        const struct config_listen *where = &config->listen[i];
        char address[IPV4_TEXT_MAX];
        json_t *text = where->is_tcp ? json_sprintf("%s:%u", ipv4_format(where->address, address), where->port) : json_string(where->path);
        if (json_array_append_new(list, text) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *roots_to_json(const struct config *config)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < config->images.allowed_root_count; i++) {
        if (json_array_append_new(list, json_string(config->images.allowed_roots[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *requirement_to_json(enum config_requirement requirement)
{
    return requirement == CONFIG_WHERE_POSSIBLE ? json_null() : json_boolean(requirement == CONFIG_REQUIRED);
}

static json_t *vmm_to_json(const struct config *config)
{
    return json_pack("{s:s, s:I, s:I, s:o, s:o, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I}", "jailer", config->vmm.jailer, "uid_first",
                     (json_int_t)config->vmm.uid_first, "uid_count", (json_int_t)config->vmm.uid_count, "require_jail",
                     requirement_to_json(config->vmm.require_jail), "require_limits", requirement_to_json(config->vmm.require_limits), "allow_known_faults",
                     (int)config->vmm.allow_known_faults, "firecracker", config->vmm.firecracker, "qemu", config->vmm.qemu, "start_timeout_s",
                     (json_int_t)config->vmm.start_timeout_s, "stop_timeout_s", (json_int_t)config->vmm.stop_timeout_s, "api_timeout_s",
                     (json_int_t)config->vmm.api_timeout_s, "workers", (json_int_t)config->vmm.workers, "stage_dir", config->vmm.stage_dir, "console_bytes",
                     (json_int_t)config->vmm.console_bytes);
}

static json_t *allowed_to_json(const struct config *config)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < config->network.allow_host_network_count; i++) {
        char text[IP_NET_TEXT_MAX];
        if (json_array_append_new(list, json_string(ip_net_format(&config->network.allow_host_networks[i], text))) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *open_ports_to_json(const struct config *config)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < config->network.open_host_port_count; i++) {
        const struct config_port *open = &config->network.open_host_ports[i];
        const char *protocol = open->protocol == IPPROTO_UDP ? "udp" : "tcp";
        if (json_array_append_new(list, json_pack("{s:s, s:i}", "protocol", protocol, "port", (int)open->port)) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *published_to_json(const struct config *config)
{
    char address[IP_TEXT_MAX];
    const struct ip_addr *host = &config->network.published.address;
    return json_pack("{s:s?, s:i, s:i}", "address", host->version != IP_NONE ? ip_addr_format(host, address) : NULL, "first",
                     (int)config->network.published.first, "last", (int)config->network.published.last);
}

static json_t *network_to_json(const struct config *config)
{
    char subnet[CIDR_TEXT_MAX];
    char subnet6[IP_NET_TEXT_MAX];
    const struct ip_net *ipv6 = &config->network.ipv6_subnet;
    return json_pack("{s:s, s:s, s:s?, s:s?, s:b, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:o}", "bridge", config->network.bridge, "subnet",
                     ipv4_net_format(config->network.subnet, subnet), "uplink", config->network.uplink, "ipv6_subnet",
                     ipv6->address.version == IP_V6 ? ip_net_format(ipv6, subnet6) : NULL, "masquerade", (int)config->network.masquerade, "lease_quarantine_s",
                     (json_int_t)config->network.lease_quarantine_s, "sweep_s", (json_int_t)config->network.sweep_s, "max_flows_per_vm",
                     (json_int_t)config->network.max_flows_per_vm, "wireguard_lookup_s", (json_int_t)config->network.wireguard_lookup_s, "wireguard_go",
                     config->network.wireguard_go, "allow_host_networks", allowed_to_json(config), "open_host_ports", open_ports_to_json(config),
                     "published_ports", published_to_json(config));
}

static json_t *capacity_to_json(const struct config *config)
{
    const int64_t mib = config->capacity.memory_mib;
    return json_pack("{s:o, s:f}", "memory_mib", mib > 0 ? json_integer((json_int_t)mib) : json_null(), "vcpu_factor", config->capacity.vcpu_factor);
}

static json_t *http_to_json(const struct config *config)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "max_connections", (json_int_t)config->http.max_connections, "max_connections_per_peer",
                     (json_int_t)config->http.max_connections_per_peer, "head_timeout_s", (json_int_t)config->http.head_timeout_s, "body_timeout_s",
                     (json_int_t)config->http.body_timeout_s);
}

char *config_to_json(const struct config *config)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    /* "o" takes the reference over and makes the whole fail when one of them is NULL. */
    AUTO_JSON *document =
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:{s:o, s:I}, s:o, s:o, s:o, s:{s:s}}", "state_dir", config->state_dir, "run_dir", config->run_dir, "user",
                  config->user, "listen", listen_to_json(config), "network", network_to_json(config), "images", "allowed_roots", roots_to_json(config),
                  "max_file_bytes", (json_int_t)config->images.max_file_bytes, "vmm", vmm_to_json(config), "http", http_to_json(config), "capacity",
                  capacity_to_json(config), "log", "level", levels[config->log.level]);
    return document != NULL ? json_text(document) : NULL;
}
