/* From the listener's request to a checked call: the target, the route, the parameters and the body, in this
 * order. */
#include "api/call.h"
#include "api/idempotency.h"
#include "core/cleanup.h"
#include "core/json.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What the document can describe, and others that are registered, which no resource has. Another method is not known at all (RFC 9110, 9.1). */
static bool is_known_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i], method) == 0) {
            return true;
        }
    }
    return false;
}

static int find_route(struct call *call, struct error *err)
{
    const struct target *target = &call->target;
    switch (spec_find(call->api->setup.spec, call->request->method, target->segments, target->segment_count, &call->route)) {
    case SPEC_ROUTE_NO_PATH:
        return error_set(err, ERR_NOT_FOUND, "there is nothing at this path");
    case SPEC_ROUTE_NO_METHOD:
        call->hint.name = "Allow";
        (void)snprintf(call->hint.value, sizeof call->hint.value, "%s", call->route.allow);
        return error_set(err, ERR_METHOD_NOT_ALLOWED, "this path has %s", call->route.allow);
    case SPEC_ROUTE_FOUND:
        break;
    }
    for (size_t i = 0; i < call->api->route_count; i++) {
        if (call->api->routes[i].operation == call->route.operation) {
            call->handler = call->api->routes[i].handler;
        }
    }
    for (size_t i = 0; i < call->route.path_parameter_count; i++) {
        if (strcmp(call->route.path_parameters[i].name, "id") == 0) {
            call->id = call->route.path_parameters[i].value;
        }
    }
    return 0;
}

int call_find_allowed(struct call *call, struct error *err)
{
    const struct target *target = &call->target;
    if (target_parse(call->request->target, &call->target, err) != 0) {
        return -1;
    }
    if (spec_find(call->api->setup.spec, "OPTIONS", target->segments, target->segment_count, &call->route) == SPEC_ROUTE_NO_PATH) {
        return error_set(err, ERR_NOT_FOUND, "there is nothing at this path");
    }
    (void)snprintf(call->hint.value, sizeof call->hint.value, "%s", call->route.allow);
    return 0;
}

static int read_parameters(struct call *call, struct error *err)
{
    const struct api_request *request = call->request;
    struct spec_name_value headers[LIMIT_HEADERS];
    if (request->header_count > LIMIT_HEADERS) {
        return error_set(err, ERR_HEADERS_TOO_LARGE, "the request has more than %d header fields", LIMIT_HEADERS);
    }
    size_t count = 0;
    bool seen[2] = {false, false};
    for (size_t i = 0; i < request->header_count; i++) {
        const char *name = request->headers[i].name;
        bool *is_list = strcasecmp(name, "If-Match") == 0 ? &seen[0] : strcasecmp(name, "If-None-Match") == 0 ? &seen[1] : NULL;
        if (is_list == NULL || !*is_list) { /* several lines of these are one list, which is read elsewhere */
            headers[count++] = (struct spec_name_value){name, request->headers[i].value};
        }
        if (is_list != NULL) {
            *is_list = true;
        }
    }
    (void)spec_check_parameters(call->api->setup.spec, &call->route, call->target.query, call->target.query_count, headers, count, &call->parameters,
                                &call->faults);
    return 0;
}

int call_check_faults(const struct call *call, struct error *err)
{
    const struct spec_faults *faults = &call->faults;
    if (faults->count == 0) {
        /* Faults that could not even be noted must not pass. */
        return faults->more ? error_oom(err) : 0;
    }
    enum error_code code = ERR_INVALID_REQUEST;
    for (size_t i = 0; i < faults->count; i++) {
        if (strcmp(faults->items[i].in, "body") == 0) {
            (void)error_code_from_name(call->route.operation->invalid_code, &code);
        }
    }
    const struct spec_fault *first = &faults->items[0];
    const char *name = first->pointer[0] != '\0' ? first->pointer : "the body";
    char others[64] = "";
    if (faults->count > 1 || faults->more) {
        (void)snprintf(others, sizeof others, " (and %s%zu more)", faults->more ? "at least " : "", faults->count - 1 + (faults->more ? 1 : 0));
    }
    return error_set(err, call->has_fault_code ? call->fault_code : code, "%s %s%s", name, first->message, others);
}

int call_read(struct call *call, struct error *err)
{
    memcpy(call->origin.request_id, call->request->request_id, sizeof call->origin.request_id);
    if (!is_known_method(call->request->method)) {
        return error_set(err, ERR_NOT_IMPLEMENTED, "this method is not implemented here, for no path");
    }
    if (target_parse(call->request->target, &call->target, err) != 0 || find_route(call, err) != 0 || read_parameters(call, err) != 0 ||
        call_read_body(call, err) != 0 || preconditions_read(call->request, &call->preconditions, err) != 0) {
        return -1;
    }
    if (call->handler->check != NULL) {
        call->handler->check(call);
    }
    const char *wait_for = json_get_string(call->parameters, "wait_for");
    call->origin.wait_ms = json_get_int(call->parameters, "wait", 0) * 1000;
    call->origin.dry_run = json_get_bool(call->parameters, "dry_run", false);
    call->origin.wait_for_guest = wait_for != NULL && strcmp(wait_for, "guest") == 0;
    if (wait_for != NULL && call->origin.wait_ms == 0) {
        spec_faults_add(&call->faults, "query", "wait_for", "says what to wait for, and needs `wait`, which says how long");
    }
    if (call_check_faults(call, err) != 0) {
        return -1;
    }
    return call->origin.dry_run ? 0 : idempotency_read(call, err); /* a dry run is no use of a key, and no answer to it */
}

void call_free(struct call *call)
{
    target_free(&call->target);
    json_decref(call->parameters);
    json_decref(call->body);
    preconditions_free(&call->preconditions);
    spec_faults_free(&call->faults);
}

void call_move(struct call *from, struct call *to)
{
    *to = *from;
    to->request = NULL;
    *from = (struct call){.api = to->api, .request = from->request, .handler = to->handler, .hint = to->hint};
}

void call_wake(const struct api *api, const char *kind, const char *id)
{
    char key[API_KEY_MAX];
    (void)snprintf(key, sizeof key, "%s%s%s", kind, id[0] != '\0' ? "/" : "", id);
    api->setup.wake_worker(api->setup.wake_ctx, key);
}
