#include "worker/quarantine.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/condition.h"
#include "core/json.h"
#include "worker/border/wanted.h"

#include <stdio.h>

/* The same text as long as this daemon runs, so that it is an event once. */
static json_t *conditions_json(const struct worker *worker, const struct error *why)
{
    char since[CLOCK_TEXT_MAX];
    char message[ERROR_MESSAGE_MAX + 100];
    (void)snprintf(message, sizeof message, "what is stored is not what it should be, so nothing is done about it: %s", why->message);
    return json_pack("[{s:s, s:s, s:s, s:s, s:s}]", "type", condition_type_name(CONDITION_ROW), "status", condition_status_name(CONDITION_FALSE), "reason",
                     condition_reason_name(condition_reason_of(why->code)), "message", message, "since", clock_format(worker->start_wall_ms, since));
}

static void tell(struct worker *worker, const char *kind, const char *id, const struct error *why)
{
    char key[QUEUE_KEY_MAX];
    (void)snprintf(key, sizeof key, "%s/%s", kind, id);
    log_event(LOG_ERROR, "row.quarantined", kind, id, "message", why->message, NULL);
    worker_notify(worker, key);
}

int quarantine_vm(struct worker *worker, const char *id, const struct error *why, struct error *err)
{
    bool changed = false;
    AUTO_JSON *observed =
        json_pack("{s:{s:s, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:s}, s:o, s:[], s:[], s:n, s:{s:s, s:s}}", "vmm", "requested", "auto", "driver", "version",
                  "accelerator", "pid", "limits", "jailed", "uid", "reason", "not known", "conditions", conditions_json(worker, why), "timings", "drives",
                  "last_exit", "error", "code", error_code_name(why->code), "message", why->message);
    AUTO_FREE char *text = json_text(observed);
    if (text == NULL) {
        return error_oom(err);
    }
    if (border_vm_quarantine(worker->border, id, text, &changed, err) != 0) {
        return -1;
    }
    if (changed) {
        tell(worker, "vm", id, why);
    }
    return 0;
}

int quarantine_image(struct worker *worker, const char *id, const struct error *why, struct error *err)
{
    bool changed = false;
    AUTO_JSON *observed = json_pack("{s:{s:s, s:s}}", "error", "code", error_code_name(why->code), "message", why->message);
    AUTO_FREE char *text = json_text(observed);
    if (text == NULL) {
        return error_oom(err);
    }
    if (border_image_quarantine(worker->border, id, text, &changed, err) != 0) {
        return -1;
    }
    if (changed) {
        tell(worker, "image", id, why);
    }
    return 0;
}
