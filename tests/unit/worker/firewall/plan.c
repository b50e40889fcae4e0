/* The planner of the firewall's policies. */
#include "worker/firewall/plan.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const char a_text[] = "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"to\":\"@lan\"}]}}";
static const char b_text[] = "{\"egress\":{\"default_action\":\"deny\"}}";

static struct firewall_wanted wanted;
static struct nft_policies_seen seen;
static struct firewall_plan plan;
static struct error err;

static struct policy policy_of(const char *text)
{
    AUTO_JSON *json = NULL;
    struct policy policy = {0};
    ck_assert(json_parse(text, strlen(text), &json, &err) == 0);
    ck_assert_msg(policy_parse(json, &policy, &err) == 0, "%s", err.message);
    return policy;
}

static struct firewall_vm vm_of(int64_t uid, const char *text, uint32_t address)
{
    struct firewall_vm vm = {.uid = uid, .present = true, .has_policy = text != NULL, .address_count = 1};
    vm.addresses = calloc(1, sizeof *vm.addresses);
    ck_assert_ptr_nonnull(vm.addresses);
    vm.addresses[0] = ip_addr_from_ipv4(address);
    if (text != NULL) {
        vm.policy = policy_of(text);
    }
    return vm;
}

static void see_chains(int64_t uid, const struct policy *policy)
{
    for (int d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        struct nft_policy_chain *chain = &seen.chains[seen.chain_count++];
        *chain = (struct nft_policy_chain){.uid = uid, .direction = (enum policy_direction_name)d, .whole = true};
        ck_assert(nft_policy_digest(policy, chain->direction, &wanted.sets, &chain->digest, &err) == 0);
    }
}

static void see_elements(const struct firewall_vm *vm)
{
    for (int d = 0; d < POLICY_DIRECTION_COUNT_; d++) {
        seen.elements[seen.element_count++] =
            (struct nft_policy_element){.direction = (enum policy_direction_name)d, .address = vm->addresses[0], .uid = vm->uid};
    }
}

static void see_set(const struct address_set *set)
{
    struct nft_policy_set *there = &seen.sets[seen.set_count++];
    *there = (struct nft_policy_set){.v4 = true, .v6 = true};
    memcpy(there->name, set->name, sizeof there->name);
    ck_assert(nft_address_set_digest(set, &there->digest, &err) == 0);
}

/* VMs 1 and 2 with policies of their own, 3 without, and all is as wanted. */
static void setup(void)
{
    AUTO_JSON *nets = json_pack("[s]", "10.0.0.0/8");
    memset(&wanted, 0, sizeof wanted);
    memset(&plan, 0, sizeof plan);
    wanted.sets.sets = calloc(2, sizeof *wanted.sets.sets);
    wanted.vms = calloc(3, sizeof *wanted.vms);
    seen = (struct nft_policies_seen){
        .tables = true, .chains = calloc(16, sizeof *seen.chains), .elements = calloc(16, sizeof *seen.elements), .sets = calloc(4, sizeof *seen.sets)};
    ck_assert(wanted.sets.sets != NULL && wanted.vms != NULL && seen.chains != NULL && seen.elements != NULL && seen.sets != NULL);
    ck_assert(address_set_parse("lan", nets, &wanted.sets.sets[0], &err) == 0);
    wanted.sets.count = 1;
    policy_defaults(&wanted.host);
    wanted.vms[0] = vm_of(1, a_text, 0x0a000002);
    wanted.vms[1] = vm_of(2, b_text, 0x0a000003);
    wanted.vms[2] = vm_of(3, NULL, 0x0a000004);
    wanted.vm_count = 3;
    see_chains(0, &wanted.host);
    see_chains(1, &wanted.vms[0].policy);
    see_chains(2, &wanted.vms[1].policy);
    see_elements(&wanted.vms[0]);
    see_elements(&wanted.vms[1]);
    see_set(&wanted.sets.sets[0]);
}

static void teardown(void)
{
    firewall_plan_free(&plan);
    firewall_wanted_free(&wanted);
    nft_policies_seen_free(&seen);
}

static const struct nft_policy_change *make(void)
{
    firewall_plan_free(&plan);
    ck_assert(firewall_plan_make(&wanted, &seen, &plan, &err) == 0);
    ck_assert_int_eq(plan.empty, plan.found[0] == '\0');
    return &plan.change;
}

static bool says(const char *text)
{
    return strstr(plan.found, text) != NULL;
}

START_TEST(nothing_to_do)
{
    (void)make();
    ck_assert_msg(plan.empty, "%s", plan.found);
}
END_TEST

START_TEST(from_nothing)
{
    seen.chain_count = seen.element_count = seen.set_count = 0;
    const struct nft_policy_change *change = make();
    ck_assert_ptr_eq(change->host, &wanted.host);
    ck_assert_uint_eq(change->vm_count, 2);
    ck_assert_int_eq(change->vms[0].uid, 1);
    ck_assert_ptr_eq(change->vms[1].policy, &wanted.vms[1].policy);
    ck_assert_uint_eq(change->refill_count, 1);
    ck_assert_uint_eq(change->remove_element_count + change->remove_set_count, 0);
}
END_TEST

START_TEST(only_what_differs)
{
    for (size_t i = 0; i < 6; i++) {
        seen.chains[i].whole = false;
        const struct nft_policy_change *change = make();
        ck_assert_int_eq(change->host != NULL, i < 2);
        ck_assert_uint_eq(change->vm_count, i < 2 ? 0 : 1);
        ck_assert(i < 2 || change->vms[0].uid == (int64_t)i / 2);
        ck_assert(says("is not whole"));
        seen.chains[i].whole = true;
        seen.chains[i].digest++;
        (void)make();
        ck_assert(says("is another"));
        seen.chains[i].digest--;
    }
}
END_TEST

START_TEST(an_element_is_missing)
{
    seen.element_count--;
    const struct nft_policy_change *change = make();
    ck_assert_uint_eq(change->vm_count, 1);
    ck_assert_int_eq(change->vms[0].uid, 2);
    ck_assert_uint_eq(change->remove_element_count, 0);
    ck_assert(says("without its policy"));
}
END_TEST

START_TEST(an_element_names_the_wrong_chain)
{
    seen.elements[0].uid = 2;
    const struct nft_policy_change *change = make();
    ck_assert_uint_eq(change->remove_element_count, 1);
    ck_assert_uint_eq(change->vm_count, 1);
    ck_assert_int_eq(change->vms[0].uid, 1);
    seen.elements[0].uid = 0; /* a chain that is nobody's */
    change = make();
    ck_assert_uint_eq(change->remove_element_count, 1);
    ck_assert_int_eq(change->vms[0].uid, 1);
}
END_TEST

START_TEST(an_element_of_nobody)
{
    seen.elements[seen.element_count++] = (struct nft_policy_element){.direction = POLICY_INGRESS, .address = ip_addr_from_ipv4(0x0a000009), .uid = 2};
    const struct nft_policy_change *change = make();
    ck_assert_uint_eq(change->remove_element_count, 1);
    ck_assert_uint_eq(change->vm_count, 0);
    ck_assert(says("10.0.0.9"));
}
END_TEST

START_TEST(a_vm_that_stopped_or_lost_its_policy)
{
    for (int i = 0; i < 2; i++) {
        wanted.vms[0].present = i == 0;
        wanted.vms[0].has_policy = i == 1;
        const struct nft_policy_change *change = make();
        ck_assert_uint_eq(change->vm_count, 1);
        ck_assert_int_eq(change->vms[0].uid, 1);
        ck_assert_ptr_null(change->vms[0].policy);
        ck_assert_uint_eq(change->vms[0].address_count, 0);
        ck_assert_uint_eq(change->remove_element_count, 2);
    }
}
END_TEST

START_TEST(a_vm_that_got_a_policy)
{
    wanted.vms[2].policy = policy_of(b_text);
    wanted.vms[2].has_policy = true;
    const struct nft_policy_change *change = make();
    ck_assert_uint_eq(change->vm_count, 1);
    ck_assert_int_eq(change->vms[0].uid, 3);
    wanted.vms[2].present = false; /* it does not run: it gets it when it does */
    (void)make();
    ck_assert(plan.empty);
}
END_TEST

START_TEST(a_set_changes_without_its_rules)
{
    seen.sets[0].digest++;
    const struct nft_policy_change *change = make();
    ck_assert_uint_eq(change->refill_count, 1);
    ck_assert_ptr_null(change->host);
    ck_assert_uint_eq(change->vm_count, 0);
    ck_assert(says("holds other networks"));
    seen.sets[0].digest--;
    seen.sets[0].v6 = false;
    ck_assert_uint_eq(make()->refill_count, 1);
}
END_TEST

START_TEST(a_set_that_is_gone_takes_its_lines_with_it)
{
    address_set_free(&wanted.sets.sets[0]);
    wanted.sets.count = 0;
    const struct nft_policy_change *change = make();
    ck_assert_uint_eq(change->remove_set_count, 1);
    ck_assert_str_eq(change->remove_sets[0], "lan");
    ck_assert_uint_eq(change->vm_count, 1); /* whose rules name it: in the same batch */
    ck_assert_int_eq(change->vms[0].uid, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("firewall_plan");
    TCase *tcase = tcase_create("plan");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, nothing_to_do);
    tcase_add_test(tcase, from_nothing);
    tcase_add_test(tcase, only_what_differs);
    tcase_add_test(tcase, an_element_is_missing);
    tcase_add_test(tcase, an_element_names_the_wrong_chain);
    tcase_add_test(tcase, an_element_of_nobody);
    tcase_add_test(tcase, a_vm_that_stopped_or_lost_its_policy);
    tcase_add_test(tcase, a_vm_that_got_a_policy);
    tcase_add_test(tcase, a_set_changes_without_its_rules);
    tcase_add_test(tcase, a_set_that_is_gone_takes_its_lines_with_it);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
