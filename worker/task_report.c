#include "worker/task_report.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "worker/border/wanted.h"

#include <stdio.h>

static void make_key(const struct task_row *row, char key[QUEUE_KEY_MAX])
{
    (void)snprintf(key, QUEUE_KEY_MAX, "task/%lld", (long long)row->id);
}

int task_report(struct worker *worker, const struct task_row *row, const json_t *outcome, bool ended, struct error *err)
{
    AUTO_FREE char *text = json_text(outcome);
    char key[QUEUE_KEY_MAX];
    if (text == NULL) {
        return error_oom(err);
    }
    if (border_task_report(worker->border, row->id, text, ended, err) != 0) {
        return -1;
    }
    if (ended) {
        make_key(row, key);
        worker_notify(worker, key);
    }
    return 0;
}

void task_look_again(struct worker *worker, const struct task_row *row, int64_t delay_ms)
{
    char key[QUEUE_KEY_MAX];
    make_key(row, key);
    (void)queue_add_after(worker->queue, key, delay_ms);
}
