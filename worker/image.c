#include "worker/image.h"

#include "core/cleanup.h"
#include "core/fault.h"
#include "core/json.h"
#include "db/events.h"
#include "db/images.h"
#include "host/store.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PROGRESS_MS = 500 };

static const char *const parts[] = {"kernel", "rootfs", "initrd"};
enum { PART_COUNT = ARRAY_LEN(parts) };

struct import {
    struct worker *worker;
    struct image_row *row;
    json_t *manifest;
    json_t *observed;
    uint64_t bytes_total;
    uint64_t bytes_before; /* of the parts that are done */
    _Atomic uint64_t bytes_now;
    atomic_bool called_off; /* somebody deleted the image meanwhile */
    pthread_mutex_t lock; /* of row and observed */
    pthread_cond_t over;
    bool is_over;
};

static char **digest_of(struct image_row *row, size_t part)
{
    char **const digests[PART_COUNT] = {&row->kernel_sha256, &row->rootfs_sha256, &row->initrd_sha256};
    return digests[part];
}

static int describe(struct import *import, struct error *err)
{
    uint64_t done = import->bytes_before + atomic_load(&import->bytes_now);
    (void)json_object_set_new(import->observed, "progress",
                              json_pack("{s:I, s:I}", "bytes_done", (json_int_t)done, "bytes_total",
                                        (json_int_t)(import->bytes_total > done ? import->bytes_total : done)));
    free(import->row->observed);
    import->row->observed = json_text(import->observed);
    return import->row->observed != NULL ? 0 : error_oom(err);
}

/* With the lock held. */
static int save_progress(struct import *import, struct error *err)
{
    char key[QUEUE_KEY_MAX];
    if (describe(import, err) != 0 || images_set_observed(import->worker->db, import->row, err) != 0) {
        return -1;
    }
    (void)snprintf(key, sizeof key, "image/%.80s", import->row->id);
    worker_notify(import->worker, key);
    return 0;
}

static bool is_deleted(struct import *import)
{
    AUTO_IMAGE_ROW row = {0};
    bool found = true;
    return images_get(import->worker->db, import->row->id, &row, &found, NULL) == 0 && (!found || row.state == IMAGE_DELETING);
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

static int import_part(struct import *import, size_t part, struct error *err)
{
    const struct config *config = import->worker->config;
    const json_t *file = json_object_get(import->manifest, parts[part]);
    struct store_result result;
    if (file == NULL) {
        return 0;
    }
    const struct store_request request = {.allowed_roots = (const char *const *)config->images.allowed_roots,
                                          .allowed_root_count = config->images.allowed_root_count,
                                          .path = json_get_string(file, "path"),
                                          .expected_sha256 = json_get_string(file, "sha256"),
                                          .expected_bytes = json_get_int(file, "size_bytes", -1),
                                          .max_bytes = config->images.max_file_bytes,
                                          .is_kernel = part == 0,
                                          .progress = &import->bytes_now,
                                          .cancel = &import->called_off};
    if (request.path == NULL) {
        return error_set(err, ERR_INVALID_MANIFEST, "%s has no path", parts[part]);
    }
    if (store_add(import->worker->store_root, &request, &result, err) != 0) {
        return error_prefix(err, "%s", parts[part]);
    }
    (void)pthread_mutex_lock(&import->lock);
    import->bytes_before += atomic_exchange(&import->bytes_now, 0);
    (void)json_object_set_new(import->observed, parts[part],
                              json_pack("{s:s, s:s, s:I}", "sha256", result.sha256, "source_sha256",
                                        result.source_sha256, "size_bytes", (json_int_t)result.size_bytes));
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
    for (size_t i = 0; i < PART_COUNT; i++) {
        total += (uint64_t)json_get_int(json_object_get(manifest, parts[i]), "size_bytes", 0);
    }
    return total;
}

static int import_parts(struct import *import, struct error *err)
{
    for (size_t i = 0; i < PART_COUNT; i++) {
        if (fault_before("image", parts[i], err) != 0 || import_part(import, i, err) != 0) {
            return -1;
        }
        fault_after("image", parts[i]);
    }
    return 0;
}

/* The new state and its event in one transaction: a daemon that dies between them would never tell of it. */
static int save_end(struct import *import, const char *event, struct error *err)
{
    struct db *db = import->worker->db;
    if (describe(import, err) != 0 || db_begin(db, err) != 0) {
        return -1;
    }
    if (images_set_observed(db, import->row, err) != 0 || events_add(db, event, "image", import->row->id, "{}", err) != 0) {
        db_rollback(db);
        return -1;
    }
    return db_commit(db, err);
}

static int finish(struct import *import, int result, const struct error *failure, struct error *err)
{
    const char *event = result == 0 ? "image.ready" : "image.failed";
    import->row->state = result == 0 ? IMAGE_READY : IMAGE_FAILED;
    if (result != 0) {
        (void)json_object_set_new(import->observed, "error",
                                  json_pack("{s:s, s:s}", "code", error_code_name(failure->code), "message",
                                            failure->message));
        log_event(LOG_WARN, event, "image", import->row->id, "code", error_code_name(failure->code), "message",
                  failure->message, NULL);
    }
    return save_end(import, event, err);
}

static int run_import(struct worker *worker, struct image_row *row, struct error *err)
{
    struct import import = {.worker = worker, .row = row, .observed = json_object()};
    struct error failure = {0};
    pthread_t reporter;
    if (json_parse(row->manifest, strlen(row->manifest), &import.manifest, err) != 0) {
        json_decref(import.observed);
        return -1;
    }
    (void)pthread_mutex_init(&import.lock, NULL);
    (void)pthread_cond_init(&import.over, NULL);
    import.bytes_total = size_of_parts(import.manifest);
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
    json_decref(import.observed);
    return result;
}

static int run_delete(struct worker *worker, struct image_row *row, struct error *err)
{
    for (size_t i = 0; i < PART_COUNT; i++) {
        const char *digest = *digest_of(row, i);
        bool needed = false;
        if (digest == NULL) {
            continue;
        }
        if (images_need_file(worker->db, digest, row->id, &needed, err) != 0 ||
            fault_before("image", "remove", err) != 0 ||
            (!needed && store_remove(worker->store_root, digest, err) != 0)) {
            return -1;
        }
        fault_after("image", "remove");
    }
    return images_remove(worker->db, row->id, err);
}

int image_reconcile(struct worker *worker, const char *id, struct error *err)
{
    AUTO_IMAGE_ROW row = {0};
    bool found = false;
    int result = 0;
    char key[QUEUE_KEY_MAX];
    if (images_get(worker->db, id, &row, &found, err) != 0) {
        return -1;
    }
    if (!found) {
        return 0;
    }
    if (row.state == IMAGE_IMPORTING) {
        result = run_import(worker, &row, err);
    } else if (row.state == IMAGE_DELETING) {
        result = run_delete(worker, &row, err);
    }
    (void)snprintf(key, sizeof key, "image/%.80s", id);
    worker_notify(worker, key);
    return result;
}

int image_sweep(struct worker *worker, struct error *err)
{
    AUTO_FREE char(*digests)[SHA256_HEX_MAX] = NULL;
    size_t count = 0;
    if (store_open(worker->store_root, err) != 0 ||
        store_list(worker->store_root, &digests, &count, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        bool needed = false;
        if (images_need_file(worker->db, digests[i], NULL, &needed, err) != 0 ||
            (!needed && store_remove(worker->store_root, digests[i], err) != 0)) {
            return -1;
        }
    }
    return 0;
}
