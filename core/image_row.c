#include "core/image_row.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/names.h"

#include <string.h>

static const char *const state_names[IMAGE_STATE_COUNT_] = {
    [IMAGE_IMPORTING] = "importing", [IMAGE_READY] = "ready", [IMAGE_FAILED] = "failed", [IMAGE_DELETING] = "deleting"};

const char *image_state_name(enum image_state state)
{
    return state_names[state];
}

bool image_state_parse(const char *name, enum image_state *ret)
{
    for (size_t i = 0; name != NULL && i < IMAGE_STATE_COUNT_; i++) {
        if (strcmp(state_names[i], name) == 0) {
            *ret = (enum image_state)i;
            return true;
        }
    }
    return false;
}

enum { JSON_MAX = 256 * 1024 };

static const struct record_field fields[] = {
    {RECORD_FIELD(image_row, id), .type = RECORD_TEXT, .min = 1, .max = 128, .valid = name_is_image_id},
    {RECORD_FIELD(image_row, manifest), .type = RECORD_TEXT, .min = 2, .max = LIMIT_MANIFEST_BYTES},
    {RECORD_FIELD(image_row, state), .type = RECORD_ENUM, .max = IMAGE_STATE_COUNT_ - 1},
    {RECORD_FIELD(image_row, observed), .type = RECORD_TEXT, .min = 2, .max = JSON_MAX},
    {RECORD_FIELD(image_row, kernel_sha256), .type = RECORD_TEXT, .min = 64, .max = 64, .valid = name_is_sha256, .optional = true},
    {RECORD_FIELD(image_row, rootfs_sha256), .type = RECORD_TEXT, .min = 64, .max = 64, .valid = name_is_sha256, .optional = true},
    {RECORD_FIELD(image_row, initrd_sha256), .type = RECORD_TEXT, .min = 64, .max = 64, .valid = name_is_sha256, .optional = true},
    {RECORD_FIELD(image_row, request), .type = RECORD_NAME, .size = REQUEST_TEXT_MAX, .max = REQUEST_TEXT_MAX - 1, .valid = name_is_text},
    {RECORD_FIELD(image_row, revision), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(image_row, created_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(image_row, updated_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
};
const struct record_table image_row_record = {"image", sizeof(struct image_row), fields, ARRAY_LEN(fields)};

void image_row_free(struct image_row *row)
{
    record_free(&image_row_record, row);
}
