/* The bridge, its subnet, and the addresses that VMs hold. */
#include "api/handlers.h"
#include "api/json_out.h"
#include "api/reply.h"
#include "api/vm_network.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "db/facts.h"
#include "db/leases.h"

#include <string.h>

/* What the worker observed: {"uplink", "conditions"}. */
static int read_fact(struct api *api, json_t **ret, struct error *err)
{
    AUTO_FREE char *text = NULL;
    if (facts_get(api->db, "network", &text, err) != 0) {
        return -1;
    }
    if (text == NULL) {
        return error_set(err, ERR_UNAVAILABLE, "the network has not been looked at yet");
    }
    return json_parse(text, strlen(text), ret, err);
}

static void add_addresses(struct strbuf *b, struct ipv4_net subnet, int64_t used, int64_t quarantined)
{
    uint32_t first = 0;
    uint32_t last = 0;
    vm_network_guests(subnet, &first, &last);
    strbuf_add(b, ",\"addresses\":{\"total\":");
    json_out_int(b, (int64_t)last - first + 1);
    strbuf_add(b, ",\"used\":");
    json_out_int(b, used);
    strbuf_add(b, ",\"quarantined\":");
    json_out_int(b, quarantined);
    strbuf_add_char(b, '}');
}

int network_handle_get(struct call *call, struct api_reply *reply, struct error *err)
{
    const struct config *config = call->api->config;
    AUTO_JSON *fact = NULL;
    AUTO_STRBUF b = STRBUF_INIT;
    int64_t used = 0;
    int64_t quarantined = 0;
    char text[CIDR_TEXT_MAX];
    if (read_fact(call->api, &fact, err) != 0 ||
        leases_count(call->api->db, (int64_t)config->network.lease_quarantine_s * 1000, &used, &quarantined,
                     err) != 0) {
        return -1;
    }
    AUTO_FREE char *conditions = json_text(json_object_get(fact, "conditions"));
    strbuf_add(&b, "{\"bridge\":");
    json_out_string(&b, config->network.bridge);
    strbuf_add(&b, ",\"subnet\":");
    json_out_string(&b, ipv4_net_format(config->network.subnet, text));
    strbuf_add(&b, ",\"gateway\":");
    json_out_string(&b, ipv4_format(config->network.subnet.address + 1, text));
    strbuf_add(&b, ",\"uplink\":");
    json_out_string(&b, json_get_string(fact, "uplink"));
    strbuf_add(&b, ",\"masquerade\":");
    json_out_bool(&b, config->network.masquerade);
    add_addresses(&b, config->network.subnet, used, quarantined);
    strbuf_add(&b, ",\"conditions\":");
    strbuf_add(&b, conditions != NULL ? conditions : "[]");
    strbuf_add_char(&b, '}');
    return reply_json(reply, 200, &b, err);
}

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
    strbuf_add(b, ",\"vm\":");
    json_out_string(b, lease->vm);
    strbuf_add(b, ",\"iface_id\":");
    json_out_string(b, lease->iface_id);
    strbuf_add(b, ",\"mac\":");
    json_out_string(b, lease->mac);
    strbuf_add_char(b, '}');
}

int network_handle_leases(struct call *call, struct api_reply *reply, struct error *err)
{
    size_t limit = (size_t)json_get_int(call->parameters, "limit", 100);
    AUTO_FREE struct lease_row *rows = NULL;
    AUTO_STRBUF b = STRBUF_INIT;
    char cursor[IPV4_TEXT_MAX];
    size_t count = 0;
    uint32_t after = 0;
    (void)read_cursor(call, &after);
    if (leases_list(call->api->db, after, limit + 1, &rows, &count, err) != 0) {
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
