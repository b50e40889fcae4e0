/* GET and DELETE /network/wireguard. */
#include "api/wireguard.h"

#include "api/ask.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
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

static bool is_ready(const json_t *conditions)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach(conditions, i, item)
    {
        const char *type = json_get_string(item, "type");
        const char *status = json_get_string(item, "status");
        if (type != NULL && status != NULL && strcmp(type, "ready") == 0) {
            return strcmp(status, "true") == 0;
        }
    }
    return false;
}

static const char *state_of(const struct wireguard_row *row, int64_t observed, const json_t *conditions)
{
    if (!row->wanted) {
        return "deleting";
    }
    if (observed < row->generation) {
        return "pending";
    }
    return is_ready(conditions) ? "up" : "failed";
}

static json_t *warnings_json(unsigned warnings)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < WIREGUARD_WARNING_COUNT_; i++) {
        if ((warnings & 1U << i) != 0) {
            (void)json_array_append_new(list, json_string(wireguard_warning_text((enum wireguard_warning)i)));
        }
    }
    return list;
}

/* What the device tells of one peer. */
static void add_peer_status(json_t *peer, const json_t *status)
{
    char at[CLOCK_TEXT_MAX];
    int64_t handshake_ms = json_get_int(status, "last_handshake_ms", 0);
    int64_t age_s = (clock_wall_ms() - handshake_ms) / 1000;
    const char *endpoint = json_get_string(status, "endpoint");
    bool known = handshake_ms > 0;
    (void)json_object_set_new(peer, "current_endpoint", endpoint != NULL ? json_string(endpoint) : json_null());
    (void)json_object_set_new(peer, "last_handshake_at", known ? json_string(clock_format(handshake_ms, at)) : json_null());
    (void)json_object_set_new(peer, "handshake_age_s", known ? json_integer(age_s > 0 ? age_s : 0) : json_null());
    (void)json_object_set_new(peer, "received_bytes", json_integer(json_get_int(status, "received_bytes", 0)));
    (void)json_object_set_new(peer, "sent_bytes", json_integer(json_get_int(status, "sent_bytes", 0)));
}

static void add_status(json_t *json, bool managed, const json_t *status)
{
    const json_t *told = json_object_get(status, "peers");
    size_t i = 0;
    json_t *peer = NULL;
    const char *key = NULL;
    json_t *item = NULL;
    json_t *interface = json_object_get(json, "interface");
    if (interface != NULL && json_object_get(status, "listen_port") != NULL) {
        (void)json_object_set(interface, "listen_port", json_object_get(status, "listen_port"));
    }
    if (!managed && told != NULL) {
        json_t *peers = json_array();
        json_object_foreach((json_t *)(uintptr_t)told, key, item)
        {
            (void)json_array_append_new(peers, json_pack("{s:s}", "public_key", key));
        }
        (void)json_object_set_new(json, "peers", peers);
    }
    json_array_foreach(json_object_get(json, "peers"), i, peer)
    {
        const json_t *of_peer = json_object_get(told, json_get_string(peer, "public_key"));
        if (of_peer != NULL) {
            add_peer_status(peer, of_peer);
        }
    }
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
    AUTO_JSON *json = json_pack("{s:s, s:s, s:s, s:s?, s:o, s:o, s:I, s:I, s:o}", "mode", existing != NULL ? "existing" : "managed", "state",
                                state_of(row, observed, conditions), "interface_name",
                                existing != NULL ? existing : json_get_string(document, "interface_name"), "public_key", row->public_key, "backend",
                                backend != NULL ? json_incref((json_t *)(uintptr_t)backend) : json_null(), "warnings", warnings_json(row->warnings),
                                "generation", (json_int_t)row->generation, "observed_generation", (json_int_t)observed, "conditions",
                                conditions != NULL ? json_incref((json_t *)(uintptr_t)conditions) : json_array());
    (void)json_object_del(document, "existing_interface");
    if (json == NULL || json_object_update_missing(json, document) != 0) {
        json_decref(document);
        (void)error_oom(err);
        return NULL;
    }
    add_status(json, existing == NULL, status);
    json_decref(document);
    return json_incref(json);
}

static int fill(const struct wireguard_row *row, const json_t *fact, const json_t *status, struct look *ret, struct error *err)
{
    int64_t observed = json_get_int(fact, "observed_generation", 0);
    ret->settled = observed >= row->generation;
    ret->gone = row->generation == 0 || (!row->wanted && ret->settled);
    if (ret->gone) {
        return 0;
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
static int look_wireguard(struct api *api, const char *id, int64_t identity, bool whole, struct look *ret, struct error *err)
{
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

/* Inside the transaction. */
static int remove_it(struct call *call, struct error *err)
{
    AUTO_LOOK before = {0};
    if (wireguard_look_at(call->api, NULL, &before, err) != 0) {
        return -1;
    }
    if (before.gone) {
        return not_found(err);
    }
    if (etag_require(call, before.etag, err) != 0 || wireguard_row_remove(call->api->db, err) != 0) {
        return -1;
    }
    return events_add(call->api->db, "wireguard.deleted", "network", "", "{}", err);
}

int wireguard_handle_delete(struct call *call, struct api_reply *reply, struct error *err)
{
    struct api *api = call->api;
    AUTO_LOOK look = {0};
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (remove_it(call, err) != 0 || wireguard_look_at(api, NULL, &look, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    call_wake(api, "network", "");
    call_wake(api, "wireguard", "");
    struct written written = {.subject = &wireguard_subject, .kind = WRITE_DELETE, .id = "", .identity = 0, .look = &look};
    return written_reply(&call->origin, &written, reply, err);
}
