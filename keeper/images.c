/* Messages about images. */
#include "core/cleanup.h"
#include "db/events.h"
#include "db/images.h"
#include "keeper/handlers.h"

int keeper_image_get(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_image_id *key = question;
    struct message_images *images = answer;
    bool found = false;
    images->items = calloc(1, sizeof *images->items);
    if (images->items == NULL) {
        return error_oom(err);
    }
    if (images_get(db, key->id, images->items, &found, err) != 0) {
        return -1;
    }
    images->count = found ? 1 : 0;
    return 0;
}

/* The new state and its event in one transaction: a daemon that dies between them would never tell of it. */
int keeper_image_report(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_image_report *report = question;
    (void)answer;
    if (db_begin(db, err) != 0) {
        return -1;
    }
    if (images_set_observed(db, &report->items[0], err) != 0 ||
        (report->has_event && events_add(db, report->event, "image", report->items[0].id, "{}", err) != 0)) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}

int keeper_image_needs_file(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_image_file *file = question;
    struct message_flag *needed = answer;
    return images_need_file(db, file->sha256, file->except, &needed->value, err);
}

int keeper_image_forget(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_image_id *key = question;
    (void)answer;
    return images_remove(db, key->id, err);
}

int keeper_image_quarantine(struct db *db, const void *question, void *answer, struct error *err)
{
    const struct message_quarantine *quarantine = question;
    struct message_flag *changed = answer;
    return images_quarantine(db, quarantine->id, quarantine->observed, &changed->value, err);
}
