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

static bool comments_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool nets_equal(const struct policy_rule *a, const struct policy_rule *b)
{
    if (a->net_count != b->net_count) {
        return false;
    }
    for (size_t i = 0; i < a->net_count; i++) {
        if (a->nets[i].prefix != b->nets[i].prefix || !ip_addr_equal(&a->nets[i].address, &b->nets[i].address)) {
            return false;
        }
    }
    return true;
}

static bool sets_equal(const struct policy_rule *a, const struct policy_rule *b)
{
    if (a->set_count != b->set_count) {
        return false;
    }
    for (size_t i = 0; i < a->set_count; i++) {
        if (strcmp(a->sets[i], b->sets[i]) != 0) {
            return false;
        }
    }
    return true;
}

static bool ports_equal(const struct policy_rule *a, const struct policy_rule *b)
{
    if (a->port_count != b->port_count) {
        return false;
    }
    for (size_t i = 0; i < a->port_count; i++) {
        if (a->ports[i].first != b->ports[i].first || a->ports[i].last != b->ports[i].last) {
            return false;
        }
    }
    return true;
}

static bool rules_equal(const struct policy_rule *a, const struct policy_rule *b)
{
    return a->allow == b->allow && a->protocol == b->protocol && nets_equal(a, b) && sets_equal(a, b) &&
           ports_equal(a, b) && comments_equal(a->comment, b->comment);
}

static bool directions_equal(const struct policy_direction *a, const struct policy_direction *b)
{
    if (a->allow_by_default != b->allow_by_default || a->rule_count != b->rule_count) {
        return false;
    }
    for (size_t i = 0; i < a->rule_count; i++) {
        if (!rules_equal(&a->rules[i], &b->rules[i])) {
            return false;
        }
    }
    return true;
}

bool policy_equal(const struct policy *a, const struct policy *b)
{
    return directions_equal(&a->directions[POLICY_EGRESS], &b->directions[POLICY_EGRESS]) &&
           directions_equal(&a->directions[POLICY_INGRESS], &b->directions[POLICY_INGRESS]);
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
