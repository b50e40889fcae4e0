#include "api/plan.h"

#include "api/ask.h"
#include "api/etag.h"
#include "api/json_out.h"
#include "api/problem.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "core/memory_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The answer as far as it is known without the worker. */
struct begun {
    char request_id[40];
    char note[160];
    char etag[ETAG_MAX];
    struct strbuf text; /* up to the operations */
};

static void begun_free(void *ctx)
{
    struct begun *begun = ctx;
    if (begun != NULL) {
        strbuf_free(&begun->text);
        free(begun);
    }
}

static void cleanup_begun(struct begun **begun)
{
    begun_free(*begun);
}
#define AUTO_BEGUN __attribute__((cleanup(cleanup_begun))) struct begun

static struct begun *begin(const struct plan *plan, struct error *err)
{
    AUTO_BEGUN *begun = calloc(1, sizeof *begun);
    if (begun == NULL) {
        (void)error_oom(err);
        return NULL;
    }
    const char *note = plan->note != NULL ? plan->note : plan->changes ? "" : "nothing is to be done: all is as it is wanted already";
    (void)snprintf(begun->request_id, sizeof begun->request_id, "%s", plan->request_id);
    (void)snprintf(begun->etag, sizeof begun->etag, "%s", plan->etag != NULL ? plan->etag : "");
    (void)snprintf(begun->note, sizeof begun->note, "%s", note);
    /* The resource but for its closing brace. */
    const size_t len = plan->resource != NULL ? strlen(plan->resource) : 0;
    strbuf_add_bytes(&begun->text, len > 2 ? plan->resource : "{", len > 2 ? len - 1 : 1);
    strbuf_add(&begun->text, len > 2 ? ",\"plan\":{\"status\":" : "\"plan\":{\"status\":");
    json_out_int(&begun->text, plan->status);
    strbuf_add(&begun->text, ",\"changes\":");
    json_out_bool(&begun->text, plan->changes);
    if (begun->text.failed) {
        (void)error_oom(err);
        return NULL;
    }
    return TAKE_PTR(begun);
}

static int add_list(struct strbuf *b, const json_t *list, const char *first, struct error *err)
{
    size_t i = 0;
    const json_t *item = NULL;
    bool any = first[0] != '\0';
    strbuf_add_char(b, '[');
    if (any) {
        json_out_string(b, first);
    }
    json_array_foreach(list, i, item)
    {
        AUTO_FREE char *text = json_text(item);
        if (text == NULL) {
            return error_oom(err);
        }
        strbuf_add(b, any ? "," : "");
        strbuf_add(b, text);
        any = true;
    }
    strbuf_add_char(b, ']');
    return 0;
}

/* `answer`: {"operations", "notes"} of the worker; NULL: there is nothing to do for it. */
static int finish(struct begun *begun, const json_t *answer, struct api_reply *reply, struct error *err)
{
    struct strbuf *b = &begun->text;
    strbuf_add(b, ",\"operations\":");
    if (add_list(b, json_object_get(answer, "operations"), "", err) != 0) {
        return -1;
    }
    strbuf_add(b, ",\"notes\":");
    if (add_list(b, json_object_get(answer, "notes"), begun->note, err) != 0) {
        return -1;
    }
    strbuf_add(b, "}}");
    if (reply_json(reply, 200, b, err) != 0) {
        return -1;
    }
    if (begun->etag[0] != '\0') {
        reply_header(reply, "ETag", begun->etag);
    }
    return 0;
}

static void answer_plan(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_CLOSE int fd = handed_over; /* none is expected */
    AUTO_BEGUN *begun = ask_take_state(reply);
    struct error err;
    (void)api;
    const json_t *answer = ask_answer(message, &err);
    if (answer == NULL || finish(begun, answer, reply, &err) != 0) {
        problem_reply(reply, begun->request_id, &err, NULL);
    }
}

/* What is wanted goes as a record in a sealed file: it can be larger than a message. */
static int ask_worker(struct begun *begun, const struct plan_wish *wish, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_plan, .free_state = begun_free};
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    AUTO_CLOSE int fd = -1;
    record_write(&plan_wish_record, wish, &bytes);
    if (bytes.failed) {
        return error_oom(err);
    }
    if (memory_file_make("plan", bytes.data, bytes.len, &fd, err) != 0 || ask_begin(reply, "plan", "of", "wish", begun, &ops, err) != 0) {
        return -1;
    }
    reply->has_question_fd = true;
    reply->question_fd = TAKE_FD(fd);
    return 0;
}

int plan_reply(const struct plan *plan, struct api_reply *reply, struct error *err)
{
    AUTO_BEGUN *begun = begin(plan, err);
    if (begun == NULL) {
        return -1;
    }
    if (plan->wish == NULL) {
        return finish(begun, NULL, reply, err);
    }
    if (ask_worker(begun, plan->wish, reply, err) != 0) {
        return -1;
    }
    (void)TAKE_PTR(begun);
    return 0;
}
