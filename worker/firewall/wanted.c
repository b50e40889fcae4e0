#include "worker/firewall/wanted.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/plan_wish.h"
#include "worker/border/wanted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int firewall_policy_read(const char *text, struct policy *ret, bool *ret_damaged, struct error *err)
{
    AUTO_JSON *json = NULL;
    struct error why = {0};
    if (text != NULL && json_parse(text, strlen(text), &json, &why) == 0 && policy_parse(json, ret, &why) == 0) {
        return 0;
    }
    if (why.code == ERR_OUT_OF_MEMORY) {
        return error_oom(err);
    }
    *ret = (struct policy){0}; /* no rules, and both defaults deny */
    *ret_damaged = true;
    return 0;
}

static int read_policies(const struct firewall_rows *rows, struct firewall_wanted *ret, struct error *err)
{
    size_t v = 0;
    for (size_t i = 0; i < rows->policy_count; i++) {
        const struct firewall_row *row = &rows->policies[i];
        struct policy *policy = &ret->host;
        bool damaged = false;
        if (row->vm_uid != FIREWALL_HOST) {
            while (v < ret->vm_count && ret->vms[v].uid < row->vm_uid) {
                v++;
            }
            if (v == ret->vm_count || ret->vms[v].uid != row->vm_uid) {
                continue; /* without an interface there is nothing that it could decide */
            }
            policy = &ret->vms[v].policy;
            ret->vms[v].has_policy = true;
        }
        policy_free(policy);
        if (firewall_policy_read(row->text, policy, &damaged, err) != 0) {
            return -1;
        }
        if (damaged && ret->damage[0] == '\0') {
            (void)snprintf(ret->damage, sizeof ret->damage, "the stored policy %s%lld is damaged and denies everything",
                           row->vm_uid == FIREWALL_HOST ? "of the host, number " : "of VM number ", (long long)row->vm_uid);
        }
    }
    return 0;
}

static int read_sets(const struct firewall_rows *rows, struct firewall_wanted *ret, struct error *err)
{
    ret->sets.sets = calloc(rows->set_count + 1, sizeof *ret->sets.sets);
    if (ret->sets.sets == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < rows->set_count; i++) {
        AUTO_JSON *json = NULL;
        const struct firewall_row *row = &rows->sets[i];
        struct error why = {0};
        struct address_set *set = &ret->sets.sets[ret->sets.count];
        if (row->name == NULL || row->text == NULL || json_parse(row->text, strlen(row->text), &json, &why) != 0 ||
            address_set_parse(row->name, json, set, &why) != 0) {
            if (why.code == ERR_OUT_OF_MEMORY) {
                return error_oom(err);
            }
            (void)snprintf(ret->damage, sizeof ret->damage, "the stored address set %.32s is damaged and matches nothing", row->name != NULL ? row->name : "");
            continue;
        }
        ret->sets.count++;
    }
    return 0;
}

static int compare_interfaces(const void *a, const void *b)
{
    const struct interface_row *x = a;
    const struct interface_row *y = b;
    return x->vm_uid != y->vm_uid ? (x->vm_uid > y->vm_uid) - (x->vm_uid < y->vm_uid) : strcmp(x->tap, y->tap);
}

size_t firewall_addresses(const struct network_settings *settings, uint32_t address, struct ip_addr ret[2])
{
    ret[0] = ip_addr_from_ipv4(address);
    ret[1] = network_address6(settings, address);
    return ret[1].version == IP_NONE ? 1 : 2;
}

static int add_interface(struct firewall_wanted *ret, const struct network_settings *settings, const struct interface_row *row, bool present, struct error *err)
{
    struct firewall_vm *vm = ret->vm_count > 0 ? &ret->vms[ret->vm_count - 1] : NULL;
    if (vm == NULL || vm->uid != row->vm_uid) {
        vm = &ret->vms[ret->vm_count++];
        *vm = (struct firewall_vm){.uid = row->vm_uid, .addresses = calloc(FIREWALL_ADDRESSES_MAX, sizeof *vm->addresses)};
        if (vm->addresses == NULL) {
            return error_oom(err);
        }
    }
    vm->present = vm->present || present;
    if (vm->address_count + 2 <= FIREWALL_ADDRESSES_MAX) {
        vm->address_count += firewall_addresses(settings, row->address, vm->addresses + vm->address_count);
    }
    return 0;
}

static int read_vms(const struct network_settings *settings, const struct interface_row *interfaces, size_t count,
                    bool (*present)(const struct interface_row *row, void *ctx), void *ctx, struct firewall_wanted *ret, struct error *err)
{
    AUTO_FREE struct interface_row *sorted = calloc(count + 1, sizeof *sorted);
    ret->vms = calloc(count + 1, sizeof *ret->vms);
    if (sorted == NULL || ret->vms == NULL) {
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
        return error_oom(err);
    }
    if (count > 0) {
        memcpy(sorted, interfaces, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, compare_interfaces);
    }
    for (size_t i = 0; i < count; i++) {
        if (add_interface(ret, settings, &sorted[i], present(&sorted[i], ctx), err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int compare_rows(const void *a, const void *b)
{
    const struct firewall_row *x = a;
    const struct firewall_row *y = b;
    if (x->name != NULL && y->name != NULL) {
        return strcmp(x->name, y->name);
    }
    return (x->vm_uid > y->vm_uid) - (x->vm_uid < y->vm_uid);
}

/* Puts the row in the place of the one with its key; one without a text just takes that away. */
static int replace_row(struct firewall_row **rows, size_t *count, const struct firewall_row *wish, struct error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (compare_rows(&(*rows)[i], wish) == 0) {
            firewall_row_free(&(*rows)[i]);
        } else {
            (*rows)[kept++] = (*rows)[i];
        }
    }
    *count = kept;
    if (wish->text == NULL) {
        return 0;
    }
    struct firewall_row *grown = reallocarray(*rows, kept + 1, sizeof *grown);
    if (grown == NULL) {
        return error_oom(err);
    }
    *rows = grown;
    grown[kept] = (struct firewall_row){
        .vm_uid = wish->vm_uid, .name = wish->name != NULL ? strdup(wish->name) : NULL, .text = strdup(wish->text), .generation = wish->generation};
    *count = kept + 1;
    if (grown[kept].text == NULL || (wish->name != NULL && grown[kept].name == NULL)) {
        return error_oom(err);
    }
    qsort(grown, kept + 1, sizeof *grown, compare_rows);
    return 0;
}

static int take_wish(struct firewall_rows *rows, const struct plan_wish *wish, struct error *err)
{
    if (wish == NULL) {
        return 0;
    }
    return (wish->policy_count > 0 && replace_row(&rows->policies, &rows->policy_count, wish->policies, err) != 0) ||
                   (wish->set_count > 0 && replace_row(&rows->sets, &rows->set_count, wish->sets, err) != 0)
               ? -1
               : 0;
}

int firewall_wanted_load(struct border *border, const struct plan_wish *wish, const struct network_settings *settings, const struct interface_row *interfaces,
                         size_t count, bool (*present)(const struct interface_row *row, void *ctx), void *ctx, struct firewall_wanted *ret, struct error *err)
{
    AUTO_FIREWALL_ROWS rows = {.policy_count = 0};
    AUTO_FIREWALL_WANTED wanted = {.vm_count = 0};
    policy_defaults(&wanted.host);
    if (border_firewall_load(border, &rows, err) != 0 || take_wish(&rows, wish, err) != 0 ||
        read_vms(settings, interfaces, count, present, ctx, &wanted, err) != 0 || read_policies(&rows, &wanted, err) != 0 ||
        read_sets(&rows, &wanted, err) != 0) {
        // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
        return -1;
    }
    wanted.generation = rows.generation;
    *ret = wanted;
    wanted = (struct firewall_wanted){.vm_count = 0};
    return 0;
}

void firewall_wanted_free(struct firewall_wanted *wanted)
{
    policy_free(&wanted->host);
    address_sets_free(&wanted->sets);
    for (size_t i = 0; i < wanted->vm_count; i++) {
        policy_free(&wanted->vms[i].policy);
        free(wanted->vms[i].addresses);
    }
    free(wanted->vms);
    *wanted = (struct firewall_wanted){.vm_count = 0};
}
