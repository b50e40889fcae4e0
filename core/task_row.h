/*
 * What is done once, as it is stored: asked for by a client, carried out by the worker, however often that is started meanwhile, and looked at, or waited
 * for, by its number. What is to be rather than to be done is not a task: it stands in the row of what it is about.
 */
#ifndef SMARTVM_CORE_TASK_ROW_H
#define SMARTVM_CORE_TASK_ROW_H

#include "core/limits.h"
#include "core/record.h"

enum task_kind {
    TASK_REPAIR, /* of the whole host: POST /drift/repair */
    TASK_KIND_COUNT_
};
const char *task_kind_name(enum task_kind kind);
bool task_kind_parse(const char *name, enum task_kind *ret);

struct task_row {
    int64_t id; /* given once, in order, whatever the kind */
    enum task_kind kind;
    char *subject; /* "vm/web": what it is about, as a key; "" for the host; owned */
    int64_t created_ms;
    int64_t ended_ms; /* 0: pending */
    char *outcome;    /* JSON object, of the kind's own members, as far as it has come; owned */
};
void task_row_free(struct task_row *row); /* what it points to; harmless on a zeroed one */
#define AUTO_TASK_ROW __attribute__((cleanup(task_row_free))) struct task_row

extern const struct record_table task_row_record;

#endif
