#include "worker/network/listeners.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "host/nft/listening.h"
#include "host/process/socket_owner.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BUSY_MAX = 1000 }; /* told: with more, one of the others may be chosen, and the VM's condition tells of it */

static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

struct look {
    const struct vm_config *config;
    struct vm_port choice;              /* where ports are chosen, at any address */
    struct listener found[LIMIT_PORTS]; /* of each entry, the first */
    bool is_found[LIMIT_PORTS];
    bool is_own[LIMIT_PORTS]; /* it is the daemon's */
    bool own;                 /* and so are those that are told now */
    struct json_build busy;
    size_t busy_count;
};

static void note(const struct listener *listener, void *ctx)
{
    struct look *look = ctx;
    for (size_t i = 0; i < look->config->port_count; i++) {
        const struct vm_port *port = &look->config->ports[i];
        if (port->host_port != 0 && !look->is_found[i] && listener_meets(listener, port)) {
            look->found[i] = *listener;
            look->is_found[i] = true;
            look->is_own[i] = look->own;
        }
    }
    if (listener->port >= look->choice.host_port && listener->port - look->choice.host_port < look->choice.count && look->busy_count < BUSY_MAX) {
        look->busy_count++;
        json_build_add(&look->busy, json_pack("{s:s, s:i}", "protocol", listener->protocol == IPPROTO_UDP ? "udp" : "tcp", "port", (int)listener->port));
    }
}

/* The daemon's own, also where the kernel tells of nobody. */
static void note_own(const struct config *config, struct look *look)
{
    look->own = true;
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen *where = &config->listen[i];
        if (where->is_tcp) {
            const uint32_t address = htonl(where->address);
            struct listener own = {.protocol = IPPROTO_TCP, .host.version = IP_V4, .port = where->port};
            memcpy(own.host.bytes, &address, sizeof address);
            note(&own, look);
        }
    }
    look->own = false;
}

static json_t *describe(const struct look *look, const struct socket_owner *owner, size_t index)
{
    const struct listener *listener = &look->found[index];
    char who[64] = "a program of the host, or its kernel,"; /* a tunnel of the kernel's has no process */
    char at[IP_TEXT_MAX];
    if (look->is_own[index]) {
        (void)snprintf(who, sizeof who, "smartvmd itself");
    } else if (owner->pid > 0) {
        (void)snprintf(who, sizeof who, "%s (pid %d)", owner->name[0] != '\0' ? owner->name : "a program", (int)owner->pid);
    }
    return json_pack("{s:i, s:i, s:o}", "index", (int)index, "port", (int)listener->port, "message",
                     json_sprintf("%s listens on the host's %s port %u at %s", who, listener->protocol == IPPROTO_UDP ? "udp" : "tcp", listener->port,
                                  ip_addr_format(&listener->host, at)));
}

static json_t *describe_all(const struct look *look)
{
    struct socket_owner owners[LIMIT_PORTS] = {{.inode = 0}};
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < look->config->port_count; i++) {
        owners[i].inode = look->is_found[i] ? look->found[i].inode : 0;
    }
    socket_owners_find(owners, look->config->port_count);
    for (size_t i = 0; i < look->config->port_count; i++) {
        if (look->is_found[i]) {
            json_build_add(&list, describe(look, &owners[i], i));
        }
    }
    return json_build_take(&list);
}

static int read_ports(const json_t *question, struct vm_config *ret, struct error *err)
{
    const char *text = json_get_string(question, "ports");
    json_t *ports = NULL;
    if (text == NULL || json_parse(text, strlen(text), &ports, err) != 0) {
        return text != NULL ? -1 : error_set(err, ERR_BAD_REQUEST, "no ports are named");
    }
    AUTO_JSON *document = json_pack("{s:s, s:[{s:s}], s:o}", "image", "some", "network_interfaces", "iface_id", "some", "ports", ports);
    return document == NULL ? error_oom(err) : vm_config_parse(document, VM_CONFIG_ASKED, ret, NULL, NULL, err);
}

json_t *network_listeners(struct worker *worker, const json_t *question, struct error *err)
{
    AUTO_VM_CONFIG config = {.image = NULL};
    if (read_ports(question, &config, err) != 0) {
        return NULL;
    }
    const uint16_t first = worker->config->network.published.chosen_first;
    const uint16_t count = (uint16_t)(worker->config->network.published.chosen_last - first + 1);
    struct look look = {.config = &config, .choice = {.host_port = first, .count = count}, .busy = json_build_array()};
    note_own(worker->config, &look);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
        if (listener_each(protocols[i], note, &look, err) != 0) {
            json_build_free(&look.busy);
            return NULL;
        }
    }
    return json_pack("{s:o, s:o}", "listeners", describe_all(&look), "busy", json_build_take(&look.busy));
}
