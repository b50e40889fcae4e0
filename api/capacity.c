#include "api/capacity.h"

#include "api/json_out.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/facts.h"
#include "db/leases.h"
#include "db/reservations.h"

#include <stdio.h>
#include <string.h>

int capacity_of_host(struct api *api, struct capacity_host *ret, struct error *err)
{
    AUTO_FREE char *text = NULL;
    AUTO_JSON *fact = NULL;
    if (facts_get(api->db, "host", &text, err) != 0) {
        return -1;
    }
    if (text != NULL) {
        (void)json_parse(text, strlen(text), &fact, NULL);
    }
    capacity_host_read(fact, ret);
    return 0;
}

/* Of one resource, as far as it is known. */
struct figures {
    int64_t total, reserved, free;
};

static struct figures figures_of(int64_t total, int64_t reserved)
{
    return (struct figures){total, reserved, total > reserved ? total - reserved : 0};
}

static void add_lack(struct call *call, struct strbuf *lacks, const struct capacity_type *type, int64_t asked, const struct figures *figures)
{
    char text[200];
    (void)snprintf(text, sizeof text, "%lld %s asked for, %lld of %lld reserved, %lld free", (long long)asked, type->words, (long long)figures->reserved,
                   (long long)figures->total, (long long)figures->free);
    strbuf_addf(lacks, "%s%s", lacks->len > 0 ? "; " : "", text);
    spec_faults_add(&call->faults, "body", type->pointer, "%s", text);
}

int capacity_admit(struct call *call, const struct capacity_host *host, const struct reservation *now, const struct reservation *wanted, struct error *err)
{
    const struct network_settings settings = api_network(call->api);
    AUTO_STRBUF lacks = STRBUF_INIT;
    struct reservation sum;
    if (reservations_sum(call->api->db, &sum, err) != 0) {
        return -1;
    }
    for (int i = 0; i < CAPACITY_COUNT_; i++) {
        const enum capacity_resource resource = (enum capacity_resource)i;
        const int64_t had = reservation_amount(now, resource, host);
        const int64_t asked = reservation_amount(wanted, resource, host);
        const int64_t total = capacity_total(resource, call->api->config, settings.subnet, host);
        const struct figures figures = figures_of(total, reservation_amount(&sum, resource, host));
        if (resource != CAPACITY_ADDRESSES && total != CAPACITY_UNKNOWN && asked > had && figures.reserved - had + asked > total) {
            add_lack(call, &lacks, &capacity_types[i], asked - had, &figures);
        }
    }
    if (lacks.failed) {
        return error_oom(err);
    }
    return lacks.len == 0 ? 0 : error_set(err, ERR_INSUFFICIENT_CAPACITY, "the host has not enough left: %s", lacks.data);
}

static int add_figures(struct api *api, enum capacity_resource resource, const struct capacity_host *host, const struct reservation *sum, struct strbuf *b,
                       struct error *err)
{
    const struct network_settings settings = api_network(api);
    const int64_t total = capacity_total(resource, api->config, settings.subnet, host);
    struct figures figures = figures_of(total > 0 ? total : 0, reservation_amount(sum, resource, host));
    if (resource == CAPACITY_ADDRESSES) {
        int64_t quarantined = 0;
        if (leases_count(api->db, (int64_t)settings.lease_quarantine_s * 1000, &figures.reserved, &quarantined, err) != 0) {
            return -1;
        }
        figures.free = figures_of(figures.total, figures.reserved + quarantined).free;
    }
    strbuf_addf(b, "\"%s\":{\"total\":%lld,\"reserved\":%lld,\"free\":%lld},", capacity_types[resource].name, (long long)figures.total,
                (long long)figures.reserved, (long long)figures.free);
    return 0;
}

int capacity_json(struct api *api, struct strbuf *b, struct error *err)
{
    struct capacity_host host;
    struct reservation sum;
    if (db_read_begin(api->db, err) != 0) {
        return -1;
    }
    AUTO_DB_READ *read = api->db;
    if (capacity_of_host(api, &host, err) != 0 || reservations_sum(api->db, &sum, err) != 0) {
        return -1;
    }
    strbuf_add_char(b, '{');
    for (int i = 0; i < CAPACITY_COUNT_; i++) {
        if (add_figures(api, (enum capacity_resource)i, &host, &sum, b, err) != 0) {
            return -1;
        }
    }
    strbuf_addf(b, "\"vcpu_factor\":%.15g}", api->config->capacity.vcpu_factor);
    return b->failed ? error_oom(err) : 0;
}
