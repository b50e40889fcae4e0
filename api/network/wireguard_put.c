/*
 * PUT /network/wireguard. The keys are sealed for the worker here, and never stored or kept otherwise. Whether the routing table and the name are free
 * on this host, the worker is asked before anything is stored.
 */
#include "api/handlers.h"
#include "api/network/wireguard.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "core/seal.h"
#include "core/wireguard.h"
#include "db/events.h"
#include "db/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_fault(struct call *call, const char *pointer, const char *message)
{
    call->has_fault_code = true;
    call->fault_code = ERR_INVALID_WIREGUARD_CONFIG;
    spec_faults_add(&call->faults, "body", pointer, "%s", message);
}

/* The bridge's name, and those that TAPs get, are the daemon's own. */
static void check_name(struct call *call, const struct wireguard *config)
{
    struct network_settings settings = api_network(call->api);
    if (strcmp(config->interface_name, settings.bridge) == 0 || strncmp(config->interface_name, settings.tap_prefix, strlen(settings.tap_prefix)) == 0) {
        add_fault(call, config->managed ? "/interface_name" : "/existing_interface", "is a name that the daemon gives to the guests' own links");
    }
}

void wireguard_check_put(struct call *call)
{
    AUTO_WIREGUARD config = {.managed = false};
    struct wireguard_faults faults;
    struct error err;
    if (call->faults.count > 0) {
        return; /* what the schema can tell it has told already */
    }
    bool ipv6 = call->api->config->network.ipv6_subnet.address.version != IP_NONE;
    if (wireguard_parse(call->body, ipv6, &config, &faults, &err) == 0) {
        check_name(call, &config);
        return;
    }
    for (size_t i = 0; i < faults.count; i++) {
        add_fault(call, faults.items[i].pointer, faults.items[i].message);
    }
    call->faults.more = call->faults.more || faults.more || faults.count == 0; /* none: memory was short */
}

static int seal_secrets(struct api *api, const struct wireguard *config, struct wireguard_row *row, struct error *err)
{
    AUTO_FREE char *fact = NULL;
    struct wireguard_key public_key;
    char text[WIREGUARD_KEY_TEXT_MAX] = "";
    if (facts_get(api->db, "seal_key", &fact, err) != 0) {
        return -1;
    }
    if (fact != NULL && strlen(fact) == WIREGUARD_KEY_TEXT_MAX + 1) {
        memcpy(text, fact + 1, WIREGUARD_KEY_TEXT_MAX - 1);
    }
    if (!wireguard_key_parse(text, &public_key)) {
        return error_set(err, ERR_UNAVAILABLE, "the worker has not told yet what secrets are to be sealed with");
    }
    AUTO_JSON *secrets = wireguard_secrets_json(config);
    char *plain = secrets != NULL ? json_text(secrets) : NULL;
    if (plain == NULL) {
        return error_oom(err);
    }
    int result = seal(public_key.bytes, plain, strlen(plain), &row->sealed, &row->sealed_bytes, err);
    explicit_bzero(plain, strlen(plain));
    free(plain);
    return result;
}

static int fill_row(struct api *api, const struct wireguard *config, struct wireguard_row *row, struct error *err)
{
    struct wireguard_key public_key;
    char text[WIREGUARD_KEY_TEXT_MAX];
    AUTO_JSON *document = wireguard_json(config);
    row->document = document != NULL ? json_text(document) : NULL;
    row->warnings = config->warnings;
    if (row->document == NULL) {
        return error_oom(err);
    }
    if (!config->managed) {
        return 0;
    }
    if (seal_public_key(config->private_key.bytes, public_key.bytes, err) != 0 || seal_secrets(api, config, row, err) != 0) {
        return -1;
    }
    row->public_key = strdup(wireguard_key_format(&public_key, text));
    return row->public_key != NULL ? 0 : error_oom(err);
}

static void free_state(void *state)
{
    wireguard_row_free(state);
}

/* The keys are sealed before anything else; whether the routing table and the name are free on this host, the worker is asked then. */
static int ask(struct write *write, struct write_question *ret, struct error *err)
{
    const struct call *call = write->call;
    AUTO_WIREGUARD config = {.managed = false};
    struct wireguard_faults faults;
    bool ipv6 = call->api->config->network.ipv6_subnet.address.version != IP_NONE;
    if (wireguard_parse(call->body, ipv6, &config, &faults, err) != 0 || fill_row(call->api, &config, write->state, err) != 0) {
        return -1;
    }
    AUTO_JSON *about =
        json_pack("{s:I, s:s, s:b}", "route_table", (json_int_t)config.route_table, "interface_name", config.interface_name, "managed", (int)config.managed);
    *ret = (struct write_question){.name = "wireguard_check", .member = "wireguard", .value = about != NULL ? json_text(about) : NULL};
    return ret->value != NULL ? 0 : error_oom(err);
}

static int store(struct write *write, struct error *err)
{
    return wireguard_row_put(write->call->api->db, write->state, err);
}

static int add_event(struct write *write, struct error *err)
{
    return events_add(write->call->api->db, EVENT_WIREGUARD_CHANGED, "network", "", "{}", err);
}

int wireguard_handle_put(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.subject = &wireguard_subject,
                                             .kind = WRITE_CHANGE,
                                             .state_size = sizeof(struct wireguard_row),
                                             .free_state = free_state,
                                             .ask = ask,
                                             .find = wireguard_write_find,
                                             .store = store,
                                             .event = add_event,
                                             .look = wireguard_write_look,
                                             .wish = wireguard_write_wish,
                                             .committed = wireguard_write_committed};
    return write_run(call, &steps, reply, err);
}
