/* Messages about policies and address sets. */
#include "core/array.h"
#include "core/cleanup.h"
#include "db/firewall.h"
#include "keeper/handlers.h"

#include <stdlib.h>
#include <string.h>

int keeper_firewall_load(struct db *db, const void *question, void *answer, struct error *err)
{
    (void)question;
    return firewall_load(db, answer, err);
}

static int make_item(struct message_firewall_list *list, struct error *err)
{
    list->items = calloc(1, sizeof *list->items);
    return list->items != NULL ? 0 : error_oom(err);
}

int keeper_firewall_policy_get(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_number *uid = question;
    struct message_firewall_list *list = answer;
    bool found = false;
    if (make_item(list, err) != 0 || firewall_policy_get(db, uid->value, list->items, &found, err) != 0) {
        return -1;
    }
    list->count = found ? 1 : 0;
    return 0;
}

int keeper_firewall_set_get(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_set_name *set = question;
    struct message_firewall_list *list = answer;
    bool found = false;
    if (make_item(list, err) != 0 || firewall_set_get(db, set->name, list->items, &found, err) != 0) {
        return -1;
    }
    list->count = found ? 1 : 0;
    return 0;
}

int keeper_firewall_roll_back(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_number *now_ms = question;
    struct message_number *count = answer;
    size_t rows = 0;
    if (firewall_roll_back(db, now_ms->value, &rows, err) != 0) {
        return -1;
    }
    count->value = (int64_t)rows;
    return 0;
}

int keeper_firewall_next_deadline(struct db *db, const void *question, void *answer, struct error *err)
{
    struct message_number *deadline_ms = answer;
    (void)question;
    return firewall_next_deadline(db, &deadline_ms->value, err);
}

int keeper_firewall_observed_get(struct db *db, const void *question, void *answer, struct error *err)
{
    (void)question;
    return firewall_observed_get(db, answer, err);
}

int keeper_firewall_observed_set(struct db *db, const void *question, void *answer, struct error *err)
{
    struct message_flag *changed = answer;
    return firewall_observed_set(db, question, &changed->value, err);
}

struct overdue {
    struct message_overdue_list *list;
    bool failed;
};

static char *copy(const char *text, bool *failed)
{
    char *copied = text != NULL ? strdup(text) : NULL;
    *failed = *failed || (text != NULL && copied == NULL);
    return copied;
}

static void add_overdue(const char *vm, const char *set, void *ctx)
{
    struct overdue *overdue = ctx;
    struct message_overdue_list *list = overdue->list;
    struct message_overdue *grown = overdue->failed ? NULL : array_grow(list->items, list->count, sizeof *grown);
    overdue->failed = grown == NULL;
    if (grown != NULL) {
        list->items = grown;
        list->items[list->count++] = (struct message_overdue){.vm = copy(vm, &overdue->failed), .set = copy(set, &overdue->failed)};
    }
}

int keeper_firewall_overdue(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_number *now_ms = question;
    struct overdue overdue = {.list = answer};
    if (firewall_each_overdue(db, now_ms->value, add_overdue, &overdue, err) != 0) {
        return -1;
    }
    return overdue.failed ? error_oom(err) : 0;
}
