/* The daemon itself and its host: what is answered from the program or from one fact. */
#include "api/ask.h"
#include "api/capacity.h"
#include "api/handlers.h"
#include "api/json_out.h"
#include "api/problem.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/facts.h"

#include <stdlib.h>
#include <string.h>

static void reply_ok(struct api_reply *reply)
{
    static const char text[] = "{\"status\":\"ok\"}";
    reply_static(reply, 200, "application/json", text, sizeof text - 1);
}

int service_health(struct call *call, struct api_reply *reply, struct error *err)
{
    (void)call;
    (void)err;
    reply_ok(reply);
    return 0;
}

int service_readiness(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_FREE char *text = NULL;
    AUTO_JSON *worker = NULL;
    if (db_check(call->api->db, err) != 0 || facts_get(call->api->db, "worker", &text, err) != 0) {
        return -1;
    }
    if (text == NULL || json_parse(text, strlen(text), &worker, NULL) != 0 || !json_get_bool(worker, "ready", false)) {
        return error_set(err, ERR_UNAVAILABLE, "the worker has not looked at the whole host yet");
    }
    reply_ok(reply);
    return 0;
}

int service_version(struct call *call, struct api_reply *reply, struct error *err)
{
    const json_t *info = json_object_get(spec_document(call->api->setup.spec), "info");
    AUTO_STRBUF body = STRBUF_INIT;
    strbuf_add(&body, "{\"version\":");
    json_out_string(&body, SMARTVM_VERSION);
    strbuf_add(&body, ",\"api_version\":");
    json_out_string(&body, json_get_string(info, "version"));
    strbuf_add_char(&body, '}');
    return reply_json(reply, 200, &body, err);
}

int service_openapi_yaml(struct call *call, struct api_reply *reply, struct error *err)
{
    (void)err;
    reply_static(reply, 200, "application/yaml", call->api->setup.openapi_yaml, call->api->setup.openapi_yaml_len);
    return 0;
}

int service_openapi_json(struct call *call, struct api_reply *reply, struct error *err)
{
    (void)err;
    reply_static(reply, 200, "application/json", call->api->openapi_json, strlen(call->api->openapi_json));
    return 0;
}

static int reply_host(struct api *api, struct api_reply *reply, struct error *err)
{
    AUTO_FREE char *text = NULL;
    AUTO_STRBUF body = STRBUF_INIT;
    if (facts_get(api->db, "host", &text, err) != 0) {
        return -1;
    }
    if (text == NULL) {
        return error_set(err, ERR_UNAVAILABLE, "the host has not been looked at yet");
    }
    const size_t len = strlen(text);
    strbuf_add_bytes(&body, text, len > 2 ? len - 1 : 1);
    strbuf_add(&body, len > 2 ? ",\"capacity\":" : "\"capacity\":");
    if (capacity_json(api, &body, err) != 0) {
        return -1;
    }
    strbuf_add_char(&body, '}');
    return reply_json(reply, 200, &body, err);
}

/* Without an answer, what was found before is shown all the same. */
static void answer_host(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_CLOSE int fd = handed_over; /* none is expected */
    AUTO_FREE struct origin *origin = ask_take_state(reply);
    struct error err;
    (void)message;
    if (reply_host(api, reply, &err) != 0) {
        problem_reply(reply, origin->request_id, &err, NULL);
    }
}

/* The worker looks again first: a VMM may have been installed a moment ago. */
int service_host(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_host, .free_state = free};
    AUTO_FREE struct origin *origin = malloc(sizeof *origin);
    if (origin == NULL) {
        return error_oom(err);
    }
    *origin = call->origin;
    if (ask_begin(reply, "host", "scope", "all", origin, &ops, err) != 0) {
        return -1;
    }
    (void)TAKE_PTR(origin);
    return 0;
}
