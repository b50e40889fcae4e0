#include "api/vm/network.h"

#include "api/digest.h"
#include "core/strbuf.h"
#include "db/allocate.h"
#include "db/interfaces.h"

#include <stdio.h>
#include <string.h>

static bool used_in_row(const struct vm_row *row, size_t count, const struct mac *mac)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&row->interfaces[i].mac, mac, sizeof *mac) == 0) {
            return true;
        }
    }
    return false;
}

/* `attempt` 0 is the MAC that an interface has unless another VM has it already. */
static int derive_mac(const struct api *api, const struct vm_row *row, size_t index, unsigned attempt, struct mac *ret, struct error *err)
{
    char mark[CONFIG_MARK_MAX];
    uint8_t digest[DIGEST_BYTES];
    AUTO_STRBUF text = STRBUF_INIT;
    config_mark(api->config, mark);
    strbuf_addf(&text, "%s/%s/%s", mark, row->id, row->interfaces[index].iface_id);
    if (attempt > 0) {
        strbuf_addf(&text, "/%u", attempt);
    }
    if (text.failed) {
        return error_oom(err);
    }
    if (digest_bytes(text.data, text.len, digest, err) != 0) {
        return -1;
    }
    ret->bytes[0] = 0x02; /* locally administered, unicast */
    memcpy(ret->bytes + 1, digest, sizeof ret->bytes - 1);
    return 0;
}

static int pick_mac(struct api *api, struct vm_row *row, size_t index, struct error *err)
{
    enum { ATTEMPTS = 64 }; /* of which each fails with a chance of 1 in 10^7 at most */
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct mac mac;
        bool taken = true;
        if (derive_mac(api, row, index, attempt, &mac, err) != 0 || interfaces_mac_taken(api->db, mac, &taken, err) != 0) {
            return -1;
        }
        if (!taken && !used_in_row(row, index, &mac)) {
            row->interfaces[index].mac = mac;
            return 0;
        }
    }
    return error_set(err, ERR_INTERNAL, "no free MAC was found");
}

int vm_network_allocate(struct api *api, struct vm_row *row, struct error *err)
{
    struct network_settings settings = api_network(api);
    for (size_t i = 0; i < row->interface_count; i++) {
        struct vm_interface *interface = &row->interfaces[i];
        if (allocate_address(api->db, &settings, row, i, &interface->address, err) != 0 || pick_mac(api, row, i, err) != 0 ||
            allocate_tap(api->db, &settings, row, i, err) != 0) {
            return -1;
        }
    }
    return 0;
}
