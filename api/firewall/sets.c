/* Named address sets, and the confirmation of changes. */
#include "api/firewall/firewall.h"

#include "api/etag.h"
#include "api/handlers.h"
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
    firewall_add_conditions(b, observed, row);
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
    (void)snprintf(ret->etag, sizeof ret->etag, "\"set-%" PRId64 "%s\"", row->generation, row->confirm_until_ms > 0 ? "-unconfirmed" : "");
    firewall_settle(ret, &observed, row->generation);
    return ret->body.failed ? error_oom(err) : 0;
}

/* A set is waited for by its generation: the key of the wait is that of the whole firewall. */
static int look_set(struct api *api, const char *id, int64_t identity, const struct wait_goal *goal, bool whole, struct look *ret, struct error *err)
{
    (void)goal;
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

struct set_write {
    struct firewall_row row; /* as it is stored, before and after */
    char *text;              /* the networks that are wanted */
    size_t confirmed;
};

static void free_write(void *state)
{
    struct set_write *set = state;
    firewall_row_free(&set->row);
    free(set->text);
}

static int find_any(struct write *write, struct error *err)
{
    struct set_write *set = write->state;
    AUTO_LOOK before = {0};
    bool exists = false;
    if (firewall_set_get(write->call->api->db, set_name(write->call), &set->row, &exists, err) != 0 ||
        (exists && look_at(write->call->api, &set->row, &before, err) != 0)) {
        return -1;
    }
    memcpy(write->version, before.etag, sizeof write->version);
    return 0;
}

static int change(struct write *write, struct error *err)
{
    struct set_write *set = write->state;
    struct call *call = write->call;
    struct address_set parsed;
    if (write->version[0] == '\0' && check_room(call, err) != 0) {
        return -1;
    }
    if (address_set_parse(set_name(call), json_object_get(call->body, "addresses"), &parsed, err) != 0) {
        return -1;
    }
    AUTO_JSON *json = address_set_json(&parsed);
    set->text = json != NULL ? json_text(json) : NULL;
    address_set_free(&parsed);
    return set->text != NULL ? 0 : error_oom(err);
}

static int store(struct write *write, struct error *err)
{
    const struct set_write *set = write->state;
    return firewall_set_put(write->call->api->db, set_name(write->call), set->text, firewall_confirm_until_ms(write->call), &write->identity, err);
}

static int add_event(struct write *write, struct error *err)
{
    return events_add(write->call->api->db, EVENT_FIREWALL_CHANGED, "firewall", "", "{}", err);
}

static int look_again(struct write *write, struct error *err)
{
    struct set_write *set = write->state;
    firewall_row_free(&set->row);
    return find(write->call, &set->row, err) != 0 ? -1 : look_at(write->call->api, &set->row, &write->look, err);
}

/* In the transaction: the set as it would be, without a text when it would be gone. */
static int wish(struct write *write, struct plan_wish *ret, struct error *err)
{
    bool found = false;
    ret->sets = calloc(1, sizeof *ret->sets);
    if (ret->sets == NULL) {
        return error_oom(err);
    }
    ret->set_count = 1;
    if (firewall_set_get(write->call->api->db, set_name(write->call), ret->sets, &found, err) != 0) {
        return -1;
    }
    if (!found) {
        ret->sets->name = strdup(set_name(write->call));
    }
    return ret->sets->name != NULL ? 0 : error_oom(err);
}

int firewall_handle_put_set(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.subject = &set_subject,
                                             .kind = WRITE_CHANGE,
                                             .state_size = sizeof(struct set_write),
                                             .free_state = free_write,
                                             .find = find_any,
                                             .change = change,
                                             .store = store,
                                             .event = add_event,
                                             .look = look_again,
                                             .wish = wish,
                                             .committed = firewall_write_committed};
    return write_run(call, &steps, reply, err);
}

static int find_one(struct write *write, struct error *err)
{
    if (find_any(write, err) != 0) {
        return -1;
    }
    return write->version[0] != '\0' ? 0 : error_set(err, ERR_NOT_FOUND, "there is no address set '%s'", set_name(write->call));
}

static int check_unused(struct write *write, struct error *err)
{
    bool used = false;
    const char *name = set_name(write->call);
    if (firewall_set_is_used(write->call->api->db, name, &used, err) != 0) {
        return -1;
    }
    return !used ? 0 : error_set(err, ERR_IN_USE, "a policy, or one that may come back, names the address set '%s'", name);
}

static int remove_set(struct write *write, struct error *err)
{
    int64_t generation = 0;
    return firewall_set_remove(write->call->api->db, set_name(write->call), &generation, err);
}

static int look_at_nothing(struct write *write, struct error *err)
{
    (void)write;
    (void)err;
    return 0;
}

int firewall_handle_delete_set(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.kind = WRITE_DELETE,
                                             .state_size = sizeof(struct set_write),
                                             .free_state = free_write,
                                             .find = find_one,
                                             .change = check_unused,
                                             .store = remove_set,
                                             .event = add_event,
                                             .look = look_at_nothing,
                                             .wish = wish,
                                             .committed = firewall_write_committed};
    return write_run(call, &steps, reply, err);
}

static int confirm(struct write *write, struct error *err)
{
    struct set_write *set = write->state;
    if (firewall_confirm(write->call->api->db, &set->confirmed, err) != 0) {
        return -1;
    }
    return set->confirmed > 0 ? 0 : error_set(err, ERR_INVALID_STATE, "no change of the firewall waits for a confirmation");
}

static int add_confirmed(struct write *write, struct error *err)
{
    return events_add(write->call->api->db, EVENT_FIREWALL_CONFIRMED, "firewall", "", "{}", err);
}

static int look_at_count(struct write *write, struct error *err)
{
    const struct set_write *set = write->state;
    (void)err;
    strbuf_addf(&write->look.body, "{\"confirmed\":%zu}", set->confirmed);
    return 0;
}

/* A change that is confirmed is in force already, or is on its way. */
static int wish_nothing_new(struct write *write, struct plan_wish *ret, struct error *err)
{
    (void)write;
    (void)err;
    ret->firewall = true;
    return 0;
}

int firewall_handle_confirm(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.kind = WRITE_CHANGE,
                                             .state_size = sizeof(struct set_write),
                                             .free_state = free_write,
                                             .store = confirm,
                                             .event = add_confirmed,
                                             .look = look_at_count,
                                             .wish = wish_nothing_new,
                                             .committed = firewall_write_committed};
    return write_run(call, &steps, reply, err);
}
