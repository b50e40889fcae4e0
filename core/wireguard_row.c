#include "core/wireguard_row.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/limits.h"
#include "core/names.h"

#include <string.h>

static const struct record_field fields[] = {
    {RECORD_FIELD(wireguard_row, generation), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(wireguard_row, wanted), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(wireguard_row, document), .type = RECORD_TEXT, .min = 2, .max = LIMIT_BODY_BYTES, .optional = true},
    {RECORD_FIELD(wireguard_row, public_key), .type = RECORD_TEXT, .min = 44, .max = 44, .valid = name_is_text, .optional = true},
    {RECORD_FIELD(wireguard_row, warnings), .type = RECORD_UINT32, .max = UINT32_MAX},
    {RECORD_FIELD(wireguard_row, sealed), .type = RECORD_BLOB, .count_offset = offsetof(struct wireguard_row, sealed_bytes), .min = 1,
     .max = (int64_t)2 * LIMIT_BODY_BYTES, .optional = true},
    {RECORD_FIELD(wireguard_row, updated_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
};
const struct record_table wireguard_row_record = {"wireguard", sizeof(struct wireguard_row), fields, ARRAY_LEN(fields)};

void wireguard_row_free(struct wireguard_row *row)
{
    record_free(&wireguard_row_record, row);
}

int wireguard_row_document(const struct wireguard_row *row, json_t **ret, struct error *err)
{
    if (row->document == NULL) {
        return error_set(err, ERR_ROW_DAMAGED, "the WireGuard egress that is wanted has no document");
    }
    return json_parse(row->document, strlen(row->document), ret, err);
}
