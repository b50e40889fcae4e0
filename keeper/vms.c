/* Messages about VMs. */
#include "core/cleanup.h"
#include "db/events.h"
#include "db/vms.h"
#include "keeper/handlers.h"

#include <stdlib.h>

int keeper_vm_get(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_vm_id *key = question;
    struct message_vm *vms = answer;
    bool found = false;
    vms->items = calloc(1, sizeof *vms->items);
    if (vms->items == NULL) {
        return error_oom(err);
    }
    if (vms_get(db, key->id, vms->items, &found, err) != 0) {
        return -1;
    }
    vms->count = found ? 1 : 0;
    return 0;
}

int keeper_vm_list(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_vm_page *page = question;
    struct message_vms *vms = answer;
    return vms_list(db, page->after, page->has_state ? &page->state : NULL, page->limit, &vms->items, &vms->count, err);
}

/* The row and the events of its new state and of its end in one transaction. */
int keeper_vm_report(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_vm_report *report = question;
    struct message_flag *changed = answer;
    const struct vm_observation observation = {.state = report->state,
                                               .observed_generation = report->observed_generation,
                                               .observed = report->observed,
                                               .pid = report->pid,
                                               .start_time = report->start_time,
                                               .boot_id = report->boot_id,
                                               .boot_done = report->boot_done,
                                               .boot_config = report->boot_config};
    if (db_begin(db, err) != 0) {
        return -1;
    }
    if (vms_set_observed(db, report->uid, &observation, &changed->value, err) != 0 ||
        (report->event != NULL && events_add(db, EVENT_VM_STATE, "vm", report->id, report->event, err) != 0) ||
        (report->end != NULL && events_add(db, report->end_type, "vm", report->id, report->end, err) != 0)) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}

int keeper_vm_give_up_running(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_vm_generation *vm = question;
    struct message_flag *changed = answer;
    return vms_give_up_running(db, vm->uid, vm->generation, &changed->value, err);
}

int keeper_vm_forget(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_vm_key *key = question;
    const struct vm_row row = {.uid = key->uid, .id = (char *)(uintptr_t)key->id};
    (void)answer;
    return vms_remove(db, &row, err);
}

int keeper_vm_restore(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_vm_restore *restore = question;
    (void)answer;
    return vms_restore(db, &restore->items[0], restore->image_count > 0 ? &restore->images[0] : NULL, restore->force, err);
}

int keeper_vm_quarantine(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_quarantine *quarantine = question;
    struct message_flag *changed = answer;
    return vms_quarantine(db, quarantine->id, quarantine->observed, &changed->value, err);
}

int keeper_vm_wish(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_vm_id *key = question;
    struct message_vm_wish *wish = answer;
    return vms_wish(db, key->id, &wish->uid, &wish->deleting, err);
}

int keeper_vm_want_restart(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_vm_restart *restart = question;
    struct message_flag *changed = answer;
    return vms_want_restart(db, restart->uid, &restart->restart, &changed->value, err);
}
