/* Images: get, list, delete. */
#include "api/images.h"

#include "api/handlers.h"
#include "api/image_json.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/json.h"

static bool is_settled(const struct image_row *row)
{
    return row->state == IMAGE_READY || row->state == IMAGE_FAILED;
}

int image_look_at(const struct image_row *row, struct look *ret, struct error *err)
{
    ret->settled = is_settled(row);
    (void)etag_image(row, ret->etag);
    return image_json(row, &ret->body, err);
}

/* An image is told from an earlier one of its id by the time of its creation. */
static int look_image(struct api *api, const char *id, int64_t identity, bool whole, struct look *ret,
                      struct error *err)
{
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

/* Inside the transaction. */
static int mark_deleting(struct call *call, struct image_row *row, struct error *err)
{
    char etag[ETAG_MAX];
    if (find(call->api, call->id, row, err) != 0 || etag_require(call, etag_image(row, etag), err) != 0) {
        return -1;
    }
    return row->state == IMAGE_DELETING ? 0 : images_mark_deleting(call->api->db, row, err);
}

int images_handle_delete(struct call *call, struct api_reply *reply, struct error *err)
{
    struct api *api = call->api;
    AUTO_IMAGE_ROW row = {0};
    AUTO_LOOK look = {0};
    if (db_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_TRANSACTION *transaction = api->db;
    if (mark_deleting(call, &row, err) != 0 || image_look_at(&row, &look, err) != 0 ||
        db_commit(TAKE_PTR(transaction), err) != 0) {
        return -1;
    }
    struct written written = {.subject = &image_subject,
                              .kind = WRITE_DELETE,
                              .id = row.id,
                              .identity = row.created_ms,
                              .look = &look};
    call_wake(api, "image", row.id);
    return written_reply(&call->origin, &written, reply, err);
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
