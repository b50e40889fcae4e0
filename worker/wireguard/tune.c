/*
 * The kernel's parameters of the tunnel: it forwards, and what comes in by it need not be routed back by it in the host's own tables (rp_filter 2,
 * RFC 3704's loose mode), as just guests are led there. An interface that others own gets back what it had.
 */
#include "host/link/bridge_ipv6.h"
#include "host/link/sysctl.h"
#include "worker/wireguard/work.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { RP_FILTER_LOOSE = 2 };

static void note(struct wireguard_work *work, const char *what)
{
    if (work->observed.tuning_found[0] == '\0') {
        (void)snprintf(work->observed.tuning_found, sizeof work->observed.tuning_found, "%s of %s", what, work->config.interface_name);
    }
}

void wireguard_tuning_observe(struct wireguard_work *work)
{
    const char *name = work->config.interface_name;
    const char *tuned = work->record.tuned;
    bool forwards = false;
    int rp_filter = -1;
    if (tuned[0] != '\0' && (!work->row.wanted || strcmp(tuned, name) != 0)) {
        (void)snprintf(work->observed.old_tuning_found, sizeof work->observed.old_tuning_found, "%s is the tunnel no more", tuned);
    }
    if (!work->row.wanted || work->observed.waits) {
        return;
    }
    if (sysctl_forwarding_get(name, &forwards, NULL) != 0 || !forwards) {
        note(work, "forwarding is off");
    }
    if (sysctl_number_get("ipv4", "conf", name, "rp_filter", &rp_filter, NULL) != 0 || rp_filter != RP_FILTER_LOOSE) {
        note(work, "rp_filter is not 2 (loose)");
    }
    if (network_has_ipv6(&work->settings) && (ipv6_forwarding_get(name, &forwards, NULL) != 0 || !forwards)) {
        note(work, "IPv6 forwarding is off");
    }
}

/* On record first: a crash in between gives back what was there. */
static int record(struct wireguard_work *work, struct error *err)
{
    const char *name = work->config.interface_name;
    struct wireguard_record *record = &work->record;
    if (strcmp(record->tuned, name) == 0) {
        return 0;
    }
    if (sysctl_forwarding_get(name, &record->forwarding, err) != 0 || sysctl_number_get("ipv4", "conf", name, "rp_filter", &record->rp_filter, err) != 0) {
        return -1;
    }
    record->forwarding6 = false;
    (void)ipv6_forwarding_get(name, &record->forwarding6, NULL);
    (void)snprintf(record->tuned, sizeof record->tuned, "%s", name);
    return wireguard_record_tuned(work, err);
}

int wireguard_tune(struct wireguard_work *work, struct error *err)
{
    const char *name = work->config.interface_name;
    if (record(work, err) != 0 || sysctl_forwarding_set(name, true, err) != 0 ||
        sysctl_number_set("ipv4", "conf", name, "rp_filter", RP_FILTER_LOOSE, err) != 0) {
        return -1;
    }
    return network_has_ipv6(&work->settings) ? ipv6_forwarding_set(name, true, err) : 0;
}

int wireguard_give_back(const struct wireguard_record *record, struct error *err)
{
    if (!record->forwarding && sysctl_forwarding_set(record->tuned, false, err) != 0) {
        return -1;
    }
    if (sysctl_number_set("ipv4", "conf", record->tuned, "rp_filter", record->rp_filter, err) != 0) {
        return -1;
    }
    return record->forwarding6 ? 0 : ipv6_forwarding_set(record->tuned, false, err);
}

int wireguard_untune(struct wireguard_work *work, struct error *err)
{
    struct error why = {.sys_errno = 0};
    if (wireguard_give_back(&work->record, &why) != 0 && why.sys_errno != ENOENT) {
        *err = why;
        return -1;
    }
    work->record.tuned[0] = '\0';
    return wireguard_record_tuned(work, err);
}
