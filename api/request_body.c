/* The body of a request: its size, coding and media type, then its content. */
#include "api/call.h"
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
    return (charset_len == 5 && strncasecmp(charset, "utf-8", 5) == 0) || (charset_len == 8 && strncasecmp(charset, "us-ascii", 8) == 0);
}

/* Every PATCH of JSON is a merge patch (RFC 7396), and may say so. */
static const char merge_patch[] = "application/merge-patch+json";

static bool is_merge_patch(const struct spec_operation *operation)
{
    return operation->body_is_json && strcmp(operation->method, "PATCH") == 0;
}

static int check_media_type(struct call *call, struct error *err)
{
    const struct spec_operation *operation = call->route.operation;
    const char *content_type = find_header(call->request, "Content-Type");
    size_t described = operation->body_media_type_count;
    size_t count = described + (is_merge_patch(operation) ? 1 : 0);
    char words[sizeof call->hint.value] = "";
    call->hint.value[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const char *wanted = i < described ? operation->body_media_types[i] : merge_patch;
        size_t len = strlen(call->hint.value);
        if (content_type != NULL && media_type_is(content_type, wanted)) {
            return 0;
        }
        (void)snprintf(call->hint.value + len, sizeof call->hint.value - len, "%s%s", i > 0 ? ", " : "", wanted);
        len = strlen(words);
        (void)snprintf(words + len, sizeof words - len, "%s%s", i > 0 ? " or " : "", wanted);
    }
    call->hint.name = strcmp(operation->method, "PATCH") == 0 ? "Accept-Patch" : "Accept-Post";
    return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be %s", words);
}

/* A coding that is not undone would be taken for the content (RFC 9110, 8.4). */
static int check_coding(struct call *call, struct error *err)
{
    for (size_t i = 0; i < call->request->header_count; i++) {
        const struct api_header *header = &call->request->headers[i];
        if (strcasecmp(header->name, "Content-Encoding") == 0 && header->value[0] != '\0' && strcasecmp(header->value, "identity") != 0) {
            call->hint = (struct hint){"Accept-Encoding", "identity"};
            return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "the body must have no Content-Encoding but identity");
        }
    }
    return 0;
}

/* `{}`, as clients send it that send a body with every POST: the same as none, where a body may be left out. */
static bool is_empty_object(const struct api_request *request)
{
    static const char space[] = " \t\r\n";
    char found[2];
    size_t count = 0;
    for (size_t i = 0; i < request->body_len; i++) {
        char c = request->body[i];
        if (c != '\0' && strchr(space, c) != NULL) {
            continue;
        }
        if (count == sizeof found) {
            return false;
        }
        found[count++] = c;
    }
    return count == sizeof found && memcmp(found, "{}", sizeof found) == 0;
}

/* Does the body say nothing? With a Content-Type of something else than JSON it does. */
static bool says_nothing(struct call *call)
{
    const struct spec_operation *operation = call->route.operation;
    const char *content_type = find_header(call->request, "Content-Type");
    bool is_read = strcmp(operation->method, "GET") == 0;
    return !operation->body_required && !is_read && is_empty_object(call->request) &&
           (content_type == NULL || media_type_is(content_type, "application/json") || (is_merge_patch(operation) && media_type_is(content_type, merge_patch)));
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

int call_read_body(struct call *call, struct error *err)
{
    const struct api_request *request = call->request;
    const struct spec_operation *operation = call->route.operation;
    bool has_body = request->body != NULL && request->body_len > 0;
    if (check_body_size(call, err) != 0) {
        return -1;
    }
    if (has_body && check_coding(call, err) != 0) {
        return -1;
    }
    has_body = has_body && !says_nothing(call);
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
        spec_drop_nulls(operation, call->body);
        (void)spec_check_body(call->api->setup.spec, operation, call->body, &call->faults);
    }
    return 0;
}
