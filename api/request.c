/* From the listener's request to a checked call: the target, the route, the parameters and the body, in this
 * order. */
#include "api/call.h"
#include "api/idempotency.h"
#include "core/json.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *find_header(const struct api_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0) {
            return request->headers[i].value;
        }
    }
    return NULL;
}

static int find_route(struct call *call, struct error *err)
{
    const struct target *target = &call->target;
    switch (spec_find(call->api->setup.spec, call->request->method, target->segments, target->segment_count,
                      &call->route)) {
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

static int read_parameters(struct call *call, struct error *err)
{
    const struct api_request *request = call->request;
    struct spec_name_value headers[LIMIT_HEADERS];
    if (request->header_count > LIMIT_HEADERS) {
        return error_set(err, ERR_HEADERS_TOO_LARGE, "the request has more than %d header fields",
                         LIMIT_HEADERS);
    }
    for (size_t i = 0; i < request->header_count; i++) {
        headers[i] = (struct spec_name_value){request->headers[i].name, request->headers[i].value};
    }
    (void)spec_check_parameters(call->api->setup.spec, &call->route, call->target.query,
                                call->target.query_count, headers, request->header_count, &call->parameters,
                                &call->faults);
    return 0;
}

/* Whether a Content-Type is this media type, with no other charset than UTF-8. */
static bool media_type_is(const char *content_type, const char *wanted)
{
    size_t len = strcspn(content_type, "; \t");
    if (len != strlen(wanted) || strncasecmp(content_type, wanted, len) != 0) {
        return false;
    }
    const char *charset = strcasestr(content_type + len, "charset=");
    if (charset == NULL) {
        return true;
    }
    charset += strlen("charset=");
    bool quoted = *charset == '"';
    charset += quoted ? 1 : 0;
    size_t charset_len = strcspn(charset, quoted ? "\"" : "; \t");
    return (charset_len == 5 && strncasecmp(charset, "utf-8", 5) == 0) ||
           (charset_len == 8 && strncasecmp(charset, "us-ascii", 8) == 0);
}

static int check_media_type(struct call *call, struct error *err)
{
    const char *wanted = call->route.operation->body_media_type;
    const char *content_type = find_header(call->request, "Content-Type");
    if (content_type != NULL && media_type_is(content_type, wanted)) {
        return 0;
    }
    call->hint.name = strcmp(call->route.operation->method, "PATCH") == 0 ? "Accept-Patch" : "Accept-Post";
    (void)snprintf(call->hint.value, sizeof call->hint.value, "%s", wanted);
    return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be %s", wanted);
}

static int check_body_size(const struct call *call, struct error *err)
{
    const struct spec_operation *operation = call->route.operation;
    size_t most = operation->has_body ? operation->max_body_bytes : LIMIT_BODY_BYTES;
    if (call->request->body_too_large || call->request->body_len > most) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "the body may have at most %zu bytes", most);
    }
    return 0;
}

static int read_body(struct call *call, struct error *err)
{
    const struct api_request *request = call->request;
    const struct spec_operation *operation = call->route.operation;
    bool has_body = request->body != NULL && request->body_len > 0;
    if (check_body_size(call, err) != 0) {
        return -1;
    }
    if (has_body && !operation->has_body) {
        return error_set(err, ERR_INVALID_REQUEST, "%s %s takes no body", operation->method, operation->path);
    }
    if (!has_body) {
        if (operation->has_body && operation->body_required) {
            spec_faults_add(&call->faults, "body", "", "is required");
        }
        return 0;
    }
    if (check_media_type(call, err) != 0) {
        return -1;
    }
    if (operation->body_is_json) {
        if (json_parse(request->body, request->body_len, &call->body, err) != 0) {
            return -1;
        }
        (void)spec_check_body(call->api->setup.spec, operation, call->body, &call->faults);
    }
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
        (void)snprintf(others, sizeof others, " (and %s%zu more)", faults->more ? "at least " : "",
                       faults->count - 1 + (faults->more ? 1 : 0));
    }
    return error_set(err, call->has_fault_code ? call->fault_code : code, "%s %s%s", name, first->message,
                     others);
}

int call_read(struct call *call, struct error *err)
{
    memcpy(call->origin.request_id, call->request->request_id, sizeof call->origin.request_id);
    if (target_parse(call->request->target, &call->target, err) != 0 || find_route(call, err) != 0 ||
        read_parameters(call, err) != 0 || read_body(call, err) != 0) {
        return -1;
    }
    if (call->handler->check != NULL) {
        call->handler->check(call);
    }
    if (call_check_faults(call, err) != 0) {
        return -1;
    }
    call->origin.wait_ms = json_get_int(call->parameters, "wait", 0) * 1000;
    return idempotency_read(call, err);
}

void call_free(struct call *call)
{
    target_free(&call->target);
    json_decref(call->parameters);
    json_decref(call->body);
    spec_faults_free(&call->faults);
}

void call_wake(const struct api *api, const char *kind, const char *id)
{
    char key[API_KEY_MAX];
    (void)snprintf(key, sizeof key, "%s%s%s", kind, id[0] != '\0' ? "/" : "", id);
    api->setup.wake_worker(api->setup.wake_ctx, key);
}
