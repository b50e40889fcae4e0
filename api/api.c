#include "api/api.h"

#include "api/call.h"
#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/problem.h"
#include "api/reply.h"
#include "api/vm/shown.h"
#include "core/cleanup.h"
#include "core/fault.h"
#include "core/json.h"
#include "db/network.h"

#include <stdio.h>
#include <string.h>

static const struct handler handlers[] = {
#define X(operation, run, check) {#operation, check, run},
    API_HANDLERS(X)
#undef X
};

static const struct handler *find_handler(const char *operation)
{
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        if (strcmp(handlers[i].operation, operation) == 0) {
            return &handlers[i];
        }
    }
    return NULL;
}

static int bind_handlers(struct api *api, struct error *err)
{
    size_t count = spec_operation_count(api->setup.spec);
    if (count > API_OPERATIONS_MAX) {
        return error_set(err, ERR_INTERNAL, "the API description has more than %d operations", API_OPERATIONS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const struct spec_operation *operation = spec_operation_at(api->setup.spec, i);
        const struct handler *handler = find_handler(operation->id);
        if (handler == NULL) {
            return error_set(err, ERR_INTERNAL, "the operation %s has no handler", operation->id);
        }
        api->routes[i].operation = operation;
        api->routes[i].handler = handler;
    }
    api->route_count = count;
    /* Ids are unique in the document, so equal counts mean that no handler is left over. */
    if (count != ARRAY_LEN(handlers)) {
        return error_set(err, ERR_INTERNAL, "there are %zu handlers for %zu operations", ARRAY_LEN(handlers), count);
    }
    return 0;
}

int api_new(const struct api_setup *setup, struct api **ret, struct error *err)
{
    struct api *api = calloc(1, sizeof *api);
    if (api == NULL) {
        return error_oom(err);
    }
    api->setup = *setup;
    api->db = setup->db;
    api->config = setup->config;
    api->openapi_json = json_text(spec_document(setup->spec));
    if (api->openapi_json == NULL) {
        api_free(api);
        return error_oom(err);
    }
    if (shown_vms_new(&api->shown_vms, err) != 0 || bind_handlers(api, err) != 0 || network_overrides_get(api->db, &api->network_overrides, err) != 0) {
        api_free(api);
        return -1;
    }
    *ret = api;
    return 0;
}

void api_free(struct api *api)
{
    if (api != NULL) {
        shown_vms_free(api->shown_vms);
        free(api->openapi_json);
        free(api);
    }
}

struct network_settings api_network(const struct api *api)
{
    struct network_settings settings;
    network_settings_make(api->config, &api->network_overrides, &settings);
    return settings;
}

/* OPTIONS of a path, or of the whole server ("*"): what it has (RFC 9110, 9.3.7). *ret_done is set when that was asked for. */
static int answer_options(struct call *call, struct api_reply *reply, bool *ret_done, struct error *err)
{
    if (strcmp(call->request->method, "OPTIONS") != 0) {
        return 0;
    }
    if (strcmp(call->request->target, "*") == 0) {
        (void)snprintf(call->hint.value, sizeof call->hint.value, "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS");
    } else if (call_find_allowed(call, err) != 0) {
        return -1;
    }
    reply_empty(reply, 204);
    reply_header(reply, "Allow", call->hint.value);
    *ret_done = true;
    return 0;
}

static int answer(struct call *call, struct api_reply *reply, struct error *err)
{
    bool replayed = false;
    bool done = false;
    if (answer_options(call, reply, &done, err) != 0 || done) {
        return done ? 0 : -1;
    }
    if (call_read(call, err) != 0 || idempotency_replay(call->api, &call->origin, reply, &replayed, err) != 0) {
        return -1;
    }
    if (replayed) {
        return 0;
    }
    if (fault_before("api", call->handler->operation, err) != 0 || call->handler->run(call, reply, err) != 0) {
        return -1;
    }
    fault_after("api", call->handler->operation);
    return 0;
}

void api_handle(struct api *api, const struct api_request *request, struct api_reply *reply)
{
    struct error error;
    struct call call = {.api = api, .request = request};
    db_set_request(api->db, request->request_id);
    memset(reply, 0, sizeof *reply);
    if (answer(&call, reply, &error) != 0) {
        problem_reply(reply, request->request_id, &error, &call.faults);
        if (call.hint.name != NULL) {
            reply_header(reply, call.hint.name, call.hint.value);
        }
    }
    call_free(&call);
}
