/* GET and DELETE /network/wireguard. */
#include "api/network/wireguard.h"

#include "api/ask.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/condition.h"
#include "core/json.h"
#include "core/json_build.h"
#include "core/wireguard.h"
#include "db/events.h"
#include "db/facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the worker observed: {"observed_generation", "backend", "conditions"}; an empty object before its first look. */
static int read_fact(struct api *api, json_t **ret, struct error *err)
{
    AUTO_FREE char *text = NULL;
    if (facts_get(api->db, "wireguard", &text, err) != 0) {
        return -1;
    }
    if (text == NULL) {
        *ret = json_object();
        return *ret != NULL ? 0 : error_oom(err);
    }
    return json_parse(text, strlen(text), ret, err);
}

static const char *state_of(const struct wireguard_row *row, int64_t observed, const json_t *conditions)
{
    if (!row->wanted) {
        return "deleting";
    }
    if (observed < row->generation) {
        return "pending";
    }
    return condition_has_status(condition_find(conditions, CONDITION_READY), CONDITION_TRUE) ? "up" : "failed";
}

static json_t *warnings_json(unsigned warnings, const json_t *document)
{
    AUTO_JSON_BUILD list = json_build_array();
    const char *left_out = json_get_string(document, "left_out");
    for (unsigned i = 0; i < WIREGUARD_WARNING_COUNT_; i++) {
        const char *text = wireguard_warning_text((enum wireguard_warning)i);
        if ((warnings & 1U << i) != 0) {
            json_build_add(&list, i == WIREGUARD_LEFT_OUT_IPV6 && left_out != NULL ? json_sprintf("%s: %s", text, left_out) : json_string(text));
        }
    }
    return json_build_take(&list);
}

/* What the device tells of one peer; NULL: it was not asked. */
static int add_peer_status(json_t *peer, const json_t *status)
{
    char at[CLOCK_TEXT_MAX];
    int64_t handshake_ms = json_get_int(status, "last_handshake_ms", 0);
    int64_t age_s = (clock_wall_ms() - handshake_ms) / 1000;
    bool known = handshake_ms > 0;
    json_t *age = known ? json_integer(age_s > 0 ? age_s : 0) : json_null();
    json_t *received = status != NULL ? json_integer(json_get_int(status, "received_bytes", 0)) : json_null();
    json_t *sent = status != NULL ? json_integer(json_get_int(status, "sent_bytes", 0)) : json_null();
    AUTO_JSON *told = json_pack("{s:s?, s:s?, s:o, s:o, s:o}", "current_endpoint", json_get_string(status, "endpoint"), "last_handshake_at",
                                known ? clock_format(handshake_ms, at) : NULL, "handshake_age_s", age, "received_bytes", received, "sent_bytes", sent);
    return told != NULL ? json_object_update(peer, told) : -1;
}

/* Of a tunnel of somebody else just the peers' keys are known, and what the device tells. */
static json_t *foreign_peers(const json_t *told)
{
    AUTO_JSON *peers = json_array();
    const char *key = NULL;
    json_t *item = NULL;
    json_object_foreach((json_t *)(uintptr_t)told, key, item)
    {
        if (json_array_append_new(peers, json_pack("{s:s, s:n, s:n, s:n, s:n}", "public_key", key, "has_preshared_key", "endpoint", "allowed_ips",
                                                   "persistent_keepalive")) != 0) {
            return NULL;
        }
    }
    return TAKE_PTR(peers);
}

static int add_status(json_t *json, bool managed, const json_t *status)
{
    const json_t *told = json_object_get(status, "peers");
    size_t i = 0;
    json_t *peer = NULL;
    json_t *interface = json_object_get(json, "interface");
    if (interface != NULL && json_object_get(status, "listen_port") != NULL &&
        json_object_set(interface, "listen_port", json_object_get(status, "listen_port")) != 0) {
        return -1;
    }
    if (!managed && (json_object_set_new(json, "interface", json_null()) != 0 || json_object_set_new(json, "peers", foreign_peers(told)) != 0)) {
        return -1;
    }
    json_array_foreach(json_object_get(json, "peers"), i, peer)
    {
        if (json_object_get(peer, "endpoint") == NULL && json_object_set_new(peer, "endpoint", json_null()) != 0) {
            return -1;
        }
        if (add_peer_status(peer, json_object_get(told, json_get_string(peer, "public_key"))) != 0) {
            return -1;
        }
    }
    return 0;
}

static json_t *resource_json(const struct wireguard_row *row, const json_t *fact, const json_t *status, struct error *err)
{
    json_t *document = NULL;
    const json_t *conditions = json_object_get(fact, "conditions");
    int64_t observed = json_get_int(fact, "observed_generation", 0);
    const json_t *backend = json_object_get(fact, "backend");
    if (json_parse(row->document, strlen(row->document), &document, err) != 0) {
        return NULL;
    }
    const char *existing = json_get_string(document, "existing_interface");
    AUTO_JSON *json =
        json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:I, s:I, s:o}", "mode", existing != NULL ? "existing" : "managed", "state",
                  state_of(row, observed, conditions), "interface_name", existing != NULL ? existing : json_get_string(document, "interface_name"),
                  "public_key", row->public_key, "backend", backend != NULL ? json_incref((json_t *)(uintptr_t)backend) : json_null(), "warnings",
                  warnings_json(row->warnings, document), "generation", (json_int_t)row->generation, "observed_generation", (json_int_t)observed, "conditions",
                  conditions != NULL ? json_incref((json_t *)(uintptr_t)conditions) : json_array());
    (void)json_object_del(document, "existing_interface");
    (void)json_object_del(document, "left_out");
    if (json == NULL || json_object_update_missing(json, document) != 0 || add_status(json, existing == NULL, status) != 0) {
        json_decref(document);
        (void)error_oom(err);
        return NULL;
    }
    json_decref(document);
    return json_incref(json);
}

static int fill(const struct wireguard_row *row, const json_t *fact, const json_t *status, struct look *ret, struct error *err)
{
    int64_t observed = json_get_int(fact, "observed_generation", 0);
    ret->settled = observed >= row->generation;
    ret->gone = row->generation == 0 || (!row->wanted && ret->settled && json_get_bool(fact, "removed", true));
    if (ret->gone) {
        return 0;
    }
    if (ret->settled) {
        look_fail_unless_ready(ret, json_object_get(fact, "conditions"), ERR_WIREGUARD_SETUP_FAILED);
    }
    AUTO_JSON *json = resource_json(row, fact, status, err);
    if (json == NULL) {
        return -1;
    }
    AUTO_FREE char *text = json_text(json);
    if (text == NULL) {
        return error_oom(err);
    }
    strbuf_add(&ret->body, text);
    (void)snprintf(ret->etag, sizeof ret->etag, "\"wireguard-%" PRId64 "\"", row->generation);
    return 0;
}

int wireguard_look_at(struct api *api, const json_t *status, struct look *ret, struct error *err)
{
    AUTO_WIREGUARD_ROW row = {0};
    AUTO_JSON *fact = NULL;
    return wireguard_row_get(api->db, &row, err) != 0 || read_fact(api, &fact, err) != 0 ? -1 : fill(&row, fact, status, ret, err);
}

/* `identity` is the generation that the write made: what is deleted is gone, even if another one was PUT since. */
static int look_wireguard(struct api *api, const char *id, int64_t identity, const struct wait_goal *goal, bool whole, struct look *ret, struct error *err)
{
    (void)goal;
    (void)id;
    (void)identity;
    (void)whole;
    return wireguard_look_at(api, NULL, ret, err);
}

const struct wait_subject wireguard_subject = {.kind = "wireguard", .path = "/network/wireguard", .look = look_wireguard};

static int not_found(struct error *err)
{
    return error_set(err, ERR_NOT_FOUND, "there is no WireGuard tunnel");
}

/* Without an answer, what is stored is shown all the same. */
static void answer_get(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_CLOSE int fd = handed_over; /* none is expected */
    AUTO_FREE struct origin *origin = ask_take_state(reply);
    AUTO_LOOK look = {0};
    struct error err;
    const json_t *status = ask_answer(message, &err);
    int result = wireguard_look_at(api, status, &look, &err);
    if (result == 0 && look.gone) {
        result = not_found(&err);
    }
    if (result != 0 || look_reply(&look, 200, reply, &err) != 0) {
        problem_reply(reply, origin->request_id, &err, NULL);
    }
}

int wireguard_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_get, .free_state = free};
    AUTO_LOOK look = {0};
    if (wireguard_look_at(call->api, NULL, &look, err) != 0) {
        return -1;
    }
    if (look.gone) {
        return not_found(err);
    }
    AUTO_FREE struct origin *origin = malloc(sizeof *origin);
    if (origin == NULL) {
        return error_oom(err);
    }
    *origin = call->origin;
    if (ask_begin(reply, "wireguard_status", "of", "wanted", origin, &ops, err) != 0) {
        return -1; // NOLINT(clang-analyzer-unix.Malloc): freed by its cleanup
    }
    (void)TAKE_PTR(origin);
    return 0;
}

int wireguard_write_find(struct write *write, struct error *err)
{
    AUTO_LOOK before = {0};
    if (wireguard_look_at(write->call->api, NULL, &before, err) != 0) {
        return -1;
    }
    memcpy(write->version, before.etag, sizeof write->version); /* none when it is gone */
    return 0;
}

int wireguard_write_look(struct write *write, struct error *err)
{
    return wireguard_look_at(write->call->api, NULL, &write->look, err);
}

int wireguard_write_wish(struct write *write, struct plan_wish *ret, struct error *err)
{
    ret->tunnels = calloc(1, sizeof *ret->tunnels);
    if (ret->tunnels == NULL) {
        return error_oom(err);
    }
    ret->tunnel_count = 1;
    return wireguard_row_get(write->call->api->db, ret->tunnels, err);
}

void wireguard_write_committed(struct write *write)
{
    call_wake(write->call->api, "network", "");
    call_wake(write->call->api, "wireguard", "");
}

static int find_one(struct write *write, struct error *err)
{
    if (wireguard_write_find(write, err) != 0) {
        return -1;
    }
    return write->version[0] != '\0' ? 0 : not_found(err);
}

static int remove_it(struct write *write, struct error *err)
{
    return wireguard_row_remove(write->call->api->db, err);
}

static int add_event(struct write *write, struct error *err)
{
    return events_add(write->call->api->db, EVENT_WIREGUARD_DELETED, "network", "", "{}", err);
}

int wireguard_handle_delete(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.subject = &wireguard_subject,
                                             .kind = WRITE_DELETE,
                                             .find = find_one,
                                             .store = remove_it,
                                             .event = add_event,
                                             .look = wireguard_write_look,
                                             .wish = wireguard_write_wish,
                                             .committed = wireguard_write_committed};
    return write_run(call, &steps, reply, err);
}
