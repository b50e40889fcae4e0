/*
 * A repair that was asked for. The reconcilers do the work, as always; this only lets go of their back-offs, wakes
 * them, and looks again until what was found is gone.
 */
#include "core/cleanup.h"
#include "core/json.h"
#include "db/repairs.h"
#include "db/vms.h"
#include "worker/drift.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKS_MAX = 12, LOOK_FIRST_MS = 20, LOOK_MAX_MS = 2000 }; /* 8 s in all */

static bool is_same(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "resource"), json_object_get(b, "resource")) == 1 &&
           json_equal(json_object_get(a, "operation"), json_object_get(b, "operation")) == 1;
}

static bool has(const json_t *items, const json_t *wanted)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach(items, i, item)
    {
        if (is_same(item, wanted)) {
            return true;
        }
    }
    return false;
}

/* Those of `found` that are, or are not, in `now`. */
static json_t *select_items(const json_t *found, const json_t *now, bool still_there)
{
    json_t *list = json_array();
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(found, i, item)
    {
        if (has(now, item) == still_there) {
            (void)json_array_append(list, item);
        }
    }
    return list;
}

static bool is_repairable(const json_t *item)
{
    const char *operation = json_get_string(item, "operation");
    return operation == NULL || strcmp(operation, "none") != 0;
}

static bool any_repairable(const json_t *items)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach(items, i, item)
    {
        if (is_repairable(item)) {
            return true;
        }
    }
    return false;
}

static void wake(struct worker *worker, const json_t *items)
{
    size_t i = 0;
    const json_t *item = NULL;
    (void)atomic_fetch_add(&worker->repair_epoch, 1);
    (void)queue_add(worker->queue, "network");
    (void)queue_add(worker->queue, "wireguard");
    json_array_foreach(items, i, item)
    {
        const char *resource = json_get_string(item, "resource");
        if (resource != NULL && strncmp(resource, "/vms/", 5) == 0) {
            char key[QUEUE_KEY_MAX];
            (void)snprintf(key, sizeof key, "vm/%.*s", LIMIT_VM_ID_BYTES, resource + 5);
            (void)queue_add(worker->queue, key);
        }
    }
}

static int store(struct worker *worker, const struct repair_row *row, json_t *outcome, bool done, struct error *err)
{
    AUTO_FREE char *text = json_text(outcome);
    char key[QUEUE_KEY_MAX];
    if (text == NULL) {
        return error_oom(err);
    }
    if (repairs_set(worker->db, row->id, text, done, err) != 0) {
        return -1;
    }
    (void)snprintf(key, sizeof key, "repair/%lld", (long long)row->id);
    if (done) {
        worker_notify(worker, key);
    }
    return 0;
}

static void look_again(struct worker *worker, const char *id, json_int_t looks)
{
    char key[QUEUE_KEY_MAX];
    int64_t delay_ms = looks < 8 ? (int64_t)LOOK_FIRST_MS << looks : LOOK_MAX_MS;
    (void)snprintf(key, sizeof key, "repair/%.20s", id);
    (void)queue_add_after(worker->queue, key, delay_ms < LOOK_MAX_MS ? delay_ms : LOOK_MAX_MS);
}

/* One look. The outcome tells what the first one found, so that a restart in between loses nothing. */
static int step(struct worker *worker, const struct repair_row *row, const char *id, struct error *err)
{
    AUTO_JSON *outcome = NULL;
    AUTO_JSON *now = drift_look(worker, err);
    if (now == NULL || json_parse(row->outcome, strlen(row->outcome), &outcome, err) != 0) {
        return -1;
    }
    const json_t *items = json_object_get(now, "items");
    json_int_t looks = json_get_int(outcome, "looks", 0);
    if (json_object_get(outcome, "found") == NULL) {
        (void)json_object_set(outcome, "found", json_object_get(now, "items"));
        (void)json_object_set(outcome, "total", json_object_get(now, "total"));
        wake(worker, items);
    }
    const json_t *found = json_object_get(outcome, "found");
    AUTO_JSON *remaining = select_items(found, items, true);
    (void)json_object_set_new(outcome, "looks", json_integer(looks + 1));
    if (any_repairable(remaining) && looks + 1 < LOOKS_MAX) {
        look_again(worker, id, looks);
        return store(worker, row, outcome, false, err);
    }
    (void)json_object_set_new(outcome, "repaired", select_items(found, items, false));
    (void)json_object_set(outcome, "remaining", remaining);
    return store(worker, row, outcome, true, err);
}

int drift_repair_reconcile(struct worker *worker, const char *id, struct error *err)
{
    AUTO_REPAIR_ROW row = {0};
    bool found = false;
    if (repairs_get(worker->db, strtoll(id, NULL, 10), &row, &found, err) != 0) {
        return -1;
    }
    return found && row.done_ms == 0 ? step(worker, &row, id, err) : 0;
}
