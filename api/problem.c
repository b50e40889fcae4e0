#include "api/problem.h"

#include "api/json_out.h"
#include "api/reply.h"

#include <string.h>

static void add_faults(struct strbuf *b, const struct spec_faults *faults)
{
    strbuf_add(b, ",\"errors\":[");
    for (size_t i = 0; faults != NULL && i < faults->count; i++) {
        strbuf_add(b, i > 0 ? ",{\"in\":" : "{\"in\":");
        json_out_string(b, faults->items[i].in);
        strbuf_add(b, ",\"pointer\":");
        json_out_string(b, faults->items[i].pointer);
        strbuf_add(b, ",\"detail\":");
        json_out_string(b, faults->items[i].message);
        strbuf_add_char(b, '}');
    }
    strbuf_add_char(b, ']');
}

void problem_text(struct strbuf *b, const char *request_id, int status, const struct error *error, const struct spec_faults *faults, const char *resource)
{
    const char *code = error_code_name(error->code);
    strbuf_add(b, "{\"type\":\"/errors/");
    strbuf_add(b, code);
    strbuf_add(b, "\",\"title\":");
    json_out_string(b, error_code_title(error->code));
    strbuf_add(b, ",\"status\":");
    json_out_int(b, status);
    strbuf_add(b, ",\"code\":");
    json_out_string(b, code);
    strbuf_add(b, ",\"detail\":");
    json_out_string(b, error->message);
    strbuf_add(b, ",\"request_id\":");
    json_out_string(b, request_id);
    add_faults(b, faults);
    strbuf_add(b, ",\"resource\":");
    strbuf_add(b, resource != NULL ? resource : "null");
    strbuf_add_char(b, '}');
}

void problem_reply(struct api_reply *reply, const char *request_id, const struct error *error, const struct spec_faults *faults)
{
    static const char no_memory[] = "{\"type\":\"/errors/OUT_OF_MEMORY\",\"title\":\"The daemon is out of memory\",\"status\":503,"
                                    "\"code\":\"OUT_OF_MEMORY\",\"detail\":\"out of memory\",\"request_id\":\"\",\"errors\":[],\"resource\":null}";
    AUTO_STRBUF b = STRBUF_INIT;
    problem_text(&b, request_id, error_code_status(error->code), error, faults, NULL);
    if (reply_body(reply, error_code_status(error->code), PROBLEM_MEDIA_TYPE, &b, NULL) != 0) {
        reply_static(reply, 503, PROBLEM_MEDIA_TYPE, no_memory, sizeof no_memory - 1);
    }
    if (reply->status == 503) {
        reply_header(reply, "Retry-After", "1"); /* memory, a look at the host, a database: seconds at most */
    }
}

void api_reply_problem(struct api *api, struct api_reply *reply, const struct api_request *request, enum error_code code, const char *detail)
{
    (void)api;
    struct error error;
    (void)error_set(&error, code, "%s", detail);
    memset(reply, 0, sizeof *reply);
    problem_reply(reply, request->request_id, &error, NULL);
}
