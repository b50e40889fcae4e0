/* Messages about facts, events and tasks. */
#include "core/cleanup.h"
#include "db/events.h"
#include "db/facts.h"
#include "db/tasks.h"
#include "keeper/handlers.h"

#include <stdlib.h>

int keeper_fact_set(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_fact *fact = question;
    struct message_flag *changed = answer;
    return facts_set(db, message_fact_text(fact->fact), fact->value, &changed->value, err);
}

int keeper_event_add(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_event *event = question;
    (void)answer;
    return events_add(db, event->type, event->kind, event->id, event->data, err);
}

int keeper_task_get(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_number *id = question;
    struct message_tasks *tasks = answer;
    bool found = false;
    tasks->items = calloc(1, sizeof *tasks->items);
    if (tasks->items == NULL) {
        return error_oom(err);
    }
    if (tasks_get(db, id->value, tasks->items, &found, err) != 0) {
        return -1;
    }
    tasks->count = found ? 1 : 0;
    return 0;
}

int keeper_task_report(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_task_report *report = question;
    (void)answer;
    return tasks_report(db, report->id, report->outcome, report->ended, err);
}
