/*
 * Rows that can't be what they should be (ROW_DAMAGED of worker/border/border.h): they are left alone, with whatever runs of them, and the resource
 * shows a condition "row" that says which field. Any thread.
 */
#ifndef SMARTVM_WORKER_QUARANTINE_H
#define SMARTVM_WORKER_QUARANTINE_H

#include "worker/context.h"

/* 0 when it is told; then nothing is to be done about the key until somebody wakes it. */
int quarantine_vm(struct worker *worker, const char *id, const struct error *why, struct error *err);
int quarantine_image(struct worker *worker, const char *id, const struct error *why, struct error *err);

#endif
