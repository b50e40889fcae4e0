/* A VM's own policy, as it comes and goes with the VM's addresses; and what its rules have counted. */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "worker/border/wanted.h"
#include "worker/firewall/firewall.h"

#include <string.h>

static int compare_sets(const void *a, const void *b)
{
    return strcmp(((const struct address_set *)a)->name, ((const struct address_set *)b)->name);
}

/* A set that is not stored matches nothing; so does one that is damaged. */
static int add_set(struct worker *worker, const char *name, struct firewall_vm_change *ret, struct error *err)
{
    AUTO_FIREWALL_ROW row = {.text = NULL};
    AUTO_JSON *json = NULL;
    bool found = false;
    struct error why = {0};
    for (size_t i = 0; i < ret->sets.count; i++) {
        if (strcmp(ret->sets.sets[i].name, name) == 0) {
            return 0;
        }
    }
    if (border_firewall_set_get(worker->border, name, &row, &found, err) != 0) {
        return -1;
    }
    if (!found || row.text == NULL) {
        return 0;
    }
    struct address_set *grown = reallocarray(ret->sets.sets, ret->sets.count + 1, sizeof *grown);
    if (grown == NULL) {
        return error_oom(err);
    }
    ret->sets.sets = grown;
    if (json_parse(row.text, strlen(row.text), &json, &why) == 0 && address_set_parse(name, json, &ret->sets.sets[ret->sets.count], &why) == 0) {
        ret->sets.count++;
    }
    return why.code == ERR_OUT_OF_MEMORY ? error_oom(err) : 0;
}

static int add_sets(struct worker *worker, struct firewall_vm_change *ret, struct error *err)
{
    for (size_t d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        const struct policy_direction *direction = &ret->policy.directions[d];
        for (size_t r = 0; r < direction->rule_count; r++) {
            for (size_t s = 0; s < direction->rules[r].set_count; s++) {
                if (add_set(worker, direction->rules[r].sets[s], ret, err) != 0) {
                    return -1;
                }
            }
        }
    }
    if (ret->sets.count > 0) {
        qsort(ret->sets.sets, ret->sets.count, sizeof *ret->sets.sets, compare_sets);
    }
    ret->refill = calloc(ret->sets.count + 1, sizeof(const struct address_set *));
    if (ret->refill == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < ret->sets.count; i++) {
        ret->refill[i] = &ret->sets.sets[i];
    }
    return 0;
}

static int read_policy(struct worker *worker, const struct vm_row *row, struct firewall_vm_change *ret, struct error *err)
{
    AUTO_FIREWALL_ROW stored = {.text = NULL};
    bool found = false;
    bool damaged = false;
    if (border_firewall_policy_get(worker->border, row->uid, &stored, &found, err) != 0) {
        return -1;
    }
    ret->needed = found && stored.text != NULL;
    if (!ret->needed) {
        return 0;
    }
    ret->vm.policy = &ret->policy;
    return firewall_policy_read(stored.text, &ret->policy, &damaged, err) == 0 ? add_sets(worker, ret, err) : -1;
}

int firewall_vm_prepare(struct worker *worker, const struct vm_row *row, bool present, struct firewall_vm_change *ret, struct error *err)
{
    const struct network_settings settings = worker_network(worker);
    ret->vm = (struct nft_policy_vm){.uid = row->uid, .addresses = ret->addresses};
    for (size_t i = 0; i < row->interface_count && i < LIMIT_INTERFACES; i++) {
        ret->vm.address_count += firewall_addresses(&settings, row->interfaces[i].address, ret->addresses + ret->vm.address_count);
    }
    int result = present ? read_policy(worker, row, ret, err) : nft_policy_vm_is_there(worker->mark, row->uid, &ret->needed, err);
    ret->change = (struct nft_policy_change){.sets = &ret->sets, .vms = &ret->vm, .vm_count = 1, .refill = ret->refill, .refill_count = ret->sets.count};
    return result;
}

void firewall_vm_change_free(struct firewall_vm_change *change)
{
    policy_free(&change->policy);
    address_sets_free(&change->sets);
    free(change->refill);
    *change = (struct firewall_vm_change){.needed = false};
}

static json_t *counter_json(const struct nft_counter *counter)
{
    return json_pack("{s:I, s:I}", "packets", (json_int_t)counter->packets, "bytes", (json_int_t)counter->bytes);
}

static json_t *direction_json(const struct worker *worker, int64_t uid, enum policy_direction_name direction, struct error *err)
{
    AUTO_FREE struct nft_counter *rules = NULL;
    struct nft_counter by_default = {0};
    size_t count = 0;
    bool there = false;
    if (nft_policy_counters(worker->mark, uid, direction, &rules, &count, &by_default, &there, err) != 0) {
        return NULL;
    }
    if (!there) {
        return json_null();
    }
    AUTO_JSON_BUILD list = json_build_array();
    for (size_t i = 0; i < count; i++) {
        json_build_add(&list, counter_json(&rules[i]));
    }
    json_t *json = json_pack("{s:o, s:o}", "rules", json_build_take(&list), "default", counter_json(&by_default));
    if (json == NULL) {
        (void)error_oom(err);
    }
    return json;
}

json_t *firewall_counters(struct worker *worker, const json_t *question, struct error *err)
{
    AUTO_VM_ROW row = {0};
    const char *id = json_get_string(question, "vm");
    bool found = false;
    if (id != NULL && id[0] != '\0' && border_vm_get(worker->border, id, &row, &found, err) != 0) {
        return NULL;
    }
    if (id != NULL && id[0] != '\0' && !found) {
        (void)error_set(err, ERR_NOT_FOUND, "there is no VM '%.64s'", id);
        return NULL;
    }
    AUTO_JSON *egress = direction_json(worker, row.uid, POLICY_EGRESS, err);
    AUTO_JSON *ingress = egress == NULL ? NULL : direction_json(worker, row.uid, POLICY_INGRESS, err);
    return ingress == NULL ? NULL : json_pack("{s:O, s:O}", "egress", egress, "ingress", ingress);
}
