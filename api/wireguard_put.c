/*
 * PUT /network/wireguard. The keys are sealed for the worker here, and never stored or kept otherwise. Whether the routing table and the name are free
 * on this host, the worker is asked before anything is stored.
 */
#include "api/ask.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/wireguard.h"
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
    if (strcmp(config->interface_name, settings.bridge) == 0 ||
        strncmp(config->interface_name, settings.tap_prefix, strlen(settings.tap_prefix)) == 0) {
        add_fault(call, config->managed ? "/interface_name" : "/existing_interface", "is a name that the daemon gives to the guests' own links");
    }
}

void wireguard_check_put(struct call *call)
{
    AUTO_WIREGUARD config = {.managed = false};
    char pointer[WIREGUARD_POINTER_MAX];
    struct error err;
    if (call->faults.count > 0) {
        return; /* what the schema can tell it has told already */
    }
    bool ipv6 = call->api->config->network.ipv6_subnet.address.version != IP_NONE;
    if (wireguard_parse(call->body, ipv6, &config, pointer, &err) != 0) {
        add_fault(call, pointer, err.message);
    } else {
        check_name(call, &config);
    }
}

struct put_state {
    struct origin origin;
    char *if_match; /* or NULL */
    struct wireguard_row row;
};

static void put_state_free(void *ctx)
{
    struct put_state *state = ctx;
    if (state != NULL) {
        free(state->if_match);
        wireguard_row_free(&state->row);
        free(state);
    }
}

static void cleanup_put_state(struct put_state **state)
{
    put_state_free(*state);
}
#define AUTO_PUT_STATE __attribute__((cleanup(cleanup_put_state))) struct put_state

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

/* Inside the transaction. */
static int change(struct api *api, struct put_state *state, struct look *ret, struct error *err)
{
    AUTO_LOOK before = {0};
    if (wireguard_look_at(api, NULL, &before, err) != 0) {
        return -1;
    }
    const char *etag = before.gone ? "none" : before.etag;
    if (state->if_match != NULL && (before.gone || !etag_matches(state->if_match, etag))) {
        return error_set(err, ERR_PRECONDITION_FAILED, "the ETag is %s now", etag);
    }
    if (wireguard_row_put(api->db, &state->row, err) != 0 ||
        events_add(api->db, "wireguard.changed", "network", "", "{}", err) != 0) {
        return -1;
    }
    return wireguard_look_at(api, NULL, ret, err);
}

static int store(struct api *api, struct put_state *state, struct api_reply *reply, struct error *err)
{
    AUTO_LOOK look = {0};
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (change(api, state, &look, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    call_wake(api, "network", "");
    call_wake(api, "wireguard", "");
    struct written written = {.subject = &wireguard_subject, .kind = WRITE_CHANGE, .id = "", .identity = 0, .look = &look};
    return written_reply(&state->origin, &written, reply, err);
}

static void answer_check(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_CLOSE int fd = handed_over; /* none is expected */
    AUTO_PUT_STATE *state = ask_take_state(reply);
    struct error err;
    if (ask_answer(message, &err) == NULL || store(api, state, reply, &err) != 0) {
        problem_reply(reply, state->origin.request_id, &err, NULL);
    }
}

static int ask(const struct wireguard *config, struct put_state *state, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_check, .free_state = put_state_free};
    AUTO_JSON *about = json_pack("{s:I, s:s, s:b}", "route_table", (json_int_t)config->route_table, "interface_name", config->interface_name,
                                 "managed", (int)config->managed);
    AUTO_FREE char *text = about != NULL ? json_text(about) : NULL;
    return text == NULL ? error_oom(err) : ask_begin(reply, "wireguard_check", "wireguard", text, state, &ops, err);
}

static struct put_state *new_state(const struct call *call, struct error *err)
{
    const char *if_match = json_get_string(call->parameters, "If-Match");
    struct put_state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        (void)error_oom(err);
        return NULL;
    }
    state->origin = call->origin;
    state->if_match = if_match != NULL ? strdup(if_match) : NULL;
    if (if_match != NULL && state->if_match == NULL) {
        put_state_free(state);
        (void)error_oom(err);
        return NULL;
    }
    return state;
}

int wireguard_handle_put(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_WIREGUARD config = {.managed = false};
    char pointer[WIREGUARD_POINTER_MAX];
    bool ipv6 = call->api->config->network.ipv6_subnet.address.version != IP_NONE;
    struct put_state *state = new_state(call, err);
    if (state == NULL) {
        return -1;
    }
    if (wireguard_parse(call->body, ipv6, &config, pointer, err) != 0 || fill_row(call->api, &config, &state->row, err) != 0 ||
        ask(&config, state, reply, err) != 0) {
        put_state_free(state);
        return -1;
    }
    return 0; // NOLINT(clang-analyzer-unix.Malloc): the reply has it
}
