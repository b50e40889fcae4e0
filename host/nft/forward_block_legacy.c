/* What blocks forwarding, in the tables of the old iptables (xtables): by its getsockopt() interface, linux/netfilter_ipv4/ip_tables.h. */
#include "host/nft/forward_block.h"

#include "core/cleanup.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* The kernel's header does pointer arithmetic on void and declares things that C17 compilers warn of. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#include <linux/netfilter_ipv4/ip_tables.h>
#pragma GCC diagnostic pop

enum { ENTRIES_BYTES_MAX = 64 * 1024 * 1024 };

/* Asking for a table that is not there would load it, and so change the host. */
static bool is_loaded(void)
{
    char line[64];
    bool found = false;
    AUTO_FCLOSE FILE *names = fopen("/proc/thread-self/net/ip_tables_names", "re");
    while (names != NULL && !found && fgets(line, sizeof line, names) != NULL) {
        found = strcmp(line, "filter\n") == 0;
    }
    return found;
}

/* The rule at this offset; NULL when it does not lie within the table. */
static const struct ipt_entry *entry_at(const struct ipt_get_entries *table, unsigned offset)
{
    const struct ipt_entry *entry = (const struct ipt_entry *)(const void *)((const char *)table->entrytable + offset);
    if (offset > table->size || table->size - offset < sizeof *entry) {
        return NULL;
    }
    bool whole = entry->next_offset >= sizeof *entry && entry->next_offset <= table->size - offset && entry->target_offset >= sizeof *entry &&
                 entry->target_offset <= entry->next_offset - sizeof(struct xt_entry_target);
    return whole ? entry : NULL;
}

/* What ends a chain is a rule whose verdict is the policy. */
static bool drops(const struct ipt_get_entries *table, unsigned underflow)
{
    const struct ipt_entry *entry = entry_at(table, underflow);
    if (entry == NULL || entry->next_offset < entry->target_offset + sizeof(struct xt_standard_target)) {
        return false;
    }
    struct xt_standard_target target;
    memcpy(&target, (const char *)entry + entry->target_offset, sizeof target);
    return target.target.u.user.name[0] == '\0' && target.verdict == -NF_DROP - 1;
}

static bool names(const struct ipt_get_entries *table, const char *bridge)
{
    unsigned offset = 0;
    for (const struct ipt_entry *e = entry_at(table, 0); e != NULL; e = entry_at(table, offset)) {
        if (strncmp(e->ip.iniface, bridge, sizeof e->ip.iniface) == 0 || strncmp(e->ip.outiface, bridge, sizeof e->ip.outiface) == 0) {
            return true;
        }
        offset += e->next_offset;
    }
    return false;
}

static bool has_chain(const struct ipt_get_entries *table, const char *prefix)
{
    unsigned offset = 0;
    for (const struct ipt_entry *e = entry_at(table, 0); e != NULL; e = entry_at(table, offset)) {
        struct xt_error_target target;
        if (e->next_offset >= e->target_offset + sizeof target) {
            memcpy(&target, (const char *)e + e->target_offset, sizeof target);
            if (strcmp(target.target.u.user.name, XT_ERROR_TARGET) == 0 && strncmp(target.errorname, prefix, strlen(prefix)) == 0) {
                return true;
            }
        }
        offset += e->next_offset;
    }
    return false;
}

static void judge(const struct ipt_get_entries *table, unsigned underflow, const char *bridge, struct forward_block *ret)
{
    if (!drops(table, underflow) || names(table, bridge)) {
        return;
    }
    *ret = (struct forward_block){
        .found = true, .by_policy = true, .legacy = true, .owner = BLOCK_BY_IPTABLES, .family = "ip", .table = "filter", .chain = "FORWARD"};
    if (has_chain(table, "DOCKER-USER")) {
        ret->owner = BLOCK_BY_DOCKER;
    } else if (has_chain(table, "ufw-")) {
        ret->owner = BLOCK_BY_UFW;
    }
}

/* The table may grow between the two calls: then it is left to the next look. */
static int look_at_legacy_tables(int fd, const char *bridge, struct forward_block *ret)
{
    struct ipt_getinfo info = {.name = "filter"};
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_IP, IPT_SO_GET_INFO, &info, &len) != 0) {
        return errno;
    }
    if ((info.valid_hooks & 1U << NF_INET_FORWARD) == 0 || info.size > ENTRIES_BYTES_MAX) {
        return 0;
    }
    len = (socklen_t)(sizeof(struct ipt_get_entries) + info.size);
    AUTO_FREE struct ipt_get_entries *table = calloc(1, len);
    if (table == NULL) {
        return ENOMEM;
    }
    memcpy(table->name, info.name, sizeof table->name);
    table->size = info.size;
    if (getsockopt(fd, IPPROTO_IP, IPT_SO_GET_ENTRIES, table, &len) != 0) {
        return errno == EAGAIN || errno == EINVAL ? 0 : errno;
    }
    judge(table, info.underflow[NF_INET_FORWARD], bridge, ret);
    return 0;
}

int forward_block_legacy(const char *bridge, struct forward_block *ret, struct error *err)
{
    if (!is_loaded()) {
        return 0;
    }
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    int result = fd < 0 ? errno : look_at_legacy_tables(fd, bridge, ret);
    return result == 0 || result == ENOENT || result == ENOPROTOOPT ? 0 : error_sys(err, ERR_SYSTEM, result, "cannot look at the tables of iptables");
}
