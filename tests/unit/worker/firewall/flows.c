/* Which flows are cut: those that the policies would not let begin, and no other. */
#include "worker/firewall/flows.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static struct firewall_wanted wanted;
static struct firewall_flows flows;
static struct error err;

static void set_policy(struct policy *policy, const char *text)
{
    AUTO_JSON *json = NULL;
    policy_free(policy);
    ck_assert(json_parse(text, strlen(text), &json, &err) == 0);
    ck_assert_msg(policy_parse(json, policy, &err) == 0, "%s", err.message);
}

/* The host is 10.0.0.1 and 192.0.2.1; VMs are 10.0.0.2, with a policy of its own, and 10.0.0.3. */
static void setup(void)
{
    struct ip_addr *local = calloc(2, sizeof *local);
    memset(&wanted, 0, sizeof wanted);
    wanted.vms = calloc(2, sizeof *wanted.vms);
    ck_assert(local != NULL && wanted.vms != NULL);
    local[0] = ip_addr_from_ipv4(0xc0000201);
    local[1] = ip_addr_from_ipv4(0x0a000001);
    for (uint32_t i = 0; i < 2; i++) {
        wanted.vms[i] = (struct firewall_vm){.uid = i + 1, .present = true, .addresses = calloc(1, sizeof(struct ip_addr)), .address_count = 1};
        ck_assert_ptr_nonnull(wanted.vms[i].addresses);
        wanted.vms[i].addresses[0] = ip_addr_from_ipv4(0x0a000002 + i);
    }
    wanted.vm_count = 2;
    wanted.vms[0].has_policy = true;
    policy_defaults(&wanted.host);
    policy_defaults(&wanted.vms[0].policy);
    ck_assert(firewall_flows_make(&wanted, local, 2, &flows, &err) == 0);
}

static void teardown(void)
{
    firewall_flows_free(&flows);
    firewall_wanted_free(&wanted);
}

static struct conntrack_flow flow_of(const char *source, const char *destination, uint16_t port)
{
    struct conntrack_flow flow = {.protocol = IPPROTO_TCP, .port = port};
    ck_assert(ip_addr_parse(source, &flow.source) && ip_addr_parse(destination, &flow.destination));
    return flow;
}

static bool forbids(const char *source, const char *destination, uint16_t port)
{
    const struct conntrack_flow flow = flow_of(source, destination, port);
    return firewall_flows_forbid(&flow, &flows);
}

START_TEST(defaults)
{
    ck_assert(!forbids("10.0.0.2", "198.51.100.1", 443));
    ck_assert(!forbids("10.0.0.3", "198.51.100.1", 443));
    ck_assert(forbids("198.51.100.1", "10.0.0.2", 22));
    ck_assert(forbids("198.51.100.1", "10.0.0.3", 22));
    ck_assert(forbids("10.0.0.2", "10.0.0.3", 80)); /* the one may, the other does not let it */
}
END_TEST

START_TEST(flows_of_the_host_and_of_others_stay)
{
    set_policy(&wanted.host, "{\"egress\":{\"default_action\":\"deny\"}}");
    ck_assert(forbids("10.0.0.2", "198.51.100.1", 443));
    ck_assert(!forbids("10.0.0.1", "10.0.0.2", 22));
    ck_assert(!forbids("192.0.2.1", "10.0.0.2", 22));
    ck_assert(!forbids("10.0.0.2", "10.0.0.1", 53));
    ck_assert(!forbids("198.51.100.1", "192.0.2.1", 22));
    ck_assert(!forbids("198.51.100.1", "203.0.113.1", 22));
    ck_assert(!forbids("10.0.0.9", "198.51.100.1", 22)); /* nobody's address */
}
END_TEST

START_TEST(both_policies_have_to_allow)
{
    set_policy(&wanted.vms[0].policy, "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"protocol\":\"tcp\",\"ports\":25}]}}");
    ck_assert(forbids("10.0.0.2", "198.51.100.1", 25));
    ck_assert(!forbids("10.0.0.2", "198.51.100.1", 443));
    ck_assert(!forbids("10.0.0.3", "198.51.100.1", 25)); /* another VM's policy is nothing to it */
    set_policy(&wanted.host, "{\"egress\":{\"rules\":[{\"action\":\"deny\",\"protocol\":\"tcp\",\"ports\":443}]}}");
    ck_assert(forbids("10.0.0.2", "198.51.100.1", 443));
    ck_assert(forbids("10.0.0.3", "198.51.100.1", 443));
    set_policy(&wanted.vms[0].policy, "{\"egress\":{\"rules\":[{\"action\":\"allow\"}]}}");
    ck_assert(forbids("10.0.0.2", "198.51.100.1", 443));
}
END_TEST

START_TEST(a_published_port_is_open_but_for_rules)
{
    struct conntrack_flow flow = flow_of("198.51.100.1", "10.0.0.2", 80);
    ck_assert(firewall_flows_forbid(&flow, &flows));
    flow.published = true;
    ck_assert(!firewall_flows_forbid(&flow, &flows));
    set_policy(&wanted.vms[0].policy, "{\"ingress\":{\"rules\":[{\"action\":\"deny\",\"from\":\"198.51.100.0/24\"}]}}");
    ck_assert(firewall_flows_forbid(&flow, &flows));
}
END_TEST

START_TEST(a_vm_that_does_not_run_is_judged_as_well)
{
    wanted.vms[0].present = false;
    set_policy(&wanted.vms[0].policy, "{\"egress\":{\"default_action\":\"deny\"}}");
    ck_assert(forbids("10.0.0.2", "198.51.100.1", 443));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("firewall_flows");
    TCase *tcase = tcase_create("flows");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, defaults);
    tcase_add_test(tcase, flows_of_the_host_and_of_others_stay);
    tcase_add_test(tcase, both_policies_have_to_allow);
    tcase_add_test(tcase, a_published_port_is_open_but_for_rules);
    tcase_add_test(tcase, a_vm_that_does_not_run_is_judged_as_well);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
