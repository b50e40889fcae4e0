#include "core/policy.h"

#include <stdlib.h>
#include <string.h>

static const char *const direction_names[POLICY_DIRECTION_COUNT_] = {"egress", "ingress"};

static const char *const protocol_names[] = {
    [POLICY_PROTOCOL_ALL] = "all",
    [POLICY_PROTOCOL_TCP] = "tcp",
    [POLICY_PROTOCOL_UDP] = "udp",
    [POLICY_PROTOCOL_ICMP] = "icmp",
};

const char *policy_direction_text(enum policy_direction_name direction)
{
    return direction_names[direction];
}

const char *policy_protocol_text(enum policy_protocol protocol)
{
    return protocol_names[protocol];
}

void policy_defaults(struct policy *ret)
{
    *ret = (struct policy){0};
    ret->directions[POLICY_EGRESS].allow_by_default = true;
}

static void free_direction(struct policy_direction *direction)
{
    for (size_t i = 0; i < direction->rule_count; i++) {
        struct policy_rule *rule = &direction->rules[i];
        free(rule->nets);
        free(rule->sets);
        free(rule->ports);
        free(rule->comment);
    }
    free(direction->rules);
}

void policy_free(struct policy *policy)
{
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        free_direction(&policy->directions[d]);
    }
    *policy = (struct policy){0};
}

const char *policy_unknown_set(const struct policy *policy, const struct address_sets *sets)
{
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        const struct policy_direction *direction = &policy->directions[d];
        for (size_t r = 0; r < direction->rule_count; r++) {
            for (size_t s = 0; s < direction->rules[r].set_count; s++) {
                if (address_sets_find(sets, direction->rules[r].sets[s]) == NULL) {
                    return direction->rules[r].sets[s];
                }
            }
        }
    }
    return NULL;
}
