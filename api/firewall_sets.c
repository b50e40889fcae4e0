/* Named address sets, and the confirmation of changes. */
#include "api/firewall.h"

#include "api/etag.h"
#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *set_name(const struct call *call)
{
    return json_get_string(call->parameters, "name");
}

static void add_set(struct strbuf *b, const struct firewall_row *row, const struct firewall_observed *observed)
{
    strbuf_add(b, "{\"name\":");
    json_out_string(b, row->name);
    strbuf_add(b, ",\"addresses\":");
    strbuf_add(b, row->text);
    firewall_add_conditions(b, observed, row->generation);
    strbuf_add(b, ",\"confirm_until\":");
    if (row->confirm_until_ms > 0) {
        json_out_time(b, row->confirm_until_ms);
    } else {
        strbuf_add(b, "null");
    }
    strbuf_add(b, ",\"updated_at\":");
    json_out_time(b, row->updated_ms);
    strbuf_add_char(b, '}');
}

static int look_at(struct api *api, const struct firewall_row *row, struct look *ret, struct error *err)
{
    struct firewall_observed observed;
    if (firewall_observed_get(api->db, &observed, err) != 0) {
        return -1;
    }
    add_set(&ret->body, row, &observed);
    (void)snprintf(ret->etag, sizeof ret->etag, "\"set-%" PRId64 "%s\"", row->generation,
                   row->confirm_until_ms > 0 ? "-unconfirmed" : "");
    ret->settled = observed.generation >= row->generation;
    return ret->body.failed ? error_oom(err) : 0;
}

/* A set is waited for by its generation: the key of the wait is that of the whole firewall. */
static int look_set(struct api *api, const char *id, int64_t identity, bool whole, struct look *ret, struct error *err)
{
    AUTO_FIREWALL_ROWS rows = {.generation = 0};
    (void)id;
    (void)whole;
    if (firewall_load(api->db, &rows, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < rows.set_count; i++) {
        if (rows.sets[i].generation == identity) {
            return look_at(api, &rows.sets[i], ret, err);
        }
    }
    ret->gone = true;
    return 0;
}

static const struct wait_subject set_subject = {.kind = "firewall", .path = "/firewall/sets", .look = look_set};

static int find(struct call *call, struct firewall_row *ret, struct error *err)
{
    bool found = false;
    if (firewall_set_get(call->api->db, set_name(call), ret, &found, err) != 0) {
        return -1;
    }
    return found ? 0 : error_set(err, ERR_NOT_FOUND, "there is no address set '%s'", set_name(call));
}

int firewall_handle_get_set(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_FIREWALL_ROW row = {.text = NULL};
    AUTO_LOOK look = {0};
    return find(call, &row, err) != 0 || look_at(call->api, &row, &look, err) != 0 ? -1 : look_reply(&look, 200, reply, err);
}

int firewall_handle_list_sets(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_FIREWALL_ROWS rows = {.generation = 0};
    AUTO_STRBUF b = STRBUF_INIT;
    struct firewall_observed observed;
    const char *after = json_get_string(call->parameters, "cursor");
    int64_t limit = json_get_int(call->parameters, "limit", 100);
    const char *last = NULL;
    size_t count = 0;
    if (firewall_load(call->api->db, &rows, err) != 0 || firewall_observed_get(call->api->db, &observed, err) != 0) {
        return -1;
    }
    strbuf_add(&b, "{\"items\":[");
    bool more = false;
    for (size_t i = 0; i < rows.set_count && !more; i++) {
        if (after != NULL && strcmp(rows.sets[i].name, after) <= 0) {
            continue;
        }
        more = (int64_t)count == limit;
        if (!more) {
            strbuf_add(&b, count++ > 0 ? "," : "");
            add_set(&b, &rows.sets[i], &observed);
            last = rows.sets[i].name;
        }
    }
    strbuf_add(&b, "],\"next_cursor\":");
    json_out_string(&b, more ? last : NULL);
    strbuf_add_char(&b, '}');
    return reply_json(reply, 200, &b, err);
}

void firewall_check_set(struct call *call)
{
    struct address_set ignored;
    struct error err;
    if (call->faults.count == 0) {
        if (address_set_parse("x", json_object_get(call->body, "addresses"), &ignored, &err) == 0) {
            address_set_free(&ignored);
            return;
        }
        call->has_fault_code = true;
        call->fault_code = err.code;
        spec_faults_add(&call->faults, "body", "/addresses", "%s", err.message);
    }
}

/* Inside the transaction: is there room for one more? */
static int check_room(struct call *call, struct error *err)
{
    int64_t count = 0;
    if (firewall_sets_count(call->api->db, &count, err) != 0) {
        return -1;
    }
    return count < ADDRESS_SETS_MAX ? 0 : error_set(err, ERR_CONFLICT, "there are %d address sets, the most that there can be", ADDRESS_SETS_MAX);
}

/* Inside the transaction. */
static int put(struct call *call, int64_t *ret_generation, struct error *err)
{
    struct address_set set;
    AUTO_FIREWALL_ROW old = {.text = NULL};
    AUTO_LOOK before = {0};
    bool exists = false;
    if (firewall_set_get(call->api->db, set_name(call), &old, &exists, err) != 0) {
        return -1;
    }
    if (exists && (look_at(call->api, &old, &before, err) != 0 || etag_require(call, before.etag, err) != 0)) {
        return -1;
    }
    if (!exists && (etag_require(call, "", err) != 0 || check_room(call, err) != 0)) {
        return -1;
    }
    if (address_set_parse(set_name(call), json_object_get(call->body, "addresses"), &set, err) != 0) {
        return -1;
    }
    AUTO_JSON *json = address_set_json(&set);
    AUTO_FREE char *text = json != NULL ? json_text(json) : NULL;
    address_set_free(&set);
    if (text == NULL) {
        return error_oom(err);
    }
    if (firewall_set_put(call->api->db, set_name(call), text, firewall_confirm_until_ms(call), ret_generation, err) != 0) {
        return -1;
    }
    return events_add(call->api->db, "firewall.changed", "firewall", "", "{}", err);
}

int firewall_handle_put_set(struct call *call, struct api_reply *reply, struct error *err)
{
    struct api *api = call->api;
    AUTO_FIREWALL_ROW new = {.text = NULL};
    AUTO_LOOK look = {0};
    int64_t generation = 0;
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (put(call, &generation, err) != 0 || find(call, &new, err) != 0 || look_at(api, &new, &look, err) != 0 ||
        db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    call_wake(api, "firewall", "");
    struct written written = {.subject = &set_subject, .kind = WRITE_CHANGE, .id = "", .identity = generation, .look = &look};
    return written_reply(&call->origin, &written, reply, err);
}

int firewall_handle_delete_set(struct call *call, struct api_reply *reply, struct error *err)
{
    struct api *api = call->api;
    AUTO_FIREWALL_ROW row = {.text = NULL};
    AUTO_LOOK before = {0};
    int64_t generation = 0;
    bool used = false;
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (find(call, &row, err) != 0 || look_at(api, &row, &before, err) != 0 || etag_require(call, before.etag, err) != 0 ||
        firewall_set_is_used(api->db, row.name, &used, err) != 0) {
        return -1;
    }
    if (used) {
        return error_set(err, ERR_IN_USE, "a policy, or one that may come back, names the address set '%s'", row.name);
    }
    if (firewall_set_remove(api->db, row.name, &generation, err) != 0 ||
        events_add(api->db, "firewall.changed", "firewall", "", "{}", err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    call_wake(api, "firewall", "");
    reply_empty(reply, 204);
    return 0;
}

int firewall_handle_confirm(struct call *call, struct api_reply *reply, struct error *err)
{
    struct api *api = call->api;
    AUTO_STRBUF b = STRBUF_INIT;
    size_t count = 0;
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (firewall_confirm(api->db, &count, err) != 0) {
        return -1;
    }
    if (count == 0) {
        return error_set(err, ERR_INVALID_STATE, "no change of the firewall waits for a confirmation");
    }
    if (events_add(api->db, "firewall.confirmed", "firewall", "", "{}", err) != 0) {
        return -1;
    }
    strbuf_addf(&b, "{\"confirmed\":%zu}", count);
    if (b.failed) {
        return error_oom(err);
    }
    if (idempotency_store(api, &call->origin, 200, NULL, b.data, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    call_wake(api, "firewall", "");
    return reply_json(reply, 200, &b, err);
}
