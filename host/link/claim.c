#include "host/link/claim.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/ip_net.h"
#include "core/network_settings.h"
#include "host/link/claim_list.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLAIMS_MAX = 32, RETRY_MS = 20, TURN_MS = 1000 };

static const char *const words[CLAIM_KIND_COUNT_][2] = {
    [CLAIM_BRIDGE] = {"bridge", "the bridge"},        [CLAIM_SUBNET] = {"subnet", "the subnet"},
    [CLAIM_SUBNET6] = {"subnet6", "the IPv6 subnet"}, [CLAIM_ROUTE_TABLE] = {"route_table", "the routing table"},
    [CLAIM_TUNNEL] = {"tunnel", "the tunnel"},
};

struct claim {
    int fd;
    enum claim_kind kind;
    char value[CLAIM_VALUE_MAX];
};

struct claims {
    pthread_mutex_t lock;
    char bridge[INTERFACE_NAME_MAX];
    struct claim items[CLAIMS_MAX];
    size_t count;
};

static bool taps_exclude(const char *a, const char *b)
{
    char prefix_a[INTERFACE_NAME_MAX];
    char prefix_b[INTERFACE_NAME_MAX];
    network_tap_prefix(a, prefix_a);
    network_tap_prefix(b, prefix_b);
    size_t len_a = strlen(prefix_a);
    size_t len_b = strlen(prefix_b);
    return strncmp(prefix_a, prefix_b, len_a < len_b ? len_a : len_b) == 0;
}

bool claim_excludes(enum claim_kind kind, const char *a, const char *b)
{
    struct ip_net net_a;
    struct ip_net net_b;
    switch (kind) {
    case CLAIM_BRIDGE:
        return taps_exclude(a, b);
    case CLAIM_SUBNET:
    case CLAIM_SUBNET6:
        return ip_net_parse(a, ERR_INTERNAL, &net_a, NULL) == 0 && ip_net_parse(b, ERR_INTERNAL, &net_b, NULL) == 0 && ip_net_overlap(&net_a, &net_b);
    case CLAIM_ROUTE_TABLE:
    case CLAIM_TUNNEL:
        return strcmp(a, b) == 0;
    case CLAIM_KIND_COUNT_:
        break;
    }
    return false;
}

/* A socket of this abstract name. ERR_IN_USE is not told here: *ret stays -1 when somebody has it. */
static int bind_name(const char *name, int *ret, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    if (len + 1 > sizeof address.sun_path) {
        return error_set(err, ERR_SYSTEM, "the claim '%s' has too long a name", name);
    }
    memcpy(address.sun_path + 1, name, len);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "cannot make a unix socket");
    }
    if (bind(fd, (const struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) == 0) {
        *ret = TAKE_FD(fd);
        return 0;
    }
    return errno == EADDRINUSE ? 0 : error_sys(err, ERR_SYSTEM, errno, "the claim '%s' could not be made", name);
}

/*
 * One at a time looks and takes. Any user could keep this name for himself: so nobody waits for long, and without a turn two that start in the same moment
 * might miss each other, no more.
 */
static int take_turn(void)
{
    int fd = -1;
    int64_t end_ms = clock_monotonic_ms() + TURN_MS;
    while (bind_name("smartvmd claiming", &fd, NULL) == 0 && fd < 0 && clock_monotonic_ms() < end_ms) {
        (void)usleep(RETRY_MS * 1000);
    }
    return fd;
}

struct search {
    const struct claims *claims;
    enum claim_kind kind;
    const char *value;
    bool found;
    struct claim_listed owner;
};

static void compare(const struct claim_listed *listed, void *ctx)
{
    struct search *search = ctx;
    bool own = listed->pid == (long)getpid() && strcmp(listed->bridge, search->claims->bridge) == 0;
    if (!search->found && !own && strcmp(listed->kind, words[search->kind][0]) == 0 && claim_excludes(search->kind, listed->value, search->value)) {
        search->found = true;
        search->owner = *listed;
    }
}

static int refuse(enum claim_kind kind, const char *value, const struct claim_listed *owner, struct error *err)
{
    bool same = strcmp(value, owner->value) == 0;
    if (same) {
        return error_set(err, ERR_IN_USE, "%s %s is that of the smartvmd with pid %ld (bridge %s) in this network namespace", words[kind][1], value, owner->pid,
                         owner->bridge);
    }
    return error_set(err, ERR_IN_USE, "%s %s is in conflict with %s, which is that of the smartvmd with pid %ld (bridge %s) in this network namespace%s",
                     words[kind][1], value, owner->value, owner->pid, owner->bridge, kind == CLAIM_BRIDGE ? ": the names of their TAPs begin alike" : "");
}

static int look_for_conflict(const struct claims *claims, enum claim_kind kind, const char *value, struct error *err)
{
    struct search search = {.claims = claims, .kind = kind, .value = value};
    if (claim_list(compare, &search, err) != 0) {
        return -1;
    }
    return search.found ? refuse(kind, value, &search.owner, err) : 0;
}

int claims_new(const char *bridge, struct claims **ret, struct error *err)
{
    struct claims *claims = calloc(1, sizeof *claims);
    if (claims == NULL) {
        return error_oom(err);
    }
    (void)pthread_mutex_init(&claims->lock, NULL);
    (void)snprintf(claims->bridge, sizeof claims->bridge, "%s", bridge);
    *ret = claims;
    return 0;
}

static void drop(struct claims *claims, size_t index)
{
    (void)close(claims->items[index].fd);
    claims->items[index] = claims->items[--claims->count];
}

void claims_free(struct claims *claims)
{
    while (claims != NULL && claims->count > 0) {
        drop(claims, claims->count - 1);
    }
    free(claims);
}

static bool holds(const struct claims *claims, enum claim_kind kind, const char *value)
{
    for (size_t i = 0; i < claims->count; i++) {
        if (claims->items[i].kind == kind && strcmp(claims->items[i].value, value) == 0) {
            return true;
        }
    }
    return false;
}

static int look_and_bind(struct claims *claims, enum claim_kind kind, const char *value, struct error *err)
{
    char name[160];
    AUTO_CLOSE int turn = take_turn();
    int fd = -1;
    (void)snprintf(name, sizeof name, "smartvmd %s %s %ld %s", words[kind][0], value, (long)getpid(), claims->bridge);
    if (look_for_conflict(claims, kind, value, err) != 0 || bind_name(name, &fd, err) != 0) {
        return -1;
    }
    if (fd < 0) { /* of another pid namespace, with our pid */
        return error_set(err, ERR_IN_USE, "%s %s is that of another smartvmd in this network namespace", words[kind][1], value);
    }
    struct claim *claim = &claims->items[claims->count++];
    *claim = (struct claim){.fd = fd, .kind = kind};
    (void)snprintf(claim->value, sizeof claim->value, "%s", value);
    return 0;
}

static int take(struct claims *claims, enum claim_kind kind, const char *value, struct error *err)
{
    if (holds(claims, kind, value)) {
        return 0;
    }
    if (claims->count == CLAIMS_MAX || strlen(value) >= CLAIM_VALUE_MAX) {
        return error_set(err, ERR_INTERNAL, "more claims than %d, or a longer one", (int)CLAIMS_MAX);
    }
    return look_and_bind(claims, kind, value, err);
}

int claim_take(struct claims *claims, enum claim_kind kind, const char *value, int patience_ms, struct error *err)
{
    struct error why = {0};
    int64_t end_ms = clock_monotonic_ms() + patience_ms;
    for (;;) {
        (void)pthread_mutex_lock(&claims->lock);
        int result = take(claims, kind, value, &why);
        (void)pthread_mutex_unlock(&claims->lock);
        if (result == 0) {
            return 0;
        }
        if (why.code != ERR_IN_USE || clock_monotonic_ms() >= end_ms) {
            return error_set(err, why.code, "%s", why.message);
        }
        (void)usleep(RETRY_MS * 1000);
    }
}

int claim_check(struct claims *claims, enum claim_kind kind, const char *value, struct error *err)
{
    return look_for_conflict(claims, kind, value, err);
}

void claim_drop_others(struct claims *claims, enum claim_kind kind, const char *value)
{
    (void)pthread_mutex_lock(&claims->lock);
    for (size_t i = claims->count; i-- > 0;) {
        if (claims->items[i].kind == kind && (value == NULL || strcmp(claims->items[i].value, value) != 0)) {
            drop(claims, i);
        }
    }
    (void)pthread_mutex_unlock(&claims->lock);
}
