/* The addresses that VMs hold, and those that nobody may hold yet. */
#include "api/handlers.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/leases.h"

static bool read_cursor(const struct call *call, uint32_t *ret)
{
    const char *cursor = json_get_string(call->parameters, "cursor");
    *ret = 0;
    return cursor == NULL || ipv4_parse(cursor, ret);
}

void network_check_leases(struct call *call)
{
    uint32_t after = 0;
    if (!read_cursor(call, &after)) {
        spec_faults_add(&call->faults, "query", "cursor", "is not the next_cursor of a page");
    }
}

static void add_lease(struct strbuf *b, const struct lease_row *lease)
{
    char address[IPV4_TEXT_MAX];
    strbuf_add(b, "{\"address\":");
    json_out_string(b, ipv4_format(lease->address, address));
    strbuf_add(b, lease->leased ? ",\"state\":\"leased\",\"freed_at\":null" : ",\"state\":\"quarantined\",\"freed_at\":");
    if (!lease->leased) {
        json_out_time(b, lease->freed_ms);
    }
    strbuf_add(b, ",\"vm\":");
    json_out_string(b, lease->leased ? lease->vm : NULL);
    strbuf_add(b, ",\"iface_id\":");
    json_out_string(b, lease->leased ? lease->iface_id : NULL);
    strbuf_add(b, ",\"mac\":");
    json_out_string(b, lease->leased ? lease->mac : NULL);
    strbuf_add_char(b, '}');
}

int network_handle_leases(struct call *call, struct api_reply *reply, struct error *err)
{
    size_t limit = (size_t)json_get_int(call->parameters, "limit", 100);
    int64_t quarantine_ms = (int64_t)api_network(call->api).lease_quarantine_s * 1000;
    AUTO_FREE struct lease_row *rows = NULL;
    AUTO_STRBUF b = STRBUF_INIT;
    char cursor[IPV4_TEXT_MAX];
    size_t count = 0;
    uint32_t after = 0;
    (void)read_cursor(call, &after);
    if (leases_list(call->api->db, after, quarantine_ms, limit + 1, &rows, &count, err) != 0) {
        return -1;
    }
    bool more = count > limit;
    count = more ? limit : count;
    strbuf_add(&b, "{\"items\":[");
    for (size_t i = 0; i < count; i++) {
        strbuf_add(&b, i > 0 ? "," : "");
        add_lease(&b, &rows[i]);
    }
    strbuf_add(&b, "],\"next_cursor\":");
    json_out_string(&b, more ? ipv4_format(rows[count - 1].address, cursor) : NULL);
    strbuf_add_char(&b, '}');
    return reply_json(reply, 200, &b, err);
}
