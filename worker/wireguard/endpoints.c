#include "worker/wireguard/endpoints.h"

#include "core/clock.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRY_FIRST_MS = 5000,
    RETRY_MAX_MS = 160000,
    RETRY_DOUBLINGS = 5,
    LOOKUP_STEP_MS = 2,
};

static bool is_name(const char *host)
{
    struct ip_addr ignored;
    return host[0] != '\0' && !ip_addr_parse(host, &ignored);
}

/* One name that is being looked up. It belongs to the C library until that has answered, which can't be called off. */
struct wireguard_lookup {
    struct gaicb request;
    struct addrinfo hints;
    char host[WIREGUARD_HOST_MAX];
    struct wireguard_lookup *next;
};

static const struct wireguard_lookup *find_lookup(const struct wireguard_lookup *list, const char *host)
{
    while (list != NULL && strcmp(list->host, host) != 0) {
        list = list->next;
    }
    return list;
}

static int begin(struct wireguard_lookup **list, const char *host, struct error *err)
{
    struct wireguard_lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL) {
        return error_oom(err);
    }
    (void)snprintf(lookup->host, sizeof lookup->host, "%s", host);
    lookup->hints = (struct addrinfo){.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_ADDRCONFIG};
    lookup->request = (struct gaicb){.ar_name = lookup->host, .ar_request = &lookup->hints};
    struct gaicb *requests[] = {&lookup->request};
    if (getaddrinfo_a(GAI_NOWAIT, requests, 1, NULL) != 0) {
        free(lookup);
        return 0; /* counts as not found, and is tried again */
    }
    lookup->next = *list;
    *list = lookup;
    return 0;
}

static bool is_pending(const struct wireguard_lookup *lookup)
{
    return gai_error((struct gaicb *)(uintptr_t)&lookup->request) == EAI_INPROGRESS;
}

static bool any_pending(const struct wireguard_lookup *list)
{
    while (list != NULL && !is_pending(list)) {
        list = list->next;
    }
    return list != NULL;
}

static void await(const struct wireguard_lookup *list)
{
    const struct timespec step = {.tv_nsec = LOOKUP_STEP_MS * 1000000L};
    int64_t end_ms = clock_monotonic_ms() + WIREGUARD_LOOKUP_MS;
    while (any_pending(list) && clock_monotonic_ms() < end_ms) {
        (void)nanosleep(&step, NULL);
    }
}

/* The first address that the host would take itself (RFC 6724). */
static struct ip_addr answer_of(const struct wireguard_lookup *lookup)
{
    struct ip_addr ret = {.version = IP_NONE};
    if (lookup == NULL || gai_error((struct gaicb *)(uintptr_t)&lookup->request) != 0) {
        return ret;
    }
    for (const struct addrinfo *a = lookup->request.ar_result; a != NULL && ret.version == IP_NONE; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            ret.version = IP_V4;
            memcpy(ret.bytes, &((const struct sockaddr_in *)(const void *)a->ai_addr)->sin_addr, 4);
        } else if (a->ai_family == AF_INET6) {
            ret.version = IP_V6;
            memcpy(ret.bytes, &((const struct sockaddr_in6 *)(const void *)a->ai_addr)->sin6_addr, 16);
        }
    }
    return ret;
}

/* What is answered is not needed any more. */
static void drop_answered(struct wireguard_lookup **list)
{
    for (struct wireguard_lookup **at = list; *at != NULL;) {
        struct wireguard_lookup *lookup = *at;
        if (is_pending(lookup)) {
            at = &lookup->next;
            continue;
        }
        *at = lookup->next;
        if (lookup->request.ar_result != NULL) {
            freeaddrinfo(lookup->request.ar_result);
        }
        free(lookup);
    }
}

static int64_t retry_ms(unsigned failures)
{
    unsigned doublings = failures > RETRY_DOUBLINGS ? (unsigned)RETRY_DOUBLINGS : failures;
    int64_t ms = (int64_t)RETRY_FIRST_MS << doublings;
    return ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
}

int64_t wireguard_endpoints_next_ms(const struct wireguard_work *work)
{
    bool names = false;
    for (size_t i = 0; i < work->config.peer_count; i++) {
        names = names || is_name(work->config.peers[i].host);
    }
    if (!names) {
        return -1;
    }
    int64_t period_ms = work->memory.failures > 0 ? retry_ms(work->memory.failures - 1) : wireguard_lookup_ms(work);
    int64_t left_ms = work->memory.resolved_ms + period_ms - clock_monotonic_ms();
    return left_ms > 1 ? left_ms : 1;
}

static bool is_due(const struct wireguard_work *work)
{
    int64_t next_ms = wireguard_endpoints_next_ms(work);
    return next_ms >= 0 && (work->memory.resolved_generation != work->row.generation || work->memory.resolved == NULL || next_ms <= 1);
}

static void remember(struct wireguard_work *work, struct wireguard_resolved *resolved, unsigned failures)
{
    struct wireguard_memory *kept = &work->worker->wireguard.memory;
    (void)pthread_mutex_lock(&work->worker->wireguard.lock);
    struct wireguard_resolved *before = kept->resolved;
    kept->resolved = resolved;
    kept->resolved_count = work->config.peer_count;
    kept->resolved_generation = work->row.generation;
    kept->resolved_ms = clock_monotonic_ms();
    kept->failures = failures;
    work->memory = *kept;
    (void)pthread_mutex_unlock(&work->worker->wireguard.lock);
    free(before);
}

static int begin_all(const struct wireguard_work *work, struct wireguard_lookup **list, struct error *err)
{
    for (size_t i = 0; i < work->config.peer_count; i++) {
        const char *host = work->config.peers[i].host;
        if (is_name(host) && find_lookup(*list, host) == NULL && begin(list, host, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* True when every name was found. */
static bool take_answers(const struct wireguard_work *work, const struct wireguard_lookup *list, struct wireguard_resolved *ret)
{
    bool all = true;
    for (size_t i = 0; i < work->config.peer_count; i++) {
        const char *host = work->config.peers[i].host;
        (void)snprintf(ret[i].host, sizeof ret[i].host, "%s", host);
        if (is_name(host)) {
            ret[i].address = answer_of(find_lookup(list, host));
            all = all && ret[i].address.version != IP_NONE;
        }
    }
    return all;
}

int wireguard_endpoints_resolve(struct wireguard_work *work, bool *ret_done, struct error *err)
{
    struct wireguard_lookup **pending = &work->worker->wireguard.memory.pending;
    *ret_done = false;
    if (!work->row.wanted || !work->config.managed || !is_due(work)) {
        return 0;
    }
    if (begin_all(work, pending, err) != 0) {
        return -1;
    }
    struct wireguard_resolved *resolved = calloc(work->config.peer_count + 1, sizeof *resolved);
    if (resolved == NULL) {
        return error_oom(err);
    }
    await(*pending);
    bool all = take_answers(work, *pending, resolved);
    drop_answered(pending);
    unsigned failures = work->memory.resolved_generation == work->row.generation ? work->memory.failures + 1 : 1;
    remember(work, resolved, all ? 0 : failures);
    *ret_done = true;
    return 0;
}

void wireguard_endpoints_unresolved(const struct wireguard_work *work, char ret[WIREGUARD_ENDPOINTS_TEXT_MAX])
{
    const char *first = NULL;
    size_t count = 0;
    ret[0] = '\0';
    for (size_t i = 0; work->row.wanted && work->config.managed && i < work->memory.resolved_count; i++) {
        const struct wireguard_resolved *item = &work->memory.resolved[i];
        if (is_name(item->host) && item->address.version == IP_NONE) {
            first = first == NULL ? item->host : first;
            count++;
        }
    }
    if (first != NULL) {
        (void)snprintf(ret, WIREGUARD_ENDPOINTS_TEXT_MAX, "no address can be found for the endpoint %s%s; it is tried again", first,
                       count > 1 ? ", nor for others" : "");
    }
}
