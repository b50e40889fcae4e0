/* Stored policies and sets as values, and as JSON. */
#include "api/firewall/firewall.h"

#include "api/json_out.h"
#include "core/cleanup.h"
#include "core/condition.h"
#include "core/json.h"
#include "db/vms.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int firewall_read_policy(struct api *api, int64_t vm_uid, struct policy *ret, struct firewall_row *ret_row, bool *ret_found, struct error *err)
{
    struct firewall_row row = {.text = NULL};
    AUTO_JSON *json = NULL;
    if (firewall_policy_get(api->db, vm_uid, &row, ret_found, err) != 0) {
        return -1;
    }
    int result = 0;
    if (!*ret_found || row.text == NULL) {
        policy_defaults(ret);
    } else {
        result = json_parse(row.text, strlen(row.text), &json, err) == 0 ? policy_parse(json, ret, err) : -1;
    }
    if (ret_row != NULL && result == 0) {
        *ret_row = row;
    } else {
        firewall_row_free(&row);
    }
    return result;
}

static int parse_sets(const struct firewall_rows *rows, struct address_sets *ret, struct error *err)
{
    ret->sets = calloc(rows->set_count + 1, sizeof *ret->sets);
    if (ret->sets == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < rows->set_count; i++) {
        AUTO_JSON *json = NULL;
        const struct firewall_row *row = &rows->sets[i];
        if (json_parse(row->text, strlen(row->text), &json, err) != 0 || address_set_parse(row->name, json, &ret->sets[ret->count], err) != 0) {
            address_sets_free(ret);
            return -1;
        }
        ret->count++;
    }
    return 0;
}

int firewall_read_sets(struct api *api, struct address_sets *ret, struct error *err)
{
    AUTO_FIREWALL_ROWS rows = {.generation = 0};
    memset(ret, 0, sizeof *ret);
    return firewall_load(api->db, &rows, err) == 0 ? parse_sets(&rows, ret, err) : -1;
}

void firewall_add_conditions(struct strbuf *b, const struct firewall_observed *observed, const struct firewall_row *row)
{
    int64_t generation = row->generation;
    int64_t since_ms = row->updated_ms;
    bool applied = observed->generation >= generation;
    bool failed = !applied && observed->error[0] != '\0';
    const enum condition_status status = applied ? CONDITION_TRUE : failed ? CONDITION_FALSE : CONDITION_UNKNOWN;
    if (applied) {
        since_ms = row->applied_ms;
    } else if (failed && observed->since_ms > since_ms) {
        since_ms = observed->since_ms;
    }
    strbuf_addf(
        b, ",\"generation\":%" PRId64 ",\"observed_generation\":%" PRId64 ",\"conditions\":[{\"type\":\"%s\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":",
        generation, applied ? generation : observed->generation, condition_type_name(CONDITION_APPLIED), condition_status_name(status),
        condition_reason_name(applied  ? REASON_IN_FORCE
                              : failed ? REASON_FAILED
                                       : REASON_PENDING));
    json_out_string(b, applied ? "this is in force" : failed ? observed->error : "the worker has not applied this yet");
    strbuf_add(b, ",\"since\":");
    json_out_time(b, since_ms);
    strbuf_add(b, "}]");
}

void firewall_settle(struct look *look, const struct firewall_observed *observed, int64_t generation)
{
    look->settled = observed->generation >= generation;
    if (!look->settled && observed->error[0] != '\0' && observed->attempted >= generation) {
        enum error_code code = ERR_FIREWALL_SETUP_FAILED;
        (void)error_code_from_name(observed->error_code, &code);
        look->settled = true;
        look_fail(look, NULL, code, observed->error);
    }
}

/* "egress":{…},"ingress":{…} of the policy, without the braces around. */
static int add_directions(struct strbuf *b, const struct policy *policy, struct error *err)
{
    AUTO_JSON *json = policy_json(policy);
    AUTO_FREE char *text = json != NULL ? json_text(json) : NULL;
    if (text == NULL) {
        return error_oom(err);
    }
    size_t len = strlen(text);
    strbuf_add_bytes(b, text + 1, len - 2);
    return 0;
}

/* Who is asked, in this order; each of them must allow. */
static int add_effective(struct api *api, struct strbuf *b, const struct policy *own, bool has_own, struct error *err)
{
    AUTO_POLICY host = {0};
    bool found = false;
    if (firewall_read_policy(api, FIREWALL_HOST, &host, NULL, &found, err) != 0) {
        return -1;
    }
    strbuf_add(b, ",\"effective\":[{\"source\":\"host\",");
    if (add_directions(b, &host, err) != 0) {
        return -1;
    }
    if (has_own) {
        strbuf_add(b, "},{\"source\":\"vm\",");
        if (add_directions(b, own, err) != 0) {
            return -1;
        }
    }
    strbuf_add(b, "}]");
    return 0;
}

static void add_times(struct strbuf *b, const struct firewall_row *row, bool found)
{
    strbuf_add(b, ",\"confirm_until\":");
    if (found && row->confirm_until_ms > 0) {
        json_out_time(b, row->confirm_until_ms);
    } else {
        strbuf_add(b, "null");
    }
    strbuf_add(b, ",\"updated_at\":");
    if (found) {
        json_out_time(b, row->updated_ms);
    } else {
        strbuf_add(b, "null");
    }
}

int firewall_look_at(struct api *api, int64_t vm_uid, const char *counters, struct look *ret, struct error *err)
{
    AUTO_POLICY policy = {0};
    AUTO_FIREWALL_ROW row = {.text = NULL};
    struct firewall_observed observed;
    bool found = false;
    bool there = true;
    int64_t created_ms = 0;
    struct strbuf *b = &ret->body;
    if (db_read_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_DB_READ *read = api->db;
    if (vm_uid != FIREWALL_HOST && vms_created(api->db, vm_uid, &created_ms, &there, err) != 0) {
        return -1;
    }
    if (!there) { /* and with it its policy: what is stored would be taken for the default one */
        ret->gone = true;
        return 0;
    }
    if (firewall_observed_get(api->db, &observed, err) != 0 || firewall_read_policy(api, vm_uid, &policy, &row, &found, err) != 0) {
        return -1;
    }
    if (!found) { /* what was removed is out of force when everything up to now is applied */
        row.generation = observed.wanted;
        row.updated_ms = row.applied_ms = observed.since_ms > created_ms ? observed.since_ms : created_ms;
    }
    strbuf_add_char(b, '{');
    if (add_directions(b, &policy, err) != 0) {
        return -1;
    }
    if (vm_uid != FIREWALL_HOST) {
        strbuf_addf(b, ",\"own\":%s", found ? "true" : "false");
        if (add_effective(api, b, &policy, found, err) != 0) {
            return -1;
        }
    }
    firewall_add_conditions(b, &observed, &row);
    add_times(b, &row, found);
    if (firewall_add_warnings(api, b, &policy, err) != 0) {
        return -1;
    }
    strbuf_add(b, ",\"counters\":");
    strbuf_add(b, counters != NULL ? counters : "null");
    strbuf_add_char(b, '}');
    /* A removal and another policy later have different generations, but a default one has none. */
    (void)snprintf(ret->etag, sizeof ret->etag, "\"fw-%" PRId64 "-%" PRId64 "%s\"", vm_uid, found ? row.generation : 0,
                   found && row.confirm_until_ms > 0 ? "-unconfirmed" : "");
    firewall_settle(ret, &observed, row.generation);
    return b->failed ? error_oom(err) : 0;
}

static int look_policy(struct api *api, const char *id, int64_t identity, const struct wait_goal *goal, bool whole, struct look *ret, struct error *err)
{
    (void)goal;
    (void)id;
    (void)whole;
    return firewall_look_at(api, identity, NULL, ret, err);
}

const struct wait_subject firewall_host_subject = {.kind = "firewall", .path = "/firewall", .look = look_policy};
const struct wait_subject firewall_vm_subject = {.kind = "firewall", .path = "the VM", .look = look_policy};
