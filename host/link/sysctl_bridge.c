/* The kernel's parameters of a bridge that guests are behind. */
#include "core/cleanup.h"
#include "host/link/sysctl.h"

#include <errno.h>
#include <stdio.h>

static const struct {
    const char *family, *directory, *item;
    int value;
} items[] = {
    {"ipv4", "conf", "proxy_arp_pvlan", 1}, {"ipv4", "neigh", "proxy_delay", 0}, /* else such an answer waits for up to 0.8 s */
    {"ipv4", "conf", "send_redirects", 0},  {"ipv4", "conf", "accept_redirects", 0}, {"ipv4", "conf", "accept_source_route", 0},
    {"ipv4", "conf", "rp_filter", 1},       {"ipv4", "conf", "src_valid_mark", 1}, /* the reverse path of a packet is looked for with its mark: see host/gate/gate.h */
    {"ipv6", "conf", "accept_ra", 0},       {"ipv6", "conf", "accept_redirects", 0},
};

/* A kernel without IPv6 has no such parameter, and needs none. */
static bool is_missing(size_t i, const struct error *err)
{
    return items[i].family[3] == '6' && err->sys_errno == ENOENT;
}

static int fail(const struct error *why, struct error *err)
{
    if (err != NULL) {
        *err = *why;
    }
    return -1;
}

int sysctl_bridge_check(const char *bridge, char ret_found[SYSCTL_FOUND_MAX], struct error *err)
{
    ret_found[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        struct error why = {.sys_errno = 0};
        int value = items[i].value;
        if (sysctl_number_get(items[i].family, items[i].directory, bridge, items[i].item, &value, &why) != 0 && !is_missing(i, &why)) {
            return fail(&why, err);
        }
        if (value != items[i].value) {
            (void)snprintf(ret_found, SYSCTL_FOUND_MAX, "net.%s.%s.%.15s.%s is %d, not %d", items[i].family, items[i].directory, bridge, items[i].item, value,
                           items[i].value);
            return 0;
        }
    }
    return 0;
}

int sysctl_bridge_apply(const char *bridge, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        struct error why = {.sys_errno = 0};
        if (sysctl_number_set(items[i].family, items[i].directory, bridge, items[i].item, items[i].value, &why) != 0 && !is_missing(i, &why)) {
            return fail(&why, err);
        }
    }
    return 0;
}
