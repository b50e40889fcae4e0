#include "core/task_row.h"

#include "core/cleanup.h"

#include <string.h>

static const char *const names[TASK_KIND_COUNT_] = {[TASK_REPAIR] = "repair"};

const char *task_kind_name(enum task_kind kind)
{
    return (unsigned)kind < TASK_KIND_COUNT_ ? names[kind] : "";
}

bool task_kind_parse(const char *name, enum task_kind *ret)
{
    for (int i = 0; i < TASK_KIND_COUNT_; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (enum task_kind)i;
            return true;
        }
    }
    return false;
}

static const struct record_field fields[] = {
    {RECORD_FIELD(task_row, id), .type = RECORD_INT, .min = 1, .max = INT64_MAX / 2},
    {RECORD_FIELD(task_row, kind), .type = RECORD_ENUM, .max = TASK_KIND_COUNT_ - 1},
    {RECORD_FIELD(task_row, subject), .type = RECORD_TEXT, .max = LIMIT_TASK_SUBJECT_BYTES},
    {RECORD_FIELD(task_row, created_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(task_row, ended_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(task_row, outcome), .type = RECORD_TEXT, .min = 2, .max = LIMIT_QUESTION_BYTES},
};
const struct record_table task_row_record = {"task", sizeof(struct task_row), fields, ARRAY_LEN(fields)};

void task_row_free(struct task_row *row)
{
    record_free(&task_row_record, row);
}
