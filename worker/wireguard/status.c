/* Questions about the WireGuard egress: what the device tells, and whether what a client asks for can be had on this host. */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "worker/border/wanted.h"
#include "worker/wireguard/wireguard.h"
#include "worker/wireguard/work.h"

#include <stdio.h>
#include <string.h>

static json_t *endpoint_json(const struct wireguard_endpoint *endpoint)
{
    char text[IP_TEXT_MAX];
    if (endpoint->address.version == IP_NONE) {
        return json_null();
    }
    return json_sprintf(endpoint->address.version == IP_V6 ? "[%s]:%u" : "%s:%u", ip_addr_format(&endpoint->address, text), (unsigned)endpoint->port);
}

static json_t *device_json(const struct wireguard_device *device)
{
    AUTO_JSON_BUILD peers = json_build_object();
    for (size_t i = 0; i < device->peer_count; i++) {
        const struct wireguard_device_peer *peer = &device->peers[i];
        char key[WIREGUARD_KEY_TEXT_MAX];
        json_build_put(&peers, wireguard_key_format(&peer->public_key, key),
                       json_pack("{s:o, s:I, s:I, s:I}", "endpoint", endpoint_json(&peer->endpoint), "last_handshake_ms", (json_int_t)peer->handshake_ms,
                                 "received_bytes", (json_int_t)peer->received_bytes, "sent_bytes", (json_int_t)peer->sent_bytes));
    }
    return json_pack("{s:i, s:o}", "listen_port", (int)device->listen_port, "peers", json_build_take(&peers));
}

static json_t *status_of(const char *name, struct error *err)
{
    AUTO_WIREGUARD_DEVICE device = {.peers = NULL};
    enum wireguard_backend backend = WIREGUARD_KERNEL;
    bool found = false;
    if (wireguard_find_backend(name, &backend, &found, err) != 0) {
        return NULL;
    }
    if (!found) {
        return json_object();
    }
    if (wireguard_get(backend, name, &device, err) != 0) {
        return NULL;
    }
    json_t *json = device_json(&device);
    if (json == NULL) {
        (void)error_oom(err);
    }
    return json;
}

json_t *wireguard_status(struct worker *worker, const json_t *question, struct error *err)
{
    AUTO_WIREGUARD_ROW row = {0};
    AUTO_WIREGUARD config = {.managed = false};
    AUTO_JSON *document = NULL;
    (void)question;
    if (border_wireguard_get(worker->border, &row, err) != 0) {
        return NULL;
    }
    if (!row.wanted) {
        return json_object();
    }
    if (wireguard_row_document(&row, &document, err) != 0 || wireguard_load(document, NULL, &config, err) != 0) {
        return NULL;
    }
    return status_of(config.interface_name, err);
}

static int refuse(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct error *err, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return error_set(err, ERR_INVALID_WIREGUARD_CONFIG, "%s", text);
}

static int check_table(uint32_t table, struct error *err)
{
    AUTO_FREE struct route_listed *listed = NULL;
    size_t count = 0;
    if (route_list(table, &listed, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        char net[IP_NET_TEXT_MAX];
        if (!listed[i].ours) {
            return refuse(err, "routing table %u holds a route that is not of this daemon (%s%s%s): choose another `route_table`", table,
                          ip_net_format(&listed[i].route.net, net), listed[i].route.link[0] != '\0' ? " by " : "", listed[i].route.link);
        }
    }
    return 0;
}

/* One that is being made has neither our alias yet nor a process that answers, but is on record. */
static int is_recorded(struct worker *worker, const char *name, bool *ret, struct error *err)
{
    struct wireguard_record record;
    if (wireguard_record_load(worker->memory, &record, err) != 0) {
        return -1;
    }
    *ret = false;
    for (size_t i = 0; i < record.tunnel_count; i++) {
        *ret = *ret || strcmp(record.tunnels[i], name) == 0;
    }
    return 0;
}

/* A tunnel of ours has our alias, or a process of ours. */
static int check_name(struct worker *worker, const char *name, struct error *err)
{
    bool recorded = false;
    char alias[LINK_ALIAS_MAX];
    struct link_info link;
    bool found = false;
    AUTO_CLOSE int process = -1;
    if (link_get(name, &link, &found, err) != 0 || wireguard_go_find(worker->mark, name, &process, err) != 0 ||
        is_recorded(worker, name, &recorded, err) != 0) {
        return -1;
    }
    (void)snprintf(alias, sizeof alias, "%s:wireguard", worker->mark);
    if (found && process < 0 && !recorded && strcmp(link.alias, alias) != 0) {
        return refuse(
            err, "there is an interface %s already, which this daemon did not make: choose another `interface_name`, or name it as `existing_interface`", name);
    }
    return 0;
}

static int check_existing(struct worker *worker, const char *name, struct error *err)
{
    struct link_info link;
    bool found = false;
    if (link_get(name, &link, &found, err) != 0) {
        return -1;
    }
    if (found && link_alias_has_mark(link.alias, worker->mark)) {
        return refuse(err, "%s is an interface that this daemon makes itself", name);
    }
    return 0;
}

json_t *wireguard_check(struct worker *worker, const json_t *question, struct error *err)
{
    const char *text = json_get_string(question, "wireguard");
    AUTO_JSON *about = NULL;
    if (text != NULL && json_parse(text, strlen(text), &about, err) != 0) {
        return NULL;
    }
    const char *name = json_get_string(about, "interface_name");
    bool managed = json_get_bool(about, "managed", false);
    if (name == NULL) {
        (void)error_set(err, ERR_BAD_REQUEST, "no interface is named");
        return NULL;
    }
    uint32_t table = (uint32_t)json_get_int(about, "route_table", 0);
    if (wireguard_claim_check_table(worker, table, err) != 0 || check_table(table, err) != 0 ||
        (managed && claim_check(worker->claims, CLAIM_TUNNEL, name, err) != 0) ||
        (managed ? check_name(worker, name, err) : check_existing(worker, name, err)) != 0) {
        return NULL;
    }
    return json_object();
}
