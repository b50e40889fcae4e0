#include "worker/firewall/firewall.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/fault.h"
#include "worker/border/wanted.h"
#include "host/nft/conntrack.h"
#include "worker/firewall/flows.h"
#include "worker/firewall/plan.h"
#include "worker/network/work.h"

#include <stdio.h>
#include <string.h>

enum { ROLLED_BACK_NAMED_MAX = 16, ROLLED_BACK_NAME_MAX = LIMIT_VM_ID_BYTES + 24 };

int firewall_policies_of(const struct firewall_wanted *wanted, struct nft_policies *ret, struct nft_policy_vm **ret_vms, struct error *err)
{
    struct nft_policy_vm *vms = calloc(wanted->vm_count + 1, sizeof *vms);
    size_t count = 0;
    if (vms == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < wanted->vm_count; i++) {
        const struct firewall_vm *vm = &wanted->vms[i];
        if (vm->present && vm->has_policy) {
            vms[count++] = (struct nft_policy_vm){.uid = vm->uid, .policy = &vm->policy, .addresses = vm->addresses, .address_count = vm->address_count};
        }
    }
    *ret = (struct nft_policies){.host = &wanted->host, .sets = &wanted->sets, .vms = vms, .vm_count = count};
    *ret_vms = vms;
    return 0;
}

static int cut_forbidden(const struct firewall_wanted *wanted, struct error *err)
{
    struct firewall_flows flows = {.wanted = NULL};
    struct ip_addr *local = NULL;
    size_t local_count = 0;
    size_t cut = 0;
    char count[24];
    if (conntrack_local_addresses(NULL, 0, &local, &local_count, err) != 0 || firewall_flows_make(wanted, local, local_count, &flows, err) != 0) {
        return -1;
    }
    int result = conntrack_cut(firewall_flows_forbid, &flows, &cut, err);
    firewall_flows_free(&flows);
    (void)snprintf(count, sizeof count, "%zu", cut);
    if (result == 0 && cut > 0) {
        log_event(LOG_INFO, "firewall.flows_cut", "count", count, NULL);
    }
    return result;
}

static int apply_change(struct worker *worker, const struct firewall_plan *plan, struct error *err)
{
    if (fault_before("firewall", "change_policies", err) != 0 || nft_policies_change(worker->mark, &plan->change, err) != 0) {
        return -1;
    }
    fault_after("firewall", "change_policies");
    return 0;
}

static int cut_flows(const struct firewall_wanted *wanted, struct error *err)
{
    if (fault_before("firewall", "cut_flows", err) != 0 || cut_forbidden(wanted, err) != 0) {
        return -1;
    }
    fault_after("firewall", "cut_flows");
    return 0;
}

/* Under the lock: what differs from what is wanted. */
static int look_and_plan(struct network_work *work, struct firewall_wanted *wanted, struct firewall_plan *ret, struct error *err)
{
    struct nft_policies_seen seen = {.tables = false};
    if (network_policies_wanted(work, wanted, err) != 0 || nft_policies_look(work->worker->mark, &seen, err) != 0) {
        return -1;
    }
    int result = seen.tables ? firewall_plan_make(wanted, &seen, ret, err)
                             : error_set(err, ERR_FIREWALL_SETUP_FAILED, "the firewall's tables are not there; the network has to be set up first");
    nft_policies_seen_free(&seen);
    return result;
}

/* Under the lock: makes the kernel's policies those that are wanted. */
static int apply(struct network_work *work, struct firewall_wanted *wanted, bool *ret_changed, struct error *err)
{
    AUTO_FIREWALL_PLAN plan = {.empty = true};
    if (look_and_plan(work, wanted, &plan, err) != 0) {
        return -1;
    }
    *ret_changed = !plan.empty;
    if (plan.empty) {
        return 0;
    }
    if (apply_change(work->worker, &plan, err) != 0) {
        return -1;
    }
    log_event(LOG_INFO, "firewall.applied", "first", plan.found, NULL);
    return 0;
}

/* *before: as it is noted now. */
static int observe_and_apply(struct worker *worker, const struct firewall_observed *before, struct firewall_wanted *wanted, struct error *err)
{
    struct network_work work;
    bool changed = false;
    network_work_init(&work, worker);
    int result = link_list(&work.links, &work.link_count, err);
    if (result == 0) {
        (void)pthread_mutex_lock(&worker->guests_lock);
        result = apply(&work, wanted, &changed, err);
        (void)pthread_mutex_unlock(&worker->guests_lock);
    }
    network_work_free(&work);
    /* Flows of VMs that do not run just now are judged as well: they could go on when it runs again. */
    if (result == 0 && (changed || wanted->generation != before->generation)) {
        result = cut_flows(wanted, err);
    }
    return result;
}

/* Which changes were not confirmed, for the log: it is bounded, and the rest are counted. */
struct overdue {
    char names[ROLLED_BACK_NAMED_MAX][ROLLED_BACK_NAME_MAX];
    size_t count;
};

static int list_overdue(struct worker *worker, int64_t now_ms, struct overdue *ret, struct error *err)
{
    struct message_overdue_list list;
    if (border_firewall_overdue(worker->border, now_ms, &list, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < list.count && i < ROLLED_BACK_NAMED_MAX; i++) {
        const char *vm = list.items[i].vm;
        const char *set = list.items[i].set;
        const char *kind = vm != NULL ? "/vms/" : set != NULL ? "/firewall/sets/" : "/firewall";
        (void)snprintf(ret->names[i], ROLLED_BACK_NAME_MAX, "%s%s", kind, vm != NULL ? vm : set != NULL ? set : "");
    }
    ret->count = list.count;
    border_firewall_overdue_free(&list);
    return 0;
}

static void log_rolled_back(const struct overdue *overdue)
{
    char rest[24];
    for (size_t i = 0; i < overdue->count && i < ROLLED_BACK_NAMED_MAX; i++) {
        log_event(LOG_WARN, "firewall.rolled_back", "resource", overdue->names[i], NULL);
    }
    if (overdue->count > ROLLED_BACK_NAMED_MAX) {
        (void)snprintf(rest, sizeof rest, "%zu", overdue->count - ROLLED_BACK_NAMED_MAX);
        log_event(LOG_WARN, "firewall.rolled_back", "more", rest, NULL);
    }
}

static int roll_back(struct worker *worker, struct error *err)
{
    struct overdue overdue = {.count = 0};
    size_t count = 0;
    const int64_t now_ms = clock_wall_ms();
    if (list_overdue(worker, now_ms, &overdue, err) != 0 || border_firewall_roll_back(worker->border, now_ms, &count, err) != 0) {
        return -1;
    }
    if (count > 0) {
        log_rolled_back(&overdue);
        worker_notify(worker, "firewall");
    }
    return 0;
}

enum { DEADLINE_AGAIN_MS = 500 }; /* when it could not be read: a change that is not confirmed has to go back */

static void await_deadline(struct worker *worker)
{
    int64_t deadline_ms = 0;
    if (border_firewall_next_deadline(worker->border, &deadline_ms, NULL) != 0) {
        (void)queue_add_after(worker->queue, "firewall", DEADLINE_AGAIN_MS);
    } else if (deadline_ms != 0) {
        int64_t left_ms = deadline_ms - clock_wall_ms();
        (void)queue_add_after(worker->queue, "firewall", left_ms < 1 ? 1 : left_ms);
    }
}

static int publish(struct worker *worker, const struct firewall_observed *before, const struct firewall_wanted *wanted, const struct error *failure,
                   struct error *err)
{
    bool changed = false;
    /* What was not even read was an attempt at what was wanted before. */
    const int64_t attempted = wanted->generation > before->wanted ? wanted->generation : before->wanted;
    struct firewall_observed now = {.generation = failure != NULL ? before->generation : wanted->generation, .attempted = attempted};
    (void)snprintf(now.error, sizeof now.error, "%.*s", (int)sizeof now.error - 1, failure != NULL ? failure->message : wanted->damage);
    (void)snprintf(now.error_code, sizeof now.error_code, "%s", failure != NULL ? error_code_name(failure->code) : "");
    if (border_firewall_observed_set(worker->border, &now, &changed, err) != 0) {
        return -1;
    }
    if (changed) {
        worker_notify(worker, "firewall");
    }
    return 0;
}

int firewall_reconcile(struct worker *worker, struct error *err)
{
    AUTO_FIREWALL_WANTED wanted = {.vm_count = 0};
    struct error failure = {0};
    if (atomic_load(&worker->network_state) == NETWORK_UNKNOWN) {
        return 0; /* everything is looked at again when it is known */
    }
    struct firewall_observed before;
    if (roll_back(worker, err) != 0 || border_firewall_observed_get(worker->border, &before, err) != 0) {
        return -1;
    }
    int result = observe_and_apply(worker, &before, &wanted, &failure);
    await_deadline(worker);
    if (publish(worker, &before, &wanted, result == 0 ? NULL : &failure, err) != 0) {
        return -1;
    }
    if (result != 0) {
        *err = failure;
    }
    return result;
}

/* ---- a look, for dry runs ---- */

int firewall_look(struct worker *worker, const struct plan_wish *wish, void (*each)(const struct firewall_op *op, void *ctx), void *ctx, struct error *err)
{
    struct network_work work;
    AUTO_FIREWALL_WANTED wanted = {.vm_count = 0};
    AUTO_FIREWALL_PLAN plan = {.empty = true};
    network_work_init(&work, worker);
    work.wish = wish;
    int result = link_list(&work.links, &work.link_count, err);
    if (result == 0) {
        (void)pthread_mutex_lock(&worker->guests_lock);
        result = look_and_plan(&work, &wanted, &plan, err);
        (void)pthread_mutex_unlock(&worker->guests_lock);
    }
    network_work_free(&work);
    if (result != 0) {
        return -1;
    }
    if (!plan.empty) {
        struct firewall_op op = {.name = "change_policies", .description = "change the policies and address sets that differ, in one transaction"};
        memcpy(op.found, plan.found, sizeof op.found);
        each(&op, ctx);
    }
    if (plan.empty && wish->policy_count == 0 && wish->set_count == 0) {
        return 0;
    }
    const struct firewall_op cut = {.name = "cut_flows", .description = "cut the flows that the policies would not let begin any more"};
    each(&cut, ctx);
    return 0;
}
