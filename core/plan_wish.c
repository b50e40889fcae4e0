#include "core/plan_wish.h"

#include "core/cleanup.h"
#include "core/network_rows.h"

#define AT_MOST_ONE(list, counter, type_of_item, table) \
    { \
        RECORD_FIELD(plan_wish, list), .type = RECORD_LIST, .size = sizeof(type_of_item), .count_offset = offsetof(struct plan_wish, counter), .max = 1, \
                                       .of = &(table) \
    }

static const struct record_field fields[] = {
    AT_MOST_ONE(vms, vm_count, struct vm_row, vm_row_record),
    AT_MOST_ONE(images, image_count, struct image_row, image_row_record),
    AT_MOST_ONE(policies, policy_count, struct firewall_row, firewall_row_record),
    AT_MOST_ONE(sets, set_count, struct firewall_row, firewall_row_record),
    AT_MOST_ONE(overrides, override_count, struct network_overrides, network_overrides_record),
    AT_MOST_ONE(tunnels, tunnel_count, struct wireguard_row, wireguard_row_record),
    {RECORD_FIELD(plan_wish, firewall), .type = RECORD_BOOL, .max = 1},
    {RECORD_FIELD(plan_wish, repair), .type = RECORD_BOOL, .max = 1},
};
const struct record_table plan_wish_record = {"plan_wish", sizeof(struct plan_wish), fields, ARRAY_LEN(fields)};

int plan_wish_read(const uint8_t *data, size_t len, struct plan_wish *ret, struct error *err)
{
    if (record_read(&plan_wish_record, data, len, ret, NULL, NULL, err) != 0) {
        return -1;
    }
    if (ret->vm_count > 0 && vm_row_read_config(&ret->vms[0], err) != 0) {
        plan_wish_free(ret);
        return -1;
    }
    return 0;
}

void plan_wish_free(struct plan_wish *wish)
{
    for (size_t i = 0; i < wish->vm_count; i++) {
        vm_config_free(&wish->vms[i].config); /* no field of the record */
    }
    record_free(&plan_wish_record, wish);
}
