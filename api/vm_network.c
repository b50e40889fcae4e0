#include "api/vm_network.h"

#include "api/digest.h"
#include "core/strbuf.h"
#include "db/interfaces.h"
#include "db/leases.h"

#include <stdio.h>
#include <string.h>

void vm_network_tap(const struct network_settings *settings, uint32_t number, char *buf)
{
    char name[2 * INTERFACE_NAME_MAX];
    (void)snprintf(name, sizeof name, "%s%u", settings->tap_prefix, number);
    memcpy(buf, name, INTERFACE_NAME_MAX - 1); /* the prefix leaves room for the number */
    buf[INTERFACE_NAME_MAX - 1] = '\0';
}

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
static int derive_mac(const struct api *api, const struct vm_row *row, size_t index, unsigned attempt,
                      struct mac *ret, struct error *err)
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
        if (derive_mac(api, row, index, attempt, &mac, err) != 0 ||
            interfaces_mac_taken(api->db, mac, &taken, err) != 0) {
            return -1;
        }
        if (!taken && !used_in_row(row, index, &mac)) {
            row->interfaces[index].mac = mac;
            return 0;
        }
    }
    return error_set(err, ERR_INTERNAL, "no free MAC was found");
}

/* The highest address of the first `count` interfaces that is in [first, last]. */
static bool highest_picked(const struct vm_row *row, size_t count, uint32_t first, uint32_t last,
                           uint32_t *ret)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        uint32_t address = row->interfaces[i].address;
        if (address >= first && address <= last && (!found || address > *ret)) {
            *ret = address;
            found = true;
        }
    }
    return found;
}

/* Picking takes nothing, inserting the VM does: so one VM's addresses are picked from the gaps between those
 * it has. */
static int pick_address(struct api *api, const struct network_settings *settings, const struct vm_row *row, size_t index,
                        uint32_t *ret, struct error *err)
{
    struct error why;
    uint32_t first = 0;
    uint32_t last = 0;
    int64_t quarantine_ms = (int64_t)settings->lease_quarantine_s * 1000;
    network_guest_range(settings->subnet, &first, &last);
    uint32_t total = last - first + 1;
    for (bool below = true; below;) {
        uint32_t picked = first;
        below = highest_picked(row, index, first, last, &picked);
        uint32_t from = below ? picked + 1 : first;
        if (from <= last) {
            if (leases_pick(api->db, from, last, quarantine_ms, ret, &why) == 0) {
                return 0;
            }
            if (why.code != ERR_IP_EXHAUSTED) {
                return error_set(err, why.code, "%s", why.message);
            }
        }
        last = picked - 1;
    }
    return error_set(err, ERR_IP_EXHAUSTED, "all %u addresses for guests are in use or in quarantine", total);
}

int vm_network_allocate(struct api *api, struct vm_row *row, struct error *err)
{
    struct network_settings settings = api_network(api);
    for (size_t i = 0; i < row->interface_count; i++) {
        struct vm_interface *interface = &row->interfaces[i];
        if (pick_address(api, &settings, row, i, &interface->address, err) != 0 || pick_mac(api, row, i, err) != 0) {
            return -1;
        }
        vm_network_tap(&settings, interface->address - settings.subnet.address, interface->tap);
    }
    return 0;
}
