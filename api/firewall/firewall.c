/* The host-wide policy and those of VMs: reading and changing them. */
#include "api/firewall/firewall.h"

#include "api/ask.h"
#include "api/etag.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/vm/vms.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/json_build.h"
#include "db/events.h"

#include <stdio.h>
#include <string.h>

int firewall_find_scope(struct call *call, int64_t *ret_vm_uid, struct error *err)
{
    AUTO_VM_ROW row = {0};
    *ret_vm_uid = FIREWALL_HOST;
    if (call->id == NULL) {
        return 0;
    }
    if (vm_find(call->api, call->id, &row, err) != 0) {
        return -1;
    }
    *ret_vm_uid = row.uid;
    return 0;
}

int64_t firewall_confirm_until_ms(const struct call *call)
{
    int64_t seconds = json_get_int(call->parameters, "confirm_within", 0);
    return seconds > 0 ? clock_wall_ms() + seconds * 1000 : 0;
}

struct faults_at {
    struct call *call;
    const char *at;
};

static bool add_fault(void *ctx, const char *pointer, const char *message)
{
    const struct faults_at *faults = ctx;
    char whole[SPEC_POINTER_MAX];
    (void)snprintf(whole, sizeof whole, "%s%s", faults->at, pointer);
    faults->call->has_fault_code = true;
    faults->call->fault_code = ERR_INVALID_FIREWALL_CONFIG;
    spec_faults_add(&faults->call->faults, "body", whole, "%s", message);
    return !faults->call->faults.more;
}

/* What the schema can tell it has told already. */
void firewall_check_policy(struct call *call, const json_t *policy, const char *at)
{
    struct faults_at faults = {call, at};
    struct policy ignored = {0};
    struct error err;
    if (policy != NULL && call->faults.count == 0 && policy_parse_all(policy, &ignored, add_fault, &faults, &err) == 0) {
        policy_free(&ignored);
    }
}

/* A direction that is null goes back to its default; the reader does not know null. */
static json_t *without_nulls(const json_t *body)
{
    AUTO_JSON_BUILD copy = json_build_object();
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        if (!json_is_null(value)) {
            json_build_put(&copy, key, json_incref(value));
        }
    }
    return json_build_take(&copy);
}

void firewall_check_body(struct call *call)
{
    AUTO_JSON *body = without_nulls(call->body);
    firewall_check_policy(call, body, "");
}

int firewall_check_sets(struct api *api, const struct policy *policy, struct error *err)
{
    AUTO_ADDRESS_SETS sets = {.sets = NULL};
    if (firewall_read_sets(api, &sets, err) != 0) {
        return -1;
    }
    const char *unknown = policy_unknown_set(policy, &sets);
    return unknown == NULL ? 0 : error_set(err, ERR_INVALID_FIREWALL_CONFIG, "there is no address set '%s': PUT /firewall/sets/%s first", unknown, unknown);
}

/* The directions that the body has come from it; the others from what is stored (PATCH), or are default (PUT). */
static int merge(struct call *call, struct policy *stored, struct policy *ret, struct error *err)
{
    AUTO_JSON *body = without_nulls(call->body);
    bool patch = strcmp(call->route.operation->method, "PATCH") == 0;
    if (body == NULL) { /* which would be the default policy */
        return error_oom(err);
    }
    if (policy_parse(body, ret, err) != 0) {
        return -1;
    }
    for (int d = 0; patch && d < POLICY_DIRECTION_COUNT_; d++) {
        if (json_object_get(call->body, policy_direction_text((enum policy_direction_name)d)) == NULL) {
            struct policy_direction empty = ret->directions[d];
            ret->directions[d] = stored->directions[d];
            stored->directions[d] = empty;
        }
    }
    return 0;
}

static int put_policy(struct api *api, int64_t vm_uid, const struct policy *policy, int64_t confirm_until_ms, struct error *err)
{
    int64_t generation = 0;
    AUTO_JSON *json = policy_json(policy);
    AUTO_FREE char *text = json != NULL ? json_text(json) : NULL;
    if (text == NULL) {
        return error_oom(err);
    }
    return firewall_policy_put(api->db, vm_uid, text, confirm_until_ms, &generation, err);
}

int firewall_store_new(struct api *api, int64_t vm_uid, const json_t *json, struct error *err)
{
    AUTO_POLICY policy = {0};
    if (json == NULL) {
        return 0;
    }
    return policy_parse(json, &policy, err) != 0 || firewall_check_sets(api, &policy, err) != 0 || put_policy(api, vm_uid, &policy, 0, err) != 0 ? -1 : 0;
}

struct policy_write {
    int64_t vm_uid;
    struct policy wanted;
};

static void free_write(void *state)
{
    struct policy_write *policy = state;
    policy_free(&policy->wanted);
}

static int find(struct write *write, struct error *err)
{
    struct policy_write *policy = write->state;
    AUTO_LOOK before = {0};
    if (firewall_find_scope(write->call, &policy->vm_uid, err) != 0 || firewall_look_at(write->call->api, policy->vm_uid, NULL, &before, err) != 0) {
        return -1;
    }
    memcpy(write->version, before.etag, sizeof write->version);
    return 0;
}

static int change(struct write *write, struct error *err)
{
    struct policy_write *policy = write->state;
    struct api *api = write->call->api;
    AUTO_POLICY stored = {0};
    bool found = false;
    return firewall_read_policy(api, policy->vm_uid, &stored, NULL, &found, err) != 0 || merge(write->call, &stored, &policy->wanted, err) != 0 ||
                   firewall_check_sets(api, &policy->wanted, err) != 0
               ? -1
               : 0;
}

static int store(struct write *write, struct error *err)
{
    const struct policy_write *policy = write->state;
    return put_policy(write->call->api, policy->vm_uid, &policy->wanted, firewall_confirm_until_ms(write->call), err);
}

static int remove_own(struct write *write, struct error *err)
{
    const struct policy_write *policy = write->state;
    int64_t generation = 0;
    return firewall_policy_remove(write->call->api->db, policy->vm_uid, &generation, err);
}

static int add_event(struct write *write, struct error *err)
{
    const struct call *call = write->call;
    bool of_vm = call->id != NULL;
    return events_add(call->api->db, EVENT_FIREWALL_CHANGED, of_vm ? "vm" : "firewall", of_vm ? call->id : "",
                      firewall_confirm_until_ms(call) > 0 ? "{\"confirmation\":\"pending\"}" : "{}", err);
}

static int look(struct write *write, struct error *err)
{
    const struct policy_write *policy = write->state;
    write->identity = policy->vm_uid;
    return firewall_look_at(write->call->api, policy->vm_uid, NULL, &write->look, err);
}

/* In the transaction: the policy as it would be; none of its own, where it would be removed. */
static int wish(struct write *write, struct plan_wish *ret, struct error *err)
{
    const struct policy_write *policy = write->state;
    bool found = false;
    ret->policies = calloc(1, sizeof *ret->policies);
    if (ret->policies == NULL) {
        return error_oom(err);
    }
    ret->policy_count = 1;
    if (firewall_policy_get(write->call->api->db, policy->vm_uid, ret->policies, &found, err) != 0) {
        return -1;
    }
    ret->policies->vm_uid = policy->vm_uid;
    return 0;
}

void firewall_write_committed(struct write *write)
{
    call_wake(write->call->api, "firewall", "");
}

#define STEPS(of_subject, changed_by, stored_by) \
    { \
        .subject = (of_subject), .kind = WRITE_CHANGE, .state_size = sizeof(struct policy_write), .free_state = free_write, .find = find, \
        .change = (changed_by), .store = (stored_by), .event = add_event, .look = look, .wish = wish, .committed = firewall_write_committed \
    }

int firewall_handle_write(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps of_host = STEPS(&firewall_host_subject, change, store);
    static const struct write_steps of_vm = STEPS(&firewall_vm_subject, change, store);
    return write_run(call, call->id != NULL ? &of_vm : &of_host, reply, err);
}

int firewall_handle_delete(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = STEPS(&firewall_vm_subject, NULL, remove_own);
    return write_run(call, &steps, reply, err);
}

/* ---- GET: with the counters, which only the worker can read ---- */

struct get_state {
    struct origin origin;
    int64_t vm_uid;
};

static int reply_policy(struct api *api, const struct get_state *state, const char *counters, struct api_reply *reply, struct error *err)
{
    AUTO_LOOK look = {0};
    if (firewall_look_at(api, state->vm_uid, counters, &look, err) != 0) {
        return -1;
    }
    return look.gone ? error_set(err, ERR_NOT_FOUND, "the VM was deleted in the meantime") : look_reply(&look, 200, reply, err);
}

/* Without an answer the policy is shown all the same. */
static void answer_get(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_CLOSE int fd = handed_over; /* none is expected */
    AUTO_FREE struct get_state *state = ask_take_state(reply);
    struct error err;
    const json_t *answer = ask_answer(message, &err);
    AUTO_FREE char *counters = answer != NULL ? json_text(answer) : NULL;
    if (reply_policy(api, state, counters, reply, &err) != 0) {
        problem_reply(reply, state->origin.request_id, &err, NULL);
    }
}

int firewall_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_get, .free_state = free};
    AUTO_FREE struct get_state *state = malloc(sizeof *state);
    if (state == NULL) {
        return error_oom(err);
    }
    state->origin = call->origin;
    if (firewall_find_scope(call, &state->vm_uid, err) != 0 ||
        ask_begin(reply, "firewall_counters", "vm", call->id != NULL ? call->id : "", state, &ops, err) != 0) {
        return -1; // NOLINT(clang-analyzer-unix.Malloc): freed by its cleanup
    }
    (void)TAKE_PTR(state);
    return 0;
}
