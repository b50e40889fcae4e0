/* Images: get, list, delete. */
#include "api/image/images.h"

#include "api/handlers.h"
#include "api/image/json.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/json.h"

#include <string.h>

static bool is_settled(const struct image_row *row)
{
    return row->state == IMAGE_READY || row->state == IMAGE_FAILED;
}

int image_look_at(const struct image_row *row, struct look *ret, struct error *err)
{
    ret->settled = is_settled(row);
    if (row->state == IMAGE_FAILED) {
        AUTO_JSON *observed = NULL;
        if (row->observed != NULL && json_parse(row->observed, strlen(row->observed), &observed, err) != 0) {
            return -1;
        }
        look_fail(ret, json_object_get(observed, "error"), ERR_INTERNAL, "the import has failed");
    }
    (void)etag_image(row, ret->etag);
    return image_json(row, &ret->body, err);
}

/* An image is told from an earlier one of its id by the time of its creation. */
static int look_image(struct api *api, const char *id, int64_t identity, const struct wait_goal *goal, bool whole, struct look *ret, struct error *err)
{
    (void)goal;
    AUTO_IMAGE_ROW row = {0};
    bool found = false;
    if (images_get(api->db, id, &row, &found, err) != 0) {
        return -1;
    }
    ret->gone = !found || row.created_ms != identity;
    return !ret->gone && (whole || is_settled(&row)) ? image_look_at(&row, ret, err) : 0;
}

const struct wait_subject image_subject = {.kind = "image", .path = "/images/", .look = look_image};

static int find(struct api *api, const char *id, struct image_row *ret, struct error *err)
{
    bool found = false;
    if (images_get(api->db, id, ret, &found, err) != 0) {
        return -1;
    }
    return found ? 0 : error_set(err, ERR_NOT_FOUND, "there is no image '%s'", id);
}

int images_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    AUTO_IMAGE_ROW row = {0};
    AUTO_LOOK look = {0};
    if (find(call->api, call->id, &row, err) != 0 || image_look_at(&row, &look, err) != 0) {
        return -1;
    }
    return look_reply(&look, 200, reply, err);
}

int image_write_wish(struct write *write, struct plan_wish *ret, struct error *err)
{
    ret->images = calloc(1, sizeof *ret->images);
    if (ret->images == NULL) {
        return error_oom(err);
    }
    ret->image_count = 1;
    return find(write->call->api, write->id, ret->images, err);
}

void image_write_committed(struct write *write)
{
    call_wake(write->call->api, "image", write->id);
}

static void free_state(void *state)
{
    image_row_free(state);
}

static int find_row(struct write *write, struct error *err)
{
    struct image_row *row = write->state;
    if (find(write->call->api, write->call->id, row, err) != 0) {
        return -1;
    }
    (void)etag_image(row, write->version);
    return 0;
}

static int mark_deleting(struct write *write, struct error *err)
{
    struct image_row *row = write->state;
    return row->state == IMAGE_DELETING ? 0 : images_mark_deleting(write->call->api->db, row, err);
}

static int look_at_row(struct write *write, struct error *err)
{
    const struct image_row *row = write->state;
    write_set_id(write, row->id);
    write->identity = row->created_ms;
    return image_look_at(row, &write->look, err);
}

int images_handle_delete(struct call *call, struct api_reply *reply, struct error *err)
{
    static const struct write_steps steps = {.subject = &image_subject,
                                             .kind = WRITE_DELETE,
                                             .state_size = sizeof(struct image_row),
                                             .free_state = free_state,
                                             .find = find_row,
                                             .store = mark_deleting,
                                             .look = look_at_row,
                                             .wish = image_write_wish,
                                             .committed = image_write_committed};
    return write_run(call, &steps, reply, err);
}

static int add_items(const struct image_row *rows, size_t count, struct strbuf *b, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        strbuf_add(b, i > 0 ? "," : "");
        if (image_json(&rows[i], b, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int images_handle_list(struct call *call, struct api_reply *reply, struct error *err)
{
    const char *cursor = json_get_string(call->parameters, "cursor");
    size_t limit = (size_t)json_get_int(call->parameters, "limit", 100);
    struct image_row *rows = NULL;
    size_t count = 0;
    AUTO_STRBUF b = STRBUF_INIT;
    if (images_list(call->api->db, cursor != NULL ? cursor : "", limit + 1, &rows, &count, err) != 0) {
        return -1;
    }
    size_t shown = count > limit ? limit : count;
    strbuf_add(&b, "{\"items\":[");
    int result = add_items(rows, shown, &b, err);
    strbuf_add(&b, "],\"next_cursor\":");
    json_out_string(&b, count > limit ? rows[shown - 1].id : NULL);
    strbuf_add_char(&b, '}');
    images_list_free(rows, count);
    return result == 0 ? reply_json(reply, 200, &b, err) : -1;
}
