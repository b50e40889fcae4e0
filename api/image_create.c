/* POST /images: a manifest inline, or one that the worker reads from the host first, since this process
 * can't. */
#include "api/ask.h"
#include "api/handlers.h"
#include "api/idempotency.h"
#include "api/images.h"
#include "api/manifest.h"
#include "api/problem.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/events.h"

#include <stdio.h>
#include <string.h>

static void set_fault_code(struct call *call, enum error_code code)
{
    call->has_fault_code = true;
    call->fault_code = code;
}

static void check_inline(struct call *call, const json_t *manifest)
{
    struct manifest_faults found = {0};
    json_t *checked = NULL;
    bool was_clean = call->faults.count == 0;
    if (manifest_check(call->api->setup.spec, call->api->config, manifest, &checked, &found, NULL) != 0) {
        call->faults.more = true; /* out of memory: the request must not pass */
    }
    for (size_t i = 0; i < found.faults.count; i++) {
        char pointer[SPEC_POINTER_MAX + 16];
        (void)snprintf(pointer, sizeof pointer, "/manifest%s", found.faults.items[i].pointer);
        spec_faults_add(&call->faults, "body", pointer, "%s", found.faults.items[i].message);
    }
    call->faults.more = call->faults.more || found.faults.more;
    if (was_clean && found.only_paths) {
        set_fault_code(call, ERR_PATH_NOT_ALLOWED);
    }
    if (checked != NULL && json_object_set_new(call->body, "manifest", checked) != 0) {
        call->faults.more = true;
    }
    spec_faults_free(&found.faults);
}

void images_check_create(struct call *call)
{
    const json_t *manifest = json_object_get(call->body, "manifest");
    const char *path = json_get_string(call->body, "manifest_path");
    if (json_is_object(manifest)) {
        check_inline(call, manifest);
    }
    const char *fault = path != NULL ? manifest_path_fault(call->api->config, path) : NULL;
    if (fault != NULL) {
        if (call->faults.count == 0) {
            set_fault_code(call, ERR_PATH_NOT_ALLOWED);
        }
        spec_faults_add(&call->faults, "body", "/manifest_path", "%s", fault);
    }
}

static int check_count(struct api *api, struct error *err)
{
    int64_t count = 0;
    if (images_count(api->db, &count, err) != 0) {
        return -1;
    }
    return count < LIMIT_IMAGES ? 0
                                : error_set(err, ERR_TOO_MANY_REQUESTS,
                                            "there are %d images, the most there can be", LIMIT_IMAGES);
}

static int fill_row(const json_t *manifest, struct image_row *row, struct error *err)
{
    const char *id = json_get_string(manifest, "bundle_id");
    row->id = id != NULL ? strdup(id) : NULL;
    row->manifest = json_text(manifest);
    return row->id != NULL && row->manifest != NULL ? 0 : error_oom(err);
}

static int create_row(struct api *api, const struct origin *origin, struct image_row *row,
                      struct api_reply *reply, struct error *err)
{
    AUTO_LOOK look = {0};
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (check_count(api, err) != 0 || images_insert(api->db, row, err) != 0 ||
        events_add(api->db, "image.created", "image", row->id, "{}", err) != 0 ||
        image_look_at(row, &look, err) != 0) {
        return -1;
    }
    struct written written = {.subject = &image_subject,
                              .kind = WRITE_CREATE,
                              .id = row->id,
                              .identity = row->created_ms,
                              .look = &look};
    if (written_store(api, origin, &written, err) != 0 || db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    call_wake(api, "image", row->id);
    return written_reply(origin, &written, reply, err);
}

/* `manifest` is checked and complete. */
static int create(struct api *api, const struct origin *origin, const json_t *manifest,
                  struct api_reply *reply, struct error *err)
{
    struct image_row row = {0};
    int result = fill_row(manifest, &row, err) == 0 ? create_row(api, origin, &row, reply, err) : -1;
    image_row_free(&row);
    return result;
}

/* Faults of a manifest that stands on the host: the request's field is the path, so that is what they are put
 * down to. */
static int check_read_manifest(struct api *api, const json_t *manifest, json_t **ret,
                               struct spec_faults *faults, struct error *err)
{
    struct manifest_faults found = {0};
    int result = manifest_check(api->setup.spec, api->config, manifest, ret, &found, err);
    for (size_t i = 0; i < found.faults.count; i++) {
        const struct spec_fault *fault = &found.faults.items[i];
        spec_faults_add(faults, "body", "/manifest_path", "%s %s",
                        fault->pointer[0] != '\0' ? fault->pointer : "the manifest", fault->message);
    }
    faults->more = faults->more || found.faults.more;
    spec_faults_free(&found.faults);
    if (result == 0 && *ret == NULL) {
        result = faults->count > 0
                     ? error_set(err, found.only_paths ? ERR_PATH_NOT_ALLOWED : ERR_INVALID_MANIFEST,
                                 "the manifest on the host is not valid: %s", faults->items[0].message)
                     : error_oom(err);
    }
    return result;
}

/* {"manifest": …}. The same key may have been used while the question was under way. */
static int create_from_answer(struct api *api, const struct origin *origin, const json_t *message,
                              struct api_reply *reply, struct spec_faults *faults, struct error *err)
{
    AUTO_JSON *manifest = NULL;
    bool replayed = false;
    const json_t *answer = ask_answer(message, err);
    if (answer == NULL || idempotency_replay(api, origin, reply, &replayed, err) != 0) {
        return -1;
    }
    if (replayed) {
        return 0;
    }
    if (!json_is_object(json_object_get(answer, "manifest"))) {
        return error_set(err, ERR_INVALID_MANIFEST, "the manifest on the host is not a JSON object");
    }
    if (check_read_manifest(api, json_object_get(answer, "manifest"), &manifest, faults, err) != 0) {
        return -1;
    }
    return create(api, origin, manifest, reply, err);
}

static void answer_manifest(struct api *api, struct api_reply *reply, const json_t *message, int handed_over)
{
    AUTO_CLOSE int fd = handed_over; /* none is expected */
    AUTO_FREE struct origin *origin = ask_take_state(reply);
    struct spec_faults faults = {0};
    struct error error;
    if (create_from_answer(api, origin, message, reply, &faults, &error) != 0) {
        problem_reply(reply, origin->request_id, &error, &faults);
    }
    spec_faults_free(&faults);
}

int images_handle_create(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct api_reply_ops ops = {.answer = answer_manifest, .free_state = free};
    const char *path = json_get_string(call->body, "manifest_path");
    if (path == NULL) {
        return create(call->api, &call->origin, json_object_get(call->body, "manifest"), reply, err);
    }
    AUTO_FREE struct origin *origin = malloc(sizeof *origin);
    if (origin == NULL) {
        return error_oom(err);
    }
    *origin = call->origin;
    if (ask_begin(reply, "read_manifest", "path", path, origin, &ops, err) != 0) {
        return -1;
    }
    (void)TAKE_PTR(origin);
    return 0;
}
