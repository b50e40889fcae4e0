/* Inside worker/: tasks by their kinds, core/task_row.h. */
#ifndef SMARTVM_WORKER_TASKS_H
#define SMARTVM_WORKER_TASKS_H

#include "worker/context.h"

/* The key "task/<id>": the next step of a task that is pending. */
int task_reconcile(struct worker *worker, const char *id, struct error *err);

#endif
