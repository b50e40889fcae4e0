/* The configuration as JSON, and what belongs to it as a whole. */
#include "core/wireguard.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/wireguard_keys.h"

#include <string.h>

void wireguard_free(struct wireguard *config)
{
    for (size_t i = 0; i < config->peer_count; i++) {
        free(config->peers[i].allowed);
    }
    if (config->peers != NULL) {
        explicit_bzero(config->peers, WIREGUARD_PEERS_MAX * sizeof *config->peers);
    }
    free(config->peers);
    explicit_bzero(config, sizeof *config);
}

static const char *const warning_texts[WIREGUARD_WARNING_COUNT_] = {
    [WIREGUARD_IGNORED_DNS] = "DNS is ignored: guests keep their own name servers",
    [WIREGUARD_IGNORED_TABLE] = "Table is ignored: the daemon routes by route_table",
    [WIREGUARD_HOST_BITS] = "AllowedIPs: host bits are set in an entry; the network that it lies in is meant",
};

const char *wireguard_warning_text(enum wireguard_warning warning)
{
    return warning_texts[warning];
}

unsigned wireguard_mtu(const struct wireguard *config)
{
    return config->mtu != 0 ? config->mtu : WIREGUARD_MTU_DEFAULT;
}

/* A field's value, or one element of it, is handed to the same setter as the text's. */
static int set_value(struct wireguard_build *build, const struct wireguard_key_row *row, const json_t *value, struct error *err)
{
    char number[24];
    int64_t integer = 0;
    if (json_is_string(value)) {
        return row->set(build, json_string_value(value), err);
    }
    if (!json_integral(value, &integer)) {
        return wireguard_fault(err, "must be a text or a number");
    }
    (void)snprintf(number, sizeof number, "%lld", (long long)integer);
    return row->set(build, number, err);
}

static int set_field(struct wireguard_build *build, const struct wireguard_key_row *row, const json_t *value, struct error *err)
{
    size_t i = 0;
    const json_t *item = NULL;
    if (!row->is_list) {
        return set_value(build, row, value, err);
    }
    if (!json_is_array(value)) {
        return wireguard_fault(err, "must be a list");
    }
    json_array_foreach(value, i, item)
    {
        if (set_value(build, row, item, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int set_fields(struct wireguard_build *build, const json_t *object, const char *where, bool in_peer, char *pointer, struct error *err)
{
    for (size_t i = 0; i < WIREGUARD_KEY_COUNT; i++) {
        const struct wireguard_key_row *row = &wireguard_key_rows[i];
        const json_t *value = json_object_get(object, row->field);
        if (row->in_peer != in_peer || value == NULL || json_is_null(value)) {
            continue;
        }
        if (set_field(build, row, value, err) != 0) {
            (void)snprintf(pointer, WIREGUARD_POINTER_MAX, "%s/%s", where, row->field);
            return -1;
        }
    }
    return 0;
}

static int parse_fields(const json_t *body, struct wireguard_build *build, char *pointer, struct error *err)
{
    const json_t *peers = json_object_get(body, "peers");
    if (set_fields(build, json_object_get(body, "interface"), "/interface", false, pointer, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(peers); i++) {
        char where[32];
        (void)snprintf(where, sizeof where, "/peers/%zu", i);
        (void)snprintf(pointer, WIREGUARD_POINTER_MAX, "%s", where);
        build->peer = wireguard_add_peer(build, err);
        if (build->peer == NULL || set_fields(build, json_array_get(peers, i), where, true, pointer, err) != 0) {
            return -1;
        }
    }
    pointer[0] = '\0';
    return wireguard_finish(build->config, err);
}

static int check_private_key(const struct wireguard *config, char *pointer, struct error *err)
{
    if (!config->managed || !wireguard_key_is_zero(&config->private_key)) {
        return 0;
    }
    (void)snprintf(pointer, WIREGUARD_POINTER_MAX, "/interface/private_key");
    return wireguard_fault(err, "a private key is required");
}

static int parse_route_table(const json_t *body, struct wireguard *ret, char *pointer, struct error *err)
{
    int64_t table = json_get_int(body, "route_table", WIREGUARD_TABLE_DEFAULT);
    if (table < 1 || table > UINT32_MAX || (table >= 253 && table <= 255)) {
        (void)snprintf(pointer, WIREGUARD_POINTER_MAX, "/route_table");
        return wireguard_fault(err, "must be a table of its own: from 1 to 4294967295, but not 253 to 255, which are the kernel's");
    }
    ret->route_table = (uint32_t)table;
    return 0;
}

static int parse_name(const char *name, const char *field, struct wireguard *ret, char *pointer, struct error *err)
{
    struct error why;
    if (interface_name_check(name, &why) != 0) {
        (void)snprintf(pointer, WIREGUARD_POINTER_MAX, "/%s", field);
        return wireguard_fault(err, "%.200s", why.message);
    }
    (void)snprintf(ret->interface_name, sizeof ret->interface_name, "%s", name);
    return 0;
}

/* Which of the three ways it is told in; just one of them. */
static int parse_mode(const json_t *body, struct wireguard *ret, char *pointer, struct error *err)
{
    const char *name = json_get_string(body, "interface_name");
    const char *existing = json_get_string(body, "existing_interface");
    bool text = json_object_get(body, "config") != NULL;
    bool fields = json_object_get(body, "interface") != NULL || json_object_get(body, "peers") != NULL;
    pointer[0] = '\0';
    if ((existing != NULL) + text + fields != 1) {
        return wireguard_fault(err, "there must be either `config`, or `interface` with `peers`, or `existing_interface`");
    }
    if (existing != NULL && name != NULL) {
        return wireguard_fault(err, "`interface_name` is for a tunnel that the daemon makes, not with `existing_interface`");
    }
    ret->managed = existing == NULL;
    ret->route_all = json_get_bool(body, "route_all_vm_traffic", true);
    ret->fail_closed = json_get_bool(body, "fail_closed", true);
    if (parse_route_table(body, ret, pointer, err) != 0) {
        return -1;
    }
    return existing != NULL ? parse_name(existing, "existing_interface", ret, pointer, err)
                            : parse_name(name != NULL ? name : WIREGUARD_INTERFACE_DEFAULT, "interface_name", ret, pointer, err);
}

int wireguard_parse(const json_t *body, bool ipv6, struct wireguard *ret, char ret_pointer[WIREGUARD_POINTER_MAX], struct error *err)
{
    AUTO_WIREGUARD config = {.managed = false};
    struct wireguard_build build = {.config = &config, .ipv6 = ipv6};
    const char *text = json_get_string(body, "config");
    int result = parse_mode(body, &config, ret_pointer, err);
    if (result == 0 && text != NULL) {
        (void)snprintf(ret_pointer, WIREGUARD_POINTER_MAX, "/config");
        result = wireguard_parse_text(text, ipv6, &config, err);
    } else if (result == 0 && config.managed) {
        result = parse_fields(body, &build, ret_pointer, err);
    }
    if (result != 0 || check_private_key(&config, ret_pointer, err) != 0) {
        return -1;
    }
    *ret = config;
    config = (struct wireguard){.managed = false};
    return 0;
}

static int put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value);
}

static json_t *addresses_json(const struct wireguard *config)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->address_count; i++) {
        const struct wireguard_address *address = &config->addresses[i];
        char text[IP_TEXT_MAX];
        (void)json_array_append_new(list, json_sprintf("%s/%u", ip_addr_format(&address->address, text), (unsigned)address->prefix));
    }
    return list;
}

static json_t *endpoint_json(const struct wireguard_peer *peer)
{
    bool brackets = strchr(peer->host, ':') != NULL;
    return json_sprintf(brackets ? "[%s]:%u" : "%s:%u", peer->host, (unsigned)peer->port);
}

static json_t *peer_json(const struct wireguard_peer *peer)
{
    char key[WIREGUARD_KEY_TEXT_MAX];
    char net[IP_NET_TEXT_MAX];
    json_t *allowed = json_array();
    for (size_t i = 0; i < peer->allowed_count; i++) {
        (void)json_array_append_new(allowed, json_string(ip_net_format(&peer->allowed[i], net)));
    }
    json_t *json = json_pack("{s:s, s:b, s:o, s:i}", "public_key", wireguard_key_format(&peer->public_key, key), "has_preshared_key",
                             (int)peer->has_preshared_key, "allowed_ips", allowed, "persistent_keepalive", (int)peer->keepalive);
    if (peer->host[0] != '\0') {
        (void)put(json, "endpoint", endpoint_json(peer));
    }
    return json;
}

static int put_managed(const struct wireguard *config, json_t *json)
{
    json_t *interface = json_pack("{s:o, s:i, s:I, s:i}", "addresses", addresses_json(config), "listen_port", (int)config->listen_port, "fwmark",
                                  (json_int_t)config->fwmark, "mtu", (int)wireguard_mtu(config));
    json_t *peers = json_array();
    int result = put(json, "interface_name", json_string(config->interface_name)) | put(json, "interface", interface);
    for (size_t i = 0; i < config->peer_count; i++) {
        result |= json_array_append_new(peers, peer_json(&config->peers[i]));
    }
    return result | put(json, "peers", peers);
}

json_t *wireguard_json(const struct wireguard *config)
{
    json_t *json = json_pack("{s:b, s:b, s:I}", "route_all_vm_traffic", (int)config->route_all, "fail_closed", (int)config->fail_closed,
                             "route_table", (json_int_t)config->route_table);
    int result = config->managed ? put_managed(config, json) : put(json, "existing_interface", json_string(config->interface_name));
    if (result != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *wireguard_secrets_json(const struct wireguard *config)
{
    char public_key[WIREGUARD_KEY_TEXT_MAX];
    char key[WIREGUARD_KEY_TEXT_MAX];
    json_t *preshared = json_object();
    int result = preshared != NULL ? 0 : -1;
    for (size_t i = 0; i < config->peer_count; i++) {
        const struct wireguard_peer *peer = &config->peers[i];
        if (peer->has_preshared_key) {
            result |= put(preshared, wireguard_key_format(&peer->public_key, public_key),
                          json_string(wireguard_key_format(&peer->preshared_key, key)));
        }
    }
    json_t *json = json_pack("{s:s, s:o}", "private_key", wireguard_key_format(&config->private_key, key), "preshared_keys", preshared);
    explicit_bzero(key, sizeof key);
    if (result != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static int load_keys(const json_t *secrets, struct wireguard *config, struct error *err)
{
    const char *private_key = json_get_string(secrets, "private_key");
    const json_t *preshared = json_object_get(secrets, "preshared_keys");
    if (private_key == NULL || !wireguard_key_parse(private_key, &config->private_key)) {
        return wireguard_fault(err, "the stored private key is damaged");
    }
    for (size_t i = 0; i < config->peer_count; i++) {
        char text[WIREGUARD_KEY_TEXT_MAX];
        struct wireguard_peer *peer = &config->peers[i];
        const char *key = json_get_string(preshared, wireguard_key_format(&peer->public_key, text));
        peer->has_preshared_key = key != NULL;
        if (key != NULL && !wireguard_key_parse(key, &peer->preshared_key)) {
            return wireguard_fault(err, "a stored preshared key is damaged");
        }
    }
    return 0;
}

int wireguard_load(const json_t *json, const json_t *secrets, struct wireguard *ret, struct error *err)
{
    char pointer[WIREGUARD_POINTER_MAX];
    AUTO_WIREGUARD config = {.managed = false};
    struct wireguard_build build = {.config = &config, .ipv6 = true};
    if (parse_mode(json, &config, pointer, err) != 0 || (config.managed && parse_fields(json, &build, pointer, err) != 0)) {
        return error_prefix(err, "the stored configuration is damaged");
    }
    for (size_t i = 0; i < config.peer_count; i++) {
        const json_t *peer = json_array_get(json_object_get(json, "peers"), i); /* both are sorted */
        config.peers[i].has_preshared_key = json_get_bool(peer, "has_preshared_key", false);
    }
    if (config.managed && secrets != NULL && load_keys(secrets, &config, err) != 0) {
        return -1;
    }
    *ret = config;
    config = (struct wireguard){.managed = false};
    return 0;
}
