#include "worker/tasks.h"

#include "core/cleanup.h"
#include "core/task_row.h"
#include "worker/border/wanted.h"
#include "worker/drift.h"

#include <stdlib.h>

/* Each step may be the last one of this daemon: what the next one needs stands in the outcome. */
static int (*const steps[TASK_KIND_COUNT_])(struct worker *worker, const struct task_row *row, struct error *err) = {
    [TASK_REPAIR] = drift_repair_step,
};

int task_reconcile(struct worker *worker, const char *id, struct error *err)
{
    AUTO_TASK_ROW row = {0};
    bool found = false;
    if (border_task_get(worker->border, strtoll(id, NULL, 10), &row, &found, err) != 0) {
        return -1;
    }
    return found && row.ended_ms == 0 ? steps[row.kind](worker, &row, err) : 0;
}
