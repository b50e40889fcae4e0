/*
 * A repair that was asked for. The reconcilers do the work, as always; this only lets go of their back-offs, wakes
 * them, and looks again until what was found is gone.
 */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "worker/drift.h"
#include "worker/task_report.h"

#include <stdio.h>
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
    AUTO_JSON_BUILD list = json_build_array();
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(found, i, item)
    {
        if (has(now, item) == still_there) {
            json_build_add(&list, json_incref(item));
        }
    }
    return json_build_take(&list);
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

static void look_again(struct worker *worker, const struct task_row *row, json_int_t looks)
{
    int64_t delay_ms = looks < 8 ? (int64_t)LOOK_FIRST_MS << looks : LOOK_MAX_MS;
    task_look_again(worker, row, delay_ms < LOOK_MAX_MS ? delay_ms : LOOK_MAX_MS);
}

/* One look. The outcome tells what the first one found, so that a restart in between loses nothing. */
int drift_repair_step(struct worker *worker, const struct task_row *row, struct error *err)
{
    json_t *stored = NULL;
    AUTO_JSON *now = drift_look(worker, false, err);
    if (now == NULL || json_parse(row->outcome, strlen(row->outcome), &stored, err) != 0) {
        return -1;
    }
    AUTO_JSON_BUILD outcome = {.value = stored};
    const json_t *items = json_object_get(now, "items");
    const json_int_t stored_looks = json_get_int(outcome.value, "looks", 0);
    const json_int_t looks = stored_looks >= 0 && stored_looks < LOOKS_MAX ? stored_looks : LOOKS_MAX - 1; /* what is stored need not be ours */
    if (json_object_get(outcome.value, "found") == NULL) {
        json_build_put(&outcome, "found", json_or_null(items));
        json_build_put(&outcome, "total", json_or_null(json_object_get(now, "total")));
        wake(worker, items);
    }
    const json_t *found = json_object_get(outcome.value, "found");
    AUTO_JSON *remaining = select_items(found, items, true);
    json_build_put(&outcome, "looks", json_integer(looks + 1));
    if (remaining == NULL || outcome.value == NULL) { /* nothing left is not the same as nothing known */
        return error_oom(err);
    }
    if (any_repairable(remaining) && looks + 1 < LOOKS_MAX) {
        look_again(worker, row, looks);
        return task_report(worker, row, outcome.value, false, err);
    }
    json_build_put(&outcome, "repaired", select_items(found, items, false));
    json_build_put(&outcome, "remaining", json_incref(remaining));
    return task_report(worker, row, outcome.value, true, err);
}
