/* What a policy allows and something else closes all the same: said with the policy, so that nobody has to find out by packets. */
#include "api/firewall/firewall.h"

#include "api/json_out.h"
#include "core/cleanup.h"
#include "core/ip_range.h"
#include "core/json.h"
#include "db/facts.h"

#include <stdio.h>
#include <string.h>

enum { WARNINGS_MAX = 32 };

struct warnings {
    struct strbuf *b;
    const json_t *closed; /* "first-last" each, as the worker publishes them */
    bool ipv6;            /* guests have it */
    size_t count;
};

bool firewall_parse_range(const char *text, struct ip_range *ret)
{
    char first[IP_TEXT_MAX];
    size_t len = text != NULL ? strcspn(text, "-") : sizeof first;
    if (len >= sizeof first || text[len] == '\0') {
        return false;
    }
    memcpy(first, text, len);
    first[len] = '\0';
    return ip_addr_parse(first, &ret->first) && ip_addr_parse(text + len + 1, &ret->last) && ret->first.version == ret->last.version;
}

static void add(struct warnings *warnings, enum policy_direction_name direction, size_t rule, const char *code, const char *message)
{
    if (warnings->count++ < WARNINGS_MAX) {
        strbuf_addf(warnings->b, "%s{\"pointer\":\"/%s/rules/%zu/%s\",\"code\":\"%s\",\"message\":", warnings->count > 1 ? "," : "",
                    policy_direction_text(direction), rule, direction == POLICY_EGRESS ? "to" : "from", code);
        json_out_string(warnings->b, message);
        strbuf_add_char(warnings->b, '}');
    }
}

/* Everything is not meant by name. */
static bool is_closed(const struct warnings *warnings, const struct ip_net *net, const char **ret_range)
{
    struct ip_addr first;
    struct ip_addr last;
    size_t i = 0;
    json_t *item = NULL;
    ip_net_range(net, &first, &last);
    json_array_foreach(warnings->closed, i, item)
    {
        struct ip_range range;
        *ret_range = json_string_value(item);
        if (net->prefix > 0 && firewall_parse_range(*ret_range, &range) && range.first.version == first.version &&
            memcmp(range.first.bytes, last.bytes, sizeof last.bytes) <= 0 && memcmp(first.bytes, range.last.bytes, sizeof first.bytes) <= 0) {
            return true;
        }
    }
    return false;
}

/* One warning of each kind for a rule is enough. */
static void look_at_nets(struct warnings *warnings, enum policy_direction_name direction, size_t rule, const struct ip_net *nets, size_t count, const char *of)
{
    bool told_closed = false;
    bool told_ipv6 = false;
    for (size_t i = 0; i < count; i++) {
        char net[IP_NET_TEXT_MAX];
        char message[320];
        const char *range = NULL;
        (void)ip_net_format(&nets[i], net);
        if (nets[i].address.version == IP_V6 && !warnings->ipv6 && !told_ipv6) {
            told_ipv6 = true;
            (void)snprintf(message, sizeof message, "%s%s is IPv6, which guests don't have: network.ipv6_subnet is not set", net, of);
            add(warnings, direction, rule, "NO_IPV6", message);
        } else if (direction == POLICY_EGRESS && !told_closed && is_closed(warnings, &nets[i], &range)) {
            told_closed = true;
            (void)snprintf(message, sizeof message,
                           "%s%s: %s stays closed to guests, whatever a policy allows (docs/isolation.md); network.allow_host_networks in the "
                           "configuration opens it",
                           net, of, range);
            add(warnings, direction, rule, "CLOSED_BY_ISOLATION", message);
        }
    }
}

static void look_at_rule(struct warnings *warnings, enum policy_direction_name direction, size_t number, const struct policy_rule *rule,
                         const struct address_sets *sets)
{
    look_at_nets(warnings, direction, number, rule->nets, rule->net_count, "");
    for (size_t i = 0; i < rule->set_count; i++) {
        const struct address_set *set = address_sets_find(sets, rule->sets[i]);
        char of[ADDRESS_SET_NAME_MAX + 16];
        (void)snprintf(of, sizeof of, " (of @%s)", rule->sets[i]);
        if (set != NULL) {
            look_at_nets(warnings, direction, number, set->nets, set->net_count, of);
        }
    }
}

int firewall_add_warnings(struct api *api, struct strbuf *b, const struct policy *policy, struct error *err)
{
    AUTO_FREE char *text = NULL;
    AUTO_JSON *fact = NULL;
    AUTO_ADDRESS_SETS sets = {.sets = NULL};
    const struct network_settings settings = api_network(api);
    if (facts_get(api->db, "network", &text, err) != 0 || (text != NULL && json_parse(text, strlen(text), &fact, err) != 0) ||
        firewall_read_sets(api, &sets, err) != 0) {
        return -1;
    }
    struct warnings warnings = {.b = b, .closed = json_object_get(fact, "closed"), .ipv6 = network_has_ipv6(&settings)};
    strbuf_add(b, ",\"warnings\":[");
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        const struct policy_direction *direction = &policy->directions[d];
        for (size_t i = 0; i < direction->rule_count; i++) {
            if (direction->rules[i].allow) {
                look_at_rule(&warnings, (enum policy_direction_name)d, i, &direction->rules[i], &sets);
            }
        }
    }
    strbuf_add_char(b, ']');
    return b->failed ? error_oom(err) : 0;
}
