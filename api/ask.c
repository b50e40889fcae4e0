#include "api/ask.h"

#include "api/json_out.h"
#include "core/json.h"

int ask_begin(struct api_reply *reply, const char *name, const char *member, const char *value, void *state, const struct api_reply_ops *ops, struct error *err)
{
    AUTO_STRBUF text = STRBUF_INIT;
    strbuf_add(&text, "{\"question\":");
    json_out_string(&text, name);
    strbuf_addf(&text, ",\"%s\":", member);
    json_out_string(&text, value);
    strbuf_add_char(&text, '}');
    char *question = strbuf_take(&text);
    if (question == NULL) {
        return error_oom(err);
    }
    api_reply_free(reply);
    reply->kind = API_REPLY_ASK;
    reply->question = question;
    reply->state = state;
    reply->ops = ops;
    return 0;
}

const json_t *ask_answer(const json_t *message, struct error *err)
{
    const json_t *error = json_object_get(message, "error");
    const json_t *answer = json_object_get(message, "answer");
    if (message == NULL) {
        (void)error_set(err, ERR_TIMEOUT, "the worker did not answer in time");
        return NULL;
    }
    if (error != NULL) {
        enum error_code code = ERR_INTERNAL;
        const char *name = json_get_string(error, "code");
        const char *words = json_get_string(error, "message");
        if (name != NULL) {
            (void)error_code_from_name(name, &code);
        }
        (void)error_set(err, code, "%s", words != NULL ? words : "the worker gave no reason");
        return NULL;
    }
    if (!json_is_object(answer)) {
        (void)error_set(err, ERR_INTERNAL, "the worker's answer was not understood");
        return NULL;
    }
    return answer;
}

void *ask_take_state(struct api_reply *reply)
{
    void *state = reply->state;
    reply->state = NULL;
    return state;
}
