/* POST /images: a manifest inline, or one that the worker reads from the host first, since this process
 * can't. */
#include "api/handlers.h"
#include "api/image/images.h"
#include "api/image/manifest.h"
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
    if (manifest_check(call->api->setup.spec, call->api->config, manifest, NULL, &checked, &found, NULL) != 0) {
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
    char fault[MANIFEST_FAULT_MAX];
    if (path != NULL && manifest_path_fault(call->api->config, path, fault)) {
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
    return count < LIMIT_IMAGES ? 0 : error_set(err, ERR_TOO_MANY_REQUESTS, "there are %d images, the most there can be", LIMIT_IMAGES);
}

static int fill_row(const json_t *manifest, struct image_row *row, struct error *err)
{
    const char *id = json_get_string(manifest, "bundle_id");
    row->id = id != NULL ? strdup(id) : NULL;
    row->manifest = json_text(manifest);
    return row->id != NULL && row->manifest != NULL ? 0 : error_oom(err);
}

/* Faults of a manifest that stands on the host: the request's field is the path, so that is what they are put
 * down to. */
static int check_read_manifest(struct api *api, const json_t *manifest, const char *directory, json_t **ret, struct spec_faults *faults, struct error *err)
{
    struct manifest_faults found = {0};
    int result = manifest_check(api->setup.spec, api->config, manifest, directory, ret, &found, err);
    for (size_t i = 0; i < found.faults.count; i++) {
        const struct spec_fault *fault = &found.faults.items[i];
        spec_faults_add(faults, "body", "/manifest_path", "%s %s", fault->pointer[0] != '\0' ? fault->pointer : "the manifest", fault->message);
    }
    faults->more = faults->more || found.faults.more;
    spec_faults_free(&found.faults);
    if (result == 0 && *ret == NULL) {
        result = faults->count > 0 ? error_set(err, found.only_paths ? ERR_PATH_NOT_ALLOWED : ERR_INVALID_MANIFEST,
                                               "the manifest on the host is not valid: %.200s", faults->items[0].message)
                                   : error_oom(err);
    }
    return result;
}

struct image_write {
    struct image_row row;
};

static void free_state(void *state)
{
    struct image_write *image = state;
    image_row_free(&image->row);
}

static const char *manifest_path(const struct write *write)
{
    return json_get_string(write->call->body, "manifest_path");
}

static int prepare(struct write *write, struct error *err)
{
    struct image_write *image = write->state;
    return manifest_path(write) != NULL ? 0 : fill_row(json_object_get(write->call->body, "manifest"), &image->row, err);
}

/* A manifest on the host the worker reads, since this process can't. */
static int ask(struct write *write, struct write_question *ret, struct error *err)
{
    const char *path = manifest_path(write);
    if (path == NULL) {
        return 0;
    }
    *ret = (struct write_question){.name = "read_manifest", .member = "path", .value = strdup(path)};
    return ret->value != NULL ? 0 : error_oom(err);
}

/* {"manifest": …} */
static int answered(struct write *write, const json_t *answer, struct error *err)
{
    struct image_write *image = write->state;
    struct call *call = write->call;
    AUTO_JSON *manifest = NULL;
    const char *path = manifest_path(write);
    if (!json_is_object(json_object_get(answer, "manifest"))) {
        return error_set(err, ERR_INVALID_MANIFEST, "the manifest on the host is not a JSON object");
    }
    char directory[LIMIT_PATH_BYTES + 1];
    (void)snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(path, '/') - path), path); /* it is absolute */
    return check_read_manifest(call->api, json_object_get(answer, "manifest"), directory, &manifest, &call->faults, err) != 0
               ? -1
               : fill_row(manifest, &image->row, err);
}

static int find(struct write *write, struct error *err)
{
    const struct image_write *image = write->state;
    AUTO_IMAGE_ROW existing = {0};
    bool found = false;
    if (images_get(write->call->api->db, image->row.id, &existing, &found, err) != 0) {
        return -1;
    }
    if (found) {
        (void)etag_image(&existing, write->version);
    }
    return 0;
}

static int change(struct write *write, struct error *err)
{
    return check_count(write->call->api, err);
}

static int store(struct write *write, struct error *err)
{
    struct image_write *image = write->state;
    return images_insert(write->call->api->db, &image->row, err);
}

static int add_event(struct write *write, struct error *err)
{
    const struct image_write *image = write->state;
    return events_add(write->call->api->db, EVENT_IMAGE_CREATED, "image", image->row.id, "{}", err);
}

static int look(struct write *write, struct error *err)
{
    const struct image_write *image = write->state;
    write_set_id(write, image->row.id);
    write->identity = image->row.created_ms;
    return image_look_at(&image->row, &write->look, err);
}

int images_handle_create(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.subject = &image_subject,
                                             .kind = WRITE_CREATE,
                                             .state_size = sizeof(struct image_write),
                                             .free_state = free_state,
                                             .prepare = prepare,
                                             .ask = ask,
                                             .answered = answered,
                                             .find = find,
                                             .change = change,
                                             .store = store,
                                             .event = add_event,
                                             .look = look,
                                             .wish = image_write_wish,
                                             .committed = image_write_committed};
    return write_run(call, &steps, reply, err);
}
