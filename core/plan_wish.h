/*
 * What a write would make wanted, as the API process hands it over for a plan (worker/plan.h): the rows as they would be stored. The worker reads
 * them by the same tables of fields as stored rows, and believes them as little.
 */
#ifndef SMARTVM_CORE_PLAN_WISH_H
#define SMARTVM_CORE_PLAN_WISH_H

#include "core/firewall_rows.h"
#include "core/image_row.h"
#include "core/network_settings.h"
#include "core/vm_row.h"
#include "core/wireguard_row.h"

enum { PLAN_WISH_BYTES_MAX = LIMIT_FIREWALL_TEXT_BYTES + 4 * LIMIT_BODY_BYTES };

/* Each list has none or one, and is owned. */
struct plan_wish {
    struct vm_row *vms;
    size_t vm_count;
    struct image_row *images;
    size_t image_count;
    struct firewall_row *policies; /* by vm_uid; without a text: there would be none of its own */
    size_t policy_count;
    struct firewall_row *sets; /* by name; without a text: it would be gone */
    size_t set_count;
    struct network_overrides *overrides;
    size_t override_count;
    struct wireguard_row *tunnels;
    size_t tunnel_count;
    bool firewall; /* it would be looked at, also where none of its rows differs */
    bool repair;   /* everything would be looked at, and repaired */
};
/* Of bytes that are not believed: as stored rows are read, the definition of a VM too. *ret is zeroed after a failure. BAD_REQUEST, ROW_DAMAGED. */
int plan_wish_read(const uint8_t *data, size_t len, struct plan_wish *ret, struct error *err);
void plan_wish_free(struct plan_wish *wish); /* harmless on zeroes */
#define AUTO_PLAN_WISH __attribute__((cleanup(plan_wish_free))) struct plan_wish

extern const struct record_table plan_wish_record;

#endif
