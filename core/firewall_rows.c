#include "core/firewall_rows.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/names.h"
#include "core/policy.h"

static const struct record_field row_fields[] = {
    {RECORD_FIELD(firewall_row, name), .type = RECORD_TEXT, .min = 1, .max = ADDRESS_SET_NAME_MAX - 1, .valid = address_set_name_valid, .optional = true},
    {RECORD_FIELD(firewall_row, vm_uid), .type = RECORD_INT, .max = LIMIT_VM_UID},
    {RECORD_FIELD(firewall_row, text), .type = RECORD_TEXT, .max = LIMIT_FIREWALL_TEXT_BYTES, .optional = true},
    {RECORD_FIELD(firewall_row, generation), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(firewall_row, confirm_until_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(firewall_row, updated_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(firewall_row, applied_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
};
const struct record_table firewall_row_record = {"firewall", sizeof(struct firewall_row), row_fields, ARRAY_LEN(row_fields)};

static const struct record_field rows_fields[] = {
    {RECORD_FIELD(firewall_rows, policies), .type = RECORD_LIST, .size = sizeof(struct firewall_row),
     .count_offset = offsetof(struct firewall_rows, policy_count), .max = LIMIT_VMS + 1, .of = &firewall_row_record, .spare = true},
    {RECORD_FIELD(firewall_rows, sets), .type = RECORD_LIST, .size = sizeof(struct firewall_row), .count_offset = offsetof(struct firewall_rows, set_count),
     .max = ADDRESS_SETS_MAX, .of = &firewall_row_record, .spare = true},
    {RECORD_FIELD(firewall_rows, generation), .type = RECORD_INT, .max = INT64_MAX / 2},
};
const struct record_table firewall_rows_record = {"firewall", sizeof(struct firewall_rows), rows_fields, ARRAY_LEN(rows_fields)};

static const struct record_field observed_fields[] = {
    {RECORD_FIELD(firewall_observed, wanted), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(firewall_observed, generation), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(firewall_observed, error), .type = RECORD_NAME, .size = FIREWALL_ERROR_MAX, .max = FIREWALL_ERROR_MAX - 1},
    {RECORD_FIELD(firewall_observed, error_code), .type = RECORD_NAME, .size = FIREWALL_CODE_MAX, .max = FIREWALL_CODE_MAX - 1, .valid = name_is_text},
    {RECORD_FIELD(firewall_observed, attempted), .type = RECORD_INT, .max = INT64_MAX / 2},
    {RECORD_FIELD(firewall_observed, since_ms), .type = RECORD_INT, .max = INT64_MAX / 2},
};
const struct record_table firewall_observed_record = {"firewall_observed", sizeof(struct firewall_observed), observed_fields, ARRAY_LEN(observed_fields)};

void firewall_row_free(struct firewall_row *row)
{
    record_free(&firewall_row_record, row);
}

void firewall_rows_free(struct firewall_rows *rows)
{
    record_free(&firewall_rows_record, rows);
}
