/* Inside worker/: how a task has come on. Any thread. */
#ifndef SMARTVM_WORKER_TASK_REPORT_H
#define SMARTVM_WORKER_TASK_REPORT_H

#include "core/task_row.h"
#include "worker/context.h"

#include <jansson.h>

/* Stores the outcome, so that a restart goes on from there; `ended`: it is final, and whoever waits for the task is told. */
int task_report(struct worker *worker, const struct task_row *row, const json_t *outcome, bool ended, struct error *err);

/* The task is gone on with later. */
void task_look_again(struct worker *worker, const struct task_row *row, int64_t delay_ms);

#endif
