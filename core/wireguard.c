/* The configuration as JSON, and what belongs to it as a whole. */
#include "core/wireguard.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "core/wireguard_fields.h"

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
    [WIREGUARD_LEFT_OUT_IPV6] = "IPv6 is left out, as guests have none (network.ipv6_subnet), and what they send by it goes nowhere",
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
static int set_value(struct wireguard_build *build, const struct wireguard_key_row *row, const char *pointer, const json_t *value, struct error *err)
{
    char number[24];
    int64_t integer = 0;
    int result = 0;
    if (json_is_string(value)) {
        result = row->set(build, json_string_value(value), err);
    } else if (json_integral(value, &integer)) {
        (void)snprintf(number, sizeof number, "%lld", (long long)integer);
        result = row->set(build, number, err);
    } else {
        result = wireguard_refuse(err, "must be a text or a number");
    }
    return result == 0 ? 0 : wireguard_note_fault(build, pointer, 0, err);
}

static int set_field(struct wireguard_build *build, const struct wireguard_key_row *row, const char *pointer, const json_t *value, struct error *err)
{
    size_t i = 0;
    const json_t *item = NULL;
    if (!row->is_list) {
        return set_value(build, row, pointer, value, err);
    }
    if (!json_is_array(value)) {
        (void)wireguard_refuse(err, "must be a list");
        return wireguard_note_fault(build, pointer, 0, err);
    }
    json_array_foreach(value, i, item)
    {
        if (set_value(build, row, pointer, item, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int set_fields(struct wireguard_build *build, const json_t *object, const char *where, bool in_peer, struct error *err)
{
    for (size_t i = 0; i < WIREGUARD_KEY_COUNT; i++) {
        const struct wireguard_key_row *row = &wireguard_key_rows[i];
        const json_t *value = json_object_get(object, row->field);
        char pointer[WIREGUARD_POINTER_MAX];
        (void)snprintf(pointer, sizeof pointer, "%s/%s", where, row->field);
        if (row->in_peer == in_peer && value != NULL && !json_is_null(value) && set_field(build, row, pointer, value, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int parse_fields(const json_t *body, struct wireguard_build *build, struct error *err)
{
    const json_t *peers = json_object_get(body, "peers");
    if (set_fields(build, json_object_get(body, "interface"), "/interface", false, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(peers); i++) {
        char where[32];
        (void)snprintf(where, sizeof where, "/peers/%zu", i);
        if (wireguard_add_peer(build, (unsigned)i, err) != 0) {
            return wireguard_note_fault(build, "/peers", 0, err) != 0 ? -1 : wireguard_finish(build, err);
        }
        if (set_fields(build, json_array_get(peers, i), where, true, err) != 0) {
            return -1;
        }
    }
    return wireguard_finish(build, err);
}

static int parse_route_table(const json_t *body, struct wireguard *ret, char *pointer, struct error *err)
{
    int64_t table = json_get_int(body, "route_table", WIREGUARD_TABLE_DEFAULT);
    if (table < 1 || table > UINT32_MAX || (table >= 253 && table <= 255)) {
        (void)snprintf(pointer, WIREGUARD_POINTER_MAX, "/route_table");
        return wireguard_refuse(err, "must be a table of its own: from 1 to 4294967295, but not 253 to 255, which are the kernel's");
    }
    ret->route_table = (uint32_t)table;
    return 0;
}

static int parse_name(const char *name, const char *field, struct wireguard *ret, char *pointer, struct error *err)
{
    struct error why;
    if (interface_name_check(name, &why) != 0) {
        (void)snprintf(pointer, WIREGUARD_POINTER_MAX, "/%s", field);
        return wireguard_refuse(err, "%.200s", why.message);
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
        return wireguard_refuse(err, "there must be either `config`, or `interface` with `peers`, or `existing_interface`");
    }
    if (existing != NULL && name != NULL) {
        return wireguard_refuse(err, "`interface_name` is for a tunnel that the daemon makes, not with `existing_interface`");
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

int wireguard_parse(const json_t *body, bool ipv6, struct wireguard *ret, struct wireguard_faults *ret_faults, struct error *err)
{
    AUTO_WIREGUARD config = {.managed = false};
    struct error why = {.code = ERR_INTERNAL};
    char pointer[WIREGUARD_POINTER_MAX];
    struct wireguard_build build = {.config = &config, .ipv6 = ipv6, .faults = ret_faults};
    const char *text = json_get_string(body, "config");
    *ret_faults = (struct wireguard_faults){.count = 0};
    int result = parse_mode(body, &config, pointer, &why);
    if (result != 0) {
        (void)wireguard_note_fault(&build, pointer, 0, &why);
    } else if (text != NULL) {
        result = wireguard_parse_text(text, ipv6, &config, ret_faults, &why);
    } else if (config.managed) {
        result = parse_fields(body, &build, &why);
    }
    if (result != 0) {
        return error_set(err, why.code, "%s", why.message);
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
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < config->address_count; i++) {
        const struct wireguard_address *address = &config->addresses[i];
        char text[IP_TEXT_MAX];
        json_build_add(&list, json_sprintf("%s/%u", ip_addr_format(&address->address, text), (unsigned)address->prefix));
    }
    return json_build_take(&list);
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
    AUTO_JSON_BUILD allowed = json_build_array();
    AUTO_JSON_BUILD json = json_build_object();
    for (size_t i = 0; i < peer->allowed_count; i++) {
        json_build_add(&allowed, json_string(ip_net_format(&peer->allowed[i], net)));
    }
    json_build_put(&json, "public_key", json_string(wireguard_key_format(&peer->public_key, key)));
    json_build_put(&json, "has_preshared_key", json_boolean(peer->has_preshared_key));
    json_build_put(&json, "allowed_ips", json_build_take(&allowed));
    json_build_put(&json, "persistent_keepalive", json_integer(peer->keepalive));
    if (peer->host[0] != '\0') {
        json_build_put(&json, "endpoint", endpoint_json(peer));
    }
    return json_build_take(&json);
}

static int put_left_out(const struct wireguard *config, json_t *json)
{
    if (config->left_out[0] == '\0') {
        return 0;
    }
    return put(json, "left_out",
               config->left_out_more > 0 ? json_sprintf("%s, and %zu more", config->left_out, config->left_out_more) : json_string(config->left_out));
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
    return result | put(json, "peers", peers) | put_left_out(config, json);
}

json_t *wireguard_json(const struct wireguard *config)
{
    json_t *json = json_pack("{s:b, s:b, s:I}", "route_all_vm_traffic", (int)config->route_all, "fail_closed", (int)config->fail_closed, "route_table",
                             (json_int_t)config->route_table);
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
            result |= put(preshared, wireguard_key_format(&peer->public_key, public_key), json_string(wireguard_key_format(&peer->preshared_key, key)));
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
        return wireguard_refuse(err, "the stored private key is damaged");
    }
    for (size_t i = 0; i < config->peer_count; i++) {
        char text[WIREGUARD_KEY_TEXT_MAX];
        struct wireguard_peer *peer = &config->peers[i];
        const char *key = json_get_string(preshared, wireguard_key_format(&peer->public_key, text));
        peer->has_preshared_key = key != NULL;
        if (key != NULL && !wireguard_key_parse(key, &peer->preshared_key)) {
            return wireguard_refuse(err, "a stored preshared key is damaged");
        }
    }
    return 0;
}

int wireguard_load(const json_t *json, const json_t *secrets, struct wireguard *ret, struct error *err)
{
    char pointer[WIREGUARD_POINTER_MAX];
    AUTO_WIREGUARD config = {.managed = false};
    struct error why = {.code = ERR_INTERNAL};
    struct wireguard_faults faults = {.count = 0};
    struct wireguard_build build = {.config = &config, .ipv6 = true, .has_no_keys = true, .faults = &faults};
    const char *left_out = json_get_string(json, "left_out");
    if (parse_mode(json, &config, pointer, &why) != 0 || (config.managed && parse_fields(json, &build, &why) != 0)) {
        return error_set(err, why.code, "the stored configuration is damaged: %.900s", why.message);
    }
    (void)snprintf(config.left_out, sizeof config.left_out, "%s", left_out != NULL ? left_out : "");
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
