#include "worker/image/image.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/fault.h"
#include "core/json.h"
#include "core/json_build.h"
#include "worker/border/wanted.h"
#include "worker/image/inspector.h"
#include "worker/quarantine.h"
#include "host/store/store.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PROGRESS_MS = 500 };

static const enum store_use uses[IMAGE_PART_COUNT_] = {[IMAGE_KERNEL] = STORE_KERNEL, [IMAGE_ROOTFS] = STORE_ROOTFS, [IMAGE_INITRD] = STORE_INITRD};

struct import {
    struct worker *worker;
    struct image_row *row;
    json_t *manifest;
    struct json_build observed;
    int64_t begin_ms;
    uint64_t bytes_total;
    uint64_t bytes_before; /* of the parts that are done */
    _Atomic uint64_t bytes_now;
    atomic_bool called_off; /* somebody deleted the image meanwhile */
    pthread_mutex_t lock;   /* of row and observed */
    pthread_cond_t over;
    bool is_over;
};

static char **digest_of(struct image_row *row, enum image_part part)
{
    char **const digests[IMAGE_PART_COUNT_] = {&row->kernel_sha256, &row->rootfs_sha256, &row->initrd_sha256};
    return digests[part];
}

static int describe(struct import *import, struct error *err)
{
    uint64_t done = import->bytes_before + atomic_load(&import->bytes_now);
    json_build_put(
        &import->observed, "progress",
        json_pack("{s:I, s:I}", "bytes_done", (json_int_t)done, "bytes_total", (json_int_t)(import->bytes_total > done ? import->bytes_total : done)));
    free(import->row->observed);
    import->row->observed = json_text(import->observed.value);
    return import->row->observed != NULL ? 0 : error_oom(err);
}

/* With the lock held. */
static int save_progress(struct import *import, struct error *err)
{
    char key[QUEUE_KEY_MAX];
    if (describe(import, err) != 0 || border_image_report(import->worker->border, import->row, NULL, err) != 0) {
        return -1;
    }
    (void)snprintf(key, sizeof key, "image/%.128s", import->row->id);
    worker_notify(import->worker, key);
    return 0;
}

static bool is_deleted(struct import *import)
{
    AUTO_IMAGE_ROW row = {0};
    bool found = true;
    return border_image_get(import->worker->border, import->row->id, &row, &found, NULL) == 0 && (!found || row.state == IMAGE_DELETING);
}

/* Stores the progress twice a second while a file is read, and calls the reading off when nobody wants the image any more. */
static void *report_progress(void *arg)
{
    struct import *import = arg;
    uint64_t last = 0;
    (void)pthread_mutex_lock(&import->lock);
    while (!import->is_over) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PROGRESS_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&import->over, &import->lock, &until);
        uint64_t now = import->bytes_before + atomic_load(&import->bytes_now);
        if (!import->is_over && is_deleted(import)) {
            atomic_store(&import->called_off, true);
        }
        if (!import->is_over && now != last) {
            last = now;
            (void)save_progress(import, NULL);
        }
    }
    (void)pthread_mutex_unlock(&import->lock);
    return NULL;
}

static int import_part(struct import *import, enum image_part part, struct error *err)
{
    const struct config *config = import->worker->config;
    const char *name = image_part_name(part);
    const json_t *file = json_object_get(import->manifest, name);
    const char *rootfs_type = json_get_string(import->manifest, "rootfs_type");
    struct store_result result;
    struct inspector inspector = {.worker = import->worker, .cancel = &import->called_off};
    const struct store_request request = {.allowed_roots = (const char *const *)config->images.allowed_roots,
                                          .allowed_root_count = config->images.allowed_root_count,
                                          .path = json_get_string(file, "path"),
                                          .expected_sha256 = json_get_string(file, "sha256"),
                                          .expected_bytes = json_get_int(file, "size_bytes", -1),
                                          .max_bytes = config->images.max_file_bytes,
                                          .use = uses[part],
                                          .rootfs_type = rootfs_type != NULL ? rootfs_type : "ext4",
                                          .inspect = inspector_ask,
                                          .inspect_ctx = &inspector,
                                          .progress = &import->bytes_now,
                                          .cancel = &import->called_off};
    if (request.path == NULL) {
        return error_set(err, ERR_INVALID_MANIFEST, "%s has no path", name);
    }
    if (store_add(import->worker->store_root, &request, &result, err) != 0) {
        return error_prefix(err, "%s", name);
    }
    (void)pthread_mutex_lock(&import->lock);
    import->bytes_before += atomic_exchange(&import->bytes_now, 0);
    json_build_put(&import->observed, name,
                   json_pack("{s:s, s:s, s:I}", "sha256", result.sha256, "source_sha256", result.source_sha256, "size_bytes", (json_int_t)result.size_bytes));
    char **digest = digest_of(import->row, part);
    free(*digest);
    *digest = strdup(result.sha256);
    (void)pthread_mutex_unlock(&import->lock);
    return *digest != NULL ? 0 : error_oom(err);
}

/* As the manifest says; where it does not, the total grows with what was read. */
static uint64_t size_of_parts(const json_t *manifest)
{
    uint64_t total = 0;
    for (int i = 0; i < IMAGE_PART_COUNT_; i++) {
        total += (uint64_t)json_get_int(json_object_get(manifest, image_part_name((enum image_part)i)), "size_bytes", 0);
    }
    return total;
}

static int import_parts(struct import *import, struct error *err)
{
    static const bool none_needed[IMAGE_PART_COUNT_];
    struct image_plan plan;
    image_plan_make(IMAGE_IMPORTING, import->row, import->manifest, none_needed, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        const char *name = image_part_name(plan.ops[i].part);
        if (fault_before("image", name, err) != 0 || import_part(import, plan.ops[i].part, err) != 0) {
            return -1;
        }
        fault_after("image", name);
    }
    return 0;
}

/* The new state and its event in one transaction: a daemon that dies between them would never tell of it. */
static int save_end(struct import *import, enum event_type event, struct error *err)
{
    return describe(import, err) != 0 ? -1 : border_image_report(import->worker->border, import->row, &event, err);
}

static const char *request_of(const struct import *import)
{
    return import->row->request[0] != '\0' ? import->row->request : NULL;
}

static void log_ready(const struct import *import)
{
    char ms[24];
    char bytes[24];
    (void)snprintf(ms, sizeof ms, "%lld", (long long)(clock_monotonic_ms() - import->begin_ms));
    (void)snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)import->bytes_before);
    log_event(LOG_INFO, "image.ready", "image", import->row->id, "ms", ms, "bytes", bytes, "request", request_of(import), NULL);
}

static int finish(struct import *import, int result, const struct error *failure, struct error *err)
{
    const enum event_type event = result == 0 ? EVENT_IMAGE_READY : EVENT_IMAGE_FAILED;
    import->row->state = result == 0 ? IMAGE_READY : IMAGE_FAILED;
    if (result != 0) {
        json_build_put(&import->observed, "error", json_pack("{s:s, s:s}", "code", error_code_name(failure->code), "message", failure->message));
        log_event(LOG_WARN, "image.failed", "image", import->row->id, "code", error_code_name(failure->code), "message", failure->message, "request",
                  request_of(import), NULL);
    }
    if (save_end(import, event, err) != 0) {
        return -1;
    }
    if (result == 0) {
        log_ready(import);
    }
    return 0;
}

static int run_import(struct worker *worker, struct image_row *row, struct error *err)
{
    struct import import = {.worker = worker, .row = row, .observed = json_build_object(), .begin_ms = clock_monotonic_ms()};
    struct error failure = {0};
    pthread_t reporter;
    if (json_parse(row->manifest, strlen(row->manifest), &import.manifest, err) != 0) {
        json_build_free(&import.observed);
        return -1;
    }
    (void)pthread_mutex_init(&import.lock, NULL);
    (void)pthread_cond_init(&import.over, NULL);
    import.bytes_total = size_of_parts(import.manifest);
    log_event(LOG_INFO, "image.import_begun", "image", row->id, "request", request_of(&import), NULL);
    bool reports = pthread_create(&reporter, NULL, report_progress, &import) == 0;
    int result = import_parts(&import, &failure);
    (void)pthread_mutex_lock(&import.lock);
    import.is_over = true;
    (void)pthread_cond_signal(&import.over);
    (void)pthread_mutex_unlock(&import.lock);
    if (reports) {
        (void)pthread_join(reporter, NULL);
    }
    /* The row says "deleting" already, and its key waits in the queue. */
    result = atomic_load(&import.called_off) ? 0 : finish(&import, result, &failure, err);
    (void)pthread_cond_destroy(&import.over);
    (void)pthread_mutex_destroy(&import.lock);
    json_decref(import.manifest);
    json_build_free(&import.observed);
    return result;
}

/* Of each part, whether another image has its file, too. */
static int find_needed(struct worker *worker, const struct image_row *row, bool ret[IMAGE_PART_COUNT_], struct error *err)
{
    for (int i = 0; i < IMAGE_PART_COUNT_; i++) {
        const char *digest = image_part_digest(row, (enum image_part)i);
        ret[i] = false;
        if (digest != NULL && border_image_needs_file(worker->border, digest, row->id, &ret[i], err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int remove_file(struct worker *worker, const char *digest, struct error *err)
{
    if (fault_before("image", "remove", err) != 0 || store_remove(worker->store_root, digest, err) != 0) {
        return -1;
    }
    fault_after("image", "remove");
    return 0;
}

static int forget(struct worker *worker, const struct image_row *row, struct error *err)
{
    if (border_image_forget(worker->border, row->id, err) != 0) {
        return -1;
    }
    log_event(LOG_INFO, "image.deleted", "image", row->id, "request", row->request[0] != '\0' ? row->request : NULL, NULL);
    return 0;
}

static int run_delete(struct worker *worker, const struct image_row *row, struct error *err)
{
    bool needed[IMAGE_PART_COUNT_];
    struct image_plan plan;
    if (find_needed(worker, row, needed, err) != 0) {
        return -1;
    }
    image_plan_make(IMAGE_DELETING, row, NULL, needed, &plan);
    for (size_t i = 0; i < plan.count; i++) {
        const struct image_op *op = &plan.ops[i];
        if ((op->type == IMAGE_OP_REMOVE ? remove_file(worker, image_part_digest(row, op->part), err) : forget(worker, row, err)) != 0) {
            return -1;
        }
    }
    return 0;
}

int image_look(struct worker *worker, const struct image_row *row, struct image_plan *ret, struct error *err)
{
    bool needed[IMAGE_PART_COUNT_];
    AUTO_JSON *manifest = NULL;
    if (json_parse(row->manifest, strlen(row->manifest), &manifest, err) != 0 || find_needed(worker, row, needed, err) != 0) {
        return -1;
    }
    image_plan_make(row->state, row, manifest, needed, ret);
    return 0;
}

int image_reconcile(struct worker *worker, const char *id, struct error *err)
{
    AUTO_IMAGE_ROW row = {0};
    bool found = false;
    int result = 0;
    char key[QUEUE_KEY_MAX];
    struct error why = {0};
    if (border_image_get(worker->border, id, &row, &found, &why) != 0) {
        *err = why;
        return why.code == ERR_ROW_DAMAGED ? quarantine_image(worker, id, &why, err) : -1;
    }
    if (!found) {
        return 0;
    }
    if (row.state == IMAGE_IMPORTING) {
        result = run_import(worker, &row, err);
    } else if (row.state == IMAGE_DELETING) {
        result = run_delete(worker, &row, err);
    }
    (void)snprintf(key, sizeof key, "image/%.128s", id);
    worker_notify(worker, key);
    return result;
}

int image_sweep(struct worker *worker, struct error *err)
{
    AUTO_FREE char(*digests)[SHA256_HEX_MAX] = NULL;
    size_t count = 0;
    if (store_open(worker->store_root, err) != 0 || store_list(worker->store_root, &digests, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        bool needed = false;
        if (border_image_needs_file(worker->border, digests[i], NULL, &needed, err) != 0 ||
            (!needed && store_remove(worker->store_root, digests[i], err) != 0)) {
            return -1;
        }
    }
    return 0;
}
