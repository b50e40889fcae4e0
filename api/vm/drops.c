/* What of a VM's packets was dropped: the kernel counts, and the worker reads the counters when asked. */
#include "api/ask.h"
#include "api/handlers.h"
#include "api/problem.h"
#include "api/reply.h"
#include "api/vm/vms.h"
#include "core/cleanup.h"
#include "core/json.h"

#include <string.h>

struct asked {
    char request_id[40];
};

static void answer(struct api *api, struct api_reply *reply, const json_t *message, int fd)
{
    AUTO_FREE struct asked *asked = ask_take_state(reply);
    AUTO_CLOSE int handed_over = fd;
    AUTO_STRBUF body = STRBUF_INIT;
    struct error error;
    (void)api;
    (void)handed_over;
    const json_t *found = ask_answer(message, &error);
    AUTO_FREE char *text = found != NULL ? json_text(found) : NULL;
    strbuf_add(&body, text != NULL ? text : "");
    bool failed = found == NULL;
    if (!failed) {
        failed = (text == NULL ? error_oom(&error) : reply_json(reply, 200, &body, &error)) != 0;
    }
    if (failed) {
        problem_reply(reply, asked->request_id, &error, NULL);
    }
}

int vm_network_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer, .free_state = free};
    AUTO_VM_ROW row = {0};
    if (vm_find(call->api, call->id, &row, err) != 0) {
        return -1;
    }
    AUTO_FREE struct asked *asked = calloc(1, sizeof *asked);
    if (asked == NULL) {
        return error_oom(err);
    }
    memcpy(asked->request_id, call->origin.request_id, sizeof asked->request_id);
    if (ask_begin(reply, "vm_drops", "vm", row.id, asked, &ops, err) != 0) {
        return -1;
    }
    (void)TAKE_PTR(asked);
    return 0;
}
