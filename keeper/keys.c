/* The message that lists all keys. */
#include "core/array.h"
#include "core/cleanup.h"
#include "db/images.h"
#include "db/tasks.h"
#include "db/vms.h"
#include "keeper/handlers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct collector {
    struct message_keys *keys;
    bool failed;
};

static void add_vm(const char *id, void *ctx)
{
    struct collector *collector = ctx;
    struct message_keys *keys = collector->keys;
    void *grown = array_grow(keys->vms, keys->vm_count, sizeof *keys->vms);
    collector->failed = collector->failed || grown == NULL;
    keys->vms = grown != NULL ? grown : keys->vms;
    if (!collector->failed) {
        memset(&keys->vms[keys->vm_count], 0, sizeof *keys->vms);
        (void)snprintf(keys->vms[keys->vm_count++].id, sizeof keys->vms->id, "%s", id);
    }
}

static void add_image(const char *id, void *ctx)
{
    struct collector *collector = ctx;
    struct message_keys *keys = collector->keys;
    void *grown = array_grow(keys->images, keys->image_count, sizeof *keys->images);
    collector->failed = collector->failed || grown == NULL;
    keys->images = grown != NULL ? grown : keys->images;
    if (!collector->failed) {
        keys->images[keys->image_count].id = strdup(id);
        collector->failed = keys->images[keys->image_count].id == NULL;
        keys->image_count += collector->failed ? 0 : 1;
    }
}

static void add_task(int64_t id, void *ctx)
{
    struct collector *collector = ctx;
    struct message_keys *keys = collector->keys;
    void *grown = array_grow(keys->tasks, keys->task_count, sizeof *keys->tasks);
    collector->failed = collector->failed || grown == NULL;
    keys->tasks = grown != NULL ? grown : keys->tasks;
    if (!collector->failed) {
        keys->tasks[keys->task_count++].id = id;
    }
}

int keeper_keys(struct db *db, const void *question, void *answer, struct error *err)
{
    struct collector collector = {.keys = answer};
    (void)question;
    if (vms_each_id(db, add_vm, &collector, err) != 0 || images_each_id(db, add_image, &collector, err) != 0 ||
        tasks_each_pending(db, add_task, &collector, err) != 0) {
        return -1;
    }
    return collector.failed ? error_oom(err) : 0;
}
