#include "worker/firewall.h"

#include "core/fault.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "db/firewall.h"
#include "host/conntrack.h"
#include "worker/firewall_flows.h"
#include "worker/firewall_plan.h"
#include "worker/network_work.h"

#include <stdio.h>
#include <string.h>

int firewall_policies_of(const struct firewall_wanted *wanted, struct nft_policies *ret, struct nft_policy_vm **ret_vms,
                         struct error *err)
{
    struct nft_policy_vm *vms = calloc(wanted->vm_count + 1, sizeof *vms);
    size_t count = 0;
    if (vms == NULL) {
        return error_oom(err);
    }
    for (size_t i = 0; i < wanted->vm_count; i++) {
        const struct firewall_vm *vm = &wanted->vms[i];
        if (vm->present && vm->has_policy) {
            vms[count++] = (struct nft_policy_vm){
                .uid = vm->uid, .policy = &vm->policy, .addresses = vm->addresses, .address_count = vm->address_count};
        }
    }
    *ret = (struct nft_policies){.host = &wanted->host, .sets = &wanted->sets, .vms = vms, .vm_count = count};
    *ret_vms = vms;
    return 0;
}

int firewall_cut_flows(const struct firewall_wanted *wanted, struct error *err)
{
    struct firewall_flows flows = {.wanted = NULL};
    struct ip_addr *local = NULL;
    size_t local_count = 0;
    size_t cut = 0;
    char count[24];
    if (conntrack_local_addresses(&local, &local_count, err) != 0 ||
        firewall_flows_make(wanted, local, local_count, &flows, err) != 0) {
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

static int change(struct worker *worker, const struct firewall_plan *plan, struct error *err)
{
    if (fault_before("firewall", "change_policies", err) != 0 || nft_policies_change(worker->mark, &plan->change, err) != 0) {
        return -1;
    }
    fault_after("firewall", "change_policies");
    return 0;
}

static int cut_flows(const struct firewall_wanted *wanted, struct error *err)
{
    if (fault_before("firewall", "cut_flows", err) != 0 || firewall_cut_flows(wanted, err) != 0) {
        return -1;
    }
    fault_after("firewall", "cut_flows");
    return 0;
}

/* Under the lock: makes the kernel's policies those that are wanted. */
static int apply(struct network_work *work, struct firewall_wanted *wanted, bool *ret_changed, struct error *err)
{
    struct nft_policies_seen seen = {.tables = false};
    AUTO_FIREWALL_PLAN plan = {.empty = true};
    int result = -1;
    if (network_policies_wanted(work, wanted, err) != 0 || nft_policies_look(work->worker->mark, &seen, err) != 0) {
        return -1;
    }
    if (!seen.tables) {
        (void)error_set(err, ERR_FIREWALL_SETUP_FAILED, "the firewall's tables are not there; the network has to be set up first");
    } else if (firewall_plan_make(wanted, &seen, &plan, err) == 0) {
        result = plan.empty ? 0 : change(work->worker, &plan, err);
        *ret_changed = !plan.empty;
    }
    if (result == 0 && !plan.empty) {
        log_event(LOG_INFO, "firewall.applied", "first", plan.found, NULL);
    }
    nft_policies_seen_free(&seen);
    return result;
}

static int observe_and_apply(struct worker *worker, struct firewall_wanted *wanted, struct error *err)
{
    struct network_work work;
    struct firewall_observed before;
    bool changed = false;
    if (firewall_observed_get(worker->db, &before, err) != 0) {
        return -1;
    }
    network_work_init(&work, worker);
    int result = link_list(&work.links, &work.link_count, err);
    if (result == 0) {
        (void)pthread_mutex_lock(&worker->guests_lock);
        result = apply(&work, wanted, &changed, err);
        (void)pthread_mutex_unlock(&worker->guests_lock);
    }
    network_work_free(&work);
    /* Flows of VMs that do not run just now are judged as well: they could go on when it runs again. */
    if (result == 0 && (changed || wanted->generation != before.generation)) {
        result = cut_flows(wanted, err);
    }
    return result;
}

static int roll_back(struct worker *worker, struct error *err)
{
    size_t count = 0;
    char text[24];
    if (firewall_roll_back(worker->db, clock_wall_ms(), &count, err) != 0) {
        return -1;
    }
    if (count > 0) {
        (void)snprintf(text, sizeof text, "%zu", count);
        log_event(LOG_WARN, "firewall.rolled_back", "changes", text, NULL);
        worker_notify(worker, "firewall");
    }
    return 0;
}

static void await_deadline(struct worker *worker)
{
    int64_t deadline_ms = 0;
    if (firewall_next_deadline(worker->db, &deadline_ms, NULL) == 0 && deadline_ms != 0) {
        int64_t left_ms = deadline_ms - clock_wall_ms();
        (void)queue_add_after(worker->queue, "firewall", left_ms < 1 ? 1 : left_ms);
    }
}

static int publish(struct worker *worker, const struct firewall_wanted *wanted, const struct error *failure, struct error *err)
{
    struct firewall_observed before;
    bool changed = false;
    char text[sizeof before.error];
    if (firewall_observed_get(worker->db, &before, err) != 0) {
        return -1;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, failure != NULL ? failure->message : wanted->damage);
    if (firewall_observed_set(worker->db, failure != NULL ? before.generation : wanted->generation, text, &changed, err) != 0) {
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
    if (roll_back(worker, err) != 0) {
        return -1;
    }
    int result = observe_and_apply(worker, &wanted, &failure);
    await_deadline(worker);
    if (publish(worker, &wanted, result == 0 ? NULL : &failure, err) != 0) {
        return -1;
    }
    if (result != 0) {
        *err = failure;
    }
    return result;
}
