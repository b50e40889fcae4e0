/* Policies as JSON: one form for each, whatever form they were read in. */
#include "core/policy.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <stdio.h>

static const char *action_text(bool allow)
{
    return allow ? "allow" : "deny";
}

static json_t *addresses_json(const struct policy_rule *rule)
{
    AUTO_JSON *list = json_array();
    for (size_t i = 0; i < rule->net_count; i++) {
        char text[IP_NET_TEXT_MAX];
        if (json_array_append_new(list, json_string(ip_net_format(&rule->nets[i], text))) != 0) {
            return NULL;
        }
    }
    for (size_t i = 0; i < rule->set_count; i++) {
        if (json_array_append_new(list, json_sprintf("@%s", rule->sets[i])) != 0) {
            return NULL;
        }
    }
    return TAKE_PTR(list);
}

static json_t *ports_json(const struct policy_rule *rule)
{
    AUTO_JSON *list = json_array();
    for (size_t i = 0; i < rule->port_count; i++) {
        const struct port_range *range = &rule->ports[i];
        json_t *port = range->first == range->last ? json_integer(range->first) : json_sprintf("%u-%u", range->first, range->last);
        if (json_array_append_new(list, port) != 0) {
            return NULL;
        }
    }
    return TAKE_PTR(list);
}

/* Each member is always there, null when it has no value. One whose value could not be made is a failure, so the result of
 * json_object_set_new() is all that is looked at. */
static json_t *rule_json(const struct policy_rule *rule, enum policy_direction_name direction)
{
    AUTO_JSON *json = json_object();
    const char *other_end = direction == POLICY_EGRESS ? "to" : "from";
    bool failed = json_object_set_new(json, "action", json_string(action_text(rule->allow))) != 0;
    failed |= json_object_set_new(json, other_end, rule->net_count + rule->set_count > 0 ? addresses_json(rule) : json_null()) != 0;
    failed |= json_object_set_new(json, "protocol", json_string(policy_protocol_text(rule->protocol))) != 0;
    failed |= json_object_set_new(json, "ports", rule->port_count > 0 ? ports_json(rule) : json_null()) != 0;
    if (direction == POLICY_INGRESS) {
        failed |= json_object_set_new(json, "host_port", rule->host_port != 0 ? json_integer(rule->host_port) : json_null()) != 0;
    }
    failed |= json_object_set_new(json, "comment", rule->comment != NULL ? json_string(rule->comment) : json_null()) != 0;
    return failed ? NULL : TAKE_PTR(json);
}

static json_t *direction_json(const struct policy_direction *direction, enum policy_direction_name name)
{
    AUTO_JSON *json = json_object();
    AUTO_JSON *rules = json_array();
    for (size_t i = 0; i < direction->rule_count; i++) {
        if (json_array_append_new(rules, rule_json(&direction->rules[i], name)) != 0) {
            return NULL;
        }
    }
    if (json_object_set_new(json, "default_action", json_string(action_text(direction->allow_by_default))) != 0 ||
        json_object_set_new(json, "rules", TAKE_PTR(rules)) != 0) {
        return NULL;
    }
    return TAKE_PTR(json);
}

json_t *policy_json(const struct policy *policy)
{
    AUTO_JSON *json = json_object();
    for (int d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        enum policy_direction_name name = (enum policy_direction_name)d;
        if (json_object_set_new(json, policy_direction_text(name), direction_json(&policy->directions[d], name)) != 0) {
            return NULL;
        }
    }
    return TAKE_PTR(json);
}
